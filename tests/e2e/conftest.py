"""The whole stack, once for all tests here: a real scheduler, a real bucket, a real vLLM with the demo model."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from demo_model.drops import evaluation_rows, write_drop
from demo_model.evaluate import published_records
from deploy.local.airflow import AirflowError
from deploy.local.drops import fetch_partition, upload_drop
from deploy.local.stack import DAG, Stack, run_stack
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.manifest import Manifest, current

# Room for the stack to come up before the scheduler starts the nightly run: so much, or on a slow machine more.
_UNTIL_NIGHT = [timedelta(minutes=minutes) for minutes in (5, 15, 40)]


class Rig:
    """A running stack, and what a test wants of it."""

    def __init__(self, stack: Stack, night: datetime) -> None:
        self.stack = stack
        self.api = stack.api
        self.night = night
        # A date before that of the nightly run.
        self.late = (night - timedelta(days=4)).date().isoformat()

    def upload(self, folder: Path, date: str) -> None:
        """Upload a drop."""
        upload_drop(folder, self.stack.s3, "drops", date)

    def trigger(self, conf: dict[str, Any], partition_key: str | None = None) -> str:
        """Start a run at temperature 0; returns its id."""
        started: list[str] = []
        self.wait(lambda: started.append(self.api.trigger(DAG, {"temperature": 0, **conf}, partition_key)) or started)
        return started[0]

    def finish(self, run_id: str, seconds: float = 600.0) -> str:
        """Wait for a run's end; returns its state."""
        self.wait(lambda: self.api.run_state(DAG, run_id) in ("success", "failed"), seconds)
        state = self.api.run_state(DAG, run_id)
        if state == "failed":
            for task in self.api.task_instances(DAG, run_id):
                if task["state"] == "failed":
                    print(task["task_id"], *self.api.task_log(DAG, run_id, task)[-15:], sep="\n    ")
        return state

    def decide(self, run_id: str, option: str, map_index: int = 0) -> str:
        """Answer what a run asks a person, once more where it asks anew; returns the run's state at its end."""

        def ended() -> bool:
            for task in self.api.task_instances(DAG, run_id):
                if (task["task_id"], task["map_index"], task["state"]) == ("approve", map_index, "awaiting_input"):
                    with suppress(AirflowError):  # it has this answer already
                        self.api.decide(DAG, run_id, "approve", map_index, option)
            return self.api.run_state(DAG, run_id) in ("success", "failed")

        self.wait(ended)
        return self.finish(run_id)

    def late_runs(self) -> list[dict[str, Any]]:
        """The runs of the night for the drop that came late."""
        return [run for run in self.api.runs(DAG) if run["dag_run_id"].startswith(f"late__{self.late}__")]

    @staticmethod
    def wait(condition: Callable[[], object], seconds: float = 600.0) -> None:
        """Wait until `condition()` holds. Airflow may answer it late, or with 500 where SQLite is locked just then."""

        def holds() -> bool:
            try:
                return bool(condition())
            except AirflowError as error:
                assert "Airflow answered 500" in str(error)
                return False
            except httpx2.TimeoutException:
                return False

        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.3)

    def tasks(self, run_id: str) -> dict[str, list[str]]:
        """The states of a run's tasks, by task id."""
        states: dict[str, list[str]] = {}
        for task in self.api.task_instances(DAG, run_id):
            states.setdefault(task["task_id"], []).append(task["state"])
        return states

    def store(self, date: str) -> S3Store:
        """The published partition."""
        return S3Store(self.stack.s3, "warehouse", f"region_captions/dt={date}")

    def manifest(self, date: str) -> Manifest:
        """The published partition's manifest."""
        manifest, _ = current(self.store(date))
        assert manifest is not None, f"{date} is not published"
        return manifest

    def published(self, date: str, folder: Path) -> list[dict[str, Any]]:
        """The published records, read from a copy of the partition in `folder`."""
        fetch_partition(self.store(date), folder)
        return list(published_records(folder))

    def events(self, date: str) -> list[dict[str, Any]]:
        """The asset events of a date, oldest first."""
        events = self.stack.api.get("/api/v2/assets/events", order_by="timestamp", limit=100)["asset_events"]
        return [event for event in events if event["partition_key"] == date]

    def questions_asked(self) -> int:
        """How many requests vLLM has answered since it started."""
        url = self.stack.vlm_url.removesuffix("/v1") + "/metrics"
        lines = httpx2.get(url, trust_env=False, timeout=120).text.splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vllm:request_success_total"))


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    for room in _UNTIL_NIGHT:
        night = (datetime.now(UTC) + room).replace(second=0, microsecond=0)
        state = tmp_path_factory.mktemp("stack")
        settings = {"REGIONCAP_SCHEDULE": f"{night.minute} {night.hour} * * *"}
        with run_stack(print, state, settings=settings) as stack:
            if night - datetime.now(UTC) < timedelta(minutes=1):
                continue
            stack.api.unpause(DAG)
            rig = Rig(stack, night)
            # Long before the night: how long the tests take until then is open.
            write_drop(state / "late", list(evaluation_rows(27, 4)))
            rig.upload(state / "late", rig.late)
            yield rig
            return
    raise AssertionError("the stack did not come up in time for any night")
