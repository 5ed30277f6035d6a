"""KITTI: a text file for each image, in a folder such as `label_2` beside `image_2`."""

import posixpath
from collections.abc import Iterator
from typing import Any

from regioncap.drop.readers.reader import DropReader, Given, Row, a_row_each, from_corners, lines_of, stem_of
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# A class, how much of it is cut off and hidden, an angle, four corners, seven numbers of its place in the world; then
# perhaps how sure it is. A class can have spaces in it, so lines are read from their ends.
_NUMBERS, _BEFORE_BOX = 14, 3
_IGNORED = "DontCare"


def _rows(given: Given) -> Iterator[Row]:
    # Beside them lie others, such as what is known of the cameras.
    labels = [path for path in given.manifests if any(name.startswith("label") for name in path.split("/")[:-1])]
    return a_row_each(given.small(labels or given.manifests), lambda manifest, data: _value(given, manifest, data))


def _value(given: Given, manifest: str, data: bytes) -> dict[str, Any]:
    folder = posixpath.dirname(manifest).split("/")[-1]
    value: dict[str, Any] = {
        given.image_key: given.image_of(stem_of(manifest), manifest, (folder, folder.replace("label", "image")))
    }
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RowError(Code.NOT_UTF8, f"the file is not UTF-8 at its byte {error.start}") from error
    lines = [line.split() for line in lines_of(text) if line.strip()]
    objects = [line for line in lines if line[0] != _IGNORED]
    given.note("lines are DontCare and were left out", len(lines) - len(objects))
    if objects:
        value[given.bbox_key], value["labels"] = map(list, zip(*map(_read, objects), strict=True))
    return value


def _read(line: list[str]) -> tuple[Any, str | None]:
    """The box and the class of a line; what is no such line, as it is."""
    words = next((place for place in range(1, len(line)) if _are_numbers(line[place:])), len(line))
    numbers = [float(word) for word in line[words:]]
    # A class such as `type 3` ends in a number too.
    while len(numbers) > _NUMBERS + 1 or (len(numbers) > _NUMBERS and not _is_cut_and_hidden(*numbers[:2])):
        words, numbers = words + 1, numbers[1:]
    if len(numbers) < _NUMBERS:
        return " ".join(line), None
    return from_corners(*numbers[_BEFORE_BOX : _BEFORE_BOX + 4]), " ".join(line[:words])


def _is_cut_and_hidden(cut: float, hidden: float) -> bool:
    """Whether numbers can be how much of something is cut off, a share, and how it is hidden, a grade; -1 for none."""
    return -1 <= cut <= 1 and hidden in (-1, 0, 1, 2, 3)


def _are_numbers(words: list[str]) -> bool:
    try:
        return all(float(word) is not None for word in words)
    except ValueError:
        return False


def _recognises(path: str, start: bytes) -> bool:
    lines = [line.split() for line in start.decode("utf-8", "replace").split("\n")[:20] if line.strip()]
    whole = lines[:-1] or lines
    return bool(whole) and all(
        len(line) > _NUMBERS and not _are_numbers(line[:1]) and _are_numbers(line[-_NUMBERS:]) for line in whole
    )


READER = DropReader((".txt",), _rows, "xywh", _recognises, lambda given: len(given.manifests))
