"""Asking the model itself where things are: the prompt, and reading boxes out of its answer."""

import re
from typing import Any

from regioncap.marks.profiles import Coordinates, Grounding
from regioncap.regions.boxes import Box

_UNITS: dict[Coordinates, str] = {
    "pixels": "in pixels of the image",
    "thousandths": "relative to the image, from 0 to 1000",
}

_NUMBER = r"\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


def grounding_prompt(grounding: Grounding, coordinates: Coordinates, max_boxes: int) -> str:
    """The prompt for boxes, in the words of a model's family."""
    return grounding.prompt.format(n=max_boxes, coordinates=_UNITS[coordinates])


def grounding_schema(grounding: Grounding, max_boxes: int) -> dict[str, Any]:
    """The JSON schema of an answer: a list of at most `max_boxes` boxes, each with a label."""
    box = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
    return {
        "type": "array",
        "maxItems": max_boxes,
        "items": {
            "type": "object",
            "properties": {grounding.box_key: box, "label": {"type": "string"}},
            "required": [grounding.box_key, "label"],
            "additionalProperties": False,
        },
    }


def grounded_boxes(text: str, coordinates: Coordinates, seen: tuple[int, int], displayed: tuple[int, int]) -> list[Box]:
    """The boxes in an answer, in its order, in pixels of the image as displayed; repeated ones once.

    Every list of four numbers counts, so a JSON that is cut off, or in the middle of prose, gives what it holds. Two
    corners in the wrong order are turned round; boxes are clipped to the image. `seen` and `displayed` are the
    (width, height) of the image as the model sees it and as displayed.
    """
    full = seen if coordinates == "pixels" else (1000, 1000)
    scale_x, scale_y = displayed[0] / full[0], displayed[1] / full[1]
    boxes: dict[Box, None] = {}
    for match in _BOX.finditer(text):
        x0, y0, x1, y1 = (float(number) for number in match.groups())
        xs = sorted(min(max(x * scale_x, 0.0), float(displayed[0])) for x in (x0, x1))
        ys = sorted(min(max(y * scale_y, 0.0), float(displayed[1])) for y in (y0, y1))
        if xs[0] < xs[1] and ys[0] < ys[1]:
            boxes[xs[0], ys[0], xs[1], ys[1]] = None
    return list(boxes)
