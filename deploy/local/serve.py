"""`make serve`: the embedded stack, up until Ctrl-C, for working in the Airflow UI."""

import signal
import sys
import time

from rich.console import Console

from deploy.local.airflow import USER, AirflowError
from deploy.local.drops import upload_drop
from deploy.local.paths import INCLUDE, STATE
from deploy.local.stack import DAG, DROPS_URI, WAREHOUSE_URI, run_stack
from regioncap.cli.terminal import shown
from regioncap.errors import ServiceError
from regioncap.processes import is_free

UI_PORT = 8080

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Runs until Ctrl-C (or SIGTERM), or until a service ends."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        # A bookmark goes on working where the port is free; where it is not, any other will do.
        port = UI_PORT if is_free(UI_PORT) else None
        with run_stack(lambda message: console.print(f"[dim]{message}[/dim]"), airflow_port=port) as stack:
            for drop in sorted(path for path in (INCLUDE / "drops").iterdir() if path.joinpath("_READY").exists()):
                upload_drop(drop, stack.s3, "drops", drop.name)
            stack.api.unpause(DAG)
            console.print(f"\nAirflow     {stack.api.url}/dags/{DAG}")
            console.print(f"datasets    {stack.api.url}/regioncap/")
            console.print(f"user        {USER}, password in {stack.password_file}")
            console.print(f"drops       {DROPS_URI}/<date>/ at {stack.s3_url}; the sample drops are there")
            console.print(f"warehouse   {WAREHOUSE_URI}")
            console.print(f"VLM         {stack.vlm_url}")
            console.print(f"keys        of bucket and VLM in {STATE / 'credentials.json'}")
            console.print("\nCtrl-C stops everything.")
            while True:
                for service in stack.services.values():
                    service.check()
                time.sleep(1.0)
    except (ServiceError, AirflowError) as error:
        console.print(f"[red]{shown(str(error))}[/red]")
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
