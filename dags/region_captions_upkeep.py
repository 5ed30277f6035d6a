"""### Upkeep

Once a week, what no build has needed for `REGIONCAP_KEEP_WORK_DAYS` days goes: plans that were superseded, their
shards, marked images in the work area of what is published, interrupted builds, and previews. Published builds that are
kept, answers that spare the next build the model, and what a run or an approval under way may need all stay.

It deletes, so it is paused until somebody switches it on. **Trigger** it with *Dry run* first: it then only logs what
could go. `regioncap upkeep` does the same on the command line.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from regioncap.airflow.build import RETRY_POLICY
from regioncap.airflow.notify import tell_failure
from regioncap.airflow.upkeep import UpkeepOperator
from regioncap.config.deployment import Deployment

DEPLOYMENT = Deployment.from_environment()

with DAG(
    dag_id="region_captions_upkeep",
    description="Deletes what no build needs any more from the work area",
    doc_md=__doc__,
    schedule="30 12 * * 0",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["regioncap"],
    params={
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description_md="Only log what could go: nothing is deleted.",
        )
    },
    default_args={
        "owner": "regioncap",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(hours=12),
        "weight_rule": "regioncap.airflow.priority.NightlyFirst",
    },
    on_failure_callback=tell_failure,
):
    UpkeepOperator(
        task_id="upkeep",
        days=DEPLOYMENT.keep_work_days,
        doc_md="Deletes what no build has needed for so many days, date by date.",
    )
