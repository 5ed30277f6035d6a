"""`report.html` and `check.html`: what a person looks at. One page without scripts that refers to nothing outside."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from regioncap.errors import StepMissingError
from regioncap.parallel import in_order
from regioncap.regions.records import Rejected, RenderedRow
from regioncap.report.cost import cost_told
from regioncap.report.figures import Report, Samples
from regioncap.report.html import templates
from regioncap.report.licences import licence_of

_THUMBNAIL = 420
# Reading waits for the bucket, and Pillow lets go of the interpreter.
_IMAGES_AT_ONCE = 8
_MOST_BARS = 16
# Of the rows that a check would reject for one code, so many are named.
_LISTED_PER_CODE = 50

_render = templates("regioncap.report")


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram: how many values there are from `low` to `high`; `high` is None where it is open."""

    low: int
    high: int | None
    count: int

    @property
    def label(self) -> str:
        """`3`, `10-14` or `60+`."""
        if self.high is None:
            return f"{self.low}+"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


def bars(counts: Mapping[str, int]) -> list[Bar]:
    """A histogram of values: a bar for each value, or for ranges of equal, round width where there are too many.

    The few values far above all others (1 in 100) share the last bar.
    """
    values = {int(value): count for value, count in counts.items()}
    if not values:
        return []
    low, high = min(values), max(values)
    usual = _quantile(values, 0.99)
    width = next(width for width in _round_widths() if usual // width - low // width < _MOST_BARS - 1)
    first, last = low // width, usual // width
    found = [0] * (last - first + 2)
    for value, count in values.items():
        found[min(value // width, last + 1) - first] += count
    steps = [Bar(step * width, step * width + width - 1, count) for step, count in enumerate(found[:-1], start=first)]
    return [*steps, Bar((last + 1) * width, None, found[-1])] if high // width > last else steps


def _quantile(values: Mapping[int, int], share: float) -> int:
    left = share * sum(values.values())
    for value, count in sorted(values.items()):
        left -= count
        if left <= 0:
            return value
    return max(values)


def _round_widths() -> Any:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def render_page(report: Report, samples: Samples, read_image: Callable[[str], bytes]) -> str:
    """The whole page. `read_image` reads a record's `image_with_bbox`, in several threads."""
    shown = [*samples.doubted, *samples.warned, *samples.clean]
    pictures = list(in_order(lambda record: _thumbnail(record.image_with_bbox, read_image), shown, _IMAGES_AT_ONCE))
    return _render(
        "report.html",
        report=report,
        cards=list(zip(shown, pictures, strict=True)),
        samples=samples,
        fates=_fates(report),
        histograms=_histograms(report),
        licence=licence_of(report.model),
        answer_of=_answer_of,
        cost=cost_told(report.cost, report.timings.taken_over) if report.cost else "",
    )


@dataclass(frozen=True)
class SheetRow:
    """A marked row of a contact sheet; `picture` is the path of its marked image beside the page."""

    row: RenderedRow
    picture: str
    jpeg: bytes


def render_sheet(
    drop_uri: str,
    counts: Mapping[str, int],
    stops: str | None,
    notes: Sequence[str],
    warnings: Sequence[str],
    rows: Sequence[SheetRow],
    rejected: Sequence[Rejected],
) -> str:
    """A page about a drop that was not built: what would become of its rows, and marked images to look at.

    `counts` are rows by what would become of them.
    """
    by_code: dict[str, list[Rejected]] = {}
    for row in rejected:
        by_code.setdefault(str(row.code), []).append(row)
    return _render(
        "check.html",
        drop_uri=drop_uri,
        counts=counts,
        stops=stops,
        notes=notes,
        warnings=warnings,
        cards=[(item.row, item.picture, embedded(item.picture, item.jpeg)) for item in rows],
        rejected=sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0])),
        listed=_LISTED_PER_CODE,
    )


@dataclass(frozen=True)
class _Fate:
    """What became of some of the rows; `style` is the class that colours it."""

    style: str
    name: str
    rows: int


def _fates(report: Report) -> list[_Fate]:
    by_gates = sum(gate.rejected for gate in report.gates.values())
    fates = [
        _Fate("good", "captioned", report.counts.captioned - report.warned_records),
        _Fate("warned", "captioned, with a warning", report.warned_records),
        _Fate("bad", "rejected for the answer", by_gates),
        _Fate("input", "rejected before there was an answer", report.counts.rejected - by_gates),
    ]
    return [fate for fate in fates if fate.rows]


def _histograms(report: Report) -> list[tuple[str, str, float, Sequence[Bar]]]:
    """Title, what is counted, mean, bars."""
    return [
        ("Regions per image", "records", report.regions_per_image.mean, bars(report.regions_per_image.counts)),
        ("Words per caption", "captions", report.words_per_caption.mean, bars(report.words_per_caption.counts)),
        ("Attempts per record", "records", report.attempts_per_record.mean, bars(report.attempts_per_record.counts)),
    ]


def _answer_of(row: Any) -> str:
    """What the model said of a rejected row, as far as it was asked."""
    answer = row.get("answer") if isinstance(row, dict) else None
    return answer if isinstance(answer, str) else ""


def _thumbnail(path: str, read_image: Callable[[str], bytes]) -> str:
    return embedded(path, read_image(path))


def embedded(path: str, jpeg: bytes) -> str:
    """A small copy of a marked image, as a URL that holds it."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            image.thumbnail((_THUMBNAIL, _THUMBNAIL))
            out = io.BytesIO()
            image.save(out, "JPEG", quality=80, optimize=True)
    except (OSError, SyntaxError) as error:  # what Pillow says of a file that is cut or none
        raise StepMissingError(
            f"the marked image {path} is damaged ({error}): clear the run's render tasks, so that it is written anew"
        ) from error
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
