"""`report.json`: everything about a build that is not a record, gathered while its rows pass by."""

import hashlib
import heapq
import importlib.metadata
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

import regioncap
from regioncap.gates import all_gates
from regioncap.parallel import in_order
from regioncap.regions.codes import Code
from regioncap.regions.formats import doubts, together, weigh
from regioncap.regions.records import Record, Rejected
from regioncap.regions.served import Served
from regioncap.report.across import Across, AcrossBuild, PartAcross, unusual, with_examples
from regioncap.report.cost import Cost, cost_of
from regioncap.report.judged import to_be_warned_of
from regioncap.report.words import count_words
from regioncap.storage.readback import informing, no_newer_than
from regioncap.storage.store import Store
from regioncap.trust.estimate import Judged
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import Counts, Manifest
from regioncap.work import layout
from regioncap.work.counts import AskCounts, Spending, load_counts
from regioncap.work.plan import Plan
from regioncap.work.receipts import ProposeSummary, RenderSummary

# The form of `report.json` has a version of its own: it changes more often than what is published.
REPORT_VERSION = "2.1"

SCHEMA_IGNORED = (
    "the server ignored that answers were to be structured: they were read as free text, which fails more often; serve "
    "the model with a vLLM that has structured output, or set answer_format to free_text"
)
COUNTS_UNKNOWN = (
    "of {unknown} of {shards} shards it is not known what was asked, and whether answers could be structured: their "
    "caption.json is missing or cannot be read"
)

# What the page shows. At about 20 KB a photo it stays near 1.5 MB, however large the build is.
SAMPLED_RECORDS = 48
SAMPLED_DOUBTED = 16
SAMPLED_WARNED = 16
SAMPLED_PER_CODE = 8

# Small files of all shards, for which storage is waited.
_READS_AT_ONCE = 16
_LIBRARIES = ("pillow", "opencv-python-headless", "aiohttp")

Item = TypeVar("Item")


class _Model(BaseModel):
    # What is written has these fields only; of what is read, others are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


class GateCounts(_Model):
    """What a gate found in a build."""

    warned: int = Field(ge=0, description="Records that it warned of.", examples=[3])
    rejected: int = Field(ge=0, description="Rows that it rejected.", examples=[1])


class WrongCaptions(_Model):
    """How many of a build's captions are wrong, by estimate."""

    share: float = Field(ge=0, le=1, description="The estimated share of wrong captions.", examples=[0.021])
    low: float = Field(ge=0, le=1, description="The lower end of its 95 % interval.", examples=[0.009])
    high: float = Field(ge=0, le=1, description="The upper end.", examples=[0.044])
    questions: int = Field(ge=0, description="From how many questions.", examples=[1064])

    @classmethod
    def of(cls, judged: Judged | None) -> "WrongCaptions | None":
        """None where a build is not judged."""
        if judged is None or judged.share is None or judged.low is None or judged.high is None:
            return None
        return cls(share=judged.share, low=judged.low, high=judged.high, questions=judged.asked)


class Quality(_Model):
    """Figures to compare builds by, whatever their sizes: a later build that differs much is worth a look."""

    rejection_rate: float = Field(ge=0, le=1, description="Rejected rows, as a share of all rows.", examples=[0.1346])
    warning_rate: float = Field(
        ge=0, le=1, description="Records with at least one warning, as a share of all records.", examples=[0.0667]
    )
    regions_per_record: float = Field(ge=0, description="Described regions per record, mean.", examples=[4.2667])
    attempts_per_record: float = Field(
        ge=0, description="How often the model was asked for a record, mean.", examples=[1.0444]
    )
    caption_characters: float = Field(ge=0, description="Characters per caption, mean.", examples=[27.4219])
    caption_words: float = Field(
        ge=0,
        description="Words per caption, mean. In scripts without spaces (Chinese, Japanese) each character is one.",
        examples=[5.0],
    )
    gate_rates: dict[str, float] = Field(
        description="For each gate that found something: of how many answered rows (records, and rows that a gate "
        "rejected), as a share. A gate that is not listed found nothing.",
        examples=[{"same_text": 0.0652, "missing_region": 0.0217}],
    )
    look_alike_rate: float | None = Field(
        default=None,
        description="Images that look like an earlier one, as a share of all images. Null in earlier builds' reports, "
        "as the next two.",
        examples=[0.0222],
    )
    shared_caption_rate: float | None = Field(
        default=None,
        description="Records with a caption that many records share, as a share of all records.",
        examples=[0.0],
    )
    alike_caption_rate: float | None = Field(
        default=None,
        description="Captions that another region of the image has too, as a share of all captions.",
        examples=[0.0208],
    )
    wrong_captions: WrongCaptions | None = Field(
        default=None, description="How many captions are wrong, by estimate. Null where the build is not judged."
    )


class Distribution(_Model):
    """How often each value of a count occurs."""

    mean: float = Field(ge=0, description="The mean, 0 where there are none.", examples=[2.9231])
    smallest: int = Field(ge=0, description="The smallest value, 0 where there are none.", examples=[1])
    largest: int = Field(ge=0, description="The largest value, 0 where there are none.", examples=[10])
    counts: dict[str, int] = Field(
        description="For each value, in ascending order, how often it occurs.", examples=[{"1": 4, "2": 7, "10": 2}]
    )

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> "Distribution":
        """The distribution of values, given how often each occurs."""
        total = sum(counts.values())
        return cls(
            mean=_share(sum(value * times for value, times in counts.items()), total),
            smallest=min(counts, default=0),
            largest=max(counts, default=0),
            counts={str(value): times for value, times in sorted(counts.items())},
        )


class Timings(_Model):
    """What the build took."""

    questions: int = Field(
        ge=0,
        description="What the drop's rows ask: a question for each image, or with per_region for each region.",
        examples=[45],
    )
    kept: int = Field(
        ge=0, description="Questions that an earlier try of the same shard had an answer to.", examples=[0]
    )
    taken_over: int = Field(
        ge=0, description="Questions that the build published before had an answer to.", examples=[0]
    )
    asked: int = Field(ge=0, description="Requests that were sent, those that ask again included.", examples=[47])
    prompt_tokens: int = Field(ge=0, description="Tokens that the model read.", examples=[11872])
    completion_tokens: int = Field(ge=0, description="Tokens that the model wrote.", examples=[2313])
    rendering_seconds: float = Field(ge=0, description="Time that render tasks took, summed.", examples=[1.3])
    asking_seconds: float = Field(ge=0, description="Time that caption tasks took, summed.", examples=[19.2])
    publishing_seconds: float = Field(
        ge=0,
        description="Time that writing the build took, but for what the tasks of shards had put there before.",
        examples=[0.8],
    )
    schema_ignored: bool = Field(
        description="Whether the server ignored that answers were to be structured: they were read as free text.",
        examples=[False],
    )
    held_back: list[str] = Field(
        default_factory=list,
        description="What held asking back, and what to change, as sentences; that of most shards first.",
        examples=[
            [
                "Asking is held back by how many requests the server works on at once: 41% of an answer's time it "
                "waits in the queue. Start vLLM with more --max-num-seqs."
            ]
        ],
    )


class Report(_Model):
    """`report.json`: everything about a build that is not a record."""

    schema_version: Annotated[str, AfterValidator(no_newer_than(REPORT_VERSION))] = Field(
        default=REPORT_VERSION, description="The version of this file's form.", examples=[REPORT_VERSION]
    )
    partition: str = Field(description="The partition's folder, `dt=<date>`.", examples=["dt=2026-10-05"])
    build_id: str = Field(description="The build's unique id.", examples=["20261123T161543Z-024ffe44"])
    created_at: str = Field(description="When the build was made, in UTC.", examples=["2026-11-23T16:15:43+00:00"])
    drop_uri: str = Field(description="Where the images came from.", examples=["s3://drops/2026-10-05"])
    counts: Counts = Field(description="How many rows became what.")
    quality: Quality = Field(description="Figures to compare builds by.")
    judged: Judged | None = Field(
        default=None, description="How many captions are wrong, by estimate. Null where `judge` is `none`."
    )
    doubted_captions: int = Field(
        default=0, ge=0, description="Captions in records that the judge doubts.", examples=[3]
    )
    rejected_by_code: dict[str, int] = Field(
        description="Rejected rows by their code, most frequent first.", examples=[{"image_not_found": 4, "cut_off": 1}]
    )
    gates: dict[str, GateCounts] = Field(
        description="What each gate that found something found, most frequent first.",
        examples=[{"same_text": {"warned": 3, "rejected": 0}, "missing_region": {"warned": 0, "rejected": 1}}],
    )
    warnings: list[str] = Field(
        description="What is unusual about the build as a whole, as sentences.",
        examples=[["31.0% rejected rows; the last 7 builds had at most 4.2%"]],
    )
    warned_records: int = Field(ge=0, description="Records with at least one warning.", examples=[3])
    boxes: list[str] = Field(
        default_factory=list,
        description="What the given boxes' numbers say of their declared format, and what they cannot tell.",
        examples=[["100.0% of 192 given boxes fit their images as xywh."]],
    )
    across: AcrossBuild | None = Field(
        default=None,
        description="What is seen only when all rows lie side by side. Null in earlier builds' reports.",
    )
    dropped_boxes_by_code: dict[str, int] = Field(
        description="Given boxes that are not regions, by their code, most frequent first.", examples=[{"outside": 2}]
    )
    regions_per_image: Distribution = Field(description="Regions of a record.")
    words_per_caption: Distribution = Field(description="Words of a caption, counted as for `quality`.")
    attempts_per_record: Distribution = Field(description="How often the model was asked for a record.")
    timings: Timings = Field(description="Questions, requests, tokens and seconds that it took.")
    cost: Cost | None = Field(
        default=None,
        description="What asking for it took and cost. What was taken over from an earlier build cost nothing. Null in "
        "earlier builds' reports.",
    )
    model: str = Field(
        description="The model, by the name that its server gives it. `served` has what the server tells beyond it.",
        examples=["Qwen/Qwen2.5-VL-7B-Instruct"],
    )
    served: Served | None = Field(
        default=None,
        description="What the server told of the model, beyond its name: what it was loaded from, say. Null where it "
        "told nothing, and in earlier builds' reports.",
    )
    judge_served: Served | None = Field(
        default=None,
        description="Likewise of the model that judged the captions, where that has a connection of its own.",
    )
    settings: dict[str, Any] = Field(
        description="All settings of the run, by the names of its params; `prompt` is the one that was used.",
        examples=[{"temperature": 0.7, "seed": 42, "mark_style": "box"}],
    )
    versions: dict[str, str] = Field(
        description="Versions of RegionCap, Python and the libraries that shape what is published.",
        examples=[{"regioncap": "0.1.0", "python": "3.11.9", "pillow": "12.0.0"}],
    )


# An item of a sample without the item itself: the order it goes by, its hash, and its number.
Rank = tuple[float, int, int]


class Sample(Generic[Item]):
    """At most `size` of the items that pass by: those with the smallest hashes, a fair choice, the same each time.

    Items have numbers that go up as they pass by.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, int, Item]] = []

    def add(self, key: str, number: int, item: Item, order: float = 0.0) -> None:
        """Let an item pass by, known by `key`; of a smaller `order` it goes before others, whatever their hashes."""
        # 63 bits, which any JSON has room for.
        rank = -(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >> 1)
        self.join((-order, rank, number), item)

    def join(self, rank: Rank, item: Item) -> None:
        """Let an item pass by that has passed another sample, of which this is one of the `ranks`."""
        keep = heapq.heappush if len(self._heap) < self._size else heapq.heappushpop
        keep(self._heap, (*rank, item))

    @property
    def ranks(self) -> list[Rank]:
        """What is kept, for `join`."""
        return sorted(entry[:3] for entry in self._heap)

    def first(self, number: int) -> list[Item]:
        """The `number` items with the smallest hashes, by their order, and else as they passed."""
        kept = heapq.nlargest(number, self._heap, key=lambda entry: entry[:3])
        return [entry[3] for entry in sorted(kept, key=lambda entry: (-entry[0], entry[2]))]


@dataclass(frozen=True)
class Samples:
    """Rows to look at: records, doubted ones and those with warnings first, and rejected rows by their code."""

    doubted: list[Record]
    warned: list[Record]
    clean: list[Record]
    rejected: dict[str, list[Rejected]]


class PartStatistics(BaseModel):
    """What `Statistics` has gathered of some records, for another process. The records of samples are not in it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    across: PartAcross
    dropped_boxes_by_code: dict[str, int]
    checks: dict[str, int]
    regions_per_image: dict[int, int]
    words_per_caption: dict[int, int]
    attempts_per_record: dict[int, int]
    warned_records: int
    doubted_captions: int
    characters: int
    doubted: list[Rank]
    warned: list[Rank]
    clean: list[Rank]


class Statistics:
    """Gathers what the report says while records and rejected rows pass by once.

    Memory grows with them by what `across` says only.
    """

    def __init__(self) -> None:
        self.across = Across()
        self.rejected_by_code: Counter[str] = Counter()
        self.dropped_boxes_by_code: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()
        self.regions_per_image: Counter[int] = Counter()
        self.words_per_caption: Counter[int] = Counter()
        self.attempts_per_record: Counter[int] = Counter()
        self.warned_records = 0
        self.doubted_captions = 0
        self._characters = 0
        # A record is read again where it was another process that has seen it.
        self._doubted: Sample[Callable[[], Record]] = Sample(SAMPLED_DOUBTED)
        self._warned: Sample[Callable[[], Record]] = Sample(SAMPLED_WARNED)
        self._clean: Sample[Callable[[], Record]] = Sample(SAMPLED_RECORDS)
        self._rejected: dict[str, Sample[Rejected]] = {}

    def add(self, record: Record) -> None:
        """Count a record."""
        number = self.records
        self.across.add(record)
        self.regions_per_image[len(record.regions)] += 1
        self.attempts_per_record[record.attempts] += 1
        self.checks.update(record.checks)
        self.dropped_boxes_by_code.update(str(box.code) for box in record.dropped_boxes)
        self.words_per_caption.update(count_words(region.caption) for region in record.regions)
        self._characters += sum(len(region.caption) for region in record.regions)
        self.warned_records += bool(record.checks)
        doubted = [region.trust or 0.0 for region in record.regions if region.confused_with is not None]
        self.doubted_captions += len(doubted)
        if doubted:
            self._doubted.add(record.id, number, lambda: record, order=min(doubted))
        else:
            (self._warned if record.checks else self._clean).add(record.id, number, lambda: record)

    def part(self) -> PartStatistics:
        """What is gathered of records so far, for `join`."""
        return PartStatistics(
            across=self.across.part(),
            dropped_boxes_by_code=self.dropped_boxes_by_code,
            checks=self.checks,
            regions_per_image=self.regions_per_image,
            words_per_caption=self.words_per_caption,
            attempts_per_record=self.attempts_per_record,
            warned_records=self.warned_records,
            doubted_captions=self.doubted_captions,
            characters=self._characters,
            doubted=self._doubted.ranks,
            warned=self._warned.ranks,
            clean=self._clean.ranks,
        )

    def join(self, part: PartStatistics, read: Callable[[int], Record]) -> None:
        """Count records that another process has gathered; `read` gets the one of a place among them, from 0."""
        before = self.records
        self.across.join(part.across)
        for counts, theirs in (
            (self.dropped_boxes_by_code, part.dropped_boxes_by_code),
            (self.checks, part.checks),
            (self.regions_per_image, part.regions_per_image),
            (self.words_per_caption, part.words_per_caption),
            (self.attempts_per_record, part.attempts_per_record),
        ):
            counts.update(theirs)  # type: ignore[arg-type]
        self.warned_records += part.warned_records
        self.doubted_captions += part.doubted_captions
        self._characters += part.characters
        for sample, ranks in (
            (self._doubted, part.doubted),
            (self._warned, part.warned),
            (self._clean, part.clean),
        ):
            for order, rank, place in ranks:
                sample.join((order, rank, before + place), partial(read, place))

    def add_rejected(self, row: Rejected) -> None:
        """Count a rejected row."""
        number = self.rejected
        code = str(row.code)
        self.rejected_by_code[code] += 1
        sample = self._rejected.setdefault(code, Sample(SAMPLED_PER_CODE))
        sample.add(f"{row.manifest}:{row.line}", number, row)

    @property
    def records(self) -> int:
        """How many records there are so far."""
        return self.regions_per_image.total()

    @property
    def rejected(self) -> int:
        """How many rows are rejected so far."""
        return self.rejected_by_code.total()

    @property
    def counts(self) -> Counts:
        """How many rows became what."""
        return Counts(
            rows=self.records + self.rejected,
            captioned=self.records,
            rejected=self.rejected,
            regions=self.words_per_caption.total(),
        )

    @property
    def samples(self) -> Samples:
        """What the page shows; few records with doubts and warnings leave more room for others."""
        doubted, warned = self._doubted.first(SAMPLED_DOUBTED), self._warned.first(SAMPLED_WARNED)
        clean = self._clean.first(SAMPLED_RECORDS - len(doubted) - len(warned))
        return Samples(
            doubted=[read() for read in doubted],
            warned=[read() for read in warned],
            clean=[read() for read in clean],
            rejected={code: self._rejected[code].first(SAMPLED_PER_CODE) for code in _leading(self.rejected_by_code)},
        )

    def gates(self) -> dict[str, GateCounts]:
        """What each gate that found something found."""
        names = {str(gate.code) for gate in all_gates()}
        rejecting = Counter({code: rows for code, rows in self.rejected_by_code.items() if code in names})
        return {
            name: GateCounts(warned=self.checks[name], rejected=rejecting[name])
            for name in _leading(self.checks + rejecting)
        }

    def quality(self, judged: Judged | None = None) -> Quality:
        """The figures to compare builds by."""
        counts, gates, across = self.counts, self.gates(), self.across.found()
        answered = counts.captioned + sum(gate.rejected for gate in gates.values())
        return Quality(
            rejection_rate=_share(counts.rejected, counts.rows),
            warning_rate=_share(self.warned_records, counts.captioned),
            regions_per_record=_share(counts.regions, counts.captioned),
            attempts_per_record=Distribution.of(self.attempts_per_record).mean,
            caption_characters=_share(self._characters, counts.regions),
            caption_words=Distribution.of(self.words_per_caption).mean,
            gate_rates={name: _share(gate.warned + gate.rejected, answered) for name, gate in gates.items()},
            look_alike_rate=across.look_alike_rate,
            shared_caption_rate=across.sharing_rate,
            alike_caption_rate=across.alike_rate,
            wrong_captions=WrongCaptions.of(judged),
        )


def make_report(
    plan: Plan,
    work: Store,
    statistics: Statistics,
    rendered: Sequence[RenderSummary],
    *,
    read: Callable[[int], Record],
    build_id: str,
    started: datetime,
    drifted: Sequence[str],
    judged: Judged | None,
    judging: Sequence[Spending | None] = (),
    served: Served | None = None,
    judge_served: Served | None = None,
) -> Report:
    """The report of a build that was `started` to be written then, and that is `drifted` from earlier ones.

    `work` is rooted at the build's date; `read` gets the record of a place, from 0. `judging` is what `judge` has
    spent, shard by shard; `served` and `judge_served` what was told of captioner and judge.
    """
    found = statistics.across.found()
    across = with_examples(found, read)
    stores = _shard_stores(plan, work)
    by_shard = list(in_order(load_counts, stores, _READS_AT_ONCE))
    ask_counts = [item for item in by_shard if item is not None]
    captioning = [item.spent if item is not None else None for item in by_shard]
    boxes, box_warnings = told_by_boxes(rendered)
    warnings = [*to_be_warned_of(judged), *plan.warnings, *box_warnings, *unusual(found, across), *drifted]
    if any(item.schema_ignored for item in ask_counts):
        warnings.append(SCHEMA_IGNORED)
    warnings += told_of_one_colour(statistics.checks[Code.ONE_COLOUR])
    if unknown := len(stores) - len(ask_counts):
        warnings.append(COUNTS_UNKNOWN.format(unknown=unknown, shards=len(stores)))
    return Report(
        partition=partition_path(plan.date),
        build_id=build_id,
        created_at=started.isoformat(timespec="seconds"),
        drop_uri=plan.drop_uri,
        counts=statistics.counts,
        quality=statistics.quality(judged),
        judged=judged,
        doubted_captions=statistics.doubted_captions,
        rejected_by_code=_leading(statistics.rejected_by_code),
        gates=statistics.gates(),
        warnings=warnings,
        warned_records=statistics.warned_records,
        boxes=boxes,
        across=across,
        dropped_boxes_by_code=_leading(statistics.dropped_boxes_by_code),
        regions_per_image=Distribution.of(statistics.regions_per_image),
        words_per_caption=Distribution.of(statistics.words_per_caption),
        attempts_per_record=Distribution.of(statistics.attempts_per_record),
        timings=Timings(
            questions=sum(item.questions for item in ask_counts),
            kept=sum(item.kept for item in ask_counts),
            taken_over=sum(item.taken_over for item in ask_counts),
            asked=sum(item.asked for item in ask_counts),
            prompt_tokens=sum(item.prompt_tokens for item in ask_counts),
            completion_tokens=sum(item.completion_tokens for item in ask_counts),
            rendering_seconds=_seconds(item.seconds for item in rendered),
            asking_seconds=_seconds(item.seconds for item in ask_counts),
            publishing_seconds=_seconds([max(0.0, (datetime.now(UTC) - started).total_seconds())]),
            schema_ignored=any(item.schema_ignored for item in ask_counts),
            held_back=held_back(ask_counts),
        ),
        cost=cost_of([*captioning, *_proposing(plan, work), *judging], plan.prices, statistics.counts.regions),
        model=plan.model,
        served=served,
        judge_served=judge_served,
        settings=plan.settings.model_dump(mode="json") | {"prompt": plan.settings.prompt_template},
        versions={
            "regioncap": regioncap.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    )


def held_back(counts: Sequence[AskCounts]) -> list[str]:
    """What held asking back, in the sentences of most shards."""
    said = Counter(item.held_back for item in counts if item.held_back)
    return list(_leading(said))[:3]


def render_summaries(plan: Plan, work: Store) -> list[RenderSummary]:
    """What `render` left of the plan's shards; `work` is rooted at the build's date."""

    def summary(store: Store) -> RenderSummary | None:
        return informing(store, layout.RECEIPTS["render"], RenderSummary)

    return [item for item in in_order(summary, _shard_stores(plan, work), _READS_AT_ONCE) if item is not None]


def _proposing(plan: Plan, work: Store) -> list[Spending | None]:
    """What `propose` has spent."""

    def spent(shard_id: str) -> Spending | None:
        store = work.sub(layout.plan_shard_path(plan.plan_id, shard_id))
        summary = informing(store, layout.RECEIPTS["propose"], ProposeSummary)
        return summary.spent if summary is not None else None

    return list(in_order(spent, plan.shards_to_propose, _READS_AT_ONCE))


def _shard_stores(plan: Plan, work: Store) -> list[Store]:
    return [work.sub(layout.plan_shard_path(plan.plan_id, shard_id)) for shard_id in plan.shards]


def told_of_one_colour(images: int) -> list[str]:
    """What is to be warned of where so many images are of one colour all over."""
    if not images:
        return []
    return [
        f"{images:,} image{'s' * (images != 1)} came out all of one colour (`one_colour`): if there is something to be "
        "seen in the originals, they are damaged, or stored in a way that is not read right."
    ]


def told_by_boxes(rendered: Sequence[RenderSummary]) -> tuple[list[str], list[str]]:
    """What is to be told of the boxes' format, and what is to be warned of, of all shards."""
    whole = together(item.evidence for item in rendered)
    if whole is None:
        return [], []
    verdict = weigh(whole)
    declared = verdict.declared
    told = [f"{declared.fits:.1%} of {whole.boxes:,} given boxes fit their images as {declared.name}."]
    if verdict.alike:
        told.append(
            f"The boxes would fit as {' or '.join(item.name for item in verdict.alike)} as well, where they are other "
            "boxes: the numbers cannot tell. Look at some of the marked images."
        )
    if warnings := doubts(verdict):
        return told, warnings
    # Rows of one kind among many others.
    parts = [item.evidence for item in rendered if item.evidence is not None]
    of_shards = Counter(warning for part in parts for warning in doubts(weigh(part)))
    return told, [f"{warning} ({shards} of {len(parts)} shards)" for warning, shards in of_shards.most_common(3)]


def _leading(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, equal ones by name: the same whatever the order in which rows came."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _share(part: float, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _seconds(times: Iterable[float]) -> float:
    return round(sum(times), 1)


def load_report(partition: Store, published: Manifest) -> Report | None:
    """The report of a published build; None where it cannot be had, or is of a version that had another form."""
    return informing(partition, f"{published.build}/report.json", Report)


def recounted(
    report: Report, statistics: Statistics, *, read: Callable[[int], Record], build_id: str, judged: Judged | None
) -> Report:
    """The report of a build that has less than the one that `report` is of: what was counted is counted anew.

    What it took to make that build, and what was unusual about it, stays as it was.
    """
    return report.model_copy(
        update={
            "schema_version": REPORT_VERSION,
            "build_id": build_id,
            "counts": statistics.counts,
            "quality": statistics.quality(judged),
            "doubted_captions": statistics.doubted_captions,
            "rejected_by_code": _leading(statistics.rejected_by_code),
            "gates": statistics.gates(),
            "warned_records": statistics.warned_records,
            "across": with_examples(statistics.across.found(), read),
            "dropped_boxes_by_code": _leading(statistics.dropped_boxes_by_code),
            "regions_per_image": Distribution.of(statistics.regions_per_image),
            "words_per_caption": Distribution.of(statistics.words_per_caption),
            "attempts_per_record": Distribution.of(statistics.attempts_per_record),
        }
    )
