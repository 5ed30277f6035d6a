"""A preview: what a run makes of some rows of a drop, on a page of its own, which no partition and no reader knows."""

from regioncap.report.trial import render_trial
from regioncap.steps.trial import gather
from regioncap.storage.store import Store
from regioncap.warehouse.layout import PREVIEW_PAGE, preview_path
from regioncap.work.plan import Plan


def write_preview(*, plan: Plan, work: Store, warehouse: Store) -> tuple[str, dict[str, int]]:
    """Write the page of a plan that has some of the drop's rows, with its marked images, and nothing else.

    `work` is rooted at the build's date. Returns where it lies, and how many rows became records and were rejected.
    Raises StepMissingError where a shard is not done.
    """
    tried = gather(work, plan, "preview")
    place = warehouse.sub(preview_path(plan.date, plan.plan_id))
    for row in tried.rows.values():
        if row.record is not None and row.jpeg is not None:
            place.write(row.picture, row.jpeg)
    place.write(PREVIEW_PAGE, render_trial(plan.drop_uri, plan.model, [tried], [], 0.0).encode())
    records = len(tried.records)
    return place.uri, {"records": records, "rejected": len(tried.rows) - records}
