"""Answers in elements and tables."""

import pytest

from regioncap.captions.markup import read_elements, read_table
from regioncap.captions.reading import DoubtError

TWO = [(1, "a red door"), (2, "a cat")]


@pytest.mark.parametrize(
    "text",
    [
        "<region1>a red door</region1><region2>a cat</region2>",
        "<region1>\na red door\n</region1>\n\n<region2>\na cat\n</region2>",
        "<Region_1>a red door</Region_1> <Region_2>a cat</Region_2>",
        "<region1>a red door</region><region2>a cat</region>",
        '<region id="1">a red door</region><region id="2">a cat</region>',
        "<region number=1>a red door</region><region number=2>a cat</region>",
        '<caption region="region1">a red door</caption><caption region="region2">a cat</caption>',
        "<regions><region><id>1</id><caption>a red door</caption></region>"
        "<region><id>2</id><caption>a cat</caption></region></regions>",
        "- <region1>a red door</region1>\n- <region2>a cat</region2>",
        "<区域1>a red door</区域1><区域2>a cat</区域2>",
    ],
)
def test_elements_are_read(text: str) -> None:
    reading = read_elements(text)
    assert reading is not None and reading.said == TWO


def test_words_round_elements_are_kept_apart() -> None:
    reading = read_elements(
        "Regions <region1> to <region2>.\n<region1>a red door</region1><region2>a cat</region2>\nBye"
    )
    assert reading is not None and reading.said == TWO
    assert reading.outside.endswith("Bye")


@pytest.mark.parametrize(
    "text",
    [
        "<region1>a red door</region2><region2>a cat</region1>",
        "<region1>a red door</region1> then <region2>a cat",
        "<region1>a red door</region1> and a dog <region2>a cat</region2>",
        "<region1>a red door <region2>a cat</region2></region1>",
        "<region>a red door</region><region>a cat</region>",
        '<region id="1"><id>2</id>a red door</region>',
        "a red door</region1>",
        '<region id="1">a red door left of <region1> here</region>',
    ],
)
def test_elements_that_leave_doubt_are_not_read(text: str) -> None:
    with pytest.raises(DoubtError):
        read_elements(text)


@pytest.mark.parametrize("text", ["<region1>: a red door", "a <b>bold</b> sign", "a < b"])
def test_other_text_has_no_elements(text: str) -> None:
    assert read_elements(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "| Region | Description |\n| --- | --- |\n| <region1> | a red door |\n| <region2> | a cat |",
        "| Description | Region |\n|:--|--:|\n| a red door | 1 |\n| a cat | 2 |",
        "|1|a red door|\n|2|a cat|",
        "Region | Caption\n--- | ---\n1 | a red door\n2 | a cat",
        "Region 1 | a red door\nRegion 2 | a cat",
        "| No. | Region | At | Caption |\n|-|-|-|-|\n| 5 | region1 | top | a red door |\n| 6 | region2 | top | a cat |",
        "| <region1> | <region2> |\n|---|---|\n| a red door | a cat |",
        "+---+-----+\n| 1 | a red door |\n+---+-----+\n| 2 | a cat |\n+---+-----+",
        "| 区域 | 描述 |\n|---|---|\n| 区域一 | a red door |\n| 区域二 | a cat |",
    ],
)
def test_tables_are_read_whatever_the_order_of_their_columns(text: str) -> None:
    reading = read_table(f"Here is a table:\n\n{text}\n\nBye")
    reading = read_table(text) if reading is None else reading
    assert reading is not None and reading.said == TWO


def test_numbers_without_a_heading_that_names_regions_are_only_counted() -> None:
    tables = [f"| {heading} | Description |\n|---|---|\n| 1 | a red door |" for heading in ("#", "Region")]
    assert [reading.counted for reading in map(read_table, tables) if reading] == [True, False]


def test_a_bar_within_a_cell_is_a_part_of_it() -> None:
    reading = read_table("| 1 | a key with \\| on it |")
    assert reading is not None and reading.said == [(1, "a key with | on it")]


@pytest.mark.parametrize(
    "text",
    [
        "| Region | Object | Details |\n|---|---|---|\n| 1 | door | red |\n| 2 | cat | black |",
        "| A | B |\n|---|---|\n| a red door | a cat |",
        "| 1 | 2 | a red door |\n| 2 | 1 | a cat |",
        "| 1 | a red door |\n| a cat |",
        "| 1 | a red door |\nand\n| 2 | a cat |",
    ],
)
def test_tables_that_leave_doubt_are_not_read(text: str) -> None:
    with pytest.raises(DoubtError):
        read_table(text)


@pytest.mark.parametrize(
    "text", ["<region1>: a key with | on it", "a red door", "<region1>: a red door | <region2>: a cat"]
)
def test_other_text_has_no_table(text: str) -> None:
    assert read_table(text) is None
