"""Gates: what each finds, and what it leaves alone."""

import json
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.gate_corpus import DEFECTS, Sample, corpus
from bench.gates import as_answer, by_others, measure, read_answers
from regioncap.captions.answers import parse_answer
from regioncap.captions.prompts import PROMPTS, PromptLanguage, system_message, user_prompt
from regioncap.errors import ExtensionError
from regioncap.gates import OWN_GATES, Answer, Failure, Finding, Gate, all_gates, run_gates
from regioncap.marks.styles import STYLES
from regioncap.regions.codes import Code
from tests.builders import ROOT


def answer(*captions: str, language: PromptLanguage = "en", form: str = "json") -> Answer:
    """An answer about as many regions as captions."""
    described = {f"<region{number}>": caption for number, caption in enumerate(captions, start=1)}
    text = json.dumps(described) if form == "json" else "\n".join(f"{tag}: {text}" for tag, text in described.items())
    regions = range(1, len(captions) + 1)
    system = system_message(
        "You are a helpful assistant.", STYLES["box"], "joint", "structured", len(captions), language
    )
    sent = (system, user_prompt(PROMPTS[language], len(captions)))
    return Answer(text, "stop", parse_answer(text, "structured", regions), regions, language, sent)


def found(*captions: str, language: PromptLanguage = "en") -> list[str]:
    return [finding.gate.code for finding in run_gates(answer(*captions, language=language))]


def chinese(caption: str) -> PromptLanguage:
    return "en" if caption.isascii() else "zh"


@pytest.mark.parametrize(
    ("code", "caption"),
    [
        (Code.EMPTY, ""),
        (Code.EMPTY, "..."),
        (Code.EMPTY, "N/A"),
        (Code.EMPTY, "x"),
        (Code.EMPTY, "暂无描述"),
        (Code.REPETITION, "a man with a hat on top of a hat on top of a hat on top of a hat"),
        (Code.REPETITION, "!" * 40),
        (Code.REPETITION, "The dog is brown. The dog is brown. The dog is brown."),
        (Code.REPETITION, "一只黑色的猫和一只黑色的猫和一只黑色的猫和一只黑色的猫"),
        (Code.REPETITION, "".join(f"There is a sign with the number {number}. " for number in range(9))),
        (Code.REPETITION, 'A sign that reads "' + "STOP " * 30 + '"'),
        (Code.CONTROL_CHARACTERS, "a red\x07 door"),
        (Code.CONTROL_CHARACTERS, "a red door\x1f"),
        (Code.CONTROL_CHARACTERS, "a red d\ufffdr"),
        (Code.CONTROL_CHARACTERS, "a \u202ered door"),
        (Code.SPECIAL_TOKENS, "a red door<|im_end|>"),
        (Code.SPECIAL_TOKENS, "a red door</s>"),
        (Code.SPECIAL_TOKENS, "[INST] a red door"),
        (Code.SPECIAL_TOKENS, "<image> a red door"),
        (Code.REFUSAL, "I'm sorry, but I can't help with that."),
        (Code.REFUSAL, "As an AI language model, I cannot see."),
        (Code.REFUSAL, "A red door. Let me know if you need anything else!"),
        (Code.REFUSAL, "抱歉，我无法描述该区域。"),
        (Code.PROMPT_LEAK, "A red door. You are a helpful assistant."),
        (Code.PROMPT_LEAK, "Describe the content of each marked region in the image. A red door."),
        (Code.PROMPT_LEAK, "一扇红门。请描述边框内的内容，不要描述边框或标签。"),
        (Code.WRONG_LANGUAGE, "Une femme avec un parapluie rouge"),
        (Code.WRONG_LANGUAGE, "赤い傘を持った女性がベンチに座っている"),
        (Code.MARK_TALK, "a green box with the number 1"),
        (Code.MARK_TALK, "A dog inside the red bounding box"),
        (Code.MARK_TALK, "The object labeled 1 is a chair."),
        (Code.MARK_TALK, "一个带有数字1的红色方框"),
        (Code.WHOLE_IMAGE, "The image shows a busy street with cars."),
        (Code.WHOLE_IMAGE, "整张图片显示的是一个客厅。"),
    ],
)
def test_a_bad_caption_is_found_by_the_gate_for_it(code: Code, caption: str) -> None:
    assert code in found(caption, language=chinese(caption))


@pytest.mark.parametrize(
    "caption",
    [
        "TV",
        "猫",
        "A stop sign with the number 1 sprayed on it",
        "A red box of chocolates",
        "A man wearing the number 1 shirt",
        "A green rectangular box with the number 1 printed on its lid",
        "a small plain green square",
        "A gold picture frame around a portrait",
        "A white label on a bottle of olive oil",
        'A sign reading "Sorry, we\'re closed"',
        "A very, very old tree next to a red, white, red, white striped awning",
        "A keyboard with the keys 1 2 3 4 5 6 7 8 9 0",
        "A laptop displaying source code with <div> tags",
        "A picture on the wall shows a ship in a storm.",
        "A dog on the left side of the image",
        "A storefront sign reading 北京烤鸭",
        "A plate of spaghetti alla carbonara with a glass of Chianti",
        "A man left of <region2>",
        "The writing on the plaque cannot be read from this distance.",
        "穿着 Nike 运动鞋的男孩",
        "一块写着“WELCOME TO LAS VEGAS”的招牌",
        "写着“抱歉，暂停营业”的牌子",
        "编号为1的储物柜",
        "墙上的画里是一艘暴风雨中的船",
    ],
)
def test_what_is_in_the_picture_is_left_alone(caption: str) -> None:
    assert found(caption, language="zh" if "的" in caption or caption == "猫" else "en") == []


def test_english_is_wrong_where_chinese_is_asked_for_and_the_other_way_round() -> None:
    assert found("a red door", language="zh") == ["wrong_language"]
    assert found("一扇红色的门", language="en") == ["wrong_language"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A red door", "a red door."),
        ("The dog lying on the grass", "A dog is lying on the grass"),
        ("A bowl of fruit on the wooden table", "a bowl of fruits on the wooden table"),
        ("一只白色的狗", "一只白狗"),
    ],
)
def test_two_regions_with_nearly_the_same_caption_are_a_warning(one: str, other: str) -> None:
    (finding,) = run_gates(answer("A lamp" if one.isascii() else "一盏灯", one, other, language=chinese(one)))
    assert (finding.gate.code, finding.gate.severity) == ("same_text", "warn")
    assert finding.failure.regions == (2, 3)


def test_alike_things_told_apart_are_not_the_same() -> None:
    assert found("A red car on the left side of the road", "A red car on the right side of the road") == []
    assert found("A jersey with the number 7", "A jersey with the number 9") == []
    assert found("靠近窗户的第一把木椅", "靠近窗户的第二把木椅", language="zh") == []


def test_a_gate_says_which_regions_it_is_about_and_shows_what_it_found() -> None:
    (finding,) = run_gates(answer("A cat", "I'm sorry, I can't help with that.", "A dog"))
    assert finding.failure == Failure("<region2> is no description: “I'm sorry, I can't help with that.”", (2,))


def test_a_tag_that_the_prompt_asks_for_is_no_special_token() -> None:
    text = "<region1>: <answer>a red door</answer>"

    def codes(prompt: str) -> list[str]:
        return codes_of(run_gates(Answer(text, "stop", parse_answer(text, "free_text", [1]), [1], "en", (prompt,))))

    assert codes("Say it within <answer> and </answer>.") == []
    assert codes("Say it.") == ["special_tokens"]


def test_an_answer_that_cannot_be_taken_apart_is_looked_at_as_a_whole() -> None:
    text = "I'm sorry, but I can't help with that."
    asked = [1, 2]
    findings = run_gates(Answer(text, "stop", parse_answer(text, "free_text", asked), asked))
    assert findings[0].gate.code == "refusal"
    assert findings[0].failure.regions is None


def test_words_before_the_captions_are_no_fault_but_tokens_and_the_prompt_are() -> None:
    def codes(before: str) -> list[str]:
        text = f"{before}\n<region1>: a red door\n<region2>: a cat"
        asked = [1, 2]
        parsed = parse_answer(text, "free_text", asked)
        sent = (user_prompt(PROMPTS["en"], 2),)
        return [finding.gate.code for finding in run_gates(Answer(text, "stop", parsed, asked, "en", sent))]

    assert codes("Here is the content of each marked region in the image:") == []
    assert codes("Describe the content of each marked region in the image.") == ["prompt_leak"]
    assert codes("<|im_start|>assistant") == ["special_tokens"]


@pytest.mark.parametrize("defect", DEFECTS)
def test_planted_defects_are_found(defect: str) -> None:
    planted = [sample for sample in corpus(seed=7, clean=0, per_defect=60) if sample.defect == defect]
    missed = [sample.answer for sample in planted if defect not in codes_of(run_gates(as_answer(sample), OWN_GATES))]
    assert len(missed) <= 1, missed


def test_clean_answers_pass() -> None:
    samples = list(corpus(seed=7, clean=300, per_defect=0))
    alarms = Counter(code for sample in samples for code in codes_of(run_gates(as_answer(sample), OWN_GATES)))
    assert alarms.total() <= 3, alarms


def test_answers_in_other_words_are_told_apart_too() -> None:
    samples = read_answers(ROOT / "bench" / "gate_answers.jsonl")
    wrong = [
        sample
        for sample in samples
        if ((codes := codes_of(run_gates(as_answer(sample), OWN_GATES))) and sample.defect is None)
        or (sample.defect is not None and sample.defect not in codes)
    ]
    assert len(wrong) <= len(samples) / 200, wrong


def test_the_bench_tells_right_answers_that_are_rejected_from_those_only_warned_of() -> None:
    said = [
        ("a cat", None),
        ("A woman, labelled 1.", None),
        ("I can't say.", None),
        ("a dog", "mark_talk"),
        ("?", "empty"),
    ]
    tally = measure(Sample("en", 1, json.dumps({"<region1>": text}), "stop", defect) for text, defect in said)
    assert tally.figures == {
        "min_recall": 0.0, "max_false_alarm": 2 / 3, "rejected_right": 1 / 3, "warned_right": 1 / 3,
    }  # fmt: skip


# What the gates find of each defect in answers by others, at least, and the right ones that they reject and warn of, at
# most. Nothing was mended on the third file: it tells how the gates do at first sight.
FLOORS = {"one.jsonl": (0.89, 0.003, 0.01), "two.jsonl": (0.89, 0.003, 0.01), "three.jsonl": (0.75, 0.02, 0.015)}


@pytest.mark.parametrize(("name", "samples"), by_others(), ids=[name for name, _ in by_others()])
def test_answers_by_others_are_told_apart(name: str, samples: list[Sample]) -> None:
    found, rejected, warned = FLOORS[name]
    tally = measure(samples)
    missed = {
        defect: f"{tally.found[defect]} of {number}"
        for defect, number in tally.planted.items()
        if tally.found[defect] < found * number
    }
    assert missed == {}
    assert tally.rejected <= rejected * tally.right, tally.alarms
    assert tally.warned <= warned * tally.right, tally.alarms


def codes_of(findings: Sequence[Finding]) -> list[str]:
    return [str(finding.gate.code) for finding in findings]


@given(
    st.text() | st.text("<>|[]\"'“”（）:：., \n\\u*&1a的框"),
    st.integers(1, 4),
    st.sampled_from(["en", "zh"]),
    st.sampled_from(["structured", "free_text"]),
)
def test_no_gate_raises_whatever_the_text(text: str, regions: int, language: PromptLanguage, form: str) -> None:
    asked = range(1, regions + 1)
    parsed = parse_answer(text, form, asked)  # type: ignore[arg-type]
    findings = run_gates(
        Answer(text, "stop", parsed, asked, language, (text, "You are a helpful assistant.")), OWN_GATES
    )
    assert Code.GATE_ERROR not in codes_of(findings)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "a ",
        "I'm ",
        "the image of ",
        "a red box ",
        "box 1 ",
        "\"'",
        "“",
        "<",
        "<|",
        "[",
        "\\u",
        "请描述",
        "一个红色的框1",
        "1:",
    ],
)
def test_a_long_answer_is_done_with_in_time_that_grows_with_its_length(unit: str) -> None:
    # 32 KB: what takes quadratic time takes minutes.
    text = unit * (32_768 // len(unit))
    run_gates(answer(text, language="en"), OWN_GATES)
    run_gates(answer(text, language="zh"), OWN_GATES)


# ---- gates of one's own

NO_BRANDS = """
from regioncap.gates import Caption, Gate, each_caption

def names_a_brand(caption: Caption) -> str | None:
    return "names a brand" if "Pepsi" in caption.text else None

it = Gate("no_brands", "{severity}", each_caption(names_a_brand))
"""


def test_an_installed_gate_comes_after_regioncaps_own(extend: Callable[..., None]) -> None:
    extend("regioncap.gates", "no_brands", NO_BRANDS.format(severity="reject"))
    (finding,) = run_gates(answer("a can of Pepsi", "a cat"))
    assert (finding.gate.code, finding.failure) == ("no_brands", Failure("<region1> names a brand", (1,)))
    assert all_gates()[-1] is finding.gate


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError.*uninstall the package that brings it .my_gate-package"),
        ("it = print", "is no Gate"),
        ("from regioncap.gates import Gate; it = Gate('my_gate', 'fatal', print)", "severity reject or warn"),
        ("from regioncap.gates import Gate; it = Gate('other', 'warn', print)", "have to be the same"),
    ],
)
def test_a_gate_that_cannot_be_used_is_named_at_the_start(extend: Callable[..., None], code: str, message: str) -> None:
    extend("regioncap.gates", "my_gate", code)
    with pytest.raises(ExtensionError, match=message):
        all_gates()


def test_a_gate_may_not_take_the_name_of_a_code(extend: Callable[..., None]) -> None:
    extend("regioncap.gates", "empty", "from regioncap.gates import Gate; it = Gate('empty', 'warn', print)")
    with pytest.raises(ExtensionError, match="RegionCap's own"):
        all_gates()


@pytest.mark.parametrize(
    ("name", "check"),
    [("raises", lambda answer: 1 / 0), ("writes", lambda answer: "a text"), ("differs", lambda: None)],
)
def test_a_gate_that_raises_is_a_warning_and_the_others_are_asked(
    name: str, check: Callable[[Answer], Failure | None], caplog: pytest.LogCaptureFixture
) -> None:
    findings = run_gates(answer("a", "a cat"), [Gate(name, "reject", check), *OWN_GATES])
    assert [(finding.gate.code, finding.gate.severity) for finding in findings] == [
        ("gate_error", "warn"), ("empty", "reject"),
    ]  # fmt: skip
    assert f"the gate {name} failed" in caplog.text
