"""`regioncap builds`: the published builds of each date. List them, go back to an earlier one, delete leftovers."""

from collections.abc import Iterator
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, for_each
from regioncap.cli.terminal import shown
from regioncap.storage.store import Store
from regioncap.warehouse.history import and_yet, collect, roll_back
from regioncap.warehouse.manifest import Manifest, current

app = typer.Typer(help="Published builds: list them, go back, clear up.", no_args_is_help=True)

_Date = Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The drop's date.", show_default=False)]
_AnyDate = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The drop's date.", show_default="all")]


@app.command("list")
def list_builds(date: _AnyDate = None, warehouse_uri: Warehouse = None) -> None:
    """The current build, and the earlier ones that are kept."""
    for_each(date, warehouse_uri, lambda place: _table(place, current(place)[0]))


@app.command("rollback")
def roll_back_to(
    date: _Date,
    build: Annotated[
        str | None, typer.Option(metavar="ID", help="Which one.", show_default="the last one not withdrawn")
    ] = None,
    warehouse_uri: Warehouse = None,
) -> None:
    """Make an earlier build the current one again."""
    for_each(date, warehouse_uri, lambda place: _table(place, roll_back(place, build)))


@app.command("collect")
def collect_builds(date: _AnyDate = None, warehouse_uri: Warehouse = None) -> None:
    """Delete interrupted builds, and those not kept any more."""
    for_each(date, warehouse_uri, _collected)


def _table(place: Store, manifest: Manifest | None) -> Iterator[str]:
    if manifest is None:
        yield shown(f"{place.uri}: nothing is published{and_yet(place)}")
        return
    yield f"[bold]{shown(place.uri)}[/bold]"
    yield f"  {shown(manifest.build_id)}  published {shown(manifest.created_at)}  [green]current[/green]"
    for build in manifest.history:
        end = "[yellow]withdrawn[/yellow]" if build.withdrawn else "current until"
        yield f"  {shown(build.build_id)}  published {shown(build.created_at)}  {end} {shown(build.current_until)}"


def _collected(place: Store) -> Iterator[str]:
    yield f"{shown(place.uri)}: {shown(', '.join(collect(place)) or 'nothing')} deleted"
