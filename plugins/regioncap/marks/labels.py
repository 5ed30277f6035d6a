"""Where each region's label goes: inside the frame, off the other labels, covering as little as it must.

All rectangles are (x0, y0, x1, y1) in integer pixels of the image that is drawn on, x1 and y1 exclusive.
"""

from collections.abc import Iterator, Sequence

Rect = tuple[int, int, int, int]
Size = tuple[int, int]

# What a place costs: a hidden label is unreadable, a label over another region is ambiguous, one over its own region
# hides content. The small last term keeps the order of `_around` among places that are equally good.
_OVER_LABEL, _OVER_OTHER_REGION, _OVER_OWN_REGION, _PER_RANK = 100.0, 1.0, 0.5, 0.02


def place_labels(regions: Sequence[Rect], sizes: Sequence[Size], frame: Size) -> list[Rect]:
    """Place one label per region, in region order.

    `sizes` are the labels' (width, height), `frame` the image's. A label overlaps another one only when no free place
    is left in the frame. The same input gives the same output.
    """
    placed: list[Rect] = []
    for index, (region, size) in enumerate(zip(regions, sizes, strict=True)):
        others = [other for position, other in enumerate(regions) if position != index]
        candidates = [_into_frame(corner, size, frame) for corner in _around(region, size)]
        # A place off the other labels, at any price: only where there is none, the least bad one.
        free = [label for label in candidates if not _covered(label, placed)]
        candidates = free or _free_places(size, frame, placed, near=region) or candidates
        costs = [
            _OVER_LABEL * _covered(label, placed)
            + _OVER_OTHER_REGION * min(1.0, _covered(label, others))
            + _OVER_OWN_REGION * _covered(label, [region])
            + _PER_RANK * rank
            for rank, label in enumerate(candidates)
        ]
        placed.append(candidates[costs.index(min(costs))])
    return placed


def _around(region: Rect, size: Size) -> Iterator[tuple[int, int]]:
    """Top-left corners to try, best first: outside at the top-left corner, round the box, then inside its corners."""
    x0, y0, x1, y1 = region
    width, height = size
    left, right, above, below = x0, x1 - width, y0 - height, y1
    yield from ((left, above), (right, above), (left, below), (right, below))
    yield from ((x0 - width, y0), (x1, y0), (x0 - width, y1 - height), (x1, y1 - height))
    yield from ((left, y0), (right, y0), (left, y1 - height), (right, y1 - height))


def _into_frame(corner: tuple[int, int], size: Size, frame: Size) -> Rect:
    x = max(0, min(corner[0], frame[0] - size[0]))
    y = max(0, min(corner[1], frame[1] - size[1]))
    return x, y, x + size[0], y + size[1]


def _free_places(size: Size, frame: Size, placed: Sequence[Rect], near: Rect) -> list[Rect]:
    """Every free place that touches the frame or a label at its left and at its top, nearest to `near` first.

    Any free place can be pushed left and up until it touches something, so if there is one at all, one is in here.
    """
    columns = {0, *(label[2] for label in placed)}
    rows = {0, *(label[3] for label in placed)}
    places = [(x, y, x + size[0], y + size[1]) for x in columns for y in rows]
    free = [place for place in places if place[2] <= frame[0] and place[3] <= frame[1] and not _covered(place, placed)]
    return sorted(free, key=lambda place: (abs(place[0] - near[0]) + abs(place[1] - near[1]), place))


def _covered(label: Rect, rects: Sequence[Rect]) -> float:
    """The share of `label`'s area that lies over `rects`; over 1 where they overlap each other."""
    x0, y0, x1, y1 = label
    area = 0
    for left, top, right, bottom in rects:
        width, height = min(x1, right) - max(x0, left), min(y1, bottom) - max(y0, top)
        if width > 0 and height > 0:
            area += width * height
    return area / ((x1 - x0) * (y1 - y0))
