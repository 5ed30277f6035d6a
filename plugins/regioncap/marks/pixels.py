"""From Pillow's memory to OpenCV's."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image


def for_opencv(image: Image.Image, *, bgr: bool = False) -> npt.NDArray[Any]:
    """The pixels of an RGB image as a new (height, width, 3) array of uint8, in RGB or in OpenCV's BGR order.

    Pillow keeps RGB in four bytes a pixel. `np.asarray` packs them while it keeps the interpreter to itself; here they
    are read where they are, through Arrow, and packed by OpenCV, which lets other threads work.
    """
    try:
        # The environment that the demo model is trained in has no Arrow.
        import pyarrow as pa

        shared = pa.array(image).flatten().to_numpy(zero_copy_only=True)
    except (ImportError, ValueError):  # an image of more than 16 MB lies in several pieces
        packed: npt.NDArray[Any] = np.asarray(image)
        return cv2.cvtColor(packed, cv2.COLOR_RGB2BGR) if bgr else packed
    stored: npt.NDArray[Any] = shared.reshape(image.height, image.width, 4)
    return cv2.cvtColor(stored, cv2.COLOR_RGBA2BGR if bgr else cv2.COLOR_RGBA2RGB)
