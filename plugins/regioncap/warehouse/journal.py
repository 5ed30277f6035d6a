"""What people say about a date's builds, beside them: lines that are only ever added, by conditional writes.

A journal is a folder of files of at most `FILE_LINES` lines. The last one is written anew with each line that comes to
it, provided that nobody else wrote meanwhile, so whoever comes second sees the first; those before it never change, but
for what a line says of an image that is forgotten. Lines are numbered from 1 on, so that one that is gone is noticed.
No build, roll-back or collection touches them.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regioncap.errors import ChangedError, ConflictError, ManifestError
from regioncap.regions.jsonl import line
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Entry, Store

FILE_LINES = 500

# What a person says in a line is bounded, so no file of these comes near to it.
MOST_SAID_BYTES = 64 << 20

# Each time that a write is refused somebody else's got through, so only many at once come to this.
_TRIES = 50
_PAUSE_SECONDS = 0.02

_RESTORE = (
    "restore the file from a backup, or use a newer RegionCap where one wrote it; no line of it is left out, since "
    "somebody meant each"
)


class Entered(BaseModel):
    """A line: its number, when it was entered (UTC), and by whom (the user's name in Airflow)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    number: int = Field(default=0, ge=0)
    at: str
    by: str


Line = TypeVar("Line", bound=Entered)


@dataclass(frozen=True)
class _LastFile:
    """The file that is written next, with its bytes and the number of its lines."""

    entry: Entry
    data: bytes
    lines: int


class Journal(Generic[Line]):
    """A journal in a store that is rooted at its folder; `most` are the bytes of a file where lines have a bound."""

    def __init__(self, store: Store, model: type[Line], most: int | None = None) -> None:
        self._store = store
        self._model = model
        self._most = most

    def lines(self) -> list[Line]:
        """All lines, the first first. Raises ManifestError where one cannot be read, or is gone."""
        return self._again(lambda: self._read()[0])

    def add(self, make: Callable[[Sequence[Line]], Sequence[Line]]) -> list[Line]:
        """Add what `make` makes of the lines that are there: all of it, or nothing where it raises.

        It is called again where somebody else wrote meanwhile. Returns the added lines with their numbers. Raises what
        `make` raises, ManifestError, and ConflictError where others write all the time.
        """

        def add_once() -> list[Line]:
            before, last = self._read()
            made = enumerate(make(before), start=len(before) + 1)
            added = [entered.model_copy(update={"number": number}) for number, entered in made]
            data = b"".join(map(line, added))
            if added and last is not None and last.lines < FILE_LINES:
                self._store.replace(last.entry.path, last.data + data, last.entry.version)
            elif added:
                self._store.replace(f"{added[0].number:09d}.jsonl", data, None)
            return added

        return self._again(add_once)

    def rewrite(self, change: Callable[[Line], Line]) -> int:
        """Write lines anew under their numbers, where `change` returns another one; returns how many these are.

        Whatever else is said stays. Raises ManifestError, and ConflictError where others write all the time.
        """
        changed: set[int] = set()

        def rewrite_once() -> list[Line]:
            for entry in self._store.list():
                data = self._store.read(entry.path, entry.version)
                texts = data.splitlines(keepends=True)
                for place, said in enumerate(self._parsed(entry, data)):
                    if (other := change(said)) != said:
                        texts[place] = line(other)
                        changed.add(said.number)
                if (after := b"".join(texts)) != data:
                    self._store.replace(entry.path, after, entry.version)
            return []

        self._again(rewrite_once)
        return len(changed)

    def _again(self, call: Callable[[], list[Line]]) -> list[Line]:
        for _ in range(_TRIES):
            try:
                return call()
            except (ConflictError, ChangedError):
                time.sleep(random.uniform(0, _PAUSE_SECONDS))
        raise ConflictError(f"{self._store.uri} cannot be read or written: others write it all the time; try again")

    def _read(self) -> tuple[list[Line], _LastFile | None]:
        """All lines, and the last file. Raises ChangedError where somebody wrote meanwhile."""
        lines: list[Line] = []
        last: _LastFile | None = None
        for entry in self._store.list():
            if self._most is not None and entry.size > self._most:
                too_large = f"has {entry.size:,} bytes, more than any that RegionCap writes"
                raise ManifestError(f"{self._store.uri}/{entry.path} {too_large}: {_RESTORE}")
            data = self._store.read(entry.path, entry.version)
            first = len(lines)
            for read in self._parsed(entry, data):
                if read.number != len(lines) + 1:
                    missing = f"line {len(lines) + 1} is not there, but {read.number}"
                    raise ManifestError(f"{self._store.uri}/{entry.path}: {missing}: {_RESTORE}")
                lines.append(read)
            last = _LastFile(entry, data, len(lines) - first)
        return lines, last

    def _parsed(self, entry: Entry, data: bytes) -> list[Line]:
        """The lines of a file. Raises ManifestError."""
        lines: list[Line] = []
        for text in data.splitlines():
            try:
                lines.append(self._model.model_validate_json(text))
            except ValidationError as error:
                where = f"{self._store.uri}/{entry.path}, line {len(lines) + 1},"
                raise ManifestError(unreadable(where, error, _RESTORE)) from error
        return lines
