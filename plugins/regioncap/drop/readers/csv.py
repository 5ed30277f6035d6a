"""Manifests of comma-separated values: a header, and boxes as JSON text."""

import csv
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from regioncap.drop.plain import is_utf8
from regioncap.drop.readers.reader import Reader, Row
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.errors import RowError
from regioncap.regions.codes import Code


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


@dataclass(frozen=True)
class _Form:
    """How a file is written: what stands between cells, and whether a space behind it belongs to none of them."""

    between: str
    spaced: bool

    def reader(self, lines: Iterable[str], strict: bool = False) -> Any:
        return csv.reader(lines, delimiter=self.between, skipinitialspace=self.spaced, strict=strict)


_WHOLE = re.compile(r"-?[0-9]+\.0+")
# How spreadsheets say in a line of its own what stands between cells.
_SAID = re.compile(r'"?sep=(.)"?[\r\n]*')
# By what tables say that there is nothing, in small letters. `NA` may be a name.
_NOTHING = ("", "nan", "none", "null", "<na>")
_UNCLOSED = "a quote opens in the line and does not close"


def _rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    # Not with pandas: it ends at the first line that is not as the others, or shifts the columns.
    limit = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            lines = _Lines(stream)
            header = _csv_header(lines, csv.reader(lines))
            if said := _SAID.fullmatch(lines.taken[-1]):
                between = said[1]
                header = _csv_header(lines, csv.reader(lines, delimiter=between))
            else:
                between = _separator(header)
                header = next(csv.reader(lines.taken, delimiter=between))
            # Whoever writes a space behind each comma does so in the header too, and means no cell to have it.
            form = _Form(between, any(name.startswith(" ") for name in header))
            header = [name.strip() for name in next(form.reader(lines.taken))]
            records = form.reader(lines)
            number = 0
            while True:
                lines.begin()
                try:
                    cells = next(records, None)
                    if cells is None:
                        return
                    if not cells or (len(cells) == 1 and cells[0].isspace()):
                        continue
                    value = _csv_value(header, cells, lines, form)
                    row = _with_parsed_boxes(Row(number + 1, value), bbox_key)
                    if len(lines.taken) > 1 and (row.fault or not {"\r", "\n"}.isdisjoint(value.get(image_key, ""))):
                        raise RowError(Code.NOT_CSV, _UNCLOSED)
                except (RowError, csv.Error) as error:
                    row = _csv_fault(number + 1, error, lines)
                number += 1
                yield row
    except csv.Error as error:
        raise ValueError(str(error)) from error
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
    """The names of the columns, whose lines are then the `taken` ones. Raises ValueError."""
    try:
        header: list[str] = []
        while not any(cell.strip() for cell in header):
            lines.begin()
            header = next(records)
    except RowError as fault:
        raise ValueError(f"its header has no end: {fault.reason}") from fault
    except StopIteration:
        raise ValueError("it has no header") from None
    if lines.ended:
        raise ValueError("a quote opens in its header and does not close")
    if not all(map(is_utf8, header)):
        raise ValueError("its header is not UTF-8")
    return header


def _separator(header: list[str]) -> str:
    """What stands between cells: spreadsheets write a semicolon where numbers have a comma, or a tab."""
    return next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), ",")


def _csv_value(header: list[str], cells: list[str], lines: _Lines, form: _Form) -> dict[str, Any]:
    """A record's cells by the columns' names; of columns with one name the first counts.

    Raises RowError (not_csv, not_utf8).
    """
    if lines.ended or (len(lines.taken) > 1 and not _closes(lines.taken, form)):
        raise RowError(Code.NOT_CSV, _UNCLOSED)
    if not all(map(is_utf8, cells)):
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


def _closes(lines: list[str], form: _Form) -> bool:
    """Whether lines are one record whose quotes are where they have to be."""
    try:
        return len(list(form.reader(lines, strict=True))) == 1
    except csv.Error:
        return False


def _with_parsed_boxes(row: Row, bbox_key: str) -> Row:
    """A CSV cell holds the boxes as JSON text; one with nothing in it gives no boxes, and no `id`.

    Tables write `17.0` for 17 where another one is missing.
    """
    if row.value is None:
        return row
    value = {key: cell for key, cell in row.value.items() if key != "id" or cell.lower() not in _NOTHING}
    if _WHOLE.fullmatch(value.get("id", "")):
        value["id"] = value["id"].partition(".")[0]
    cell = value.get(bbox_key)
    if isinstance(cell, str):
        try:
            value[bbox_key] = None if cell.strip().lower() in _NOTHING else json.loads(cell)
        except (ValueError, RecursionError):
            return Row(row.line, None, RowError(Code.BBOX_NOT_A_LIST, f"{bbox_key} is not JSON text"), row.value)
    return Row(row.line, value)


READER = Reader((".csv", ".tsv"), _rows)
