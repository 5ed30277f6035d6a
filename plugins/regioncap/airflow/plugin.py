"""What Airflow loads by the entry point `airflow.plugins`: registers what RegionCap adds to Airflow."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

# Airflow's processes load this once and then fork: tasks, and the parsing of DAG files. What the DAG imports is
# there already then, and each of them takes most of a second of a core less.
import regioncap.airflow.publish
import regioncap.airflow.wait_for_drop  # noqa: F401
from regioncap.airflow.deadline import NightlyStart
from regioncap.airflow.links import ROOT
from regioncap.airflow.priority import NightlyFirst
from regioncap.airflow.timetable import DayBefore


class RegionCapPlugin(AirflowPlugin):
    """Operators, sensor and trigger need no registration: they are imported from `regioncap`."""

    name = "regioncap"
    # As Airflow declares them.
    priority_weight_strategies = [NightlyFirst]  # noqa: RUF012
    deadline_references = [NightlyStart]  # noqa: RUF012
    timetables = [DayBefore]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Captions",
            "href": f"{ROOT}/",
            "icon": f"{ROOT}/icon.svg",
            "destination": "nav",
            "url_route": "regioncap",
        },
        # At each run, of whatever DAG: the page says so where it is another one's.
        {
            "name": "Dataset",
            "href": f"{ROOT}/run?dag={{DAG_ID}}&run={{RUN_ID}}",
            "icon": f"{ROOT}/icon.svg",
            "destination": "dag_run",
            "url_route": "regioncap_run",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """RegionCap's pages; made for the api-server alone, which asks for them."""
        from regioncap.airflow.pages import create_app

        return [{"app": create_app(), "url_prefix": ROOT, "name": "RegionCap"}]
