"""Waiting for a drop: what each kind of run does when it is not there, and when the trigger fires."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from regioncap.airflow.drop_ready import DropReadyTrigger
from regioncap.airflow.wait_for_drop import WaitForDrop
from regioncap.errors import DropError, PermanentError, StorageError, StorageUnavailableError
from regioncap.storage.local import LocalStore
from regioncap.storage.patience import is_brief
from regioncap.storage.store import Entry
from tests.airflow.conftest import PLACES
from tests.builders import DATE

DUE = datetime(2026, 10, 6, tzinfo=UTC)


@pytest.fixture
def drop() -> Iterator[Path]:
    """The folder of a drop that is not ready."""
    folder = PLACES / "drops" / DATE
    folder.mkdir(parents=True)
    (folder / "manifest.jsonl").write_text("{}\n")
    yield folder
    shutil.rmtree(PLACES)


def sensor() -> WaitForDrop:
    return WaitForDrop(task_id="wait", patience=timedelta(hours=1), poke_interval=timedelta(seconds=60))


def context(run_type: str, **params: Any) -> Any:
    places = {"drops_uri": str(PLACES / "drops"), "warehouse_uri": str(PLACES / "warehouse")}
    run = SimpleNamespace(run_type=run_type, partition_key=DATE, logical_date=None, run_after=DUE)
    return {"dag_run": run, "params": {**places, **params}}


def fired(trigger: DropReadyTrigger) -> dict[str, Any]:
    """The payload of the trigger's event."""

    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(asyncio.wait_for(first(), 300))


def trigger(seconds: float = 600.0) -> DropReadyTrigger:
    return DropReadyTrigger(
        drops_uri=str(PLACES / "drops"),
        date=DATE,
        readiness="marker",
        deadline=time.time() + seconds,
        poke_interval=0.1,
    )


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "backfill"])
def test_a_ready_drop_is_taken_at_once(drop: Path, run_type: str) -> None:
    (drop / "_READY").touch()
    assert sensor().execute(context(run_type)) == DATE


def test_a_scheduled_run_waits_without_holding_a_slot(drop: Path) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor().execute(context("scheduled"))
    waiting = deferred.value.trigger
    assert isinstance(waiting, DropReadyTrigger)
    # However late the task itself starts.
    assert waiting.deadline == (DUE + timedelta(hours=1)).timestamp()


def test_a_backfill_run_is_skipped_with_the_reason(drop: Path) -> None:
    with pytest.raises(AirflowSkipException, match="no _READY file yet"):
        sensor().execute(context("backfill"))


def test_a_manual_run_fails_with_the_reason(drop: Path) -> None:
    with pytest.raises(DropError, match="no _READY file yet"):
        sensor().execute(context("manual"))


def test_a_place_that_the_deployment_does_not_allow_is_not_looked_at() -> None:
    with pytest.raises(StorageError, match="not below a root"):
        sensor().execute(context("manual", drops_uri="/etc"))


@pytest.mark.parametrize("uri", ["drops/.\t./other", "drops#", "drops?x=", "drops/%2e%2e/", "warehouse/../drops"])
@pytest.mark.parametrize("param", ["drops_uri", "warehouse_uri", "work_uri"])
def test_a_place_that_could_be_read_as_another_is_not_looked_at(drop: Path, param: str, uri: str) -> None:
    (drop / "_READY").touch()
    with pytest.raises(StorageError, match=r"is not a place|must not have"):
        sensor().execute(context("manual", **{param: f"{PLACES}/{uri}"}))


@pytest.mark.parametrize("readiness", ["marker", "unchanged"])
def test_a_drop_that_is_a_link_is_not_followed(drop: Path, tmp_path: Path, readiness: str) -> None:
    (drop / "_READY").touch()
    drop.rename(tmp_path / "elsewhere")
    drop.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermanentError, match=f"{DATE}.* leads through a symbolic link, which is never followed"):
        sensor().execute(context("manual", readiness=readiness))


def test_the_folder_of_all_drops_may_be_a_link_where_the_deployment_says_so(drop: Path, tmp_path: Path) -> None:
    (drop / "_READY").touch()
    (PLACES / "drops").rename(tmp_path / "elsewhere")
    (PLACES / "drops").symlink_to(tmp_path / "elsewhere")
    assert sensor().execute(context("manual")) == DATE
    (tmp_path / "elsewhere" / "team").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermanentError, match="symbolic link"):
        sensor().execute(context("manual", drops_uri=f"{PLACES}/drops/team"))


def test_the_trigger_fires_when_the_drop_becomes_ready(drop: Path) -> None:
    async def late() -> dict[str, Any]:
        waiting = asyncio.ensure_future(anext(trigger().run()))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        (drop / "_READY").touch()
        return dict((await asyncio.wait_for(waiting, 300)).payload)

    assert asyncio.run(late()) == {"ready": True, "reason": ""}


def test_the_trigger_gives_up_at_the_deadline_and_says_why(drop: Path) -> None:
    event = fired(trigger(seconds=0.3))
    assert event["ready"] is False
    assert "the deadline has passed" in event["reason"] and "_READY" in event["reason"]
    with pytest.raises(DropError, match="the deadline has passed"):
        sensor().resume(context("scheduled"), event)


class ServiceBehind(LocalStore):
    """A service whose clock is an hour behind this machine's."""

    def now(self) -> float:
        return super().now() - 3600

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return (replace(entry, modified=entry.modified - 3600) for entry in super().list(prefix))


def test_a_drop_is_quiet_by_the_clock_of_the_service_and_not_by_this_machines(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = ServiceBehind(drop)
    for module in ("wait_for_drop", "drop_ready"):
        monkeypatch.setattr(f"regioncap.airflow.{module}.open_drop", lambda *_: service)
    with pytest.raises(TaskDeferred):
        sensor().execute(context("scheduled", readiness="unchanged"))
    waiting = trigger(seconds=0.3)
    waiting.readiness = "unchanged"
    assert "nothing changes for 600 s" in fired(waiting)["reason"]


def test_the_trigger_asks_a_bucket_briefly_and_gives_up_at_the_deadline_though_it_is_away(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []

    def away(*_: Any) -> Any:
        looks.append(is_brief())
        raise StorageUnavailableError("s3://drops cannot be reached")

    monkeypatch.setattr("regioncap.airflow.drop_ready.open_drop", away)
    assert fired(trigger(seconds=0.3)) == {
        "ready": False, "reason": "the deadline has passed: s3://drops cannot be reached"
    }  # fmt: skip
    assert looks and all(looks)


def test_a_place_that_is_none_ends_the_wait_at_once() -> None:
    broken = DropReadyTrigger(
        drops_uri="ftp://x", date=DATE, readiness="marker", deadline=time.time() + 60, poke_interval=30
    )
    assert "is not a place RegionCap can use" in fired(broken)["reason"]


def test_a_trigger_survives_its_way_through_the_database() -> None:
    path, arguments = trigger().serialize()
    assert path == f"{DropReadyTrigger.__module__}.{DropReadyTrigger.__qualname__}"
    assert DropReadyTrigger(**arguments).serialize() == (path, arguments)
