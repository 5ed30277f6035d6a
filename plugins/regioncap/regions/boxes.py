"""Bounding boxes: reading what a row says, bringing it into one frame, and saying why a box cannot be used.

One internal form everywhere: `Box` = (x0, y0, x1, y1) in float pixels of the image *as displayed* (EXIF orientation
applied), origin at the top left, x1 and y1 exclusive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from regioncap.regions.codes import Code

Box = tuple[float, float, float, float]

BoxFormat = Literal[
    "xywh", "xyxy", "cxcywh",
    "xywh_norm", "xyxy_norm", "cxcywh_norm",
    "xywh_1000", "xyxy_1000", "cxcywh_1000",
]  # fmt: skip
BOX_FORMATS: tuple[str, ...] = get_args(BoxFormat)

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
        "1000": (width / 1000, height / 1000),
    }[unit]
    a, b, c, d = raw[0] * scale_x, raw[1] * scale_y, raw[2] * scale_x, raw[3] * scale_y
    if layout == "xyxy":
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
    given: Sequence[Any], *, box_format: BoxFormat, width: int, height: int, scale: float, max_boxes: int
) -> tuple[list[Region], list[DroppedBox]]:
    """Decide which of the given boxes become regions 1..n of a `width` x `height` image, and why the others do not.

    `scale` is pixels seen by the model per displayed pixel. Regions keep the given order.
    """
    regions: list[Region] = []
    dropped: list[DroppedBox] = []
    for index, raw in enumerate(given):
        box, code = _usable(raw, box_format, width, height, scale)
        if box is not None and len(regions) == max_boxes:
            box, code = None, Code.OVER_MAX_BOXES
        if box is None:
            assert code is not None
            dropped.append(DroppedBox(index, code))
        else:
            regions.append(Region(index, box))
    return regions, dropped


def _usable(raw: Any, box_format: BoxFormat, width: int, height: int, scale: float) -> tuple[Box | None, Code | None]:
    if code := box_error(raw):
        return None, code
    box = to_pixels(raw, box_format, width, height)
    if box[2] <= box[0] or box[3] <= box[1]:
        return None, Code.NO_AREA
    clipped = clip(box, width, height)
    if clipped is None:
        return None, Code.OUTSIDE
    if min(clipped[2] - clipped[0], clipped[3] - clipped[1]) * scale < MIN_SIDE_SEEN:
        return None, Code.TOO_SMALL
    return clipped, None


@dataclass(frozen=True)
class GivenBox:
    """A box as given, and the (width, height) of its image as displayed, in pixels."""

    raw: Any
    size: tuple[int, int]


# Two ways to doubt the declared format. It fits fewer boxes than the first share, and another one at least the second:
# numbers of another unit, mostly. Or another layout of the same unit fits nearly all, and so many more than the
# declared one: half the boxes of a corner and a size are still in their images when they are taken for a centre and a
# size, and wrong. Right boxes have been stopped by this in none of 3,000 samples of COCO.
_DOUBTED, _BELIEVED = 0.5, 0.9
_NEARLY_ALL, _BETTER = 0.97, 0.03
# In another unit boxes count as reaching further towards the edges only by so much of a side.
_FURTHER = 0.1
# Fewer boxes say nothing, ...
_ENOUGH = 20
# ... or where no fewer than these do not fit as declared, and all do in another layout: slips come one by one.
_FEW, _MISFITS = 8, 3
# Annotators round, and draw a little over the edge.
_SLACK = 0.02


@dataclass(frozen=True)
class Suspicion:
    """The boxes fit their images better in the format `likely` (as a share of them) than in the declared one.

    `certain` says that it is the only one in which they do; `x_first` that they would not fit as well with y before x.
    """

    likely: BoxFormat
    likely_share: float
    declared_share: float
    certain: bool
    x_first: bool


def suspect_format(boxes: Sequence[GivenBox], declared: BoxFormat) -> Suspicion | None:
    """Whether the boxes look like another format than the declared one."""
    usable = [box for box in boxes if box_error(box.raw) is None]
    if len(usable) < _FEW:
        return None
    unit = _unit(declared)
    shares = {name: _share(usable, name) for name in get_args(BoxFormat) if _unit(name) == unit}
    own = shares[declared]
    likely = max(shares, key=lambda name: shares[name])
    if len(usable) < _ENOUGH:
        doubted = shares[likely] == 1 and (1 - own) * len(usable) > _MISFITS - 0.5
    else:
        doubted = shares[likely] >= max(_NEARLY_ALL, own + _BETTER)
        if not doubted and own < _DOUBTED:
            shares |= {name: _share(usable, name) for name in get_args(BoxFormat) if name not in shares}
            # Of formats that fit equally well, one in the declared unit comes first.
            likely = max(shares, key=lambda name: shares[name])
            doubted = shares[likely] >= _BELIEVED
    if not doubted:
        return None
    rivals = [share for name, share in shares.items() if name not in (likely, declared)]
    # Pixels of images of up to 1,000 fit as thousandths too, and thousandths fit larger images as pixels. But then they
    # never come near the far edges.
    reach = _reach(usable, likely)
    others = (name for name in get_args(BoxFormat) if name not in shares)
    rivals += [_share(usable, name) for name in others if _reach(usable, name) > reach + _FURTHER]
    # Numbers of up to 1,000 fit many images by accident: those of larger copies, and pairs of y and x.
    certain = max(rivals) < shares[likely] - _BETTER and (_unit(likely) == unit or _unit(likely) != "1000")
    turned = [GivenBox([box.raw[place] for place in (1, 0, 3, 2)], box.size) for box in usable]
    x_first = _share(turned, likely) < shares[likely] - _BETTER
    return Suspicion(likely, shares[likely], own, certain, x_first)


def _unit(box_format: BoxFormat) -> str:
    return box_format.partition("_")[2]


def _reach(boxes: Sequence[GivenBox], box_format: BoxFormat) -> float:
    """How far the boxes that fit their images in a format go towards the right and lower edges, 1 being an edge."""
    read = ((to_pixels(box.raw, box_format, *box.size), box.size) for box in boxes)
    return max((max(box[2] / size[0], box[3] / size[1]) for box, size in read if _fits(box, size)), default=0.0)


def _share(boxes: Sequence[GivenBox], box_format: BoxFormat) -> float:
    """How many of the boxes fit their images in a format, as a share of them."""
    return sum(_fits(to_pixels(box.raw, box_format, *box.size), box.size) for box in boxes) / len(boxes)


def _fits(box: Box, size: tuple[int, int]) -> bool:
    """At least a pixel on each side, and inside the image but for some slack."""
    x0, y0, x1, y1 = box
    width, height = size
    return (
        x1 - x0 >= 1
        and y1 - y0 >= 1
        and min(x0 / width, y0 / height) >= -_SLACK
        and max(x1 / width, y1 / height) <= 1 + _SLACK
    )


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
