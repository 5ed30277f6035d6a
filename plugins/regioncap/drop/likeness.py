"""How an image looks, in 256 bits: images of which few bits differ are the same picture, saved in another way."""

import cv2
import numpy as np
from PIL import Image

# The picture is looked at in this size, and what it has of the coarsest waves, so many each way, makes the bits.
_SEEN = 64
_WAVES = 16
# With less between its darkest and its lightest, a picture has nothing to be known by.
_LEAST_RANGE = 8


def perceptual_hash(image: Image.Image) -> str | None:
    """The hash of an RGB image, as 64 hex digits; None where there is next to nothing to be seen.

    It is a pHash, of the size of PDQ: the discrete cosine transform of the grey picture, each coefficient beside their
    median. What is turned, mirrored or cut has another one.
    """
    # Grey first, and then by means of whole blocks to about twice the size: all pixels of the image are read, which
    # costs most here.
    small = image.convert("L").resize((_SEEN, _SEEN), Image.Resampling.LANCZOS, reducing_gap=2.0)
    low, high = small.getextrema()
    if high - low < _LEAST_RANGE:  # type: ignore[operator]
        return None
    waves = cv2.dct(np.asarray(small, np.float32))[:_WAVES, :_WAVES]
    return np.packbits(waves > np.median(waves)).tobytes().hex()
