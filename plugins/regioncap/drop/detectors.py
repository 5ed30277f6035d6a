"""Regions for rows that give no boxes: a function from an image to boxes, by name in `DETECTORS`.

The param `when_no_boxes` offers those of installed packages too (docs/extending.md).
"""

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from regioncap.extend import Registry, not_callable
from regioncap.regions.boxes import Box

# Takes an RGB image at its full displayed size; returns boxes in its pixels, best first.
Detector = Callable[[Image.Image], list[Box]]

# Areas, aspect (width / height) and sides that the original pipeline accepts, as shares of the image.
_MIN_AREA, _MAX_AREA = 0.01, 0.8
_MIN_ASPECT, _MAX_ASPECT = 0.1, 5.0
_MAX_SIDE = 0.9
_MAX_OVERLAP = 0.3


def contours(image: Image.Image) -> list[Box]:
    """Boxes around closed dark-on-light or light-on-dark shapes, largest first, exactly as the original proposes them.

    `image` is RGB at its full displayed size; boxes are whole pixels of it.
    """
    height, width = image.height, image.width
    grey = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY)
    blurred = cv2.GaussianBlur(grey, (5, 5), 0)
    edges = cv2.adaptiveThreshold(blurred, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY_INV, 11, 2)
    closed = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((8, 8), np.uint8))
    found, _ = cv2.findContours(closed, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes: list[Box] = []
    for contour in found:
        x, y, w, h = cv2.boundingRect(contour)
        if (
            _MIN_AREA <= cv2.contourArea(contour) / (width * height) <= _MAX_AREA
            and _MIN_ASPECT <= w / h <= _MAX_ASPECT
            and w <= _MAX_SIDE * width
            and h <= _MAX_SIDE * height
        ):
            boxes.append((float(x), float(y), float(x + w), float(y + h)))
    return _suppressed(boxes)


def _suppressed(boxes: list[Box]) -> list[Box]:
    """Drop each box that overlaps a larger kept one by more than `_MAX_OVERLAP` of the smaller of the two."""
    kept: list[Box] = []
    for box in sorted(boxes, key=_area, reverse=True):
        if all(_overlap(box, other) <= _MAX_OVERLAP for other in kept):
            kept.append(box)
    return kept


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height / min(_area(a), _area(b)) if width > 0 and height > 0 else 0.0


DETECTORS: Registry[Detector] = Registry("regioncap.proposers", "detector", {"contours": contours}, not_callable)
