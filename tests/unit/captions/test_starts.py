"""Where descriptions start."""

import pytest

from regioncap.captions.namings import folded
from regioncap.captions.reading import DoubtError
from regioncap.captions.starts import check_styles, named_starts, numbered_starts


def started(text: str) -> list[tuple[int, str]]:
    """Each start's number, and the text from it on to the next."""
    starts, _ = named_starts(folded(text))
    ends = [*(start.lead for start in starts[1:]), len(text)][: len(starts)]
    return [(start.number, text[start.end : end]) for start, end in zip(starts, ends, strict=True)]


def test_a_description_starts_behind_a_name_and_what_joins_it_to_the_text() -> None:
    assert started("- **Region 1 (left):** a\n2. In <region2>, there is b\n### Region 3\nc") == [
        (1, "a\n"),
        (2, "there is b\n"),
        (3, "\nc"),
    ]
    assert started("Region 1 shows a. The second region is b; region 3 contains c") == [(1, "a."), (2, "b;"), (3, "c")]


@pytest.mark.parametrize(
    "text",
    [
        "Describe the content of each marked region. There are 2 regions: <region1> to <region2>.\n",
        "Describe only these regions: <region1>, <region2>.\n",
        "This is a close-up of <region1>. Describe <region1> only.\n",
        "Here are the descriptions of <region1> and <region2>:\n",
    ],
)
def test_names_in_the_words_of_a_prompt_start_nothing(text: str) -> None:
    assert started(text) == []
    assert started(f"{text}<region1>: a") == [(1, "a")]


def test_a_mention_starts_nothing_and_is_told() -> None:
    starts, mentioned = named_starts("<region1>: a left of <region2>, see region 3\n<region2>: b")
    assert [start.number for start in starts] == [1, 2]
    assert mentioned == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "<region1> and <region2>: a",
        "<region1>: a. <region2> in front",
        "<region1>: a (<region2>: b)",
        "<region1>: a\nnext <region2>: b",
        "Region 1 a",
        "<region1: a>",
        "Region 1 (a thing): b",
    ],
)
def test_a_name_that_may_start_something_or_not_is_doubt(text: str) -> None:
    with pytest.raises(DoubtError):
        named_starts(folded(text))


def test_starts_in_the_middle_of_lines_have_to_be_of_one_style() -> None:
    check_styles(named_starts("<region1>: dog <region2>: cat <region3>: cow")[0])
    check_styles(named_starts("<region1>: a\n<region2> - b")[0])
    for text in ("<region1>: a. <region2> is b", "<region1>: dog <region2>: cat\n<region3>: cow"):
        with pytest.raises(DoubtError):
            check_styles(named_starts(text)[0])


@pytest.mark.parametrize(
    ("text", "numbers", "counted"),
    [
        ("1. a\n2. b", [1, 2], True),
        ("(1) a; (2) b", [1, 2], True),
        ("1. a 2. b", [1], True),
        ("①a②b", [1, 2], True),
        ("Box 1: a\n1. b\nBox 2: c", [1, 2], False),
        ("1.5 l\n12:30\n1:24\n1/2\n1 cat", [], True),
    ],
)
def test_numbers_and_words_start_a_description_only_at_the_start_of_a_line(
    text: str, numbers: list[int], counted: bool
) -> None:
    starts, found = numbered_starts(folded(text))
    assert ([start.number for start in starts], found) == (numbers, counted)
