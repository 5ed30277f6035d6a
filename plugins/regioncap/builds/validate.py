"""`validate`: take the answers apart, put them through the gates, make records of what passes."""

from regioncap.builds import layout, shard
from regioncap.builds.caption import load_answers
from regioncap.builds.plan import Plan
from regioncap.builds.questions import row_question
from regioncap.regions.answers import answer_text, parse_answer
from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.gates import Answer, run_gates
from regioncap.regions.records import Record, RegionCaption, Rejected, RenderedRow
from regioncap.regions.rows import reject
from regioncap.storage.store import Store
from regioncap.vlm.client import RawAnswer


def validate_shard(*, work: Store, shard_id: str, plan: Plan) -> tuple[int, int]:
    """Returns how many rows became records and how many are rejected. `work` is rooted at the build's date.

    Raises StepMissingError where a question has no answer yet.
    """
    place = work.sub(layout.shard_path(shard_id))
    answers = load_answers(place)
    records: list[Record] = []
    rejected: list[Rejected] = []
    for row in shard.rendered(place):
        answer = answers.get(row_question(row, plan).key)
        if answer is None:
            raise shard.StepMissingError(f"row {row.id} has no answer yet: clear the shard's caption task")
        try:
            records.append(make_record(row, answer, plan))
        except RowFault as fault:
            echoed = {"image": row.image, "bbox": row.bbox, "answer": answer.text[:2000]}
            rejected.append(reject(row, fault, row.id, echoed))
    shard.write_lines(place, layout.VALIDATE_REJECTED, rejected)
    shard.write_lines(place, layout.RECORDS, records)
    return len(records), len(rejected)


def make_record(row: RenderedRow, raw: RawAnswer, plan: Plan) -> Record:
    """The record of a row and its answer. Raises RowFault with the code of the first gate that rejects."""
    if raw.refused is not None:
        raise RowFault(Code.REQUEST_REFUSED, f"the VLM refused the request: {raw.refused}")
    settings = plan.settings
    parsed = parse_answer(raw.text, settings.answer_format, len(row.regions))
    findings = run_gates(Answer(raw.text, raw.finish_reason, parsed, len(row.regions)))
    for finding in findings:
        if finding.gate.severity == "reject":
            raise RowFault(finding.gate.code, finding.reason)
    return Record(
        image=row.image,
        type=row.type,
        bbox=row.bbox,
        normalized_bbox=row.normalized_bbox,
        result_file=".",
        image_with_bbox=layout.image_path(row.marked),
        valid_bboxes_num=len(row.regions),
        prompt=row_question(row, plan).prompt,
        answer=answer_text(parsed, raw.text, settings.answer_format),
        id=row.id,
        image_uri=f"{plan.drop_uri}/{row.image}",
        image_sha256=row.image_sha256,
        width=row.width,
        height=row.height,
        regions=[
            RegionCaption(**region.model_dump(), caption=parsed.captions[region.region]) for region in row.regions
        ],
        dropped_boxes=row.dropped_boxes,
        attempts=1,
        checks=[str(code) for code in (*row.warnings, *(finding.gate.code for finding in findings))],
    )
