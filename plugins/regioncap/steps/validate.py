"""`validate`: take the answers apart, put them through the gates, make records of what passes."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regioncap.ask.attempts import Attempts, follow_again, follow_attempts, mark_colours
from regioncap.ask.requests import asked_together
from regioncap.captions.answers import ParsedAnswer, answer_lines, parse_answer
from regioncap.captions.prompts import user_prompt
from regioncap.captions.thoughts import without_thoughts
from regioncap.drop.elsewhere import image_uri
from regioncap.drop.rows import reject
from regioncap.drop.unforeseen import UnforeseenRows, named, unforeseen
from regioncap.errors import RowError, StepMissingError
from regioncap.gates import Answer, run_gates
from regioncap.regions.codes import Code
from regioncap.regions.records import DroppedBoxNote, Record, RegionBox, RegionCaption, Rejected, RenderedRow
from regioncap.storage.store import Store
from regioncap.trust.scores import Scored
from regioncap.vlm.completion import Completion
from regioncap.warehouse.corrections import RowCorrections
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.identity import check_code
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard


def validate_shard(*, work: Store, shard_id: str, plan: Plan) -> tuple[int, int]:
    """Returns how many rows became records and how many are rejected. `work` is rooted at the build's date.

    Raises StepMissingError where a request has no answer yet, and UnforeseenError where RegionCap itself seems to be
    at fault.
    """
    check_code(plan)
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    rendered = shard.rendered()
    corrections = shard.corrections()
    completions = load_completions(shard.shared, layout.ANSWERS)
    judged = shard.judged()
    scores: defaultdict[str, dict[int, Scored]] = defaultdict(dict)
    for score in judged.scores if judged else ():
        if score.kind == "own":
            scores[score.image][score.region] = score
    records: list[Record] = []
    rejected: list[Rejected] = []
    unforeseen_rows = UnforeseenRows()
    for row in rendered.rows:
        all_attempts: list[Attempts] = []
        try:
            corrected = corrections.of_row(row, plan.settings.prompt_language)
            if corrected.no_record is not None:
                raise RowError(Code.REJECTED_BY_PERSON, corrected.no_record)
            all_attempts += (
                follow_attempts(row, regions, plan, completions, corrected.settled)
                for regions in asked_together(row, plan)
            )
            if any(attempts.request is not None for attempts in all_attempts):
                raise StepMissingError(f"row {row.id} has no answer yet: {shard.clear('caption')}")
            kept = _kept(row, all_attempts, plan, completions, scores.get(row.id, {}), corrected)
            records.append(make_record(row, all_attempts, plan, kept, corrected))
        except Exception as error:
            row_error = error if isinstance(error, RowError) else unforeseen(error, named(row))
            texts = "\n".join(completion.text for attempts in all_attempts for completion in attempts.used)
            echoed = {"image": row.image, "bbox": row.bbox, "answer": texts[:2000], "image_sha256": row.image_sha256}
            echoed["regions"] = [region.model_dump(include={"region", "bbox"}) for region in row.regions]
            rejected.append(reject(row, row_error, row.id, echoed))
            unforeseen_rows.note(rejected[-1])
    unforeseen_rows.check(len(records) + len(rejected))
    seconds = round(time.monotonic() - started, 3)
    shard.write_validated(
        records, rejected, inputs=rendered.inputs | (judged.inputs if judged else {}), seconds=seconds
    )
    return len(records), len(rejected)


@dataclass(frozen=True)
class _Kept:
    """What the model said of a row's regions, and which of them came of asking `again`, with all that was asked for it.

    Of regions that a person settled nothing is here. `scores` are those of captions that were judged, by region.
    """

    captions: Mapping[int, str]
    again: Mapping[int, Attempts]
    scores: Mapping[int, Scored]


def _kept(
    row: RenderedRow,
    all_attempts: Sequence[Attempts],
    plan: Plan,
    completions: Mapping[str, Completion],
    scores: Mapping[int, Scored],
    corrected: RowCorrections,
) -> _Kept:
    """Which captions of a row are kept, of those that were asked for: where they were judged, what was judged last.

    Raises RowError where some regions have none, and where a doubted one is to be rejected.
    """
    for attempts in all_attempts:
        if attempts.error is not None:
            raise attempts.error
    said = {region: caption for attempts in all_attempts for region, caption in attempts.captions.items()}
    captions = {region: caption for region, caption in said.items() if region not in corrected.settled}
    again: dict[int, Attempts] = {}
    for region in list(captions) if plan.settings.asks_again else ():
        asked = follow_again(row, region, plan, completions, all_attempts)
        if asked.used:
            again[region] = asked
        if region in scores and asked.captions.get(region) == scores[region].caption:
            captions[region] = scores[region].caption
    # Of a caption that came since, nothing is known.
    known = {region: score for region, score in scores.items() if captions.get(region) == score.caption}
    doubted = sorted(region for region, score in known.items() if score.doubted)
    if doubted and plan.settings.judge_again == "reject":
        raise RowError(Code.DOUBTED, _doubt(known[doubted[0]]))
    return _Kept(captions, again, known)


def _doubt(score: Scored) -> str:
    instead = f"region {score.confused_with}" if score.confused_with else "none of the regions"
    return f"by the caption of region {score.region}, the listener finds {instead}: {score.caption}"


def make_record(
    row: RenderedRow, all_attempts: Sequence[Attempts], plan: Plan, kept: _Kept, corrected: RowCorrections
) -> Record:
    """The record of a row, of what came of asking about its regions, and of what people have corrected.

    Raises RowError where no region is left.
    """
    settings = plan.settings
    said = dict(kept.captions)
    captions = said | corrected.captions
    if not captions:
        raise RowError(Code.REJECTED_BY_PERSON, "a person left out each of its regions")
    texts = [without_thoughts(completion.text) for attempts in all_attempts for completion in attempts.used]
    joint = settings.answer_format == "free_text" and settings.caption_mode != "per_region"
    as_first_said = not any(
        said[region] != caption
        for attempts in all_attempts
        for region, caption in attempts.captions.items()
        if region in said
    )
    own_text = joint and len(texts) == 1 and not corrected.settled and as_first_said
    answer = texts[0] if own_text else answer_lines(captions)
    prompt = user_prompt(settings.prompt_template, len(row.regions))
    # About the captions together, whatever answers they came from. What rejects has seen each of these answers before;
    # but asked about one by one, regions tell only now that each talks of its own number.
    language, colours = settings.prompt_language, mark_colours(row, plan)
    outside = parse_answer(answer, settings.answer_format, sorted(captions)).outside if own_text else ""
    # What a person says is not looked at: it was when it was entered.
    parsed = ParsedAnswer(said, outside=outside)
    answer_of_model = answer_lines(said) if corrected.settled else answer
    taken = Answer(answer_of_model, "stop", parsed, sorted(said), language, (prompt,), colours)
    warned = [
        finding.gate.code
        for finding in (run_gates(taken) if said else ())
        if finding.severity == "warn" or finding.gate.code == Code.MARK_TALK
    ]
    return Record(
        image=row.image,
        type=row.type,
        bbox=row.bbox,
        normalized_bbox=row.normalized_bbox,
        result_file=".",
        image_with_bbox=image_path(row.marked),
        valid_bboxes_num=len(row.regions),
        prompt=prompt,
        answer=answer,
        id=row.id,
        image_uri=image_uri(plan.images_uri or plan.drop_uri, row.image),
        image_sha256=row.image_sha256,
        perceptual_hash=row.perceptual_hash,
        width=row.width,
        height=row.height,
        regions=[
            _region(region, row, captions, kept, corrected) for region in row.regions if region.region in captions
        ],
        dropped_boxes=_dropped(row, corrected),
        attempts=max(1, *(_attempts(attempts, kept) for attempts in all_attempts)),
        checks=[str(code) for code in dict.fromkeys([*row.warnings, *warned])],
        corrected=bool(corrected.settled),
        source=row.source,
    )


def _region(
    region: RegionBox, row: RenderedRow, captions: Mapping[int, str], kept: _Kept, corrected: RowCorrections
) -> RegionCaption:
    score = kept.scores.get(region.region)
    return RegionCaption(
        **region.model_dump(),
        caption=captions[region.region],
        corrected=region.region in corrected.captions,
        trust=round(score.trust, 3) if score else None,
        confused_with=score.confused_with if score else None,
        label=row.labels[region.box_index] if row.labels else None,
    )


def _attempts(attempts: Attempts, kept: _Kept) -> int:
    """How often the model was asked for some regions: about them together, and again about the one that took most."""
    again = (len(kept.again[region].used) for region in attempts.captions if region in kept.again)
    return len(attempts.used) + max(again, default=0)


def _dropped(row: RenderedRow, corrected: RowCorrections) -> list[DroppedBoxNote]:
    """The boxes that are no regions, those that a person left out too, in the order of the boxes."""
    left_out = [
        DroppedBoxNote(box_index=region.box_index, code=Code.REJECTED_BY_PERSON)
        for region in row.regions
        if region.region in corrected.rejected
    ]
    return sorted([*row.dropped_boxes, *left_out], key=lambda box: box.box_index) if left_out else row.dropped_boxes
