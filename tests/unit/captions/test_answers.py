"""Answers: taken apart into captions, and put through the gates."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.answers import OWN_CASES, Case, measure, measure_random, outcome, published, read_cases
from demo_model.world import COLOURS, SHAPES
from regioncap.captions.answers import ParsedAnswer, answer_lines, parse_answer
from regioncap.gates import Answer, run_gates
from regioncap.regions.codes import Code


def captions(text: str, regions: int = 2, answer_format: str = "structured") -> dict[int, str]:
    return parse_answer(text, answer_format, range(1, regions + 1)).captions  # type: ignore[arg-type]


def failed(text: str, regions: int = 2, finish_reason: str = "stop", answer_format: str = "structured") -> list[Code]:
    asked = range(1, regions + 1)
    parsed = parse_answer(text, answer_format, asked)  # type: ignore[arg-type]
    return [finding.gate.code for finding in run_gates(Answer(text, finish_reason, parsed, asked))]


GOOD = json.dumps({"<region1>": "a red door", "<region2>": "a cat,\n asleep"})


def test_a_structured_answer_is_one_caption_per_region_in_one_line_each() -> None:
    assert captions(GOOD) == {1: "a red door", 2: "a cat, asleep"}
    assert failed(GOOD) == []


@pytest.mark.parametrize(
    "text",
    [
        "<region1>: a red door\n<region2>: a cat",
        "<region1> : a red door\n\n<region2> : a cat",
        "- **<region1>**: a red door\n- **<region2>**: a cat",
        "<region1>: a red door <region2>: a cat",
        "Region 1: a red door\nRegion 2: a cat",
        "1. a red door\n2. a cat",
        "**1.** a red door\n**2.** a cat",
        "1、a red door\n2、a cat",
        "区域1：a red door\n区域 2：a cat",
        "Here is what I see.\n<region1>: a red door\n<region2>: a cat",
        "<Region1> a red door\n<Region2> a cat",
    ],
)
def test_free_text_is_taken_apart_in_the_shapes_that_models_write(text: str) -> None:
    assert captions(text, answer_format="free_text") == {1: "a red door", 2: "a cat"}


def test_a_region_that_is_only_mentioned_does_not_start_a_description() -> None:
    text = "<region1>: a door left of <region2>\n<region2>: a cat"
    assert captions(text, answer_format="free_text") == {1: "a door left of <region2>", 2: "a cat"}


def test_one_region_needs_no_name() -> None:
    assert captions("A red door.", regions=1, answer_format="free_text") == {1: "A red door."}


def test_json_in_a_code_fence_is_read() -> None:
    assert captions(f"```json\n{GOOD}\n```", answer_format="free_text")[1] == "a red door"


def test_a_server_that_ignores_the_schema_is_still_understood() -> None:
    assert captions("<region1>: a red door\n<region2>: a cat") == {1: "a red door", 2: "a cat"}


def test_captions_as_one_text_are_one_line_per_region() -> None:
    assert answer_lines(captions(GOOD)) == "<region1>: a red door\n<region2>: a cat, asleep"


@pytest.mark.parametrize("text", ["<region3>: a cat", "a cat", '{"<region3>": "a cat"}', "Region 3: a cat"])
def test_an_answer_about_one_region_is_that_regions_whatever_its_number(text: str) -> None:
    parsed = parse_answer(text, "free_text", [3])
    assert parsed.captions == {3: "a cat"}
    assert run_gates(Answer(text, "stop", parsed, [3])) == []


def test_an_answer_about_another_region_than_the_one_asked_about_is_refused() -> None:
    text = "<region1>: a dog"
    findings = run_gates(Answer(text, "stop", parse_answer(text, "free_text", [3]), [3]))
    assert [finding.gate.code for finding in findings] == [Code.MISSING_REGION, Code.INVENTED_REGION]


@pytest.mark.parametrize(
    ("text", "finish_reason", "first"),
    [
        (GOOD[:30], "length", Code.CUT_OFF),
        (GOOD[:30], "stop", Code.UNPARSEABLE),
        ("", "stop", Code.EMPTY),
        ("  \n", "stop", Code.EMPTY),
        ('{"<region1>": "", "<region2>": "a cat"}', "stop", Code.EMPTY),
        ('{"<region1>": 7, "<region2>": "a cat"}', "stop", Code.EMPTY),
        ('{"<region1>": "a door"}', "stop", Code.MISSING_REGION),
        ('{"<region1>": "a cat", "<region2>": "a dog", "<region3>": "a cow"}', "stop", Code.INVENTED_REGION),
        ('{"<region1>": "a cat", "<region2>": "a dog", "<region0>": "a cow"}', "stop", Code.INVENTED_REGION),
        ('{"<region1>": "a cat", "<region1>": "a cow", "<region2>": "a dog"}', "stop", Code.REPEATED_REGION),
        ("A cat and a dog.", "stop", Code.UNPARSEABLE),
    ],
)
def test_a_bad_answer_is_named_by_its_cause(text: str, finish_reason: str, first: Code) -> None:
    assert failed(text, finish_reason=finish_reason)[0] == first


@pytest.mark.parametrize("case", read_cases(OWN_CASES), ids=lambda case: case.name)
def test_what_models_write_is_taken_apart_or_not_at_all(case: Case) -> None:
    want = None if case.want is None else {int(region): caption for region, caption in case.want.items()}
    assert outcome(want, published(case)) == "right", published(case)


def test_the_three_outcomes_are_told_apart() -> None:
    want = {1: "a red door", 2: "a cat"}
    assert outcome(want, {1: "There is a red door.", 2: "shows a  cat"}) == "right"
    assert outcome(None, {}) == "right"
    assert outcome(want, {}) == "rejected"
    assert [outcome(want, {1: "a red door"}), outcome(want, {1: "a cat", 2: "a cat"}), outcome(None, want)] == [
        "wrong"
    ] * 3
    lines: list[str] = []
    cases = [Case("x", "free_text", 1, "a cat", want) for want in ({"1": "a cat"}, {"1": "a dog"})]
    assert measure(cases, lines.append) == {"right": 1, "wrong": 1, "rejected": 0}
    assert len(lines) == 1


@pytest.mark.parametrize(
    "answers", [2_000, pytest.param(100_000, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])]
)
def test_no_random_answer_is_read_wrongly_and_nearly_all_clear_ones_are_taken_apart(answers: int) -> None:
    found = measure_random(7, answers)
    assert [answer.answer for answer in found.wrong] == []
    assert found.clear > answers / 2
    assert found.taken >= 0.95 * found.clear


ALL_OF_THREE = "<region1>: a red door\n<region2>: a cat\n<region3>: a well"


@pytest.mark.parametrize(
    ("text", "asked", "found"),
    [
        (ALL_OF_THREE, [2], {2: "a cat"}),
        (ALL_OF_THREE, [1, 3], {1: "a red door", 3: "a well"}),
        ("1. a red door\n2. a cat\n3. a well", [2], {2: "a cat"}),
        ('{"<region1>": "a red door", "<region2>": "a cat"}', [2], {2: "a cat"}),
        ("<region2>: a cat\n<region2>: a cat\n<region1>: a\n<region1>: b", [2], {2: "a cat"}),
    ],
)
def test_what_is_said_of_other_marked_regions_costs_nothing(text: str, asked: list[int], found: dict[int, str]) -> None:
    parsed = parse_answer(text, "free_text", asked, [1, 2, 3])
    assert parsed.captions == found
    assert run_gates(Answer(text, "stop", parsed, asked)) == []


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("<region1>: a cat\n<region2>: a well", [2, 3]),
        ("1. a cat\n2. a well", [2, 3]),
        ("1. a head\n2. a tail", [2]),
        ("<region1>: a cat", [2]),
        (ALL_OF_THREE + "\n<region4>: a cup", [2]),
        ("<region0>: a red door\n<region1>: a cat", [1]),
    ],
)
def test_numbers_that_may_be_counted_otherwise_than_the_marks_are_not_trusted(text: str, asked: list[int]) -> None:
    parsed = parse_answer(text, "free_text", asked, [1, 2, 3])
    assert {finding.failure.regions for finding in run_gates(Answer(text, "stop", parsed, asked))} & {None}


@pytest.mark.parametrize(
    "value",
    [
        "a red door. Region 2: a cat",
        "a red door, and 区域2：猫",
        "a red door. Region 2 shows a cat.",
        "a door left of <region2>",
        "a door, 2: a cat",
    ],
)
def test_a_region_that_is_only_told_of_within_anothers_value_leaves_doubt(value: str) -> None:
    assert captions(json.dumps({"<region1>": value})) == {}


def test_descriptions_of_two_forms_have_to_agree() -> None:
    words = "<region1>: a red door\n<region2>: a cat, asleep"
    assert captions(f"{words}\n\n{GOOD}", answer_format="free_text") == captions(GOOD)
    assert parse_answer(f"{words} here\n\n{GOOD}", "free_text", [1, 2]) == ParsedAnswer()


@pytest.mark.parametrize("form", ["structured", "free_text"])
def test_all_that_the_demo_model_says_is_taken_as_it_is(form: str) -> None:
    sizes, textures = ("small", "large"), ("plain", "striped", "dotted", "solid")
    said = [f"a {' '.join(words)}" for words in itertools.product(sizes, textures, COLOURS, SHAPES)]
    for number in range(0, len(said), 6):
        wanted = dict(enumerate(said[number : number + 6], start=1))
        named = {f"<region{region}>": caption for region, caption in wanted.items()}
        text = json.dumps(named) if form == "structured" else answer_lines(wanted)
        assert captions(text, len(wanted), form) == wanted


@given(st.text(), st.integers(min_value=1, max_value=10), st.sampled_from(["structured", "free_text"]))
def test_any_text_is_either_refused_or_has_a_caption_for_each_region(text: str, regions: int, form: str) -> None:
    asked = range(1, regions + 1)
    parsed = parse_answer(text, form, asked)  # type: ignore[arg-type]
    if not run_gates(Answer(text, "stop", parsed, asked)):
        assert sorted(parsed.captions) == list(range(1, regions + 1))
        assert all(parsed.captions.values())


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1), min_size=1, max_size=10
    )
)
def test_what_the_schema_asks_for_comes_back(texts: list[str]) -> None:
    texts = [text.strip("*") or "x" for text in texts]
    answer = json.dumps({f"<region{number}>": text for number, text in enumerate(texts, start=1)})
    assert captions(answer, len(texts)) == dict(enumerate(texts, start=1))
