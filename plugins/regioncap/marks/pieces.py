"""The pieces that mark styles are made of. A piece draws one thing for all regions of an image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from regioncap.marks.labels import Rect, Size, gap, hidden_shares, place_tags
from regioncap.marks.palette import RGB, contrast


@dataclass(frozen=True)
class Mark:
    """One region to mark: its number (1-based), its rectangle in integer pixels of the image, its colour, its label."""

    region: int
    rect: Rect
    colour: RGB
    label: str


@dataclass(frozen=True)
class Scale:
    """Sizes in pixels of the image that is drawn on. `tags` are the heights that a tag may have, the best first."""

    line: int
    halo: int
    tags: tuple[int, ...]


class Piece(Protocol):
    """A piece, as a style calls it."""

    def __call__(self, image: Image.Image, marks: Sequence[Mark], scale: Scale) -> None:
        """Draw on `image` in place."""


def outline(image: Image.Image, marks: Sequence[Mark], scale: Scale) -> None:
    """A frame just around each region, with a halo of the contrasting colour on both sides.

    Of regions that are exactly the same, each further one has its frame inside of the one before.
    """
    draw = ImageDraw.Draw(image)
    for mark, inset in zip(marks, _insets(marks, scale), strict=True):
        grown = scale.line + scale.halo
        outer = _grow(_inside(_grow(mark.rect, grown + scale.halo), image.size), -inset)
        draw.rectangle(_inclusive(outer), outline=contrast(mark.colour), width=grown + scale.halo)
        draw.rectangle(
            _inclusive(_grow(outer, -scale.halo)),
            outline=mark.colour,
            width=scale.line,
        )


def corner_ticks(image: Image.Image, marks: Sequence[Mark], scale: Scale) -> None:
    """An L at each of a region's corners: hides less than a full frame. Of the same regions as `outline` has them."""
    draw = ImageDraw.Draw(image)
    for mark, inset in zip(marks, _insets(marks, scale), strict=True):
        x0, y0, x1, y1 = _grow(_inside(_grow(mark.rect, scale.line), image.size), -inset)
        reach_x, reach_y = max(scale.line * 2, (x1 - x0) // 4), max(scale.line * 2, (y1 - y0) // 4)
        arms = []
        for x, inward_x in ((x0, 1), (x1 - 1, -1)):
            for y, inward_y in ((y0, 1), (y1 - 1, -1)):
                arms.append(_bar(x, y, inward_x * reach_x, inward_y * scale.line))
                arms.append(_bar(x, y, inward_x * scale.line, inward_y * reach_y))
        for arm in arms:
            draw.rectangle(_inclusive(_inside(_grow(arm, scale.halo), image.size)), fill=contrast(mark.colour))
        for arm in arms:
            draw.rectangle(_inclusive(arm), fill=mark.colour)


def _insets(marks: Sequence[Mark], scale: Scale) -> Iterator[int]:
    """How far inside of its usual place each region's line is, so that regions that are the same all show theirs."""
    drawn: Counter[Rect] = Counter()
    for mark in marks:
        yield min(drawn[mark.rect] * (scale.line + 2 * scale.halo), min(_sides(mark.rect)) // 3)
        drawn[mark.rect] += 1


def dim_outside(image: Image.Image, marks: Sequence[Mark], scale: Scale) -> None:
    """Darken everything that lies in no region to 55 %."""
    dimmed = image.point([round(value * 0.55) for value in range(256)] * len(image.getbands()))
    for mark in marks:
        dimmed.paste(image.crop(mark.rect), mark.rect[:2])
    image.paste(dimmed)


def tags(image: Image.Image, marks: Sequence[Mark], scale: Scale) -> None:
    """A filled tag with each region's label, and a line to its region where they are apart."""
    draw = ImageDraw.Draw(image)
    places = tag_places(marks, scale, image.size)
    for mark, place in zip(marks, places, strict=True):
        if gap(place, mark.rect) > scale.line + 2 * scale.halo:
            _leader(draw, place, mark, scale)
    for mark, place in zip(marks, places, strict=True):
        width, height = _sides(place)
        left, top, right, bottom = _text_box(mark.label, height)
        x = round(place[0] + (width - (right - left)) / 2 - left) - place[0]
        y = round(place[1] + (height - (bottom - top)) / 2 - top) - place[1]
        image.paste(_tag(mark.label, mark.colour, (width, height), (x, y)), place)


# Writing a number with its outline takes longer than all else that is drawn, and there are few different tags.
@lru_cache(maxsize=256)
def _tag(label: str, colour: RGB, size: Size, at: tuple[int, int]) -> Image.Image:
    """A tag by itself, with its label's origin at (x, y) `at`. Not to be drawn on."""
    tag = Image.new("RGB", size)
    draw = ImageDraw.Draw(tag)
    ink = contrast(colour)
    draw.rectangle(_inclusive((0, 0, *size)), fill=colour, outline=ink)
    stroke = _stroke(size[1])
    draw.text(at, label, fill=ink, font=_font(size[1]), stroke_width=stroke, stroke_fill=ink)
    return tag


def tag_places(marks: Sequence[Mark], scale: Scale, frame: Size) -> Sequence[Rect]:
    """Where `tags` puts each mark's tag in an image of size `frame`."""
    return _tag_places(tuple(marks), scale, frame)


# What an image's tags cover is asked right after they were drawn.
@lru_cache(maxsize=8)
def _tag_places(marks: tuple[Mark, ...], scale: Scale, frame: Size) -> Sequence[Rect]:
    sizes = [[_tag_size(mark.label, height, frame) for height in scale.tags] for mark in marks]
    return place_tags([mark.rect for mark in marks], sizes, frame)


def covered(marks: Sequence[Mark], scale: Scale, frame: Size) -> list[int]:
    """The numbers of the regions of which tags hide half or more."""
    shares = hidden_shares([mark.rect for mark in marks], tag_places(marks, scale, frame))
    return [mark.region for mark, share in zip(marks, shares, strict=True) if share >= 0.5]


def _leader(draw: ImageDraw.ImageDraw, tag: Rect, mark: Mark, scale: Scale) -> None:
    """A line from the middle of a tag to the nearest place of its region."""
    x, y = (tag[0] + tag[2]) // 2, (tag[1] + tag[3]) // 2
    x0, y0, x1, y1 = mark.rect
    end = (min(max(x, x0), x1 - 1), min(max(y, y0), y1 - 1))
    draw.line(((x, y), end), fill=contrast(mark.colour), width=scale.line + 2 * scale.halo)
    draw.line(((x, y), end), fill=mark.colour, width=scale.line)


def _tag_size(label: str, height: int, frame: Size) -> Size:
    left, _, right, _ = _text_box(label, height)
    # Even, so that a tag's centre can lie on a border.
    width = max(height, 2 * round((right - left + max(4, height // 3)) / 2))
    return min(width, frame[0]), min(height, frame[1])


@lru_cache(maxsize=256)
def _text_box(label: str, tag_height: int) -> tuple[float, float, float, float]:
    """What the label of a tag covers, (x0, y0, x1, y1) from where it is written."""
    return _font(tag_height).getbbox(label, stroke_width=_stroke(tag_height))


@lru_cache(maxsize=64)
def _font(tag_height: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font (Aileron, CC0), sized so that digits fill three quarters of the tag's height."""
    font = ImageFont.load_default(size=max(8, round(tag_height * 0.98)))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType: install the Pillow wheel from the lock file")
    return font


def _stroke(tag_height: int) -> float:
    """Aileron is a regular weight; this outline makes it bold."""
    return tag_height / 28


def _sides(rect: Rect) -> Size:
    return rect[2] - rect[0], rect[3] - rect[1]


def _grow(rect: Rect, by: int) -> Rect:
    return rect[0] - by, rect[1] - by, rect[2] + by, rect[3] + by


def _inside(rect: Rect, frame: Size) -> Rect:
    return max(0, rect[0]), max(0, rect[1]), min(frame[0], rect[2]), min(frame[1], rect[3])


def _bar(x: int, y: int, width: int, height: int) -> Rect:
    """A rectangle that starts at the pixel (x, y) and extends by a signed width and height."""
    left, top = (x if width > 0 else x + width + 1), (y if height > 0 else y + height + 1)
    return left, top, left + abs(width), top + abs(height)


def _inclusive(rect: Rect) -> tuple[int, int, int, int]:
    """Pillow's rectangles include their last pixel."""
    return rect[0], rect[1], max(rect[0], rect[2] - 1), max(rect[1], rect[3] - 1)
