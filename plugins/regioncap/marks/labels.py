"""Where each region's tag goes: at its own box, off the other tags, hiding as little of any region as can be.

All rectangles are (x0, y0, x1, y1) in integer pixels of the image that is drawn on, x1 and y1 exclusive.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rect = tuple[int, int, int, int]
Size = tuple[int, int]

# Numbers of any shape; and (number of rectangles, 4).
_Numbers = npt.NDArray[np.float64]
_Rects = _Numbers

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
_ALONG, _INSIDE = np.array([0, 1, 0.5, 0.25, 0.75]), np.array([0, 0.5, 1])
_CLOSER_ALONG, _CLOSER_INSIDE = np.arange(15) / 14, np.array([0, 0.25, 0.5, 0.75, 1])
_ROUNDS = 3


def place_tags(regions: Sequence[Rect], sizes: Sequence[Sequence[Size]], frame: Size) -> list[Rect]:
    """Place one tag per region, in region order.

    `sizes` are the (width, height) that each tag may have, the best first; `frame` is the image's. Tags overlap only
    where the frame has no free place for the smallest. The same input gives the same output.
    """
    placing = _Placing(_rects(regions), sizes, frame)
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
    rects = _rects(regions)
    over = _overlaps(_rects(tags), rects).sum(axis=0)
    return [float(share) for share in over / _areas(rects)]


def strays(regions: Sequence[Rect], tags: Sequence[Rect]) -> list[int]:
    """The 0-based places of the regions to whose tag's centre another region's border is nearer than their own."""
    distances = _to_borders(_centres(_rects(tags)), _rects(regions))
    return [int(place) for place in np.nonzero(_nearer(distances, distances.diagonal()).any(axis=1))[0]]


def gap(tag: Rect, region: Rect) -> float:
    """How far a tag is from a region, in pixels; 0 where they touch."""
    across, down = (max(region[side] - tag[side + 2], tag[side] - region[side + 2], 0) for side in (0, 1))
    return math.hypot(across, down)


class _Places(NamedTuple):
    """Where a region's tag may be: the rectangles, the best first; how many pixels each has of each region; its cost.

    That is what it costs whatever other tags there are.
    """

    rects: _Rects
    over: _Numbers
    cost: _Numbers


class _Placing:
    """Tags that are placed one after the other. `cost` is what each costs where it is."""

    def __init__(self, regions: _Rects, sizes: Sequence[Sequence[Size]], frame: Size) -> None:
        self.regions = regions
        self.sizes = sizes
        self.frame = frame
        self.areas = _areas(regions)
        self.tags: dict[int, Rect] = {}
        self.cost: dict[int, float] = {}
        # Mostly one of these will do, and together they are weighed in a fraction of the time.
        self._first = self._around(range(len(regions)), [own[0] for own in sizes], 0, _ALONG[:2], _INSIDE[:1])

    def place(self, index: int) -> bool:
        """Place the tag of a region, or place it anew; whether it is elsewhere now."""
        before = self.tags.pop(index, None)
        tags = _rects(list(self.tags.values()))
        best_of = partial(self._best, tags, _overlaps(tags, self.regions).sum(axis=0))
        smallest, last = self.sizes[index][-1], len(self.sizes[index]) - 1
        cost, best = best_of(self._first[index])
        if cost > _GOOD:
            cost, best = min(
                best_of(self._around([index], [size], step, _ALONG, _INSIDE)[0])
                for step, size in enumerate(self.sizes[index])
            )
        if cost > _DOUBTFUL:
            closer = self._around([index], [smallest], last, _CLOSER_ALONG, _CLOSER_INSIDE)[0]
            cost, best = min((cost, best), best_of(closer))
        if cost == np.inf:
            free = _free_places(smallest, self.frame, list(self.tags.values()), near=self.regions[index])[:40]
            crowded = not len(free)
            places = self._first[index] if crowded else self._weighed([index], free[None], last + 1)[0]
            cost, best = best_of(places, crowded)
        self.tags[index], self.cost[index] = best, cost
        return best != before

    def make_room(self, index: int) -> None:
        """Give a region's tag the place that it would have alone, and those in the way others, if that is better."""
        kept = dict(self.tags), dict(self.cost)
        others = {other: tag for other, tag in self.tags.items() if other != index}
        self.tags.clear()
        self.place(index)
        own = _rects([self.tags[index]])
        self.tags.update(others)
        for other, tag in others.items():
            if _overlaps(own, _rects([tag])).any():
                self.place(other)
        if sum(self.cost.values()) >= sum(kept[1].values()):
            self.tags, self.cost = kept

    def _around(
        self, owners: Sequence[int], sizes: Sequence[Size], step: int, along: _Numbers, inside: _Numbers
    ) -> list[_Places]:
        """For each of some regions, places of a tag of its size on its sides."""
        extents = np.array(sizes, dtype=np.float64).reshape(-1, 1, 2)
        corners = np.rint(_corners(self.regions[owners], extents, along, inside))
        corners = np.maximum(np.minimum(corners, self.frame - extents), 0)
        return self._weighed(owners, np.concatenate([corners, corners + extents], axis=2), step)

    def _weighed(self, owners: Sequence[int], places: _Numbers, step: int) -> list[_Places]:
        """Places (regions, places of each, 4) with tags of the size number `step`, for each of some regions."""
        regions, each = places.shape[:2]
        rects, own = places.reshape(-1, 4), np.repeat(owners, each)
        distances = _to_borders(_centres(rects), self.regions)
        costs = _STRAY * _nearer(distances, distances[np.arange(len(own)), own]).any(axis=1)
        costs += _APART * _gaps(rects, self.regions[own]) / (rects[:, 3] - rects[:, 1])
        costs += _SMALLER * step + _PER_RANK * np.tile(np.arange(each), regions)
        over = _overlaps(rects, self.regions).reshape(regions, each, -1)
        return [_Places(*of_one) for of_one in zip(places, over, costs.reshape(regions, each), strict=True)]

    def _best(self, tags: _Rects, hidden: _Numbers, places: _Places, crowded: bool = False) -> tuple[float, Rect]:
        """The cheapest of some places, and what it costs; infinite where each is over one of the other tags.

        `hidden` is how many pixels of each region are under those.
        """
        after, before = (hidden + places.over) / self.areas, hidden / self.areas
        costs = places.cost + _HIDDEN * (_harm(after) - _harm(before)).sum(axis=1)
        if len(tags):
            covered = _overlaps(places.rects, tags).sum(axis=1)
            costs = costs + 100 * covered if crowded else np.where(covered > 0, np.inf, costs)
        cheapest = int(costs.argmin())
        x0, y0, x1, y1 = map(int, places.rects[cheapest].tolist())
        return float(costs[cheapest]), (x0, y0, x1, y1)


def _corners(regions: _Rects, sizes: _Numbers, along: _Numbers, inside: _Numbers) -> _Numbers:
    """Top-left corners to try, best first: outside of the box, across its border, inside; along all its sides.

    Of regions (number, 4), with tags of sizes (number, 1, 2), they are (number, corners of each, 2).
    """
    low, high = regions[:, None, :2], regions[:, None, 2:]
    # By region, how far inside, where along the sides, which side: above, below, left, right.
    corners = np.empty((len(regions), len(inside), len(along), 4, 2))
    slid = (low + along[:, None] * (high - low - sizes))[:, None]
    corners[:, :, :, :2, 0] = slid[..., :1]
    corners[:, :, :, 2:, 1] = slid[..., 1:]
    before = (low - sizes * (1 - inside[:, None]))[:, :, None]
    behind = (high - sizes * inside[:, None])[:, :, None]
    corners[:, :, :, 0, 1], corners[:, :, :, 2, 0] = before[..., 1], before[..., 0]
    corners[:, :, :, 1, 1], corners[:, :, :, 3, 0] = behind[..., 1], behind[..., 0]
    return corners.reshape(len(regions), -1, 2)


def _free_places(size: Size, frame: Size, placed: Sequence[Rect], near: _Numbers) -> _Rects:
    """Every free place that touches the frame or a tag at its left and at its top, nearest to `near` first.

    Any free place can be pushed left and up until it touches something, so if there is one at all, one is in here.
    """
    columns = np.array(sorted({0, *(tag[2] for tag in placed)}))
    rows = np.array(sorted({0, *(tag[3] for tag in placed)}))
    x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
    inside = (x + size[0] <= frame[0]) & (y + size[1] <= frame[1])
    places = np.stack([x, y, x + size[0], y + size[1]], axis=1)[inside].astype(np.float64)
    places = places[_overlaps(places, _rects(placed)).sum(axis=1) == 0]
    far = np.abs(places[:, 0] - near[0]) + np.abs(places[:, 1] - near[1])
    nearest: _Rects = places[np.argsort(far, kind="stable")]
    return nearest


def _harm(share: _Numbers) -> _Numbers:
    """What it costs that a share of a region is hidden."""
    harm: _Numbers = 0.2 * share + share**2 + _MUCH * np.maximum(0.0, share - _TOO_MUCH)
    return harm


def _rects(rects: Sequence[Rect]) -> _Rects:
    return np.array(rects, dtype=np.float64).reshape(-1, 4)


def _overlaps(rects: _Rects, others: _Rects) -> _Numbers:
    """How many pixels each rectangle shares with each of the others."""
    sides = np.minimum(rects[:, None, 2:], others[:, 2:]) - np.maximum(rects[:, None, :2], others[:, :2])
    return _product(np.maximum(sides, 0))


def _areas(rects: _Rects) -> _Numbers:
    return _product(rects[:, 2:] - rects[:, :2])


def _product(sides: _Numbers) -> _Numbers:
    product: _Numbers = sides[..., 0] * sides[..., 1]
    return product


def _centres(rects: _Rects) -> _Numbers:
    centres: _Numbers = (rects[:, :2] + rects[:, 2:]) / 2
    return centres


def _nearer(distances: _Numbers, own: _Numbers) -> npt.NDArray[np.bool_]:
    """Which borders are nearer to each point than its own; a tie is none."""
    return distances < own[:, None] - 1e-6


def _to_borders(points: _Numbers, rects: _Rects) -> _Numbers:
    """How far each point is from the border of each rectangle, inside of it or outside."""
    points = points[:, None]
    beyond = np.maximum(rects[:, :2] - points, points - rects[:, 2:])
    # Of a point inside, how far it is from the nearest side; of one outside, less than 0.
    inside = -np.maximum(beyond[..., 0], beyond[..., 1])
    return np.maximum(inside, _length(np.maximum(beyond, 0)))


def _gaps(rects: _Rects, regions: _Rects) -> _Numbers:
    """How far each rectangle is from its region; 0 where they touch."""
    beyond = np.maximum(regions[:, :2] - rects[:, 2:], rects[:, :2] - regions[:, 2:])
    return _length(np.maximum(beyond, 0))


def _length(vectors: _Numbers) -> _Numbers:
    length: _Numbers = np.hypot(vectors[..., 0], vectors[..., 1])
    return length
