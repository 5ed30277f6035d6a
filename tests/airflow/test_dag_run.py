"""The whole DAG in one process with `dag.test()`: local folders, and a VLM that answers as told."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.asset import AssetEvent
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import func, select
from typer.testing import CliRunner

from regioncap.cli.app import app
from regioncap.errors import SupersededError
from regioncap.regions.served import Served
from regioncap.storage.local import LocalStore
from regioncap.warehouse.manifest import Manifest
from regioncap.work.claim import Claim, who_holds
from tests.airflow.conftest import PLACES, ROOT
from tests.builders import DATE, encoded, picture
from tests.fake_vlm import MODEL, FakeVlm, completion, fake_vlm
from tests.listening import heard

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def vlm(vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> FakeVlm:
    """The fake VLM, as Airflow's connection."""
    connection = {"conn_type": "generic", "host": vlm.url, "extra": {"model": MODEL, "patience_seconds": 60}}
    monkeypatch.setenv("AIRFLOW_CONN_REGIONCAP_VLM", json.dumps(connection))
    return vlm


@pytest.fixture
def drop() -> Iterator[Path]:
    folder = PLACES / "drops" / DATE
    folder.mkdir(parents=True)
    for index in range(4):
        (folder / f"{index}.jpg").write_bytes(encoded(picture(colour=(index * 40, 90, 160))))
    rows = [{"image": f"{index}.jpg", "bbox": [[10, 10, 40, 30]]} for index in range(4)] + [{"image": "none.jpg"}]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "_READY").touch()
    yield folder
    shutil.rmtree(PLACES)


def run(**params: Any) -> Any:
    bag = BundleDagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")
    return bag.dags["region_captions"].test(run_conf={"drop_date": DATE, "shard_size": 2, "judge": "none", **params})


def states(dag_run: Any) -> dict[tuple[str, int], str]:
    return {(task.task_id, task.map_index): str(task.state) for task in dag_run.get_task_instances()}


def events() -> int:
    """How many events of assets there are."""
    with create_session() as session:
        return session.scalar(select(func.count()).select_from(AssetEvent)) or 0


def manifest() -> Manifest:
    return Manifest.model_validate_json((PLACES / "warehouse" / f"dt={DATE}" / "_manifest.json").read_bytes())


def test_a_drop_becomes_a_published_partition(drop: Path, vlm: FakeVlm) -> None:
    done = run()
    assert done.state == DagRunState.SUCCESS
    counts = manifest().counts
    assert (counts.rows, counts.captioned, counts.rejected) == (5, 4, 1)
    assert len(vlm.requests) == 4


def test_captions_are_judged_by_a_connection_of_its_own_where_there_is_one(
    drop: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_vlm(lambda _, body: heard(["1"], 1)) as judge:
        judge.greets_listening, judge.models = lambda _: heard(["1"], 1), ["another"]
        connection = {"conn_type": "generic", "host": judge.url, "extra": {"model": "another"}}
        monkeypatch.setenv("AIRFLOW_CONN_REGIONCAP_JUDGE", json.dumps(connection))
        done = run(judge="all")
        assert done.state == DagRunState.SUCCESS
        assert {state for (task, _), state in states(done).items() if task == "shard.judge"} == {"success"}
        asked = len(judge.requests)
        assert asked >= 4 and not any("top_logprobs" in body for body in vlm.requests)
        judged = manifest().judged
        assert judged is not None
        assert (judged.judge, judged.same_model, judged.judged) == ("another", False, 4)
        assert "4 captions were judged" in str(judged.reason)
        # Nothing has changed, so nobody is asked again.
        run(judge="all")
        assert len(judge.requests) == asked


def test_where_the_judge_has_no_connection_the_vlm_judges_and_one_that_cannot_is_told_of(
    drop: Path, vlm: FakeVlm
) -> None:
    done = run(judge="sample")
    assert done.state == DagRunState.SUCCESS
    judged = manifest().judged
    assert judged is not None and judged.same_model and judged.share is None
    assert "does not tell probabilities of tokens" in str(judged.reason)


def test_a_second_run_publishes_nothing_new_and_asks_nothing(drop: Path, vlm: FakeVlm) -> None:
    run()
    first, asked = manifest(), len(vlm.requests)
    again = run()
    assert again.state == DagRunState.SUCCESS
    assert manifest() == first
    assert len(vlm.requests) == asked
    assert {state for (task, _), state in states(again).items() if task.startswith("shard.")} == {"skipped"}


def test_a_run_after_the_server_serves_another_model_under_the_same_name_builds_anew(drop: Path, vlm: FakeVlm) -> None:
    vlm.tells = {"root": "/models/a"}
    run()
    first, asked = manifest(), len(vlm.requests)
    assert first.served == Served(model={"root": "/models/a"})
    vlm.tells = {"root": "/models/b"}
    assert run().state == DagRunState.SUCCESS
    assert manifest().served == Served(model={"root": "/models/b"})
    assert len(vlm.requests) == 2 * asked


def test_what_was_forgotten_no_later_run_brings_back(drop: Path, vlm: FakeVlm) -> None:
    run()
    asked = len(vlm.requests)
    warehouse = ["--warehouse-uri", str(PLACES / "warehouse")]
    done = CliRunner().invoke(app, ["forget", "2.jpg", "--delete", *warehouse])
    assert done.exit_code == 0, done.stderr
    assert manifest().counts.captioned == 3
    assert run(export_formats=["csv"]).state == DagRunState.SUCCESS
    found = manifest()
    assert (found.counts.captioned, found.counts.rejected, found.forgotten) == (3, 2, 2)
    assert len(vlm.requests) == asked
    assert '"2.jpg"' not in (PLACES / "warehouse" / f"dt={DATE}" / found.captions[0].path).read_text()


def test_a_claim_of_a_run_that_airflow_does_not_know_keeps_nobody_waiting(drop: Path, vlm: FakeVlm) -> None:
    work = LocalStore(PLACES / "warehouse" / "_work" / f"dt={DATE}")
    deleted = Claim.take(work, "region_captions/deleted", lambda run: True)
    assert run().state == DagRunState.SUCCESS
    assert who_holds(work) is None
    with pytest.raises(SupersededError):
        deleted.check()


def test_the_vlm_is_asked_for_boxes_before_marks_are_drawn(drop: Path, vlm: FakeVlm) -> None:
    with (drop / "manifest.jsonl").open("a") as rows:
        rows.write('{"image": "0.jpg"}\n')
    done = run(when_no_boxes="ask_model", model_profile="qwen2.5-vl", max_rejected_ratio=0.5)
    assert done.state == DagRunState.SUCCESS
    # The drop's last shard has the rows without boxes; of these, one has no image either.
    assert [state for (task, _), state in states(done).items() if task == "propose"] == ["success"]
    assert (manifest().counts.captioned, manifest().counts.rejected) == (5, 1)
    assert len(vlm.requests) == 6


def test_where_no_boxes_are_asked_for_nothing_waits_for_the_gpu_queue_before_marks_are_drawn(
    drop: Path, vlm: FakeVlm
) -> None:
    assert {state for (task, _), state in states(run()).items() if task == "propose"} == {"skipped"}


def test_a_build_is_published_unasked_where_nobody_wants_to_be_asked_or_nothing_is_unusual(
    drop: Path, vlm: FakeVlm
) -> None:
    assert states(run())[("approve", -1)] == "skipped"
    first = manifest()
    done = run(approval="on_warning", mark_style="corners")
    assert done.state == DagRunState.SUCCESS
    assert states(done)[("approve", 0)] == "success"
    assert manifest().build_id != first.build_id


def test_a_manual_run_fails_at_once_when_the_drop_is_not_there(vlm: FakeVlm) -> None:
    done = run()
    assert done.state == DagRunState.FAILED
    assert states(done)[("wait_for_drop", -1)] == "failed"
    assert vlm.requests == []


def test_nothing_is_published_when_too_many_rows_are_rejected(drop: Path, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: completion("")
    done = run()
    assert done.state == DagRunState.FAILED
    assert states(done)[("publish", -1)] == "failed"
    # The build that was begun has its images, and nothing that a reader would find.
    left = [path.name for path in (PLACES / "warehouse").glob("dt=*/build=*/[!.]*")]
    assert [path.name for path in (PLACES / "warehouse").glob("dt=*/_manifest.json")] == []
    assert set(left) <= {"_begun.json", "images"}


def test_a_run_into_another_warehouse_is_no_event_of_the_asset(drop: Path, vlm: FakeVlm) -> None:
    before = events()
    done = run(warehouse_uri=str(PLACES / "warehouse" / "experiments"))
    assert done.state == DagRunState.SUCCESS
    assert list((PLACES / "warehouse" / "experiments").glob("dt=*/_manifest.json")) != []
    assert events() == before
    run()
    assert events() == before + 1


def test_a_place_outside_the_allowed_roots_is_refused(drop: Path, vlm: FakeVlm, tmp_path: Path) -> None:
    with pytest.raises(ParamValidationError, match="does not match"):
        run(warehouse_uri=str(tmp_path))
    # A path that only looks as if it were below a root gets through the form, but no further.
    done = run(warehouse_uri=str(PLACES / "warehouse" / ".." / ".." / tmp_path.name))
    assert done.state == DagRunState.FAILED
    assert list(tmp_path.iterdir()) == []


def test_a_vlm_that_serves_another_model_fails_the_run_and_loses_nothing(drop: Path, vlm: FakeVlm) -> None:
    vlm.models = ["another"]
    assert run().state == DagRunState.FAILED
    vlm.models = [MODEL]
    assert run().state == DagRunState.SUCCESS
    assert len(vlm.requests) == 4
