"""Bounding boxes: reading what a row says, bringing it into one frame, and saying why a box cannot be used.

One internal form everywhere: `Box` = (x0, y0, x1, y1) in float pixels of the image *as displayed* (EXIF orientation
applied), origin at the top left, x1 and y1 exclusive.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from regioncap.regions.codes import Code

Box = tuple[float, float, float, float]

BoxFormat = Literal[
    "xywh", "xyxy", "cxcywh", "yxyx",
    "xywh_norm", "xyxy_norm", "cxcywh_norm", "yxyx_norm",
    "xywh_percent", "xyxy_percent", "cxcywh_percent", "yxyx_percent",
    "xywh_1000", "xyxy_1000", "cxcywh_1000", "yxyx_1000",
]  # fmt: skip
BOX_FORMATS: tuple[BoxFormat, ...] = get_args(BoxFormat)

# A region needs a few pixels for the model to see anything in it: Qwen-VL's patches are 14 px, SigLIP's 16 px.
MIN_SIDE_SEEN = 4.0


@dataclass(frozen=True)
class Region:
    """A box that is used. `box` is clipped to the image; `box_index` is its 0-based place among the given boxes."""

    box_index: int
    box: Box


@dataclass(frozen=True)
class DroppedBox:
    """A box that is not used, and why."""

    box_index: int
    code: Code


def box_error(raw: Any) -> Code | None:
    """What is wrong with the form of one given box, before the image is known; None if nothing is."""
    if not isinstance(raw, list):
        return Code.NOT_A_BOX
    if len(raw) != 4:
        return Code.WRONG_LENGTH
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in raw):
        return Code.NOT_A_NUMBER
    # An integer can be too large for a float; so large a coordinate is as good as infinite.
    if not all(abs(value) < 1e12 for value in raw):
        return Code.NOT_FINITE
    return None


def to_pixels(raw: Sequence[float], box_format: BoxFormat, width: int, height: int) -> Box:
    """Bring a well-formed box of the declared format into pixels of a `width` x `height` image; nothing is clipped."""
    layout, _, unit = box_format.partition("_")
    scale_x, scale_y = {
        "": (1.0, 1.0),
        "norm": (float(width), float(height)),
        "percent": (width / 100, height / 100),
        "1000": (width / 1000, height / 1000),
    }[unit]
    if layout == "yxyx":
        raw = [raw[1], raw[0], raw[3], raw[2]]
    a, b, c, d = raw[0] * scale_x, raw[1] * scale_y, raw[2] * scale_x, raw[3] * scale_y
    if layout in ("xyxy", "yxyx"):
        return a, b, c, d
    if layout == "cxcywh":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, a + c, b + d


def clip(box: Box, width: int, height: int) -> Box | None:
    """The part of `box` inside a `width` x `height` image, or None if there is none."""
    x0, y0 = max(0.0, box[0]), max(0.0, box[1])
    x1, y1 = min(float(width), box[2]), min(float(height), box[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def select_regions(
    given: Sequence[Any],
    *,
    place: Callable[[Sequence[float]], Box],
    width: int,
    height: int,
    scale: float,
    max_boxes: int,
) -> tuple[list[Region], list[DroppedBox]]:
    """Decide which of the given boxes become regions 1..n of a `width` x `height` image, and why the others do not.

    `place` brings a well-formed box into pixels of the image as displayed; `scale` is pixels seen by the model per
    displayed pixel. Regions keep the given order.
    """
    regions: list[Region] = []
    dropped: list[DroppedBox] = []
    for index, raw in enumerate(given):
        box, code = _usable(raw, place, width, height, scale)
        if box is not None and len(regions) == max_boxes:
            box, code = None, Code.OVER_MAX_BOXES
        if box is None:
            assert code is not None
            dropped.append(DroppedBox(index, code))
        else:
            regions.append(Region(index, box))
    return regions, dropped


def _usable(
    raw: Any, place: Callable[[Sequence[float]], Box], width: int, height: int, scale: float
) -> tuple[Box | None, Code | None]:
    if code := box_error(raw):
        return None, code
    box = place(raw)
    if box[2] <= box[0] or box[3] <= box[1]:
        return None, Code.NO_AREA
    clipped = clip(box, width, height)
    if clipped is None:
        return None, Code.OUTSIDE
    if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) * scale < MIN_SIDE_SEEN:
        return None, Code.TOO_SMALL
    return clipped, None


def has_duplicates(regions: Sequence[Region]) -> bool:
    """Whether two regions are exactly the same part of the image: most likely a slip of the annotator."""
    return len({region.box for region in regions}) < len(regions)


def normalized(boxes: Sequence[Box], width: int, height: int, slots: int) -> list[list[float]]:
    """Each box as [x0, y0, x1, y1] in 0..1 with 3 decimals, padded with zero boxes to `slots`."""
    rows = [
        [round(x0 / width, 3), round(y0 / height, 3), round(x1 / width, 3), round(y1 / height, 3)]
        for x0, y0, x1, y1 in boxes
    ]
    return rows + [[0.0] * 4 for _ in range(slots - len(rows))]


def as_xywh(box: Box) -> list[int | float]:
    """A box as [x, y, w, h] for a record: pixels with at most 2 decimals, whole numbers as integers."""
    x0, y0, x1, y1 = box
    return [_tidy(value) for value in (x0, y0, x1 - x0, y1 - y0)]


def _tidy(value: float) -> int | float:
    rounded = round(value, 2)
    return int(rounded) if math.isclose(rounded, round(rounded), abs_tol=1e-9) else rounded
