"""The DAG's rule for who goes first."""

from typing import TYPE_CHECKING

from airflow.task.priority_strategy import PriorityWeightStrategy

from regioncap.airflow.weights import weight

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance


class NightlyFirst(PriorityWeightStrategy):
    """Nightly runs before manual ones, these before late drops and backfills; see `regioncap.airflow.weights.weight`.

    Airflow asks once, when it makes the task instance, and knows no more of the run then than its id.
    """

    def get_weight(self, ti: "TaskInstance") -> int:
        task = ti.task
        return weight(ti.run_id or "", len(task.get_flat_relative_ids(upstream=True)) if task else 0)
