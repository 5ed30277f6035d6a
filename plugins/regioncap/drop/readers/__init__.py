"""Readers: from a drop's manifests to its rows, a file for each format.

`reader` says what a reader is. Rows of RegionCap's own form: `jsonl`, `json`, `csv`, `parquet`; those of other tools:
`coco`, `yolo`, `voc`, `label_studio`, `cvat`. `streamed`, `grouped` and `elements` are what they read with: large JSON,
items that belong together, XML.
"""

from collections.abc import Mapping
from typing import Any

from regioncap.drop.readers import coco, csv, cvat, json, jsonl, label_studio, parquet, voc, yolo
from regioncap.drop.readers.reader import DropReader, Given, Reader, Row
from regioncap.extend import Registry

__all__ = ["AUTO", "READERS", "DropReader", "Given", "Reader", "Row"]

# Stands for the format that a drop's manifests are found to have.
AUTO = "auto"


def _fault(name: str, reader: Any) -> str | None:
    usable = isinstance(reader, Reader | DropReader) and isinstance(reader.suffixes, tuple) and reader.suffixes
    return None if usable else "is no Reader with a tuple of suffixes"


_ROWS: Mapping[str, Reader | DropReader] = {
    "jsonl": jsonl.READER, "json": json.READER, "csv": csv.READER, "parquet": parquet.READER,
}  # fmt: skip
_OF_OTHER_TOOLS: Mapping[str, Reader | DropReader] = {
    "coco": coco.READER, "yolo": yolo.READER, "voc": voc.READER, "label_studio": label_studio.READER,
    "cvat": cvat.READER,
}  # fmt: skip

READERS = Registry("regioncap.readers", "reader", {**_ROWS, **_OF_OTHER_TOOLS}, _fault, later=_OF_OTHER_TOOLS)
