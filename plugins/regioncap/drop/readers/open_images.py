"""Open Images: CSV files with a box a line, and the names of its classes in another one."""

import csv
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from regioncap.drop.plain import is_utf8
from regioncap.drop.readers.grouped import Grouped
from regioncap.drop.readers.reader import IMAGE_ENDINGS, DropReader, Given, Row, names_in
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.errors import RowError
from regioncap.regions.codes import Code

_CORNERS = ("XMin", "YMin", "XMax", "YMax")
_COLUMNS = {"ImageID", "LabelName", *_CORNERS}
_HEADER = b"ImageID,"
_NAMES = "class-descriptions"
# What classes are called without their names.
_CODE = re.compile("/[mgt]/")
_CODED = "boxes have the code of their class for a label, since no file gives its name"


def _rows(given: Given) -> Iterator[Row]:
    names = _names(given)
    read = False
    for manifest in given.manifests:
        with given.local(manifest) as path, closing(Grouped()) as boxes:
            if not _has_boxes(path):
                continue
            read = True
            yield from _faults(manifest, path, boxes)
            boxes.close_groups()
            for image, items in boxes.left():
                given.note(
                    _CODED, sum(_CODE.match(label) is not None and label not in names for _, _, label, _ in items)
                )
                yield _row(given, manifest, image, items, names)
    if not read:
        raise ValueError(f"none of the files has the columns {', '.join(sorted(_COLUMNS))}")


def _names(given: Given) -> dict[str, str]:
    """The names of classes, by their codes: `/m/0199g` is a bicycle."""
    names: dict[str, str] = {}
    for manifest in given.manifests:
        if _NAMES in manifest.rpartition("/")[2]:
            with given.local(manifest) as path:
                lines = names_in(given, path.read_bytes())
                names |= {cells[0]: cells[1] for cells in csv.reader(lines) if len(cells) > 1}
    return names


def _has_boxes(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        return set(stream.readline(MAX_LINE_BYTES).strip().split(",")) >= _COLUMNS


def _faults(manifest: str, path: Path, boxes: Grouped) -> Iterator[Row]:
    """Group the lines by their images; a row for each that is none."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        header = stream.readline().strip().split(",")
        # No cell of such a file has a quote or a comma in it, so a line is a line.
        for number, line in enumerate(stream, start=2):
            cells = dict(zip(header, line.rstrip("\r\n").split(","), strict=False))
            if not line.strip():
                continue
            if not is_utf8(line):
                fault = RowError(Code.NOT_UTF8, f"line {number:,} of the file is not UTF-8")
                yield Row(number, None, fault, line.encode("utf-8", "surrogateescape"), manifest)
            elif not cells.keys() >= _COLUMNS or not cells["ImageID"]:
                fault = RowError(Code.NOT_CSV, f"line {number:,} of the file has not the columns of its header")
                yield Row(number, None, fault, line, manifest)
            else:
                box = [_number(cells[name]) for name in _CORNERS]
                boxes.add(cells["ImageID"], [number, box, cells["LabelName"], cells.get("IsGroupOf") == "1"])


def _row(given: Given, manifest: str, image: str, items: list[Any], names: dict[str, str]) -> Row:
    line = items[0][0]
    value: dict[str, Any] = {
        given.bbox_key: [box for _, box, _, _ in items],
        "labels": [names.get(label, label) or None for _, _, label, _ in items],
    }
    if any(crowd for *_, crowd in items):
        value["crowd"] = [crowd for *_, crowd in items]
    try:
        value[given.image_key] = _image(given, manifest, image)
    except RowError as fault:
        return Row(line, None, fault, {"ImageID": image}, manifest)
    return Row(line, value, manifest=manifest)


def _image(given: Given, manifest: str, image: str) -> str:
    """An image's id is its name without its ending, and in files of some tools with it. Raises RowError."""
    path = given.image(image, manifest) if image.lower().endswith(IMAGE_ENDINGS) else ""
    return path if path in given else given.image_of(image, manifest)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _recognises(path: str, start: bytes) -> bool:
    return start.startswith(_HEADER) or _NAMES in path.rpartition("/")[2]


def _count(given: Given) -> int:
    return sum(_lines(given, manifest) for manifest in given.manifests)


def _lines(given: Given, manifest: str) -> int:
    """By changes of the first cell: boxes of an image mostly lie together."""
    count, before = 0, b""
    with given.local(manifest) as path, path.open("rb") as stream:
        for line in stream:
            image = line.split(b",", 1)[0]
            count += image != before
            before = image
    return count


READER = DropReader((".csv",), _rows, "xyxy_norm", _recognises, _count)
