"""JSON lines as they come: boxes as objects, one flat box, text; or a box a line, grouped by its image."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from regioncap.drop.readers import image_folder, jsonl
from regioncap.drop.readers.grouped import Grouped
from regioncap.drop.readers.loose import Found, found_boxes, has_labels, lines_in, with_labels
from regioncap.drop.readers.reader import UNNAMED, DropReader, Given, Row
from regioncap.drop.rows import parse_line
from regioncap.errors import RowError

# So many lines tell of which form a file is.
_LOOKED_AT = 20


def _rows(given: Given) -> Iterator[Row]:
    for manifest in given.manifests:
        with given.local(manifest) as path, closing(Grouped()) as boxes:
            for _, row, found in _read(given, path):
                if found is not None and found.single:
                    boxes.add(row[given.image_key], [found.boxes[0], found.labels[0], row.get("id")])
            boxes.close_groups()
            for line, row, found in _read(given, path):
                given.note(UNNAMED, found.unnamed if found is not None else 0)
                if found is None:
                    value = line.value and with_labels(given, line.value)
                    yield replace(line, value=value, manifest=manifest)
                elif not found.single:
                    yield Row(line.line, _value(given, row, found, found.boxes, found.labels), manifest=manifest)
                elif items := boxes.take(row[given.image_key]):
                    value = _value(given, row, found, [box for box, _, _ in items], [label for _, label, _ in items])
                    if any(identity != row.get("id") for *_, identity in items):
                        value.pop("id", None)  # each box has an id, the image has none
                    yield Row(line.line, value, manifest=manifest)


def _read(given: Given, path: Path) -> Iterator[tuple[Row, dict[str, Any], Found | None]]:
    """Each line, its object, and the boxes that are in it in another form than a list of lists."""
    layout = given.box_format.partition("_")[0]
    for line in jsonl.READER.rows(path, given.image_key, given.bbox_key):
        row = line.value or {}
        found = found_boxes(row, given.bbox_key, layout)
        if found is not None and found.single and not isinstance(row.get(given.image_key), str):
            found = None  # it is of no image
        yield line, row, found


def _value(
    given: Given, row: dict[str, Any], found: Found, boxes: list[Any], labels: list[str | None]
) -> dict[str, Any]:
    value = {key: field for key, field in row.items() if key not in found.used}
    value[given.bbox_key] = boxes
    if any(labels):
        value["labels"] = labels
    return value


def _recognises(path: str, start: bytes) -> bool:
    if image_folder.READER.takes(path) and image_folder.READER.recognises(path, start):
        return False
    # Which encoding it is in is not known here, and of names only.
    lines = start.decode("utf-8", "replace").encode().split(b"\n")
    for line in lines[: min(len(lines) - 1, _LOOKED_AT)] or lines:
        try:
            row = parse_line(line) if line.strip() else {}
            if found_boxes(row, "bbox", "xywh") is not None or has_labels(row, "bbox"):
                return True
        except RowError:
            continue
    return False


READER = DropReader((".jsonl",), _rows, None, _recognises, lines_in, nested=False)
