"""Descriptions without the markup that they stood in."""

import pytest

from regioncap.captions.cleaning import cleaned, in_one_line, of_itself, without_stars
from regioncap.captions.reading import DoubtError, Reading


def clean(text: str) -> str:
    ((_, found),) = cleaned(Reading([(1, text)])).said
    return found


@pytest.mark.parametrize(
    "text",
    [
        "a red door",
        "**a red door**",
        "a **red** door",
        '"a red door"',
        "“a red door”,",
        "a red door;",
        "a red<br>door",
        "<region1>: a red door",
        "Region 1: a red door",
        "In <region1>, a red door",
        "Description: a red door",
        "**Caption:** a red door",
        "描述：a red door",
        "a red\n  door",
    ],
)
def test_what_stands_round_a_description_is_left_out(text: str) -> None:
    assert clean(text) == "a red door"


@pytest.mark.parametrize(
    "text",
    [
        "a red door *new*",
        'a sign "STOP" and a sign "GO"',
        'a screen with {"a": 1}',
        "a list: [1, 2]",
        "a key with <Enter> on it",
        "a door left of <region2>, behind region 3",
        "what is in <region1>",
        "the dog's ball",
        "a_file_name.txt",
        "5 * 3 on a blackboard",
    ],
)
def test_what_a_description_has_in_it_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "**Door**: a red one",
        "**Door:** a red one",
        "**Door** - a red one",
        "a red door</region1> and more",
        "a red door, <region2>: a cat",
        "a red door. Region 2: a cat",
        "a red door <region1>",
        '{"caption": "a red door"}',
        "['a red door']",
        'a red door", "caption": "a cat',
        "a red door ```",
        "<td>a red door</td>",
        "a red door | <region2> |",
    ],
)
def test_a_title_or_a_scrap_leaves_doubt(text: str) -> None:
    with pytest.raises(DoubtError):
        clean(text)


def test_quotation_marks_stay_where_not_all_descriptions_have_them() -> None:
    reading = cleaned(Reading([(1, '"STOP"'), (2, "a cat")]))
    assert reading.said == [(1, '"STOP"'), (2, "a cat")]


def test_the_own_name_is_left_out_before_a_value_of_json_too() -> None:
    assert of_itself(1, "<region1>a red door</region1>") == "a red door"
    assert of_itself(1, "*: [a], 1. b") == "*: [a], 1. b"


def test_stars_and_white_space_are_told_from_what_is_written() -> None:
    assert [without_stars(text) for text in ("** a **", "*a", "a * b", " a\x1f ")] == ["a", "a", "a * b", "a\x1f"]
    assert in_one_line("a \n b\u3000c\x0bd") == "a b c\x0bd"
