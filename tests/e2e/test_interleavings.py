"""Runs that get in each other's way, and people who clear and mark tasks: the right build, or none."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.airflow import AirflowError
from deploy.local.stack import DAG
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.whole import problems
from tests.e2e.conftest import Rig

pytestmark = pytest.mark.timeout(1800)

DATE, ASKED_DATE = "2026-03-10", "2026-03-11"
# Two shards.
BUILD = {"drop_date": DATE, "shard_size": 2, "caption_mode": "joint"}
EXPERIMENTS = "s3://warehouse/experiments"


@dataclass(frozen=True)
class UnderWay:
    """Three runs: two of one date with other settings, the second of which waits, and one that asks a person."""

    first: str
    second: str
    asking: str


@pytest.fixture(scope="module")
def under_way(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> UnderWay:
    """All at once, since a run that waits looks once a minute."""
    upload(rig, tmp_path_factory.mktemp("drop"), DATE, images=4)
    first = rig.trigger({**BUILD, "mark_style": "box"})
    upload(rig, tmp_path_factory.mktemp("drop"), ASKED_DATE, images=2, broken=1)
    params = {"approval": "always", "warehouse_uri": EXPERIMENTS, "max_rejected_ratio": 0.5, "caption_mode": "joint"}
    asking = rig.trigger({"drop_date": ASKED_DATE, **params})
    rig.wait(lambda: task(rig, first, "plan")["state"] == "success")
    return UnderWay(first, rig.trigger({**BUILD, "mark_style": "corners"}), asking)


def upload(rig: Rig, folder: Path, date: str, *, images: int, broken: int = 0) -> None:
    write_drop(folder, list(evaluation_rows(31, images)))
    with (folder / "manifest.jsonl").open("a") as rows:
        rows.write('{"image": "none.jpg"}\n' * broken)
    rig.upload(folder, date)


def whole(partition: S3Store) -> Manifest:
    """The current build, of which every file is as it was published."""
    manifest, _ = current(partition)
    assert manifest is not None
    assert list(problems(partition, manifest, read=True)) == []
    return manifest


def task(rig: Rig, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
    tasks = rig.api.task_instances(DAG, run_id)
    found = [each for each in tasks if (each["task_id"], each["map_index"]) == (task_id, map_index)]
    return found[0] if found else {"state": None}


def why(rig: Rig, run_id: str, task_id: str, map_index: int = -1) -> str:
    """The log of a task's last try."""
    return "\n".join(rig.api.task_log(DAG, run_id, task(rig, run_id, task_id, map_index)))


def insist(rig: Rig, ask: Callable[..., None], *what: Any, **more: Any) -> None:
    """Ask Airflow for something until it does it: SQLite may be locked just then, and it answers 500."""

    def done() -> bool:
        try:
            ask(DAG, *what, **more)
        except AirflowError as error:
            assert "Airflow answered 500" in str(error)
            return False
        return True

    rig.wait(done)


def test_what_is_published_is_the_build_that_a_person_was_asked_about(
    rig: Rig, under_way: UnderWay, tmp_path: Path
) -> None:
    asked, partition = under_way.asking, S3Store(rig.stack.s3, "warehouse", f"experiments/dt={ASKED_DATE}")
    rig.wait(lambda: rig.tasks(asked).get("approve") == ["awaiting_input"])
    before = rig.api.request(DAG, asked, "approve", 0)
    assert "| 3 | 2 | 1 |" in before["body"]

    # The drop is mended, and the run made to plan it anew.
    upload(rig, tmp_path / "drop", ASKED_DATE, images=2)
    insist(rig, rig.api.clear, asked, "plan", downstream=True)
    rig.wait(lambda: task(rig, asked, "approve", 1)["state"] == "awaiting_input")
    rig.wait(lambda: task(rig, asked, "approve", 0)["state"] == "skipped")
    now = rig.api.request(DAG, asked, "approve", 1)
    assert "| 2 | 2 | 0 |" in now["body"] and now["subject"] != before["subject"]

    # An answer to what was asked before counts for nothing.
    assert rig.api.request(DAG, asked, "approve", 0)["subject"] == before["subject"]
    insist(rig, rig.api.decide, asked, "approve", 0, "Approve")
    # Airflow notices up to five seconds late that the task that asked has ended.
    time.sleep(10)
    assert task(rig, asked, "approve", 1)["state"] == "awaiting_input"
    assert current(partition) == (None, None)

    assert rig.decide(asked, "Approve", map_index=1) == "success"
    published = whole(partition)
    assert published.build_id in now["subject"] and published.counts.rejected == 0
    # It lies in another place than the asset's, whose followers are not told of it.
    assert rig.events(ASKED_DATE) == []


def test_two_runs_of_a_date_with_other_settings_never_mix_whatever_is_cleared_or_marked(
    rig: Rig, under_way: UnderWay
) -> None:
    first, second = under_way.first, under_way.second
    assert rig.finish(first) == "success"
    assert rig.finish(second) == "success"
    # It waited for the first one, and said so.
    assert f"is being built by the run {DAG}/{first}" in why(rig, second, "plan")
    assert task(rig, second, "plan")["try_number"] == 1, "waiting uses up no try"
    of_second = whole(rig.store(DATE))
    (of_first,) = of_second.history
    assert of_second.fingerprint != of_first.fingerprint

    # Tasks of the first run, run again: the last one alone, and one with what follows.
    insist(rig, rig.api.clear, first, "publish", downstream=False)
    assert rig.finish(first) == "failed"
    assert f"the run {DAG}/{second} has planned" in why(rig, first, "publish")
    insist(rig, rig.api.clear, first, ("shard.validate", 1), downstream=True)
    assert rig.finish(first) == "failed"
    assert f"the run {DAG}/{second} has planned" in why(rig, first, "shard.validate", 1)
    assert whole(rig.store(DATE)) == of_second

    # A third run, of whose tasks one is marked as done that never ran.
    third = rig.trigger({**BUILD, "mark_style": "spotlight"})
    rig.wait(lambda: "map_index" in task(rig, third, "shard.validate", 1))
    insist(rig, rig.api.mark_success, third, "shard.validate", 1)
    assert rig.finish(third) == "failed"
    assert "validate" in why(rig, third, "publish")
    assert whole(rig.store(DATE)) == of_second
    insist(rig, rig.api.clear, third, ("shard.validate", 1), downstream=True)
    assert rig.finish(third) == "success"
    of_third = whole(rig.store(DATE))
    assert of_third.identity != of_second.identity and of_third.counts == of_second.counts
