"""The same rows of a drop under several sets of settings, by the steps themselves: in a local folder, and on a VLM."""

import time
from collections.abc import Callable, Mapping, Sequence

from regioncap.ask.attempts import follow_attempts
from regioncap.ask.requests import asked_together
from regioncap.config.settings import BuildSettings
from regioncap.drop.elsewhere import Images
from regioncap.errors import BoxFormatError, DropError
from regioncap.regions.records import Record, Rejected
from regioncap.report.trial import MarksRead, Place, Tried, TriedRow
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.propose import propose_shard
from regioncap.steps.reading import read_marks
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.store import Store
from regioncap.trust.estimate import Judged, estimate
from regioncap.vlm.endpoint import Vlm
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.counts import load_counts
from regioncap.work.plan import Plan
from regioncap.work.shard import JudgedShard, Shard, Validated, parse_lines, plan_rejected, read_marked

# A plan is about a date, and the folder need not have the name of one.
_DATE = "1970-01-01"


def try_settings(
    drop: Store,
    images: Images,
    place: Store,
    sets: Mapping[str, BuildSettings],
    vlm: Vlm,
    *,
    progress: Callable[[int, int | None], None],
) -> tuple[list[Tried], list[MarksRead], float]:
    """Build the sampled rows of the drop under each of the sets, which are known by their names.

    Nothing is written but into `place`, an empty folder. Returns what came of each set; how well the model reads marks,
    as the first set that has captions shows it; and the share of these that guessing would read right. `progress` gets
    (images asked about, images in all) of a set.
    Raises what the steps raise, but for what only one set of settings is to blame for.
    """
    tried: list[Tried] = []
    marks: list[MarksRead] = []
    guessed = 0.0
    for number, (name, settings) in enumerate(sets.items()):
        # Each asks for itself: what another has asked would cost this one nothing.
        work = place.sub(f"set-{number}")
        one = Tried(name, settings.model_dump(mode="json"))
        tried.append(one)
        try:
            plan = plan_build(
                date=_DATE, drop=drop, work=work.sub("work"), partition=work.sub("partition"), settings=settings,
                model=vlm.model, run_id="try", progress=lambda rows: None, images=images,
            )  # fmt: skip
            tried[-1] = one = _build(images, work.sub("work"), plan, vlm, name, progress)
        except (BoxFormatError, DropError) as error:
            one.stops = str(error)
            continue
        if not marks:
            rows = [row for shard_id in plan.shards for row in Shard(work.sub("work"), plan, shard_id).rendered().rows]
            marks, guessed = read_marks(images, work.sub("marks"), plan, rows, one.records, vlm)
    return tried, marks, guessed


def _build(
    images: Images, work: Store, plan: Plan, vlm: Vlm, name: str, progress: Callable[[int, int | None], None]
) -> Tried:
    """Build the rows of a plan."""
    seconds = 0.0
    for shard_id in plan.shards:
        started = time.monotonic()
        if shard_id in plan.shards_to_propose:
            propose_shard(drop=images, work=work, shard_id=shard_id, plan=plan, vlm=vlm, progress=lambda asking: None)
        render_shard(drop=images, work=work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
        caption_shard(
            work=work,
            shard_id=shard_id,
            plan=plan,
            vlm=vlm,
            progress=lambda asking: progress(asking.done, asking.questions),
        )
        judge_shard(work=work, shard_id=shard_id, plan=plan, vlm=vlm, judge=vlm, progress=lambda asking: None)
        validate_shard(work=work, shard_id=shard_id, plan=plan)
        seconds += time.monotonic() - started
    tried = gather(work, plan, name)
    tried.seconds = seconds
    return tried


def gather(work: Store, plan: Plan, name: str) -> Tried:
    """What became of a plan's rows, of which there are few, under this name. `work` is rooted at the build's date.

    Raises StepMissingError where a shard is not done.
    """
    tried = Tried(name, plan.settings.model_dump(mode="json"), warnings=list(plan.warnings))
    rejected = _rejected(plan_rejected(work, plan))
    rows = {(row.manifest, row.line): TriedRow(row) for row in rejected}
    judged: list[JudgedShard] = []
    for shard_id in plan.shards:
        shard = Shard(work, plan, shard_id)
        counts = load_counts(shard.own)
        tried.seconds += counts.seconds if counts else 0.0
        if counts and counts.schema_ignored:
            tried.warnings.append("the server ignores JSON schemas: answers were taken apart as free text")
        validated = shard.validated()
        judged += [validated.judged] if validated.judged else []
        rows |= _rows(shard, plan, validated)
    tried.rows = dict(sorted(rows.items()))
    tried.judged = _judged(plan, judged, sum(len(record.regions) for record in tried.records))
    return tried


def _judged(plan: Plan, shards: Sequence[JudgedShard], regions: int) -> Judged | None:
    """What the listener makes of so many captions; None where nobody was to ask it."""
    if not shards:
        return None
    receipts = [shard.receipt for shard in shards]
    judged = estimate(
        [score for shard in shards for score in shard.first],
        regions=regions,
        asked=sum(receipt.heard for receipt in receipts),
        how="all" if plan.judge_share == 1.0 else "sample",
        judge=plan.judge,
        same_model=plan.judge == plan.model,
    )
    why = next((each for receipt in receipts for each in (receipt.reason, receipt.limited) if each), judged.reason)
    return judged if judged.share is not None else judged.model_copy(update={"reason": why})


def _rows(shard: Shard, plan: Plan, validated: Validated) -> dict[Place, TriedRow]:
    """What became of a shard's rows."""
    records = {record.id: record for record in parse_lines(validated.records, Record, "records", "")}
    rejected = {row.id: row for data in validated.rejected.values() for row in _rejected(data)}
    completions = load_completions(shard.shared, layout.ANSWERS)
    rows: dict[Place, TriedRow] = {}
    for row in shard.rendered().rows:
        used = [
            completion
            for regions in asked_together(row, plan)
            for completion in follow_attempts(row, regions, plan, completions).used
        ]
        rows[row.manifest, row.line] = TriedRow(
            records[row.id] if row.id in records else rejected.pop(row.id),
            read_marked(shard.shared, image_path(row.marked)),
            (sum(each.prompt_tokens for each in used), sum(each.completion_tokens for each in used)),
            sum(each.seconds for each in used),
        )
    return rows | {(row.manifest, row.line): TriedRow(row) for row in rejected.values()}


def _rejected(data: bytes) -> list[Rejected]:
    return list(parse_lines(data, Rejected, "rejected rows", "try the drop again"))
