"""Drops as other tools write them."""

import io
import json
import tarfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from regioncap.drop.drop import Manifests, contents
from regioncap.drop.readers import READERS, DropReader, Row
from regioncap.regions.boxes import BoxFormat
from regioncap.steps.plan import _count_rows
from tests.builders import ROOT, Place

FOREIGN = ROOT / "tests/data/foreign"


@cache
def scenes() -> list[dict[str, Any]]:
    """What tests/data/foreign/make.py has written in every format."""
    found: list[dict[str, Any]] = json.loads((FOREIGN / "scenes.json").read_text("utf-8"))
    return found


def unpack(name: str, place: Place) -> list[str]:
    """Put a tool's files into the drop; returns their paths."""
    paths = []
    with tarfile.open(fileobj=io.BytesIO((FOREIGN / f"{name}.tar.xz").read_bytes())) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            place.put(member.name, stream.read())
            paths.append(member.name)
    return paths


def rows_of(
    place: Place, input_format: str, box_format: BoxFormat = "xywh", encoding: str = "utf-8"
) -> list[tuple[str, Row]]:
    """The rows that a reader makes of the drop, each with its manifest."""
    with ExitStack() as stack:
        found = contents(place.drop, input_format)
        manifests = Manifests(place.drop, found, "image", "bbox", box_format, encoding, stack)
        rows = list(manifests.rows())
        assert _count_rows(manifests) >= len([row for _, row in rows if row.value is not None])
        return rows


def values_of(place: Place, input_format: str, encoding: str = "utf-8") -> list[dict[str, Any]]:
    """The rows' objects, where none has a fault."""
    found = []
    for manifest, row in rows_of(place, input_format, encoding=encoding):
        assert row.value is not None, (manifest, row)
        found.append(row.value)
    return found


def faults_of(place: Place, input_format: str) -> list[tuple[str, int, str, str]]:
    """Manifest, line, code and reason of each row that has a fault."""
    return [
        (manifest, row.line, row.fault.code, row.fault.reason)
        for manifest, row in rows_of(place, input_format)
        if row.fault is not None
    ]


def box_format_of(input_format: str) -> BoxFormat:
    """What boxes of a format are."""
    reader = READERS[input_format]
    assert isinstance(reader, DropReader) and reader.box_format is not None
    return reader.box_format


def put_images(place: Place, folder: str, names: list[str]) -> None:
    """Files that are called as images are."""
    for name in names:
        path = Path(place.drop_folder, folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
