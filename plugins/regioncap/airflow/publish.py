"""The last step of a build as an Airflow operator: publishing, and a person's approval before it."""

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Asset, Context

from regioncap.airflow.approval import APPROVE, REJECT, approval_request, asks_for_approval
from regioncap.airflow.build import PlanHandle, claim_of
from regioncap.airflow.openlineage import lineage
from regioncap.airflow.params import settings_of
from regioncap.airflow.places import (
    DROPS_CONNECTION,
    WAREHOUSE_CONNECTION,
    open_drop,
    open_partition,
    open_warehouse,
    open_work,
)
from regioncap.errors import BuildRejectedError, NotFoundError
from regioncap.report.drift import earlier_qualities
from regioncap.report.figures import load_report
from regioncap.steps.publish import Published, commit_build, stage_build
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import current, state_of
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged


class PublishOperator(HITLOperator):
    """Publishes the build, after a person has agreed where the run asks for that, and emits the asset event.

    Returns the build's id and place, its counts and its quality figures.
    """

    template_fields: Sequence[str] = ("plan",)

    def __init__(
        self,
        *,
        plan: Any,
        asset: Asset,
        drops_conn_id: str = DROPS_CONNECTION,
        warehouse_conn_id: str = WAREHOUSE_CONNECTION,
        **kwargs: Any,
    ) -> None:
        # What is asked is known when the build is there.
        super().__init__(subject="", options=[APPROVE, REJECT], outlets=[asset], **kwargs)
        self.plan = plan
        self.asset = asset
        self.drops_conn_id = drops_conn_id
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        handle: PlanHandle = self.plan
        work, partition = self._places()
        claim, plan = claim_of(work, handle, context), Plan.load(work, handle["plan_id"])
        claim.check()
        approved = Staged.load(work, plan.plan_id)
        if approved is not None and approved.approved and approved.begun_under == state_of(current(partition)[0]):
            return self._commit(context, approved)

        def progress(message: str) -> None:
            claim.keep()
            self.log.info("%s", message)

        staged = stage_build(
            plan=plan,
            drop=open_drop(handle["drops_uri"], handle["date"], self.drops_conn_id),
            work=work,
            partition=partition,
            before=earlier_qualities(open_warehouse(handle["warehouse_uri"], self.warehouse_conn_id), handle["date"]),
            max_rejected_ratio=settings_of(context["params"]).max_rejected_ratio,
            progress=progress,
        )
        if isinstance(staged, Published):
            return self._published(context, staged)
        for warning in staged.warnings:
            self.log.warning("%s", warning)
        if not asks_for_approval(plan.settings.approval, staged.warnings):
            return self._commit(context, staged)
        staged.save(work)
        # Somebody may take days to decide; should the date be built anew meanwhile, this build is refused.
        claim.release()
        self.subject, self.body = approval_request(staged, partition.uri)
        super().execute(context)
        raise AssertionError("the task waits for an answer")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Called when a person has answered. Raises BuildRejectedError, and NotFoundError where the build is gone."""
        answer = super().execute_complete(context, event)
        if answer["chosen_options"] != [APPROVE]:
            who = (answer["responded_by_user"] or {}).get("name", "somebody")
            raise BuildRejectedError(
                f"{who} rejected the build: it is not published. Its answers are kept, so a run with other settings "
                "asks only what is new"
            )
        work, _ = self._places()
        staged = Staged.load(work, self.plan["plan_id"])
        if staged is None:
            raise NotFoundError(
                f"the approved build is no longer in the work area at {work.uri}: the next try writes it anew, and asks"
            )
        # Another try of this task need not ask again.
        staged = staged.model_copy(update={"approved": True})
        staged.save(work)
        return self._commit(context, staged)

    def _commit(self, context: Context, staged: Staged) -> dict[str, Any]:
        work, partition = self._places()
        plan = Plan.load(work, staged.manifest.plan_id)
        published = commit_build(
            staged,
            plan=plan,
            work=work,
            partition=partition,
            progress=lambda message: self.log.info("%s", message),
            # The last look before what readers see.
            check=claim_of(work, self.plan, context).check,
        )
        return self._published(context, published)

    def _published(self, context: Context, published: Published) -> dict[str, Any]:
        """Emit the asset event of what is published now."""
        work, partition = self._places()
        manifest, report = published.manifest, load_report(partition, published.manifest)
        result = {
            "uri": partition.uri,
            "build_id": manifest.build_id,
            "unchanged": published.unchanged,
            **manifest.counts.model_dump(),
            "quality": report.quality.model_dump() if report else None,
            "warnings": report.warnings if report else None,
        }
        event = context["outlet_events"][self.asset]
        event.extra = result
        # A run with a partition key passes it on to its events by itself.
        if context["dag_run"].partition_key is None:
            event.add_partitions(self.plan["date"])
        self.log.info(
            "%s: build %s, %s", "nothing changed" if published.unchanged else "published", manifest.build_id, result
        )
        claim_of(work, self.plan, context).release()
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Called by the OpenLineage provider."""
        handle: PlanHandle = self.plan
        drop_uri = f"{handle['drops_uri'].rstrip('/')}/{handle['date']}"
        _, partition = self._places()
        manifest, _ = current(partition)
        return lineage(drop_uri, partition.uri, manifest) if manifest is not None else None

    def _places(self) -> tuple[Store, Store]:
        """The date's work area and its published partition."""
        handle: PlanHandle = self.plan
        date, conn_id = handle["date"], self.warehouse_conn_id
        return open_work(handle["work_uri"], date, conn_id), open_partition(handle["warehouse_uri"], date, conn_id)
