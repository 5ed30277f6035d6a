"""Waits for the run's drop."""

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from regioncap.airflow.drop_ready import DropReadyTrigger
from regioncap.airflow.params import drop_date_of, run_settings
from regioncap.airflow.places import DROPS_CONNECTION, check_places, open_drop
from regioncap.drop.drop import not_ready
from regioncap.errors import DropError


class WaitForDrop(BaseOperator):
    """Goes on when the run's drop is ready. If it is not, the kind of run decides:

    a scheduled run waits, deferred, until `patience` after it was due, then fails; a backfill run is skipped; any other
    run was started by somebody who wants to know, and fails at once. Returns the drop date.
    """

    def __init__(
        self,
        *,
        patience: timedelta,
        poke_interval: timedelta,
        drops_conn_id: str = DROPS_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.patience = patience
        self.poke_interval = poke_interval
        self.drops_conn_id = drops_conn_id

    def execute(self, context: Context) -> str:
        date, settings = drop_date_of(context), run_settings(context)
        check_places(settings)
        drop = open_drop(settings.drops_uri, date, self.drops_conn_id)
        reason = not_ready(drop, settings.readiness, drop.now())
        if reason is None:
            return date
        run = context["dag_run"]
        if run.run_type == "backfill":
            # The UI folds away what Airflow itself logs of a skip.
            self.log.info("skipped: %s", reason)
            raise AirflowSkipException(reason)
        if run.run_type != "scheduled":
            raise DropError(reason)
        deadline = run.run_after + self.patience
        self.log.info("%s; waiting until %s", reason, f"{deadline:%Y-%m-%d %H:%M} UTC")
        self.defer(
            trigger=DropReadyTrigger(
                drops_uri=settings.drops_uri,
                date=date,
                readiness=settings.readiness,
                deadline=deadline.timestamp(),
                poke_interval=self.poke_interval.total_seconds(),
                drops_conn_id=self.drops_conn_id,
            ),
            method_name="resume",
        )

    def resume(self, context: Context, event: dict[str, Any]) -> str:
        """Called when the trigger fires. Raises DropError where the drop did not come."""
        if not event["ready"]:
            raise DropError(event["reason"])
        return drop_date_of(context)
