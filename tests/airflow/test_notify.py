"""People are told how runs end, through a notifier that the deployment names."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier

from regioncap.operators.notify import tell_failure, tell_overdue, tell_success
from tests.airflow.conftest import PLACES
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


def test_nobody_is_told_what_nobody_wants_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    notify_about(monkeypatch, "overdue")
    tell_failure(context())
    tell_success(context())
    monkeypatch.delenv("REGIONCAP_NOTIFIER")
    overdue()
    assert told == []


def test_what_a_run_is_called_is_never_read_as_a_template() -> None:
    tell_failure(context(run_id="{{ 7 * 7 }}"))
    assert "49" not in told[0]
