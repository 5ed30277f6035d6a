"""What the nightly deadline counts from. On its own, since every process of Airflow loads it with the plugin."""

from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class NightlyStart(BaseDeadlineReference):
    """When a nightly run is due. Runs of any other kind have no deadline.

    Airflow's own references fit no nightly run of dates as partitions: it has no logical date, and other runs are
    queued too.
    """

    required_kwargs = frozenset({"dag_id", "run_id"})

    def _evaluate_with(self, *, session: "Session", dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        return session.scalar(
            select(DagRun.run_after).where(
                DagRun.dag_id == dag_id, DagRun.run_id == run_id, DagRun.run_type == "scheduled"
            )
        )
