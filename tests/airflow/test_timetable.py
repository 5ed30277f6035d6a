"""Which date each nightly run builds, and which dates a backfill has, whatever the schedule."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pendulum
import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DagRunInfo, TimeRestriction, Timetable
from hypothesis import given, settings
from hypothesis import strategies as st

from regioncap.airflow.timetable import DayBefore
from tests.airflow.conftest import ROOT


def timetable(schedule: str, dag_id: str = "region_captions") -> Timetable:
    """The schedule of a deployment, as the scheduler has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGIONCAP_SCHEDULE", schedule)
        bag = BundleDagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")
    assert bag.import_errors == {}
    return DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[dag_id])).timetable


def nights(of: Timetable, first: str, runs: int) -> list[DagRunInfo]:
    """The first runs from `first` on, one after the other."""
    restriction = TimeRestriction(earliest=pendulum.parse(first), latest=None, catchup=True)  # type: ignore[arg-type]
    infos: list[DagRunInfo] = []
    for _ in range(runs):
        info = of.next_dagrun_info_v2(last_dagrun_info=infos[-1] if infos else None, restriction=restriction)
        assert info is not None
        infos.append(info)
    return infos


def backfilled(of: Timetable, first: str, last: str) -> list[Any]:
    """The partition keys of a backfill, both dates included."""
    infos = of.iter_partition_dagrun_infos(
        earliest=datetime.fromisoformat(f"{first}T00:00:00Z"), latest=datetime.fromisoformat(f"{last}T23:59:59Z")
    )
    return [info.partition_key for info in infos]


def test_a_schedule_that_skips_days_builds_the_day_before_each_of_its_own() -> None:
    """Tuesday to Saturday: Monday to Friday."""
    runs = nights(timetable("30 2 * * 2-6"), "2026-11-23T00:00:00Z", 6)
    assert [(f"{run.run_after:%a %H:%M}", run.partition_key) for run in runs] == [
        ("Tue 02:30", "2026-11-23"),
        ("Wed 02:30", "2026-11-24"),
        ("Thu 02:30", "2026-11-25"),
        ("Fri 02:30", "2026-11-26"),
        ("Sat 02:30", "2026-11-27"),
        ("Tue 02:30", "2026-11-30"),
    ]


def test_the_dates_of_a_schedule_that_skips_days_can_be_backfilled_and_no_others() -> None:
    schedule = timetable("30 2 * * 2-6")
    week = ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27"]
    assert backfilled(schedule, "2026-11-23", "2026-11-27") == week
    assert backfilled(schedule, "2026-11-21", "2026-11-29") == week
    assert backfilled(schedule, "2026-11-23", "2026-11-23") == ["2026-11-23"]
    assert backfilled(schedule, "2026-11-28", "2026-11-29") == []


@pytest.mark.parametrize("schedule", ["0 0 * * *", "30 2 * * *", "59 23 * * *", "@daily"])
def test_a_daily_schedule_builds_yesterday_and_every_date_of_a_backfill(schedule: str) -> None:
    daily = timetable(schedule)
    runs = nights(daily, "2026-02-27T12:00:00Z", 3)
    assert [run.partition_key for run in runs] == [
        (run.run_after - timedelta(days=1)).date().isoformat() for run in runs
    ]
    assert [(after.run_after - before.run_after).days for before, after in pairwise(runs)] == [1, 1]
    assert backfilled(daily, "2026-02-27", "2026-03-02") == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]


def test_a_schedule_of_several_runs_a_day_has_each_date_once_in_a_backfill() -> None:
    often = timetable("0 */6 * * *")
    assert {run.partition_key for run in nights(often, "2026-11-24T00:00:00Z", 4)} == {"2026-11-23"}
    assert backfilled(often, "2026-11-23", "2026-11-24") == ["2026-11-23", "2026-11-24"]


@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    hour=st.integers(0, 23),
    start=st.dates(datetime(2026, 1, 1).date(), datetime(2028, 12, 31).date()),
)
@settings(max_examples=50, deadline=None)
def test_what_nights_build_is_what_a_backfill_of_the_same_dates_builds(
    days: set[int], hour: int, start: datetime
) -> None:
    schedule = DayBefore(f"0 {hour} * * {','.join(map(str, sorted(days)))}")
    runs = nights(schedule, f"{start}T00:00:00Z", 5)
    keys = [run.partition_key for run in runs]
    assert keys == [(run.run_after - timedelta(days=1)).date().isoformat() for run in runs]
    assert keys[0] is not None and keys[-1] is not None
    assert backfilled(schedule, keys[0], keys[-1]) == keys


def test_a_partition_key_is_a_date_and_no_other_key_makes_a_run() -> None:
    schedule = timetable("30 2 * * 2-6")
    assert schedule.resolve_partition_date("2026-11-23") == datetime(2026, 11, 23, tzinfo=UTC)
    with pytest.raises(ValueError, match="does not match"):
        schedule.resolve_partition_date("yesterday")


def test_late_drops_are_looked_for_from_the_same_dates() -> None:
    runs = nights(timetable("30 2 * * 2-6", "region_captions_late"), "2026-11-30T00:00:00Z", 1)
    assert [run.partition_key for run in runs] == ["2026-11-30"]
