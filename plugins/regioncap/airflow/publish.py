"""The end of a build as Airflow operators: a person's approval, where the run asks for it, and publishing."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypedDict

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

from regioncap.airflow.approval import APPROVE, REJECT, approval_request, asks_for_approval, may_ask
from regioncap.airflow.build import PlanHandle, claim_of
from regioncap.airflow.links import BuildLink, build_page, preview_page
from regioncap.airflow.openlineage import lineage
from regioncap.airflow.params import run_settings
from regioncap.airflow.places import (
    DROPS_CONNECTION,
    WAREHOUSE_CONNECTION,
    open_images,
    open_partition,
    open_warehouse,
    open_work,
)
from regioncap.config.deployment import Deployment, variable
from regioncap.errors import BuildRejectedError, StepMissingError, StorageError
from regioncap.report.drift import earlier_qualities
from regioncap.report.figures import load_report
from regioncap.steps.preview import write_preview
from regioncap.steps.publish import Published, commit_build, stage_build
from regioncap.storage.store import Store
from regioncap.storage.uri import parse_uri
from regioncap.warehouse.manifest import current
from regioncap.work.claim import Claim
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged

_ASK_ANEW = "clear the run's task approvals with what follows it: then the build is written anew and asked about"


class Approved(TypedDict):
    """What `approve` hands to `publish`: the build that may be published, and who said so (None: nobody was asked)."""

    build_id: str
    by: str | None


class ApprovalsOperator(BaseOperator):
    """Returns what `approve` is mapped over: True for the task that looks after the build, none where nobody is asked.

    Airflow keeps what a task has asked, word for word, for as long as the run lives. So whenever this task runs again,
    there is one `approve` more, which has asked nothing yet, and those before it (False) stand aside.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(self, *, plan: Any, warehouse_conn_id: str = WAREHOUSE_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> list[bool]:
        handle: PlanHandle = self.plan
        work = open_work(handle["work_uri"], handle["date"], self.warehouse_conn_id)
        settings = Plan.load(work, handle["plan_id"]).settings
        if settings.sample_rows is not None or not may_ask(settings.approval, handle["unchanged"]):
            return []
        # It goes up with every try, and Airflow never sets it back.
        tries = context["ti"].try_number
        return [number == tries for number in range(1, tries + 1)]


class _LastStep(BaseOperator):
    """A step on the whole build. `plan` is the plan's handle."""

    template_fields: Sequence[str] = ("plan",)

    def __init__(
        self,
        *,
        plan: Any,
        drops_conn_id: str = DROPS_CONNECTION,
        warehouse_conn_id: str = WAREHOUSE_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.drops_conn_id = drops_conn_id
        self.warehouse_conn_id = warehouse_conn_id

    def _places(self) -> tuple[Store, Store]:
        """The date's work area and its published partition."""
        handle: PlanHandle = self.plan
        date, conn_id = handle["date"], self.warehouse_conn_id
        return open_work(handle["work_uri"], date, conn_id), open_partition(handle["warehouse_uri"], date, conn_id)

    def _begin(self, context: Context) -> tuple[Claim, Plan]:
        """The run's claim, which is the latest one of the date, and its plan."""
        handle: PlanHandle = self.plan
        work, _ = self._places()
        claim = claim_of(work, handle, context)
        claim.check()
        return claim, Plan.load(work, handle["plan_id"])

    def _stage(self, context: Context, claim: Claim, plan: Plan, kept: Staged | None = None) -> Staged | Published:
        handle: PlanHandle = self.plan
        work, partition = self._places()

        def progress(message: str) -> None:
            claim.keep()
            self.log.info("%s", message)

        staged = stage_build(
            plan=plan,
            drop=open_images(plan.settings, handle["date"], self.drops_conn_id),
            work=work,
            partition=partition,
            before=earlier_qualities(open_warehouse(handle["warehouse_uri"], self.warehouse_conn_id), handle["date"]),
            # The run's, as it is now: the deployment's default may have been raised since it was planned.
            max_rejected_ratio=run_settings(context).max_rejected_ratio,
            progress=progress,
            kept=kept,
        )
        if isinstance(staged, Staged):
            for warning in staged.warnings:
                self.log.warning("%s", warning)
        return staged


class ApproveOperator(_LastStep, HITLOperator):
    """Writes the build, and asks a person whether it may be published, where the run wants that.

    Returns which build may be published. `asks` is False for a task in whose place another one asks by now.
    """

    template_fields: Sequence[str] = ("plan", "asks")

    def __init__(self, *, asks: Any, **kwargs: Any) -> None:
        # What is asked is known when the build is there.
        super().__init__(subject="", options=[APPROVE, REJECT], **kwargs)
        self.asks = asks

    def execute(self, context: Context) -> Approved:
        self._check_that_it_asks()
        claim, plan = self._begin(context)
        work, partition = self._places()
        # What was asked about before is asked about again, as long as it is the same and whole: Airflow shows it still.
        staged = self._stage(context, claim, plan, kept=Staged.load(work, plan.plan_id))
        if isinstance(staged, Published):
            return Approved(build_id=staged.manifest.build_id, by=None)
        asked = asks_for_approval(plan.settings.approval, staged.warnings)
        staged.model_copy(update={"asked": asked}).save(work)
        if not asked:
            return Approved(build_id=staged.manifest.build_id, by=None)
        # Somebody may take days to decide. Should another run plan the date meanwhile, this build is not published.
        claim.release()
        page = build_page(self.plan["warehouse_uri"], self.plan["date"], staged.manifest.build_id)
        self._ask(context, staged, *approval_request(staged, partition.uri, page))

    def execute_complete(self, context: Context, event: dict[str, Any], build_id: str) -> Approved:  # type: ignore[override]
        """Called when a person has answered what was asked about this build. Raises BuildRejectedError."""
        self._check_that_it_asks()
        answer = super().execute_complete(context, event)
        who = (answer["responded_by_user"] or {}).get("name", "somebody")
        if answer["chosen_options"] == [APPROVE]:
            self._check_that_it_is_another(context["dag_run"].triggering_user_name, who)
        else:
            raise BuildRejectedError(
                f"{who} rejected the build: it is not published. Its answers are kept, so a run with other settings "
                "asks only what is new"
            )
        return Approved(build_id=build_id, by=who)

    def _check_that_it_is_another(self, starter: str | None, who: str) -> None:
        if starter == who and Deployment.from_environment().approval_by_another:
            raise StepMissingError(
                f"{who} started this run, and here somebody else has to approve its build "
                f"({variable('approval_by_another')}): {_ASK_ANEW}"
            )

    def _check_that_it_asks(self) -> None:
        if not self.asks:
            raise AirflowSkipException("another task of this name asks in its place")

    def _ask(self, context: Context, staged: Staged, subject: str, body: str) -> NoReturn:
        # A part of the worker, not there while DAGs are parsed.
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        request = CreateHITLDetailPayload(
            ti_id=context["ti"].id,
            options=self.options,
            subject=subject,
            body=body,
            params={},
            assigned_users=[],
        )
        shown: Any = SUPERVISOR_COMMS.send(request)
        if (shown.subject, shown.body) != (subject, body):
            raise StepMissingError(f"Airflow shows what this task has asked about an earlier build: {_ASK_ANEW}")
        raise TaskAwaitingInput(
            method_name="execute_complete",
            kwargs={"build_id": staged.manifest.build_id},
            timeout=self.response_timeout,
        )


class PublishOperator(_LastStep):
    """Publishes the build, after `approve` has let it pass where the run may ask a person, and emits the asset event.

    Returns the build's id and place, its counts and its quality figures. `approved` is what `approve` returned.
    """

    template_fields: Sequence[str] = ("plan", "approved")
    operator_extra_links = (BuildLink(),)
    # The address of what was published.
    page: str | None = None

    def __init__(self, *, asset: Asset, approved: Any = (), **kwargs: Any) -> None:
        super().__init__(outlets=[asset], **kwargs)
        self.asset = asset
        self.approved = approved

    def execute(self, context: Context) -> dict[str, Any]:
        claim, plan = self._begin(context)
        if plan.settings.sample_rows is not None:
            return self._preview(plan, claim)
        if may_ask(plan.settings.approval, plan.unchanged):
            result = self._what_may_be_published(plan)
        else:
            result = self._stage(context, claim, plan)
        if isinstance(result, Staged):
            work, partition = self._places()
            result = commit_build(
                result,
                plan=plan,
                work=work,
                partition=partition,
                progress=lambda message: self.log.info("%s", message),
                # The last look before what readers see.
                check=claim.check,
            )
        return self._published(context, result, claim)

    def _preview(self, plan: Plan, claim: Claim) -> dict[str, Any]:
        """Write a page about some of the rows; nothing is published, and nobody is told of data."""
        # Airflow emits an event for every outlet that a task has when it ends.
        self.outlets = []
        work, _ = self._places()
        warehouse_uri = self.plan["warehouse_uri"]
        uri, counts = write_preview(
            plan=plan, work=work, warehouse=open_warehouse(warehouse_uri, self.warehouse_conn_id)
        )
        self.page = preview_page(warehouse_uri, plan.date, plan.plan_id)
        self.log.info("a preview of %s rows, %s: %s", plan.rows, counts, self.page or uri)
        claim.release()
        return {"uri": uri, "preview": True, **counts}

    def _what_may_be_published(self, plan: Plan) -> Staged | Published:
        """The build that `approve` has let pass; another one is never published. Raises StepMissingError."""
        answers: Iterable[Approved] = self.approved
        passed = {answer["build_id"]: answer["by"] for answer in answers}
        work, partition = self._places()
        published, _ = current(partition)
        if published is not None and published.build_id in passed:
            # It was the current one before, or an earlier try of this task published it, and could not say so.
            return Published(published, unchanged=published.build_id == plan.current_build)
        staged = Staged.load(work, plan.plan_id)
        if staged is None or staged.manifest.build_id not in passed:
            raise StepMissingError(
                f"no build waits in {partition.uri} that may be published: it is gone, or nobody has agreed to it; "
                f"{_ASK_ANEW}"
            )
        self.log.info(
            "%s is approved by %s", staged.manifest.build_id, passed[staged.manifest.build_id] or "nobody asked"
        )
        return staged

    def _published(self, context: Context, published: Published, claim: Claim) -> dict[str, Any]:
        """Emit the asset event of what is published now."""
        _, partition = self._places()
        manifest, report = published.manifest, load_report(partition, published.manifest)
        self.page = build_page(self.plan["warehouse_uri"], self.plan["date"], manifest.build_id)
        result = {
            "uri": partition.uri,
            "page": self.page,
            "build_id": manifest.build_id,
            "unchanged": published.unchanged,
            **manifest.counts.model_dump(),
            "quality": report.quality.model_dump() if report else None,
            "judged": manifest.judged.model_dump() if manifest.judged else None,
            "cost": report.cost.model_dump() if report and report.cost else None,
            "warnings": report.warnings if report else None,
        }
        if _names(self.asset, self.plan["warehouse_uri"]):
            event = context["outlet_events"][self.asset]
            event.extra = result
            # A run with a partition key passes it on to its events by itself.
            if context["dag_run"].partition_key is None:
                event.add_partitions(self.plan["date"])
        else:
            # Airflow emits an event for every outlet that a task has when it ends.
            self.outlets = []
            self.log.info("%s is not the place of the asset %s: no event", partition.uri, self.asset.name)
        told = {name: value for name, value in result.items() if name != "page"}
        self.log.info(
            "%s: build %s, %s", "nothing changed" if published.unchanged else "published", manifest.build_id, told
        )
        if self.page:
            # Last, and by itself: Airflow's page of the log makes a link of it, and of what else stands beside it.
            self.log.info("to look at: %s", self.page)
        claim.release()
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Called by the OpenLineage provider."""
        handle: PlanHandle = self.plan
        drop_uri = f"{handle['drops_uri'].rstrip('/')}/{handle['date']}"
        _, partition = self._places()
        manifest, _ = current(partition)
        return lineage(drop_uri, partition.uri, manifest) if manifest is not None else None


def _names(asset: Asset, warehouse_uri: str) -> bool:
    """Whether it is this warehouse that an asset stands for."""
    try:
        return parse_uri(asset.uri) == parse_uri(warehouse_uri)
    except StorageError:  # its URI is no place at all
        return False
