"""Manifests of JSON lines: one object a line; blank lines are not rows."""

import codecs
import io
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from regioncap.drop.readers.reader import ByLine, Reader, Row
from regioncap.drop.rows import MAX_LINE_BYTES, parse_line
from regioncap.errors import RowError


def _rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    return (_row(number, line) for number, line in _lines(manifest))


def _lines(manifest: Path) -> Iterator[tuple[int, bytes]]:
    with manifest.open("rb") as stream:
        end, read = _ended_by(stream)
        number = 0
        while line := read(MAX_LINE_BYTES + 2):
            number += 1
            complete = line.endswith(end)
            while not complete and (rest := read(MAX_LINE_BYTES)):
                complete = rest.endswith(end)  # the tail of an overlong line is skipped
            if _unmarked(line).strip():
                yield number, line


def _ended_by(stream: IO[bytes]) -> tuple[bytes, Callable[[int], bytes]]:
    """What lines end in, and what reads one, or the next so many bytes of it.

    Old programs end lines in a carriage return alone, which JSON has nowhere in a text.
    """
    start = stream.readline(MAX_LINE_BYTES + 2)
    pieces = chain((start,), iter(lambda: stream.read(1 << 20), b""))
    alone = b"\r" in start and not any(b"\n" in piece for piece in pieces)
    stream.seek(0)
    if not alone:
        return b"\n", stream.readline
    characters = io.TextIOWrapper(stream, encoding="latin-1", newline="\r")  # one for each byte
    return b"\r", lambda size: characters.readline(size).encode("latin-1")


def _unmarked(line: bytes) -> bytes:
    """The line without a byte order mark, which it has where files were put behind one another."""
    return line.removeprefix(codecs.BOM_UTF8)


def _row(number: int, line: bytes) -> Row:
    try:
        return Row(number, parse_line(_unmarked(line).rstrip(b"\r\n")))
    except RowError as fault:
        return Row(number, None, fault, line)


def _count(manifest: Path) -> int:
    """By line ends, which costs next to nothing."""
    with manifest.open("rb") as stream:
        counts = [(chunk.count(b"\n"), chunk.count(b"\r")) for chunk in iter(lambda: stream.read(1 << 20), b"")]
    return 1 + max(map(sum, zip(*counts, strict=True)), default=0)


READER = Reader((".jsonl",), _rows, _count, by_line=ByLine(_lines, _row))
