"""What a person looks at: `report.json`, `report.html` (a contact sheet and numbers) and the dataset card."""

import base64
import hashlib
import heapq
import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import jinja2
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from regioncap.builds.manifest import SCHEMA_VERSION, Counts
from regioncap.regions.marks.palette import colour_of, contrast
from regioncap.regions.records import Record, Rejected

# A page that a browser opens at once: at about 20 KB a picture this is 1 MB.
SAMPLED_RECORDS = 48
SAMPLED_REJECTED = 100
_THUMBNAIL = 420

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("regioncap.builds", "templates"),
    # Captions, paths and reasons come from models and drops: everything is escaped.
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Timings(BaseModel):
    """What the model was asked for this build."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: int = Field(description="Different questions that the drop's rows ask.")
    kept: int = Field(description="Questions that an earlier try of the same shard had an answer to.")
    taken_over: int = Field(description="Questions that the build published before had an answer to.")
    asked: int = Field(description="Questions that were sent.")
    prompt_tokens: int
    completion_tokens: int
    seconds: float = Field(description="Time that caption tasks spent asking, summed.")
    schema_ignored: bool = Field(description="Whether the server ignored that answers were to be structured.")


class Report(BaseModel):
    """`report.json`: everything about a build that is not a record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: str = SCHEMA_VERSION
    partition: str
    build_id: str
    created_at: str
    drop_uri: str
    counts: Counts
    rejected_by_code: dict[str, int]
    dropped_boxes_by_code: dict[str, int]
    checks: dict[str, int] = Field(description="How many records each gate warned of.")
    regions_per_image: dict[str, int] = Field(description="How many records have so many regions.")
    caption_words: dict[str, float] = Field(description="Words per caption: mean, smallest, largest.")
    timings: Timings
    model: str
    settings: dict[str, Any]
    versions: dict[str, str]


class Statistics:
    """Gathers what the report says while records and rejected rows pass by; memory does not grow with them."""

    def __init__(self) -> None:
        self.rejected_by_code: Counter[str] = Counter()
        self.dropped_boxes_by_code: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()
        self.regions_per_image: Counter[int] = Counter()
        self.records = 0
        self.regions = 0
        self.rejected = 0
        self.rejected_sample: list[Rejected] = []
        self._words = Counter[int]()
        self._sample: list[tuple[int, int, Record]] = []

    def add(self, record: Record) -> None:
        """Count a record."""
        self.records += 1
        self.regions += len(record.regions)
        self.regions_per_image[len(record.regions)] += 1
        self.checks.update(record.checks)
        self.dropped_boxes_by_code.update(str(box.code) for box in record.dropped_boxes)
        self._words.update(len(region.caption.split()) for region in record.regions)
        # The records with the smallest hashes: a fair sample that is the same each time.
        rank = -int.from_bytes(hashlib.sha256(record.id.encode()).digest()[:8])
        keep = heapq.heappush if len(self._sample) < SAMPLED_RECORDS else heapq.heappushpop
        keep(self._sample, (rank, self.records, record))

    def add_rejected(self, row: Rejected) -> None:
        """Count a rejected row."""
        self.rejected += 1
        self.rejected_by_code[str(row.code)] += 1
        if len(self.rejected_sample) < SAMPLED_REJECTED:
            self.rejected_sample.append(row)

    @property
    def sample(self) -> list[Record]:
        """The sampled records, in their order in the build."""
        return [record for _, _, record in sorted(self._sample, key=lambda item: item[1])]

    @property
    def counts(self) -> Counts:
        """How many rows became what."""
        return Counts(
            rows=self.records + self.rejected, captioned=self.records, rejected=self.rejected, regions=self.regions
        )

    def caption_words(self) -> dict[str, float]:
        """Mean, smallest and largest number of words in a caption."""
        total = self._words.total()
        if not total:
            return {"mean": 0.0, "min": 0, "max": 0}
        mean = sum(words * times for words, times in self._words.items()) / total
        return {"mean": round(mean, 2), "min": min(self._words), "max": max(self._words)}


def render_report(report: Report, statistics: Statistics, read_image: Callable[[str], bytes]) -> str:
    """`report.html`: one page that refers to nothing outside. `read_image` reads a record's `image_with_bbox`."""
    cards = [
        {
            "record": record,
            "picture": _thumbnail(read_image(record.image_with_bbox)),
            "captions": [
                {
                    "region": region,
                    "colour": _css(colour_of(region.region)),
                    "ink": _css(contrast(colour_of(region.region))),
                }
                for region in record.regions
            ],
        }
        for record in statistics.sample
    ]
    return _TEMPLATES.get_template("report.html").render(
        report=report, cards=cards, rejected=statistics.rejected_sample
    )


def render_card(report: Report) -> str:
    """The dataset card: Markdown with the metadata block that dataset hubs read."""
    return _TEMPLATES.get_template("card.md").render(report=report)


def _thumbnail(jpeg: bytes) -> str:
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _css(colour: tuple[int, int, int]) -> str:
    return f"rgb({colour[0]}, {colour[1]}, {colour[2]})"
