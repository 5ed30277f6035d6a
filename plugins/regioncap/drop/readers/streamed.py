"""Large JSON files, item by item: the items of a file's one array, or of the arrays of its one object.

With the standard library's decoder, one item at a time, so that memory holds a piece of the file and no more.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regioncap.drop.readers.reader import Given, Row
from regioncap.drop.rows import MAX_DEPTH, too_deep
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# A piece of the file, and what an item may have: the outline of a crowd takes some hundred thousand characters.
_PIECE = 1 << 18
MAX_ITEM = 8 << 20

_SPACE = re.compile(r"[ \t\n\r\ufeff]*")
# What matters of JSON for where an item ends: texts, which may have brackets in them, and brackets.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True)
class Item:
    """One item of an array, which is the member `key` of the file's object, or the file itself: `key` is then "".

    `number` is its place there, from 1. A member that is no array is an item with the number 0. `fault` says why an
    item cannot be used, which then has no `value`.
    """

    key: str
    number: int
    value: Any
    fault: RowError | None = None


class _Text:
    """The text of a file: a piece of it, and a place in that."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")
        # A byte that is not UTF-8 becomes a lone surrogate, which no path and no text of a record can have.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self._before, self._ended = "", 0, 0, False

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        left = self.text[self.at :]
        # Twice as much each time, so that a large item is not tried too often.
        piece = self._stream.read(max(_PIECE, len(left)))
        self._ended = not piece
        self._before += self.at
        self.text, self.at = left + self._decoder.decode(piece, final=not piece), 0
        return True

    def next_character(self) -> str:
        """The next character that is no white space, which is not taken; "" at the end of the file."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, wanted: str) -> str:
        """Take the next character, which has to be one of `wanted`."""
        found = self.next_character()
        if not found or found not in wanted:
            raise self.wrong(f"{' or '.join(wanted)} is missing")
        self.at += 1
        return found

    def value(self) -> Any:
        """Take the next value. Raises RowError (too_deep, line_too_long) for one that is skipped."""
        self.next_character()
        while True:
            try:
                value, end = _decode(self.text, self.at)
            except RecursionError:
                self._skip()
                raise _too_deep() from None
            except json.JSONDecodeError as error:
                if len(self.text) - self.at > MAX_ITEM:
                    self._skip()
                    raise _too_large() from None
                if not self.more():
                    raise self.wrong(error.msg, error.pos) from None
            else:
                # A number may go on.
                if end < len(self.text) or not self.more():
                    start, self.at = self.at, end
                    if end - start > MAX_ITEM:
                        raise _too_large()
                    # Most have so few brackets that they cannot be deep.
                    brackets = self.text.count("[", start, end) + self.text.count("{", start, end)
                    if brackets > MAX_DEPTH and too_deep(value):
                        raise _too_deep()
                    return value

    def _skip(self) -> None:
        """Skip an item that is not to be decoded, by its brackets."""
        depth = 0
        while True:
            found = _TOKEN.search(self.text, self.at)
            if found is None or (found.end() == len(self.text) and found.group().startswith('"')):
                # What is before an open quote is done with.
                quote = self.text.find('"', self.at)
                self.at = len(self.text) if quote < 0 else quote
                if len(self.text) - self.at > 8 * MAX_ITEM or not self.more():
                    raise self.wrong("a text or a list in it has no end")
                continue
            self.at = found.end()
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
            if depth == 0:
                return

    def wrong(self, what: str, at: int | None = None) -> ValueError:
        """The error of a file that is not JSON from here on."""
        return ValueError(
            f"it is not JSON at its character {self._before + (self.at if at is None else at) + 1:,}: {what}"
        )


def _too_deep() -> RowError:
    return RowError(Code.TOO_DEEP, f"lists and objects in it are nested more than {MAX_DEPTH} levels deep")


def _too_large() -> RowError:
    return RowError(Code.LINE_TOO_LONG, f"it has more than {MAX_ITEM:,} characters")


def items(path: Path) -> Iterator[Item]:
    """The items of the arrays in a JSON file in UTF-8, in their order. Raises ValueError where it is not JSON."""
    text = _Text(path)
    try:
        if text.next_character() == "[":
            yield from _array(text, "")
        else:
            yield from _members(text)
        if text.next_character():
            raise text.wrong("there is more after its end")
    finally:
        text.close()


def _members(text: _Text) -> Iterator[Item]:
    text.take("{")
    if text.next_character() == "}":
        text.take("}")
        return
    while True:
        if text.next_character() != '"':
            raise text.wrong("the name of a member is missing")
        key = text.value()
        text.take(":")
        if text.next_character() == "[":
            yield from _array(text, key)
        else:
            yield _item(text, key, 0)
        if text.take(",}") == "}":
            return


def _array(text: _Text, key: str) -> Iterator[Item]:
    text.take("[")
    if text.next_character() == "]":
        text.take("]")
        return
    number = 0
    while True:
        number += 1
        yield _item(text, key, number)
        if text.take(",]") == "]":
            return


def _item(text: _Text, key: str, number: int) -> Item:
    try:
        return Item(key, number, text.value())
    except RowError as fault:
        return Item(key, number, None, fault)


def a_row_each_item(
    given: Given, manifests: Iterable[str], what: str, value: Callable[[str, Any], dict[str, Any]]
) -> Iterator[Row]:
    """The rows of manifests that are one list of `what`: `value` makes one of a manifest's path and an item.

    An item that cannot be read, and one for which `value` raises RowError, costs its own row. Raises ValueError where a
    manifest is no such list.
    """
    for manifest in manifests:
        with given.local(manifest) as path:
            for item in items(path):
                if item.key or not item.number:
                    raise ValueError(f"it is no list of {what}")
                try:
                    if item.fault is not None:
                        raise item.fault
                    yield Row(item.number, value(manifest, item.value), manifest=manifest)
                except RowError as fault:
                    yield Row(item.number, None, fault, item.value, manifest)
