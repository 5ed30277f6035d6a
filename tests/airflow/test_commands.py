"""`regioncap`, in Airflow's environment."""

import json
import os
import subprocess
import sys


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
            [sys.executable, "-m", "regioncap.cli", "builds", "list", "--warehouse-uri", "s3://warehouse/x"],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=900,
        )  # fmt: skip
    finally:
        subprocess.run([*connections, "delete", "regioncap_warehouse"], check=True, capture_output=True)
    assert done.returncode == 1
    assert "the S3 service at http://127.0.0.1:9 cannot be reached" in done.stderr
