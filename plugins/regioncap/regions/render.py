"""From an opened image to the marked JPEG that the model sees."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from regioncap.regions.boxes import Box
from regioncap.regions.marks import MarkStyle, draw_marks
from regioncap.regions.profiles import ModelProfile
from regioncap.regions.resize import resize

JPEG_QUALITY = 90
_JPEG_OPTIONS = [
    *(cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
# Neutral grey, so that padding looks like nothing.
_PADDING = (128, 128, 128)


def seen_scale(width: int, height: int, profile: ModelProfile) -> float:
    """Pixels seen by the model per displayed pixel (the smaller of the two axes) of a `width` x `height` image."""
    seen_width, seen_height = profile.size(width, height)
    return min(seen_width / width, seen_height / height)


def fit(
    image: Image.Image, profile: ModelProfile, displayed: tuple[int, int] | None = None
) -> tuple[Image.Image, tuple[float, float]]:
    """Bring an RGB image to the size the model sees, padded at the right and the bottom where the profile asks for it.

    `displayed` is the (width, height) of the image as displayed, where `image` was decoded at a reduced size.
    Returns a new image and (scale_x, scale_y): multiply a box in displayed pixels by these to get it in the new image.
    """
    width, height = displayed or image.size
    size = profile.size(width, height)
    fitted = resize(image, size)
    if profile.canvas is not None and profile.canvas != size:
        canvas = Image.new("RGB", profile.canvas, _PADDING)
        canvas.paste(fitted)
        fitted = canvas
    return fitted, (size[0] / width, size[1] / height)


def mark(
    image: Image.Image, displayed: tuple[int, int], boxes: Sequence[Box], profile: ModelProfile, style: MarkStyle
) -> bytes:
    """Fit `image` to the model and draw one mark per box; returns JPEG bytes, the same for the same input.

    `boxes` are in pixels of the image as displayed, whose (width, height) is `displayed`.
    """
    fitted, (scale_x, scale_y) = fit(image, profile, displayed)
    draw_marks(fitted, [(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y) for x0, y0, x1, y1 in boxes], style)
    return encode(fitted)


def encode(image: Image.Image) -> bytes:
    """An RGB image as a JPEG."""
    # Not Pillow's encoder: that one keeps the interpreter to itself while it works, so threads would take turns.
    # 4:4:4: chroma subsampling would smear the thin coloured lines and digits.
    pixels = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)
    done, jpeg = cv2.imencode(".jpg", pixels, _JPEG_OPTIONS)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an image of {image.size}")
    return jpeg.tobytes()
