"""Night after night, compressed: nightly runs, one after the other, by the same stack, and what that leaves behind.

    python -m bench.soak [--json FILE] [--nights 30] [--images 3]

On the embedded stack with its real scheduler and vLLM. The DAG is RegionCap's own, but for its start date, which is
past: so the scheduler has nights to make up for, and nobody has to wait a month. After each night, every build that is
kept is read and compared with its hashes. After each week, one of its dates is built anew with other settings, and
upkeep deletes what no build needs, as if all of it were old; then memory and processes of every service, rows in
Airflow's database, the work area, and files that should not be there. What grows with the number of nights shows as a
difference between the later columns; the first one holds what is loaded once.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.drops import upload_drop
from deploy.local.paths import DAGS
from deploy.local.stack import DAG, Stack, run_stack
from regioncap.storage.s3 import S3Store
from regioncap.storage.store import Store
from regioncap.warehouse.history import earlier_manifest
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.whole import problems
from regioncap.work.upkeep import Heap, collect, look

_WEEK = 7
# Of a few nights there are this many weeks too: before the last one, all is loaded.
_FEWEST_WEEKS = 3
# What the services load in the background has settled by then.
_SETTLE_SECONDS = 10.0

console = Console(highlight=False)


def main() -> None:
    """Runs for half a minute a night or so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--images", type=int, default=3, help="in each drop")
    arguments = parser.parse_args()
    week = min(_WEEK, arguments.nights // _FEWEST_WEEKS)
    first = datetime.now(UTC).date() - timedelta(days=arguments.nights + 1)
    snapshots: dict[int, dict[str, float]] = {}
    before = set(temporary_files())
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        dags = folder / "dags"
        schedule(dags, first, first)
        with run_stack(console.print, folder / "stack", settings={"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}) as stack:
            stack.api.unpause(DAG)
            warehouse = S3Store(stack.s3, "warehouse", "region_captions")
            started = time.monotonic()
            for night in range(0, arguments.nights, week):
                days = [first + timedelta(days=n) for n in range(night, min(night + week, arguments.nights))]
                make_drops(stack, folder / "drops", days, arguments.images)
                schedule(dags, first, days[-1])
                wait_for(stack, days, warehouse)
                gone = keep_up(stack, days[0], warehouse, seed=night + 1)
                time.sleep(_SETTLE_SECONDS)
                nights = night + len(days)
                snapshots[nights] = snapshot(stack, folder / "stack", before) | areas(warehouse, gone)
                console.print(f"{nights} nights are over after {time.monotonic() - started:.0f} s")
                if arguments.json:
                    arguments.json.write_text(json.dumps(snapshots, indent=2))
    console.print(table(snapshots))


def schedule(dags: Path, first: date, last: date) -> None:
    """Write RegionCap's DAG into `dags` as one whose nightly runs are those of the drops from `first` to `last`."""
    source = (DAGS / "region_captions.py").read_text(encoding="utf-8")
    # The run of a night builds the drop of the day before.
    begin, end = (datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) for day in (first, last))
    changes = {
        "from datetime import timedelta": "import datetime\nfrom datetime import timedelta",
        "catchup=False": f"catchup=True, start_date={begin!r}, end_date={end!r}",
        "max_active_runs=16": "max_active_runs=1",
    }
    for ours, theirs in changes.items():
        if source.count(ours) != 1:
            raise RuntimeError(f"dags/region_captions.py does not say {ours!r} just once any more")
        source = source.replace(ours, theirs)
    dags.mkdir(exist_ok=True)
    (dags / "region_captions.py").write_text(source, encoding="utf-8")


def make_drops(stack: Stack, folder: Path, days: list[date], images: int) -> None:
    """Upload a drop for each of the days."""
    for day in days:
        drop = folder / day.isoformat()
        write_drop(drop, list(evaluation_rows(day.toordinal(), images)))
        upload_drop(drop, stack.s3, "drops", day.isoformat())


def wait_for(stack: Stack, days: list[date], warehouse: Store) -> None:
    """Wait until the nightly runs of these days have ended; after each, read all that is kept.

    Raises RuntimeError where one failed, or a build is not whole.
    """
    wanted = {day.isoformat() for day in days}
    ended: dict[str, str] = {}
    while ended.keys() != wanted:
        runs = [run for run in stack.api.runs(DAG, run_type="scheduled") if run["partition_key"] in wanted]
        now = {run["partition_key"]: run["state"] for run in runs if run["state"] in ("success", "failed")}
        if len(now) > len(ended):
            read_all(warehouse)
        ended = now
        time.sleep(1.0)
    if set(ended.values()) != {"success"}:
        raise RuntimeError(f"not every night went well: {ended}")


def keep_up(stack: Stack, day: date, warehouse: Store, seed: int) -> Heap:
    """Build a date anew with other settings, and delete what no build needs any more; returns what went."""
    run = stack.api.trigger(DAG, {"drop_date": day.isoformat(), "seed": seed})
    while (state := stack.api.run_state(DAG, run)) not in ("success", "failed"):
        time.sleep(1.0)
    if state != "success":
        raise RuntimeError(f"{day} was not built anew")
    gone = Heap("")

    def went(heap: Heap) -> None:
        nonlocal gone
        gone = gone.and_of(heap)

    for name in names(warehouse):
        work, (published, _) = warehouse.sub(f"_work/{name}/"), current(warehouse.sub(f"{name}/"))
        # All that was written until now is old.
        area = look(work, published.plan_id if published else None, time.time() + 60, lambda run: False)
        collect(work, area, went)
    read_all(warehouse)
    return gone


def names(warehouse: Store) -> Iterator[str]:
    """The folders of all dates."""
    return (name for name in warehouse.folders() if name.startswith(partition_path("")))


def read_all(warehouse: Store) -> None:
    """Read every build that is kept. Raises RuntimeError where a byte of one is not as it was published."""
    for name in names(warehouse):
        partition = warehouse.sub(f"{name}/")
        published, _ = current(partition)
        if published is None:
            continue  # it is being built
        kept: list[Manifest] = [
            published, *(earlier_manifest(partition, published, build) for build in published.history)
        ]  # fmt: skip
        for manifest in kept:
            for problem in problems(partition, manifest, read=True):
                raise RuntimeError(f"{partition.uri}/{manifest.build}: {problem}")


def areas(warehouse: Store, gone: Heap) -> dict[str, float]:
    """Files and megabytes of the work area and of what is published, and what upkeep has deleted lately."""
    work, published = Heap(""), Heap("")
    for entry in warehouse.list():
        if entry.path.startswith("_work/"):
            work = work.and_one(entry)
        else:
            published = published.and_one(entry)
    heaps = {"work area": work, "published": published, "deleted by upkeep": gone}
    files = {f"{name}: files": float(heap.files) for name, heap in heaps.items()}
    return files | {f"{name}: MB": heap.bytes / 1e6 for name, heap in heaps.items()}


def temporary_files() -> list[Path]:
    """What RegionCap puts beside other programs' temporary files."""
    return list(Path(tempfile.gettempdir()).glob("regioncap-*"))


def snapshot(stack: Stack, state: Path, before: set[Path]) -> dict[str, float]:
    """Memory in MB and processes by service; rows of the largest tables; temporary files but those `before`."""
    figures: dict[str, float] = {}
    for name, service in stack.services.items():
        memory = []
        for process in [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                memory.append(process.memory_info().rss)
        figures[f"{name}: memory, MB"] = sum(memory) / 1e6
        figures[f"{name}: processes"] = len(memory)
    with closing(sqlite3.connect(f"file:{state / 'airflow' / 'airflow.db'}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        rows = {name: database.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}
    for name, number in sorted(rows.items(), key=lambda item: -item[1])[:8]:
        figures[f"rows: {name}"] = number
    figures["rows, all tables"] = sum(rows.values())
    figures["temporary files of RegionCap"] = len(set(temporary_files()) - before)
    return figures


def table(snapshots: dict[int, dict[str, float]]) -> Table:
    """One column for each snapshot, and what the last part has added for each night."""
    shown = Table("", title="After so many nights")
    for nights in snapshots:
        shown.add_column(str(nights), justify="right")
    shown.add_column("a night, lately", justify="right")
    *_, (before, earlier), (after, last) = snapshots.items()
    for name, value in last.items():
        growth = (value - earlier.get(name, 0)) / (after - before)
        shown.add_row(name, *(f"{figures.get(name, 0):,.0f}" for figures in snapshots.values()), f"{growth:+.1f}")
    return shown


if __name__ == "__main__":
    main()
