"""What AVIF and HEIF say of their picture; hostile bytes say nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regioncap.drop.heif import Said, read_heif
from regioncap.drop.images import open_image
from tests.builders import ROOT, encoded
from tests.unit.drop.files import box, clap, with_nclx, with_property
from tests.unit.drop.golden import pq_nits, tone_mapped

AVIF = encoded(Image.new("RGB", (40, 20), (200, 10, 10)), "AVIF")
HEIC = (ROOT / "tests" / "data" / "two_colours.heic").read_bytes()


def test_numbers_and_the_crop_of_the_picture_are_read() -> None:
    assert read_heif(AVIF) == Said(numbers=(1, 13))
    assert read_heif(with_nclx(AVIF, 9, 16)) == Said(numbers=(9, 16))
    assert read_heif(with_property(AVIF, b"clap", clap(20, 10))) == Said(numbers=(1, 13), crop=(10, 5, 30, 15))
    assert read_heif(HEIC).crop == (0, 0, 64, 48)


def test_where_there_is_a_profile_numbers_say_nothing() -> None:
    profile = with_property(AVIF, b"colr", b"prof" + bytes(200))
    assert read_heif(profile).numbers is None


@given(st.integers(0, len(AVIF)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_damaged_boxes_say_something_or_nothing_but_raise_nothing(end: int, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(with_property(AVIF, b"clap", clap(20, 10)))
    for at, value in changes:
        damaged[at % len(damaged)] = value
    assert isinstance(read_heif(bytes(damaged[:end])), Said)


def test_many_boxes_keep_nobody_busy() -> None:
    many = box(b"meta", bytes(4) + box(b"free", b"") * 200_000)
    assert read_heif(many) == Said()


@pytest.mark.parametrize("numbers", [(9, 16), (12, 16)])
def test_heic_of_hdr_is_mapped_to_what_a_screen_shows(numbers: tuple[int, int]) -> None:
    plain = np.asarray(open_image(HEIC, heic=True).decode(), float)
    seen = np.asarray(open_image(with_nclx(HEIC, *numbers), heic=True).decode(), float)
    primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
    expected = tone_mapped(pq_nits(plain / 255), *([primaries] if numbers[0] == 12 else []))
    # The decoder's own rounding in YCbCr moves a bright code by a step.
    assert np.abs(seen - expected).max() <= 8
