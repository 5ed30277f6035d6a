"""From what a decoder gives to what a person sees: RGB in sRGB, transparency over white, and deep pixels in 8 bits."""

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from regioncap.drop.coding import Coding, by_numbers, shown
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# White of pictures of 8, 10, 12, 14 and 16 bits, and of shares; black is 0.
_WHITES = (1, 0xFF, 0x3FF, 0xFFF, 0x3FFF, 0xFFFF)
# So many values of a picture are looked at for their range.
_SAMPLE = 1_000_000
_ROWS_AT_ONCE = 256

# A profile that moves no colour by more than this is sRGB for who looks at it: real ones are off by rounding.
_SAME_COLOUR = 3
# Into which mode of Pillow's a profile's colour space is read.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# Transforms are kept for profiles up to this size, so that what is kept is bounded.
_KEPT_PROFILE = 4 << 20


@dataclass(frozen=True)
class Colours:
    """What a file says of its colours: an ICC profile, and numbers for where there is none that can be used."""

    profile: bytes | None = None
    coding: Coding | None = None


AS_STORED = Colours()


def to_rgb(image: Image.Image, colours: Colours = AS_STORED) -> Image.Image:
    """A decoded 8-bit image as RGB over white, its colours as the file says that they are meant.

    Raises ValueError for a mode that Pillow cannot convert.
    """
    if "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    if image.mode in ("LA", "La"):
        image = image.convert("LA")
        return _over_white(_managed(image.convert("L"), colours), image.getchannel("A"))
    if image.mode in ("RGBA", "RGBa", "PA"):
        image = image.convert("RGBA")
        return _over_white(_managed(image.convert("RGB"), colours), image.getchannel("A"))
    return _managed(image, colours)


def is_one_colour(image: Image.Image) -> bool:
    """Whether nothing can be seen in an RGB image: all its pixels are the same, within what a lossy encoder changes."""
    # A few pixels tell of nearly every picture that it is none.
    for seen in (image.resize((16, 16), Image.Resampling.NEAREST), image):
        if any(high - low > _SAME_COLOUR for low, high in seen.getextrema()):  # type: ignore[misc]
            return False
    return True


def deep_to_rgb(
    values: npt.NDArray[Any],
    colours: Colours = AS_STORED,
    *,
    white: int | None = None,
    white_is_zero: bool = False,
    transparent: int | None = None,
) -> Image.Image:
    """Pixels of more than 8 bits as RGB over white; grey, (height, width), or (height, width, bands).

    `transparent` is a grey that is. The last of two or four bands is the alpha, of the whole range, as all is if the
    file says what is `white`, or tells its colours by numbers.
    Else, as long as that shows something, 0 is black, and white is the smallest that holds all values of 1 (shares),
    255, 1,023, 4,095, 16,383 and 65,535 (8 to 16 bits), and the largest of its type: 12-bit data in a 16-bit file are
    seen as a camera's viewer shows them, a 16-bit file as browsers do. Where a picture would be less than a quarter as
    bright as white, or use less than a sixteenth of the range, and for values below 0 or above all of these, the lowest
    value is black and the highest white, as ImageJ shows it (https://imagej.net/ij/docs/guide/, Brightness/Contrast).
    Of a thousand pixels one at either end does not count, nor what is no finite number. `white_is_zero` is TIFF's
    photometric of that name.
    Raises RowError (image_unreadable) where no value is a finite number.
    """
    coded = colours.coding is not None and not colours.coding.is_srgb and not colours.profile
    most = white or (np.iinfo(values.dtype).max if values.dtype.kind == "u" else None)
    alpha = None
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values, alpha = values[:, :, :-1], _scaled(values[:, :, -1], (0, most or 1), 255)
    elif transparent is not None:
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
    ends = (0, most) if most and (coded or white) else _shown_range(values)
    if white_is_zero:
        ends = ends[::-1]
    # Where colours are light, the dark ones need all bits.
    scaled = _scaled(values, ends, 65535 if coded else 255)
    if coded and colours.coding:
        seen = shown(scaled if scaled.ndim == 3 and scaled.shape[2] == 3 else _grey_in_rgb(scaled), colours.coding)
    else:
        seen = _managed(Image.fromarray(scaled[:, :, 0] if scaled.shape[2:] == (1,) else scaled), colours)
    return seen if alpha is None else _over_white(seen, Image.fromarray(alpha))


def _scaled(values: npt.NDArray[Any], ends: tuple[float, float], most: int) -> npt.NDArray[Any]:
    """Numbers between what is black and what is white as those from 0 to `most`, 255 or 65,535."""
    black, white = ends
    scaled = np.empty(values.shape, np.uint8 if most == 255 else np.uint16)
    for row in range(0, len(values), _ROWS_AT_ONCE):
        some = values[row : row + _ROWS_AT_ONCE].astype(np.float64)
        share = np.nan_to_num((some - black) / (white - black) * most, nan=0, posinf=most, neginf=0)
        scaled[row : row + _ROWS_AT_ONCE] = np.clip(np.rint(share), 0, most)
    return scaled


def _grey_in_rgb(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.repeat(values.reshape(*values.shape[:2], 1), 3, 2)


def _shown_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """What is black and what is white, as `deep_to_rgb` says; two different numbers."""
    some = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    some = some[np.isfinite(some)].astype(np.float64)
    low, high = np.quantile(some, (0.001, 0.999)).tolist() if some.size else (0.0, 0.0)
    if low == high:
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise RowError(Code.IMAGE_UNREADABLE, "none of its pixels is a finite number")
        low, high = float(finite.min()), float(finite.max())
    most = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 0
    white = float(min((white for white in (*_WHITES, most) if high <= white), default=math.inf))
    if low >= 0 and high >= white / 4 and (high - low >= white / 16 or high == low):
        return 0.0, white
    if low == high:
        # Nothing to see: grey, or black if that is what it is.
        return (0.0, 1.0) if low == 0 else (min(0.0, 2 * low), max(0.0, 2 * low))
    return low, high


def _managed(image: Image.Image, colours: Colours) -> Image.Image:
    """An image without transparency as RGB in sRGB."""
    if image.mode not in _MODES.values():
        image = image.convert("L" if image.mode == "1" else "RGB")
    if colours.profile:
        convert = _kept_transform if len(colours.profile) <= _KEPT_PROFILE else _transform
        # Grey pictures may have a profile for colours.
        for mode in (image.mode, "RGB") if image.mode == "L" else (image.mode,):
            try:
                transform = convert(colours.profile, mode)
            except UnusableProfileError:
                continue
            if transform is None:
                return image.convert("RGB")
            return ImageCms.applyTransform(image.convert(mode), transform) or image
    image = image if image.mode == "RGB" else image.convert("RGB")
    if colours.coding is None or colours.coding.is_srgb:
        return image
    return shown(np.asarray(image), colours.coding)


def _over_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    seen = image.convert("RGBA")
    seen.putalpha(alpha)
    white.alpha_composite(seen)
    return white.convert("RGB")


class UnusableProfileError(ValueError):
    """A profile is broken, or made for another mode."""


def _transform(profile: bytes, mode: str) -> Any | None:
    """From an embedded profile to sRGB; None where that changes nothing. Raises UnusableProfileError."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(source.profile.xcolor_space.strip()) != mode:
            raise UnusableProfileError
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        sample = _every_colour(mode)
        moved = np.asarray(ImageCms.applyTransform(sample, transform), np.int16) - np.asarray(sample.convert("RGB"))
        return transform if np.abs(moved).max() > _SAME_COLOUR else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise UnusableProfileError from error


_kept_transform = lru_cache(maxsize=8)(_transform)


def told_by_profile(profile: bytes) -> Coding | None:
    """What a profile's own numbers (ICC.1:2022, 9.2.17) say of HDR, which its curves cannot hold; else None."""
    count = int.from_bytes(profile[128:132])
    for at in range(132, 132 + 12 * min(count, 100), 12):
        if profile[at : at + 4] == b"cicp":
            start = int.from_bytes(profile[at + 4 : at + 8])
            numbers = profile[start + 8 : start + 12]
            coding = by_numbers(numbers[0], numbers[1]) if len(numbers) == 4 else None
            return coding if coding is not None and coding.is_hdr else None
    return None


def _every_colour(mode: str) -> Image.Image:
    """An image with colours of a mode from all over its range."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    steps = np.linspace(0, 255, {1: 256, 3: 9, 4: 5}[bands]).astype(np.uint8)
    colours = np.stack(np.meshgrid(*[steps] * bands), -1).reshape(1, -1, bands)
    return Image.frombytes(mode, (colours.shape[1], 1), colours.tobytes())
