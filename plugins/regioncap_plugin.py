"""The one file that Airflow loads from this folder: registers what RegionCap adds to Airflow."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from regioncap.operators.deadline import NightlyStart
from regioncap.operators.priority import NightlyFirst


class RegionCapPlugin(AirflowPlugin):
    """Operators, sensor and trigger need no registration: they are imported from `regioncap`."""

    name = "regioncap"
    priority_weight_strategies: ClassVar[list[Any]] = [NightlyFirst]
    deadline_references: ClassVar[list[Any]] = [NightlyStart]
