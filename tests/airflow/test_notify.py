"""People are told how runs end, through a notifier that the deployment names."""

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.dag_processing.processor import _execute_dag_callbacks
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier

from regioncap.airflow.notify import tell_failure, tell_overdue, tell_success
from regioncap.airflow.places import open_work
from regioncap.errors import StorageUnavailableError
from regioncap.storage.patience import is_brief
from regioncap.storage.store import Store
from regioncap.work.claim import Claim, who_holds
from tests.airflow.conftest import PLACES, ROOT
from tests.airflow.test_late_drops import publish
from tests.builders import DATE
from tests.damage import damage

told: list[str] = []


class Notebook(BaseNotifier):
    """Writes down what it is told."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        told.append(self.text)


@pytest.fixture(autouse=True)
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    notify_about(monkeypatch, "failure", "overdue", "success")
    told.clear()
    PLACES.mkdir()
    yield
    shutil.rmtree(PLACES)


def notify_about(monkeypatch: pytest.MonkeyPatch, *events: str) -> None:
    config = {"class": f"{__name__}.Notebook", "on": events, "text": "<{{ message }}>"}
    monkeypatch.setenv("REGIONCAP_NOTIFIER", json.dumps(config))


def context(run_type: str = "scheduled", run_id: str = "a run") -> Any:
    run = SimpleNamespace(run_type=run_type, partition_key=DATE, logical_date=None)
    params = {"warehouse_uri": str(PLACES / "warehouse")}
    task = SimpleNamespace(task_id="plan")
    return {"dag": DAG("region_captions"), "dag_run": run, "run_id": run_id, "params": params, "ti": task}


def overdue() -> None:
    """As Airflow does it in the triggerer."""
    run = {"dag_id": "region_captions", "dag_run_id": "a run", "partition_key": DATE, "state": "running"}
    asyncio.run(tell_overdue({"dag_run": run, "deadline": {"deadline_time": datetime(2026, 10, 6, 8, tzinfo=UTC)}}))


def test_a_failure_is_told_with_its_task_and_a_link() -> None:
    tell_failure(context())
    (text,) = told
    assert text.startswith("<region_captions: run a run failed in plan: ")
    assert text.endswith("/dags/region_captions/runs/a%20run>")


def test_a_failure_is_told_with_whatever_is_known_of_it() -> None:
    tell_failure({"dag": DAG("region_captions"), "run_id": "x", "reason": "timed_out"})  # type: ignore[typeddict-item]
    assert told[0].startswith("<region_captions: run x failed: ")


def test_a_success_is_told_with_the_place_but_not_for_every_date_of_a_backfill() -> None:
    tell_success(context())
    tell_success(context("backfill"))
    (text,) = told
    assert text.startswith(f"<region_captions: {PLACES / 'warehouse'}/dt={DATE} is published: ")
    assert text.endswith(f"/regioncap/dates/{DATE}>")


def test_a_date_is_overdue_unless_it_is_published() -> None:
    overdue()
    assert len(told) == 1 and f"{DATE} is not published by 08:00 UTC, its run is running" in told[0]
    publish(DATE)
    overdue()
    assert len(told) == 1


def test_a_date_whose_manifest_is_damaged_is_overdue() -> None:
    publish(DATE)
    damage(PLACES / "warehouse" / f"dt={DATE}" / "_manifest.json", "cut")
    overdue()
    assert len(told) == 1 and f"{DATE} is not published" in told[0]


def test_a_date_that_nobody_can_look_at_in_time_is_told_after_one_short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []

    def away(*_: Any) -> Store:
        looks.append(is_brief())
        raise StorageUnavailableError("s3://warehouse cannot be reached")

    monkeypatch.setattr("regioncap.airflow.notify.open_partition", away)
    overdue()
    assert looks == [True]
    assert len(told) == 1 and f"whether {DATE} is published by 08:00 UTC cannot be told (s3://warehouse" in told[0]
    assert "its run is running" in told[0]


def test_the_claim_is_given_back_after_the_message_and_without_waiting_for_a_bucket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[tuple[int, bool]] = []

    def away(*_: Any) -> Store:
        looks.append((len(told), is_brief()))
        raise StorageUnavailableError("s3://warehouse cannot be reached")

    monkeypatch.setattr("regioncap.airflow.build.open_work", away)
    a_run_failed()
    assert looks == [(1, True)]


def test_nobody_is_told_what_nobody_wants_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    notify_about(monkeypatch, "overdue")
    tell_failure(context())
    tell_success(context())
    monkeypatch.delenv("REGIONCAP_NOTIFIER")
    overdue()
    assert told == []


def a_run_failed() -> None:
    """What the DAG processor does when a run of `region_captions` has failed."""
    now, run_id = datetime(2026, 10, 6, tzinfo=UTC), "a run"
    run = {
        "dag_id": "region_captions", "run_id": run_id, "logical_date": None, "data_interval_start": None,
        "data_interval_end": None, "run_after": now, "start_date": now, "end_date": now, "run_type": "scheduled",
        "state": "failed", "partition_key": DATE, "consumed_asset_events": [],
    }  # fmt: skip
    task = {
        "id": uuid.uuid4(), "task_id": "plan", "dag_id": "region_captions", "run_id": run_id, "try_number": 1,
        "dag_version_id": uuid.uuid4(),
    }  # fmt: skip
    request = DagCallbackRequest(
        filepath="region_captions.py",
        bundle_name="dags-folder",
        bundle_version=None,
        dag_id="region_captions",
        run_id=run_id,
        context_from_server=DagRunContext.model_validate({"dag_run": run, "last_ti": task}),
    )
    bag = BundleDagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")
    _execute_dag_callbacks(bag, request, structlog.get_logger())


def work_claimed_by_a_run() -> Store:
    work = open_work(str(PLACES / "warehouse" / "_work"), DATE)
    Claim.take(work, "region_captions/a run", lambda run: True)
    return work


def test_when_a_run_has_failed_people_are_told_and_the_next_run_need_not_wait() -> None:
    work = work_claimed_by_a_run()
    a_run_failed()
    assert told[0].startswith("<region_captions: run a run failed in plan: ")
    assert who_holds(work) is None


def test_people_are_told_before_anything_is_asked_of_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    # One that hangs holds up what comes after it, until Airflow ends the callbacks.
    told_by_then: list[int] = []

    def hanging(*_: Any) -> None:
        told_by_then.append(len(told))
        raise TimeoutError("the bucket does not answer")

    for module in ("build", "notify"):
        for name in ("open_work", "open_partition"):
            monkeypatch.setattr(f"regioncap.airflow.{module}.{name}", hanging, raising=False)
    a_run_failed()
    assert told_by_then == [1]


def test_a_notifier_that_fails_does_not_keep_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionError("the mail server is away")

    monkeypatch.setattr(Notebook, "notify", broken)
    work = work_claimed_by_a_run()
    a_run_failed()
    assert who_holds(work) is None


def test_what_a_run_is_called_is_never_read_as_a_template() -> None:
    tell_failure(context(run_id="{{ 7 * 7 }}"))
    assert "49" not in told[0]
