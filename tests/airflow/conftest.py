"""An Airflow of the tests' own: SQLite in a temporary folder, the DAGs of this checkout."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="regioncap-airflow-"))
PLACES = HOME / "places"

# Airflow reads its configuration when it is first imported, so this cannot wait for a fixture.
os.environ.update(
    {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "REGIONCAP_DROPS_URI": str(PLACES / "drops"),
        "REGIONCAP_WAREHOUSE_URI": str(PLACES / "warehouse"),
        "REGIONCAP_MODEL_PROFILE": "demo",
    }
)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """A migrated metadata database with the pools and the DAG in it."""
    airflow = [sys.executable, "-m", "airflow"]
    for command in (
        ["db", "migrate"],
        ["pools", "import", str(ROOT / "include" / "pools.json")],
        ["dags", "reserialize"],
    ):
        subprocess.run([*airflow, *command], check=True, capture_output=True, timeout=1200)
