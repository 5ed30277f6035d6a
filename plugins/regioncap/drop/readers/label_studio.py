"""Label Studio: its JSON export, whole or in short (JSON-MIN), with boxes in percent."""

import base64
import math
import re
from collections.abc import Iterator
from typing import Any, TypeGuard
from urllib.parse import parse_qs, unquote, urlsplit

from regioncap.drop.given import UNLABELLED
from regioncap.drop.readers.reader import DropReader, Given, Row, id_in, left_out
from regioncap.drop.readers.streamed import a_row_each_item, items
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# What an upload is called: what it was called before stands after some letters and digits of its own.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_IMAGE = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf])(?:\?.*)?$", re.IGNORECASE)
_SHORT = ("x", "y", "width", "height")
_OWN = {"record_id", "region_keys"}
# Stands for the box around what is turned on an image whose size is not given: in percent, that depends on it.
_UNKNOWN = "turned, and the size of the image is not given"
_ELLIPSE = {"x", "y", "radiusX", "radiusY"}


def _rows(given: Given) -> Iterator[Row]:
    return a_row_each_item(given, given.manifests, "tasks", lambda manifest, item: _task(given, manifest, item))


def _task(given: Given, manifest: str, task: Any) -> dict[str, Any]:
    if not isinstance(task, dict):
        raise RowError(Code.NOT_AN_OBJECT, "the task is not an object")
    if _annotations(task) and not any("result" in item for item in _annotations(task)):
        raise RowError(Code.NOT_AN_OBJECT, "its annotations have no results: they are of another tool")
    data = task["data"] if isinstance(task.get("data"), dict) else task
    shapes, drawn_on = _shapes(given, task) if data is not task else (_all_short(data), None)
    key = _image_key(given, data, drawn_on)
    value = {name: field for name, field in data.items() if name not in (key, *_OWN) and not _is_short(field)}
    if task.get("id") is not None:
        value["id"] = id_in(given, manifest, task["id"])
    # RegionCap's own export: the record's id, and regions without a label.
    own = data.keys() >= _OWN
    if own:
        value["id"] = data["record_id"]
    boxes = [(item, label) for item, label in shapes if "x" in item or "points" in item]
    if boxes:
        size = next(((item.get("original_width"), item.get("original_height")) for item, _ in boxes), (None, None))
        value |= dict(zip(("width", "height"), size, strict=True))
        value[given.bbox_key] = [_box(item) for item, _ in boxes]
        labels = [label or _label(item) for item, label in boxes]
        value["labels"] = [None if own and label == UNLABELLED else label for label in labels]
    value[given.image_key] = _image(given, manifest, data.get(key) if key else None)
    return value


def _image_key(given: Given, data: dict[str, Any], drawn_on: str | None) -> str | None:
    """Under which key a task has its image: what its boxes are drawn on, by the param, the usual name, or by its look.

    Raises RowError (image_not_found) where it may be any of several.
    """
    if isinstance(drawn_on, str) and isinstance(data.get(drawn_on), str):
        return drawn_on
    alike = [key for key, field in data.items() if _is_image(field)]
    named = next((key for key in (given.image_key, "image") if isinstance(data.get(key), str)), None)
    if drawn_on is not None and named is None and len(alike) > 1:
        listed = ", ".join(map(repr, alike[:4]))
        raise RowError(
            Code.IMAGE_NOT_FOUND,
            f"it has several images ({listed}), and its boxes do not say which one they are on: "
            "set the param image_key",
        )
    others = drawn_on is not None and any(key != named for key in alike)
    given.note("tasks have other images too, and do not say which one their boxes are on: look at some", others)
    return named or next(iter(alike), None)


def _is_image(field: Any) -> bool:
    return isinstance(field, str) and _IMAGE.search(field) is not None


def _is_short(field: Any) -> bool:
    return bool(_short(field))


def _short(field: Any) -> list[dict[str, Any]]:
    """The boxes of a field of the short form."""
    if not isinstance(field, list):
        return []
    shapes = [item for item in field if isinstance(item, dict)]
    return [item for item in shapes if item.keys() >= set(_SHORT) or item.keys() >= _ELLIPSE or "points" in item]


def _all_short(task: dict[str, Any]) -> list[tuple[dict[str, Any], str | None]]:
    """The boxes of a task of the short form, which have their labels in them."""
    return [(item, None) for field in task.values() for item in _short(field)]


def _annotations(task: dict[str, Any]) -> list[dict[str, Any]]:
    return _objects(task.get("annotations", task.get("completions")))


def _chosen(given: Given, task: dict[str, Any]) -> dict[str, Any]:
    """The annotation of a task that is read; where nobody has seen to it, what a model has predicted."""
    annotations = _annotations(task)
    predictions = _objects(task.get("predictions"))
    if not annotations and predictions:
        given.note("tasks have no annotation: their predictions were read")
        return predictions[0]
    done = [item for item in annotations if not item.get("was_cancelled")]
    true = [item for item in done if item.get("ground_truth")]
    given.note("tasks have several annotations, of which the first was read", len(done) > 1 and not true)
    return next(iter([*true, *done]), {})


def _shapes(given: Given, task: dict[str, Any]) -> tuple[list[tuple[dict[str, Any], str | None]], str | None]:
    """The boxes and outlines of one annotation of a task, with their sizes, and the labels that stand apart.

    And what they are drawn on, by the name that it has in the project; None where there are none.

    Raises RowError (image_not_found) where they are on several images.
    """
    chosen = _chosen(given, task)
    found: dict[Any, tuple[dict[str, Any], str | None]] = {}
    images: dict[str, None] = {}
    turned = False
    for number, result in enumerate(_objects(chosen.get("result"))):
        inner = result.get("value")
        if not isinstance(inner, dict):
            continue
        # A box and its label can be two results of one id.
        identity = str(result.get("id") or number)
        if other := _OTHER.match(str(result.get("type"))):
            given.note(left_out(other[1]))
        shape, label = found.get(identity, ({}, None))
        if _SHAPE.match(str(result.get("type"))):
            images[str(result.get("to_name"))] = None
            turned = turned or result.get("image_rotation") not in (None, 0)
            shape = {**{key: result.get(key) for key in ("original_width", "original_height")}, **inner}
        found[identity] = (shape, label or _label(inner))
    given.note("tasks have boxes that were drawn while the image was turned: look whether they are in place", turned)
    if len(images) > 1:
        listed = ", ".join(map(repr, list(images)[:4]))
        raise RowError(
            Code.IMAGE_NOT_FOUND,
            f"its boxes are on several images ({listed}), of which a row has one: make a task of each",
        )
    return list(found.values()), next(iter(images), None)


_SHAPE = re.compile(r"(?:rectangle|polygon|ellipse)(?:labels)?$")
_OTHER = re.compile(r"(brush|bitmask|keypoint|vector|videorectangle)(?:labels)?$")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _label(item: dict[str, Any]) -> str | None:
    for key in ("rectanglelabels", "polygonlabels", "ellipselabels", "labels"):
        labels = item.get(key)
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return None


def _box(item: dict[str, Any]) -> Any:
    """A box in percent of the sides; of one that is turned clockwise about its upper left corner, that around it."""
    points = item.get("points")
    if isinstance(points, list):
        corners = [point for point in points if _are_numbers(point, 2)]
        return _around(corners) if corners and len(corners) == len(points) else points
    if item.keys() >= _ELLIPSE:
        return _around_ellipse(item)
    box = [item.get(name) for name in _SHORT]
    if not _are_numbers(box, 4) or not item.get("rotation"):
        return box
    if (turn := _turn(item)) is None:
        return _UNKNOWN
    (x, y, width, height), (sine, cosine, across, down) = box, turn
    # In pixels a turn keeps lengths, in percent of two sides it does not.
    sides = [(w * across / 100, h * down / 100) for w in (0, width) for h in (0, height)]
    turned = [(w * cosine - h * sine, w * sine + h * cosine) for w, h in sides]
    return _around([[x + w / across * 100, y + h / down * 100] for w, h in turned])


def _around_ellipse(item: dict[str, Any]) -> Any:
    """The box around an ellipse, which is turned about its centre."""
    numbers = [item.get(name) for name in ("x", "y", "radiusX", "radiusY")]
    if not _are_numbers(numbers, 4):
        return numbers
    x, y, rx, ry = numbers
    if item.get("rotation"):
        if (turn := _turn(item)) is None:
            return _UNKNOWN
        sine, cosine, across, down = turn
        wide, high = rx * across, ry * down
        rx, ry = math.hypot(wide * cosine, high * sine) / across, math.hypot(wide * sine, high * cosine) / down
    return [x - rx, y - ry, 2 * rx, 2 * ry]


def _turn(item: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """The sine and the cosine of a shape's turn, and the sides of its image; None where these are not known."""
    turn = [item.get(name) for name in ("rotation", "original_width", "original_height")]
    if not _are_numbers(turn, 3) or not all(math.isfinite(number) for number in turn) or min(turn[1:]) <= 0:
        return None
    angle = math.radians(turn[0])
    return math.sin(angle), math.cos(angle), turn[1], turn[2]


def _around(points: list[Any]) -> list[float]:
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _are_numbers(values: Any, number: int) -> TypeGuard[list[float]]:
    return (
        isinstance(values, list)
        and len(values) == number
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    )


def _image(given: Given, manifest: str, said: Any) -> Any:
    """The image that a task names: by its path in a storage or among the uploads, whatever server it lies on."""
    if not isinstance(said, str):
        return said
    parts = urlsplit(said)
    query = parse_qs(parts.query)
    if stored := query.get("fileuri"):
        said = _in_storage(stored[0])
        parts, query = urlsplit(said), {}
    local = query.get("d")
    name = unquote(local[0] if local else parts.path).lstrip("/") if parts.scheme or said.startswith("/") else said
    last = name.rpartition("/")[2]
    for tried in (name, last, _UPLOADED.sub("", last)):
        path = given.image(tried, manifest) if tried else ""
        if path in given:
            return path
    return last if said.startswith("/") else said


def _in_storage(written: str) -> str:
    """The address in a storage for which the server makes one that is good for an hour; "" where it is none."""
    try:
        return base64.urlsafe_b64decode(written + "=" * (-len(written) % 4)).decode()
    except ValueError:
        return ""


def _recognises(path: str, start: bytes) -> bool:
    found = _RESULT.search(start) is not None or all(part.search(start) for part in _TASK)
    return start.lstrip().startswith(b"[") and found


# How tasks are told from lists of other tools, which have `annotations` too.
_TASK = (re.compile(rb'"(?:annotations|completions|predictions)"\s*:\s*\['), re.compile(rb'"data"\s*:\s*\{'))
_RESULT = re.compile(rb'"(?:rectangle|polygon|ellipse)labels"\s*:\s*\[|"original_width"\s*:')


def _count(given: Given) -> int:
    return sum(_tasks_in(given, manifest) for manifest in given.manifests)


def _tasks_in(given: Given, manifest: str) -> int:
    with given.local(manifest) as path:
        return sum(1 for _ in items(path))


READER = DropReader((".json",), _rows, "xywh_percent", _recognises, _count)
