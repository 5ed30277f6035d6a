"""Night after night, compressed: 30 nightly runs, one after the other, by the same stack, and what that leaves behind.

    python -m bench.soak [--json FILE] [--nights 30] [--images 3]

On the embedded stack with its real scheduler and vLLM. The DAG is RegionCap's own, but for its start date, which is
past: so the scheduler has nights to make up for, and nobody has to wait a month. After each third of them: memory and
processes of every service, rows in Airflow's database, and files that should not be there. What grows with the number
of nights shows as a difference between the later columns; the first one holds what is loaded once.
"""

import argparse
import json
import sqlite3
import tempfile
import time
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

_PARTS = 3
# What the services load in the background has settled by then.
_SETTLE_SECONDS = 20.0

console = Console(highlight=False)


def main() -> None:
    """Runs for a quarter of an hour or so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--images", type=int, default=3, help="in each drop")
    arguments = parser.parse_args()
    each = arguments.nights // _PARTS
    first = datetime.now(UTC).date() - timedelta(days=arguments.nights + 1)
    snapshots: dict[int, dict[str, float]] = {}
    before = set(temporary_files())
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        dags = folder / "dags"
        schedule(dags, first, first)
        with run_stack(console.print, folder / "stack", settings={"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}) as stack:
            stack.api.unpause(DAG)
            for part in range(1, _PARTS + 1):
                days = [first + timedelta(days=number) for number in range((part - 1) * each, part * each)]
                make_drops(stack, folder / "drops", days, arguments.images)
                schedule(dags, first, days[-1])
                wait_for(stack, days)
                time.sleep(_SETTLE_SECONDS)
                snapshots[part * each] = snapshot(stack, folder / "stack", before)
                console.print(f"{part * each} nights are over")
    console.print(table(snapshots))
    if arguments.json:
        arguments.json.write_text(json.dumps(snapshots, indent=2))


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


def wait_for(stack: Stack, days: list[date]) -> None:
    """Wait until the nightly runs of these days have ended. Raises RuntimeError where one failed."""
    wanted = {day.isoformat() for day in days}
    ended: dict[str, str] = {}
    while ended.keys() != wanted:
        runs = [run for run in stack.api.runs(DAG, run_type="scheduled") if run["partition_key"] in wanted]
        ended = {run["partition_key"]: run["state"] for run in runs if run["state"] in ("success", "failed")}
        time.sleep(2.0)
    if set(ended.values()) != {"success"}:
        raise RuntimeError(f"not every night went well: {ended}")


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
