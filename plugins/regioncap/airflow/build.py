"""The steps of a build as Airflow operators. Each opens the places of its run and calls one function.

Their `drops_conn_id`, `warehouse_conn_id` (for the work area too), `vlm_conn_id` and `judge_conn_id` name connections
of Airflow's.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, Context, ExceptionRetryPolicy, RetryRule
from airflow.sdk.definitions.retry_policy import RetryAction

from regioncap.airflow.params import drop_date_of, run_settings
from regioncap.airflow.places import (
    DROPS_CONNECTION,
    WAREHOUSE_CONNECTION,
    briefly,
    check_places,
    open_drop,
    open_images,
    open_partition,
    open_warehouse,
    open_work,
)
from regioncap.airflow.progress import report_progress, told
from regioncap.airflow.vlm import (
    JUDGE_CONNECTION,
    VLM_CONNECTION,
    for_run,
    judge_from_connection,
    told_of,
    vlm_from_connection,
)
from regioncap.ask.asking import AskProgress
from regioncap.config.deployment import Deployment, variable
from regioncap.config.prices import Prices
from regioncap.config.settings import BuildSettings, settings_of
from regioncap.errors import ParamsError, PartitionBusyError, PermanentError, StepMissingError
from regioncap.regions.served import Served
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.propose import propose_shard
from regioncap.steps.render import render_shard
from regioncap.steps.stage import stage_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.store import Store
from regioncap.vlm.endpoint import Vlm
from regioncap.warehouse.forgotten import all_of, forgettings_of
from regioncap.work.claim import Claim, release_of_run
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan

# An error that says "trying again does not help" ends the task at once; every other one is tried again.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=PermanentError, action=RetryAction.FAIL, reason="trying again does not help"),
        RetryRule(exception=HITLTimeoutError, action=RetryAction.FAIL, reason="nobody answered"),
    ]
)

_LOG_EVERY_SECONDS = 5.0

# So often a run that waits for another one looks whether that is over.
_LOOK_AGAIN = timedelta(minutes=1)


def prices_for(settings: BuildSettings) -> Prices | None:
    """What the deployment pays for asking. Raises ParamsError where it says nothing, and the run has a `max_cost`."""
    prices = Deployment.from_environment().prices
    if settings.max_cost is not None and prices is None:
        raise ParamsError(
            f"max_cost: there are no prices to keep it by; set {variable('prices')}, or max_tokens_total instead"
        )
    return prices


class PlanHandle(TypedDict):
    """What `plan` hands to the tasks after it: where the plan lies, never what is in it.

    `claim` is the number of the run's claim.
    """

    date: str
    plan_id: str
    drops_uri: str
    warehouse_uri: str
    work_uri: str
    rows: int
    rejected: int
    shards: int
    unchanged: bool
    claim: int


class PlanOperator(BaseOperator):
    """Claims the date, reads the drop's manifests and writes shards.

    While another run builds the date, it waits: deferred, for as long as that run lives, without using up a try.
    Returns the list of shard ids, to be mapped over, and pushes a PlanHandle as the XCom `plan`.
    """

    def __init__(
        self,
        *,
        drops_conn_id: str = DROPS_CONNECTION,
        warehouse_conn_id: str = WAREHOUSE_CONNECTION,
        vlm_conn_id: str = VLM_CONNECTION,
        judge_conn_id: str = JUDGE_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.drops_conn_id = drops_conn_id
        self.warehouse_conn_id = warehouse_conn_id
        self.vlm_conn_id = vlm_conn_id
        self.judge_conn_id = judge_conn_id

    def execute(self, context: Context) -> list[str]:
        date, settings = drop_date_of(context), run_settings(context)
        check_places(settings)
        prices = prices_for(settings)
        work = open_work(settings.work_root, date, self.warehouse_conn_id)
        try:
            claim = Claim.take(work, claimant(context), lambda run: is_alive(context, run))
        except PartitionBusyError as busy:
            self.log.info("%s; looking again in a minute", busy)
            self.defer(trigger=TimeDeltaTrigger(_LOOK_AGAIN), method_name="resume")
        say = _every(_LOG_EVERY_SECONDS)
        vlm = for_run(vlm_from_connection(self.vlm_conn_id), settings)
        judge = judge_from_connection(self.judge_conn_id) if settings.judges != "none" else None

        def progress(rows: int) -> None:
            claim.keep()
            if say():
                self.log.info("%s rows read", f"{rows:,}")

        plan = plan_build(
            date=date,
            drop=open_drop(settings.drops_uri, date, self.drops_conn_id),
            images=open_images(settings, date, self.drops_conn_id),
            work=work,
            partition=open_partition(settings.warehouse_uri, date, self.warehouse_conn_id),
            settings=settings,
            model=vlm.model,
            run_id=context["run_id"],
            progress=progress,
            judge_model=judge.model if judge is not None else "",
            forgotten=all_of(forgettings_of(open_warehouse(settings.warehouse_uri, self.warehouse_conn_id)).lines()),
            prices=prices,
            served=told_of(vlm),
            judge_served=(told_of(for_run(judge, settings)) or Served()) if judge is not None else None,
        )
        if plan.unchanged:
            self.log.info("the drop of %s was built as it is: nothing to do", date)
        else:
            self.log.info(
                "%s rows, %s of them rejected, in %s shards", f"{plan.rows:,}", f"{plan.rejected:,}", len(plan.shards)
            )
        handle = PlanHandle(
            date=date,
            plan_id=plan.plan_id,
            drops_uri=settings.drops_uri,
            warehouse_uri=settings.warehouse_uri,
            work_uri=settings.work_root,
            rows=plan.rows,
            rejected=plan.rejected,
            shards=len(plan.shards),
            unchanged=plan.unchanged,
            claim=claim.number,
        )
        context["ti"].xcom_push(key="plan", value=handle)
        return plan.shards

    def resume(self, context: Context, event: Any) -> list[str]:
        """Called when it has waited for a while."""
        return self.execute(context)


class ShardsToProposeOperator(BaseOperator):
    """Returns the shards for which the VLM is to be asked for boxes, to be mapped over; mostly there are none.

    A task of its own, so that where there are none, nothing waits for a place on the GPU queue.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, plan: Any, warehouse_conn_id: str = WAREHOUSE_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> list[str]:
        handle: PlanHandle = self.plan
        work = open_work(handle["work_uri"], handle["date"], self.warehouse_conn_id)
        return Plan.load(work, handle["plan_id"]).shards_to_propose


class _ShardOperator(BaseOperator):
    """A step on one shard. `plan` is the plan's handle, `shard` the shard's id."""

    template_fields: Sequence[str] = ("plan", "shard")

    def __init__(self, *, plan: Any, shard: Any, warehouse_conn_id: str = WAREHOUSE_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.shard = shard
        self.warehouse_conn_id = warehouse_conn_id

    def _work(self) -> Store:
        return open_work(self.plan["work_uri"], self.plan["date"], self.warehouse_conn_id)


class RenderOperator(_ShardOperator):
    """Marks the images of a shard. Returns how many rows are marked and rejected."""

    def __init__(self, *, drops_conn_id: str = DROPS_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drops_conn_id = drops_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        handle: PlanHandle = self.plan
        work = self._work()
        claim, say = claim_of(work, handle, context), _every(_LOG_EVERY_SECONDS)
        claim.check()

        def progress(done: int, rows: int) -> None:
            claim.keep()
            if say() or done == rows:
                self.log.info("%s of %s images marked", f"{done:,}", f"{rows:,}")

        plan = Plan.load(work, handle["plan_id"])
        marked, rejected = render_shard(
            drop=open_images(plan.settings, handle["date"], self.drops_conn_id),
            work=work,
            shard_id=self.shard,
            plan=plan,
            progress=progress,
        )
        return {"marked": marked, "rejected": rejected}


class _AskOperator(_ShardOperator):
    """A step that asks the VLM. Returns how many questions there were, had an answer before, and were asked."""

    def __init__(self, *, vlm_conn_id: str = VLM_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vlm_conn_id = vlm_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        handle: PlanHandle = self.plan
        work = self._work()
        claim, say = claim_of(work, handle, context), _every(_LOG_EVERY_SECONDS)
        claim.check()

        def progress(at: AskProgress) -> None:
            claim.keep()
            if say() or at.done == at.questions:
                self.log.info("%s", told(at))
                report_progress(at, task_id=self.task_id, map_index=context["ti"].map_index)

        def waiting(lines: Sequence[str]) -> None:
            claim.keep()
            for line in lines:
                self.log.info("vLLM: %s", line)

        plan = Plan.load(work, handle["plan_id"])
        vlm = for_run(vlm_from_connection(self.vlm_conn_id, waiting), plan.settings)
        counts = self.ask(handle, work, plan, vlm, progress)
        self.log.info(
            "%s questions: %s answered in an earlier try, %s in the published build, %s asked now",
            *(counts.questions, counts.kept, counts.taken_over, counts.asked),
        )
        return counts.model_dump()

    def ask(
        self, handle: PlanHandle, work: Store, plan: Plan, vlm: Vlm, progress: Callable[[AskProgress], None]
    ) -> AskCounts:
        raise NotImplementedError


class ProposeOperator(_AskOperator):
    """Asks the VLM where things are in the images of a shard that come without boxes."""

    def __init__(self, *, drops_conn_id: str = DROPS_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drops_conn_id = drops_conn_id

    def ask(
        self, handle: PlanHandle, work: Store, plan: Plan, vlm: Vlm, progress: Callable[[AskProgress], None]
    ) -> AskCounts:
        return propose_shard(
            drop=open_images(plan.settings, handle["date"], self.drops_conn_id),
            work=work,
            shard_id=self.shard,
            plan=plan,
            vlm=vlm,
            progress=progress,
        )


class CaptionOperator(_AskOperator):
    """Asks the VLM about the marked images of a shard."""

    def ask(
        self, handle: PlanHandle, work: Store, plan: Plan, vlm: Vlm, progress: Callable[[AskProgress], None]
    ) -> AskCounts:
        return caption_shard(work=work, shard_id=self.shard, plan=plan, vlm=vlm, progress=progress)


class JudgeOperator(_AskOperator):
    """Asks the listener which region each caption of a shard describes. Where nothing is to be judged, it ends at once.

    `judge_conn_id` names its connection; where there is none, the VLM itself listens.
    """

    def __init__(self, *, judge_conn_id: str = JUDGE_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.judge_conn_id = judge_conn_id

    def ask(
        self, handle: PlanHandle, work: Store, plan: Plan, vlm: Vlm, progress: Callable[[AskProgress], None]
    ) -> AskCounts:
        other = judge_from_connection(self.judge_conn_id) if plan.judge_share else None
        judge = vlm if other is None else for_run(other, plan.settings)
        return judge_shard(work=work, shard_id=self.shard, plan=plan, vlm=vlm, judge=judge, progress=progress)


class ValidateOperator(_ShardOperator):
    """Makes records of a shard's answers, and puts their images where they are published.

    Returns how many rows are records and how many are rejected.
    """

    def __init__(self, *, drops_conn_id: str = DROPS_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drops_conn_id = drops_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        handle: PlanHandle = self.plan
        work = self._work()
        claim, say = claim_of(work, handle, context), _every(_LOG_EVERY_SECONDS)
        claim.check()
        plan = Plan.load(work, handle["plan_id"])
        records, rejected = validate_shard(work=work, shard_id=self.shard, plan=plan)
        self.log.info("%s records, %s rejected rows", records, rejected)

        def progress(done: int, images: int) -> None:
            claim.keep()
            if say() or done == images:
                self.log.info("%s of %s images are where they are published", f"{done:,}", f"{images:,}")

        # What is looked at as a preview is never published.
        if plan.settings.sample_rows is None:
            stage_shard(
                work=work,
                shard_id=self.shard,
                plan=plan,
                drop=open_images(plan.settings, handle["date"], self.drops_conn_id),
                partition=open_partition(handle["warehouse_uri"], handle["date"], self.warehouse_conn_id),
                progress=progress,
            )
        return {"records": records, "rejected": rejected}


def release_claim(context: Context, warehouse_conn_id: str = WAREHOUSE_CONNECTION) -> None:
    """Failure callback of the DAG: whoever comes next need not ask whether the failed run is over."""
    settings = settings_of(context["params"])
    # The DAG processor waits for it. Where it fails, whoever comes next asks whether the run is over.
    with briefly():
        release_of_run(open_work(settings.work_root, drop_date_of(context), warehouse_conn_id), claimant(context))


def claim_of(work: Store, handle: PlanHandle, context: Context) -> Claim:
    """The claim that the run's plan task took. Raises StepMissingError where it was an earlier version's, without."""
    if "claim" not in handle:
        raise StepMissingError("the plan was made by an earlier version of RegionCap: clear the run's plan task")
    return Claim(work, claimant(context), handle["claim"])


def claimant(context: Context) -> str:
    """In whose name a run claims its date: another DAG's runs may have the same ids."""
    return f"{context['dag'].dag_id}/{context['run_id']}"


def is_alive(context: Context, claimed_by: str) -> bool:
    """Whether Airflow knows the run that claims in this name, and it is not over. No clock has a say in it."""
    dag_id, _, run_id = claimed_by.partition("/")
    return context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]) > 0


def _every(seconds: float) -> Callable[[], bool]:
    """A function that is true once every `seconds`, for logging."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        if time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return due
