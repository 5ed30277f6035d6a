"""The published builds of a date: list them, go back to an earlier one, delete what is left over.

    python -m regioncap.airflow.builds_command list --date 2026-10-05
    python -m regioncap.airflow.builds_command rollback --date 2026-10-05 [--build ID]
    python -m regioncap.airflow.builds_command collect [--date 2026-10-05]

Runs where Airflow runs: it uses the connection `regioncap_warehouse`, and the deployment's warehouse unless
`--warehouse-uri` names another.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from regioncap.airflow.places import open_warehouse
from regioncap.config.deployment import Deployment
from regioncap.drop.dates import resolve_drop_date
from regioncap.errors import PermanentError
from regioncap.storage.store import Store
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import Manifest, current


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 where it did what was asked, for every date."""
    asked = _arguments(arguments)
    # As Airflow's own commands say, so that connections are found in its database too.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    # Airflow logs to where this prints.
    logging.disable(logging.INFO)
    failed = 0
    try:
        for place in _places(asked, open_warehouse(asked.warehouse_uri)):
            try:
                for line in _lines(asked, place):
                    print(line)
            except PermanentError as error:
                # One date costs the others nothing.
                print(error, file=sys.stderr)
                failed = 1
    except (PermanentError, ConnectionError) as error:
        print(error, file=sys.stderr)
        return 1
    return failed


def _places(asked: argparse.Namespace, warehouse: Store) -> Iterator[Store]:
    if asked.date is None:
        names = [name for name in warehouse.folders() if name.startswith(partition_path(""))]
    else:
        names = [partition_path(resolve_drop_date(asked.date, None, None))]
    for name in names:
        yield warehouse.sub(f"{name}/")


def _lines(asked: argparse.Namespace, place: Store) -> Iterator[str]:
    if asked.command == "collect":
        yield f"{place.uri}: {', '.join(collect(place)) or 'nothing'} deleted"
        return
    manifest = roll_back(place, asked.build) if asked.command == "rollback" else current(place)[0]
    yield f"{place.uri}{'' if manifest else ': nothing is published'}"
    if manifest:
        yield from _table(manifest)


def _table(manifest: Manifest) -> Iterator[str]:
    yield f"  {manifest.build_id}  published {manifest.created_at}  current"
    for build in manifest.history:
        end = "withdrawn" if build.withdrawn else "current until"
        yield f"  {build.build_id}  published {build.created_at}  {end} {build.current_until}"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m regioncap.airflow.builds_command", description="List, roll back and collect published builds."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the current build, and the earlier ones that are kept")
    rollback = commands.add_parser("rollback", help="make an earlier build the current one again")
    collecting = commands.add_parser("collect", help="delete interrupted builds, and those not kept any more")
    for command in (listing, rollback, collecting):
        command.add_argument("--date", help="the drop's date", required=command is rollback)
        command.add_argument("--warehouse-uri", default=Deployment.from_environment().warehouse_uri)
    rollback.add_argument("--build", help="which one; by default the last one that was not withdrawn")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
