"""Colours that are told by numbers, at the ends of what can be told; the golden corpus has the pixels."""

import numpy as np
import pytest

from regioncap.drop.coding import by_gamma, by_numbers, shown
from tests.unit.drop.golden import SRGB

WHITE = (0.3127, 0.3290)


def seen(code: int, coding: object, dtype: str = "u1") -> list[int]:
    image = shown(np.full((4, 4, 3), code, dtype), coding)  # type: ignore[arg-type]
    return list(image.getpixel((1, 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize("transfer", [1, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18])
@pytest.mark.parametrize("primaries", [1, 2, 4, 5, 6, 7, 9, 11, 12, 22])
def test_black_is_black_white_is_white_and_grey_is_grey(primaries: int, transfer: int) -> None:
    coding = by_numbers(primaries, transfer)
    assert coding is not None
    # 17 is made for less than all of its range, so that its white is a little brighter than white.
    assert seen(0, coding) == [0, 0, 0] and min(seen(255, coding)) >= 254
    grey = seen(128, coding)
    assert max(grey) - min(grey) <= 1 and 40 <= grey[0] <= 235


@pytest.mark.parametrize("numbers", [(2, 2), (0, 13), (1, 0), (3, 13), (1, 255), (10, 13), (255, 255)])
def test_numbers_that_say_nothing_change_nothing(numbers: tuple[int, int]) -> None:
    assert by_numbers(*numbers) is None


def test_what_is_left_open_is_taken_for_the_usual() -> None:
    assert by_numbers(2, 16) == by_numbers(9, 16)
    assert by_numbers(12, 2) == by_numbers(12, 13)
    assert by_numbers(2, 13) == by_numbers(1, 13)


def test_a_narrow_range_is_spread() -> None:
    coding = by_numbers(1, 13, narrow=True)
    assert [seen(code, coding)[0] for code in (0, 16, 235, 255)] == [0, 0, 255, 255]


def test_a_gamma_near_srgbs_is_taken_for_it_and_primaries_that_are_none_are_left_out() -> None:
    assert by_gamma(0, None) is None and by_gamma(-1, None) is None
    for gamma in (0.4545, 0.45455, 0.4348, 0.476):
        assert (coding := by_gamma(gamma, (*SRGB, WHITE))) is not None and coding.is_srgb
    for gamma in (0.42, 0.5, 1.0):
        assert (coding := by_gamma(gamma, None)) is not None and not coding.is_srgb
    assert by_gamma(1, ((0.3, 0.3), (0.3, 0.3), (0.3, 0.3), WHITE)) == by_gamma(1, None)
    assert by_gamma(1, ((0.64, 0.33), (0.3, 0.6), (0.15, 0.0), WHITE)) == by_gamma(1, None)


def test_hdr_is_brighter_the_brighter_it_is_and_its_white_is_light() -> None:
    pq = by_numbers(9, 16)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    greys = np.asarray(shown(ramp, pq))[0, :, 0].astype(int)  # type: ignore[arg-type]
    assert (np.diff(greys) >= 0).all() and greys[0] == 0 and greys[-1] == 255
    # 203 cd/m2, white of paper, beside light of 10,000: light grey, not the middle grey that the number is.
    assert greys[148] > 165
    # A single lamp in a thousand pixels darkens nothing.
    dark = np.full((100, 100, 3), 148, np.uint8)
    dark[0, 0] = 255
    assert shown(dark, pq).getpixel((50, 50))[0] >= 250  # type: ignore[arg-type,index]
