"""Names and places of everything a build writes.

<work_uri>/dt=<date>/
    _claim.json                     who builds this date, under which number
    plans/<plan>/plan.json          settings, counts, shards; <plan> is a hash of all that it says
    plans/<plan>/rejected.jsonl     rows that `plan` rejected
    plans/<plan>/lineage.parquet    which row is in which shard
    corrections/<hash>.jsonl        what people have corrected, as plans read it
    plans/<plan>/begun.json         the build that the plan's shards put their marked images into
    plans/<plan>/staged.json        a build that is written, and waits for somebody's approval
    plans/<plan>/shards/<shard>/    what this plan's steps made of a shard, and nobody else's
        earlier/                    what earlier plans left in folders of this name about this shard's images
        proposed.jsonl              which request was about which row without boxes ...
        propose.json                ... and its receipt
        rendering/*.jsonl           rows that `render` has marked so far, until it is done
        rendered.jsonl              what `render` did with each row ...
        render_rejected.jsonl
        render.json                 ... and its receipt
        caption.json                how many questions there were, and how long they took
        scored.json                 what `judge` made of the listener's answers ...
        judge.json                  ... and its receipt
        records.jsonl               what `validate` made of the answers ...
        validate_rejected.jsonl
        validate.json               ... and its receipt
        exports/<format>/<hash>.*   the shard's own files of exports that hold images ...
        exports.json                ... and which they are; of other exports, how the images that lie beside are called
        statistics.json             what the report counts of the records ...
        stage.json                  ... and the receipt of staging: which marked images are in which build
    forgetting/                     parts of exports, while a build is made anew without a forgotten image
    served/*.json                   of which model answers are, as its servers tell: see `work/served.py`
    spent/<build>.json              how many requests and tokens a build has taken, where a run bounds them
    shards/<shard>/                 what all plans with these rows share; all of it is named by what is in it
        rows.jsonl                  rows to do; <shard> is a hash of this file
        versions/<hash>.json        the versions of the rows' images, as a plan has listed them
        proposals/*.jsonl           raw answers to where things are, for rows without boxes
        images/*.jpg                marked images and crops, images without marks for the listener; named by their
                                    content's hash
        answers/*.jsonl             raw answers, in small parts, named by time and by a hash of what is in them
        judged/*.jsonl              the listener's answers, likewise
<warehouse_uri>/dt=<date>/
    _manifest.json                  the commit point
    _corrections/*.jsonl            what people have corrected: never rewritten by a run
    build=<id>/manifest.json        what _manifest.json says of this build, for a roll-back
    build=<id>/...
"""

CLAIM = "_claim.json"

FORGETTING = "forgetting/"

ROWS = "rows.jsonl"
PROPOSALS = "proposals/"
ANSWERS = "answers/"
JUDGED = "judged/"

PROPOSED = "proposed.jsonl"
RENDERING = "rendering/"
RENDERED = "rendered.jsonl"
RENDER_REJECTED = "render_rejected.jsonl"
CAPTION_COUNTS = "caption.json"
SCORED = "scored.json"
FIRST_SCORED = "first_scored.json"
RECORDS = "records.jsonl"
VALIDATE_REJECTED = "validate_rejected.jsonl"
STATISTICS = "statistics.json"
EXPORTED = "exports.json"
EXPORTS = "exports/"

# Receipts, by the step that writes them last.
RECEIPTS = {
    "propose": "propose.json",
    "render": "render.json",
    "judge": "judge.json",
    "validate": "validate.json",
    "stage": "stage.json",
}


def spent_path(build: str) -> str:
    """Relative to the partition's work area."""
    return f"spent/{build}.json"


def served_path(name: str) -> str:
    """Relative to the partition's work area."""
    return f"served/{name}.json"


def plan_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/plan.json"


def plan_rejected_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/rejected.jsonl"


def corrections_path(digest: str) -> str:
    """Relative to the partition's work area."""
    return f"corrections/{digest}.jsonl"


def begun_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/begun.json"


def staged_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/staged.json"


def row_index_path(plan_id: str) -> str:
    """Relative to the partition's work area."""
    return f"plans/{plan_id}/lineage.parquet"


def plan_shard_path(plan_id: str, shard_id: str) -> str:
    """Where a plan's steps write what they make of a shard; relative to the partition's work area."""
    return f"plans/{plan_id}/shards/{shard_id}/"


def shard_path(shard_id: str) -> str:
    """What plans share of a shard; relative to the partition's work area."""
    return f"shards/{shard_id}/"


def earlier_path(folder: str) -> str:
    """Where a plan's shard has the answers that earlier plans left in this folder; relative to the plan's shard."""
    return f"earlier/{folder}"


def versions_path(digest: str) -> str:
    """Relative to what plans share of a shard."""
    return f"versions/{digest}.json"
