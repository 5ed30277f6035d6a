"""Airflow on 127.0.0.1, and a small client for its REST API."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from deploy.local.credentials import Credentials
from deploy.local.paths import AIRFLOW_BIN, DAGS
from regioncap.errors import ServiceError
from regioncap.processes import Service

READY_SECONDS = 600.0
USER = "admin"

# What `airflow standalone` runs, but for the log servers of scheduler and triggerer: those listen on every interface,
# and nobody asks them where all parts share a disk.
_PARTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "api-server": ["api-server"],
}

PARTS = tuple(_PARTS)
FINAL_STATES = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})


def environment(home: Path, port: int, credentials: Credentials, regioncap: dict[str, str]) -> dict[str, str]:
    """The environment of every Airflow process; `regioncap` holds the REGIONCAP_ variables of the deployment."""
    settings = {
        "CORE__DAGS_FOLDER": str(DAGS),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        # Two cores: more tasks at once only take memory from each other.
        "CORE__PARALLELISM": "4",
        "CORE__FERNET_KEY": credentials.fernet_key,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(home)),
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__WORKERS": "1",
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__SECRET_KEY": credentials.api_secret,
        "API_AUTH__JWT_SECRET": credentials.jwt_secret,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "15",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        # Between one task and the next, a run waits for the scheduler to look again.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }
    # A user's own Airflow settings are for the user's own Airflow.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "REGIONCAP_"))}
    return {
        **own,
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        **regioncap,
        "PATH": f"{AIRFLOW_BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def password_file(home: Path) -> Path:
    """Where the UI's password is kept."""
    return home / "passwords.json"


def password(home: Path) -> str:
    """The UI's password."""
    return str(json.loads(password_file(home).read_text())[USER])


def set_up(home: Path, variables: dict[str, str]) -> None:
    """Create the password and the database, or bring an older database up to date. Raises ServiceError."""
    home.mkdir(parents=True, exist_ok=True)
    passwords = password_file(home)
    if not passwords.exists():
        with os.fdopen(os.open(passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump({USER: secrets.token_urlsafe(12)}, stream)
    migrate = [str(AIRFLOW_BIN / "airflow"), "db", "migrate"]
    done = subprocess.run(migrate, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise ServiceError(f"Airflow's database cannot be set up:\n{(done.stdout + done.stderr)[-3000:]}")


def start(part: str, variables: dict[str, str], logs: Path) -> Service:
    """Start one of `PARTS`."""
    command = [str(AIRFLOW_BIN / "airflow"), *_PARTS[part]]
    return Service(f"Airflow's {part}", command, environment=variables, log=logs / f"{part}.log")


def backfill_request(
    dag_id: str, first: str, last: str, conf: dict[str, Any], *, newest_first: bool = False, again: str = "none"
) -> dict[str, Any]:
    """A backfill over the dates `first` to `last`, both included.

    `again` says which dates that have a run get another one: none, failed, or completed.
    """
    return {
        "dag_id": dag_id,
        "from_date": f"{first}T00:00:00Z",
        "to_date": f"{last}T23:59:59Z",
        "run_backwards": newest_first,
        "reprocess_behavior": again,
        "dag_run_conf": conf,
        # One is captioned while the next one is marked.
        "max_active_runs": 2,
    }


class AirflowError(Exception):
    """Airflow refused a request. The message holds its words."""


class AirflowApi:
    """What the stack needs of Airflow's REST API (v2)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, timeout=120.0, trust_env=False)

    def is_ready(self) -> bool:
        """Whether the api-server answers and the scheduler is alive."""
        try:
            health = self._http.get("/api/v2/monitor/health", timeout=3.0)
            parts = health.json() if health.status_code == 200 else {}
        except (httpx2.HTTPError, ValueError):
            return False
        return all(
            parts.get(name, {}).get("status") == "healthy" for name in ("scheduler", "dag_processor", "triggerer")
        )

    def log_in(self, user: str, password: str) -> None:
        """Get a token for what follows."""
        answer = self._http.post("/auth/token", json={"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {self._checked(answer)['access_token']}"

    def put_connection(self, connection: dict[str, Any]) -> None:
        """Create a connection, or change it to this."""
        self._put("/api/v2/connections", connection["connection_id"], connection)

    def put_pool(self, pool: dict[str, Any]) -> None:
        """Create a pool, or change it to this."""
        self._put("/api/v2/pools", pool["name"], pool)

    def _put(self, path: str, name: str, body: dict[str, Any]) -> None:
        answer = self._http.post(path, json=body)
        if answer.status_code == 409:
            answer = self._http.patch(f"{path}/{name}", json=body)
        self._checked(answer)

    def wait_for_dag(self, dag_id: str, seconds: float = 300.0) -> None:
        """Wait until the DAG is parsed. Raises AirflowError with the import errors if it is not."""
        deadline = time.monotonic() + seconds
        while self._http.get(f"/api/v2/dags/{dag_id}").status_code != 200:
            if time.monotonic() > deadline:
                errors = self.get("/api/v2/importErrors").get("import_errors", [])
                listed = "\n".join(error["stack_trace"] for error in errors)
                raise AirflowError(f"the DAG {dag_id} did not appear in {seconds:.0f} s\n{listed}")
            time.sleep(0.3)

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs run."""
        self._checked(self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}))

    def trigger(self, dag_id: str, conf: dict[str, Any], partition_key: str | None = None) -> str:
        """Start a run; returns its id. Raises AirflowError where Airflow refuses the params."""
        body = {"logical_date": None, "conf": conf, "partition_key": partition_key}
        return str(self._checked(self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body))["dag_run_id"])

    def backfill(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a backfill, described by `backfill_request`."""
        return self._checked(self._http.post("/api/v2/backfills", json=request))

    def backfill_dry_run(self, request: dict[str, Any]) -> list[str]:
        """The dates that this backfill would make runs for, in its order."""
        answer = self._checked(self._http.post("/api/v2/backfills/dry_run", json=request))
        return [run["partition_key"] for run in answer["backfills"]]

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]:
        """All runs of a DAG."""
        return list(self._pages(f"/api/v2/dags/{dag_id}/dagRuns", "dag_runs", **filters))

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The run's state: queued, running, success or failed."""
        return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run."""
        return list(self._pages(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances"))

    def request(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
        """What a task asks a person."""
        return self.get(f"{self._task(dag_id, run_id, task_id)}/{map_index}/hitlDetails")

    def decide(self, dag_id: str, run_id: str, task_id: str, map_index: int, option: str) -> None:
        """Answer what a task asks a person."""
        path = f"{self._task(dag_id, run_id, task_id)}/{map_index}/hitlDetails"
        self._checked(self._http.patch(path, json={"chosen_options": [option], "params_input": {}}))

    def clear(self, dag_id: str, run_id: str, task: str | tuple[str, int], *, downstream: bool) -> None:
        """Have a task (or one of a mapped task) run again, and what follows it if that is said."""
        body = {"dag_run_id": run_id, "task_ids": [task], "include_downstream": downstream}
        body |= {"dry_run": False, "only_failed": False}
        self._checked(self._http.post(f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body))

    def mark_success(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> None:
        """Take a task for done."""
        path = f"{self._task(dag_id, run_id, task_id)}/{map_index}"
        self._checked(self._http.patch(path, json={"new_state": "success"}))

    @staticmethod
    def _task(dag_id: str, run_id: str, task_id: str) -> str:
        return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """An XCom of an unmapped task, or None."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        answer = self._http.get(path)
        return None if answer.status_code == 404 else self._checked(answer)["value"]

    def task_log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> list[str]:
        """The lines of a task instance's last try."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        answer = self._http.get(path, params={"map_index": task["map_index"], "full_content": True})
        content = answer.json().get("content", []) if answer.status_code == 200 else []
        return [_log_line(entry) for entry in content]

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """GET any path of the API."""
        return self._checked(self._http.get(path, params=params))

    def _pages(self, path: str, key: str, **filters: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while page := self.get(path, limit=100, offset=offset, **filters)[key]:
            yield from page
            offset += len(page)

    @staticmethod
    def _checked(answer: httpx2.Response) -> dict[str, Any]:
        if answer.is_success:
            return dict(answer.json()) if answer.content else {}
        raise AirflowError(f"Airflow answered {answer.status_code}: {_reason(answer)}")


def _reason(answer: httpx2.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = None
    # Behind a first paragraph that says what is wrong with a param, Airflow recites all that is known of it.
    return detail.split("\n\n")[0] if isinstance(detail, str) else answer.text[:2000]


def _log_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    details = entry.get("error_detail") or []
    causes = "; ".join(f"{detail.get('exc_type')}: {detail.get('exc_value')}" for detail in details)
    # Airflow logs in this field why a task skips itself.
    return f"{entry.get('event', '')} {entry.get('reason', '')} {causes}".rstrip()
