"""What commands about published dates have in common: which date, in which warehouse, and what an error costs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, TypeVar

import typer

from regioncap.cli.places import open_warehouse
from regioncap.cli.terminal import say, say_error
from regioncap.config.deployment import Deployment
from regioncap.drop.dates import resolve_drop_date
from regioncap.errors import NothingPublishedError, RegionCapError
from regioncap.storage.store import Store
from regioncap.warehouse.layout import partition_path

Item = TypeVar("Item")

Warehouse = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Where builds are published.",
        show_default="REGIONCAP_WAREHOUSE_URI, or s3://warehouse/region_captions",
    ),
]


def for_each(date: str | None, warehouse_uri: str | None, lines: Callable[[Store], Iterator[str]]) -> None:
    """Print what there is to say of a date's partition, or of each. Ends with 1 where one failed: others go on.

    They do so whatever it is that fails. It ends with 1 too where there is no date at all.
    """

    def told(place: Store) -> None:
        for line in lines(place):
            say(line)

    try:
        places = list(_places(date, open_warehouse(warehouse_uri or Deployment.from_environment().warehouse_uri)))
    except (RegionCapError, ConnectionError) as error:
        say_error(error)
        raise typer.Exit(1) from None
    if len(each(told, places, lambda place: place.uri)) < len(places):
        raise typer.Exit(1)


def each(doing: Callable[[Item], object], items: Sequence[Item], uri: Callable[[Item], str]) -> list[Item]:
    """Do something for each date, and say what fails: others go on. Returns those that did not fail."""
    done: list[Item] = []
    for item in items:
        try:
            doing(item)
            done.append(item)
        except RegionCapError as error:
            say_error(error)
        except Exception as error:  # nobody has foreseen it, so it does not say where it happened
            say_error(Exception(f"{uri(item)}: {type(error).__name__}: {error}"))
    return done


def _places(date: str | None, warehouse: Store) -> Iterator[Store]:
    if date is None:
        names = [name for name in warehouse.folders() if name.startswith(partition_path(""))]
        if not names:
            # A place that is another one would be called whole for ever.
            raise NothingPublishedError(f"there is no date at {warehouse.uri}: is this the warehouse?")
    else:
        names = [partition_path(resolve_drop_date(date, None, None))]
    for name in names:
        yield warehouse.sub(f"{name}/")
