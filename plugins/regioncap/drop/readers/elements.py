"""XML of unknown origin: the elements below its root, one by one.

A document type, which is where entities are declared, is refused: text would grow by them, or come from other files.
"""

from collections.abc import Callable, Iterator
from typing import IO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from regioncap.drop.rows import MAX_DEPTH, MAX_LINE_BYTES

_PIECE = 1 << 16
# What an element below the root may have of elements, attributes and text in all: each attribute counts for so many.
_MOST, _EACH = MAX_LINE_BYTES, 32


class _Elements:
    """Collects elements: those at the first level below the root come out, and the root's name."""

    def __init__(self) -> None:
        self.root = ""
        self.done: list[tuple[int, Element]] = []
        self._depth = 0
        self._size = 0
        self._line = 0
        self._tree = TreeBuilder()
        # Whatever it says of itself: manifests come in UTF-8.
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = _refuse
        self.parser.EntityDeclHandler = _refuse

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.root = name
            return
        if self._depth == 2:
            self._size, self._line, self._tree = 0, self.parser.CurrentLineNumber, TreeBuilder()
        if self._depth > MAX_DEPTH:
            raise ValueError(f"its elements are nested more than {MAX_DEPTH} levels deep")
        self._grow(len(name) + sum(len(key) + len(value) + _EACH for key, value in attributes.items()) + _EACH)
        self._tree.start(name, attributes)

    def _end(self, name: str) -> None:
        if self._depth >= 2:
            self._tree.end(name)
        if self._depth == 2:
            self.done.append((self._line, self._tree.close()))
        self._depth -= 1

    def _text(self, text: str) -> None:
        if self._depth >= 2:
            self._grow(len(text))
            self._tree.data(text)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > _MOST:
            raise ValueError(f"an element has more than {_MOST:,} characters")


def _refuse(*_: object) -> None:
    raise ValueError("it has a document type (<!DOCTYPE ...>), which is not read: take it out")


def elements(stream: IO[bytes], is_root: Callable[[str], str | None]) -> Iterator[tuple[int, Element]]:
    """The elements below the root of an XML file, each with its line, 1-based.

    `is_root` says what is wrong with a root of this name. Raises ValueError where it is not XML, or not of that root.
    """
    found = _Elements()
    known = False
    while True:
        piece = stream.read(_PIECE)
        try:
            found.parser.Parse(piece, not piece)
        except (expat.ExpatError, LookupError) as error:
            raise ValueError(f"it is not XML: {error}") from error
        if found.root and not known:
            known = True
            if wrong := is_root(found.root):
                raise ValueError(wrong)
        yield from found.done
        found.done.clear()
        if not piece:
            return


def text_of(element: Element, path: str) -> str:
    """The text of an element's element; "" where there is none."""
    return (element.findtext(path) or "").strip()


def number_of(text: str | None) -> float | str | None:
    """A number that is written in an attribute or an element; what is none, as it is, for its box to be told of."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text
