"""`empty`: nothing is said."""

import pytest

from tests.judging import judge


@pytest.mark.parametrize(
    "caption",
    [
        "(none)",
        "（空）",
        "（无）",
        "内容为空",
        "没有内容",
        "Not visible.",
        "No object",
        "No description available.",
        "Not applicable",
        "N.A.",
        "Nothing is visible in this region.",
        "no objects detected",
        "This region contains nothing.",
        "to be described",
        "your description here",
        "The description of region 1.",
        "该区域的中文描述",
        "区域1的描述",
        "此处无内容",
        "没有可见的物体",
        "Ｎ／Ａ",
        "!",
        "_",
        "[]",
        "region_1",
    ],
)
def test_what_stands_for_a_caption_and_is_none_rejects(caption: str) -> None:
    assert judge(caption, "zh" if not caption.isascii() else "en")["empty"] == "reject"


@pytest.mark.parametrize(
    "caption",
    ["B", "7", "福", "An empty glass.", "Blank sheet of paper.", "A 'No entry' sign.", "没有人的长椅。", "空调"],
)
def test_short_captions_of_things_pass(caption: str) -> None:
    assert "empty" not in judge(caption)


@pytest.mark.parametrize("caption", ["空", "a string", "A"])
def test_a_word_that_may_be_a_thing_does_not_reject(caption: str) -> None:
    assert judge(caption, "zh" if caption == "空" else "en").get("empty") != "reject"


def test_a_regions_own_number_alone_may_be_the_mark() -> None:
    assert judge("3", "en", region=3)["empty"] == "warn"


@pytest.mark.parametrize(
    "caption",
    [
        "ditto",
        "same as above",
        "Same as region 1.",
        "see above",
        "同上",
        "同上。",
    ],
)
def test_what_stands_for_another_caption_is_none(caption: str) -> None:
    assert judge(caption).get("empty") == "reject"
