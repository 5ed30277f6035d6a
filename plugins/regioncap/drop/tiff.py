"""TIFFs as Pillow reads them, and what it leaves out: signs, widths of numbers, checksums."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from regioncap.errors import RowError
from regioncap.regions.codes import Code

Tags = ExifTags.Base
_DEFLATE = (8, 32946)
_STEP = 1 << 20


def tags_of(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; none of another file."""
    return getattr(image, "tag_v2", {})


def check_readable(image: Image.Image) -> None:
    """Raises RowError for a TIFF that Pillow takes and whose bytes it mixes up, or of which it takes a thumbnail."""
    tags = tags_of(image)
    if not tags:
        return
    if tags.get(Tags.NewSubfileType, 0) & 1 and (getattr(tags, "next", 0) or Tags.SubIFDs in tags):
        raise RowError(
            Code.IMAGE_UNREADABLE,
            "its first page is a smaller copy of the picture, as in a camera's raw files (DNG): save the picture "
            "itself, as JPEG or PNG",
        )
    packed = image.info.get("compression") != "raw"
    if tags.get(Tags.PlanarConfiguration, 1) == 2 and len(image.getbands()) > 1:
        bits = max(tags.get(Tags.BitsPerSample, (8,)))
        noise = image.mode == "LA" if packed else bits != 8 or image.mode == "LA"
    else:
        noise = packed and getattr(tags, "prefix", b"") == b"MM" and image.mode in ("I", "F")
    if noise:
        raise RowError(
            Code.IMAGE_UNREADABLE,
            "a TIFF whose numbers cannot be read right as they are stored (16 bits in planes, or big-endian and "
            "compressed): save it in another way, such as PNG",
        )


def check_sums(image: Image.Image, data: bytes) -> None:
    """Raises zlib.error where what was compressed by Deflate is not what its checksum says: libtiff does not look."""
    tags = tags_of(image)
    if tags.get(Tags.Compression) not in _DEFLATE:
        return
    starts, sizes = (tags.get(Tags.StripOffsets), tags.get(Tags.StripByteCounts))
    if starts is None:
        starts, sizes = tags.get(Tags.TileOffsets), tags.get(Tags.TileByteCounts)
    # More than a picture has is not unpacked: libtiff stops there too.
    left = 2 * image.width * image.height * sum(tags.get(Tags.BitsPerSample, (8,))) // 8 + _STEP
    for start, size in zip(starts or (), sizes or (), strict=False):
        unpacking, packed = zlib.decompressobj(), data[start : start + size]
        while packed and left > 0 and not unpacking.eof:
            left -= len(unpacking.decompress(packed, _STEP))
            packed = unpacking.unconsumed_tail


def check_not_dark(image: Image.Image) -> None:
    """Raises RowError for colours of 16 bits of which only the lower 14 are used: Pillow keeps the upper 8."""
    if image.mode not in ("RGB", "RGBA") or max(tags_of(image).get(Tags.BitsPerSample, (8,))) != 16:
        return
    bands = image.getchannel("A") if image.mode == "RGBA" else image
    if max(high for _, high in np.reshape(bands.getextrema(), (-1, 2))) < 64:
        raise RowError(
            Code.IMAGE_UNREADABLE,
            "16 bits a channel, but all values are below a quarter of the range, so it would be seen too dark: scale "
            "the values to the full range, or save it as a PNG",
        )


def deep_grey(image: Image.Image) -> npt.NDArray[Any] | None:
    """Grey of another depth than 8 bits, or signed, as the numbers that it is; None for any other image."""
    tags = tags_of(image)
    signed = next(iter(tags.get(Tags.SampleFormat, (1,))), 1) == 2
    if not (image.mode.startswith(("I", "F")) or (image.mode == "L" and signed)):
        return None
    values = np.asarray(image)
    # Pillow has one mode for many types of numbers.
    bits = next(iter(tags.get(Tags.BitsPerSample, (0,))), 0)
    if image.mode == "L":
        return values.view(np.int8)
    if image.mode == "I" and signed and bits == 16:
        return values.astype(np.int16)
    if image.mode == "I" and tags and not signed:
        return values.view(np.uint32)
    return values
