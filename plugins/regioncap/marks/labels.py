"""Where each region's tag goes: at its own box, off the other tags, hiding as little of any region as can be.

All rectangles are (x0, y0, x1, y1) in integer pixels of the image that is drawn on, x1 and y1 exclusive.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Rect = tuple[int, int, int, int]
Size = tuple[int, int]

_Rects = npt.NDArray[np.float64]

# What a place costs. A tag hides a share of each region under it: the first tenth hardly matters, half of it makes
# the region another thing. One whose centre is nearer to another region's border seems to belong there. The others are
# small: they decide among places that are as good otherwise.
_HIDDEN, _STRAY, _APART, _SMALLER, _PER_RANK = 1.0, 3.0, 0.5, 0.04, 0.0001
# From this share on, hidden, a region costs as much as several strays.
_TOO_MUCH, _MUCH = 0.4, 20.0
# A place that costs no more is taken at once.
_GOOD = 0.001
# A place that costs more is worth some search for a better one.
_DOUBTFUL = 0.3
# Where along a side of its box a tag may be, and how far inside of it; where that is not good enough, closer together.
_ALONG, _INSIDE = (0.0, 1.0, 0.5, 0.25, 0.75), (0.0, 0.5, 1.0)
_CLOSER_ALONG, _CLOSER_INSIDE = tuple(step / 14 for step in range(15)), (0.0, 0.25, 0.5, 0.75, 1.0)
_ROUNDS = 3


def place_tags(regions: Sequence[Rect], sizes: Sequence[Sequence[Size]], frame: Size) -> list[Rect]:
    """Place one tag per region, in region order.

    `sizes` are the (width, height) that each tag may have, the best first; `frame` is the image's. Tags overlap only
    where the frame has no free place for the smallest. The same input gives the same output.
    """
    placing = _Placing(np.array(regions, dtype=np.float64).reshape(-1, 4), sizes, frame)
    # The smallest regions have the fewest places where a tag hides nothing.
    order = sorted(range(len(regions)), key=lambda index: (placing.areas[index], index))
    for index in order:
        placing.place(index)
    for _ in range(_ROUNDS):
        # What was placed early knew nothing of the others.
        doubtful = [index for index in order if placing.cost[index] > _GOOD]
        if [index for index in doubtful if placing.place(index)] == []:
            break
    for index in [*order, *order]:
        if placing.cost[index] > _DOUBTFUL:
            placing.make_room(index)
    return [placing.tags[index] for index in range(len(regions))]


def hidden_shares(regions: Sequence[Rect], tags: Sequence[Rect]) -> list[float]:
    """How much of each region lies under tags, which do not overlap."""
    rects = np.array(regions, dtype=np.float64).reshape(-1, 4)
    over = _overlaps(np.array(tags, dtype=np.float64).reshape(-1, 4), rects).sum(axis=0)
    return [float(share) for share in over / _areas(rects)]


def strays(regions: Sequence[Rect], tags: Sequence[Rect]) -> list[int]:
    """The 0-based places of the regions to whose tag's centre another region's border is nearer than their own."""
    rects, boxes = np.array(regions, dtype=np.float64), np.array(tags, dtype=np.float64)
    distances = _to_borders((boxes[:, :2] + boxes[:, 2:]) / 2, rects)
    return [int(place) for place in np.nonzero(_nearer(distances, distances.diagonal()).any(axis=1))[0]]


def gap(tag: Rect, region: Rect) -> float:
    """How far a tag is from a region, in pixels; 0 where they touch."""
    return float(_gaps(np.array([tag], dtype=np.float64), np.array(region, dtype=np.float64))[0])


class _Placing:
    """Tags that are placed one after the other. `cost` is what each costs where it is."""

    def __init__(self, regions: _Rects, sizes: Sequence[Sequence[Size]], frame: Size) -> None:
        self.regions = regions
        self.sizes = sizes
        self.frame = frame
        self.areas = _areas(regions)
        self.tags: dict[int, Rect] = {}
        self.cost: dict[int, float] = {}
        # Pixels of each region under all tags so far.
        self.hidden = np.zeros(len(regions))

    def place(self, index: int) -> bool:
        """Place the tag of a region, or place it anew; whether it is elsewhere now."""
        before = self.tags.pop(index, None)
        if before is not None:
            self.hidden -= _overlaps(np.array([before]), self.regions)[0]
        first = next(iter(self.sizes[index]))
        places = self._around(index, first, _ALONG[:2], _INSIDE[:1])
        cost, best = self._best(index, places, 0)
        if cost > _GOOD:
            cost, best = min(
                self._best(index, self._around(index, size, _ALONG, _INSIDE), step)
                for step, size in enumerate(self.sizes[index])
            )
        if cost > _DOUBTFUL:
            step, size = len(self.sizes[index]) - 1, self.sizes[index][-1]
            closer = self._best(index, self._around(index, size, _CLOSER_ALONG, _CLOSER_INSIDE), step)
            cost, best = min((cost, best), closer)
        if cost == np.inf:
            size = self.sizes[index][-1]
            free = _free_places(size, self.frame, list(self.tags.values()), near=tuple(self.regions[index]))
            cost, best = self._best(index, free[:40] or places, len(self.sizes[index]), crowded=not free)
        self.tags[index], self.cost[index] = best, cost
        self.hidden += _overlaps(np.array([best]), self.regions)[0]
        return best != before

    def make_room(self, index: int) -> None:
        """Give a region's tag the place that it would have alone, and those in the way others, if that is better."""
        kept = dict(self.tags), dict(self.cost), self.hidden.copy()
        others = {other: tag for other, tag in self.tags.items() if other != index}
        self.tags.clear()
        self.hidden[:] = 0
        self.place(index)
        own = np.array([self.tags[index]], dtype=np.float64)
        self.tags.update(others)
        self.hidden = _overlaps(np.array(list(self.tags.values()), dtype=np.float64), self.regions).sum(axis=0)
        for other, tag in others.items():
            if _overlaps(own, np.array([tag], dtype=np.float64)).any():
                self.place(other)
        if sum(self.cost.values()) >= sum(kept[1].values()):
            self.tags, self.cost, self.hidden = kept

    def _around(self, index: int, size: Size, along: Sequence[float], inside: Sequence[float]) -> list[Rect]:
        corners = _corners(self.regions[index], size, along, inside)
        return [_into_frame(corner, size, self.frame) for corner in corners]

    def _best(self, index: int, places: list[Rect], step: int, crowded: bool = False) -> tuple[float, Rect]:
        """The cheapest of some places, and what it costs; infinite where each is over another tag."""
        rects = np.array(places, dtype=np.float64)
        over = _overlaps(rects, self.regions)
        before, after = self.hidden / self.areas, (self.hidden + over) / self.areas
        costs = _HIDDEN * (_harm(after) - _harm(before)).sum(axis=1)
        centres = (rects[:, :2] + rects[:, 2:]) / 2
        distances = _to_borders(centres, self.regions)
        costs += _STRAY * _nearer(distances, distances[:, index]).any(axis=1)
        costs += _APART * _gaps(rects, self.regions[index]) / (rects[:, 3] - rects[:, 1])
        costs += _SMALLER * step + _PER_RANK * np.arange(len(places))
        if self.tags:
            covered = _overlaps(rects, np.array(list(self.tags.values()), dtype=np.float64)).sum(axis=1)
            costs = costs + 100 * covered if crowded else np.where(covered > 0, np.inf, costs)
        cheapest = int(costs.argmin())
        return float(costs[cheapest]), places[cheapest]


def _corners(
    region: npt.NDArray[np.float64], size: Size, along: Sequence[float], inside: Sequence[float]
) -> Iterator[tuple[float, float]]:
    """Top-left corners to try, best first: outside of the box, across its border, inside; along all its sides."""
    x0, y0, x1, y1 = region
    width, height = size
    for deep in inside:
        above, below = y0 - height * (1 - deep), y1 - height * deep
        left, right = x0 - width * (1 - deep), x1 - width * deep
        for share in along:
            x = x0 + share * (x1 - x0 - width)
            y = y0 + share * (y1 - y0 - height)
            yield from ((x, above), (x, below), (left, y), (right, y))


def _into_frame(corner: tuple[float, float], size: Size, frame: Size) -> Rect:
    x = max(0, min(round(corner[0]), frame[0] - size[0]))
    y = max(0, min(round(corner[1]), frame[1] - size[1]))
    return x, y, x + size[0], y + size[1]


def _free_places(size: Size, frame: Size, placed: Sequence[Rect], near: Sequence[float]) -> list[Rect]:
    """Every free place that touches the frame or a tag at its left and at its top, nearest to `near` first.

    Any free place can be pushed left and up until it touches something, so if there is one at all, one is in here.
    """
    columns = np.array(sorted({0, *(tag[2] for tag in placed)}))
    rows = np.array(sorted({0, *(tag[3] for tag in placed)}))
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    inside = (x + size[0] <= frame[0]) & (y + size[1] <= frame[1])
    places = np.stack([x, y, x + size[0], y + size[1]], axis=1)[inside]
    if placed and len(places):
        places = places[_overlaps(places, np.array(placed, dtype=np.float64)).sum(axis=1) == 0]
    far = np.abs(places[:, 0] - near[0]) + np.abs(places[:, 1] - near[1])
    return [tuple(map(int, places[place])) for place in np.argsort(far, kind="stable")]  # type: ignore[misc]


def _harm(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What it costs that a share of a region is hidden."""
    harm: _Rects = 0.2 * share + share**2 + _MUCH * np.maximum(0.0, share - _TOO_MUCH)
    return harm


def _overlaps(rects: _Rects, others: _Rects) -> npt.NDArray[np.float64]:
    """How many pixels each rectangle shares with each of the others."""
    width = np.minimum(rects[:, None, 2], others[:, 2]) - np.maximum(rects[:, None, 0], others[:, 0])
    height = np.minimum(rects[:, None, 3], others[:, 3]) - np.maximum(rects[:, None, 1], others[:, 1])
    area: _Rects = np.maximum(width, 0) * np.maximum(height, 0)
    return area


def _areas(rects: _Rects) -> npt.NDArray[np.float64]:
    areas: _Rects = (rects[:, 2] - rects[:, 0]) * (rects[:, 3] - rects[:, 1])
    return areas


def _nearer(distances: npt.NDArray[np.float64], own: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which borders are nearer to each point than its own; a tie is none."""
    return distances < own[:, None] - 1e-6


def _to_borders(points: npt.NDArray[np.float64], rects: _Rects) -> npt.NDArray[np.float64]:
    """How far each point is from the border of each rectangle, inside of it or outside."""
    x, y = points[:, None, 0], points[:, None, 1]
    left, above = rects[:, 0] - x, rects[:, 1] - y
    right, below = x - rects[:, 2], y - rects[:, 3]
    across, down = np.maximum(left, right), np.maximum(above, below)
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    distances: _Rects = np.where((across < 0) & (down < 0), -np.maximum(across, down), outside)
    return distances


def _gaps(rects: _Rects, region: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each rectangle is from a region; 0 where they touch."""
    across = np.maximum(region[0] - rects[:, 2], rects[:, 0] - region[2])
    down = np.maximum(region[1] - rects[:, 3], rects[:, 1] - region[3])
    gaps: _Rects = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return gaps
