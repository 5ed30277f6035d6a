"""A build's records, a few at a time: never all of them in memory, however many there are."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from regioncap.pages.builds import SeenBuild
from regioncap.parallel import in_order
from regioncap.regions.records import Record
from regioncap.warehouse.manifest import FileEntry

PAGE = 24

# Somebody waits: after so long what was found is shown, with how far it was looked.
_SECONDS = 2.0
# Record files that are read ahead; each is a shard's.
_FILES_AHEAD = 4
# As a record's line says it: in a caption the quotation marks would be escaped.
_DOUBTED = re.compile(rb'"confused_with":\s*[0-9]')


@dataclass(frozen=True)
class Wanted:
    """Which records are looked for: those of which all holds that is given.

    `text` is in a caption, the id or the image's path, in whatever letter case, and `label` in a region's label;
    `check` is a gate that warned, `code` that of a box that is not used; `least` and `most` bound the number of
    regions; `doubted` ones have a caption that the judge doubts.
    """

    text: str = ""
    label: str = ""
    check: str = ""
    code: str = ""
    least: int | None = None
    most: int | None = None
    doubted: bool = False

    @property
    def all(self) -> bool:
        """Whether every record is wanted."""
        return self == Wanted()

    def may_match(self, line: bytes) -> bool:
        """Whether a record's line can be wanted, as far as its bytes tell: to read JSON costs more."""
        if any(name and f'"{name}"'.encode() not in line for name in (self.check, self.code)):
            return False
        if self.doubted and not _DOUBTED.search(line):
            return False
        return all(_may_have(line, text.casefold()) for text in (self.text, self.label))

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether a record is wanted."""
        regions = record.get("regions") or []
        if self.check and self.check not in (record.get("checks") or []):
            return False
        if self.code and all(box.get("code") != self.code for box in record.get("dropped_boxes") or []):
            return False
        if not (self.least or 0) <= len(regions) <= (len(regions) if self.most is None else self.most):
            return False
        if self.doubted and all(region.get("confused_with") is None for region in regions):
            return False
        captions = [str(region.get("caption", "")) for region in regions]
        texts = [str(record.get("id", "")), str(record.get("image", "")), *captions]
        labels = [str(region.get("label") or "") for region in regions]
        return _in_one_of(self.text, texts) and _in_one_of(self.label, labels)


@dataclass(frozen=True)
class Place:
    """Where in a build's records one is: in which record file, and in which of its lines, both from 0."""

    file: int = 0
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}.{self.line}"

    @classmethod
    def of(cls, text: str) -> "Place":
        """A place as `str` writes it; the beginning where the text is none."""
        file, _, line = text.partition(".")
        return (
            cls(int(file), int(line))
            if text.isascii() and file.isdecimal() and line.isdecimal() and len(text) < 30
            else cls()
        )


@dataclass(frozen=True)
class Found:
    """Records of one page, and where each stands; `after` is where the next page begins, None at the end.

    `looked` are the records that were looked at so far, from the first on. `unreadable` counts lines that are none.
    """

    records: Sequence[Record]
    places: Sequence[Place]
    after: Place | None
    looked: int
    unreadable: int


def find(build: SeenBuild, wanted: Wanted, start: Place, size: int = PAGE, seconds: float = _SECONDS) -> Found:
    """The next records that are wanted, from `start` on. Raises BuildGoneError where a record file is gone."""
    deadline = time.monotonic() + seconds
    files = build.manifest.captions
    records: list[Record] = []
    places: list[Place] = []
    unreadable = 0
    place = start
    for number, lines in _read_on(build, start.file):
        begin = start.line if number == start.file else 0
        for at in range(begin, len(lines)):
            place = Place(number, at)
            if len(records) == size or (records and time.monotonic() > deadline):
                return Found(records, places, place, _before(files, place), unreadable)
            if not lines[at] or not wanted.may_match(lines[at]):
                continue
            try:
                if wanted.all or wanted.matches(json.loads(lines[at])):
                    records.append(Record.model_validate_json(lines[at]))
                    places.append(place)
            except (ValidationError, ValueError, TypeError, AttributeError, RecursionError):
                unreadable += 1
        place = Place(number + 1)
        if time.monotonic() > deadline and place.file < len(files):
            return Found(records, places, place, _before(files, place), unreadable)
    return Found(records, places, None, sum(entry.rows for entry in files), unreadable)


def line_at(build: SeenBuild, place: Place) -> bytes:
    """The line of the record at a place; empty where there is none. Raises BuildGoneError."""
    files = build.manifest.captions
    lines = build.content.read(files[place.file]).split(b"\n") if place.file < len(files) else []
    return lines[place.line] if place.line < len(lines) else b""


def _read_on(build: SeenBuild, first: int) -> Iterator[tuple[int, list[bytes]]]:
    """The record files from one on, by their lines. The others are read ahead, as soon as the first is not enough."""
    files = build.manifest.captions

    def lines(entry: FileEntry) -> list[bytes]:
        return build.content.read(entry).split(b"\n")

    if first < len(files):
        yield first, lines(files[first])
        yield from enumerate(in_order(lines, files[first + 1 :], _FILES_AHEAD), start=first + 1)


def _may_have(line: bytes, text: str) -> bool:
    """Whether a text, in small letters, can be in a line of JSON."""
    # In JSON these are themselves, unless somebody writes them as numbers; other letters may be told as them.
    plain = text.isascii() and text.isprintable() and not set(text) & set('"\\/')
    return not plain or text.encode() in line.lower() or not line.isascii() or b"\\u" in line


def _in_one_of(wanted: str, texts: Sequence[str]) -> bool:
    return not wanted or any(wanted.casefold() in text.casefold() for text in texts)


def _before(files: Sequence[FileEntry], place: Place) -> int:
    return sum(entry.rows for entry in files[: place.file]) + place.line
