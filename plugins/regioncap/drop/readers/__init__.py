"""Readers: from a manifest's file to its rows, a file for each format.

`reader` says what a reader is; `jsonl`, `json`, `csv` and `parquet` are ours.
"""

from typing import Any

from regioncap.drop.readers import csv, json, jsonl, parquet
from regioncap.drop.readers.reader import Reader, Row
from regioncap.extend import Registry

__all__ = ["READERS", "Reader", "Row"]


def _fault(name: str, reader: Any) -> str | None:
    usable = isinstance(reader, Reader) and isinstance(reader.suffixes, tuple) and reader.suffixes
    return None if usable else "is no Reader with a tuple of suffixes"


READERS = Registry(
    "regioncap.readers",
    "reader",
    {"jsonl": jsonl.READER, "json": json.READER, "csv": csv.READER, "parquet": parquet.READER},
    _fault,
)
