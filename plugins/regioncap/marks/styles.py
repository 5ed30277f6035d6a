"""Numbered marks that a model can read. A style is a list of pieces, and the words that explain it to the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from regioncap.extend import Registry
from regioncap.marks.palette import colour_of
from regioncap.marks.pieces import Mark, Piece, Scale, corner_ticks, covered, dim_outside, outline, tags
from regioncap.regions.boxes import Box
from regioncap.regions.names import region_label

__all__ = ["STYLES", "MarkStyle", "draw_marks", "layout"]


# What a model reads: a tag of so many pixels at the size that it sees, digits being three quarters of it. In a crowd,
# it gets smaller by these steps; digits of less than about 9 pixels are lost in a patch of 14.
_TAG, _SMALLER_TAGS = 22, (16, 12)
# What the prompt alone does not say: how a number in the picture and a region's name belong together.
_FRAMED = {
    "en": "In the image each region is framed, and a tag on the frame shows its number: tag 1 is <region1>. "
    "Describe what is inside the frame, not the frame or the tag.",
    "zh": "图像中每个区域都有边框，边框上的标签显示其编号：标签 1 即 <region1>。"
    "请描述边框内的内容，不要描述边框或标签。",
}


_CORNERS = {
    "en": "In the image the corners of each region are marked, and a tag at them shows its number: tag 1 is <region1>. "
    "Describe what is between the corners, not the corner marks or the tag.",
    "zh": "图像中每个区域的四角都有标记，旁边的标签显示其编号：标签 1 即 <region1>。"
    "请描述四角之间的内容，不要描述角标或标签。",
}
_SPOTLIGHT = {
    "en": "In the image all but the regions is darkened, each region is framed, and a tag on the frame shows its "
    "number: tag 1 is <region1>. Describe what is inside the frame, not the frame, the tag or the darkening.",
    "zh": "图像中区域以外的部分已变暗，每个区域都有边框，边框上的标签显示其编号：标签 1 即 <region1>。"
    "请描述边框内的内容，不要描述边框、标签或变暗的部分。",
}


@dataclass(frozen=True)
class MarkStyle:
    """How marks look, and what the model is told about them.

    `tag_scale` is a tag's height and `line_scale` a line's width, both as a share of sqrt(width * height) of the image
    that is drawn on; a tag has `least_tag` pixels at least, where there is room. The defaults are what the demo model
    reads best at 256 px, and three hundredths of a large image. `words` has, for each language of captions, the
    sentences of the system message that say how to find <region1> in the image.
    """

    name: str = "box"
    pieces: tuple[Piece, ...] = (outline, tags)
    tag_scale: float = 0.03
    least_tag: int = _TAG
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
    MarkStyle("corners", (corner_ticks, tags), words=_CORNERS),
    MarkStyle("spotlight", (dim_outside, outline, tags), words=_SPOTLIGHT),
)
STYLES = Registry("regioncap.styles", "mark style", {style.name: style for style in _OWN}, _fault)


def draw_marks(image: Image.Image, boxes: Mapping[int, Box], style: MarkStyle) -> None:
    """Draw a mark around each region's box ((x0, y0, x1, y1) in pixels of `image`, inside its frame), in place.

    `boxes` maps region numbers (1-based) to boxes. `image` is RGB at the size the model sees.
    """
    marks, scale = layout(image.size, boxes, style)
    for piece in style.pieces:
        piece(image, marks, scale)


def hidden_by_tags(frame: tuple[int, int], boxes: Mapping[int, Box], style: MarkStyle) -> list[int]:
    """The numbers of the regions of which `draw_marks` hides half or more under tags, on an image of size `frame`."""
    return covered(*layout(frame, boxes, style), frame) if tags in style.pieces else []


def layout(frame: tuple[int, int], boxes: Mapping[int, Box], style: MarkStyle) -> tuple[list[Mark], Scale]:
    """What `draw_marks` draws on an image of size `frame`: the marks, and the sizes of their parts."""
    unit = math.sqrt(frame[0] * frame[1])
    line = max(2, round(style.line_scale * unit))
    # Even, so that a tag's centre can lie on a border.
    tag = 2 * round(max(style.least_tag, style.tag_scale * unit) / 2)
    heights = (tag, *(height for height in _SMALLER_TAGS if height < tag))
    scale = Scale(line=line, halo=max(1, line // 3), tags=heights)
    marks = [Mark(region, _pixels(box), colour_of(region), region_label(region)) for region, box in boxes.items()]
    return marks, scale


def _pixels(box: Box) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches, at least one."""
    x0, y0 = math.floor(box[0]), math.floor(box[1])
    return x0, y0, max(x0 + 1, math.ceil(box[2])), max(y0 + 1, math.ceil(box[3]))
