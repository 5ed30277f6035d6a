"""### Region captions: from an image drop to a published dataset

Each run builds the drop of **one date**: it waits for the drop, checks every row, draws numbered marks, has a
vision-language model describe every marked region, checks the answers, and publishes JSONL to the warehouse.

| to build | do |
| --- | --- |
| last night's drop | nothing: the run of midnight UTC takes the day before |
| one date, now | **Trigger**, and set *Drop date* (or the partition key) |
| a range of dates | **Trigger → Backfill**, or `make backfill` |

A date that is already published and has not changed costs nothing. Rows that cannot be used are in `rejected.jsonl`,
with a code and a reason; the picture of a build is its `report.html`.
"""

from datetime import timedelta

from airflow.sdk import DAG, task_group

from regioncap.airflow.build import (
    RETRY_POLICY,
    CaptionOperator,
    JudgeOperator,
    PlanOperator,
    ProposeOperator,
    RenderOperator,
    ShardsToProposeOperator,
    ValidateOperator,
    release_claim,
)
from regioncap.airflow.links import dataset
from regioncap.airflow.notify import overdue_alert, tell_failure, tell_success
from regioncap.airflow.params import form
from regioncap.airflow.publish import ApprovalsOperator, ApproveOperator, PublishOperator
from regioncap.airflow.timetable import DayBefore
from regioncap.airflow.wait_for_drop import WaitForDrop
from regioncap.config.deployment import Deployment

DEPLOYMENT = Deployment.from_environment()
REGION_CAPTIONS = dataset(DEPLOYMENT)

with DAG(
    dag_id="region_captions",
    description="From an image drop to a published region-caption dataset",
    doc_md=__doc__,
    # Each run builds the drop of the day before. There is no start date: the first run is tonight's.
    schedule=DayBefore(DEPLOYMENT.schedule),
    catchup=False,
    # Runs share the slots by weight, not by who came first: so no run waits outside. A backfill has a limit of its own.
    max_active_runs=16,
    params=form(DEPLOYMENT),
    tags=["regioncap", "vlm", "dataset"],
    default_args={
        "owner": "regioncap",
        "retries": 3,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(hours=2),
        "weight_rule": "regioncap.airflow.priority.NightlyFirst",
    },
    # In this order: a bucket that hangs holds up the claim's release until Airflow ends the callbacks.
    on_failure_callback=[tell_failure, release_claim],
    on_success_callback=tell_success if DEPLOYMENT.notifier else None,
    deadline=overdue_alert(DEPLOYMENT),
):
    wait_for_drop = WaitForDrop(
        task_id="wait_for_drop",
        doc_md="Goes on when the drop is there and complete.",
        patience=DEPLOYMENT.wait,
        poke_interval=timedelta(seconds=60),
    )
    plan = PlanOperator(task_id="plan", doc_md="Checks every row of the drop's manifests and cuts them into shards.")
    without_boxes = ShardsToProposeOperator(
        task_id="without_boxes",
        plan=plan.output["plan"],
        doc_md="Looks which shards have rows for which the VLM is asked for boxes (*Rows without boxes*: `ask_model`).",
    )
    propose = ProposeOperator.partial(
        task_id="propose",
        plan=plan.output["plan"],
        pool="regioncap_gpu",
        queue="gpu",
        doc_md="Asks the VLM where things are in the images that come without boxes.",
    ).expand(shard=without_boxes.output)

    @task_group(group_id="shard")
    def shard_steps(shard: str) -> None:
        """Marks, captions, judges and checks one shard."""
        render = RenderOperator(
            task_id="render",
            plan=plan.output["plan"],
            shard=shard,
            # Also where the VLM had not to be asked for boxes.
            trigger_rule="none_failed_min_one_success",
            doc_md="Opens and marks the shard's images.",
        )
        caption = CaptionOperator(
            task_id="caption",
            plan=plan.output["plan"],
            shard=shard,
            pool="regioncap_gpu",
            queue="gpu",
            doc_md="Asks the VLM about every marked image that has no answer yet.",
        )
        judge = JudgeOperator(
            task_id="judge",
            plan=plan.output["plan"],
            shard=shard,
            pool="regioncap_judge",
            queue="gpu",
            doc_md="Asks which region each caption describes, and what of captions that are wrong (*Judge*).",
        )
        validate = ValidateOperator(
            task_id="validate",
            plan=plan.output["plan"],
            shard=shard,
            doc_md="Takes the answers apart, checks them, and puts the images where they are published.",
        )
        render >> caption >> judge >> validate

    shards = shard_steps.expand(shard=plan.output)
    approvals = ApprovalsOperator(
        task_id="approvals",
        plan=plan.output["plan"],
        doc_md="Says whether a person may have to be asked (*Ask before publishing*); mostly nobody is.",
    )
    approve = ApproveOperator.partial(
        task_id="approve",
        plan=plan.output["plan"],
        # Exports are written by one task, and so are all images where the build that was begun is lost.
        execution_timeout=timedelta(hours=12),
        response_timeout=timedelta(days=7),
        trigger_rule="none_failed_min_one_success",
        doc_md="Writes the build, and asks a person whether it may be published.",
    ).expand(asks=approvals.output)
    publish = PublishOperator(
        task_id="publish",
        plan=plan.output["plan"],
        approved=approve.output,
        asset=REGION_CAPTIONS,
        # As above, where nobody is asked.
        execution_timeout=timedelta(hours=12),
        # Runs with no shards too (all rows rejected, or nothing changed); a failed shard or a skipped plan stops it.
        trigger_rule="none_failed_min_one_success",
        doc_md="Publishes the build at once, and emits the asset event.",
    )
    wait_for_drop >> plan >> publish
    propose >> shards >> [approve, publish]
    plan >> approve >> publish
