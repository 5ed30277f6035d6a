"""`regioncap builds`: the published builds of each date. List them, go back to an earlier one, delete leftovers."""

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from regioncap.cli.places import open_warehouse
from regioncap.cli.terminal import say, say_error, shown
from regioncap.config.deployment import Deployment
from regioncap.drop.dates import resolve_drop_date
from regioncap.errors import RegionCapError
from regioncap.storage.store import Store
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import Manifest, current

app = typer.Typer(help="Published builds: list them, go back, clear up.", no_args_is_help=True)

_Date = Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The drop's date.", show_default=False)]
_AnyDate = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The drop's date.", show_default="all")]
_Warehouse = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Where builds are published.",
        show_default="REGIONCAP_WAREHOUSE_URI, or s3://warehouse/region_captions",
    ),
]


@app.command("list")
def list_builds(date: _AnyDate = None, warehouse_uri: _Warehouse = None) -> None:
    """The current build, and the earlier ones that are kept."""
    _for_each(date, warehouse_uri, lambda place: _table(place, current(place)[0]))


@app.command("rollback")
def roll_back_to(
    date: _Date,
    build: Annotated[
        str | None, typer.Option(metavar="ID", help="Which one.", show_default="the last one not withdrawn")
    ] = None,
    warehouse_uri: _Warehouse = None,
) -> None:
    """Make an earlier build the current one again."""
    _for_each(date, warehouse_uri, lambda place: _table(place, roll_back(place, build)))


@app.command("collect")
def collect_builds(date: _AnyDate = None, warehouse_uri: _Warehouse = None) -> None:
    """Delete interrupted builds, and those not kept any more."""
    _for_each(date, warehouse_uri, _collected)


def _for_each(date: str | None, warehouse_uri: str | None, lines: Callable[[Store], Iterator[str]]) -> None:
    """Print what there is to say of each date. Ends with 1 where one failed: it costs the others nothing."""
    failed = False
    try:
        for place in _places(date, open_warehouse(warehouse_uri or Deployment.from_environment().warehouse_uri)):
            try:
                for line in lines(place):
                    say(line)
            except RegionCapError as error:
                say_error(error)
                failed = True
    except (RegionCapError, ConnectionError) as error:
        say_error(error)
        failed = True
    if failed:
        raise typer.Exit(1)


def _places(date: str | None, warehouse: Store) -> Iterator[Store]:
    if date is None:
        names = [name for name in warehouse.folders() if name.startswith(partition_path(""))]
    else:
        names = [partition_path(resolve_drop_date(date, None, None))]
    for name in names:
        yield warehouse.sub(f"{name}/")


def _table(place: Store, manifest: Manifest | None) -> Iterator[str]:
    if manifest is None:
        yield f"{shown(place.uri)}: nothing is published"
        return
    yield f"[bold]{shown(place.uri)}[/bold]"
    yield f"  {shown(manifest.build_id)}  published {shown(manifest.created_at)}  [green]current[/green]"
    for build in manifest.history:
        end = "[yellow]withdrawn[/yellow]" if build.withdrawn else "current until"
        yield f"  {shown(build.build_id)}  published {shown(build.created_at)}  {end} {shown(build.current_until)}"


def _collected(place: Store) -> Iterator[str]:
    yield f"{shown(place.uri)}: {shown(', '.join(collect(place)) or 'nothing')} deleted"
