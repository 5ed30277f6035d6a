"""Airflow's own auth manager for many users (FAB) says who sees RegionCap's pages, on a real api-server."""

import os
import sys
from pathlib import Path

from deploy.local import airflow
from deploy.local.credentials import load_or_create
from regioncap.processes import free_ports
from tests.builders import DATE, Place, publish_each
from tests.page_rights import check_rights, pages_with_users

# The machine may have much else to do.
_READY_SECONDS = 400


def test_the_pages_keep_to_the_roles_of_fabs_users(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    (build_id,) = publish_each(place, "a")
    (port,) = free_ports(1)
    home = tmp_path / "airflow"
    places = {
        "REGIONCAP_DROPS_URI": str(place.folder / "drops"),
        "REGIONCAP_WAREHOUSE_URI": str(place.folder / "warehouse"),
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    variables = airflow.environment(home, port, load_or_create(tmp_path / "credentials.json"), places)
    airflow.set_up(home, variables)
    with airflow.start("api-server", variables, tmp_path / "logs") as server:
        server.wait_ready(airflow.AirflowApi(f"http://127.0.0.1:{port}").is_ready, _READY_SECONDS)
        pages = pages_with_users(f"http://127.0.0.1:{port}", variables, DATE, build_id)
        check_rights(pages, DATE, build_id)
