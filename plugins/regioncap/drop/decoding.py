"""What is done with an image file in a process that decodes: the jobs of `decoders`.

None takes settings as a whole, whose room would make a process slow to start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from regioncap.drop.colours import is_one_colour
from regioncap.drop.decoder import Result, decoding
from regioncap.drop.detectors import contours
from regioncap.drop.images import MAX_PIXELS, Picture
from regioncap.drop.likeness import perceptual_hash
from regioncap.errors import NoRegionError, RowError
from regioncap.marks.pixels import for_opencv
from regioncap.marks.profiles import PROFILES, ModelProfile
from regioncap.marks.resize import resize
from regioncap.marks.styles import STYLES
from regioncap.marks.view import covered_regions, crop_view, decoded_size, encode, fit, mark, seen_scale
from regioncap.regions import boxes as region_boxes
from regioncap.regions.boxes import BoxFormat, DroppedBox
from regioncap.regions.codes import Code
from regioncap.regions.frames import BoxFrame, Canvas, Size, as_displayed

# Of an original that has to be written anew: no loss that anybody sees.
_QUALITY = 95
_MAX_JPEG_SIDE = 65_500


@dataclass(frozen=True)
class View:
    """How a model sees images: the name of its profile, and the budget of pixels."""

    profile: str
    max_pixels: int

    @property
    def model(self) -> ModelProfile:
        """The profile with this budget."""
        return PROFILES[self.profile].within(self.max_pixels)

    def made_pixels(self, width: int, height: int) -> int:
        """How many pixels the model sees of an image of this size."""
        return math.prod(self.model.size(width, height))


@dataclass(frozen=True)
class Marking:
    """How a row's image is marked: the settings of these names, and the size (width, height) that the row states."""

    view: View
    mark_style: str
    box_format: BoxFormat
    box_frame: BoxFrame
    max_boxes: int
    per_region: bool
    stated: Size | None
    # Whether it is wanted without marks too, for the listener.
    unmarked: bool = False

    def made_pixels(self, width: int, height: int) -> int:
        """How many pixels the model sees of an image of this size."""
        return self.view.made_pixels(width, height)


def size(picture: Picture) -> Result:
    """The [width, height] as displayed, in pixels."""
    return [picture.width, picture.height], ()


def found(picture: Picture) -> Result:
    """Boxes around closed shapes, in pixels of the image as displayed."""
    # Without colour management: the contours are those of the original pipeline, which knows none.
    with decoding():
        image = picture.decode(colour_managed=False)
        scale_x, scale_y = picture.width / image.width, picture.height / image.height
        return [(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y) for x0, y0, x1, y1 in contours(image)], ()


def pixels(picture: Picture) -> Result:
    """For a detector of somebody's own: [width, height] as displayed, those of what is decoded, and its RGB bytes."""
    with decoding():
        image = picture.decode(colour_managed=False)
        return [(picture.width, picture.height), image.size], (image.tobytes(),)


def seen(picture: Picture, view: View) -> Result:
    """A JPEG of the image as the model sees it, without marks."""
    fitted = view.model.size(picture.width, picture.height)
    with decoding():
        image = picture.decode(at_least=fitted)
    return None, (encode(fit(image, fitted, view.model)),)


def marked(picture: Picture, given: Sequence[Any], how: Marking) -> Result:
    """Mark the usable ones of the given boxes.

    Returns a mapping of `width`, `height`, `orientation`, `regions` (index of the given box, and the box in pixels of
    the image as displayed), `dropped` (index, code), `one_colour`, `perceptual_hash` and `region_covered`; and JPEGs
    for the model, first the whole image's, last the one without marks. Raises NoRegionError.
    """
    displayed = (picture.width, picture.height)
    profile, style = how.view.model, STYLES[how.mark_style]
    canvas = Canvas(displayed, picture.orientation, how.stated)
    regions, dropped = region_boxes.select_regions(
        given,
        place=lambda raw: as_displayed(raw, how.box_format, how.box_frame, canvas),
        width=picture.width,
        height=picture.height,
        scale=seen_scale(*displayed, profile),
        max_boxes=how.max_boxes,
    )
    if not regions:
        raise _no_region(dropped, canvas)
    boxes = {number: region.box for number, region in enumerate(regions, start=1)}
    alone = boxes if how.per_region else {}
    with decoding():
        image = picture.decode(at_least=decoded_size(displayed, profile, alone))
    views = [mark(image, displayed, boxes, profile, style)]
    views += (crop_view(image, displayed, number, box, profile, style)[0] for number, box in alone.items())
    told = {
        "width": picture.width,
        "height": picture.height,
        "orientation": picture.orientation,
        "regions": [(region.box_index, region.box) for region in regions],
        "dropped": [(box.box_index, box.code) for box in dropped],
        "one_colour": is_one_colour(image),
        "perceptual_hash": perceptual_hash(image),
        "region_covered": bool(covered_regions(displayed, boxes, profile, style)),
    }
    jpegs = [encode(view) for view in views]
    if how.unmarked:
        jpegs.append(encode(resize(image, profile.size(*displayed)), _QUALITY))
    return told, jpegs


def portable(picture: Picture) -> Result:
    """The image as any reader shows it: the ending of its name, and its bytes where it has to be written anew."""
    if picture.portable and picture.form in ("JPEG", "MPO", "PNG", "WEBP"):
        return {"PNG": "png", "WEBP": "webp"}.get(picture.form, "jpg"), ()
    if picture.width * picture.height > MAX_PIXELS:
        raise RowError(
            Code.IMAGE_TOO_LARGE,
            f"it would have to be written anew to be seen upright, which is done up to {MAX_PIXELS:,} pixels",
        )
    with decoding():
        image = picture.decode()
    # What was stored without loss stays without.
    if picture.form in ("JPEG", "MPO", "WEBP", "HEIF", "AVIF") and max(image.size) <= _MAX_JPEG_SIDE:
        return "jpg", (encode(image, _QUALITY),)
    return "png", (cv2.imencode(".png", for_opencv(image, bgr=True))[1].tobytes(),)


def shown(picture: Picture, longest: int) -> Result:
    """A JPEG for a screen: upright, its longer side at most so many pixels."""
    scale = min(1.0, longest / max(picture.width, picture.height))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    with decoding():
        image = picture.decode(at_least=size)
        return None, (encode(image if image.size == size else image.resize(size), _QUALITY),)


def _no_region(dropped: list[DroppedBox], canvas: Canvas) -> NoRegionError:
    listed = ", ".join(f"box {box.box_index}: {box.code}" for box in dropped[:10])
    width, height = canvas.displayed
    reason = f"no box can be used in this {width} x {height} image ({listed})"
    return NoRegionError(dropped[0].code, reason, canvas.displayed, canvas.orientation)
