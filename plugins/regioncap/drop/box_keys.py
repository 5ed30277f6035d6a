"""Where a drop's boxes are: under the declared key, or under another one that nobody reads."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# What the sides and corners of a box are called where it is an object.
PARTS = {"x", "y", "w", "h", "width", "height", "left", "top", "right", "bottom", "xmin", "ymin", "xmax", "ymax"}
PARTS |= {"x1", "y1", "x2", "y2"}

# Under these names, and those with `box` in them, an object has its box, or its list of boxes.
_INNER = ("coordinates", "shape_attributes", "annotations")
# A text of so many characters is looked into: it may be the boxes of a cell of a table.
_MOST_TEXT = 1 << 20
# The names of a box whose numbers are fields of the row: which of them it has is told.
_FLAT = (
    ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
    ("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"),
)  # fmt: skip

_PLAIN = re.compile(r"[\w .-]{1,50}")


@dataclass
class BoxKeys:
    """Counts rows by the keys under which they have boxes.

    `rows` is how many were looked at, and `declared` how many have the declared key, whatever is there; `others` counts
    those without it by each key under which they have what looks like boxes, `flat` by the names of the fields in which
    they have one box.
    """

    rows: int = 0
    declared: int = 0
    others: Counter[str] = field(default_factory=Counter)
    flat: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def note(self, row: dict[str, Any], bbox_key: str) -> None:
        """Count a row."""
        self.rows += 1
        if bbox_key in row:
            self.declared += 1
        else:
            self.others.update(key for key, value in row.items() if _looks_like_boxes(value))
            self.flat.update(names for names in _FLAT if all(_is_number(row.get(name)) for name in names))

    def told(self, bbox_key: str) -> str | None:
        """What is to be said of rows whose boxes nobody reads; None where there are none."""
        if self.flat:
            names, rows = self.flat.most_common(1)[0]
            return (
                f"{rows:,} of {self.rows:,} rows do not have the key {bbox_key!r}, but the numbers of a box in fields "
                f"of their own ({', '.join(names)}), which are not read: write them as a list of boxes under "
                f"{bbox_key!r}, which may be empty; of JSON lines, input_format jsonl_any reads them"
            )
        if not self.others:
            return None
        key, rows = self.others.most_common(1)[0]
        # Whoever wrote the drop wrote the key, and this text is shown in many places.
        named, name = (f"{key!r}", key) if _PLAIN.fullmatch(key) else ("another key", "that key")
        return (
            f"{rows:,} of {self.rows:,} rows do not have the key {bbox_key!r}, but boxes under {named}, which are not "
            f"read: set the param bbox_key to {name}, or rename the key in these rows"
        )


def _looks_like_boxes(value: Any) -> bool:
    """Whether a value is a list of boxes, one box, or the text of such a list."""
    if isinstance(value, str):
        return _in_text(value)
    if isinstance(value, dict):
        # Lists of boxes and of what is said of them, as tables have it.
        return _has_parts(value) or any(isinstance(inner, list) and _looks_like_boxes(inner) for inner in _inner(value))
    if not isinstance(value, list) or not value:
        return False
    return _is_box(value) or all(_is_box(item) for item in value)


def _in_text(text: str) -> bool:
    text = text.strip()
    if text.startswith("[["):
        return text.endswith("]]")
    # Cells of tables that other tools write have objects in them.
    if not text.startswith(("[{", '{"')) or len(text) > _MOST_TEXT:
        return False
    try:
        return _looks_like_boxes(json.loads(text))
    except (ValueError, RecursionError):
        return False


def _inner(value: dict[str, Any]) -> Iterator[Any]:
    return (inner for key, inner in value.items() if key in _INNER or "box" in str(key).lower())


def _has_parts(value: dict[str, Any]) -> bool:
    return len(PARTS & {str(key).lower().replace("_", "") for key in value}) >= 4


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float | str) and not isinstance(value, bool) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _is_box(value: Any) -> bool:
    if isinstance(value, dict):
        return _has_parts(value) or any(_is_box(inner) for inner in _inner(value))
    return isinstance(value, list) and len(value) == 4 and all(type(number) in (int, float) for number in value)
