"""Rows of JSON whose boxes are in other forms than a list of lists: objects, one flat box, text, or sides and corners.

What a box's numbers are is said by their names, where they have names, in the unit of the run's `box_format`.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from regioncap.drop.readers import jsonl
from regioncap.drop.readers.reader import UNNAMED, Given, from_corners, tidy

# Under what names objects with boxes are found, where a row has not the boxes' own key, and a box in an object.
LISTS = ("objects", "annotations", "regions", "boxes", "bboxes", "detections", "instances")
_INNER = ("bbox", "box", "bbox_2d", "box_2d")
# Under what names labels are.
_LABELS = ("label", "category", "class", "name", "category_name", "class_name", "phrase", "caption")
_NUMBERED = (*_LABELS, "category_id", "class_id", "label_id")
_LABEL_LISTS = ("labels", "categories", "category", "classes", "names", "label")

# Where a row has both, `width` and `height` are those of its image.
_SIDES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
_CENTRES = (("cx", "cy", "w", "h"), ("cx", "cy", "width", "height"), ("x_center", "y_center", "width", "height"))

# What Detectron2 calls boxes in pixels: two corners, or a corner and two sides.
_AS_CORNERS, _AS_SIDES = 0, 1

# All names under which a row can have boxes, beside that of the param, or their labels.
FIELDS = frozenset(
    (*LISTS, *_LABELS, *_LABEL_LISTS, *(name for names in (*_SIDES, *_CORNERS, *_CENTRES) for name in names))
)

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Found:
    """The boxes of a row, their labels, and whether it is one box that is the row's own; `used` are the row's keys.

    `unnamed` is how many of them have the number of a class for a label, which says nothing.
    """

    boxes: list[Any]
    labels: list[str | None]
    single: bool
    used: frozenset[str]
    unnamed: int = 0


def found_boxes(row: dict[str, Any], bbox_key: str, layout: str) -> Found | None:
    """The boxes of a row in whatever form they are; None where there are none, or they are a list of lists already.

    `layout` is that of the run's box format: xywh, xyxy, cxcywh or yxyx.
    """
    key = next((name for name in LISTS if _has_boxes(row.get(name))), None) if row.get(bbox_key) is None else bbox_key
    if key is None:
        names = _names_in(row)
        if names is None or not all(_is_number(row[name]) for name in names):
            return None
        used = frozenset((*names, *_LABELS))
        return Found([_named(row, layout)], [_label(row)], True, used, _has_number(row))
    value = read_text(row[key])
    if _is_flat(value) or (isinstance(value, dict) and _is_object(value)):
        label = (_label(value) if isinstance(value, dict) else None) or _label(row)
        numbered = label is None and (_has_number(row) or _has_number(value))
        return Found([_box(value, layout)], [label], True, frozenset((key, *_LABELS)), numbered)
    if isinstance(value, dict):
        return _columns(value, key)
    if not isinstance(value, list) or (key == bbox_key and all(map(_is_list, value))):
        return None
    boxes = [_box(item, layout) for item in value]
    labels = [_label(item) if isinstance(item, dict) else None for item in value]
    unnamed = sum(map(_has_number, value))
    beside = None if any(labels) or unnamed else _labels_beside(row, boxes)
    if beside is None:
        return Found(boxes, labels, False, frozenset((key,)), unnamed)
    labels, unnamed = _named_and_not(row[beside])
    return Found(boxes, labels, False, frozenset((key, beside)), unnamed)


def _columns(value: dict[str, Any], key: str) -> Found | None:
    """An object of lists, as Hugging Face's data sets have it: boxes in one, labels in another."""
    boxes = next((value[name] for name in (*_INNER, *LISTS) if isinstance(value.get(name), list)), None)
    if boxes is None:
        return None
    labels: list[Any] = next((value[name] for name in _LABEL_LISTS if isinstance(value.get(name), list)), [])
    told, unnamed = _named_and_not(labels)
    return Found(boxes, told, False, frozenset((key,)), unnamed)


def _labels_beside(row: dict[str, Any], boxes: Any) -> str | None:
    """Under which key a row has a list with a label, or the number of a class, for each of its boxes."""
    if not isinstance(boxes, list):
        return None
    lists = ((key, row[key]) for key in _LABEL_LISTS if isinstance(row.get(key), list) and len(row[key]) == len(boxes))
    return next((key for key, given in lists if given and all(type(item) in (str, int) for item in given)), None)


def _named_and_not(labels: list[Any]) -> tuple[list[str | None], int]:
    """Labels of classes that have names; and how many have a number alone."""
    return [item if isinstance(item, str) else None for item in labels], sum(type(item) is int for item in labels)


def _has_boxes(value: Any) -> bool:
    value = read_text(value)
    if isinstance(value, dict):
        return _columns(value, "") is not None
    if not isinstance(value, list) or not value:
        return False
    return all(_is_object(item) or isinstance(item, list) for item in value)


def _is_object(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    inner = [read_text(item[name]) for name in _INNER if name in item]
    return _names_in(item) is not None or any(_is_flat(box) or _is_object(box) for box in inner)


def _box(item: Any, layout: str) -> Any:
    """A box as a list of four numbers; what is none, as it is."""
    item = read_text(item)
    if not isinstance(item, dict):
        return item
    inner = next((item[name] for name in _INNER if item.get(name) is not None), None)
    if inner is None:
        return _named(item, layout)
    box = _box(inner, layout)
    # Detectron2 says of each box what it is.
    if type(mode := item.get("bbox_mode")) is int and mode in (_AS_CORNERS, _AS_SIDES) and _is_flat(box):
        x, y, c, d = box
        return _laid_out(x, y, *((c, d) if mode == _AS_CORNERS else (x + c, y + d)), layout)
    return box


def _named(item: dict[str, Any], layout: str) -> Any:
    names = _names_in(item)
    if names is None:
        return item
    numbers = [item[name] for name in names]
    if not all(map(_is_number, numbers)):
        return numbers
    a, b, c, d = numbers
    if names in _CORNERS:
        corners = a, b, c, d
    elif names in _CENTRES or (layout == "cxcywh" and names[:2] == ("x", "y")):
        corners = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    else:
        corners = a, b, a + c, b + d
    return _laid_out(*corners, layout)


def _laid_out(x0: float, y0: float, x1: float, y1: float, layout: str) -> list[int | float]:
    if layout == "xyxy":
        return [tidy(x0), tidy(y0), tidy(x1), tidy(y1)]
    if layout == "yxyx":
        return [tidy(y0), tidy(x0), tidy(y1), tidy(x1)]
    if layout == "cxcywh":
        return [tidy((x0 + x1) / 2), tidy((y0 + y1) / 2), tidy(x1 - x0), tidy(y1 - y0)]
    return from_corners(x0, y0, x1, y1)


def _names_in(item: dict[str, Any]) -> tuple[str, ...] | None:
    """By which names an object has the four numbers of a box."""
    return next((names for names in (*_CORNERS, *_CENTRES, *_SIDES) if all(name in item for name in names)), None)


def _label(item: dict[str, Any]) -> str | None:
    return next((item[name] for name in _LABELS if isinstance(item.get(name), str) and item[name]), None)


def _has_number(item: Any) -> bool:
    """Whether an object has the number of a class, and no label."""
    return isinstance(item, dict) and _label(item) is None and any(type(item.get(name)) is int for name in _NUMBERED)


def read_text(value: Any) -> Any:
    """What a text says that is JSON, or four numbers; else the text."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    words = re.split(r"[,;\s]+", text.strip("[]()<> "))
    if len(words) == 4 and all(_NUMBER.fullmatch(word) for word in words):
        return [tidy(float(word)) for word in words]
    return value


def _is_flat(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def with_boxes(given: Given, row: dict[str, Any]) -> dict[str, Any]:
    """The row with its boxes, in whatever form they are, under the boxes' own key, and their labels beside them."""
    found = found_boxes(row, given.bbox_key, given.box_format.partition("_")[0])
    if found is None:
        return with_labels(given, row)
    given.note(UNNAMED, found.unnamed)
    value = {key: field for key, field in row.items() if key not in found.used}
    if found.boxes:
        value[given.bbox_key] = found.boxes
        if any(found.labels):
            value["labels"] = found.labels
    return value


def with_labels(given: Given, row: dict[str, Any]) -> dict[str, Any]:
    """The row, with the labels that stand beside its boxes, where these are a list already."""
    key = _labels_beside(row, row.get(given.bbox_key))
    if key is None:
        return row
    labels, unnamed = _named_and_not(row[key])
    given.note(UNNAMED, unnamed)
    value = {name: field for name, field in row.items() if name != key}
    return {**value, "labels": labels} if any(labels) else value


def has_labels(row: dict[str, Any], bbox_key: str) -> bool:
    """Whether labels stand beside a row's boxes, under a name that the usual form does not have."""
    key = _labels_beside(row, row.get(bbox_key))
    return key is not None and key != "labels" and any(_named_and_not(row[key])[0])


def lines_in(given: Given) -> int:
    """How many rows a drop's manifests of JSON lines have, at most."""
    return sum(_lines(given, manifest) for manifest in given.manifests)


def _lines(given: Given, manifest: str) -> int:
    assert jsonl.READER.count is not None
    with given.local(manifest) as path:
        return jsonl.READER.count(path)
