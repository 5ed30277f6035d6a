"""A preview: what a run makes of some rows of a drop, on a page of its own, which no partition and no reader knows.

The page has the date's preview before it beside it, so that settings can be compared.
"""

from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict

from regioncap.errors import NotFoundError
from regioncap.marks.view import content_name
from regioncap.regions.records import Record, Rejected
from regioncap.report.trial import Tried, TriedRow, render_trial
from regioncap.steps.trial import gather
from regioncap.storage.readback import informing
from regioncap.storage.store import Store
from regioncap.trust.estimate import Judged
from regioncap.warehouse.layout import PREVIEW_PAGE, content_of, preview_path
from regioncap.work.plan import Plan

# What the page says, for the next one.
_KEPT = "preview.json"
_NAME, _BEFORE = "this preview", "the preview before"


class _KeptRow(BaseModel):
    """A row: its record, or why it is none."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    manifest: str
    line: int
    record: Record | None
    rejected: Rejected | None
    tokens: tuple[int, int]
    seconds: float


class _Kept(BaseModel):
    """A preview."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    params: dict[str, Any]
    rows: list[_KeptRow]
    seconds: float
    judged: Judged | None
    warnings: list[str]


def write_preview(*, plan: Plan, work: Store, warehouse: Store) -> tuple[str, dict[str, int]]:
    """Write the page of a plan that has some of the drop's rows, with its marked images, and nothing else.

    `work` is rooted at the build's date. Returns where it lies, and how many rows became records and were rejected.
    Raises StepMissingError where a shard is not done.
    """
    tried = gather(work, plan, _NAME)
    place = warehouse.sub(preview_path(plan.date, plan.plan_id))
    before = _before(warehouse.sub(preview_path(plan.date, "")), plan)
    shown = [tried, before] if before is not None else [tried]
    for one in shown:
        for row in one.rows.values():
            if row.record is not None and row.jpeg is not None:
                place.write(row.picture, row.jpeg)
    place.write(PREVIEW_PAGE, render_trial(plan.drop_uri, plan.model, shown, [], 0.0).encode())
    place.write(_KEPT, _kept(tried).model_dump_json().encode())
    records = len(tried.records)
    return place.uri, {"records": records, "rejected": len(tried.rows) - records}


def _kept(tried: Tried) -> _Kept:
    return _Kept(
        params=dict(tried.params),
        rows=[
            _KeptRow(
                manifest=manifest,
                line=line,
                record=row.record,
                rejected=row.outcome if isinstance(row.outcome, Rejected) else None,
                tokens=row.tokens,
                seconds=row.seconds,
            )
            for (manifest, line), row in tried.rows.items()
        ],
        seconds=tried.seconds,
        judged=tried.judged,
        warnings=tried.warnings,
    )


def _before(previews: Store, plan: Plan) -> Tried | None:
    """The date's last preview of another plan; None where there is none, or it is not whole any more."""
    written: dict[str, float] = {}
    for name in previews.folders():
        with suppress(NotFoundError):  # it is of a version that kept none, or is just being deleted
            written[name] = previews.stat(f"{name}/{_KEPT}").modified
    written.pop(plan.plan_id, None)
    if not written:
        return None
    last = previews.sub(max(written, key=lambda name: (written[name], name)))
    kept = informing(last, _KEPT, _Kept)
    if kept is None or not kept.params.keys() >= plan.settings.model_dump().keys():
        return None
    rows: dict[tuple[str, int], TriedRow] = {}
    for row in kept.rows:
        jpeg = _marked(last, row.record) if row.record else None
        outcome = row.record or row.rejected
        if outcome is None or (row.record is not None and jpeg is None):
            return None
        rows[row.manifest, row.line] = TriedRow(outcome, jpeg, row.tokens, row.seconds)
    return Tried(_BEFORE, kept.params, rows, kept.seconds, judged=kept.judged, warnings=kept.warnings)


def _marked(preview: Store, record: Record) -> bytes | None:
    """A record's marked image; None where it is not there as it was."""
    name = content_of(record.image_with_bbox)
    if name is None or "/" in record.image_with_bbox.removeprefix("images/"):
        return None
    try:
        jpeg = preview.read(record.image_with_bbox)
    except NotFoundError:
        return None
    return jpeg if content_name(jpeg) == name else None
