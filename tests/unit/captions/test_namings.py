"""Names of regions, as models write them."""

import pytest

from regioncap.captions.namings import bare_number, folded, is_name, named, naming_of_line, namings


@pytest.mark.parametrize(
    "text",
    [
        "<region3>",
        "<region 3>",
        "< region3 >",
        "<Region_3>",
        "＜ｒｅｇｉｏｎ３＞",
        "&lt;region3&gt;",
        r"\<region3\>",
        "[Region 3]",
        "(region-3)",
        "**Region 3**",
        "`region3`",
        '"<region3>"',
        "Region #3",
        "Region No. 3",
        "region three",
        "third region",
        "3rd region",
        "the third marked region",
        "region marked 3",
        "区域3",
        "区域３",
        "區域3",
        "区域三",
        "第3个区域",
        "第三个区域",
        "三号区域",
        "3号区域",
        "【区域3】",
        "「区域3」",
        "区域③",
        "标记为3的区域",
        "</region3>",
    ],
)
def test_a_name_is_found_in_whatever_way_it_is_written(text: str) -> None:
    (naming,) = namings(folded(text))
    assert naming.number == 3


@pytest.mark.parametrize(
    "text",
    [
        "a map of the region with 3 towns",
        "subregion 3",
        "regional 3 train",
        "region: 3 dogs",
        "该区域三面环海",
        "这个区域：三只狗",
        "regions",
    ],
)
def test_the_word_alone_is_no_name(text: str) -> None:
    assert list(namings(folded(text))) == []


@pytest.mark.parametrize(
    ("written", "number"), [("十", 10), ("十二", 12), ("二十", 20), ("二十一", 21), ("一", 1), ("一二", 0)]
)
def test_chinese_numbers_are_read(written: str, number: int) -> None:
    assert named(f"区域{written}") == number


def test_a_name_is_found_with_its_signs_at_its_place_in_the_text() -> None:
    text = "Ｓｅｅ **<Region 2>**: 一只猫, İ and [region3]"
    small = folded(text)
    assert len(small) == len(text)
    assert [text[naming.start : naming.end] for naming in namings(small)] == ["**<Region 2>**", "[region3]"]
    assert [naming.tag for naming in namings(small)] == [True, True]


def test_the_end_of_an_element_is_told() -> None:
    opening, end = namings("<region1>x</region1>")
    assert (opening.closing, end.closing) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "2. x",
        "2) x",
        "(2) x",
        "[2] x",
        "#2 x",
        "2: x",
        "2、x",
        "（2）x",
        "【2】x",
        "②x",
        "二、x",
        "（二）x",
        "**2.** x",
        "2️⃣ x",
        "2 - x",
    ],
)
def test_numbers_of_lists_are_read(text: str) -> None:
    naming = bare_number(folded(text), 0)
    assert naming is not None and naming.number == 2


@pytest.mark.parametrize("text", ["2 dogs", "a 2. x", "2nd place", "2/3 full", "x"])
def test_other_numbers_are_none_of_a_list(text: str) -> None:
    assert bare_number(folded(text), 0) is None


@pytest.mark.parametrize("text", ["Box 2: x", "Tag 2", "Object #2: x", "bounding box 2", "标记2：x", "**Area 2**"])
def test_other_words_name_a_region_where_they_open_a_line(text: str) -> None:
    naming = naming_of_line(folded(text), 0)
    assert naming is not None and naming.number == 2
    assert list(namings(folded(text))) == []


@pytest.mark.parametrize(
    ("text", "number", "certain"),
    [
        ("<region1>", 1, True),
        ("region_1:", 1, True),
        ("1", 1, False),
        ("#1", 1, False),
        ("(1)", 1, False),
        ("box 1", 1, False),
        ("caption", None, False),
        ("1.5", None, False),
        ("a region", None, False),
    ],
)
def test_keys_and_cells_name_a_region_as_a_whole(text: str, number: int | None, certain: bool) -> None:
    assert (named(text), is_name(text)) == (number, certain)
