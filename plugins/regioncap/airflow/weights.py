"""Who goes first where several runs want the same slots."""

import re
from datetime import datetime

# By how a run's id starts. Airflow names the first three; the last one is given by `late.run_id`.
_RANKS = {"scheduled": 3, "manual": 2, "late": 1, "backfill": 0}
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2})?")
_EPOCH = datetime(2000, 1, 1)


def weight(run_id: str, depth: int) -> int:
    """The weight of a task in the run `run_id` that comes after `depth` others; the greatest goes first.

    Its digits say why, e.g. 3 07 764568: nightly runs (3) before those that somebody waits for (2), those that make up
    for late drops (1) and backfills (0); then tasks further down, so that what is begun gets done; then the run that is
    due longest. Runs of a backfill are alike in the last: their order is the order in which they start, which is the
    user's choice. The weight always fits into the 32 bits that Airflow has for it.
    """
    kind = run_id.split("__", 1)[0]
    rank = _RANKS.get(kind, _RANKS["manual"])
    age = 0 if kind == "backfill" else 999_999 - _hours(run_id)
    return rank * 100_000_000 + min(depth, 99) * 1_000_000 + age


def _hours(run_id: str) -> int:
    """The first moment in a run's id, in hours since 2000; the last there is, where the id has none."""
    moment = _MOMENT.search(run_id)
    try:
        since = datetime.fromisoformat(moment.group()) - _EPOCH if moment else None
    except ValueError:
        since = None
    return 999_999 if since is None else min(max(0, int(since.total_seconds()) // 3600), 999_999)
