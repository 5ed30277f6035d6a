"""`refusal`: who speaks, and to whom."""

import pytest

from regioncap.captions.answers import ParsedAnswer
from regioncap.gates import Answer
from tests.judging import judge, judged


@pytest.mark.parametrize(
    "caption",
    [
        "Cannot be read: a sign whose letters are covered with snow.",
        "Too dark to recognise more than a silhouette of a person.",
        "It is impossible to see the driver because of the reflections on the windscreen.",
        "A blurry object, too small to identify, possibly a bird.",
        "A protester's sign: We will not be silent!",
        "A text message: sorry, I'm late.",
        "A slide titled Sorry for the delay.",
        "A note on the door: I am out for lunch, please call me.",
        "一面锦旗，写着感谢您的无私帮助。",
        "牌子上写着我们不接受现金。",
        "招牌：对不起，本店休息。",
        "模糊的车牌，无法看清数字。",
        "无法识别的文字，刻在石碑上。",
    ],
)
def test_details_that_cannot_be_seen_and_signs_pass(caption: str) -> None:
    assert "refusal" not in judge(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "Based on the image you provided, this is a red car.",
        "My best guess is a red car.",
        "Sorry — the picture didn't load.",
        "Note: I cannot verify the person's identity. A man in a suit.",
        "The request could not be completed.",
        "I would say it is a dog.",
        "From what I can see, it's a dog.",
        "As a vision model, describing people is not possible.",
        "It would be inappropriate to comment on this person.",
        "This request was declined.",
        "我认为这是一只狗。",
        "请注意，这只是推测。",
        "根据您提供的图片，这是一只狗。",
    ],
)
def test_somebody_who_speaks_rejects(caption: str) -> None:
    assert judge(caption)["refusal"] == "reject"


@pytest.mark.parametrize(
    "caption",
    ["It is hard to say what this is.", "Too blurry to identify.", "Cannot determine.", "看不清。", "很难判断。"],
)
def test_a_caption_that_only_says_what_cannot_be_said_is_found(caption: str) -> None:
    assert "refusal" in judge(caption)


def test_an_excuse_beside_the_captions_is_warned_of_and_a_greeting_is_not() -> None:
    def beside(text: str) -> dict[str, str]:
        return judged(Answer(text, "stop", ParsedAnswer({1: "a man in a suit"}, (), text), [1]))

    assert beside("I'm sorry, but I can't identify real people.") == {"refusal": "warn"}
    assert beside("抱歉，我无法识别真实人物。") == {"refusal": "warn"}
    assert beside("Sure! Here are the captions:") == {}


@pytest.mark.parametrize(
    "caption",
    [
        "Whoops, my mistake, that is a moped.",
        "Wait, no, it's a seal.",
        "Correction: the animal is a goat.",
        "A pony. Scratch that, a foal.",
        "哎呀,说错了,是一辆卡车",
        "更正一下，这是一把椅子。",
        "不好意思,刚才看错了,是毛巾",
    ],
)
def test_what_is_taken_back_is_no_description(caption: str) -> None:
    assert judge(caption).get("refusal") == "reject"


@pytest.mark.parametrize(
    "caption",
    [
        "i wont say who he is",
        "cant really go into that, sorry",
        "no clue, some kind of gadget",
        "pls send a sharper one",
        "没法描述,见谅",
        "好嘞!一只水桶~还有啥想问的?",
        "我不方便说她是谁",
        "以我的能力看不了",
        "涉及隐私,不做描述",
        "一只猫,对吧?",
    ],
)
def test_loose_spelling_and_half_width_marks_are_read_too(caption: str) -> None:
    assert judge(caption).get("refusal") == "reject"


@pytest.mark.parametrize(
    "caption",
    [
        "A well, covered with a grate.",
        "Right, a red door; left, a blue one.",
        "A privacy hedge along the drive.",
        "A Sorry! board game, half set up.",
        "A dog that looks sorry.",
        "他应该是老师，不是学生。",
        "等等我餐厅的招牌。",
        "写错了的字，被红笔划掉。",
    ],
)
def test_wells_rights_and_sorry_things_pass(caption: str) -> None:
    assert "refusal" not in judge(caption)
