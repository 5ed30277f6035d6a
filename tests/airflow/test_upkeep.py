"""The DAG that keeps the work area from growing for ever."""

import shutil
import time
from collections.abc import Collection, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from regioncap.airflow.upkeep import UpkeepOperator
from regioncap.work.claim import Claim
from tests.airflow.conftest import PLACES
from tests.builders import Place
from tests.unit.work.test_upkeep import say


@pytest.fixture(autouse=True)
def places() -> Iterator[None]:
    """An empty bucket, as folders."""
    PLACES.mkdir()
    yield
    shutil.rmtree(PLACES)


def built(date: str) -> Place:
    place = Place(PLACES, date)
    for rows in (2, 3):
        place.good_rows(rows)
        place.build(say)
    return place


def upkeep(alive: Collection[str] = (), **params: Any) -> dict[str, int]:
    def count(dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return len(set(run_ids) & set(alive))

    context: Any = {"params": params, "ti": SimpleNamespace(get_dr_count=count)}
    return UpkeepOperator(task_id="upkeep", days=30).execute(context)


def test_what_no_build_needs_goes_date_by_date(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = built("2026-10-05"), built("2026-10-06")
    Claim.take(second.work, "region_captions/night", lambda run: True)
    monkeypatch.setattr("regioncap.airflow.upkeep.time", SimpleNamespace(time=lambda: time.time() + 31 * 86_400))
    could = upkeep(dry_run=True)
    assert could["files_gone"] > 0 and len(first.work.sub("plans/").folders()) == 2
    told = upkeep(alive=["night"])
    assert 0 < told["files_gone"] < told["files"]
    assert len(first.work.sub("plans/").folders()) == 1
    # One that is being built is left alone until its run is over.
    assert len(second.work.sub("plans/").folders()) == 2
    upkeep()
    assert len(second.work.sub("plans/").folders()) == 1
    assert upkeep()["files_gone"] == 0
