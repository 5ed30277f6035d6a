"""The tasks at a build's end: who is asked about which build, what is published then, and who is told of it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from airflow.api_fastapi.execution_api.datamodels.hitl import HITLDetailRequest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from structlog.testing import capture_logs

from regioncap.airflow.build import PlanHandle, prices_for
from regioncap.airflow.publish import ApprovalsOperator, ApproveOperator, PublishOperator
from regioncap.errors import (
    BuildIncompleteError,
    BuildRejectedError,
    ParamsError,
    StepMissingError,
    SupersededError,
    TooManyRejectedError,
)
from regioncap.warehouse.manifest import current
from regioncap.work.claim import Claim, who_holds
from regioncap.work.layout import staged_path
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged, was_somebody_asked
from tests.builders import DATE, Place, settings, validated

RUN = "region_captions/manual__1"


class Requests:
    """What Airflow keeps of what tasks ask: the first request of a task, and nothing that it asks later."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def send(self, message: Any) -> Any:
        request = HITLDetailRequest.model_validate_json(message.model_dump_json(exclude={"type"}))
        return self.kept.setdefault(request.ti_id.int, request)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Requests:
    requests = Requests()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", requests, raising=False)
    return requests


class Run:
    """A run of a DAG over a folder, whose tasks are called one by one, as Airflow would."""

    def __init__(self, folder: Path, **params: Any) -> None:
        self.place = Place(folder)
        self.folder = folder
        self.started_by: str | None = None
        self.params: dict[str, Any] = {"approval": "always", "max_rejected_ratio": 1.0, **params}
        self.tries: dict[tuple[str, int], int] = {}
        self.approvals: list[bool] = []
        self.approved: list[Any] = []
        self.awaiting: dict[int, dict[str, Any]] = {}
        self.asset = Asset(name="region_captions", uri=str(folder / "warehouse"))
        self.events: list[Any] = []
        self.outlets: list[Any] = []

    def plan(self, name: str, **changes: Any) -> Plan:
        """All until the last shard is validated."""
        settings = {key: value for key, value in self.params.items() if key in ("approval", "max_rejected_ratio")}
        self._plan = validated(self.place.work, name, shards=1, rows=1, **{**settings, **changes})
        self.claim = Claim.take(self.place.work, RUN, lambda run: True)
        return self._plan

    @property
    def handle(self) -> PlanHandle:
        warehouse = str(self.folder / "warehouse")
        return PlanHandle(
            date=DATE, plan_id=self._plan.plan_id, drops_uri=str(self.folder / "drops"), warehouse_uri=warehouse,
            work_uri=f"{warehouse}/_work", rows=2, rejected=1, shards=1, unchanged=self._plan.unchanged,
            claim=self.claim.number,
        )  # fmt: skip

    def context(self, task_id: str, map_index: int = -1, again: bool = True) -> Any:
        key = (task_id, map_index)
        self.tries[key] = self.tries.get(key, 0) + again
        event = SimpleNamespace(extra=None, add_partitions=self.events.append)
        params = {"drops_uri": "/d", "warehouse_uri": "/w", "model_profile": "demo", **self.params}
        ti = SimpleNamespace(id=UUID(int=map_index % 100), try_number=self.tries[key], map_index=map_index)
        return {
            "ti": ti,
            "run_id": "manual__1",
            "params": params,
            "dag": SimpleNamespace(dag_id="region_captions"),
            "dag_run": SimpleNamespace(partition_key=None, triggering_user_name=self.started_by),
            "outlet_events": {self.asset: event},
        }

    def count(self) -> list[bool]:
        """The task `approvals`."""
        task = ApprovalsOperator(task_id="approvals", plan=self.handle)
        self.approvals = task.execute(self.context("approvals"))
        return self.approvals

    def approve(self, number: int) -> None:
        """The task `approve` of this map index, until it waits."""
        self.approved = []
        task = ApproveOperator(task_id="approve", plan=self.handle, asks=self.approvals[number])
        try:
            self.approved = [task.execute(self.context("approve", number))]
        except TaskAwaitingInput as waiting:
            self.awaiting[number] = waiting.kwargs or {}

    def answer(self, number: int, option: str = "Approve") -> None:
        """A person answers what the task asks."""
        task = ApproveOperator(task_id="approve", plan=self.handle, asks=self.approvals[number])
        event = {
            "chosen_options": [option],
            "params_input": {},
            "responded_at": _Now(),
            "responded_by_user": {"name": "Ann"},
        }
        context = self.context("approve", number, again=False)
        self.approved = [task.execute_complete(context, event, **self.awaiting.pop(number))]

    def publish(self) -> dict[str, Any]:
        """The task `publish`."""
        task = PublishOperator(task_id="publish", plan=self.handle, asset=self.asset, approved=json_of(self.approved))
        try:
            return task.execute(self.context("publish"))
        finally:
            self.outlets = task.outlets

    def current(self) -> str | None:
        published, _ = current(self.place.partition)
        return published.build_id if published else None


class _Now:
    def isoformat(self) -> str:
        return "2026-11-25T00:00:00"


def json_of(value: Any) -> Any:
    """What a task returns, as another one gets it."""
    return json.loads(json.dumps(value))


def test_nobody_is_asked_by_a_run_that_does_not_want_it(tmp_path: Path) -> None:
    run = Run(tmp_path, approval="never")
    run.plan("a")
    assert run.count() == []
    assert run.publish()["build_id"] == run.current()


@pytest.mark.parametrize("changes", [{}, {"sample_rows": 1}])
def test_the_log_ends_with_the_address_of_the_page_as_airflow_makes_a_link_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com")
    monkeypatch.setenv("REGIONCAP_WAREHOUSE_URI", str(tmp_path / "warehouse"))
    run = Run(tmp_path, approval="never")
    run.plan("a", **changes)
    with capture_logs() as said:
        run.publish()
    # Airflow's page of a log makes a link of what stands between blanks.
    *before, last = " ".join(line["event"] for line in said).split()
    assert last.startswith("https://airflow.example.com/regioncap/") and DATE in last
    # Within a text it would make one that leads nowhere.
    assert not any("https://" in word for word in before)


def test_of_a_build_that_no_page_shows_the_log_has_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONCAP_WAREHOUSE_URI", str(tmp_path / "another"))
    run = Run(tmp_path, approval="never")
    run.plan("a")
    with capture_logs() as said:
        assert run.publish()["page"] is None
    assert said and "/regioncap/dates/" not in str(said)


def test_what_a_person_approves_is_what_is_published(tmp_path: Path, airflow: Requests) -> None:
    run = Run(tmp_path)
    run.plan("a")
    assert run.count() == [True]
    run.approve(0)
    # Nobody has to wait for a person, and the late drops' DAG leaves the date to that person.
    assert who_holds(run.place.work) is None and was_somebody_asked(run.place.work)
    assert run.current() is None
    run.answer(0)
    published = run.publish()
    (request,) = airflow.kept.values()
    assert published["build_id"] == run.current() and published["build_id"] in request.subject
    assert request.options == ["Approve", "Reject"]
    # Published again, since the worker died before it could say so.
    assert run.publish()["build_id"] == published["build_id"]


def test_whoever_started_a_run_does_not_approve_it_where_the_deployment_says_so(
    tmp_path: Path, airflow: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.started_by = "Ann"
    run.plan("a")
    run.count()
    run.approve(0)
    monkeypatch.setenv("REGIONCAP_APPROVAL_BY_ANOTHER", "true")
    with pytest.raises(StepMissingError, match="Ann started this run, and here somebody else has to approve"):
        run.answer(0)
    with pytest.raises(StepMissingError, match="nobody has agreed to it"):
        run.publish()
    # Cleared, it asks anew.
    assert run.count() == [False, True]
    run.approve(1)
    run.started_by = "Bob"
    run.answer(1)
    assert run.publish()["build_id"] == run.current()


def test_whoever_started_a_run_may_reject_it(
    tmp_path: Path, airflow: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONCAP_APPROVAL_BY_ANOTHER", "true")
    run = Run(tmp_path)
    run.started_by = "Ann"
    run.plan("a")
    run.count()
    run.approve(0)
    with pytest.raises(BuildRejectedError, match="Ann rejected the build"):
        run.answer(0, "Reject")


def test_a_build_that_is_rejected_is_not_published(tmp_path: Path, airflow: Requests) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    with pytest.raises(BuildRejectedError, match="Ann rejected the build"):
        run.answer(0, "Reject")
    with pytest.raises(StepMissingError, match="nobody has agreed to it; clear the run's task approvals"):
        run.publish()
    assert run.current() is None


def test_a_run_that_is_planned_anew_asks_anew_and_an_answer_to_what_it_asked_before_is_none(
    tmp_path: Path, airflow: Requests
) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    run.plan("b")
    assert run.count() == [False, True]
    with pytest.raises(AirflowSkipException):
        run.approve(0)
    run.approve(1)
    # Airflow takes up the first task with what was answered to it.
    with pytest.raises(AirflowSkipException):
        run.answer(0)
    with pytest.raises(StepMissingError, match="nobody has agreed to it; clear the run's task approvals"):
        run.publish()
    assert run.current() is None
    run.answer(1)
    subject = airflow.kept[1].subject
    assert run.publish()["build_id"] in subject
    assert airflow.kept[0].subject != subject


def test_a_task_that_asks_again_asks_about_the_same_build(tmp_path: Path, airflow: Requests) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    asked = run.awaiting[0]
    run.approve(0)
    assert run.awaiting[0] == asked
    run.answer(0)
    assert run.publish()["build_id"] == asked["build_id"]


def test_a_task_that_asks_again_never_asks_about_what_the_shards_do_not_hold_any_more(
    tmp_path: Path, airflow: Requests
) -> None:
    """As where a shard is cleared with what follows, and comes out otherwise."""
    run = Run(tmp_path)
    before = run.plan("a")
    run.count()
    run.approve(0)
    staged = Staged.load(run.place.work, before.plan_id)
    assert staged is not None
    now = run.plan("b")
    run.place.work.write(staged_path(now.plan_id), staged.model_dump_json().encode())
    del run.awaiting[0]
    with pytest.raises(StepMissingError, match="clear the run's task approvals"):
        run.approve(0)
    assert run.current() is None


def test_where_airflow_shows_another_build_than_is_there_nothing_can_be_approved(
    tmp_path: Path, airflow: Requests
) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    for jpeg in (tmp_path / "warehouse").glob("dt=*/build=*/images/*.jpg"):
        jpeg.unlink()
    del run.awaiting[0]
    with pytest.raises(StepMissingError, match="clear the run's task approvals"):
        run.approve(0)
    run.count()
    run.approve(1)
    run.answer(1)
    assert run.publish()["build_id"] == run.current()


def test_an_approved_build_that_is_damaged_meanwhile_is_not_published(tmp_path: Path, airflow: Requests) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    run.answer(0)
    next((tmp_path / "warehouse").glob("dt=*/build=*/report.html")).unlink()
    with pytest.raises(BuildIncompleteError, match=r"report\.html is gone"):
        run.publish()
    with pytest.raises(StepMissingError, match="clear the run's task approvals"):
        run.publish()
    assert run.current() is None


def test_an_approval_counts_for_the_run_that_asked_alone(tmp_path: Path, airflow: Requests) -> None:
    """The task was marked as done by hand, or another build of the same plan is staged by now."""
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    run.answer(0)
    approved, run.approved = run.approved, []
    with pytest.raises(StepMissingError, match="nobody has agreed to it; clear the run's task approvals"):
        run.publish()
    next((tmp_path / "warehouse").glob("dt=*/build=*/report.html")).unlink()
    run.count()
    run.approve(1)
    run.approved = approved
    with pytest.raises(StepMissingError, match="nobody has agreed to it; clear the run's task approvals"):
        run.publish()
    assert run.current() is None


def test_a_build_that_waits_is_not_published_once_another_run_has_planned_the_date(
    tmp_path: Path, airflow: Requests
) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    Claim.take(run.place.work, "region_captions/another", lambda other: True)
    run.answer(0)
    with pytest.raises(SupersededError, match="region_captions/another has planned"):
        run.publish()
    assert run.current() is None


def test_where_nothing_is_unusual_nobody_is_asked_and_the_date_is_left_to_nobody(tmp_path: Path) -> None:
    run = Run(tmp_path, approval="on_warning")
    run.plan("a")
    run.count()
    run.approve(0)
    assert not was_somebody_asked(run.place.work)
    assert run.publish()["build_id"] == run.current()


def test_what_is_published_already_needs_no_approval(tmp_path: Path) -> None:
    run = Run(tmp_path, approval="never")
    run.plan("a")
    first = run.publish()
    run.params["approval"] = "always"
    run.plan("a", approval="always")
    run.count()
    run.approve(0)
    again = run.publish()
    assert again["build_id"] == first["build_id"] == run.current()


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("{}/warehouse", True),
        ("{}/warehouse/", True),
        ("file://{}/warehouse", True),
        ("{}/warehouse/experiments", False),
        ("{}", False),
        ("s3://warehouse/region_captions", False),
        ("no-place", False),
    ],
)
def test_only_what_is_published_in_the_place_of_the_asset_is_told_to_who_follows_it(
    tmp_path: Path, uri: str, told: bool
) -> None:
    run = Run(tmp_path, approval="never")
    run.plan("a")
    asset = Asset(name="region_captions", uri=uri.format(tmp_path))
    run.asset = asset
    run.publish()
    assert run.current() is not None
    assert run.events == ([DATE] if told else [])
    assert run.outlets == ([asset] if told else [])


def test_a_higher_share_of_rejected_rows_counts_for_a_task_that_runs_again(tmp_path: Path) -> None:
    """As for a nightly run, after the deployment's REGIONCAP_PARAMS has changed."""
    run = Run(tmp_path, approval="never", max_rejected_ratio=0.2)
    run.plan("a")
    with pytest.raises(TooManyRejectedError, match="start a run of this date with a higher max_rejected_ratio"):
        run.publish()
    run.params["max_rejected_ratio"] = 0.5
    assert run.publish()["build_id"] == run.current()


def test_a_preview_publishes_nothing_asks_nobody_and_tells_nobody_of_data(tmp_path: Path) -> None:
    run = Run(tmp_path)
    plan = run.plan("a", sample_rows=1)
    assert run.count() == []
    told = run.publish()
    assert told["preview"] and told["uri"].endswith(f"_previews/dt={DATE}/{plan.plan_id}")
    assert (tmp_path / "warehouse/_previews" / f"dt={DATE}" / plan.plan_id / "try.html").is_file()
    assert (run.current(), run.outlets, run.events) == (None, [], [])
    assert who_holds(run.place.work) is None


def test_a_ceiling_of_money_needs_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prices_for(settings()) is None
    with pytest.raises(ParamsError, match="max_cost: there are no prices to keep it by; set REGIONCAP_PRICES"):
        prices_for(settings(max_cost=1))
    monkeypatch.setenv("REGIONCAP_PRICES", '{"currency": "EUR", "server_hour": 2}')
    prices = prices_for(settings(max_cost=1))
    assert prices is not None and prices.server_hour == 2


def test_what_is_told_of_a_published_build_has_its_cost(tmp_path: Path, airflow: Requests) -> None:
    run = Run(tmp_path)
    run.plan("a")
    run.count()
    run.approve(0)
    run.answer(0)
    assert run.publish()["cost"]["unknown_tasks"] >= 0
