"""Names and places of everything a build writes.

<work_uri>/dt=<date>/
    _claim.json                     who builds this date, under which number
    plans/<plan>/plan.json          settings, counts, shards
    plans/<plan>/rejected.jsonl     rows that `plan` rejected
    plans/<plan>/lineage.parquet    which row is in which shard
    plans/<plan>/staged.json        a build that is written, and waits for somebody's approval
    shards/<shard>/rows.jsonl       rows to do; <shard> is a hash of this file
    shards/<shard>/proposals/*.jsonl  raw answers to where things are, for rows without boxes
    shards/<shard>/images/*.jpg     marked images and crops, named by their content's hash
    shards/<shard>/rendered.jsonl   what `render` did with each row ...
    shards/<shard>/render_rejected.jsonl
    shards/<shard>/render.json      ... and how long it took
    shards/<shard>/answers/*.jsonl  raw answers, in small parts, named by time
    shards/<shard>/caption.json     how many questions there were, and how long they took
    shards/<shard>/records.jsonl    what `validate` made of them ...
    shards/<shard>/validate_rejected.jsonl
<warehouse_uri>/dt=<date>/
    _manifest.json                  the commit point
    build=<id>/manifest.json        what _manifest.json says of this build, for a roll-back
    build=<id>/...
"""

CLAIM = "_claim.json"

ROWS = "rows.jsonl"
RENDERED = "rendered.jsonl"
RENDER_REJECTED = "render_rejected.jsonl"
RENDER_COUNTS = "render.json"
PROPOSALS = "proposals/"
ANSWERS = "answers/"
CAPTION_COUNTS = "caption.json"
RECORDS = "records.jsonl"
VALIDATE_REJECTED = "validate_rejected.jsonl"


def plan_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/plan.json"


def plan_rejected_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/rejected.jsonl"


def staged_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/staged.json"


def row_index_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/lineage.parquet"


def shard_path(shard_id: str) -> str:
    """Relative to the partition's work area."""
    return f"shards/{shard_id}/"
