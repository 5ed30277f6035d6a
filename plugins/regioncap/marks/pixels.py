"""From Pillow's memory to OpenCV's."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image


def for_opencv(image: Image.Image, *, bgr: bool = False) -> npt.NDArray[Any]:
    """The pixels of an RGB image as a new (height, width, 3) array of uint8, in RGB or in OpenCV's BGR order."""
    return cv2.cvtColor(stored(image), cv2.COLOR_RGBA2BGR if bgr else cv2.COLOR_RGBA2RGB)


def stored(image: Image.Image) -> npt.NDArray[Any]:
    """The pixels of an RGB image as Pillow keeps them, in a (height, width, 4) array of uint8: not to be written to.

    `np.asarray` packs them in threes while it keeps the interpreter to itself; here they are where they are, through
    Arrow.
    """
    try:
        # The environment that the demo model is trained in has no Arrow.
        import pyarrow as pa

        shared = pa.array(image).flatten().to_numpy(zero_copy_only=True)
    except (ImportError, ValueError):  # an image of more than 16 MB lies in several pieces
        packed: npt.NDArray[Any] = np.asarray(image)
        return cv2.cvtColor(packed, cv2.COLOR_RGB2RGBA)
    pixels: npt.NDArray[Any] = shared.reshape(image.height, image.width, 4)
    return pixels


def from_stored(pixels: npt.NDArray[Any]) -> Image.Image:
    """The RGB image whose pixels are in a (height, width, 4) array of uint8, which it keeps until it is drawn on."""
    height, width, _ = pixels.shape
    try:
        import pyarrow as pa
    except ImportError:
        return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB))
    values = pa.Array.from_buffers(pa.uint8(), pixels.size, [None, pa.py_buffer(pixels)])
    return Image.fromarrow(pa.FixedSizeListArray.from_arrays(values, 4), "RGB", (width, height))
