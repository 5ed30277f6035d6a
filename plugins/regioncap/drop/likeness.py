"""How an image looks, in 256 bits: images of which few bits differ are the same picture, saved in another way."""

import math

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from regioncap.marks.pixels import stored

# The picture is looked at in this size, and what it has of the coarsest waves, so many each way, makes the bits.
_SEEN = 64
_WAVES = 16
# With less between its darkest and its lightest, a picture has nothing to be known by.
_LEAST_RANGE = 8
# From so many pixels on, Pillow does not keep them in one piece.
_ONE_PIECE = 4_000_000


def perceptual_hash(image: Image.Image) -> str | None:
    """The hash of an RGB image, as 64 hex digits; None where there is next to nothing to be seen.

    It is a pHash, of the size of PDQ: the discrete cosine transform of the grey picture, each coefficient beside their
    median. What is turned, mirrored or cut has another one.
    """
    grey = Image.fromarray(cv2.cvtColor(_coarse(image), cv2.COLOR_RGBA2GRAY))
    small = grey.resize((_SEEN, _SEEN), Image.Resampling.LANCZOS, reducing_gap=1.5)
    low, high = small.getextrema()
    if high - low < _LEAST_RANGE:  # type: ignore[operator]
        return None
    waves = cv2.dct(np.asarray(small, np.float32))[:_WAVES, :_WAVES]
    # Their median. NumPy's own takes ten times as long for so few.
    middle = np.sort(waves, axis=None)[_WAVES**2 // 2 - 1 :][:2].mean()
    return np.packbits(waves > middle).tobytes().hex()


def _coarse(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The pixels, (height, width, 4), at half the size where that is still many times what is looked at.

    To read all of a picture's pixels costs most here, and nothing does it faster than this.
    """
    factor = math.ceil(math.sqrt(image.width * image.height / _ONE_PIECE))
    pixels = stored(image.reduce(factor) if factor > 1 else image)
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    if min(width, height) < 4 * _SEEN:
        return pixels
    # A last row or column that is left over moves the picture by next to nothing.
    return np.asarray(cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA))
