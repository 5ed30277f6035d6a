"""The pages, as text."""

import calendar
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from regioncap.pages.builds import PublishedDate, SeenBuild
from regioncap.pages.comparing import Compared
from regioncap.pages.gallery import Found, Place, Wanted
from regioncap.pages.rejects import FoundRows
from regioncap.regions.records import Record
from regioncap.report.figures import Report
from regioncap.report.html import templates
from regioncap.warehouse.compare import KINDS, Difference
from regioncap.warehouse.layout import content_of

# What a page may refer to, beside its own style: pictures and forms of where it comes from.
SOURCES = "img-src 'self'; form-action 'self'"

_HOME = "Datasets"
_NO_IMAGE = "0" * 32
_STANDINGS = {
    "current": "published: the current build",
    "earlier": "published before",
    "withdrawn": "withdrawn",
    "unpublished": "not published",
}

_render = templates("regioncap.pages")


@dataclass(frozen=True)
class _Day:
    """A day of a calendar: its date, and its number in the month."""

    date: str
    number: int


@dataclass(frozen=True)
class _Month:
    """A month of a calendar, by weeks from Monday on; None fills the weeks up."""

    name: str
    weeks: Sequence[Sequence[_Day | None]]


@dataclass(frozen=True)
class _DayTold:
    """What a calendar says of a date: by colour and in words."""

    style: str
    told: str


def datasets_page(root: str, warehouse: str, total: int, rows: Sequence[PublishedDate], older: str | None) -> str:
    """The dates of a warehouse, `rows` of `total`; `older` is the last of these where there are more.

    `root` is the path below which all pages are.
    """
    return _render(
        "datasets.html",
        sources=SOURCES,
        root=root,
        trail=[(_HOME, None)],
        warehouse=warehouse,
        total=total,
        rows=rows,
        months=list(_months([row.date for row in rows])),
        published={row.date: _day_told(row) for row in rows},
        older=older,
    )


def build_page(root: str, build: SeenBuild, report: Report | None, found: Found) -> str:
    """One build: its figures, its first records, its files, and the other builds of its date."""
    return _render(
        "build.html",
        sources=SOURCES,
        root=root,
        here=_here(root, build),
        trail=[(_HOME, f"{root}/"), (build.date, None)],
        build=build,
        report=report,
        found=found,
        cards=list(_cards(found.records)),
        standing=_STANDINGS[build.standing],
        builds=list(_builds(build)),
    )


def gallery_page(root: str, build: SeenBuild, wanted: Wanted, start: Place, found: Found, checks: Sequence[str]) -> str:
    """Some of a build's records; `checks` are the warnings that can be looked for."""
    asked = {name: value for name, value in asdict(wanted).items() if value not in ("", None)}
    return _render(
        "gallery.html",
        sources=SOURCES,
        root=root,
        here=_here(root, build),
        trail=_trail(root, build, "Gallery"),
        build=build,
        wanted=wanted,
        checks=checks,
        found=found,
        cards=list(_cards(found.records)),
        at_start=start == Place(),
        query=urlencode(asked),
    )


def rejected_page(root: str, build: SeenBuild, codes: dict[str, int], code: str, start: int, found: FoundRows) -> str:
    """Some of a build's rejected rows; `codes` counts all of them."""
    return _render(
        "rejected.html",
        sources=SOURCES,
        root=root,
        here=_here(root, build),
        trail=_trail(root, build, "Rejected rows"),
        build=build,
        codes=codes,
        code=code,
        start=start,
        found=found,
        text_of=_text_of,
    )


def compare_page(root: str, other: SeenBuild, build: SeenBuild, compared: Compared) -> str:
    """What differs between another build of the date and this one."""
    return _render(
        "compare.html",
        sources=SOURCES,
        root=root,
        trail=_trail(root, build, "Two builds"),
        build=build,
        other=other,
        compared=compared,
        words=KINDS,
        rows=[(item, _picture(root, other, build, item)) for item in compared.differences],
    )


def _picture(root: str, other: SeenBuild, build: SeenBuild, difference: Difference) -> str:
    """The URL of a row's marked image, in the build that has it."""
    seen, record = (build, difference.records[1]) if difference.records[1] else (other, difference.records[0])
    name = content_of(str((record or {}).get("image_with_bbox", "")))
    return f"{_here(root, seen)}/images/{name or _NO_IMAGE}.jpg"


def problem_page(root: str, heading: str, reason: str) -> str:
    """What a person sees where there is nothing to see."""
    return _render(
        "problem.html", sources=SOURCES, root=root, trail=[(_HOME, f"{root}/")], heading=heading, reason=reason
    )


def _here(root: str, build: SeenBuild) -> str:
    return f"{root}/dates/{build.date}/builds/{build.manifest.build_id}"


def _trail(root: str, build: SeenBuild, name: str) -> list[tuple[str, str | None]]:
    return [(_HOME, f"{root}/"), (build.date, _here(root, build)), (name, None)]


def _cards(records: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    """Records with their images' names; one that names none of the build's gets a name that none has."""
    return ((record, content_of(record.image_with_bbox) or _NO_IMAGE) for record in records)


def _text_of(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, indent=1)


def _builds(build: SeenBuild) -> Iterator[dict[str, str | None]]:
    manifest, published = build.manifest, build.published
    if build.standing == "unpublished":
        yield {
            "build_id": manifest.build_id,
            "created_at": manifest.created_at,
            "standing": _STANDINGS["unpublished"],
            "until": None,
        }
    if published is not None:
        yield {
            "build_id": published.build_id,
            "created_at": published.created_at,
            "standing": _STANDINGS["current"],
            "until": None,
        }
        for earlier in published.history:
            yield {
                "build_id": earlier.build_id,
                "created_at": earlier.created_at,
                "standing": _STANDINGS["withdrawn" if earlier.withdrawn else "earlier"],
                "until": earlier.current_until,
            }


def _months(dates: Sequence[str]) -> Iterator[_Month]:
    for month in sorted({text[:7] for text in dates}, reverse=True):
        year, number = map(int, month.split("-"))
        if not (1 <= number <= 12 and year >= 1):
            continue
        weeks = [
            [_Day(f"{month}-{day:02}", day) if day else None for day in week]
            for week in calendar.Calendar().monthdayscalendar(year, number)
        ]
        yield _Month(f"{date(year, number, 1):%B %Y}", weeks)


def _day_told(row: PublishedDate) -> _DayTold:
    if row.manifest is None:
        return _DayTold("broken", row.problem or "nothing is published here")
    counts = row.manifest.counts
    told = f"{counts.captioned:,} records, {counts.rejected:,} rejected rows"
    return _DayTold("some" if counts.rejected else "good", told)
