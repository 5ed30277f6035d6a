"""Outlines as COCO writes them, for annotations without a box: polygons, and masks as lengths of runs."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

from regioncap.drop.readers.reader import around

# Of an object of an image.
_MOST_RUNS = 1 << 20


def around_outline(outline: Any) -> list[int | float] | None:
    """The box around an outline, as [x, y, w, h] in pixels; None where there is none that can be read."""
    try:
        if isinstance(outline, dict):
            return _around_runs(outline)
        parts = outline if isinstance(outline[0], list) else [outline]
        return around((x, y) for part in parts for x, y in zip(part[::2], part[1::2], strict=True))
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        return None


def _around_runs(mask: dict[str, Any]) -> list[int | float] | None:
    """Of pixels down the first column, down the second and so on: so many are outside, so many inside, and so on."""
    height, width = mask["size"]
    counts = mask["counts"]
    ends = list(accumulate(_lengths(counts) if isinstance(counts, str) else counts, initial=0))
    forward = all(start <= end for start, end in pairwise(ends))
    if not forward or len(ends) > _MOST_RUNS or ends[-1] != height * width:
        return None
    inside = [(start, end - 1) for start, end in list(pairwise(ends))[1::2] if start < end]
    columns = [(start // height, end // height) for start, end in inside]
    # What goes over the foot of a column goes on at the head of the next one.
    rows = [
        (start % height, end % height) if first == last else (0, height - 1)
        for (start, end), (first, last) in zip(inside, columns, strict=True)
    ]
    left, right = min(first for first, _ in columns), max(last for _, last in columns)
    top, bottom = min(first for first, _ in rows), max(last for _, last in rows)
    return [left, top, right - left + 1, bottom - top + 1]


def _lengths(text: str) -> Iterator[int]:
    """The lengths that a text says: six bits a character, and from the third on what differs from the last but one."""
    known: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            known.append(value + (known[-2] if len(known) > 2 else 0))
            yield known[-1]
            value = shift = 0
