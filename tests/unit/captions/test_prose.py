"""Answers in lines, headings, lists and sentences."""

import pytest

from regioncap.captions.prose import read_prose
from regioncap.captions.reading import DoubtError


def read(text: str, asked: int = 2) -> dict[int, str] | None:
    reading = read_prose(text, range(1, asked + 1))
    return None if reading is None else dict(reading.said)


@pytest.mark.parametrize(
    "text",
    [
        "<region1>: a red door\n<region2>: a cat",
        "<region1> a red door\n<region2> a cat",
        "**Region 1:** a red door\n**Region 2:** a cat",
        "1. **Region 1** - a red door\n2. **Region 2** - a cat",
        "### Region 1\n\na red door\n\n### Region 2\n\na cat",
        "Region 1:\n- a red door\n\nRegion 2:\n- a cat",
        "Region 1 (top left): a red door\nRegion 2 (red box): a cat",
        "1. a red door\n2. a cat",
        "1) a red door, 2) a cat",
        "①a red door②a cat",
        "Box 1: a red door\nBox 2: a cat",
        "<region1>: a red door <region2>: a cat",
        "Region 1 shows a red door. Region 2 shows a cat",
        "<region1> is a red door, and <region2> is a cat",
        "The first region contains a red door. The second region contains a cat",
        "The content of region 1 is a red door. The content of region 2 is a cat",
        "区域1：a red door\n区域2：a cat",
        "第一个区域是a red door。第二个区域是a cat",
        "The first marked region (<region1>) shows a red door. The second region (<region2>) shows a cat",
        "Region 1's description: a red door\nRegion 2's description: a cat",
        "Region 1: a red door\n---\nRegion 2: a cat\n---",
        "```\nRegion 1: a red door\nRegion 2: a cat\n```",
    ],
)
def test_text_is_read_in_the_forms_that_models_give_it(text: str) -> None:
    found = read(text)
    assert found is not None
    assert {number: said.strip(" .,。，") for number, said in found.items()} == {1: "a red door", 2: "a cat"}


@pytest.mark.parametrize(
    "text",
    [
        "<region1> and <region2>: two red doors",
        "<region1>, <region2>: two red doors",
        "Regions 1-2: two red doors",
        "Region 1 & 2: two red doors",
        "区域1和区域2：两扇红色的门",
        "区域1、2：两扇红色的门",
        "<region1>: a red door. <region2> is behind it.",
        "<region1>: a red door. <region2> is behind it.\n<region2>: a cat",
        "<region1>: a red door, unlike <region2>: smaller\n<region2>: a cat",
        "<region1>: a red door (see <region2>: a cat)",
        "<region1>: a red door behind <region2>",
        "<region1>: a red door. The other is a cat.",
        "<region1> a red door <region2> a cat",
        "a red door\n<region1>\na cat\n<region2>",
        "Region 1 (door): red\nRegion 2 (cat): black",
        "### Region 1: Door\nA red one.\n### Region 2: Cat\nA black one.",
        "### Region 1\n- red\n- tall\n### Region 2\n- black\n- small",
        "<region1>: a red door\n\nAnd now the next:\n\n<region2>: a cat",
        "<region1>: a red door\n<region2>: a cat\nA quiet street.",
        "A shelf holds\n1. a book\n2. a vase",
        "1. a red door",
        "1. a red door\n2. a cat\n\n<region1>: a dog",
        "<region1>: a red door</region1>",
        "(Region 1: a red door)\n(Region 2: a cat)",
        "区域一是门，区域二是猫，它们都是红色的。",
    ],
)
def test_text_that_leaves_doubt_is_not_read(text: str) -> None:
    with pytest.raises(DoubtError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "a red door and a cat",
        "1.5 l of water\n2 cats",
        "1:24 model",
        "12:30 on a clock",
        "a door left of region 2",
        "3 - 1 on a scoreboard",
    ],
)
def test_text_without_descriptions_of_named_regions_is_none(text: str) -> None:
    assert read(text) is None


def test_chinese_sentences_may_be_set_apart_by_commas() -> None:
    assert read("区域1是红色的门，区域2是一只猫") == {1: "红色的门", 2: "一只猫"}
    assert read("区域1：区域2左边的门，比区域2的猫大\n区域2：猫") == {1: "区域2左边的门，比区域2的猫大", 2: "猫"}


def test_a_region_that_is_mentioned_is_a_part_of_the_description() -> None:
    text = (
        "<region1>: a red door left of <region2>, not of region 2's cat\n<region2>: a cat (no. 1), see [3]: it sleeps"
    )
    assert read(text) == {
        1: "a red door left of <region2>, not of region 2's cat",
        2: "a cat (no. 1), see [3]: it sleeps",
    }


def test_chat_is_in_no_description() -> None:
    reading = read_prose("Sure!\n<region1>: a red door\n<region2>: a cat. Let me know!\n\nA quiet street.", [1, 2])
    assert reading is not None
    assert reading.said == [(1, "a red door"), (2, "a cat.")]
    assert reading.outside == "Sure!\nLet me know!\n\nA quiet street."


def test_a_description_may_have_several_lines_if_they_go_on() -> None:
    assert read("<region1>: a red door\n  with a handle\n<region2>: a cat that\nsleeps") == {
        1: "a red door with a handle",
        2: "a cat that sleeps",
    }


def test_numbers_of_a_list_are_marked_as_such() -> None:
    numbered, worded = (
        read_prose("1. a red door\n2. a cat", [1, 2]),
        read_prose("Box 1: a red door\nBox 2: a cat", [1, 2]),
    )
    assert numbered is not None and worded is not None
    assert (numbered.counted, worded.counted) == (True, False)
