"""A person's sample of a build: regions that are drawn by a hash, and of each whether its caption is right.

From it follows an estimate of how many of the build's captions are wrong, whatever any model says of them. What a
person says is kept in a journal beside the date's builds, and counts for the build that was looked at.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from regioncap.parallel import in_order
from regioncap.regions.records import Record
from regioncap.storage.store import Store
from regioncap.warehouse.journal import MOST_SAID_BYTES, Entered, Journal
from regioncap.warehouse.layout import REVIEWS
from regioncap.warehouse.reader import Build

SAMPLE = 50

Verdict = Literal["right", "wrong", "unsure"]

_READS_AT_ONCE = 4

# Of the normal distribution, for an interval that holds 95 times of 100.
_Z = 1.959964

# As a record's line names its regions: in a caption the quotation marks would be escaped.
_A_REGION = b'"region":'


class Review(Entered):
    """A line of the journal: what a person says of a drawn region. `region` is its `DrawnRegion.key`."""

    build_id: str
    region: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True)
class DrawnRegion:
    """A drawn region: its record, and where in the build's record files that stands (file and line from 0)."""

    file: int
    line: int
    region: int
    record: Record

    @property
    def key(self) -> str:
        """What it is known by within the build."""
        return f"{self.file}.{self.line}.{self.region}"

    @property
    def caption(self) -> str:
        """What the build says of it."""
        return next(item.caption for item in self.record.regions if item.region == self.region)


@dataclass(frozen=True)
class Estimate:
    """The share of wrong captions, with its 95 % interval (Wilson's): None where nothing was looked at."""

    right: int
    wrong: int
    unsure: int
    share: float | None
    low: float | None
    high: float | None

    @property
    def asked(self) -> int:
        """How many regions were looked at."""
        return self.right + self.wrong + self.unsure


def draw(build: Build, regions: int = SAMPLE) -> list[DrawnRegion]:
    """So many of a build's regions, drawn by a hash: the same each time, each region as likely as any other.

    Reads all record files, a few at a time. Raises BuildGoneError.
    """
    # A few tickets may be of no region: somebody else wrote the record, or its boxes were given as something else.
    smallest = heapq.nsmallest(2 * regions, _tickets(build))
    wanted: dict[int, list[tuple[bytes, int, int]]] = {}
    for ticket, file, line, slot in smallest:
        wanted.setdefault(file, []).append((ticket, line, slot))
    drawn: list[tuple[bytes, DrawnRegion]] = []
    for file, places in wanted.items():
        lines = build.read(build.manifest.captions[file]).split(b"\n")
        for ticket, line, slot in places:
            with suppress(ValidationError, IndexError):
                record = Record.model_validate_json(lines[line])
                drawn.append((ticket, DrawnRegion(file, line, record.regions[slot].region, record)))
    drawn.sort(key=lambda one: one[0])
    return [one for _, one in drawn[:regions]]


def reviews_of(partition: Store) -> Journal[Review]:
    """The journal of what people say of a date's builds."""
    return Journal(partition.sub(REVIEWS), Review, MOST_SAID_BYTES)


def note(journal: Journal[Review], review: Review) -> list[Review]:
    """Enter what a person says of a region, which counts instead of what that person or another said of it before."""
    return journal.add(lambda _: [review])


def verdicts(journal: Iterable[Review], build_id: str) -> dict[str, Verdict]:
    """What counts of each region of a build that somebody has looked at, by its key."""
    return {review.region: review.verdict for review in journal if review.build_id == build_id}


def estimate(said: Iterable[Verdict]) -> Estimate:
    """What a sample says of all captions. Of what a person was unsure, nobody knows: it widens the interval.

    Its lower end holds where all of these are right, its upper end where all are wrong.
    """
    counted = list(said)
    right, wrong, unsure = (counted.count(verdict) for verdict in ("right", "wrong", "unsure"))
    judged, asked = right + wrong, len(counted)
    if not judged:
        return Estimate(right, wrong, unsure, None, None, None)
    low, _ = wilson(wrong, asked)
    _, high = wilson(wrong + unsure, asked)
    return Estimate(right, wrong, unsure, wrong / judged, low, high)


def wilson(found: int, looked_at: int) -> tuple[float, float]:
    """The 95 % interval of a share, of which `found` of `looked_at` drawn ones had it."""
    share, square = found / looked_at, _Z * _Z
    middle = (share + square / (2 * looked_at)) / (1 + square / looked_at)
    spread = (
        _Z
        / (1 + square / looked_at)
        * math.sqrt(share * (1 - share) / looked_at + square / (4 * looked_at * looked_at))
    )
    return max(0.0, middle - spread), min(1.0, middle + spread)


def _tickets(build: Build) -> Iterator[tuple[bytes, int, int, int]]:
    """A number of each region that nobody has chosen, and where the region is: file, line, which of the record's."""
    files = in_order(build.read, build.manifest.captions, _READS_AT_ONCE)
    for file, data in enumerate(files):
        for line, text in enumerate(data.split(b"\n")):
            seed = hashlib.blake2b(text, digest_size=16)
            for slot in range(text.count(_A_REGION)):
                ticket = seed.copy()
                ticket.update(slot.to_bytes(4, "big"))
                yield ticket.digest(), file, line, slot
