"""A run whose date another run builds waits for as long as that one lives."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk.exceptions import TaskDeferred

from regioncap.airflow.build import PlanOperator
from regioncap.work.claim import Claim, who_holds
from tests.builders import DATE, Place

OTHER = "region_captions/scheduled__2026-10-06"


class Airflow:
    """What Airflow knows of runs."""

    def __init__(self) -> None:
        self.states = {"scheduled__2026-10-06": "running"}

    def get_dr_count(self, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return sum(self.states.get(run) in states for run in run_ids if dag_id == "region_captions")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("REGIONCAP_ALLOWED_ROOTS", str(tmp_path))
    monkeypatch.setenv(
        "AIRFLOW_CONN_REGIONCAP_VLM", '{"conn_type": "generic", "host": "http://v/v1", "extra": {"model": "m"}}'
    )
    place = Place(tmp_path)
    place.good_rows(2)
    return place


def plan(place: Place, airflow: Airflow, *, after_waiting: bool = False) -> Any:
    pushed: dict[str, Any] = {}
    context: Any = {
        "dag": SimpleNamespace(dag_id="region_captions"),
        "dag_run": SimpleNamespace(partition_key=DATE, logical_date=None),
        "run_id": "manual__1",
        "params": {
            "drops_uri": str(place.folder / "drops"),
            "warehouse_uri": str(place.folder / "warehouse"),
            "model_profile": "demo",
        },
        "ti": SimpleNamespace(
            get_dr_count=airflow.get_dr_count, xcom_push=lambda key, value: pushed.update({key: value})
        ),
    }
    task = PlanOperator(task_id="plan")
    shards = task.resume(context, None) if after_waiting else task.execute(context)
    assert len(shards) == pushed["plan"]["shards"]
    return pushed["plan"]


def test_it_waits_without_a_worker_and_says_for_whom(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    Claim.take(place.work, OTHER, lambda run: True)
    airflow = Airflow()
    with pytest.raises(TaskDeferred) as waits:
        plan(place, airflow)
    assert isinstance(waits.value.trigger, TimeDeltaTrigger) and waits.value.timeout is None
    assert f"is being built by the run {OTHER}" in capsys.readouterr().out
    assert who_holds(place.work) == OTHER


def test_it_waits_on_for_as_long_as_the_other_run_lives_and_then_builds(place: Place) -> None:
    other = Claim.take(place.work, OTHER, lambda run: True)
    airflow = Airflow()
    for state in ("running", "queued", "running"):
        airflow.states["scheduled__2026-10-06"] = state
        with pytest.raises(TaskDeferred):
            plan(place, airflow, after_waiting=True)
    airflow.states["scheduled__2026-10-06"] = "failed"
    assert plan(place, airflow, after_waiting=True)["claim"] == other.number + 1


@pytest.mark.parametrize("state", ["success", "failed", None])
def test_nobody_waits_for_a_run_that_is_over_or_that_airflow_does_not_know(place: Place, state: Any) -> None:
    Claim.take(place.work, OTHER, lambda run: True)
    airflow = Airflow()
    airflow.states = {"scheduled__2026-10-06": state}
    assert plan(place, airflow)["claim"] == 2


def test_a_run_waits_neither_for_itself_nor_for_one_that_has_given_the_date_back(place: Place) -> None:
    Claim.take(place.work, OTHER, lambda run: True).release()
    airflow = Airflow()
    airflow.states["manual__1"] = "running"
    assert [plan(place, airflow)["claim"], plan(place, airflow)["claim"]] == [2, 3]
