"""Airflow's own auth manager for many users (FAB) says who sees RegionCap's pages, on a real api-server."""

import os
import sys
from pathlib import Path

import httpx2

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
        url = f"http://127.0.0.1:{port}"
        server.wait_ready(lambda: answers(url), _READY_SECONDS)
        pages = pages_with_users(url, variables, DATE, build_id)
        check_rights(pages, DATE, build_id)


def answers(url: str) -> bool:
    """Whether the api-server is there; that it has no scheduler beside it does not matter here."""
    try:
        return bool(httpx2.get(f"{url}/api/v2/version", trust_env=False).status_code == 200)
    except httpx2.TransportError:
        return False
