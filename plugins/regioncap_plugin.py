"""The one file that Airflow loads from this folder: registers what RegionCap adds to Airflow."""

from airflow.plugins_manager import AirflowPlugin


class RegionCapPlugin(AirflowPlugin):
    """RegionCap adds operators, a sensor and a trigger, which are imported from `regioncap`."""

    name = "regioncap"
