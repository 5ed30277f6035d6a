"""`validate`: take the answers apart, put them through the gates, make records of what passes."""

import time
from collections.abc import Sequence

from regioncap.ask.attempts import Attempts, follow_attempts, mark_colours
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
from regioncap.regions.records import Record, RegionCaption, Rejected, RenderedRow
from regioncap.storage.store import Store
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard


def validate_shard(*, work: Store, shard_id: str, plan: Plan) -> tuple[int, int]:
    """Returns how many rows became records and how many are rejected. `work` is rooted at the build's date.

    Raises StepMissingError where a request has no answer yet, and UnforeseenError where RegionCap itself seems to be
    at fault.
    """
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    rendered = shard.rendered()
    completions = load_completions(shard.shared, layout.ANSWERS)
    records: list[Record] = []
    rejected: list[Rejected] = []
    unforeseen_rows = UnforeseenRows()
    for row in rendered.rows:
        all_attempts: list[Attempts] = []
        try:
            all_attempts += (follow_attempts(row, regions, plan, completions) for regions in asked_together(row, plan))
            if any(attempts.request is not None for attempts in all_attempts):
                raise StepMissingError(f"row {row.id} has no answer yet: {shard.clear('caption')}")
            records.append(make_record(row, all_attempts, plan))
        except Exception as error:
            row_error = error if isinstance(error, RowError) else unforeseen(error, named(row))
            texts = "\n".join(completion.text for attempts in all_attempts for completion in attempts.used)
            echoed = {"image": row.image, "bbox": row.bbox, "answer": texts[:2000]}
            rejected.append(reject(row, row_error, row.id, echoed))
            unforeseen_rows.note(rejected[-1])
    unforeseen_rows.check(len(records) + len(rejected))
    seconds = round(time.monotonic() - started, 3)
    shard.write_validated(records, rejected, inputs=rendered.inputs, seconds=seconds)
    return len(records), len(rejected)


def make_record(row: RenderedRow, all_attempts: Sequence[Attempts], plan: Plan) -> Record:
    """The record of a row and of what came of asking about its regions. Raises RowError where some have no caption."""
    settings = plan.settings
    captions: dict[int, str] = {}
    for attempts in all_attempts:
        if attempts.error is not None:
            raise attempts.error
        captions |= attempts.captions
    texts = [without_thoughts(completion.text) for attempts in all_attempts for completion in attempts.used]
    own_text = settings.answer_format == "free_text" and settings.caption_mode == "joint" and len(texts) == 1
    answer = texts[0] if own_text else answer_lines(captions)
    prompt = user_prompt(settings.prompt_template, len(row.regions))
    # About the captions together, whatever answers they came from. What rejects has seen each of these answers before;
    # but asked about one by one, regions tell only now that each talks of its own number.
    language, colours = settings.prompt_language, mark_colours(row, plan)
    outside = parse_answer(answer, settings.answer_format, sorted(captions)).outside if own_text else ""
    parsed = ParsedAnswer(captions, outside=outside)
    taken = Answer(answer, "stop", parsed, sorted(captions), language, (prompt,), colours)
    warned = [
        finding.gate.code
        for finding in run_gates(taken)
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
        width=row.width,
        height=row.height,
        regions=[
            RegionCaption(
                **region.model_dump(),
                caption=captions[region.region],
                label=row.labels[region.box_index] if row.labels else None,
            )
            for region in row.regions
        ],
        dropped_boxes=row.dropped_boxes,
        attempts=max(len(attempts.used) for attempts in all_attempts),
        checks=[str(code) for code in dict.fromkeys([*row.warnings, *warned])],
        source=row.source,
    )
