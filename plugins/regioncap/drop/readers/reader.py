"""What all readers share: what a reader is, and what it makes of a manifest."""

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

    Files at the drop's top level whose names end in one of `suffixes` are manifests, also those that are compressed,
    with `.gz` after it, say. `rows` is given the local path of one, unpacked, and the names of the fields with the
    image's path and with the boxes; it yields the rows as a stream, may be called several times, and raises ValueError
    where the file as a whole is not of the format. `count` says quickly how many rows a file has at least; without it
    they are read to be counted. Of a format that `is_text`, files come in UTF-8, whatever they were in. `keeping` is
    `rows` for a format of which else not all fields are read: it is given the names of those carried along, too.
    """

    suffixes: tuple[str, ...]
    rows: Callable[[Path, str, str], Iterator[Row]]
    count: Callable[[Path], int] | None = None
    is_text: bool = True
    keeping: Callable[[Path, str, str, tuple[str, ...]], Iterator[Row]] | None = None
