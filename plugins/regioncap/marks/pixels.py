"""From Pillow's memory to OpenCV's, and back."""

import ctypes
from collections.abc import Callable
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

        shared = pa.array(image).values.to_numpy(zero_copy_only=True)
    except (ImportError, ValueError):  # an image of more than 16 MB lies in several pieces
        packed: npt.NDArray[Any] = np.asarray(image)
        return cv2.cvtColor(packed, cv2.COLOR_RGB2RGBA)
    pixels: npt.NDArray[Any] = shared.reshape(image.height, image.width, 4)
    return pixels


def written(size: tuple[int, int], write: Callable[[npt.NDArray[Any]], object]) -> Image.Image:
    """A new RGB image of `size` (width, height), whose pixels `write` writes into a (height, width, 4) array of uint8.

    They are written where Pillow keeps them: an image over other memory is copied by whoever draws on it.
    """
    image = Image.new("RGB", size, None)
    try:
        import pyarrow as pa

        memory = pa.array(image).values.buffers()[1]
    except (ImportError, ValueError):  # as above
        pixels = np.empty((size[1], size[0], 4), np.uint8)
        write(pixels)
        return Image.frombytes("RGB", size, pixels, "raw", "RGBX")
    # Arrow lends it for reading; nobody else has this image yet.
    own = (ctypes.c_uint8 * memory.size).from_address(memory.address)
    write(np.frombuffer(own, np.uint8).reshape(size[1], size[0], 4))
    return image
