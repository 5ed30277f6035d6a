"""Visual Genome: its objects, or its region descriptions, in one JSON file."""

import re
from collections.abc import Iterator
from typing import Any

from regioncap.drop.readers.reader import DropReader, Given, Row, id_in
from regioncap.drop.readers.streamed import a_row_each_item, items
from regioncap.errors import RowError
from regioncap.regions.codes import Code

_BEGINS = re.compile(rb'"(?:objects|regions)"\s*:\s*\[.{0,2000}?"(?:object_id|region_id)"', re.DOTALL)


def _rows(given: Given) -> Iterator[Row]:
    return a_row_each_item(given, "images", lambda manifest, item: _value(given, manifest, item))


def _value(given: Given, manifest: str, image: Any) -> dict[str, Any]:
    parts = image.get("objects", image.get("regions")) if isinstance(image, dict) else None
    if not isinstance(parts, list):
        raise RowError(Code.NOT_AN_OBJECT, "the image has no list of objects or regions")
    known = image.get("image_id", image.get("id"))
    if not isinstance(known, int | str) or known == "":
        raise RowError(Code.IMAGE_MISSING, "the image has no image_id")
    value: dict[str, Any] = {"id": id_in(given, manifest, known)}
    value |= {key: image[key] for key in ("width", "height") if key in image}
    if parts:
        value[given.bbox_key] = [_box(part) for part in parts]
        value["labels"] = [_label(part) for part in parts]
    value[given.image_key] = given.image_of(str(known), manifest)
    return value


def _box(part: Any) -> Any:
    """Objects have `w` and `h`, regions `width` and `height`."""
    if not isinstance(part, dict):
        return None
    return [part.get("x"), part.get("y"), part.get("w", part.get("width")), part.get("h", part.get("height"))]


def _label(part: Any) -> str | None:
    names = part.get("names", [part.get("name")]) if isinstance(part, dict) else []
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def _recognises(path: str, start: bytes) -> bool:
    return start.lstrip().startswith(b"[") and _BEGINS.search(start) is not None


def _count(given: Given) -> int:
    return sum(_images_in(given, manifest) for manifest in given.manifests)


def _images_in(given: Given, manifest: str) -> int:
    with given.local(manifest) as path:
        return sum(1 for _ in items(path))


READER = DropReader((".json",), _rows, "xywh", _recognises, _count)
