"""Tells people how runs end, through the one of Airflow's notifiers that the deployment names."""

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import quote

from airflow.sdk import Context
from airflow.sdk.configuration import conf
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from regioncap.builds.layout import partition
from regioncap.builds.manifest import current
from regioncap.hooks.deployment import Deployment, NotifierConfig
from regioncap.hooks.places import open_partition
from regioncap.operators.deadline import NightlyStart
from regioncap.operators.params import drop_date_of


def overdue_alert(deployment: Deployment) -> DeadlineAlert | None:
    """The DAG's deadline, where somebody wants to know of it."""
    if deployment.overdue is None or deployment.notifier is None or "overdue" not in deployment.notifier.events:
        return None
    return DeadlineAlert(reference=NightlyStart(), interval=deployment.overdue, callback=AsyncCallback(tell_overdue))


def tell_failure(context: Context) -> None:
    """Failure callback of the DAG."""
    notifier = Deployment.from_environment().notifier
    if notifier and "failure" in notifier.events:
        task = context["ti"].task_id if "ti" in context else "a task"
        _tell(notifier, context, f"the run for {drop_date_of(context)} failed in {task}: {_link(context['run_id'])}")


def tell_success(context: Context) -> None:
    """Success callback of the DAG. A backfill is followed as a whole, so its runs are not told one by one."""
    notifier = Deployment.from_environment().notifier
    if notifier and "success" in notifier.events and context["dag_run"].run_type != "backfill":
        date, warehouse = drop_date_of(context), str(context["params"]["warehouse_uri"])
        _tell(notifier, context, f"{date} is published: {warehouse.rstrip('/')}/{partition(date)}")


async def tell_overdue(context: Mapping[str, Any]) -> None:
    """Called in the triggerer when a nightly run has not ended well in time; not where its date is published anyway."""
    await asyncio.to_thread(_tell_overdue, context)


def _tell_overdue(context: Mapping[str, Any]) -> None:
    deployment, run = Deployment.from_environment(), context["dag_run"]
    date = run["partition_key"]
    if deployment.notifier and current(open_partition(deployment.warehouse_uri, date))[0] is None:
        due = f"{context['deadline']['deadline_time']:%H:%M} UTC"
        message = f"{date} is not published by {due}; its run is {run['state']}: {_link(run['dag_run_id'])}"
        _tell(deployment.notifier, context, message)


def _tell(config: NotifierConfig, context: Any, message: str) -> None:
    """The arguments are the deployment's templates; the message is only ever a value in them."""
    module, _, name = config.path.rpartition(".")
    notifier = getattr(import_module(module), name)(**config.arguments)
    notifier({**context, "message": f"region_captions: {message}"})


def _link(run_id: str) -> str:
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/dags/region_captions/runs/{quote(run_id)}"
