"""`validate`: take the answers apart, put them through the gates, make records of what passes."""

from collections.abc import Mapping

from regioncap.builds import layout, shard
from regioncap.builds.asking import load_answers
from regioncap.builds.plan import Plan
from regioncap.builds.questions import Regions, row_questions
from regioncap.regions.answers import answer_lines, parse_answer
from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.gates import Answer, run_gates
from regioncap.regions.prompts import user_prompt
from regioncap.regions.records import Record, RegionCaption, Rejected, RenderedRow
from regioncap.regions.rows import reject
from regioncap.storage.store import Store
from regioncap.vlm.client import RawAnswer


def validate_shard(*, work: Store, shard_id: str, plan: Plan) -> tuple[int, int]:
    """Returns how many rows became records and how many are rejected. `work` is rooted at the build's date.

    Raises StepMissingError where a question has no answer yet.
    """
    place = work.sub(layout.shard_path(shard_id))
    answers = load_answers(place, layout.ANSWERS)
    records: list[Record] = []
    rejected: list[Rejected] = []
    for row in shard.rendered(place):
        asked = {regions: answers.get(question.key) for regions, question in row_questions(row, plan).items()}
        told = {regions: answer for regions, answer in asked.items() if answer is not None}
        if len(told) < len(asked):
            raise shard.StepMissingError(f"row {row.id} has no answer yet: clear the shard's caption task")
        try:
            records.append(make_record(row, told, plan))
        except RowFault as fault:
            texts = "\n".join(answer.text for answer in told.values())
            echoed = {"image": row.image, "bbox": row.bbox, "answer": texts[:2000]}
            rejected.append(reject(row, fault, row.id, echoed))
    shard.write_lines(place, layout.VALIDATE_REJECTED, rejected)
    shard.write_lines(place, layout.RECORDS, records)
    return len(records), len(rejected)


def make_record(row: RenderedRow, told: Mapping[Regions, RawAnswer], plan: Plan) -> Record:
    """The record of a row and the answers to its questions, by the regions that each is about.

    Raises RowFault with the code of the first gate that rejects.
    """
    settings = plan.settings
    captions: dict[int, str] = {}
    warned: list[Code] = list(row.warnings)
    for regions, raw in told.items():
        if raw.refused is not None:
            raise RowFault(Code.REQUEST_REFUSED, f"the VLM refused the request: {raw.refused}")
        parsed = parse_answer(raw.text, settings.answer_format, regions)
        for finding in run_gates(Answer(raw.text, raw.finish_reason, parsed, regions)):
            if finding.gate.severity == "reject":
                raise RowFault(finding.gate.code, finding.reason)
            warned.append(finding.gate.code)
        captions |= parsed.captions
    own_text = settings.answer_format == "free_text" and settings.caption_mode == "joint"
    return Record(
        image=row.image,
        type=row.type,
        bbox=row.bbox,
        normalized_bbox=row.normalized_bbox,
        result_file=".",
        image_with_bbox=layout.image_path(row.marked),
        valid_bboxes_num=len(row.regions),
        prompt=user_prompt(settings.prompt_template, len(row.regions)),
        answer="\n".join(raw.text.strip() for raw in told.values()) if own_text else answer_lines(captions),
        id=row.id,
        image_uri=f"{plan.drop_uri}/{row.image}",
        image_sha256=row.image_sha256,
        width=row.width,
        height=row.height,
        regions=[RegionCaption(**region.model_dump(), caption=captions[region.region]) for region in row.regions],
        dropped_boxes=row.dropped_boxes,
        attempts=1,
        checks=[str(code) for code in dict.fromkeys(warned)],
    )
