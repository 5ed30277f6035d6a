"""What the boxes of a drop are, by all that their numbers say: whether the declared format and frame can be right.

Each format is a hypothesis. What speaks for it is how likely it makes the numbers: boxes lie inside their images but
for slips of an annotator, they may lie anywhere there, and now and then they end at an edge. So a reading loses by each
box that it lets stick out of its image and by an area at the far edges that it never uses, and wins by edges that it
hits. All is counted in nats (natural logarithms of a ratio of likelihoods), row by row, with a limit for each row: what
one row says alone decides nothing. Where another reading puts the boxes at the same places, nothing hangs on it.

Not all boxes end at edges: whoever leaves out what is cut off has none there, and a wrong reading puts some there by
chance. So a reading says how often boxes end at edges, wins by those that do, and pays for it with all that do not.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

from regioncap.regions.boxes import BOX_FORMATS, Box, BoxFormat, box_error
from regioncap.regions.frames import BoxFrame, Canvas, as_displayed

# Nats. The run is stopped beyond the first, and a person is warned beyond the second: with the limit for each row, both
# take two rows. A format is certain where every other one is worse by the second.
STOP, WARN = 8.0, 6.0
_ROW_LIMIT = 5.0
# What it is worth that rows give a size of their own: beside it, one row that bears it out is enough.
_STATED = 6.0

# So many boxes are slips.
_SLIPS = 0.02
# So many boxes end at the near edge and as many at the far one, in each direction (of COCO's, 5 to 9 %), or fewer, ...
_AT_EDGE = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)
# ... within what rounding makes of an edge, as a share of the side.
_EDGE = 0.004
# Annotators round, and draw a little over the edge: as a share of the side.
_SLACK = 0.02

# A reading in which so many boxes are inside their images is not refuted by the others, ...
_NEARLY_ALL = 0.97
# ... one with fewer is not what the boxes are, whatever else they may be, ...
_BELIEVED = 0.9
# ... and with fewer than these in some rows and boxes, neither is the declared one.
_REFUTED, _FEW_ROWS, _FEW_BOXES = 0.5, 3, 8
# Of so many boxes, twice as many as slips that do not fit are warned of.
_MIXED_BOXES = 40
# A reading that puts fewer boxes elsewhere changes nothing that matters.
_MOVED = 0.1
# In another unit, boxes have to come so near to both far edges, as a share of the sides: hundredths and thousandths may
# be pixels of another size. Numbers of up to 1 are nothing else.
_REACH = 0.85
# Boxes in pixels that never go further than this, in so many rows and boxes, may be those of smaller copies.
_SHRUNK, _SHRUNK_ROWS, _SHRUNK_BOXES = 0.8, 10, 40


@dataclass(frozen=True)
class GivenRow:
    """A row's boxes as given, and what they may be drawn on."""

    boxes: Sequence[Any]
    canvas: Canvas


@dataclass(frozen=True)
class Reading:
    """What the boxes look like in a format.

    `nats` says how much likelier it is than the declared one; `fits` and `moved` are shares of the boxes: those inside
    their images, and those that lie elsewhere (IoU < 0.5) than as declared; `reach` is how far they go towards the
    right and the lower edges, 1 being an edge.
    """

    name: BoxFormat
    nats: float
    fits: float
    moved: float
    reach: tuple[float, float]


@dataclass(frozen=True)
class FrameReading:
    """What speaks for another frame than the declared one, in which boxes of `rows` rows lie elsewhere.

    `nats` as for `Reading`; `example` is the first such row's canvas.
    """

    name: BoxFrame
    nats: float
    rows: int
    example: Canvas


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of the declared format and frame.

    `stop` says that what was declared cannot be right, `doubt` that it hardly can. `likely` are the formats that it may
    be instead, the best first: one alone is certain, none means that it is something else. `frames` are frames that the
    boxes or the rows speak for, the best first. `alike` are formats that put boxes elsewhere and that the numbers
    cannot tell from the declared one. `shrunk` is there where boxes in pixels never leave so large a part of their
    images' sides. `mixed` says that most boxes are what was declared, and too many others do not fit.
    """

    declared: Reading
    stop: bool
    doubt: bool
    likely: tuple[Reading, ...]
    alike: tuple[Reading, ...]
    frames: tuple[FrameReading, ...]
    shrunk: float | None
    mixed: bool


@dataclass
class Evidence:
    """What the rows of a drop, or of a part of it, say of their boxes, which are declared to be of a format in a frame.

    By format: `nats[one][two]` says how much likelier the first is than the second, but for edges, `at_edge` in how
    many directions, of two in each row, boxes end at an edge (the mean of the row's boxes), `fits` and `moved` count
    boxes, and `reach` is as for `Reading`. It can be written down as JSON.
    """

    declared: BoxFormat
    frame: BoxFrame = "displayed"
    rows: int = 0
    boxes: int = 0
    nats: dict[BoxFormat, dict[BoxFormat, float]] = field(
        default_factory=lambda: {one: dict.fromkeys(BOX_FORMATS, 0.0) for one in BOX_FORMATS}
    )
    at_edge: dict[BoxFormat, float] = field(default_factory=lambda: dict.fromkeys(BOX_FORMATS, 0.0))
    fits: dict[BoxFormat, int] = field(default_factory=lambda: dict.fromkeys(BOX_FORMATS, 0))
    moved: dict[BoxFormat, int] = field(default_factory=lambda: dict.fromkeys(BOX_FORMATS, 0))
    reach: dict[BoxFormat, tuple[float, float]] = field(default_factory=lambda: dict.fromkeys(BOX_FORMATS, (0.0, 0.0)))
    frames: dict[BoxFrame, FrameReading] = field(default_factory=dict)

    def add(self, row: GivenRow) -> None:
        """Take a row's well-formed boxes into account."""
        boxes = [box for box in row.boxes if box_error(box) is None]
        if not boxes:
            return
        self.rows += 1
        self.boxes += len(boxes)
        size = row.canvas.displayed
        known = [as_displayed(box, self.declared, self.frame, row.canvas) for box in boxes]
        likelihoods = {}
        for name in BOX_FORMATS:
            read = [as_displayed(box, name, self.frame, row.canvas) for box in boxes]
            fitting = [box for box in read if _fits(box, size)]
            likelihoods[name] = _log_likelihood(boxes, read, size, _sides(name, row.canvas.size(self.frame)))
            ends = sum(
                _ends_at_edge(box[side] / size[side], box[side + 2] / size[side]) for box in fitting for side in (0, 1)
            )
            self.at_edge[name] += ends / len(boxes)
            self.fits[name] += len(fitting)
            self.moved[name] += _moved(read, known)
            across = max((box[2] / size[0] for box in fitting), default=0.0)
            down = max((box[3] / size[1] for box in fitting), default=0.0)
            self.reach[name] = (max(self.reach[name][0], across), max(self.reach[name][1], down))
        for one, two in permutations(BOX_FORMATS, 2):
            self.nats[one][two] += _limited(likelihoods[one] - likelihoods[two])
        for frame in row.canvas.frames():
            if frame != self.frame:
                self._add_frame(frame, row.canvas, boxes, known)

    def _add_frame(self, frame: BoxFrame, canvas: Canvas, boxes: Sequence[Any], known: Sequence[Box]) -> None:
        read = [as_displayed(box, self.declared, frame, canvas) for box in boxes]
        if not _moved(read, known):
            return
        size = canvas.displayed
        ours, theirs = (_sides(self.declared, canvas.size(name)) for name in (self.frame, frame))
        nats = _limited(_log_likelihood(boxes, read, size, theirs) - _log_likelihood(boxes, known, size, ours))
        self._add_reading(FrameReading(frame, nats, 1, canvas))

    def _add_reading(self, item: FrameReading) -> None:
        before = self.frames.get(item.name)
        if before is not None:
            item = replace(before, nats=before.nats + item.nats, rows=before.rows + item.rows)
        self.frames[item.name] = item

    def add_part(self, other: "Evidence") -> None:
        """Take into account what another part's rows say, of which the same was declared."""
        self.rows += other.rows
        self.boxes += other.boxes
        for one in BOX_FORMATS:
            self.at_edge[one] += other.at_edge[one]
            self.fits[one] += other.fits[one]
            self.moved[one] += other.moved[one]
            self.reach[one] = (
                max(self.reach[one][0], other.reach[one][0]),
                max(self.reach[one][1], other.reach[one][1]),
            )
            for two in BOX_FORMATS:
                self.nats[one][two] += other.nats[one][two]
        for item in other.frames.values():
            self._add_reading(item)

    def likelier(self, one: BoxFormat, two: BoxFormat) -> float:
        """How much likelier the first is than the second, in nats, edges too within the limit for each row."""
        nats = self.nats[one][two] + self._by_edges(one) - self._by_edges(two)
        return max(-_ROW_LIMIT * self.rows, min(_ROW_LIMIT * self.rows, nats))

    def _by_edges(self, name: BoxFormat) -> float:
        """How much likelier it is where boxes end at edges as often as suits it best, than where none does."""
        hits, others = self.at_edge[name], 2 * self.rows - self.at_edge[name]
        return max(
            others * math.log(1 - 2 * share) + hits * math.log(1 - 2 * share + share / _EDGE) for share in _AT_EDGE
        )

    def reading(self, name: BoxFormat) -> Reading:
        """What the boxes look like in a format."""
        count = max(1, self.boxes)
        return Reading(
            name,
            self.likelier(name, self.declared),
            self.fits[name] / count,
            self.moved[name] / count,
            self.reach[name],
        )


def together(parts: Iterable[Evidence | None]) -> Evidence | None:
    """What all parts of a drop say; None where none says anything."""
    whole: Evidence | None = None
    for part in parts:
        if part is None or not part.boxes:
            continue
        whole = whole or Evidence(part.declared, part.frame)
        whole.add_part(part)
    return whole


def weigh(evidence: Evidence) -> Verdict:
    """What is to be thought of the declared format and frame."""
    declared = evidence.reading(evidence.declared)
    others = [item for item in map(evidence.reading, BOX_FORMATS) if item.moved >= _MOVED]
    stated = [
        replace(item, nats=item.nats + _STATED * item.example.states(item.name)) for item in evidence.frames.values()
    ]
    frames = sorted((item for item in stated if item.nats > 0), key=lambda item: -item.nats)
    heard = max((item.nats for item in frames), default=0.0)
    # Boxes of another frame look like many a format: where the rows or the boxes speak for a frame, that comes first.
    rivals = [item for item in others if item.nats > max(WARN, heard) and _believable(item, declared)]
    strongest = max([heard, *(item.nats for item in rivals)])
    refuted = declared.fits < _REFUTED and evidence.rows >= _FEW_ROWS and evidence.boxes >= _FEW_BOXES
    doubt = refuted or strongest > WARN
    alike = [item for item in others if item.fits >= _NEARLY_ALL and item.nats > -WARN]
    return Verdict(
        declared=declared,
        stop=refuted or strongest > STOP,
        doubt=doubt,
        likely=_ordered(rivals, evidence),
        alike=() if doubt else tuple(alike),
        frames=tuple(frames),
        shrunk=_shrunk(evidence),
        mixed=not doubt and not frames and declared.fits < 1 - 2 * _SLIPS and evidence.boxes >= _MIXED_BOXES,
    )


def doubts(verdict: Verdict) -> list[str]:
    """What a person is to be warned of, though the run is not stopped."""
    warnings = [told(verdict)] if verdict.doubt else []
    declared = verdict.declared
    if verdict.mixed:
        warnings.append(
            f"{1 - declared.fits:.0%} of the boxes do not fit their images as {declared.name}, and the rest do: "
            "perhaps some rows have boxes of another format, or for other images. Look at their marked images, and "
            "correct them"
        )
    if not verdict.doubt and verdict.frames:
        frame = verdict.frames[0]
        warnings.append(f"perhaps {_frame_told(frame)}")
    if verdict.shrunk is not None:
        warnings.append(
            f"no box goes beyond the first {verdict.shrunk:.0%} of its image's width or height: if they were drawn on "
            "smaller copies, correct them, or give each row the width and height of its copy and set box_frame"
        )
    return warnings


def told(verdict: Verdict) -> str:
    """What is wrong with the declared format or frame, and what to do: of a verdict that doubts them."""
    declared = verdict.declared
    if verdict.frames and verdict.frames[0].nats > max((item.nats for item in verdict.likely), default=0.0):
        return _frame_told(verdict.frames[0])
    found = f"only {declared.fits:.0%} of the boxes fit their images as {declared.name}"
    if declared.fits >= _NEARLY_ALL:
        across, down = declared.reach
        found = (
            f"as {declared.name} the boxes never leave the first {across:.0%} of the width and {down:.0%} of the height"
        )
    names = [f"{item.name}{' (y before x)' * item.name.startswith('yxyx')}" for item in verdict.likely]
    if not names:
        return (
            f"{found}, and what they are cannot be told from their numbers: boxes of another layout, or boxes of "
            "images of another size. Compare some with their images, then set the param box_format, or correct them"
        )
    fits = f"but {verdict.likely[0].fits:.0%} do" if declared.fits < _NEARLY_ALL else "but they reach the edges"
    if len(names) == 1:
        return (
            f"{found}, {fits} as {names[0]}: set the param box_format to {verdict.likely[0].name}, or correct the boxes"
        )
    return (
        f"{found}, {fits} as {' or '.join(names)}, which their numbers do not tell apart: whether y comes before x, "
        "say. Compare some with their images, then set the param box_format"
    )


def _frame_told(frame: FrameReading) -> str:
    displayed = " x ".join(map(str, frame.example.displayed))
    if frame.name == "row_size":
        stated = " x ".join(map(str, frame.example.stated or ()))
        return (
            f"the boxes are for {stated} images, by the rows' own width and height, and the files have {displayed} "
            f"({frame.rows} such rows): set the param box_frame to row_size, or correct the boxes"
        )
    stored = " x ".join(map(str, frame.example.stored))
    return (
        f"the boxes are drawn on the pixels as stored, {stored}, of photos that are displayed as {displayed} by their "
        f"EXIF orientation ({frame.rows} such rows): set the param box_frame to stored, or correct the boxes"
    )


def _ordered(rivals: Sequence[Reading], evidence: Evidence) -> tuple[Reading, ...]:
    """The best of some readings, and those that cannot be told from it."""

    def margin(item: Reading) -> float:
        # Rounded, so that of readings that are equally likely the first of BOX_FORMATS comes first.
        against = [evidence.likelier(item.name, other.name) for other in rivals if other is not item]
        return round(min(against, default=0.0), 6)

    ordered = sorted(rivals, key=margin, reverse=True)
    best = ordered[:1]
    near = [item for item in ordered[1:] if evidence.likelier(best[0].name, item.name) < WARN]
    return tuple(item for item in (*best, *near) if item.fits >= _BELIEVED)


def _believable(item: Reading, declared: Reading) -> bool:
    return unit_of(item.name) in (unit_of(declared.name), "norm") or min(item.reach) >= _REACH


def _shrunk(evidence: Evidence) -> float | None:
    """How much of their images' sides boxes in pixels use at most, where that is strangely little."""
    reach = max(evidence.reach[evidence.declared])
    enough = evidence.rows >= _SHRUNK_ROWS and evidence.boxes >= _SHRUNK_BOXES
    return reach if enough and unit_of(evidence.declared) == "" and 0 < reach < _SHRUNK else None


def unit_of(name: BoxFormat) -> str:
    """What the numbers of a format count in: "" for pixels, else its ending."""
    return name.partition("_")[2]


def _sides(name: BoxFormat, size: tuple[int, int]) -> float:
    """The product of an image's sides, in the unit of a format."""
    return {"": float(size[0] * size[1]), "norm": 1.0, "percent": 1e4, "1000": 1e6}[unit_of(name)]


def _log_likelihood(
    given: Sequence[Sequence[float]], boxes: Sequence[Box], size: tuple[int, int], sides: float
) -> float:
    """How likely numbers are that mean these boxes in an image, but for the boxes' sizes and for edges.

    `sides` is the product of the image's sides in the numbers' unit: a density of shares becomes one of numbers by it.
    """
    return sum(
        math.log((1 - _SLIPS) * _inside(box, size) / sides + _SLIPS * _slip(raw))
        for raw, box in zip(given, boxes, strict=True)
    )


def _inside(box: Box, size: tuple[int, int]) -> float:
    """The density of where a box lies in an image, over shares of its sides."""
    if not _fits(box, size):
        return 0.0
    return _along(box[0] / size[0], box[2] / size[0]) * _along(box[1] / size[1], box[3] / size[1])


def _slip(raw: Sequence[float]) -> float:
    """The density of numbers that are a slip, whatever was meant: each order of magnitude is as likely as another.

    Twenty e-folds, from thousandths of an image to a thousand of them.
    """
    return 1 / (20 * max(0.001, abs(raw[0])) * 20 * max(0.001, abs(raw[1])))


def _along(low: float, high: float) -> float:
    """The density of where a box lies along a side, given its length."""
    return 1 / max(_EDGE, 1 - (high - low))


def _ends_at_edge(low: float, high: float) -> bool:
    return abs(low) < _EDGE / 2 or abs(1 - high) < _EDGE / 2


def _fits(box: Box, size: tuple[int, int]) -> bool:
    """At least a pixel on each side, and inside the image but for some slack."""
    x0, y0, x1, y1 = box
    width, height = size
    return (
        x1 - x0 >= 1
        and y1 - y0 >= 1
        and min(x0 / width, y0 / height) >= -_SLACK
        and max(x1 / width, y1 / height) <= 1 + _SLACK
    )


def _moved(boxes: Sequence[Box], others: Sequence[Box]) -> int:
    """How many of the boxes lie elsewhere than the others of the same place."""
    return sum(_iou(box, other) < 0.5 for box, other in zip(boxes, others, strict=True))


def _iou(one: Box, two: Box) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    shared = width * height
    # Boxes can be so small that they have no area in numbers.
    if width <= 0 or height <= 0 or shared == 0:
        return 0.0
    return shared / (_area(one) + _area(two) - shared)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _limited(nats: float) -> float:
    return max(-_ROW_LIMIT, min(_ROW_LIMIT, nats))
