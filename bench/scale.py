"""What a large drop costs before and around the work itself.

    python -m bench.scale [--json FILE] [--rows 1000000] [--images 5000] [--shard-size 512] [--only plan|airflow]

*Plan*: `plan` on a manifest of a tenth of the rows and of all of them, three boxes each, from and to a real bucket
(SeaweedFS): seconds, peak memory, shards. Each is run by a process of its own, so that peak memory is its own.

*Airflow*: a build on the embedded stack with its real scheduler, bucket and vLLM. A moment of the run in which any task
marks, captions, stages or publishes is work; every other one is overhead. The second table says what was going on in
those.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.render import peak_memory
from demo_model.drops import MANIFEST, evaluation_rows, write_drop
from deploy.local import bucket
from deploy.local.credentials import load_or_create
from deploy.local.drops import upload_drop
from deploy.local.stack import DAG, Stack, run_stack
from regioncap.config.settings import BuildSettings
from regioncap.drop.checking import processes_for
from regioncap.steps.plan import MAX_SHARDS, plan_build
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.layout import partition_path
from regioncap.work import layout

DATE = "2000-01-01"
# So many rows name the same picture, each with boxes of its own: pictures take long to make.
_ROWS_A_PICTURE = 20

console = Console(width=140)

Interval = tuple[float, float]


# --- plan ---


def write_manifest(path: Path, rows: int) -> None:
    """A manifest of `rows` rows with three boxes each."""
    with path.open("w", encoding="utf-8") as manifest:
        for row in range(rows):
            boxes = [[8 * box + row % 50, 10, 100 + row % 31, 80.5] for box in range(3)]
            manifest.write(f'{{"image": "images/{row // 1000:05d}/{row:09d}.jpg", "bbox": {json.dumps(boxes)}}}\n')


def measure_plan(rows: int, port: int, credentials: Path) -> dict[str, float]:
    """Plan the drop with so many rows."""
    s3 = bucket.client(port, load_or_create(credentials))
    started, before = time.perf_counter(), sum(os.times()[:4])
    plan = plan_build(
        date=DATE,
        drop=S3Store(s3, "drops", str(rows)),
        work=S3Store(s3, "warehouse", f"{rows}/work"),
        partition=S3Store(s3, "warehouse", f"{rows}/published"),
        settings=BuildSettings(drops_uri="s3://drops", warehouse_uri="s3://warehouse"),
        model="demo",
        run_id="bench",
        progress=lambda done: None,
    )
    seconds = time.perf_counter() - started
    assert plan.rows == rows
    others = processes_for(rows, 1)
    peak = peak_memory() + others * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    core_seconds = sum(os.times()[:4]) - before
    return {
        "rows": rows,
        "seconds": seconds,
        "core_seconds": core_seconds,
        "processes": 1 + others,
        "peak_mb": peak,
        "shards": len(plan.shards),
    }


def plans(rows: int) -> list[dict[str, float]]:
    """Plan a tenth of the rows, and all of them."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as name:
        folder, path = Path(name), Path(name, "credentials.json")
        credentials = load_or_create(path)
        with bucket.running(folder, credentials) as port:
            for part in (rows // 10, rows):
                write_manifest(folder / "manifest.jsonl", part)
                bucket.client(port, credentials).upload_file(
                    str(folder / "manifest.jsonl"), "drops", f"{part}/manifest.jsonl"
                )
                command = [sys.executable, "-m", "bench.scale", "--measure", str(part), str(port), str(path)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                figures.append(json.loads(done.stdout))
    return figures


def plan_table(figures: list[dict[str, float]]) -> Table:
    """The figures of `plans`."""
    table = Table(title="plan, from and to SeaweedFS", title_justify="left")
    for heading in ("rows", "seconds", "rows/s", "of a core, seconds", "processes", "peak MB, of all", "shards", "of"):
        table.add_column(heading, justify="right")
    for one in figures:
        table.add_row(
            f"{one['rows']:,}", f"{one['seconds']:.1f}", f"{one['rows'] / one['seconds']:,.0f}",
            f"{one['core_seconds']:.1f}", f"{one['processes']}", f"{one['peak_mb']:.0f}", f"{one['shards']:,}",
            f"{MAX_SHARDS:,}",
        )  # fmt: skip
    return table


# --- Airflow ---


@dataclass(frozen=True)
class Task:
    """One task instance, in seconds since its run started. Its work is the last `work` seconds of it."""

    name: str
    scheduled: float
    queued: float
    start: float
    end: float
    work: float

    @property
    def working(self) -> Interval:
        """When it did what it is for."""
        return max(self.start, self.end - self.work), self.end


def write_images(folder: Path, images: int) -> None:
    """A drop of `images` rows, all different."""
    made = folder.with_name("made")
    write_drop(made, list(evaluation_rows(77, -(-images // _ROWS_A_PICTURE))))
    shutil.copytree(made, folder)
    lines = [json.loads(line) for line in (made / MANIFEST).read_bytes().splitlines()]
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
        for row in range(images):
            line, shift = lines[row % len(lines)], row // len(lines) / 4
            boxes = [[x, y, width - shift, height - shift] for x, y, width, height in line["bbox"]]
            manifest.write(json.dumps({**line, "bbox": boxes}) + "\n")


def measure_airflow(images: int, shard_size: int) -> tuple[float, list[Task]]:
    """Build a drop; returns the run's seconds, and its tasks."""
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as name:
        folder = Path(name)
        write_images(folder / DATE, images)
        console.print(f"{images:,} rows made")
        with run_stack(console.print, folder / "stack") as stack:
            upload_drop(folder / DATE, stack.s3, "drops", DATE)
            # What is loaded once is not this build's: another one goes before.
            write_images(folder / "first", 40)
            upload_drop(folder / "first", stack.s3, "drops", "1999-12-31")
            stack.api.unpause(DAG)
            finish(stack, "1999-12-31")
            run = finish(stack, DATE, shard_size=shard_size)
            began = datetime.fromisoformat(run["start_date"])

            def seconds(moment: str) -> float:
                return (datetime.fromisoformat(moment) - began).total_seconds()

            work = work_seconds(stack)
            tasks = [
                Task(
                    task["task_id"],
                    seconds(task["scheduled_when"]),
                    seconds(task["queued_when"]),
                    seconds(task["start_date"]),
                    seconds(task["end_date"]),
                    work=work.get((task["task_id"], task["map_index"]), 0.0),
                )
                for task in stack.api.task_instances(DAG, run["dag_run_id"])
                if task["state"] == "success"
            ]
            return seconds(run["end_date"]), tasks


def finish(stack: Stack, date: str, **params: Any) -> dict[str, Any]:
    """Build a date; returns its run. Raises RuntimeError where the run fails."""
    run_id = stack.api.trigger(DAG, {"temperature": 0, "caption_mode": "joint", **params}, partition_key=date)
    while stack.api.run_state(DAG, run_id) not in ("success", "failed"):
        time.sleep(1.0)
    run = stack.api.get(f"/api/v2/dags/{DAG}/dagRuns/{run_id}")
    if run["state"] != "success":
        raise RuntimeError(f"the build of {date} failed")
    return run


def work_seconds(stack: Stack) -> dict[tuple[str, int], float]:
    """How long the tasks of the build worked, by their own account."""
    work = S3Store(stack.s3, "warehouse", f"region_captions/_work/{partition_path(DATE)}")
    (plan_file,) = (entry.path for entry in work.list("plans/") if entry.path.endswith("/plan.json"))
    seconds: dict[tuple[str, int], float] = {}
    plan = json.loads(work.read(plan_file))
    for index, shard_id in enumerate(plan["shards"]):
        for task, told in (
            ("render", layout.RECEIPTS["render"]),
            ("caption", layout.CAPTION_COUNTS),
            ("validate", layout.RECEIPTS["stage"]),
        ):
            file = layout.plan_shard_path(plan["plan_id"], shard_id) + told
            seconds[f"shard.{task}", index] = json.loads(work.read(file))["seconds"]
    published = S3Store(stack.s3, "warehouse", f"region_captions/{partition_path(DATE)}")
    build = json.loads(published.read("_manifest.json"))["build"]
    report = json.loads(published.read(f"{build}/report.json"))
    return {**seconds, ("publish", -1): report["timings"]["publishing_seconds"]}


# What a moment without work is put down to: the first of these that was going on.
_CAUSES: dict[str, Callable[[Task], Interval | None]] = {
    "wait_for_drop and plan": lambda task: (task.start, task.end) if task.name in ("wait_for_drop", "plan") else None,
    "without_boxes and validate": lambda task: (
        (task.start, task.end) if task.name in ("without_boxes", "shard.validate") else None
    ),
    "a task starts: its process, its imports, its connections": lambda task: (task.start, task.working[0]),
    "the executor starts a task": lambda task: (task.queued, task.start),
    "a task waits for a slot": lambda task: (task.scheduled, task.queued),
}
_ELSE = "the scheduler looks what is next"


def covered(intervals: Iterable[Interval]) -> float:
    """Seconds in at least one of the intervals."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def overhead(wall: float, tasks: Sequence[Task]) -> dict[str, float]:
    """The seconds of a run in which nothing was marked, captioned or published, by what was going on instead."""
    known = [task.working for task in tasks if task.work]
    seconds = {}
    before = covered(known)
    for cause, interval_of in _CAUSES.items():
        known += [interval for task in tasks if (interval := interval_of(task)) is not None]
        seconds[cause], before = covered(known) - before, covered(known)
    return {**seconds, _ELSE: wall - before}


def airflow_tables(images: int, wall: float, tasks: Sequence[Task]) -> tuple[Table, Table]:
    """What each kind of task did, and what the run spent outside of work."""
    kinds = Table(title=f"A build of {images:,} images, {wall:.0f} s", title_justify="left")
    for heading in ("task", "tasks", "slot to start", "start to work", "work", "any at work, of the run"):
        kinds.add_column(heading, justify="left" if heading == "task" else "right")
    for name in dict.fromkeys(task.name for task in sorted(tasks, key=lambda task: task.start)):
        ours = [task for task in tasks if task.name == name]
        begun = [task.working[0] - task.start for task in ours if task.work]
        kinds.add_row(
            name, f"{len(ours)}", f"{sum(task.start - task.queued for task in ours) / len(ours):.1f} s",
            f"{sum(begun) / len(begun):.1f} s" if begun else "",
            f"{sum(task.end - task.working[0] for task in ours if task.work):.0f} s" if begun else "",
            f"{covered(task.working if task.work else (task.start, task.end) for task in ours) / wall:.0%}",
        )  # fmt: skip
    outside = Table(title="Outside of marking, captioning and publishing", title_justify="left")
    for heading in ("what was going on", "seconds", "of the run"):
        outside.add_column(heading, justify="left" if heading.startswith("what") else "right")
    seconds = overhead(wall, tasks)
    for cause, lost in {**seconds, "all": sum(seconds.values())}.items():
        outside.add_row(cause, f"{lost:.1f}", f"{lost / wall:.1%}")
    return kinds, outside


def main() -> None:
    """Print the tables; with --json, write the figures too."""
    parser = argparse.ArgumentParser(description="What a large drop costs before and around the work itself.")
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the manifest that is planned")
    parser.add_argument("--images", type=int, default=5_000, help="of the drop that is built")
    parser.add_argument("--shard-size", type=int, default=512, help="of that build")
    parser.add_argument("--only", choices=("plan", "airflow"))
    parser.add_argument("--measure", nargs=3, metavar=("ROWS", "PORT", "CREDENTIALS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        rows, port, path = arguments.measure
        print(json.dumps(measure_plan(int(rows), int(port), Path(path))))
        return
    figures: dict[str, float] = {}
    if arguments.only != "airflow":
        tenth, all_rows = plans(arguments.rows)
        console.print(plan_table([tenth, all_rows]))
        figures |= {
            "plan_1m_seconds": all_rows["seconds"],
            "plan_1m_rss_mb": all_rows["peak_mb"],
            "plan_time_ratio": all_rows["seconds"] / tenth["seconds"],
        }
    if arguments.only != "plan":
        wall, tasks = measure_airflow(arguments.images, arguments.shard_size)
        console.print(*airflow_tables(arguments.images, wall, tasks))
        figures["airflow_overhead"] = sum(overhead(wall, tasks).values()) / wall
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
