"""What differs between two builds, row by row: mostly of one date, under two sets of settings."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

from regioncap.warehouse.reader import Build

# `lost` and `gained`: a record in the first build, or in the second, alone.
Kind = Literal["lost", "gained", "captions", "regions"]
KINDS: dict[Kind, str] = {
    "captions": "other captions",
    "regions": "other regions",
    "lost": "no record any more",
    "gained": "no record before",
}


@dataclass(frozen=True)
class RegionPair:
    """A region as two builds have it, known by its box: its number and its caption in each, None where it is none."""

    numbers: tuple[int | None, int | None]
    captions: tuple[str | None, str | None]

    @property
    def differs(self) -> bool:
        """Whether the builds say different things of it."""
        return self.captions[0] != self.captions[1]


@dataclass(frozen=True)
class Difference:
    """A row of which two builds say different things; `records` are the first's and the second's, as far as it is one.

    `codes` say why it is none. `captions`: the regions are the same; `regions`: they are not.
    """

    kind: Kind
    id: str
    records: tuple[dict[str, Any] | None, dict[str, Any] | None]
    codes: tuple[str | None, str | None]
    regions: Sequence[RegionPair]


@dataclass
class Comparison:
    """How many records there are by what became of them; `same` ones say the same, and the rest differ."""

    same: int = 0
    differing: dict[Kind, int] = field(default_factory=dict)

    def add(self, difference: Difference) -> None:
        """Count a difference."""
        self.differing[difference.kind] = self.differing.get(difference.kind, 0) + 1


def differences(first: Build, second: Build, counts: Comparison) -> Iterator[Difference]:
    """The rows of which the builds say different things, mostly in the order of the records; `counts` is kept.

    Records are known by their ids. Only those are kept in memory that the other build has not come to yet: few where
    both builds are of one drop. Raises BuildGoneError where a file is gone.
    """
    waiting: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})
    for pair in zip_longest(_lines(first), _lines(second)):
        if pair[0] == pair[1]:
            counts.same += 1
            continue
        for side, line in enumerate(pair):
            if line is None:
                continue
            row_id = str(_parsed(line).get("id"))
            other = waiting[1 - side].pop(row_id, None)
            if other is None:
                waiting[side][row_id] = line
                continue
            lines = (line, other) if side == 0 else (other, line)
            found = _compared(_parsed(lines[0]), _parsed(lines[1]))
            if found is None:
                counts.same += 1
            else:
                counts.add(found)
                yield found
    if not any(waiting):
        return
    codes = _codes(first, waiting[1].keys()), _codes(second, waiting[0].keys())
    for side, kind in enumerate(("lost", "gained")):
        for row_id, line in waiting[side].items():
            record = _parsed(line)
            records = (record, None) if side == 0 else (None, record)
            code = codes[1 - side].get(row_id)
            regions = [_pair(region, None, side) for region in _regions(record)]
            difference = Difference(
                "lost" if kind == "lost" else "gained",
                row_id,
                records,
                (None, code) if side == 0 else (code, None),
                regions,
            )
            counts.add(difference)
            yield difference


def _lines(build: Build) -> Iterator[bytes]:
    for entry in build.manifest.captions:
        yield from filter(None, build.read(entry).split(b"\n"))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _compared(first: dict[str, Any], second: dict[str, Any]) -> Difference | None:
    """What two records of one row differ in, as far as a reader sees it: regions and captions."""
    one, two = ({_box(region): region for region in _regions(record)} for record in (first, second))
    regions = [_pair(region, two.get(box), 0) for box, region in one.items()]
    regions += [_pair(region, None, 1) for box, region in two.items() if box not in one]
    if not any(pair.differs for pair in regions):
        return None
    kind: Kind = "captions" if one.keys() == two.keys() else "regions"
    return Difference(kind, str(first.get("id")), (first, second), (None, None), regions)


def _pair(region: dict[str, Any], other: dict[str, Any] | None, side: int) -> RegionPair:
    both = (region, other) if side == 0 else (other, region)
    numbers = tuple(item.get("region") if item else None for item in both)
    captions = tuple(str(item.get("caption", "")) if item else None for item in both)
    return RegionPair((numbers[0], numbers[1]), (captions[0], captions[1]))


def _regions(record: dict[str, Any]) -> list[dict[str, Any]]:
    regions = record.get("regions")
    return [region for region in regions if isinstance(region, dict)] if isinstance(regions, list) else []


def _box(region: dict[str, Any]) -> str:
    box = region.get("bbox")
    if not isinstance(box, list):
        return json.dumps(box)
    # 10 and 10.0 are one number, however they were written.
    return json.dumps([float(side) if isinstance(side, int) else side for side in box])


def _codes(build: Build, wanted: Any) -> dict[str, str]:
    """Why rows of these ids are no records in a build, as far as it says so."""
    if not wanted:
        return {}
    rows = (_parsed(line) for line in build.read(build.manifest.rejected).split(b"\n") if line)
    return {str(row.get("id")): str(row.get("code")) for row in rows if str(row.get("id")) in wanted}
