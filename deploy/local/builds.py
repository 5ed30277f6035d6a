"""`make builds`, `make verify`: a command of `regioncap` in the environment of the embedded stack, while that is up."""

import os
import sys

from deploy.local import airflow
from deploy.local.credentials import load_or_create
from deploy.local.paths import STATE
from deploy.local.stack import WAREHOUSE_URI
from regioncap.processes import free_ports


def main() -> None:
    """Becomes the command."""
    # The port is that of the api-server, which is not asked: connections come from the database.
    (port,) = free_ports(1)
    variables = airflow.environment(
        STATE / "airflow",
        port,
        load_or_create(STATE / "credentials.json"),
        {"REGIONCAP_WAREHOUSE_URI": WAREHOUSE_URI},
    )
    os.execve(sys.executable, [sys.executable, "-m", "regioncap.cli", *sys.argv[1:]], variables)


if __name__ == "__main__":
    main()
