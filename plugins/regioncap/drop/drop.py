"""A drop as it lies there: is it ready, which manifests has it, what are their rows?"""

import csv
import hashlib
import json
import shutil
import tempfile
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.images import MAX_BYTES
from regioncap.drop.rows import MAX_LINE_BYTES, MAX_PATH_BYTES, parse_line
from regioncap.errors import (
    ArchivedError,
    DropError,
    ForbiddenError,
    LinkError,
    NotFoundError,
    RowError,
)
from regioncap.regions.codes import Code
from regioncap.storage.store import Store, read_again

InputFormat = Literal["jsonl", "json", "csv", "parquet"]
Readiness = Literal["marker", "unchanged"]

# Without a marker, a drop that nobody has touched for so long is taken for complete.
QUIET_SECONDS = 600.0

# An image is read in pieces of this size.
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Row:
    """One row of a manifest: its 1-based line and its parsed object, or the fault and the raw text."""

    line: int
    value: dict[str, Any] | None
    fault: RowError | None = None
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
        except LinkError as error:
            return f"a link is no marker: {error}"
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


class Files:
    """The paths of files, as 64-bit hashes: a million take 8 MB."""

    def __init__(self, hashes: "array[int]") -> None:
        self._hashes = array("Q", np.sort(np.frombuffer(hashes, np.uint64)).tobytes())

    def __contains__(self, path: object) -> bool:
        wanted = _path_hash(str(path))
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted


def _path_hash(path: str) -> int:
    # In a folder, a name can be bytes that are not UTF-8.
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest())


@dataclass(frozen=True)
class Contents:
    """What lies in a drop.

    `manifests` are the manifests' names, sorted; `files` are all files. `fingerprint` is a hash over the paths and
    versions of everything but the marker: it changes when the drop does.
    """

    manifests: list[str]
    files: Files
    fingerprint: str


def contents(drop: Store, input_format: InputFormat) -> Contents:
    """List the drop, once: a large one takes thousands of requests.

    Raises DropError where it has no manifest, or one whose name cannot be written down.
    """
    manifests: list[str] = []
    hashes = array("Q")
    digest = hashlib.sha256()
    for entry in drop.list():
        hashes.append(_path_hash(entry.path))
        if entry.path != READY_MARKER:
            digest.update(f"{entry.path}\0{entry.version}\n".encode("utf-8", "surrogateescape"))
        if "/" not in entry.path and entry.path.endswith(f".{input_format}"):
            manifests.append(entry.path)
    for name in manifests:
        if not _is_utf8(name):
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise DropError(f"the drop at {drop.uri} has a manifest whose name ({shown}) is not UTF-8: rename it")
    if manifests:
        return Contents(manifests, Files(hashes), digest.hexdigest())
    if not drop.folder_exists():
        raise DropError(f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date")
    raise DropError(
        f"the drop at {drop.uri} has no manifest: put one or more *.{input_format} files at its top level, "
        "or set the param input_format to the format they have"
    )


def path_bytes(drop: Store) -> int:
    """How many bytes a path in the drop can have: a bucket counts the drop's own path in it too."""
    folder = drop.uri.removeprefix("s3://").partition("/")[2] if drop.uri.startswith("s3://") else ""
    return MAX_PATH_BYTES - (len(folder.encode()) + 1 if folder else 0)


@contextmanager
def local_copy(drop: Store, manifest: str) -> Iterator[Path]:
    """The manifest as a temporary local file: it is read twice, and Parquet needs to seek."""
    with tempfile.NamedTemporaryFile(prefix="regioncap-manifest-") as copy:

        def fill() -> None:
            copy.seek(0)
            copy.truncate()
            with drop.open(manifest) as stream:
                shutil.copyfileobj(stream, copy, 1 << 20)
            copy.flush()

        read_again(fill)
        yield Path(copy.name)


def read_rows(
    manifest: Path, input_format: InputFormat, bbox_key: str, image_key: str = "image", name: str | None = None
) -> Iterator[Row]:
    """The rows of one manifest as a stream; blank lines are not rows.

    `name` is what the drop calls the file. Of Parquet, only the columns that RegionCap uses are read.
    Raises DropError where the file as a whole is not of its format.
    """
    try:
        if input_format == "jsonl":
            yield from _read_jsonl(manifest)
        elif input_format == "json":
            yield from _read_json(manifest)
        elif input_format == "csv":
            yield from _read_csv(manifest, image_key, bbox_key)
        else:
            yield from _read_parquet(manifest, image_key, bbox_key)
    except (ValueError, RecursionError, OverflowError, csv.Error, pa.ArrowException, OSError) as error:
        # With a number, it is the disk's; Arrow raises OSError for a damaged file too.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DropError(
            f"the manifest {name or manifest.name} cannot be read as {input_format}: {error}; correct the file, or "
            "the param input_format"
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
            except RowError as fault:
                yield Row(number, None, fault, line)


def _read_json(manifest: Path) -> Iterator[Row]:
    rows = json.loads(manifest.read_bytes())
    if not isinstance(rows, list):
        raise ValueError("it is not an array of objects")
    for number, value in enumerate(rows, start=1):
        yield _object_row(number, value)


class _Lines:
    """The lines of a CSV file, which can be read again where they turn out not to be one record.

    `taken` are the lines of the record that is read, `number` is how many of the file were read; `ended` says that the
    record would go on where the file ends. A line ends as the text says, by `\\r` too.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.taken: list[str] = []
        self.number = 0
        self.ended = False
        self._stream = stream
        self._again: deque[str] = deque()
        self._characters = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        """Raises RowError (line_too_long, not_csv) where the record gets too long."""
        line = self._again.popleft() if self._again else self._stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        self._characters += len(line)
        if len(line) > MAX_LINE_BYTES:
            tail = line
            while not tail.endswith(("\r", "\n")) and (tail := self._stream.readline(MAX_LINE_BYTES)):
                pass  # the tail of an overlong line is skipped
            line = line.rstrip("\r\n") + "\n"
        self.taken.append(line)
        if self._characters > MAX_LINE_BYTES:
            if len(self.taken) == 1:
                raise RowError(Code.LINE_TOO_LONG, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            raise RowError(Code.NOT_CSV, _UNCLOSED)
        return line

    def begin(self) -> None:
        """Begin a record."""
        self.taken.clear()
        self.ended, self._characters = False, 0

    def give_back(self) -> None:
        """Read again what was taken, but for the first line."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1


_UNCLOSED = "a quote opens in the line and does not close"


def _read_csv(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    # Not with pandas: it ends at the first line that is not as the others, or shifts the columns.
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            lines = _Lines(stream)
            records = csv.reader(lines)
            header = _csv_header(lines, records)
            number = 0
            while True:
                lines.begin()
                try:
                    cells = next(records, None)
                    if cells is None:
                        return
                    if not cells or (len(cells) == 1 and cells[0].isspace()):
                        continue
                    value = _csv_value(header, cells, lines)
                    row = _with_parsed_boxes(Row(number + 1, value), bbox_key)
                    if len(lines.taken) > 1 and (row.fault or not {"\r", "\n"}.isdisjoint(value.get(image_key, ""))):
                        raise RowError(Code.NOT_CSV, _UNCLOSED)
                except (RowError, csv.Error) as error:
                    row = _csv_fault(number + 1, error, lines)
                number += 1
                yield row
    finally:
        csv.field_size_limit(limit)


def _csv_fault(number: int, error: RowError | csv.Error, lines: _Lines) -> Row:
    """Where a record is none, its first line is at fault: a stray quote in it can have swallowed the others."""
    code, reason = (error.code, error.reason) if isinstance(error, RowError) else (Code.NOT_CSV, f"not CSV: {error}")
    first = lines.taken[0].encode("utf-8", "surrogateescape")
    place = lines.number - len(lines.taken) + 1
    if code == Code.NOT_CSV:
        lines.give_back()
    return Row(number, None, RowError(code, f"{reason} (line {place:,} of the file)"), first)


def _csv_header(lines: _Lines, records: Iterator[list[str]]) -> list[str]:
    """The names of the columns. Raises ValueError."""
    try:
        header = next((cells for cells in records if any(cell.strip() for cell in cells)), None)
    except RowError as fault:
        raise ValueError(f"its header has no end: {fault.reason}") from fault
    if header is None:
        raise ValueError("it has no header")
    if lines.ended:
        raise ValueError("a quote opens in its header and does not close")
    if not all(map(_is_utf8, header)):
        raise ValueError("its header is not UTF-8")
    return header


def _csv_value(header: list[str], cells: list[str], lines: _Lines) -> dict[str, Any]:
    """A record's cells by the columns' names; of columns with one name the first counts.

    Raises RowError (not_csv, not_utf8).
    """
    if lines.ended or (len(lines.taken) > 1 and not _closes(lines.taken)):
        raise RowError(Code.NOT_CSV, _UNCLOSED)
    if not all(map(_is_utf8, cells)):
        raise RowError(Code.NOT_UTF8, "the line is not UTF-8")
    # Programs end lines in commas, of the header or of the others.
    if any(header[len(cells) :]) or any(cells[len(header) :]):
        raise RowError(
            Code.NOT_CSV,
            f"the line has {len(cells)} cells, the header {len(header)}: boxes and other cells with commas in them "
            'have to be in quotes ("), one at each end',
        )
    cells += [""] * (len(header) - len(cells))
    value: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        value.setdefault(name, cell)
    return value


def _closes(lines: list[str]) -> bool:
    """Whether lines are one record whose quotes are where they have to be."""
    try:
        return len(list(csv.reader(lines, strict=True))) == 1
    except csv.Error:
        return False


def _is_utf8(text: str) -> bool:
    """Whether text that was read with `surrogateescape` was UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_parquet(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    faults = {"id": Code.ID_INVALID, image_key: Code.IMAGE_NOT_A_PATH, bbox_key: Code.BBOX_NOT_A_LIST}
    number = 0
    with pq.ParquetFile(manifest) as table:
        # Whole columns only: to Parquet, `a.b` is also the field `b` of the column `a`.
        wanted = [name for name in faults if name in table.schema_arrow.names]
        for batch in table.iter_batches(batch_size=1_000, columns=wanted):
            try:
                values = batch.to_pylist()
            except (ValueError, OverflowError, pa.ArrowException):
                # One of them has something in it that Python cannot hold.
                rows = [_parquet_row(number + place, batch.slice(place - 1, 1), faults) for place in _places(batch)]
            else:
                rows = [Row(number + place, value) for place, value in zip(_places(batch), values, strict=True)]
            yield from rows
            number += batch.num_rows


def _places(batch: pa.RecordBatch) -> range:
    return range(1, batch.num_rows + 1)


def _parquet_row(number: int, row: pa.RecordBatch, faults: dict[str, Code]) -> Row:
    """A row of its own, as far as it can be read."""
    value: dict[str, Any] = {}
    fault: RowError | None = None
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            value[name] = column[0].as_py()
        except UnicodeDecodeError as error:
            fault = RowError(Code.NOT_UTF8, f"{name} is not UTF-8: {error}")
        except (ValueError, OverflowError, pa.ArrowException) as error:
            fault = RowError(faults[name], f"{name} cannot be read: {error}")
    return Row(number, value) if fault is None else Row(number, None, fault, value)


def _object_row(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, None, RowError(Code.NOT_AN_OBJECT, "the row is not an object"), value)


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
            return Row(row.line, None, RowError(Code.BBOX_NOT_A_LIST, f"{bbox_key} is not JSON text"), row.value)
    return Row(row.line, value)


def read_image(drop: Store, path: str) -> bytes:
    """An image's bytes.

    Raises RowError (image_not_found, image_is_link, image_forbidden, image_archived, image_too_large). What may pass
    by itself goes up as it is.
    """

    def read() -> bytes:
        with drop.open(path) as stream:
            # In pieces: room for the largest one, made for each image, costs more than reading it.
            pieces = [stream.read(_PIECE_BYTES)]
            left = MAX_BYTES + 1 - len(pieces[0])
            while pieces[-1] and left > 0:
                pieces.append(stream.read(min(left, _PIECE_BYTES)))
                left -= len(pieces[-1])
            return b"".join(pieces)

    try:
        data = read_again(read)
    except NotFoundError:
        raise RowError(Code.IMAGE_NOT_FOUND, "there is no such file in the drop") from None
    except LinkError:
        raise RowError(Code.IMAGE_IS_LINK, "the path leads through a symbolic link; links are not followed") from None
    except ForbiddenError:
        raise RowError(
            Code.IMAGE_FORBIDDEN,
            "the store does not allow this file to be read (of a missing one it may say the same: is it there?)",
        ) from None
    except ArchivedError:
        raise RowError(
            Code.IMAGE_ARCHIVED, "the file is archived in a storage class that cannot be read; restore it first"
        ) from None
    if len(data) > MAX_BYTES:
        raise RowError(Code.IMAGE_TOO_LARGE, f"the file has more than {MAX_BYTES:,} bytes")
    return data


READY_MARKER = "_READY"
