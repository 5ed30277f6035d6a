"""LabelMe: a JSON file for each image, beside it."""

import json
import math
from collections.abc import Iterator
from typing import Any, TypeGuard

from regioncap.drop.readers.reader import DropReader, Given, Row, a_row_each, around, left_out, not_of_another, stem_of
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# Of these shapes, the box around them is read; a circle is given by its centre and a point on it.
_SHAPES = ("rectangle", "polygon", "circle", "mask", "rotation", "oriented_rectangle", "quadrilateral")

_OTHERS = ("point", "line", "linestrip", "points")

# The image can be in it too, as text.
_MOST = 32 << 20


def _rows(given: Given) -> Iterator[Row]:
    return a_row_each(given.small(given.manifests, _MOST), lambda manifest, data: _value(given, manifest, data))


def _value(given: Given, manifest: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RowError(Code.NOT_JSON, f"it cannot be read as labelme: it is not JSON: {error}") from error
    shapes = found.get("shapes") if isinstance(found, dict) else None
    if not isinstance(shapes, list):
        raise RowError(Code.NOT_AN_OBJECT, "it cannot be read as labelme: it has no list of shapes")
    value: dict[str, Any] = {"width": found.get("imageWidth"), "height": found.get("imageHeight")}
    flags = found.get("flags")
    if isinstance(flags, dict) and flags:
        value["flags"] = flags
    for shape in shapes:
        if isinstance(shape, dict) and _kind(shape) not in _SHAPES:
            given.note(left_out(_kind(shape) if _kind(shape) in _OTHERS else "another kind"))
    drawn = [shape for shape in shapes if not isinstance(shape, dict) or _kind(shape) in _SHAPES]
    if drawn:
        value[given.bbox_key] = [_box(shape) for shape in drawn]
        value["labels"] = [_label(shape) for shape in drawn]
    path = given.image(found.get("imagePath") or "", manifest)
    if path in given:
        path = not_of_another(given, manifest, path)
    else:
        # A file that was moved with its image tells of another place.
        try:
            path = given.image_of(stem_of(manifest), manifest)
        except RowError:
            path = found.get("imagePath") or path
    value[given.image_key] = path
    return value


def _kind(shape: dict[str, Any]) -> Any:
    return shape.get("shape_type") or "polygon"


def _box(shape: Any) -> Any:
    points = shape.get("points") if isinstance(shape, dict) else shape
    if not _are_points(points):
        return points if isinstance(points, list) else None
    if _kind(shape) == "circle" and len(points) == 2:
        (x, y), radius = points[0], math.dist(*points)
        return around([(x - radius, y - radius), (x + radius, y + radius)])
    return around(points)


def _are_points(points: Any) -> TypeGuard[list[list[float]]]:
    return isinstance(points, list) and len(points) > 1 and all(_is_point(point) for point in points)


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(type(number) in (int, float) and math.isfinite(number) for number in point)
    )


def _label(shape: Any) -> str | None:
    label = shape.get("label") if isinstance(shape, dict) else None
    return label if isinstance(label, str) and label else None


def _recognises(path: str, start: bytes) -> bool:
    return start.lstrip().startswith(b"{") and (b'"shapes"' in start or b'"imageData"' in start)


READER = DropReader((".json",), _rows, "xywh", _recognises, lambda given: len(given.manifests))
