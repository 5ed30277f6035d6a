"""Who gets what of RegionCap's pages on a running Airflow with users of its own (FAB): every route, for every role."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from regioncap.airflow.links import ROOT

PASSWORD = "of these tests alone"
# What each may do: Airflow's own roles, and two that know one DAG.
ROLES = {
    "viewer": "Viewer", "writer": "User", "stranger": "Public", "reader": "ReadsOurs", "neighbour": "ReadsAnother",
}  # fmt: skip

# Makes the users, and prints every route of the pages.
_SET_UP = """
import json, sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
with get_application_builder() as builder:
    manager = builder.sm
    manager.sync_roles()
    for name, dag in (("ReadsOurs", "region_captions"), ("ReadsAnother", "another")):
        manager.add_permission_to_role(manager.add_role(name), manager.create_permission("can_read", f"DAG:{dag}"))
    for name, role in json.loads(sys.argv[1]).items():
        if not manager.find_user(name):
            manager.add_user(name, name, name, f"{name}@localhost", manager.find_role(role), sys.argv[2])
from fastapi.routing import APIRoute
from regioncap.airflow.pages import create_app
print(json.dumps([[*route.methods, route.path] for route in create_app().routes if isinstance(route, APIRoute)]))
"""


@dataclass(frozen=True)
class Pages:
    """The pages of an Airflow: where they are, and every route as (method, path)."""

    airflow: str
    routes: list[tuple[str, str]]

    def walk(self, session: httpx2.Client) -> dict[tuple[str, str], httpx2.Response]:
        """What each route answers, a form that writes included."""
        return {
            (method, path): session.request(
                method,
                f"{self.airflow}{ROOT}{path}",
                headers={"origin": self.airflow, "content-type": "application/x-www-form-urlencoded"},
                content=b"token=0&action=reject&record=0.0&region=1" if method == "POST" else None,
            )
            for method, path in self.routes
        }

    def session(self, name: str | None) -> httpx2.Client:
        """Somebody's browser, after the login; nobody's without a name."""
        if name is None:
            return httpx2.Client(trust_env=False, timeout=120)
        asked = {"username": name, "password": PASSWORD}
        answer = httpx2.post(f"{self.airflow}/auth/token", json=asked, trust_env=False, timeout=120)
        assert answer.status_code == 201, answer.text
        return httpx2.Client(cookies={"_token": answer.json()["access_token"]}, trust_env=False, timeout=120)


def pages_with_users(airflow: str, environment: Mapping[str, str], date: str, build_id: str) -> Pages:
    """Make a user of each role in the Airflow of this environment; `build_id` is a published build of `date`."""
    command = [sys.executable, "-c", _SET_UP, json.dumps(ROLES), PASSWORD]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    values = {"date": date, "build_id": build_id, "other_id": build_id, "place": "0.0", "line": "0"}
    routes = [
        (method, re.sub(r"{(\w+)}", lambda found: values.get(found[1], "0" * 32), path))
        for method, path in json.loads(done.stdout.splitlines()[-1])
    ]
    return Pages(airflow, routes)


def check_rights(pages: Pages, date: str, build_id: str) -> None:
    """Nobody gets a byte without a session, or without the right to read the DAG; who may only read changes nothing."""
    assert {method for method, _ in pages.routes} == {"GET", "POST"} and len(pages.routes) > 15
    for name, statuses in ((None, {401}), ("stranger", {403}), ("neighbour", {403})):
        for route, answer in pages.walk(pages.session(name)).items():
            assert answer.status_code in statuses, (name, route, answer.status_code)
            assert build_id not in answer.text and not answer.content.startswith(b"\xff\xd8"), (name, route)
    base = f"{pages.airflow}{ROOT}/dates/{date}/builds/{build_id}"
    journal = f"{pages.airflow}{ROOT}/api/dates/{date}/corrections"
    for name in ("viewer", "reader"):
        session = pages.session(name)
        for (method, path), answer in pages.walk(session).items():
            expected = {403} if method == "POST" else {200, 307, 404}
            assert answer.status_code in expected, (name, method, path, answer.status_code)
        gallery = session.get(f"{base}/gallery")
        assert gallery.status_code == 200 and 'method="post"' not in gallery.text
        image = re.search(r'src="([^"]+\.jpg)"', gallery.text)
        assert image is not None and session.get(f"{pages.airflow}{image[1]}").content.startswith(b"\xff\xd8")
    before = len(pages.session("viewer").get(journal).json())
    writer = pages.session("writer")
    token = re.search(r'name="token" value="(\w+)"', writer.get(f"{base}/gallery").text)
    assert token is not None
    form = {"token": token[1], "record": "0.0", "region": "1", "action": "edit", "caption": "a door", "seen": "999999"}
    elsewhere = writer.post(f"{base}/corrections", data=form, headers={"origin": "https://elsewhere.example"})
    assert elsewhere.status_code == 403
    answer = writer.post(f"{base}/corrections", data=form, headers={"origin": pages.airflow})
    assert answer.status_code == 303, answer.text
    lines = writer.get(journal).json()
    assert len(lines) == before + 1 and lines[-1]["by"] == "writer"
