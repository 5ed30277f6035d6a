"""Who gets the GPU slots while a backfill runs, a nightly run starts, and somebody triggers a run too.

    python -m bench.fairness [--json FILE] [--images 60] [--shard-size 12]

On the embedded stack with its real scheduler and vLLM, and a pool of two slots: a backfill over five dates is at work
when the scheduler starts the nightly run, and a manual run is triggered at the same moment. For every caption task:

- *waited*: from when it could start (its images are marked) until it got a slot of the pool;
- *passed by*: how many tasks of runs that should go after it got a slot while it waited.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.airflow import AirflowApi, backfill_request
from deploy.local.drops import upload_drop
from deploy.local.stack import DAG, run_stack

# Room for the stack to come up; the backfill has this long to fill the pool before the night.
_UNTIL_NIGHT = timedelta(minutes=5)
_HEAD_START = timedelta(seconds=75)
_DAYS = 5
# In the order in which they should go.
_KINDS = ("scheduled", "manual", "backfill")

console = Console(highlight=False)


@dataclass(frozen=True)
class Shard:
    """One caption task, in seconds since the nightly run was due."""

    kind: str
    day: str
    number: int
    ready: float
    slot: float
    end: float

    @property
    def waited(self) -> float:
        """For a slot."""
        return self.slot - self.ready


def passed_by(shard: Shard, shards: list[Shard]) -> int:
    """How many that should go after `shard` got a slot while it waited."""
    after = _KINDS[_KINDS.index(shard.kind) + 1 :]
    return sum(other.kind in after and shard.ready < other.slot < shard.slot for other in shards)


def main() -> None:
    """Runs for about ten minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--images", type=int, default=60, help="in each drop")
    parser.add_argument("--shard-size", type=int, default=12)
    arguments = parser.parse_args()
    night = datetime.now(UTC).replace(second=0, microsecond=0) + _UNTIL_NIGHT
    with tempfile.TemporaryDirectory(prefix="regioncap-fairness-") as folder:
        shards = measure(Path(folder), night, arguments.images, arguments.shard_size)
    figures = summary(shards)
    console.print(timeline(shards), by_kind(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def measure(folder: Path, night: datetime, images: int, shard_size: int) -> list[Shard]:
    """Run everything once; returns all caption tasks in the order in which they got their slots."""
    tonight = night.date() - timedelta(days=1)
    past = [tonight - timedelta(days=30 + number) for number in reversed(range(_DAYS))]
    by_hand = tonight - timedelta(days=60)
    conf = {"shard_size": shard_size}
    settings = {"REGIONCAP_SCHEDULE": f"{night.minute} {night.hour} * * *", "REGIONCAP_PARAMS": json.dumps(conf)}
    with run_stack(console.print, folder / "stack", settings=settings) as stack:
        api = stack.api
        for number, day in enumerate([*past, tonight, by_hand]):
            drop = folder / "drops" / day.isoformat()
            write_drop(drop, list(evaluation_rows(900 + number, images)))
            upload_drop(drop, stack.s3, "drops", day.isoformat())
        api.unpause(DAG)
        _wait_until(night - _HEAD_START)
        api.backfill(backfill_request(DAG, past[0].isoformat(), past[-1].isoformat(), {}))
        console.print(f"backfill of {past[0]} to {past[-1]} started")
        _wait_until(night)
        api.trigger(DAG, {}, partition_key=by_hand.isoformat())
        console.print("the night has come; a run is triggered by hand")
        wanted = {day.isoformat() for day in (*past, tonight, by_hand)}
        _wait(lambda: wanted <= _ended(api))
        return caption_tasks(api, night)


def _wait_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _wait(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(2.0)


def _ended(api: AirflowApi) -> set[str]:
    """The dates whose runs have ended."""
    return {run["partition_key"] for run in api.runs(DAG) if run["state"] in ("success", "failed")}


def caption_tasks(api: AirflowApi, night: datetime) -> list[Shard]:
    """All caption tasks that ran."""

    def seconds(moment: str) -> float:
        return (datetime.fromisoformat(moment) - night).total_seconds()

    shards = []
    for run in api.runs(DAG):
        for task in api.task_instances(DAG, run["dag_run_id"]):
            if task["task_id"] == "shard.caption" and task["end_date"] and task["queued_when"]:
                times = (seconds(task[name]) for name in ("scheduled_when", "queued_when", "end_date"))
                shards.append(Shard(run["run_type"], run["partition_key"], task["map_index"], *times))
    return sorted(shards, key=lambda shard: shard.slot)


def summary(shards: list[Shard]) -> dict[str, dict[str, float]]:
    """Figures for each kind of run."""
    figures = {}
    for kind in _KINDS:
        ours = [shard for shard in shards if shard.kind == kind]
        figures[kind] = {
            "shards": len(ours),
            "seconds_each": statistics.median(shard.end - shard.slot for shard in ours),
            "waited_median": statistics.median(shard.waited for shard in ours),
            "waited_longest": max(shard.waited for shard in ours),
            "passed_by": sum(passed_by(shard, shards) for shard in ours),
        }
    return figures


def timeline(shards: list[Shard]) -> Table:
    """Every task, in the order of slots."""
    table = Table(title="Slots of the pool in their order, in seconds from when the nightly run was due")
    for heading in ("slot at", "ready at", "until", "run", "date", "shard", "waited"):
        table.add_column(heading, justify="left" if heading in ("run", "date") else "right")
    styles = {"scheduled": "bold green", "manual": "yellow", "backfill": "dim"}
    for shard in shards:
        table.add_row(
            *(f"{moment:.0f}" for moment in (shard.slot, shard.ready, shard.end)),
            *(shard.kind, shard.day, str(shard.number), f"{shard.waited:.1f} s"),
            style=styles[shard.kind],
        )
    return table


def by_kind(figures: dict[str, dict[str, float]]) -> Table:
    """The figures as a table."""
    table = Table(title="By kind of run")
    for heading in ("run", "shards", "took each", "waited, median", "waited, longest", "passed by"):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for kind, row in figures.items():
        table.add_row(
            kind,
            f"{row['shards']:.0f}",
            *(f"{row[name]:.1f} s" for name in ("seconds_each", "waited_median", "waited_longest")),
            f"{row['passed_by']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
