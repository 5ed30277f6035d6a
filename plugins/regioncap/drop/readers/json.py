"""Manifests that are one JSON array of objects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regioncap.drop.readers.reader import Reader, Row
from regioncap.errors import RowError
from regioncap.regions.codes import Code


def _rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    rows = json.loads(manifest.read_bytes())
    if not isinstance(rows, list):
        raise ValueError("it is not an array of objects")
    for number, value in enumerate(rows, start=1):
        yield _object_row(number, value)


def _object_row(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, None, RowError(Code.NOT_AN_OBJECT, "the row is not an object"), value)


# Lists of other things have these keys: conversations, whose boxes are in their text, and the labels of a CVAT task.
# None of them are rows without boxes.
_NO_ROWS = (b'"conversations"', b'"input_type"')


def _begins(start: bytes) -> bool:
    is_list = start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    return is_list and not any(key in start for key in _NO_ROWS)


READER = Reader((".json",), _rows, begins=_begins)
