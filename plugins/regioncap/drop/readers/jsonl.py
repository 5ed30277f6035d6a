"""Manifests of JSON lines: one object a line; blank lines are not rows."""

from collections.abc import Iterator
from pathlib import Path

from regioncap.drop.readers.reader import ByLine, Reader, Row
from regioncap.drop.rows import MAX_LINE_BYTES, parse_line
from regioncap.errors import RowError


def _rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    return (_row(number, line) for number, line in _lines(manifest))


def _lines(manifest: Path) -> Iterator[tuple[int, bytes]]:
    with manifest.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 2):
            number += 1
            complete = line.endswith(b"\n")
            while not complete and (rest := stream.readline(MAX_LINE_BYTES)):
                complete = rest.endswith(b"\n")  # the tail of an overlong line is skipped
            if line.strip():
                yield number, line


def _row(number: int, line: bytes) -> Row:
    try:
        return Row(number, parse_line(line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")))
    except RowError as fault:
        return Row(number, None, fault, line)


def _count(manifest: Path) -> int:
    """By line ends, which costs next to nothing."""
    with manifest.open("rb") as stream:
        return 1 + sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))


READER = Reader((".jsonl",), _rows, _count, by_line=ByLine(_lines, _row))
