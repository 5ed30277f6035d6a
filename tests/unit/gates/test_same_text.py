"""Two regions with nearly the same caption: what is the same in other words, and what is not."""

import json

import pytest

from regioncap.captions.answers import parse_answer
from regioncap.gates import Answer
from regioncap.gates.same_text import same_text


def alike(one: str, other: str) -> bool:
    text = json.dumps({"<region1>": one, "<region2>": other}, ensure_ascii=False)
    language = "en" if one.isascii() else "zh"
    return same_text(Answer(text, "stop", parse_answer(text, "structured", [1, 2]), [1, 2], language)) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a row of mugs on the shelf next to the kettle", "a row of mugs on the shelf by the kettle"),
        ("A red car parked on the street", "A red car parked in the street."),
        ("boy w/ a kite running", "boy with a kite running"),
        ("A valley with no visible boundary", "A valley with no visible boundaries"),
        ("A guy on a bicycle in the rain", "a man on a bike in the rain"),
        ("桌上摆着各种水果", "桌上放着各类水果"),
        ("一只小鸟立在枝头", "一只小鸟站在枝头"),
    ],
)
def test_the_same_in_other_words_is_the_same(one: str, other: str) -> None:
    assert alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A man in a car", "A man on a car"),
        ("cup on a saucer", "cup next to a saucer"),
        ("A bird flying to the tree", "A bird flying from the tree"),
        ("A bowl of rice with chopsticks", "A bowl of rice with a spoon"),
        ("A cat on a grey sofa", "A cat under a grey sofa"),
        ("一只猫坐在窗台上", "一只狗坐在窗台上"),
        ("小孩在看书", "小孩在看报"),
    ],
)
def test_other_things_and_places_are_not(one: str, other: str) -> None:
    assert not alike(one, other)
