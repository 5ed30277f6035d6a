"""What all readers share: what a reader is, and what it makes of a manifest."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regioncap.errors import RowError


@dataclass(frozen=True)
class Row:
    """One row of a manifest: its 1-based line and its parsed object, or the fault and the raw text."""

    line: int
    value: dict[str, Any] | None
    fault: RowError | None = None
    raw: Any = None


@dataclass(frozen=True)
class Reader:
    """A format of manifests.

    Files at the drop's top level whose names end in one of `suffixes` are manifests. `rows` is given the local path of
    one, and the names of the fields with the image's path and with the boxes; it yields the rows as a stream, may be
    called several times, and raises ValueError where the file as a whole is not of the format. `count` says quickly
    how many rows a file has at least; without it they are read to be counted.
    """

    suffixes: tuple[str, ...]
    rows: Callable[[Path, str, str], Iterator[Row]]
    count: Callable[[Path], int] | None = None


# How files begin that are compressed: more than the few bytes that a damaged line could begin with too.
_COMPRESSED = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\0-\x1f].{4}[\0\x02\x04][\0-\x0d\xff]", re.DOTALL),
    "bzip2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\0\0[\0\x01\x04\x0a]"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd.{5}", re.DOTALL),
    "ZIP": re.compile(rb"PK\x03\x04.\0.{2}[\0\x08\x09\x0c\x0e\x5d]\0", re.DOTALL),
}
# Text in other encodings, by its first two characters, of which letters and marks of ASCII have zeros in them.
_NOT_UTF8 = {
    "UTF-32": re.compile(rb"(\xff\xfe\0\0)?([ -~]\0\0\0){2}|(\0\0\xfe\xff)?(\0\0\0[ -~]){2}"),
    "UTF-16": re.compile(rb"\xff\xfe([^\0]\0){2}|\xfe\xff(\0[^\0]){2}|([ -~]\0){2}|(\0[ -~]){2}"),
}
_START_BYTES = 12


def check_uncompressed(manifest: Path) -> bytes:
    """The first bytes of a file. Raises ValueError where they say that it is compressed."""
    with manifest.open("rb") as stream:
        start = stream.read(_START_BYTES)
    name = next((name for name, pattern in _COMPRESSED.items() if pattern.match(start)), None)
    if name is not None:
        raise ValueError(f"it is compressed ({name}): unpack it")
    return start


def check_text(manifest: Path) -> None:
    """Raise ValueError where a file of UTF-8 text is none as a whole: compressed, or UTF-16 as PowerShell writes it."""
    start = check_uncompressed(manifest)
    name = next((name for name, pattern in _NOT_UTF8.items() if pattern.match(start)), None)
    if name is not None:
        raise ValueError(f"it is {name} text, as some editors and PowerShell's > write it: save it as UTF-8")


def is_utf8(text: str) -> bool:
    """Whether text that was read with `surrogateescape` was UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
