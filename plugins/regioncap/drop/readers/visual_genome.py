"""Visual Genome: its objects, or its region descriptions, in one JSON file."""

import re
from collections.abc import Iterator
from typing import Any

from regioncap.drop.readers.reader import DropReader, Given, Row
from regioncap.drop.readers.streamed import a_row_each_item, items
from regioncap.errors import RowError
from regioncap.regions.codes import Code

_PARTS = {"objects", "regions"}
# What else it comes with is recognised too: that is no other format.
_BEGINS = re.compile(
    rb'"(?:objects|regions|attributes|relationships)"\s*:\s*\[.{0,2000}?"(?:object|region|relationship)_id"|"flickr_id"',
    re.DOTALL,
)


def _rows(given: Given) -> Iterator[Row]:
    manifests = [manifest for manifest in given.manifests if _lists_parts(given, manifest)]
    if not manifests:
        raise ValueError("none of the files lists objects or regions")
    given.note("files without objects or regions were left out", len(given.manifests) - len(manifests))
    several = len(manifests) > 1
    yield from a_row_each_item(
        given, manifests, "images", lambda manifest, item: _value(given, manifest, item, several)
    )


def _lists_parts(given: Given, manifest: str) -> bool:
    """Whether a file is of images with objects or regions, by the first of them."""
    with given.local(manifest) as path:
        first = next(items(path), None)
    return first is None or not isinstance(first.value, dict) or not _PARTS.isdisjoint(first.value)


def _value(given: Given, manifest: str, image: Any, several: bool) -> dict[str, Any]:
    parts = image.get("objects", image.get("regions")) if isinstance(image, dict) else None
    if not isinstance(parts, list):
        raise RowError(Code.NOT_AN_OBJECT, "the image has no list of objects or regions")
    known = image.get("image_id", image.get("id"))
    if not isinstance(known, int | str) or known == "":
        raise RowError(Code.IMAGE_MISSING, "the image has no image_id")
    value: dict[str, Any] = {"id": f"{manifest}#{known}" if several else known}
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
