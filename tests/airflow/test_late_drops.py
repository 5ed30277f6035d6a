"""Drops that came after their own night are found."""

import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from regioncap.airflow.late import LateDropsOperator
from regioncap.storage.local import LocalStore
from regioncap.warehouse.layout import MANIFEST
from regioncap.warehouse.manifest import Counts, FileEntry, Manifest
from regioncap.work.claim import Claim
from regioncap.work.layout import CLAIM, staged_path
from tests.airflow.conftest import PLACES
from tests.damage import DAMAGE, damage

TONIGHT = "2026-11-23"


@pytest.fixture(autouse=True)
def places() -> Iterator[None]:
    """An empty bucket, as folders."""
    PLACES.mkdir()
    yield
    shutil.rmtree(PLACES)


def drop(date: str, *, ready: bool = True) -> Path:
    folder = PLACES / "drops" / date
    folder.mkdir(parents=True)
    (folder / "manifest.jsonl").write_text("{}\n")
    if ready:
        (folder / "_READY").touch()
    return folder


def publish(date: str) -> None:
    rows = FileEntry(path="rejected.jsonl", rows=0, bytes=0, sha256="")
    manifest = Manifest(
        partition=f"dt={date}", build_id="b", build="build=b", captions=[], rejected=rows, created_at="", plan_id="",
        counts=Counts(rows=0, captioned=0, rejected=0, regions=0), fingerprint="", identity="",
    )  # fmt: skip
    LocalStore(PLACES / "warehouse" / f"dt={date}").write(MANIFEST, manifest.model_dump_json().encode())


def found(days: int = 7, paused: bool = False, alive: Collection[str] = ()) -> Any:
    def count(dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return len(set(run_ids) & set(alive)) if dag_id == "region_captions" else 0

    run = SimpleNamespace(run_type="scheduled", partition_key=TONIGHT, logical_date=None)
    ti = SimpleNamespace(get_dag=lambda dag_id: SimpleNamespace(is_paused=paused), get_dr_count=count)
    context: Any = {"dag_run": run, "run_id": "tonight", "params": {}, "ti": ti}
    return LateDropsOperator(task_id="late_drops", dag_to_run="region_captions", days=days).execute(context)


def test_a_drop_that_is_ready_and_not_published_gets_a_run_of_its_own() -> None:
    drop("2026-11-20")
    assert found() == [{"trigger_run_id": "late__2026-11-20__2026-11-23", "conf": {"drop_date": "2026-11-20"}}]
    # It can go to the database and back.
    assert json.loads(json.dumps(found())) == found()


def test_tonights_own_drop_and_those_of_long_ago_are_not_late() -> None:
    drop(TONIGHT)
    drop("2026-11-15")
    assert found() == []


def test_what_is_published_or_not_ready_or_being_built_is_left_alone() -> None:
    drop("2026-11-20")
    publish("2026-11-20")
    drop("2026-11-21", ready=False)
    drop("2026-11-22")
    work = LocalStore(PLACES / "warehouse" / "_work" / "dt=2026-11-22")
    Claim.take(work, "region_captions/another run", lambda run: True)
    assert found(alive={"another run"}) == []
    # Once that run is over, the date is nobody's.
    assert [run["conf"]["drop_date"] for run in found()] == ["2026-11-22"]


def test_a_date_about_which_a_person_was_asked_is_left_to_that_person() -> None:
    drop("2026-11-20")
    LocalStore(PLACES / "warehouse" / "_work" / "dt=2026-11-20").write(staged_path("plan"), b"{}")
    assert found() == []


def test_while_the_dag_is_paused_no_runs_pile_up() -> None:
    drop("2026-11-20")
    with pytest.raises(AirflowSkipException, match="region_captions is paused"):
        found(paused=True)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_date_whose_manifest_is_damaged_is_told_and_the_others_are_found(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    for date in ("2026-11-20", "2026-11-21"):
        drop(date)
    publish("2026-11-20")
    damage(PLACES / "warehouse/dt=2026-11-20" / MANIFEST, kind)
    assert [run["conf"]["drop_date"] for run in found()] == ["2026-11-21"]
    assert "dt=2026-11-20/_manifest.json cannot be read" in capsys.readouterr().out


def test_a_date_whose_claim_is_damaged_is_being_built_by_nobody() -> None:
    drop("2026-11-20")
    LocalStore(PLACES / "warehouse" / "_work" / "dt=2026-11-20").write(CLAIM, b"")
    assert len(found()) == 1


def test_a_date_whose_files_are_links_or_another_dates_harms_no_other() -> None:
    for date in ("2026-11-20", "2026-11-21", "2026-11-22"):
        drop(date)
    (PLACES / "elsewhere.json").write_text("{}")
    for date, name in (("2026-11-20", MANIFEST), ("2026-11-21", f"_work/dt=2026-11-21/{CLAIM}")):
        place = PLACES / "warehouse" / (name if "/" in name else f"dt={date}/{name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(PLACES / "elsewhere.json")
    assert [one["conf"]["drop_date"] for one in found()] == ["2026-11-22"]
