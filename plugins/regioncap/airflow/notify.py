"""Tells people how runs end, through the one of Airflow's notifiers that the deployment names."""

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from regioncap.airflow.deadline import NightlyStart
from regioncap.airflow.links import date_page, run_page
from regioncap.airflow.params import drop_date_of, nightly_settings
from regioncap.airflow.places import briefly, open_partition
from regioncap.config.deployment import Deployment, NotifierConfig
from regioncap.errors import ManifestError
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import current


def overdue_alert(deployment: Deployment) -> DeadlineAlert | None:
    """The DAG's deadline, where somebody wants to know of it."""
    if deployment.overdue is None or deployment.notifier is None or "overdue" not in deployment.notifier.events:
        return None
    return DeadlineAlert(reference=NightlyStart(), interval=deployment.overdue, callback=AsyncCallback(tell_overdue))


def tell_failure(context: Context) -> None:
    """Failure callback of a DAG. It asks nothing of a bucket, which may be what failed."""
    notifier = Deployment.from_environment().notifier
    if notifier and "failure" in notifier.events:
        # Airflow leaves out the task where no single one is to blame.
        where = f" in {context['ti'].task_id}" if "ti" in context else ""
        _tell(notifier, context, f"run {context['run_id']} failed{where}", context["dag"].dag_id, context["run_id"])


def tell_success(context: Context) -> None:
    """Success callback of a DAG. A backfill is followed as a whole, so its runs are not told one by one."""
    notifier = Deployment.from_environment().notifier
    if notifier and "success" in notifier.events and context["dag_run"].run_type != "backfill":
        warehouse_uri, date = context["params"]["warehouse_uri"], drop_date_of(context)
        message = f"{warehouse_uri.rstrip('/')}/{partition_path(date)} is published"
        _tell(notifier, context, message, context["dag"].dag_id, context["run_id"], date_page(warehouse_uri, date))


async def tell_overdue(context: Mapping[str, Any]) -> None:
    """Called in the triggerer when a nightly run has not ended well in time; says nothing if its date is published."""
    await asyncio.to_thread(_tell_overdue, context)


def _tell_overdue(context: Mapping[str, Any]) -> None:
    notifier, run = Deployment.from_environment().notifier, context["dag_run"]
    date, due = run["partition_key"], f"{context['deadline']['deadline_time']:%H:%M} UTC"
    if notifier and (fault := _not_published(date, due)):
        _tell(notifier, context, f"{fault}, its run is {run['state']}", run["dag_id"], run["dag_run_id"])


def _not_published(date: str, due: str) -> str | None:
    """What there is to tell of a date that is due; None where it is published. Of a bucket it is asked once."""
    try:
        with briefly():
            published, _ = current(open_partition(nightly_settings().warehouse_uri, date))
    except ManifestError:
        # What is damaged or not to be read is no published date: its run fails at it, and somebody has to look.
        return f"{date} is not published by {due}"
    except Exception as error:  # whatever keeps the date from being looked at may keep it from being published
        return f"whether {date} is published by {due} cannot be told ({error})"
    return None if published is not None else f"{date} is not published by {due}"


def _tell(
    config: NotifierConfig, context: Mapping[str, Any], message: str, dag_id: str, run_id: str, page: str | None = None
) -> None:
    """The arguments are the deployment's templates; the message is only ever a value in them."""
    module, _, name = config.path.rpartition(".")
    notifier = getattr(import_module(module), name)(**config.arguments)
    pages = " and ".join(filter(None, [run_page(dag_id, run_id), page]))
    notifier({**context, "message": f"{dag_id}: {message}: {pages}"})
