"""What a listener is asked, and under which numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.regions.boxes import Box
from regioncap.trust.questions import MOST_MARKS, Sheet, chance, drawn, sheets, shuffle


def each(n: int) -> dict[int, str]:
    return {region: f"thing {region}" for region in range(1, n + 1)}


def row_of(n: int) -> dict[int, Box]:
    return {region: (10.0 * region, 0.0, 10.0 * region + 5, 5.0) for region in range(1, n + 1)}


@given(st.text(), st.integers(1, MOST_MARKS))
def test_a_shuffle_gives_each_region_one_of_the_numbers(seed: str, n: int) -> None:
    assert sorted(shuffle(seed, n)) == list(range(1, n + 1))


@given(st.text(), st.integers(2, MOST_MARKS))
def test_a_shuffle_never_leaves_every_region_its_own_number(seed: str, n: int) -> None:
    assert shuffle(seed, n) != tuple(range(1, n + 1))


def test_a_shuffle_is_always_the_same_and_each_text_has_its_own() -> None:
    assert shuffle("a", 9) == shuffle("a", 9)
    assert len({shuffle(str(text), 9) for text in range(100)}) > 95


def test_each_number_is_as_likely_for_each_region() -> None:
    firsts = [shuffle(str(text), 4)[0] for text in range(4000)]
    # Never all in order: a region's own number is a little less likely.
    assert all(800 < firsts.count(number) < 1150 for number in (1, 2, 3, 4))


@given(st.integers(0, 60), st.integers(0, 1))
def test_each_region_is_on_one_sheet_of_a_round_with_no_more_marks_than_one_token_tells(n: int, round_: int) -> None:
    made = sheets("row", row_of(n), each(n), round_)
    assert sorted(region for sheet in made for region in sheet.regions) == list(range(1, n + 1))
    for sheet in made:
        assert sorted(number for _, number in sheet.shown) == list(range(1, len(sheet.shown) + 1))
        assert len(sheet.shown) <= MOST_MARKS


def test_regions_that_are_near_each_other_share_a_sheet() -> None:
    left = {region: (float(region), 0.0, region + 1.0, 1.0) for region in (1, 3, 5, 7, 9, 11)}
    right = {region: (500.0 + region, 0.0, 501.0 + region, 1.0) for region in (2, 4, 6, 8, 10, 12)}
    assert [sheet.regions for sheet in sheets("row", left | right, each(12), 0)] == [
        (1, 3, 5, 7, 9, 11),
        (2, 4, 6, 8, 10, 12),
    ]


def test_regions_with_the_same_box_are_cut_into_sheets_too() -> None:
    assert [
        len(sheet.shown) for sheet in sheets("row", dict.fromkeys(range(1, 21), (0.0, 0.0, 1.0, 1.0)), each(20), 0)
    ] == [5] * 4


def test_a_sheet_knows_under_which_number_a_region_is_shown() -> None:
    sheet = Sheet("row", 0, ((4, 2), (7, 1)), (4, 7))
    assert (sheet.number(4), sheet.number(7)) == (2, 1)
    with pytest.raises(KeyError):
        sheet.number(5)


def test_rounds_shuffle_differently() -> None:
    both = [sheets(f"row {at}", row_of(6), each(6), round_)[0].shown for at in range(50) for round_ in (0, 1)]
    assert sum(one == other for one, other in zip(both[::2], both[1::2], strict=True)) <= 2


def test_a_sample_has_about_its_share_and_a_larger_one_holds_the_smaller() -> None:
    regions = [(f"row {at}", region) for at in range(500) for region in (1, 2, 3)]
    fifth = {place for place in regions if drawn(*place, 0.2)}
    half = {place for place in regions if drawn(*place, 0.5)}
    assert fifth < half
    assert 240 < len(fifth) < 360
    assert all(drawn(*place, 1.0) for place in regions)
    assert not any(drawn(*place, 0.0) for place in regions)


@given(st.text(), st.text(), st.integers(1, 99))
def test_a_chance_is_from_0_and_below_1(what: str, image: str, region: int) -> None:
    assert 0.0 <= chance(what, image, region) < 1.0


def test_in_the_second_round_regions_of_one_caption_are_shown_apart_with_all_others() -> None:
    captions = {1: "a star", 2: "a heart", 3: "A star.", 4: "a cross", 5: "a star"}
    together, *none = sheets("row", row_of(5), captions, 0)
    assert (together.regions, together.asked, none) == ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), [])
    made = [(sheet.regions, sheet.asked) for sheet in sheets("row", row_of(5), captions, 1)]
    assert made == [((1, 2, 4), (1, 2, 4)), ((2, 3, 4), (3,)), ((2, 4, 5), (5,))]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=25), st.integers(0, 1))
def test_each_region_is_asked_about_on_one_sheet_of_a_round_which_shows_it(said: list[str], round_: int) -> None:
    captions = dict(enumerate(said, start=1))
    made = sheets("row", row_of(len(said)), captions, round_)
    assert sorted(region for sheet in made for region in sheet.asked) == sorted(captions)
    for sheet in made:
        assert set(sheet.asked) <= set(sheet.regions)
        assert round_ == 0 or len({captions[region] for region in sheet.regions}) == len(sheet.regions)
