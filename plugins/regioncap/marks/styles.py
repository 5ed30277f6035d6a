"""Numbered marks that a model can read. A style is a list of pieces, and the words that explain it to the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from regioncap.extend import Registry
from regioncap.marks.palette import colour_of
from regioncap.marks.pieces import Mark, Piece, Scale, corner_ticks, dim_outside, outline, tags
from regioncap.regions.boxes import Box
from regioncap.regions.names import region_label

__all__ = ["STYLES", "MarkStyle", "draw_marks", "layout"]


# Digits of less than about 9 pixels, three quarters of the tag, are lost in a patch of 14.
_MIN_TAG = 12
# In a crowd, tags get smaller so that together they cover no more than this share of the image. A tag of two digits is
# about 1.2 times as wide as high.
_MAX_COVERED, _TAG_ASPECT = 0.2, 1.2

# What the prompt alone does not say: how a number in the picture and a region's name belong together.
_FRAMED = {
    "en": "In the image each region is framed, and a tag on the frame shows its number: tag 1 is <region1>. "
    "Describe what is inside the frame, not the frame or the tag.",
    "zh": "图像中每个区域都有边框，边框上的标签显示其编号：标签 1 即 <region1>。"
    "请描述边框内的内容，不要描述边框或标签。",
}


@dataclass(frozen=True)
class MarkStyle:
    """How marks look, and what the model is told about them.

    `tag_scale` is a tag's height and `line_scale` a line's width, both as a share of sqrt(width * height) of the image
    that is drawn on. The defaults are what the demo model reads best at 256 px. `words` has, for each language of
    captions, the sentences of the system message that say how to find <region1> in the image.
    """

    name: str = "box"
    pieces: tuple[Piece, ...] = (outline, tags)
    tag_scale: float = 0.085
    line_scale: float = 0.006
    words: Mapping[str, str] = field(default_factory=lambda: _FRAMED)


def _fault(name: str, style: Any) -> str | None:
    if not isinstance(style, MarkStyle):
        return "is no MarkStyle"
    if style.name != name:
        return f"has the name {style.name!r} and the entry point {name!r}: they have to be the same"
    missing = sorted(_FRAMED.keys() - style.words.keys())
    return f"has no words in {', '.join(missing)}" if missing else None


_OWN = (
    MarkStyle("box"),
    MarkStyle("corners", (corner_ticks, tags)),
    MarkStyle("spotlight", (dim_outside, outline, tags)),
)
STYLES = Registry("regioncap.styles", "mark style", {style.name: style for style in _OWN}, _fault)


def draw_marks(image: Image.Image, boxes: Mapping[int, Box], style: MarkStyle) -> None:
    """Draw a mark around each region's box ((x0, y0, x1, y1) in pixels of `image`, inside its frame), in place.

    `boxes` maps region numbers (1-based) to boxes. `image` is RGB at the size the model sees.
    """
    marks, scale = layout(image.size, boxes, style)
    for piece in style.pieces:
        piece(image, marks, scale)


def layout(frame: tuple[int, int], boxes: Mapping[int, Box], style: MarkStyle) -> tuple[list[Mark], Scale]:
    """What `draw_marks` draws on an image of size `frame`: the marks, and the sizes of their parts."""
    unit = math.sqrt(frame[0] * frame[1])
    line = max(2, round(style.line_scale * unit))
    tag = min(style.tag_scale, math.sqrt(_MAX_COVERED / (_TAG_ASPECT * max(1, len(boxes)))))
    scale = Scale(line=line, halo=max(1, line // 3), tag=max(_MIN_TAG, round(tag * unit)))
    marks = [Mark(region, _pixels(box), colour_of(region), region_label(region)) for region, box in boxes.items()]
    return marks, scale


def _pixels(box: Box) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches, at least one."""
    x0, y0 = math.floor(box[0]), math.floor(box[1])
    return x0, y0, max(x0 + 1, math.ceil(box[2])), max(y0 + 1, math.ceil(box[3]))
