"""With what a command reaches a place, each in a process of its own: what is imported is imported once."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from regioncap.cli.places import has_airflow
from tests.builders import Place, publish_each

# Runs a command, and then tells whether Airflow was imported.
SCRIPT = """
import sys
from regioncap.cli.app import app
try:
    app()
finally:
    print("airflow" in sys.modules)
"""
LISTING = """<ListBucketResult><Name>warehouse</Name><Prefix>x/</Prefix><KeyCount>1</KeyCount>
<IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>x/dt=2026-10-05/</Prefix></CommonPrefixes>
</ListBucketResult>"""


def run(*arguments: str, **variables: str) -> tuple[int, list[str], str]:
    """Exit status, lines of stdout, stderr, in an environment without Airflow."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_", "REGIONCAP_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=900,
        env={**own, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def s3() -> Iterator[tuple[str, list[str]]]:
    """A bucket with one date in which nothing is published: its address, and with which rights it was asked."""
    asked: list[str] = []

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", str(len(LISTING)))
            self.end_headers()
            self.wfile.write(LISTING.encode())

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_help_is_there_without_airflow() -> None:
    code, lines, error = run("--help")
    assert (code, error, lines[-1]) == (0, "", "False")
    assert any("builds" in line for line in lines)


def test_a_folder_is_read_without_airflow_even_in_its_environment(tmp_path: Path) -> None:
    (a,) = publish_each(Place(tmp_path), "a")
    code, lines, error = run("builds", "list", "--warehouse-uri", str(tmp_path / "warehouse"), AIRFLOW_HOME="/nowhere")
    assert (code, error, lines[-1]) == (0, "", "False")
    assert lines[1].startswith(f"  {a} ")


def test_a_bucket_is_reached_by_the_environment_where_there_is_no_airflow(s3: tuple[str, list[str]]) -> None:
    endpoint, asked = s3
    code, lines, error = run(
        "builds", "list", "--warehouse-uri", "s3://warehouse/x",
        AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID="the-key", AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
    )  # fmt: skip
    assert (code, error, lines) == (0, "", ["s3://warehouse/x/dt=2026-10-05: nothing is published", "False"])
    assert asked and all("Credential=the-key/" in rights for rights in asked)


def test_a_drop_in_a_bucket_is_reached_by_the_environment_too(s3: tuple[str, list[str]]) -> None:
    endpoint, asked = s3
    code, lines, error = run(
        "check", "s3://drops/2026-10-05", AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID="the-key",
        AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1",
    )  # fmt: skip
    assert (code, lines[0], lines[-1]) == (1, "s3://drops/2026-10-05", "False")
    assert "a run would stop: " in error and "s3://drops/2026-10-05" in error
    assert asked and all("Credential=the-key/" in rights for rights in asked)


def test_a_drop_in_a_bucket_is_reached_by_airflows_connection_for_drops(
    s3: tuple[str, list[str]], tmp_path: Path
) -> None:
    endpoint, asked = s3
    connection = {"conn_type": "aws", "login": "drops-key", "password": "secret", "extra": {"endpoint_url": endpoint}}
    code, _, error = run(
        "check", "s3://drops/2026-10-05", AIRFLOW_HOME=str(tmp_path), AWS_DEFAULT_REGION="us-east-1",
        AIRFLOW_CONN_REGIONCAP_DROPS=json.dumps(connection),
    )  # fmt: skip
    assert code == 1 and "a run would stop: " in error
    assert asked and all("Credential=drops-key/" in rights for rights in asked)


def test_an_environment_is_airflows_where_a_variable_says_so() -> None:
    assert has_airflow({"AIRFLOW_HOME": "/opt/airflow"})
    assert has_airflow({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////tmp/airflow.db"})
    assert has_airflow({"AIRFLOW_CONN_REGIONCAP_WAREHOUSE": "aws://"})
    assert not has_airflow({"AWS_ACCESS_KEY_ID": "x", "REGIONCAP_WAREHOUSE_URI": "s3://airflow", "airflow_home": "/"})
