"""Opening images of unknown origin: every format we accept becomes the RGB picture a person would see."""

import io
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pi_heif
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault

# Only these decoders are ever tried: Pillow's full list has some that start other programs (EPS) or are rarely tested.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
MAX_PIXELS = 100_000_000
MAX_BYTES = 100 * 1024 * 1024

# What phones save as .heic: turned upright by the decoder itself. Thumbnails and depth maps beside the picture are left
# alone, and one thread decodes, since the images of a shard are decoded in parallel already.
pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)

# Ours is checked before a pixel is decoded, by `open_image`; Pillow's own would warn below it and raise above.
Image.MAX_IMAGE_PIXELS = None
# A file cut short is a fault of the row, not something to paper over with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False

_QUARTER_TURNS = {5, 6, 7, 8}


@dataclass(frozen=True)
class Picture:
    """An image file whose header has been read. `width` and `height` are those of the image as displayed, in pixels."""

    width: int
    height: int
    _stored: Image.Image = field(repr=False)

    @property
    def form(self) -> str:
        """The file's format by Pillow's name, one of `FORMATS`, or MPO: a JPEG with more pictures behind it."""
        return self._stored.format or ""

    @property
    def upright(self) -> bool:
        """Whether the pixels are stored as they are displayed, not turned or mirrored."""
        return _orientation(self._stored) == 1

    def decode(self, at_least: tuple[int, int] | None = None, *, colour_managed: bool = True) -> Image.Image:
        """The picture a person sees: RGB, upright, sRGB, transparency over white. Only once for each Picture.

        With `at_least` (width, height), a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is not smaller.
        Without `colour_managed`, an embedded ICC profile is ignored, as OpenCV ignores it.
        Raises RowFault (image_truncated, image_unreadable).
        """
        image = self._stored
        orientation = _orientation(image)
        try:
            if at_least is not None and image.format in ("JPEG", "MPO"):
                image.draft(image.mode, at_least[::-1] if orientation in _QUARTER_TURNS else at_least)
            image.load()
        except Exception as error:  # decoders raise nearly anything on hostile bytes
            raise RowFault(Code.IMAGE_TRUNCATED, f"the image cannot be decoded to its last row: {error}") from error
        try:
            upright = ImageOps.exif_transpose(image) if orientation != 1 else image
            return _to_rgb(upright, colour_managed)
        except Exception as error:
            raise RowFault(Code.IMAGE_UNREADABLE, f"its colours cannot be converted: {error}") from error


def open_image(data: bytes) -> Picture:
    """Read the header of an image file; of several frames, the first counts.

    Raises RowFault (image_empty, image_unreadable, image_too_large).
    """
    if not data:
        raise RowFault(Code.IMAGE_EMPTY, "the image file has no bytes")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:
        raise RowFault(Code.IMAGE_UNREADABLE, f"not an image of a supported format ({', '.join(FORMATS)})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RowFault(Code.IMAGE_TOO_LARGE, f"{width} x {height} pixels; the limit is {MAX_PIXELS:,} in all")
    turned = _orientation(image) in _QUARTER_TURNS
    return Picture(height, width, image) if turned else Picture(width, height, image)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block says nothing about orientation
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image, colour_managed: bool) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: keep the upper byte
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(grey >> 8, 0, 255).astype(np.uint8))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        white.alpha_composite(image)
        return white.convert("RGB")
    profile = image.info.get("icc_profile")
    if colour_managed and isinstance(profile, bytes) and image.mode in ("RGB", "CMYK", "L"):
        transform = _to_srgb(profile, image.mode)
        if transform is not None:
            return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> Any | None:
    """A colour transform from an embedded ICC profile; None where the profile is broken or made for another mode."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
