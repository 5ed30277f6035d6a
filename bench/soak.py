"""Night after night, compressed: 30 dates built one after the other by the same stack, and what that leaves behind.

    python -m bench.soak [--json FILE] [--dates 30] [--images 3]

On the embedded stack with its real scheduler and vLLM, in three backfills. After each: memory and processes of every
service, rows in Airflow's database, and files that should not be there. What grows with the number of builds shows as a
difference between the later columns; the first one holds what is loaded once.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.airflow import backfill_request
from deploy.local.drops import upload_drop
from deploy.local.stack import DAG, Stack, run_stack

_PARTS = 3
# What the services load in the background has settled by then.
_SETTLE_SECONDS = 20.0

console = Console(highlight=False)


def main() -> None:
    """Runs for ten minutes or so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--dates", type=int, default=30)
    parser.add_argument("--images", type=int, default=3, help="in each drop")
    arguments = parser.parse_args()
    each = arguments.dates // _PARTS
    first = datetime.now(UTC).date() - timedelta(days=arguments.dates + 1)
    snapshots: dict[int, dict[str, float]] = {}
    before = set(temporary_files())
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        state = Path(folder, "stack")
        with run_stack(console.print, state) as stack:
            stack.api.unpause(DAG)
            for part in range(_PARTS):
                begin = first + timedelta(days=part * each)
                build(stack, Path(folder, "drops"), begin, each, arguments.images)
                time.sleep(_SETTLE_SECONDS)
                snapshots[(part + 1) * each] = snapshot(stack, state, before)
                console.print(f"{(part + 1) * each} dates are built")
    console.print(table(snapshots))
    if arguments.json:
        arguments.json.write_text(json.dumps(snapshots, indent=2))


def build(stack: Stack, drops: Path, begin: date, dates: int, images: int) -> None:
    """Build `dates` dates from `begin` on. Raises RuntimeError where one fails."""
    days = [(begin + timedelta(days=number)).isoformat() for number in range(dates)]
    for day in days:
        write_drop(drops / day, list(evaluation_rows(date.fromisoformat(day).toordinal(), images)))
        upload_drop(drops / day, stack.s3, "drops", day)
    stack.api.backfill(backfill_request(DAG, days[0], days[-1], {}))
    ended: dict[str, str] = {}
    while len(ended) < dates:
        runs = [run for run in stack.api.runs(DAG) if run["partition_key"] in days]
        ended = {run["partition_key"]: run["state"] for run in runs if run["state"] in ("success", "failed")}
        time.sleep(2.0)
    if set(ended.values()) != {"success"}:
        raise RuntimeError(f"not every date was built: {ended}")


def temporary_files() -> list[Path]:
    """What RegionCap puts beside other programs' temporary files."""
    return list(Path(tempfile.gettempdir()).glob("regioncap-*"))


def snapshot(stack: Stack, state: Path, before: set[Path]) -> dict[str, float]:
    """Memory in MB and processes by service; rows of the largest tables; temporary files but those `before`."""
    figures: dict[str, float] = {}
    for name, service in stack.services.items():
        processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
        figures[f"{name}: memory, MB"] = sum(process.memory_info().rss for process in processes) / 1e6
        figures[f"{name}: processes"] = len(processes)
    with closing(sqlite3.connect(f"file:{state / 'airflow' / 'airflow.db'}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        rows = {name: database.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}
    for name, number in sorted(rows.items(), key=lambda item: -item[1])[:8]:
        figures[f"rows: {name}"] = number
    figures["rows, all tables"] = sum(rows.values())
    figures["temporary files of RegionCap"] = len(set(temporary_files()) - before)
    return figures


def table(snapshots: dict[int, dict[str, float]]) -> Table:
    """One column for each snapshot, and what the last part has added for each date."""
    shown = Table("", title="After so many dates")
    for dates in snapshots:
        shown.add_column(str(dates), justify="right")
    shown.add_column("a date, lately", justify="right")
    *_, (before, earlier), (after, last) = snapshots.items()
    for name, value in last.items():
        growth = (value - earlier.get(name, 0)) / (after - before)
        shown.add_row(name, *(f"{figures.get(name, 0):,.0f}" for figures in snapshots.values()), f"{growth:+.1f}")
    return shown


if __name__ == "__main__":
    main()
