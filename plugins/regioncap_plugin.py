"""The one file that Airflow loads from this folder: registers what RegionCap adds to Airflow."""

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

# Tasks are forked from a process that has loaded this file, where the deployment loads plugins early (`[core]
# lazy_load_plugins`): then what their DAG imports is there already, and each takes a second of a core less.
import regioncap.operators.publish
import regioncap.sensors.drop  # noqa: F401
from regioncap.operators.deadline import NightlyStart
from regioncap.operators.priority import NightlyFirst


class RegionCapPlugin(AirflowPlugin):
    """Operators, sensor and trigger need no registration: they are imported from `regioncap`."""

    name = "regioncap"
    priority_weight_strategies: ClassVar[list[Any]] = [NightlyFirst]
    deadline_references: ClassVar[list[Any]] = [NightlyStart]
