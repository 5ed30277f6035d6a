"""The commands, in Airflow's environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from regioncap.airflow.builds_command import main
from tests.builders import DATE, Place, publish_each
from tests.damage import DAMAGE, damage


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(place: Place, command: str, *arguments: str) -> int:
    return main([command, "--warehouse-uri", str(place.folder / "warehouse"), *arguments])


def test_builds_are_listed_rolled_back_and_collected(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = publish_each(place, "a", "b")
    assert run(place, "list") == 0
    assert [text.split()[0] for text in capsys.readouterr().out.splitlines()[1:]] == [b, a]
    assert run(place, "rollback", "--date", DATE) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"  {a} ") and lines[1].endswith("current")
    assert lines[2].startswith(f"  {b} ") and "withdrawn" in lines[2]
    assert run(place, "collect") == 0
    assert f"dt={DATE}: nothing deleted" in capsys.readouterr().out


def test_what_cannot_be_done_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "rollback", "--date", DATE) == 1
    assert "nothing is published at" in capsys.readouterr().err
    assert run(place, "rollback", "--date", "yesterday") == 1
    assert "yesterday" in capsys.readouterr().err
    assert run(place, "list", "--date", DATE) == 0
    assert "nothing is published" in capsys.readouterr().out


def test_connections_are_found_in_airflows_database(airflow_db: None) -> None:
    extra = {
        "endpoint_url": "http://127.0.0.1:9",
        "region_name": "us-east-1",
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    connections = [sys.executable, "-m", "airflow", "connections"]
    keys = ["--conn-login", "x", "--conn-password", "y"]
    add = [*connections, "add", "regioncap_warehouse", "--conn-type", "aws", *keys, "--conn-extra", json.dumps(extra)]
    subprocess.run(add, check=True, capture_output=True)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "regioncap.airflow.builds_command", "list", "--warehouse-uri", "s3://warehouse/x"],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=120,
        )  # fmt: skip
    finally:
        subprocess.run([*connections, "delete", "regioncap_warehouse"], check=True, capture_output=True)
    assert done.returncode == 1
    assert "the S3 service at http://127.0.0.1:9 cannot be reached" in done.stderr


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_date_costs_only_its_own_line(place: Place, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    (a,) = publish_each(place, "a")
    for date in ("2026-10-04", "2026-10-06"):
        publish_each(Place(place.folder, date), date)
    damage(place.folder / "warehouse/dt=2026-10-04/_manifest.json", kind)
    for command, said in (("list", f"  {a} "), ("collect", f"dt={DATE}: nothing deleted")):
        assert run(place, command) == 1
        told = capsys.readouterr()
        assert said in told.out and "dt=2026-10-06" in told.out
        (line,) = told.err.splitlines()
        assert "dt=2026-10-04/_manifest.json cannot be read" in line
    assert run(place, "rollback", "--date", "2026-10-04") == 1
    assert "_manifest.json cannot be read" in capsys.readouterr().err
