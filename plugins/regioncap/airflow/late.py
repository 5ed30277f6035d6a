"""Finds drops that came after their own night."""

from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from regioncap.airflow.build import is_alive
from regioncap.airflow.late_dates import late_dates, run_id
from regioncap.airflow.params import drop_date_of, nightly_settings
from regioncap.airflow.places import (
    DROPS_CONNECTION,
    WAREHOUSE_CONNECTION,
    open_drop,
    open_partition,
    open_work,
)
from regioncap.drop.drop import not_ready
from regioncap.errors import ArchivedError, LinkError, ManifestError
from regioncap.warehouse.manifest import current
from regioncap.work.claim import who_holds
from regioncap.work.staged import was_somebody_asked


class LateDropsOperator(BaseOperator):
    """Looks which of the `days` dates before the run's have a drop by now, no build, and nobody who makes one.

    A date about which a person was asked is left to that person.

    Returns what a TriggerDagRunOperator needs for each, to be mapped over. Skipped while `dag_to_run` is paused.
    """

    def __init__(
        self,
        *,
        dag_to_run: str,
        days: int,
        drops_conn_id: str = DROPS_CONNECTION,
        warehouse_conn_id: str = WAREHOUSE_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dag_to_run = dag_to_run
        self.days = days
        self.drops_conn_id = drops_conn_id
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        if context["ti"].get_dag(self.dag_to_run).is_paused:
            raise AirflowSkipException(f"{self.dag_to_run} is paused")
        tonight, settings = drop_date_of(context), nightly_settings()

        def is_late(date: str) -> bool:
            try:
                return is_unbuilt(date)
            except (ArchivedError, LinkError, ManifestError) as error:
                # A run of this date would fail at it too, and the other dates have nothing to do with it.
                self.log.warning("%s is left out: %s", date, error)
                return False

        def is_unbuilt(date: str) -> bool:
            partition = open_partition(settings.warehouse_uri, date, self.warehouse_conn_id)
            work = open_work(settings.work_root, date, self.warehouse_conn_id)
            drop = open_drop(settings.drops_uri, date, self.drops_conn_id)
            return (
                current(partition)[0] is None
                and not_ready(drop, settings.readiness, drop.now()) is None
                and not ((builder := who_holds(work)) and is_alive(context, builder))
                and not was_somebody_asked(work)
            )

        dates = late_dates(tonight, self.days, is_late)
        self.log.info("late drops of the %s days before %s: %s", self.days, tonight, ", ".join(dates) or "none")
        return [{"trigger_run_id": run_id(date, tonight), "conf": {"drop_date": date}} for date in dates]
