"""The pages, as text."""

import base64
import calendar
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from regioncap.pages.builds import Preview, PublishedDate, SeenBuild, Standing, is_build_id
from regioncap.pages.comparing import Compared
from regioncap.pages.correcting import Said, Seen, captions_in, known_row
from regioncap.pages.gallery import Found, Place, Wanted
from regioncap.pages.originals import has_image
from regioncap.pages.rejects import FoundRows
from regioncap.regions.records import Record, RegionCaption, Rejected
from regioncap.report.figures import Report
from regioncap.report.html import templates
from regioncap.report.judged import sample_told
from regioncap.warehouse.compare import KINDS, Difference
from regioncap.warehouse.corrections import Correction, Holding
from regioncap.warehouse.layout import content_of
from regioncap.warehouse.reviews import DrawnRegion, Estimate

# RegionCap's one script, for keys. It is in the page, and named by its hash.
_KEYS = files("regioncap.pages").joinpath("templates/keys.js").read_text(encoding="utf-8")
_KEYS_HASH = base64.b64encode(hashlib.sha256(_KEYS.encode()).digest()).decode()
# What a page may refer to, beside its own style: pictures and forms of where it comes from, and where there are forms
# to write with, the script.
SOURCES = "img-src 'self'; form-action 'self'"
SCRIPT = f"script-src 'sha256-{_KEYS_HASH}'"

_HOME = "Datasets"
# Of dates that are missing, so many are named.
_SOME_MISSING = 10
_NO_IMAGE = "0" * 32
_STANDINGS = {
    "current": "published: the current build",
    "earlier": "published before",
    "withdrawn": "withdrawn",
    "unpublished": "not published",
}

_template = templates("regioncap.pages")


def _render(template: str, *, writing: "Writing | None" = None, **values: Any) -> str:
    # A form that is sent says where it comes from, to its own origin alone: writing depends on it.
    return _template(
        template,
        sources=SOURCES if writing is None else f"{SOURCES}; {SCRIPT}",
        referrer="same-origin",
        writing=writing,
        script=Markup(_KEYS) if writing else None,
        raw=escape,
        **values,
    )


@dataclass(frozen=True)
class Writing:
    """That who looks at a page may write; each form has the token."""

    token: str


@dataclass(frozen=True)
class Card:
    """A record as a page shows it: where it stands, its image's name, and what was said of it and its regions."""

    record: Record
    place: Place
    image: str
    regions: Sequence[tuple[RegionCaption, Said | None]]
    said: Said | None
    left_out: Sequence[Holding]


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
class UnderWay:
    """A run that has not ended: the date that it builds, as far as it is known, and its page in Airflow.

    `asks` says that it waits for somebody's approval.
    """

    date: str | None
    run_id: str
    page: str
    state: str
    asks: bool


@dataclass(frozen=True)
class _Missing:
    """Dates between the `first` and the `last` that have nothing: how many, and some of them."""

    first: str
    last: str
    number: int
    some: Sequence[str]


@dataclass(frozen=True)
class _Trend:
    """A share over dates, the earliest first: (date, share) each, None where nobody knows."""

    title: str
    style: str
    shares: Sequence[tuple[str, float | None]]

    @property
    def most(self) -> float:
        """The largest of the shares."""
        return max((share for _, share in self.shares if share is not None), default=0.0)


@dataclass(frozen=True)
class _DayTold:
    """What a calendar says of a date: by colour and in words."""

    style: str
    told: str


def datasets_page(
    root: str,
    warehouse: str,
    total: int,
    rows: Sequence[PublishedDate],
    older: str | None,
    under_way: Sequence[UnderWay],
) -> str:
    """The dates of a warehouse, `rows` of `total`; `older` is the last of these where there are more.

    `root` is the path below which all pages are.
    """
    days = [row.date for row in rows]
    return _render(
        "datasets.html",
        root=root,
        trail=[(_HOME, None)],
        warehouse=warehouse,
        total=total,
        rows=rows,
        months=list(_months(days)),
        published={row.date: _day_told(row) for row in rows},
        missing=_missing(days),
        trends=list(_trends(rows)),
        older=older,
        under_way=under_way,
    )


def build_page(
    root: str,
    build: SeenBuild,
    report: Report | None,
    found: Found,
    estimate: Estimate,
    run: str | None,
    going_back: Writing | None = None,
) -> str:
    """One build: its figures, its first records, its files and settings, and the other builds of its date.

    `run` is the URL of the run that published it, as far as it is known. Who may write can go back to an earlier build.
    """
    return _render(
        "build.html",
        root=root,
        here=_here(root, build),
        trail=[(_HOME, f"{root}/"), (build.date, None)],
        build=build,
        report=report,
        found=found,
        cards=list(_cards(found, None)),
        seen=None,
        back="",
        going_back=going_back,
        estimate=estimate,
        told=sample_told(estimate),
        run=run,
        standing=_STANDINGS[build.standing],
        builds=list(_builds(build)),
    )


def gallery_page(
    root: str,
    build: SeenBuild,
    wanted: Wanted,
    start: Place,
    found: Found,
    checks: Sequence[str],
    codes: Sequence[str],
    seen: Seen | None,
    writing: Writing | None,
) -> str:
    """Some of a build's records, and what was corrected since.

    `checks` are the warnings that can be looked for, `codes` those of boxes that are not used.

    Nobody corrects a build whose language cannot be told: it has no `seen`.
    """
    asked = {name: value for name, value in asdict(wanted).items() if value not in ("", None, False)}
    here = urlencode(asked | ({} if start == Place() else {"at": str(start)}))
    return _render(
        "gallery.html",
        root=root,
        here=_here(root, build),
        trail=_trail(root, build, "Gallery"),
        build=build,
        wanted=wanted,
        checks=checks,
        codes=codes,
        found=found,
        cards=list(_cards(found, seen)),
        seen=seen,
        writing=writing if seen else None,
        back=f"gallery?{here}" if here else "gallery",
        at_start=start == Place(),
        query=urlencode(asked),
    )


def rejected_page(
    root: str,
    build: SeenBuild,
    report: Report | None,
    code: str,
    start: int,
    found: FoundRows,
    seen: Seen | None,
    writing: Writing | None,
) -> str:
    """Some of a build's rejected rows."""
    return _render(
        "rejected.html",
        root=root,
        here=_here(root, build),
        trail=_trail(root, build, "Rejected rows"),
        build=build,
        codes=report.rejected_by_code if report else {},
        code=code,
        start=start,
        found=found,
        rows=[
            (row, line, captions_in(row, report), _said_of(row, seen), has_image(row))
            for row, line in zip(found.rows, found.lines, strict=True)
        ],
        seen=seen,
        writing=writing if seen else None,
        back="rejected?" + urlencode({"code": code, **({"at": start} if start else {})}),
        text_of=_text_of,
    )


def compare_page(root: str, other: SeenBuild, build: SeenBuild, compared: Compared) -> str:
    """What differs between another build of the date and this one."""
    return _render(
        "compare.html",
        root=root,
        trail=_trail(root, build, "Two builds"),
        build=build,
        other=other,
        compared=compared,
        kinds=KINDS,
        rows=[(item, _picture(root, other, build, item)) for item in compared.differences],
    )


def _picture(root: str, other: SeenBuild, build: SeenBuild, difference: Difference) -> str:
    """The URL of a row's marked image, in the build that has it."""
    seen, record = (build, difference.records[1]) if difference.records[1] else (other, difference.records[0])
    name = content_of(str((record or {}).get("image_with_bbox", "")))
    return f"{_here(root, seen)}/images/{name or _NO_IMAGE}.jpg"


def problem_page(root: str, heading: str, reason: str) -> str:
    """What a person sees where there is nothing to see."""
    return _render("problem.html", root=root, trail=[(_HOME, f"{root}/")], heading=heading, reason=reason)


def conflict_page(root: str, reason: str, caption: str, back: str) -> str:
    """What a person sees whose correction came second: what the first said, and what they wrote themselves."""
    return _render("conflict.html", root=root, trail=[(_HOME, f"{root}/")], reason=reason, caption=caption, back=back)


def corrections_page(root: str, date: str, total: int, lines: Sequence[Correction], older: int | None) -> str:
    """Some of a date's `total` corrections, the latest first; `older` is the number of the next one."""
    trail = [(_HOME, f"{root}/"), (date, f"{root}/dates/{date}"), ("Corrections", None)]
    return _render("corrections.html", root=root, trail=trail, date=date, total=total, lines=lines, older=older)


def previews_page(root: str, date: str, previews: Sequence[Preview]) -> str:
    """A date's previews, the latest first."""
    trail = [(_HOME, f"{root}/"), (date, f"{root}/dates/{date}"), ("Previews", None)]
    return _render("previews.html", root=root, trail=trail, date=date, previews=previews)


def sample_page(
    root: str,
    build: SeenBuild,
    region: DrawnRegion | None,
    drawn: int,
    estimate: Estimate,
    writing: Writing | None,
) -> str:
    """The next of the drawn regions that nobody has looked at, and what those say that somebody has."""
    return _render(
        "sample.html",
        root=root,
        here=_here(root, build),
        trail=_trail(root, build, "A sample"),
        build=build,
        region=region,
        image=content_of(region.record.image_with_bbox) or _NO_IMAGE if region else _NO_IMAGE,
        drawn=drawn,
        estimate=estimate,
        told=sample_told(estimate),
        writing=writing,
    )


def _here(root: str, build: SeenBuild) -> str:
    return f"{root}/dates/{build.date}/builds/{build.manifest.build_id}"


def _trail(root: str, build: SeenBuild, name: str) -> list[tuple[str, str | None]]:
    return [(_HOME, f"{root}/"), (build.date, _here(root, build)), (name, None)]


def _cards(found: Found, seen: Seen | None) -> Iterator[Card]:
    """Records with their images' names; one that names none of the build's gets a name that none has."""
    for record, place in zip(found.records, found.places, strict=True):
        sha256 = record.image_sha256
        yield Card(
            record,
            place,
            content_of(record.image_with_bbox) or _NO_IMAGE,
            [(region, seen.region(sha256, region.bbox) if seen else None) for region in record.regions],
            seen.record(sha256, record.bbox) if seen else None,
            seen.left_out(sha256, [region.bbox for region in record.regions]) if seen else (),
        )


def _said_of(row: Rejected, seen: Seen | None) -> Said | None:
    """What was said of a rejected row: of the row, or of one of its regions."""
    known = known_row(row)
    if known is None or seen is None:
        return None
    regions = (seen.region(known.image_sha256, box) for box in known.regions.values())
    return next(filter(None, [seen.record(known.image_sha256, known.boxes), *regions]), None)


def _text_of(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, indent=1)


def _builds(build: SeenBuild) -> Iterator[dict[str, Any]]:
    """The builds of a date: what each is, whether it has a page beside this one, and whether one can go back to it."""
    manifest, published = build.manifest, build.published

    def told(build_id: str, created_at: str, standing: Standing, until: str | None = None) -> dict[str, Any]:
        known = is_build_id(build_id)
        return {
            "build_id": build_id,
            "created_at": created_at,
            "standing": _STANDINGS[standing],
            "until": until,
            "led_to": known and build_id != manifest.build_id,
            "kept": known and until is not None,
        }

    if build.standing == "unpublished":
        yield told(manifest.build_id, manifest.created_at, "unpublished")
    if published is not None:
        yield told(published.build_id, published.created_at, "current")
        for earlier in published.history:
            standing: Standing = "withdrawn" if earlier.withdrawn else "earlier"
            yield told(earlier.build_id, earlier.created_at, standing, earlier.current_until)


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


def _missing(days: Sequence[str]) -> _Missing | None:
    """The dates between the first and the last of these that are none of them."""
    known = sorted(filter(None, map(_day, days)))
    if not known:
        return None
    days_between = (known[-1] - known[0]).days
    there = set(known)
    between = (known[0] + timedelta(days=number) for number in range(days_between))
    some = islice((day.isoformat() for day in between if day not in there), _SOME_MISSING)
    first, last = known[0].isoformat(), known[-1].isoformat()
    return _Missing(first, last, days_between + 1 - len(there), list(some))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # a folder can have a name that is no day, as 2026-02-30
        return None


def _trends(rows: Sequence[PublishedDate]) -> Iterator[_Trend]:
    """What can be seen of dates side by side, where there are some."""
    earliest_first = [(row.date, row.manifest, row.report) for row in reversed(rows) if row.manifest]
    if len(earliest_first) < 2:
        return
    shares: dict[tuple[str, str], list[tuple[str, float | None]]] = {
        ("Rejected rows", "bad"): [
            (day, manifest.counts.rejected / manifest.counts.rows if manifest.counts.rows else None)
            for day, manifest, _ in earliest_first
        ],
        ("Records with a warning", "warned"): [
            (day, report.quality.warning_rate if report else None) for day, _, report in earliest_first
        ],
        ("Captions wrong, by estimate", "bar"): [
            (day, manifest.judged.share if manifest.judged else None) for day, manifest, _ in earliest_first
        ],
    }
    for (title, style), known in shares.items():
        if any(share is not None for _, share in known):
            yield _Trend(title, style, known)


def _day_told(row: PublishedDate) -> _DayTold:
    if row.manifest is None:
        return _DayTold("broken", row.problem or "nothing is published here")
    counts = row.manifest.counts
    told = f"{counts.captioned:,} records, {counts.rejected:,} rejected rows"
    return _DayTold("some" if counts.rejected else "good", told)
