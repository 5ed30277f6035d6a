"""`make backfill`: build a range of past dates, and follow it.

python -m deploy.local.backfill --from DATE --to DATE [--order oldest|newest] [--again none|failed|completed]
                                [--params JSON] [--dry-run]

On the stack of `make serve`, or on the Airflow at AIRFLOW_URL, as AIRFLOW_USER with AIRFLOW_PASSWORD.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2
from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.local.airflow import USER, AirflowApi, AirflowError, backfill_request, password
from deploy.local.paths import STATE
from deploy.local.stack import ADDRESS, DAG
from regioncap.cli.terminal import shown

_FINAL = ("success", "failed")
_COLOURS = {"built": "green", "unchanged": "green", "skipped": "yellow", "failed": "red"}

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Returns 0 if every date that was to be built is built, unchanged or skipped."""
    arguments = _arguments()
    try:
        dates, params = past_dates(arguments.first, arguments.last), json.loads(arguments.params)
        if not isinstance(params, dict):
            raise ValueError("PARAMS is not a JSON object")
    except ValueError as error:
        console.print(f"[red]{shown(str(error))}[/red]")
        return 2
    request = backfill_request(
        DAG, dates[0], dates[-1], params, newest_first=arguments.order == "newest", again=arguments.again
    )
    try:
        api = _api()
        planned = api.backfill_dry_run(request)
        table = Table("date", "last run", "now")
        for row in outlook(dates, planned, _runs(api, dates)):
            table.add_row(*row)
        console.print(table)
        if arguments.dry_run or not planned:
            return 0
        if api.get(f"/api/v2/dags/{DAG}")["is_paused"]:
            raise AirflowError(f"the DAG {DAG} is paused: unpause it in the UI first")
        started = api.backfill(request)
        console.print(f"backfill {started['id']}, also at {api.url}/dags/{DAG}/backfills; Ctrl-C stops following only")
        return 0 if _follow(api, dates, planned, started["created_at"]) else 1
    except (AirflowError, httpx2.HTTPError) as error:
        console.print(f"[red]{shown(str(error))}[/red]")
        return 1
    except KeyboardInterrupt:
        console.print("stopped following; the backfill goes on")
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make backfill", description="Build a range of past dates.")
    parser.add_argument("--from", dest="first", required=True, help="the first date")
    parser.add_argument("--to", dest="last", required=True, help="the last date, included")
    parser.add_argument("--order", choices=("oldest", "newest"), default="oldest", help="which date comes first")
    parser.add_argument(
        "--again",
        choices=("none", "failed", "completed"),
        default="none",
        help="which dates that have a run get another one",
    )
    parser.add_argument("--params", default="{}", help="DAG params as a JSON object")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    return parser.parse_args()


def past_dates(first: str, last: str) -> list[str]:
    """All dates from `first` to `last`. Raises ValueError."""
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise ValueError(f"FROM={first} and TO={last} have to be dates, such as 2026-10-05") from None
    if begin > end:
        raise ValueError(f"FROM={first} is after TO={last}")
    if end >= datetime.now(UTC).date():
        raise ValueError(f"TO={last} is not past: its drop is built by the nightly run")
    return [(begin + timedelta(days=number)).isoformat() for number in range((end - begin).days + 1)]


def _api() -> AirflowApi:
    """Airflow, logged in. Raises AirflowError where none is there."""
    if url := os.environ.get("AIRFLOW_URL"):
        api = AirflowApi(url.rstrip("/"))
        api.log_in(os.environ.get("AIRFLOW_USER", USER), os.environ.get("AIRFLOW_PASSWORD", ""))
        return api
    try:
        api = AirflowApi((STATE / ADDRESS).read_text())
    except FileNotFoundError:
        raise AirflowError("no stack is up: start one with `make serve`, or say AIRFLOW_URL=http://...") from None
    api.log_in(USER, password(STATE / "airflow"))
    return api


def _runs(api: AirflowApi, dates: list[str]) -> list[dict[str, Any]]:
    """The runs for these partitions, oldest first."""
    window = {"partition_date_gte": dates[0], "partition_date_lte": dates[-1]}
    return sorted(api.runs(DAG, **window), key=lambda run: run["queued_at"] or "")


def outlook(dates: Iterable[str], planned: list[str], runs: Iterable[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """For each date: how its last run ended, and what will become of it. `runs` are in the order of their start.

    A date without a run for which none is planned is no date of the schedule.
    """
    last = {run["partition_key"]: f"{run['run_type']}, {run['state']}" for run in runs}
    turn = {day: f"runs as number {number} of {len(planned)}" for number, day in enumerate(planned, start=1)}
    return [(day, last.get(day, "-"), turn.get(day, "left alone" if day in last else "not scheduled")) for day in dates]


def _follow(api: AirflowApi, dates: list[str], planned: list[str], created_at: str) -> bool:
    """Show how each date gets on until all have ended; returns whether none has failed."""
    ended: dict[str, tuple[str, str]] = {}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while len(ended) < len(planned):
            states = dict.fromkeys(planned, "waiting")
            for run in _runs(api, dates):
                day, mine = run["partition_key"], run["run_type"] == "backfill" and run["queued_at"] >= created_at
                if mine and day in states:
                    states[day] = run["state"]
                    if run["state"] in _FINAL and day not in ended:
                        ended[day] = how_it_ended(api, run)
                        word, detail = ended[day]
                        console.print(f"{day}  [{_COLOURS[word]}]{word}[/{_COLOURS[word]}]  {shown(detail)}")
            if console.is_terminal:
                left = Table("date", "state", title=f"{len(ended)} of {len(planned)} dates", title_justify="left")
                for day in planned:
                    if day not in ended:
                        left.add_row(day, states[day])
                live.update(left, refresh=True)
            time.sleep(1.0)
    words = [word for word, _ in ended.values()]
    console.print(", ".join(f"{words.count(word)} {word}" for word in _COLOURS if word in words))
    return "failed" not in words


def how_it_ended(api: AirflowApi, run: dict[str, Any]) -> tuple[str, str]:
    """One of built, unchanged, skipped and failed, and what there is to say about it."""
    run_id = run["dag_run_id"]
    if run["state"] == "failed":
        failed = [task for task in api.task_instances(DAG, run_id) if task["state"] == "failed"]
        return "failed", "; ".join(f"{task['task_id']}: {_last_words(api, run_id, task)}" for task in failed[:1])
    published = api.xcom(DAG, run_id, "publish")
    if published is None:
        (task,) = [task for task in api.task_instances(DAG, run_id) if task["task_id"] == "wait_for_drop"]
        return "skipped", _last_words(api, run_id, task)
    if published["unchanged"]:
        return "unchanged", f"build {published['build_id']}"
    return "built", f"{published['captioned']:,} captioned, {published['rejected']:,} rejected: {published['build_id']}"


def _last_words(api: AirflowApi, run_id: str, task: dict[str, Any]) -> str:
    for line in reversed(api.task_log(DAG, run_id, task)):
        for beginning in ("Skipping task. ", "Task failed with exception "):
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
    return "see its log in the UI"


if __name__ == "__main__":
    sys.exit(main())
