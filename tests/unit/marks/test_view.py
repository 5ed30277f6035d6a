"""What the model is shown: the marked image and close-ups, at the size it sees, the same bytes each time."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from regioncap.marks.palette import colour_of
from regioncap.marks.pixels import for_opencv
from regioncap.marks.profiles import PROFILES, ModelProfile
from regioncap.marks.resize import resize
from regioncap.marks.styles import STYLES, MarkStyle
from regioncap.marks.view import crop_frame, crop_view, decoded_size, encode, mark
from regioncap.regions.boxes import Box
from tests.builders import picture

BOX = STYLES["box"]
QWEN = PROFILES["qwen2.5-vl"]


def zone_plate(width: int, height: int) -> Image.Image:
    """Rings that get finer towards the edge, down to the finest that pixels can show: what aliases, aliases here."""
    y, x = np.mgrid[:height, :width]
    rings = np.cos(np.pi * ((x - width / 2) ** 2 + (y - height / 2) ** 2) / width)
    return Image.fromarray((127.5 + 127.5 * rings).astype(np.uint8)).convert("RGB")


def difference(a: Image.Image, b: Image.Image) -> float:
    """Root mean square, in grey levels."""
    return float(np.sqrt(np.mean((np.asarray(a, dtype=float) - np.asarray(b, dtype=float)) ** 2)))


@pytest.mark.parametrize("shrinking", [1.0, 1.2, 1.5, 1.76, 1.95, 2.3, 3.5, 7.0])
def test_a_resized_image_is_about_as_near_to_lanczos_as_pillows_bilinear(shrinking: float) -> None:
    image = zone_plate(1400, 1000)
    size = (round(1400 / shrinking), round(1000 / shrinking))
    ideal = image.resize(size, Image.Resampling.LANCZOS)
    bilinear = image.resize(size, Image.Resampling.BILINEAR)
    assert difference(resize(image, size), ideal) <= 1.4 * difference(bilinear, ideal)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (640, 480), (2400, 1800)])
def test_opencv_is_given_the_pixels_that_pillow_has(size: tuple[int, int]) -> None:
    image = zone_plate(size[0] + 9, size[1] + 9).crop((5, 3, size[0] + 5, size[1] + 3))
    assert (for_opencv(image) == np.asarray(image)).all()
    assert (for_opencv(image, bgr=True) == np.asarray(image)[:, :, ::-1]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 2), (640, 480)])
def test_any_size_can_be_asked_for(size: tuple[int, int]) -> None:
    assert resize(picture(123, 77), size).size == size


# More than 16 MB lie in several pieces.
@pytest.mark.parametrize("size", [(64, 40), (2400, 1800)])
def test_a_resized_image_can_be_read_and_drawn_on_whatever_its_size(size: tuple[int, int]) -> None:
    image = picture(*size)
    resized = resize(image, size)
    assert (np.asarray(resized) == np.asarray(image)).all()
    resized.paste((1, 2, 3), (5, 5, 9, 9))
    assert resized.getpixel((6, 6)) == (1, 2, 3) and image.getpixel((6, 6)) != (1, 2, 3)
    assert (for_opencv(resized) == np.asarray(resized)).all()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_what_is_drawn_is_the_same_bytes_each_time(profile: ModelProfile, style: MarkStyle) -> None:
    def drawn() -> list[bytes]:
        image, boxes = picture(700, 400), {1: (100.0, 90.0, 300.0, 250.0), 2: (280.0, 60.0, 600.0, 390.0)}
        close, _ = crop_view(image, image.size, 2, boxes[2], profile, style)
        return [encode(mark(image, image.size, boxes, profile, style)), encode(close)]

    assert drawn() == drawn()


def test_a_close_up_shows_three_times_the_region_as_far_as_there_is_image() -> None:
    assert crop_frame((100, 100, 200, 150), (1000, 1000)) == (0, 50, 300, 200)
    assert crop_frame((950, 0, 1000, 40), (1000, 1000)) == (900, 0, 1000, 80)
    # A tiny region is seen with 48 pixels around it.
    assert crop_frame((500, 500, 504, 504), (1000, 1000)) == (478, 478, 526, 526)


@settings(max_examples=150)
@given(st.data(), st.sampled_from(sorted(PROFILES)))
def test_a_close_up_has_a_size_of_the_models_and_its_region_in_it(data: st.DataObject, name: str) -> None:
    profile = PROFILES[name]
    width, height = data.draw(st.integers(20, 900)), data.draw(st.integers(20, 900))
    x0, y0 = data.draw(st.integers(0, width - 6)), data.draw(st.integers(0, height - 6))
    box = (float(x0), float(y0), float(data.draw(st.integers(x0 + 5, width))), float(min(height, y0 + 30)))
    image, inside = crop_view(Image.new("RGB", (width, height)), (width, height), 7, box, profile, BOX)
    assert image.size == (profile.canvas or profile.size(*image.size))
    assert -1 <= inside[0] < inside[2] <= image.width + 1 and -1 <= inside[1] < inside[3] <= image.height + 1


SIDES = st.one_of(st.integers(1, 60), st.integers(1, 3000), st.sampled_from([1, 2, 28, 32, 56, 200, 65_000]))


@st.composite
def thin_or_not(draw: st.DrawFn, most: int) -> tuple[tuple[int, int], Box]:
    """A displayed size that `open_image` lets through, of `most` pixels, and any box in it that has an area."""
    width, height = draw(SIDES), draw(SIDES)
    assume(max(width, height) <= 200 * min(width, height) and width * height <= most)

    def side(limit: int) -> tuple[float, float]:
        low = draw(st.floats(0, limit, exclude_max=True, allow_subnormal=False))
        return low, draw(st.floats(low, limit, exclude_min=True, allow_subnormal=False))

    (x0, x1), (y0, y1) = side(width), side(height)
    return (width, height), (x0, y0, x1, y1)


def check_size(size: tuple[int, int], profile: ModelProfile) -> None:
    assert min(size) >= 1 and max(size) <= 65_500
    if profile.family is None or profile.family.startswith("qwen"):
        assert max(size) <= 200 * min(size) and size[0] * size[1] <= 1280 * 28 * 28


@settings(max_examples=400)
@given(thin_or_not(100_000_000), st.sampled_from(sorted(PROFILES)))
def test_no_size_is_beyond_what_models_and_jpeg_take(case: tuple[tuple[int, int], Box], name: str) -> None:
    displayed, box = case
    profile = PROFILES[name]
    check_size(profile.size(*displayed), profile)
    x0, y0, x1, y1 = crop_frame(box, displayed)
    assert 0 <= x0 <= box[0] and box[2] <= x1 <= displayed[0] and 0 <= y0 <= box[1] and box[3] <= y1 <= displayed[1]
    assert max(x1 - x0, y1 - y0) <= 201 * min(x1 - x0, y1 - y0)
    wanted = decoded_size(displayed, profile, {1: box})
    assert 1 <= wanted[0] <= displayed[0] and 1 <= wanted[1] <= displayed[1]


@settings(max_examples=150)
@given(thin_or_not(2_000_000), st.sampled_from(sorted(PROFILES)), st.sampled_from(sorted(STYLES)))
def test_any_box_in_any_image_is_drawn(case: tuple[tuple[int, int], Box], name: str, style: str) -> None:
    displayed, box = case
    profile = PROFILES[name]
    image = Image.new("RGB", displayed, (90, 90, 90))
    marked = mark(image, displayed, {1: box}, profile, STYLES[style])
    close, _ = crop_view(image, displayed, 1, box, profile, STYLES[style])
    for drawn in (marked, close):
        check_size(drawn.size, profile)
        assert encode(drawn).startswith(b"\xff\xd8")


def test_a_line_across_a_long_image_has_a_close_up_with_what_is_beside_it() -> None:
    assert crop_frame((0, 0, 1, 60_000), (1000, 60_000)) == (0, 0, 1000, 60_000)
    assert crop_frame((0, 0, 1, 10_000), (1000, 10_000)) == (0, 0, 200, 10_000)
    assert crop_frame((999, 0, 1000, 10_000), (1000, 10_000)) == (800, 0, 1000, 10_000)


def test_a_close_up_shows_what_is_in_the_box_larger_and_marks_only_that_region() -> None:
    image = Image.new("RGB", (1200, 900), (90, 90, 90))
    image.paste((250, 250, 250), (600, 400, 640, 430))
    close, inside = crop_view(image, image.size, 3, (600, 400, 640, 430), QWEN, BOX)
    centre = round((inside[0] + inside[2]) / 2), round((inside[1] + inside[3]) / 2)
    assert inside[2] - inside[0] > 3 * 40
    assert min(close.getpixel(centre)) > 240  # type: ignore[type-var, arg-type]
    colours = {colour for _, colour in close.getcolors(1 << 20) or []}
    assert colour_of(3) in colours and not {colour_of(1), colour_of(2)} & colours


def test_an_image_is_decoded_as_large_as_its_close_ups_need() -> None:
    small: dict[int, Box] = {1: (1000, 1000, 1100, 1100)}
    large: dict[int, Box] = {1: (0, 0, 4000, 3000)}
    assert decoded_size((4000, 3000), QWEN, {}) == decoded_size((4000, 3000), QWEN, large)
    assert decoded_size((4000, 3000), QWEN, small) == (4000, 3000)


def test_a_close_up_from_a_reduced_image_shows_the_same_part() -> None:
    photo = zone_plate(1600, 1200).crop((300, 200, 1500, 1100))
    box = (500.0, 300.0, 700.0, 500.0)
    full, at_full = crop_view(photo, photo.size, 1, box, QWEN, BOX)
    reduced, at_reduced = crop_view(photo.reduce(2), photo.size, 1, box, QWEN, BOX)
    assert full.size == reduced.size
    assert at_full == pytest.approx(at_reduced, abs=1.0)
