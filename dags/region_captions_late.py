"""### Late drops

A drop that comes after its own night has been given up is found here: at the hour of the nightly run, every date of the
last days that has a ready drop, no published build and nobody who builds it gets a run of `region_captions`. These runs
go after nightly and manual ones.

**Trigger** it to look right now; *Logical date* is the day from which it looks back.
"""

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from regioncap.airflow.build import RETRY_POLICY
from regioncap.airflow.late import LateDropsOperator
from regioncap.airflow.notify import tell_failure
from regioncap.airflow.timetable import DayBefore
from regioncap.config.deployment import Deployment

DEPLOYMENT = Deployment.from_environment()

with DAG(
    dag_id="region_captions_late",
    description="Builds drops that came after their own night",
    doc_md=__doc__,
    # The dates of `region_captions`: a run looks back from that day's.
    schedule=DayBefore(DEPLOYMENT.schedule),
    catchup=False,
    max_active_runs=1,
    # It does nothing while `region_captions` is paused, so that there is one switch only.
    is_paused_upon_creation=False,
    tags=["regioncap"],
    default_args={
        "owner": "regioncap",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
        "weight_rule": "regioncap.airflow.priority.NightlyFirst",
    },
    on_failure_callback=tell_failure,
):
    late_drops = LateDropsOperator(
        task_id="late_drops",
        dag_to_run="region_captions",
        days=DEPLOYMENT.catch_up_days,
        doc_md="Looks which of the last days' drops have come after all, and are not published.",
    )
    TriggerDagRunOperator.partial(
        task_id="build",
        trigger_dag_id="region_captions",
        # The date is a param: what a task triggers gets no partition key in Airflow 3.3.
        logical_date=None,
        skip_when_already_exists=True,
        doc_md="Starts a run for each of these dates.",
    ).expand_kwargs(late_drops.output)
