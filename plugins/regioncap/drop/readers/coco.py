"""COCO: instances, and the boxes of panoptic segments. One file, or one for each part of a data set."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from regioncap.drop.plain import is_utf8
from regioncap.drop.readers.grouped import Grouped
from regioncap.drop.readers.loose import read_text
from regioncap.drop.readers.outlines import around_outline
from regioncap.drop.readers.reader import NOT_READ, UNNAMED, DropReader, Given, Row, id_in
from regioncap.drop.readers.streamed import Item, items
from regioncap.drop.seen import SeenIds
from regioncap.errors import RowError
from regioncap.regions.codes import Code

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_KEY = re.compile(rb'"(?:images|annotations|categories)"\s*:\s*\[')


def _rows(given: Given) -> Iterator[Row]:
    for manifest in given.manifests:
        with given.local(manifest) as path, closing(Grouped()) as boxes:
            yield from _read(given, manifest, path, boxes)


def _read(given: Given, manifest: str, path: Path, boxes: Grouped) -> Iterator[Row]:
    names: dict[Any, str | None] = {}
    counts = {"images": 0, "annotations": 0, "with a box": 0}
    shared = _SharedIds()
    for item in items(path):
        if item.key in counts:
            counts[item.key] += item.number > 0
        if item.key == "images" and isinstance(item.value, dict):
            shared.add(item.value)
        if item.key == "annotations" and item.number:
            wrong = _fault(item, "annotation", "image_id")
            if wrong is None:
                segments = _segments(item.value)
                counts["with a box"] += sum("bbox" in segment or "segmentation" in segment for segment in segments)
                for segment in segments:
                    boxes.add(_same(item.value["image_id"]), _noted(segment))
            else:
                yield Row(item.number, None, wrong, item.value, manifest)
        elif item.key == "categories" and isinstance(item.value, dict) and isinstance(item.value.get("name"), str):
            _name(given, names, _same(item.value.get("id")), item.value["name"])
    if not counts["images"]:
        raise ValueError("it lists no images")
    if counts["annotations"] and not counts["with a box"]:
        raise ValueError("none of its annotations has a bbox or an outline: leave it out, or take it out of the drop")
    boxes.close_groups()
    read = False
    for item in items(path):
        if item.key == "images" and item.number:
            read = True
            yield from _image(given, manifest, item, names, boxes, shared)
        elif read:
            break
    for image, left in boxes.left():
        reason = f"{len(left):,} annotations are of the image {image!r}, which the file does not list"
        yield Row(1, None, RowError(Code.IMAGE_MISSING, reason), {"image_id": image}, manifest)


def _name(given: Given, names: dict[Any, str | None], identity: Any, name: str) -> None:
    """Note what a category is called; None where that is not known."""
    given.note(NOT_READ, not is_utf8(name))
    known = name if is_utf8(name) else None
    names[identity] = known if names.get(identity, known) == known else None


def _segments(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    """What has a box in an annotation: itself, or where it is panoptic, its segments."""
    segments = annotation.get("segments_info")
    return [item for item in segments if isinstance(item, dict)] if isinstance(segments, list) else [annotation]


def _noted(segment: dict[str, Any]) -> list[Any]:
    """What is kept of a box until its image comes.

    Of RegionCap's own exports that is also whose record it is of, and the label: there, boxes without one have a
    category as well.
    """
    given = segment.get("bbox")
    box = around_outline(segment.get("segmentation")) if given is None or given == [] else _numbers(given)
    noted = [box, segment.get("category_id"), bool(segment.get("iscrowd"))]
    return [*noted, segment["record_id"], segment.get("label")] if "record_id" in segment else noted


def _numbers(box: Any) -> Any:
    """A box whose numbers are text, as tables write them, with numbers; all else as it is."""
    box = read_text(box)
    if isinstance(box, list) and len(box) == 4 and all(isinstance(side, str) for side in box):
        return read_text(" ".join(box))
    return box


class _SharedIds:
    """Which ids several images of a file have; an image that is listed twice is one."""

    def __init__(self) -> None:
        self._ids, self._images, self._shared = SeenIds(), SeenIds(), SeenIds()

    def add(self, image: dict[str, Any]) -> None:
        """Note an image's id."""
        identity = _text(image)
        is_new = self._ids.add(identity)
        if self._images.add(f"{identity} {_named(image)!r}") and not is_new:
            self._shared.add(identity)

    def __contains__(self, image: dict[str, Any]) -> bool:
        return _text(image) in self._shared


def _text(image: dict[str, Any]) -> str:
    return json.dumps(_same(image.get("id")))


def _named(image: dict[str, Any]) -> Any:
    """What an image is called; some files have its address alone, as LVIS's have."""
    return image.get("file_name") or image.get("coco_url")


def _image(
    given: Given, manifest: str, item: Item, names: dict[Any, str | None], boxes: Grouped, shared: _SharedIds
) -> Iterator[Row]:
    """The row of an image; where its boxes are of several records, one for each of these."""
    wrong = _fault(item, "image", "id")
    if wrong is not None:
        yield Row(item.number, None, wrong, item.value, manifest)
        return
    image = item.value
    if image in shared:
        boxes.take(_same(image["id"]))
        reason = f"several images of the file have the id {_text(image)}, so that it is not known whose its boxes are"
        yield Row(item.number, None, RowError(Code.DUPLICATE_ID, reason), image, manifest)
        return
    mine: dict[str, list[Any]] = {}
    for box in boxes.take(_same(image["id"])):
        mine.setdefault(json.dumps(box[3:4]), []).append(box)
    try:
        path = given.image(_named(image), manifest)
    except RowError as fault:
        yield Row(item.number, None, fault, image, manifest)
        return
    for some in mine.values() or [[]]:
        value = {key: field for key, field in image.items() if key != "file_name"}
        value["id"] = some[0][3] if some and some[0][3:] else id_in(given, manifest, image["id"])
        if some:
            value[given.bbox_key] = [box[0] for box in some]
            given.note(
                UNNAMED, sum(box[1] is not None and not box[3:] and not names.get(_same(box[1])) for box in some)
            )
            value["labels"] = [box[4] if box[3:] else names.get(_same(box[1])) for box in some]
            if any(box[2] for box in some):
                value["crowd"] = [box[2] for box in some]
        value[given.image_key] = path
        yield Row(item.number, value, manifest=manifest)


def _fault(item: Item, what: str, key: str) -> RowError | None:
    """What is wrong with an item that should be an object with this key."""
    if item.fault is not None:
        return RowError(item.fault.code, f"the {what} at place {item.number:,} of its list: {item.fault.reason}")
    if not isinstance(item.value, dict):
        return RowError(Code.NOT_AN_OBJECT, f"the {what} at place {item.number:,} of its list is not an object")
    if item.value.get(key) is None:
        named = f" (its id is {item.value['id']!r})" if what == "annotation" and "id" in item.value else ""
        return RowError(
            Code.ID_INVALID if key == "id" else Code.IMAGE_MISSING,
            f"the {what} at place {item.number:,} of its list{named} has no {key}",
        )
    return None


def _same(identity: Any) -> Any:
    """An id as all ways to write it are: tables make `17.0` of 17, and some tools write it as text."""
    if isinstance(identity, float) and identity.is_integer():
        return int(identity)
    if isinstance(identity, str) and _NUMBER.fullmatch(identity):
        return int(identity)
    return identity if isinstance(identity, int | str | float) else None


def _recognises(path: str, start: bytes) -> bool:
    if not start.lstrip().startswith(b"{") or _KEY.search(start) is None:
        return False
    try:
        # A short file of categories alone is one that names another format's classes.
        return bool(json.loads(start).keys() >= {"images", "annotations"})
    except (ValueError, RecursionError):  # its beginning is not all of it
        return True


def _count(given: Given) -> int:
    """By the names of their files, which costs next to nothing."""
    return sum(max(_words_in(given, manifest, word) for word in _NAMES) for manifest in given.manifests)


def _words_in(given: Given, manifest: str, word: bytes) -> int:
    with given.local(manifest) as path, path.open("rb") as stream:
        count, before = 0, b""
        while piece := stream.read(1 << 20):
            count += (before + piece).count(word)
            before = piece[1 - len(word) :]
        return count


_NAMES = (b'"file_name"', b'"coco_url"')

READER = DropReader((".json",), _rows, "xywh", _recognises, _count)
