"""`make demo`: build one drop on the embedded stack, show how it goes, and what came out.

python -m deploy.local.demo [--drop FOLDER] [--date YYYY-MM-DD] [--out FOLDER] [--params JSON]
"""

import argparse
import json
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.local.airflow import FINAL_STATES, AirflowApi, AirflowError
from deploy.local.drops import fetch_partition, upload_drop
from deploy.local.paths import INCLUDE, STATE
from deploy.local.stack import DAG, Stack, run_stack
from regioncap.ask.status import BuildStatus, Status
from regioncap.cli.terminal import shown
from regioncap.drop.dates import resolve_drop_date
from regioncap.errors import DropDateError, ServiceError
from regioncap.report import judged
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.manifest import Manifest
from regioncap.warehouse.reader import open_build

_SAMPLE = "2026-10-05"
_STEPS = (
    "wait_for_drop",
    "plan",
    "shard.render",
    "shard.caption",
    "shard.judge",
    "shard.validate",
    "approve",
    "publish",
)
_SHOWN_RECORDS = 4
_PLAIN_EVERY_SECONDS = 10.0

# Paths are whole, for copying, also where the terminal is narrow.
console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Returns 0 only if the dataset is published."""
    arguments = _arguments()
    try:
        date = resolve_drop_date(arguments.date, None, None)
        params = json.loads(arguments.params)
        if not arguments.drop.is_dir():
            raise ValueError(f"DROP={arguments.drop} is not a folder")
        if not isinstance(params, dict):
            raise ValueError("PARAMS is not a JSON object")
    except (DropDateError, ValueError) as error:
        console.print(f"[red]{shown(str(error))}[/red]")
        return 2
    started = time.monotonic()

    def say(message: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.0f} s[/dim]  {shown(message)}")

    try:
        with run_stack(say) as stack:
            files = upload_drop(arguments.drop, stack.s3, "drops", date)
            say(f"drop {arguments.drop} uploaded to s3://drops/{date}: {files} files")
            published = build(stack, date, params)
            if published:
                out = arguments.out or STATE / "published" / f"dt={date}"
                store = S3Store(stack.s3, "warehouse", f"region_captions/dt={date}")
                manifest = fetch_partition(store, out)
                summary(manifest, store.uri, out, unchanged=published["unchanged"])
    except (ServiceError, AirflowError) as error:
        console.print(f"[red]{shown(str(error))}[/red]")
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    say("done" if published else "nothing was published")
    return 0 if published else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description="Build one drop on the embedded stack.")
    parser.add_argument(
        "--drop", type=Path, default=INCLUDE / "drops" / _SAMPLE, help="folder with manifest and images"
    )
    parser.add_argument("--date", default=_SAMPLE, help="the drop's date")
    parser.add_argument("--out", type=Path, help="where a copy of the published partition goes")
    parser.add_argument("--params", default="{}", help="DAG params as a JSON object")
    arguments = parser.parse_args()
    arguments.drop = arguments.drop.expanduser()
    arguments.out = arguments.out and arguments.out.expanduser()
    return arguments


def build(stack: Stack, date: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Trigger the DAG for `date` and follow the run; returns what `publish` says, or None if the run failed."""
    api = stack.api
    api.unpause(DAG)
    run_id = api.trigger(DAG, {"drop_date": date, **params})
    console.print(f"         run {run_id}")
    _follow(stack, date, run_id)
    if api.run_state(DAG, run_id) == "success":
        return dict(api.xcom(DAG, run_id, "publish"))
    _explain_failure(api, run_id)
    return None


def _follow(stack: Stack, date: str, run_id: str) -> None:
    """Show steps and images until the run ends: a live table on a terminal, a line now and then elsewhere."""
    api = stack.api
    follower = BuildStatus(S3Store(stack.s3, "warehouse", f"region_captions/_work/dt={date}"))
    started, last_line = time.monotonic(), 0.0
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            state = api.run_state(DAG, run_id)
            tasks = api.task_instances(DAG, run_id)
            handle = api.xcom(DAG, run_id, "plan", key="plan") or {}
            status = follower.update(handle.get("plan_id"))
            if console.is_terminal:
                live.update(_progress_table(tasks, status), refresh=True)
            elif time.monotonic() - last_line > _PLAIN_EVERY_SECONDS or state in ("success", "failed"):
                last_line = time.monotonic()
                running = [task["task_id"] for task in tasks if task["state"] in ("running", "queued", "deferred")]
                steps = ", ".join(sorted(set(running))) or "-"
                console.print(f"[dim]{time.monotonic() - started:5.0f} s[/dim]  {state}: {steps}; {_told(status)}")
            if state in ("success", "failed"):
                return
            time.sleep(1.0)


def _told(status: Status) -> str:
    pace = f", {status.rate:.1f} a second" if status.rate else ""
    return f"{status.images} images marked, {status.answers} of {status.questions} questions answered{pace}"


def _progress_table(tasks: list[dict[str, Any]], status: Status) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for step in _STEPS:
        states = Counter(task["state"] or "waiting" for task in tasks if task["task_id"] == step)
        text = ", ".join(f"{number} {state}" if number > 1 else state for state, number in states.items())
        done = states and all(state in FINAL_STATES for state in states)
        if step == "shard.caption" and status.images:
            text += f"   {_told(status)}"
        table.add_row("[green]✓[/green]" if done else "·", step, text)
    return table


def _explain_failure(api: AirflowApi, run_id: str) -> None:
    for task in api.task_instances(DAG, run_id):
        if task["state"] == "failed":
            console.print(f"[red]{task['task_id']} failed.[/red] The end of its log:")
            for line in api.task_log(DAG, run_id, task)[-15:]:
                console.print(f"    {shown(line)}")


def summary(manifest: Manifest, uri: str, out: Path, *, unchanged: bool) -> None:
    """Counts, some captions, and where everything is."""
    counts = manifest.counts
    console.print()
    if unchanged:
        console.print("Nothing changed since this date was built: no new build, and the model was asked nothing.\n")
    console.print(f"[bold]{manifest.partition}[/bold], build {manifest.build_id}")
    table = Table()
    for heading in ("rows", "captioned", "rejected", "regions"):
        table.add_column(heading, justify="right")
    table.add_row(*(f"{value:,}" for value in (counts.rows, counts.captioned, counts.rejected, counts.regions)))
    console.print(table)
    published = open_build(LocalStore(out))
    for record in islice(published.records(), _SHOWN_RECORDS):
        console.print(f"\n[bold]{shown(record['image'])}[/bold]")
        for region in record["regions"]:
            console.print(f"  <region{region['region']}>  {shown(region['caption'])}")
    if counts.rejected:
        codes = Counter(row["code"] for row in published.rejected())
        console.print("\nrejected: " + ", ".join(f"{code} ({number})" for code, number in codes.most_common()))
    if manifest.judged:
        why = f": {judged.why_not(manifest.judged)}" if manifest.judged.share is None else ""
        console.print(f"\nwrong captions, by estimate: {judged.share_told(manifest.judged)}{why}")
    build = out / manifest.build
    console.print(f"\ndataset         {uri}/{manifest.build}")
    console.print(f"local copy      {build}")
    console.print(f"contact sheet   {build / 'report.html'}   (for a browser)")
    console.print(f"report          {build / 'report.json'}")
    console.print("all of it       make serve, then Captions in Airflow's navigation\n")


if __name__ == "__main__":
    sys.exit(main())
