"""Hugging Face's image folders: `metadata.jsonl` files, each beside its images. No script of a data set is ever run."""

from collections.abc import Iterator
from typing import Any

from regioncap.drop.readers import jsonl
from regioncap.drop.readers.loose import lines_in, with_boxes
from regioncap.drop.readers.reader import DropReader, Given, Row
from regioncap.errors import RowError

_FILE = "file_name"


def _rows(given: Given) -> Iterator[Row]:
    for manifest in given.manifests:
        with given.local(manifest) as path:
            for line in jsonl.READER.rows(path, _FILE, given.bbox_key):
                if line.value is None:
                    yield Row(line.line, None, line.fault, line.raw, manifest)
                    continue
                try:
                    yield Row(line.line, _value(given, manifest, line.value), manifest=manifest)
                except RowError as fault:
                    yield Row(line.line, None, fault, line.value, manifest)


def _value(given: Given, manifest: str, row: dict[str, Any]) -> dict[str, Any]:
    value = with_boxes(given, {key: field for key, field in row.items() if key != _FILE})
    value[given.image_key] = given.image(row.get(_FILE, ""), manifest)
    return value


def _recognises(path: str, start: bytes) -> bool:
    return b'"file_name"' in start.split(b"\n", 1)[0]


READER = DropReader(("metadata.jsonl",), _rows, None, _recognises, lines_in)
