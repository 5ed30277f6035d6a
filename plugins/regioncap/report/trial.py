"""`try.html`: what becomes of the same rows under several sets of settings, side by side."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regioncap.regions.records import Record, RegionCaption, Rejected
from regioncap.report import judged as words
from regioncap.report.html import templates
from regioncap.report.page import embedded
from regioncap.trust.estimate import Judged

_render = templates("regioncap.report")

# A row's place in the drop: the manifest's name, and the line.
Place = tuple[str, int]


@dataclass(frozen=True)
class TriedRow:
    """What became of a row under one set of settings: a record, or a rejected row.

    `jpeg` is the marked image, if it came so far. `tokens` are those of the questions and of the answers, `seconds` how
    long the server took for them.
    """

    outcome: Record | Rejected
    jpeg: bytes | None = None
    tokens: tuple[int, int] = (0, 0)
    seconds: float = 0.0

    @property
    def record(self) -> Record | None:
        """The record; None of a rejected row."""
        return self.outcome if isinstance(self.outcome, Record) else None

    @property
    def picture(self) -> str:
        """The path of the marked image beside the page; of one without, nothing."""
        return self.record.image_with_bbox if self.record else ""


@dataclass
class Tried:
    """One set of settings, by its name, and what became of each row. `stops` says why a run would stop, if it would.

    `params` are all settings; `seconds` is how long asking took, with the server as busy as it then was. `judged` is
    what a listener makes of the captions, None where it was not asked. `folder` is where the marked images lie, if not
    beside the page.
    """

    name: str
    params: Mapping[str, Any]
    rows: dict[Place, TriedRow] = field(default_factory=dict)
    seconds: float = 0.0
    stops: str | None = None
    judged: Judged | None = None
    warnings: list[str] = field(default_factory=list)
    folder: str = ""

    @property
    def records(self) -> list[Record]:
        """Those that passed."""
        return [row.record for row in self.rows.values() if row.record is not None]

    def figures(self) -> dict[str, str]:
        """What is said of it in a table, by what it is."""
        records, rows = self.records, list(self.rows.values())
        captions = [region.caption for record in records for region in record.regions]
        codes = Counter(str(row.outcome.code) for row in rows if isinstance(row.outcome, Rejected))
        warned = Counter(name for record in records for name in record.checks)
        asked, written = (sum(row.tokens[place] for row in rows) for place in (0, 1))

        def mean(total: float, number: int) -> str:
            return f"{total / number:.1f}" if number else "-"

        return {
            "captioned rows": f"{len(records):,}",
            "rejected rows": _counted(codes),
            "warnings of gates": _counted(warned),
            "described regions": f"{len(captions):,}",
            "words per caption": mean(sum(len(caption.split()) for caption in captions), len(captions)),
            "attempts per captioned row": mean(sum(record.attempts for record in records), len(records)),
            **_trusted(self.judged, [region for record in records for region in record.regions]),
            "tokens of prompts and images, per row": mean(asked, len(rows)),
            "tokens of answers, per row": mean(written, len(rows)),
            "seconds of the server, per row": mean(sum(row.seconds for row in rows), len(rows)),
            "seconds for all of it": f"{self.seconds:.1f}",
        }


@dataclass(frozen=True)
class MarksRead:
    """How many planted numbers of a mark style and a size of tags the model read back right, of how many."""

    style: str
    size: str
    right: int
    asked: int


def _trusted(judged: Judged | None, regions: Sequence[RegionCaption]) -> dict[str, str]:
    """What a listener makes of the captions."""
    trusts = [region.trust for region in regions if region.trust is not None]
    doubted = sum(region.confused_with is not None for region in regions)
    if judged is None:
        told = "nobody was asked: judge is none"
    elif judged.share is None:
        told = f"not judged: {words.why_not(judged)}"
    else:
        told = words.share_told(judged)
    return {
        "wrong captions, by estimate": told,
        "doubted captions": f"{doubted:,} of {len(trusts):,} judged" if trusts else "-",
        "trust, mean": f"{sum(trusts) / len(trusts):.2f}" if trusts else "-",
    }


def _counted(codes: Mapping[str, int]) -> str:
    return ", ".join(f"{code} ({number:,})" for code, number in sorted(codes.items())) or "0"


def differing_params(tried: Sequence[Tried]) -> dict[str, list[str]]:
    """The settings in which sets differ, by their names, each with its value in each set, as JSON."""
    values = {name: [json.dumps(one.params[name], ensure_ascii=False) for one in tried] for name in tried[0].params}
    return {name: told for name, told in values.items() if len(set(told)) > 1}


def differing_captions(first: Tried, other: Tried) -> tuple[int, int]:
    """Of how many regions that both describe, known by their boxes, the captions differ; and of how many in all."""
    differing = both = 0
    for place, row in first.rows.items():
        beside = other.rows.get(place)
        if row.record is None or beside is None or beside.record is None:
            continue
        captions = {region.box_index: region.caption for region in beside.record.regions}
        for region in row.record.regions:
            both += region.box_index in captions
            differing += captions.get(region.box_index, region.caption) != region.caption
    return differing, both


def differing_rows(first: Tried, other: Tried) -> list[Place]:
    """The rows of which two sets of settings make different things, in order."""
    both = sorted(first.rows.keys() | other.rows.keys())
    return [place for place in both if _said(first.rows.get(place)) != _said(other.rows.get(place))]


def _said(row: TriedRow | None) -> Any:
    if row is None:
        return None
    if isinstance(row.outcome, Rejected):
        return row.outcome.code
    return {region.box_index: region.caption for region in row.outcome.regions}


def _unlike(cells: Sequence[TriedRow | None]) -> int:
    """How many of a row's regions, known by their boxes, the sets that describe them describe in several ways."""
    captions: dict[int, set[str]] = {}
    for cell in cells:
        for region in cell.record.regions if cell is not None and cell.record is not None else ():
            captions.setdefault(region.box_index, set()).add(region.caption)
    return sum(len(said) > 1 for said in captions.values())


def render_trial(
    drop_uri: str,
    model: str,
    tried: Sequence[Tried],
    marks: Sequence[MarksRead],
    guessed: float,
    shown: Sequence[Place] | None = None,
) -> str:
    """The whole page; the marked images lie beside it. `guessed` is the share that guessing would read right.

    `shown` are the rows that are shown one by one; by default all.
    """
    places = dict.fromkeys(place for one in tried for place in one.rows) if shown is None else shown
    rows = [(place, [one.rows.get(place) for one in tried]) for place in places]
    styles = dict.fromkeys(read.style for read in marks)
    sizes = list(dict.fromkeys(read.size for read in marks))
    return _render(
        "try.html",
        drop_uri=drop_uri,
        model=model,
        tried=tried,
        params=differing_params(tried),
        figures=[one.figures() for one in tried],
        differing=[differing_captions(tried[0], one) for one in tried[1:]],
        rows=[(place, cells, _unlike(cells)) for place, cells in rows],
        sizes=sizes,
        marks={style: [read for read in marks if read.style == style] for style in styles},
        guessed=guessed,
        embedded=embedded,
    )
