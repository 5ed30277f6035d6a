"""From an opened image to the pictures that the model sees: the marked image, and crops of its regions."""

import hashlib
import math
from collections.abc import Mapping

import cv2
from PIL import Image

from regioncap.marks.pixels import for_opencv
from regioncap.marks.profiles import ModelProfile
from regioncap.marks.resize import resize
from regioncap.marks.styles import MarkStyle, draw_marks, hidden_by_tags
from regioncap.regions.boxes import Box

JPEG_QUALITY = 90
# Neutral grey, so that padding looks like nothing.
_PADDING = (128, 128, 128)

# A crop shows three times the region's width and height, and 48 pixels at least: as Describe Anything crops
# (https://arxiv.org/abs/2504.16072, section 3.3).
_CONTEXT, _MIN_CROP = 3.0, 48
# Where the image has room for it, a crop's longer side is at most so many times the shorter one.
_THINNEST = 50
# It is brought to about this many pixels, 256 patches of 28 x 28: a quarter of what a whole image may have. Enlarging
# further than four times would only show the model more blur.
_CROP_PIXELS, _MAX_ENLARGEMENT = 448 * 448, 4.0


def seen_scale(width: int, height: int, profile: ModelProfile) -> float:
    """Pixels seen by the model per displayed pixel (the smaller of the two axes) of a `width` x `height` image."""
    seen_width, seen_height = profile.size(width, height)
    return min(seen_width / width, seen_height / height)


def fit(image: Image.Image, size: tuple[int, int], profile: ModelProfile) -> Image.Image:
    """A new RGB image, brought to `size` (width, height); padded at the right and the bottom where the profile pads."""
    fitted = resize(image, size)
    if profile.canvas is not None and profile.canvas != size:
        canvas = Image.new("RGB", profile.canvas, _PADDING)
        canvas.paste(fitted)
        fitted = canvas
    return fitted


def mark(
    image: Image.Image, displayed: tuple[int, int], boxes: Mapping[int, Box], profile: ModelProfile, style: MarkStyle
) -> Image.Image:
    """The whole image as the model sees it, with a mark around each region.

    `boxes` maps region numbers to boxes in pixels of the image as displayed, whose (width, height) is `displayed`;
    `image` may have been decoded at a reduced size.
    """
    fitted = fit(image, profile.size(*displayed), profile)
    draw_marks(fitted, _as_seen(displayed, boxes, profile), style)
    return fitted


def covered_regions(
    displayed: tuple[int, int], boxes: Mapping[int, Box], profile: ModelProfile, style: MarkStyle
) -> list[int]:
    """The numbers of the regions of which `mark` hides half or more under tags; `displayed` and `boxes` as for it."""
    # On the canvas, as `mark` draws: tags may lie on the padding.
    return hidden_by_tags(profile.canvas or profile.size(*displayed), _as_seen(displayed, boxes, profile), style)


def _as_seen(displayed: tuple[int, int], boxes: Mapping[int, Box], profile: ModelProfile) -> dict[int, Box]:
    """Boxes in pixels of the image as the model sees it."""
    width, height = profile.size(*displayed)
    scale_x, scale_y = width / displayed[0], height / displayed[1]
    return {region: _scaled(box, scale_x, scale_y) for region, box in boxes.items()}


def crop_view(
    image: Image.Image,
    displayed: tuple[int, int],
    region: int,
    box: Box,
    profile: ModelProfile,
    style: MarkStyle,
) -> tuple[Image.Image, Box]:
    """A region with its surroundings as the model sees them; only this region is marked, by its own number.

    `image` and `displayed` as for `mark`, `box` in pixels of the image as displayed. Returns the crop, and where
    the box is in it, in its pixels.
    """
    decoded_x, decoded_y = image.width / displayed[0], image.height / displayed[1]
    frame = _scaled(crop_frame(box, displayed), decoded_x, decoded_y)
    x0, y0 = math.floor(frame[0]), math.floor(frame[1])
    x1, y1 = min(image.width, math.ceil(frame[2])), min(image.height, math.ceil(frame[3]))
    size = _crop_size(x1 - x0, y1 - y0, profile, decoded_x * decoded_y)
    fitted = fit(image.crop((x0, y0, x1, y1)), size, profile)
    left, top, right, bottom = _scaled(box, decoded_x, decoded_y)
    inside = _scaled((left - x0, top - y0, right - x0, bottom - y0), size[0] / (x1 - x0), size[1] / (y1 - y0))
    draw_marks(fitted, {region: inside}, style)
    return fitted, inside


def crop_frame(box: Box, displayed: tuple[int, int]) -> Box:
    """The part of an image of (width, height) `displayed` that a crop of `box` shows, in the same pixels."""

    def widened(low: float, high: float, limit: int) -> tuple[float, float]:
        middle, half = (low + high) / 2, max((high - low) * _CONTEXT, _MIN_CROP) / 2
        return max(0.0, middle - half), min(float(limit), middle + half)

    def at_least(low: float, high: float, extent: float, limit: int) -> tuple[float, float]:
        low = min(low, max(0.0, (low + high - extent) / 2), max(0.0, limit - extent))
        return low, max(high, min(float(limit), low + extent))

    x0, x1 = widened(box[0], box[2], displayed[0])
    y0, y1 = widened(box[1], box[3], displayed[1])
    # Around a line across a whole image there is room on its sides; no model takes what is as thin as that.
    x0, x1 = at_least(x0, x1, (y1 - y0) / _THINNEST, displayed[0])
    y0, y1 = at_least(y0, y1, (x1 - x0) / _THINNEST, displayed[1])
    return x0, y0, x1, y1


def decoded_size(displayed: tuple[int, int], profile: ModelProfile, crops: Mapping[int, Box]) -> tuple[int, int]:
    """The smallest (width, height) at which an image can be decoded for `mark`, and for the `crops` of boxes."""
    width, height = displayed
    seen = profile.size(width, height)
    scale = max(seen[0] / width, seen[1] / height)
    for box in crops.values():
        x0, y0, x1, y1 = crop_frame(box, displayed)
        size = _crop_size(x1 - x0, y1 - y0, profile, 1.0)
        scale = max(scale, size[0] / (x1 - x0), size[1] / (y1 - y0))
    return min(width, math.ceil(width * scale)), min(height, math.ceil(height * scale))


def encode(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """An RGB image as a JPEG, the same bytes for the same pixels."""
    # Not Pillow's encoder: that one keeps the interpreter to itself while it works, so threads would take turns.
    # 4:4:4: chroma subsampling would smear the thin coloured lines and digits.
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    done, jpeg = cv2.imencode(".jpg", for_opencv(image, bgr=True), options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of {image.size}")
    return jpeg.tobytes()


def content_name(jpeg: bytes) -> str:
    """What a rendered image is called: shards and repeated runs cannot collide, and equal pictures are kept once."""
    return hashlib.sha256(jpeg).hexdigest()[:32]


def _crop_size(width: float, height: float, profile: ModelProfile, decoded: float) -> tuple[int, int]:
    """The (width, height) at which the model sees a crop of `width` x `height` pixels.

    `decoded` is how many of them there are for one displayed pixel.
    """
    scale = min(math.sqrt(_CROP_PIXELS / (width * height)), _MAX_ENLARGEMENT / math.sqrt(decoded))
    return profile.size(max(1, round(width * scale)), max(1, round(height * scale)))


def _scaled(box: Box, scale_x: float, scale_y: float) -> Box:
    return box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y
