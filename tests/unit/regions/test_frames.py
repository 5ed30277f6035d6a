"""Frames: where a box of the stored image, or of a copy of another size, lies in the image as displayed."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from regioncap.regions.frames import Canvas, as_displayed


def stored_image(orientation: int, box: tuple[int, int, int, int]) -> Image.Image:
    """A photo of 60 x 40 stored pixels, black but for a white box, with an EXIF orientation."""
    image = Image.new("L", (60, 40))
    image.paste(255, box)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    image.save(data, "PNG", exif=exif)
    return Image.open(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("frame", ["stored", "row_size"])
def test_a_box_of_the_stored_image_lies_where_a_viewer_shows_it(orientation: int, frame: str) -> None:
    shown = ImageOps.exif_transpose(stored_image(orientation, (5, 10, 25, 16)))
    rows, columns = np.nonzero(np.asarray(shown))
    # Of a copy that is twice as large, too.
    scale = 2 if frame == "row_size" else 1
    stated = (60 * scale, 40 * scale)
    canvas = Canvas(shown.size, orientation, stated)
    raw = [value * scale for value in (5, 10, 20, 6)]
    if frame == "row_size" and orientation < 5:
        # The row's size says nothing of a mirrored or upside-down image: its boxes are those of the image as displayed.
        assert as_displayed(raw, "xywh", "row_size", canvas) == (5, 10, 25, 16)
        return
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert as_displayed(raw, "xywh", frame, canvas) == expected  # type: ignore[arg-type]


def test_shares_of_the_sides_are_those_of_the_frame() -> None:
    canvas = Canvas((40, 60), 6)
    assert as_displayed([0.0, 0.0, 0.5, 0.25], "xywh_norm", "stored", canvas) == (30, 0, 40, 30)
    assert as_displayed([0.0, 0.0, 0.5, 0.25], "xywh_norm", "displayed", canvas) == (0, 0, 20, 15)


def test_a_row_without_a_size_has_boxes_of_the_image_as_displayed() -> None:
    assert as_displayed([1, 2, 3, 4], "xyxy", "row_size", Canvas((40, 60), 6)) == (1, 2, 3, 4)


def test_which_frames_there_are_depends_on_the_image_and_on_the_row() -> None:
    assert Canvas((40, 60)).frames() == ["displayed"]
    assert Canvas((40, 60), stated=(40, 60)).frames() == ["displayed"]
    assert Canvas((40, 60), 6).frames() == ["displayed", "stored"]
    assert Canvas((40, 60), stated=(80, 120)).frames() == ["displayed", "row_size"]
    # Swapped sides mean the image as stored.
    swapped = Canvas((40, 60), 6, (60, 40))
    assert swapped.frames() == ["displayed", "stored"]
    assert swapped.states("stored")
    assert not Canvas((40, 60), 6, (40, 60)).states("stored")
