"""When nightly runs start, and which date each of them builds."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable
from pendulum import DateTime

_A_DAY = timedelta(days=1)


class DayBefore(CronPartitionTimetable):
    """A run at every tick of a cron expression (UTC), for the date of the day before it.

    Airflow's own timetable goes a tick back instead of a day: the two are the same only where there is one tick a day.
    The date is the run's partition key.
    """

    def __init__(self, cron: str) -> None:
        super().__init__(cron, timezone="UTC", run_offset=-1, key_format="%Y-%m-%d")

    @classmethod
    def deserialize(cls, data: dict[str, str]) -> "DayBefore":
        """Called by Airflow with what `serialize` returned."""
        return cls(data["expression"])

    def serialize(self) -> dict[str, str]:
        """Called by Airflow, which keeps it in its database."""
        return {"expression": self._expression}

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """For a backfill: the dates of the schedule from `earliest` to `latest` (both included), each of them once."""
        tick = self._align_to_next(self.localize_partition_datetime(earliest) + _A_DAY)
        key = ""
        while (date := self._get_partition_date(run_date=tick)) <= self.localize_partition_datetime(latest):
            before, key = key, self._format_key(date)
            if key != before:
                yield DagRunInfo(run_after=date, data_interval=None, partition_date=date, partition_key=key)
            tick = self._get_next(tick)

    def _get_partition_date(self, *, run_date: DateTime) -> DateTime:
        return run_date - _A_DAY
