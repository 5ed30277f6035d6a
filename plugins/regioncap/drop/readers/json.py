"""Manifests that are one JSON array of objects."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from regioncap.drop.readers.reader import Reader, Row
from regioncap.drop.readers.streamed import Item, items
from regioncap.errors import RowError
from regioncap.regions.codes import Code


def _rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    for item in items(manifest):
        if item.key or not item.number:
            raise ValueError("it is not an array of objects")
        yield _row(item)


def _row(item: Item) -> Row:
    fault = item.fault
    if fault is None and not isinstance(item.value, dict):
        fault = RowError(Code.NOT_AN_OBJECT, "the row is not an object")
    if fault is None and _NO_UTF8.search(json.dumps(item.value, ensure_ascii=False)):
        fault = RowError(Code.NOT_UTF8, "the row is not UTF-8")
    return Row(item.number, item.value) if fault is None else Row(item.number, None, fault, item.value)


# What bytes that are not UTF-8 were read as.
_NO_UTF8 = re.compile("[\udc80-\udcff]")


# Lists of other things have these keys: conversations, whose boxes are in their text, and the labels of a CVAT task.
# None of them are rows without boxes.
_NO_ROWS = (b'"conversations"', b'"input_type"')


def _begins(start: bytes) -> bool:
    is_list = start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    return is_list and not any(key in start for key in _NO_ROWS)


READER = Reader((".json",), _rows, begins=_begins)
