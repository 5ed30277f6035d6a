"""A drop as it lies there: is it ready, which manifests has it, what are their rows?"""

import csv
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from regioncap.builds.layout import READY_MARKER
from regioncap.errors import PermanentError
from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.images import MAX_BYTES
from regioncap.regions.rows import MAX_LINE_BYTES, parse_line
from regioncap.storage.store import LinkError, NotFoundError, Store

InputFormat = Literal["jsonl", "json", "csv", "parquet"]
Readiness = Literal["marker", "unchanged"]

# Without a marker, a drop that nobody has touched for so long is taken for complete.
QUIET_SECONDS = 600.0


class DropError(PermanentError):
    """The drop as a whole cannot be built: the message says why and what to do."""


@dataclass(frozen=True)
class Row:
    """One row of a manifest: its 1-based line and its parsed object, or the fault and the raw text."""

    line: int
    value: dict[str, Any] | None
    fault: RowFault | None = None
    raw: Any = None


def not_ready(drop: Store, readiness: Readiness, now: float) -> str | None:
    """Why the drop is not ready to be built, as a sentence; None if it is. `now` is in seconds since 1970."""
    if readiness == "marker":
        try:
            drop.stat(READY_MARKER)
        except NotFoundError:
            if drop.folder_exists():
                return f"the drop at {drop.uri} has no {READY_MARKER} file yet: upload it when all else is there"
            return f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date"
        return None
    latest = max((entry.modified for entry in drop.list()), default=None)
    if latest is None:
        return f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date"
    if now - latest < QUIET_SECONDS:
        return (
            f"the drop at {drop.uri} changed {max(0.0, now - latest):.0f} s ago; it is ready when nothing changes for "
            f"{QUIET_SECONDS:.0f} s"
        )
    return None


@dataclass(frozen=True)
class Contents:
    """What lies in a drop.

    `manifests` are the manifests' names, sorted. `fingerprint` is a hash over the paths and versions of everything but
    the marker: it changes when the drop does.
    """

    manifests: list[str]
    fingerprint: str


def contents(drop: Store, input_format: InputFormat) -> Contents:
    """List the drop, once: a large one takes thousands of requests. Raises DropError where it has no manifest."""
    manifests: list[str] = []
    digest = hashlib.sha256()
    for entry in drop.list():
        if entry.path != READY_MARKER:
            digest.update(f"{entry.path}\0{entry.version}\n".encode("utf-8", "surrogateescape"))
        if "/" not in entry.path and entry.path.endswith(f".{input_format}"):
            manifests.append(entry.path)
    if manifests:
        return Contents(manifests, digest.hexdigest())
    if not drop.folder_exists():
        raise DropError(f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date")
    raise DropError(
        f"the drop at {drop.uri} has no manifest: put one or more *.{input_format} files at its top level, "
        "or set the param input_format to the format they have"
    )


@contextmanager
def local_copy(drop: Store, manifest: str) -> Iterator[Path]:
    """The manifest as a temporary local file: it is read twice, and Parquet needs to seek."""
    with tempfile.NamedTemporaryFile(prefix="regioncap-manifest-") as copy, drop.open(manifest) as stream:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.flush()
        yield Path(copy.name)


def read_rows(manifest: Path, input_format: InputFormat, bbox_key: str) -> Iterator[Row]:
    """The rows of one manifest as a stream; blank lines are not rows.

    Raises DropError where the file as a whole is not of its format.
    """
    readers = {"jsonl": _read_jsonl, "json": _read_json, "csv": _read_csv, "parquet": _read_parquet}
    try:
        for row in readers[input_format](manifest):
            yield _with_parsed_boxes(row, bbox_key) if input_format == "csv" else row
    except (ValueError, csv.Error, OSError) as error:
        raise DropError(
            f"the manifest cannot be read as {input_format}: {error}; correct the file, or the param input_format"
        ) from error


def _read_jsonl(manifest: Path) -> Iterator[Row]:
    with manifest.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 2):
            number += 1
            complete = line.endswith(b"\n")
            while not complete and (rest := stream.readline(MAX_LINE_BYTES)):
                complete = rest.endswith(b"\n")  # the tail of an overlong line is skipped
            if not line.strip():
                continue
            try:
                yield Row(
                    number, parse_line(line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b""))
                )
            except RowFault as fault:
                yield Row(number, None, fault, line)


def _read_json(manifest: Path) -> Iterator[Row]:
    rows = json.loads(manifest.read_bytes())
    if not isinstance(rows, list):
        raise ValueError("it is not an array of objects")
    for number, value in enumerate(rows, start=1):
        yield _object_row(number, value)


def _read_csv(manifest: Path) -> Iterator[Row]:
    # Here, since it takes half a second and 80 MB that no other task needs.
    import pandas as pd

    chunks = pd.read_csv(manifest, dtype=str, keep_default_na=False, chunksize=10_000)
    number = 0
    for chunk in chunks:
        for value in chunk.to_dict("records"):
            number += 1
            yield _object_row(number, value)


def _read_parquet(manifest: Path) -> Iterator[Row]:
    number = 0
    with pq.ParquetFile(manifest) as table:
        for batch in table.iter_batches(batch_size=1_000):
            for value in batch.to_pylist():
                number += 1
                yield _object_row(number, value)


def _object_row(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, None, RowFault(Code.NOT_AN_OBJECT, "the row is not an object"), value)


def _with_parsed_boxes(row: Row, bbox_key: str) -> Row:
    """A CSV cell holds the boxes as JSON text; an empty cell gives no boxes, and an empty `id` is no id."""
    if row.value is None:
        return row
    value = {key: cell for key, cell in row.value.items() if key != "id" or cell != ""}
    cell = value.get(bbox_key)
    if isinstance(cell, str):
        try:
            value[bbox_key] = json.loads(cell) if cell.strip() else None
        except (ValueError, RecursionError):
            return Row(row.line, None, RowFault(Code.BBOX_NOT_A_LIST, f"{bbox_key} is not JSON text"), row.value)
    return Row(row.line, value)


def read_image(drop: Store, path: str) -> bytes:
    """An image's bytes. Raises RowFault (image_not_found, image_is_link, image_too_large)."""
    try:
        with drop.open(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except NotFoundError:
        raise RowFault(Code.IMAGE_NOT_FOUND, "there is no such file in the drop") from None
    except LinkError:
        raise RowFault(Code.IMAGE_IS_LINK, "the path leads through a symbolic link; links are not followed") from None
    if len(data) > MAX_BYTES:
        raise RowFault(Code.IMAGE_TOO_LARGE, f"the file has more than {MAX_BYTES:,} bytes")
    return data
