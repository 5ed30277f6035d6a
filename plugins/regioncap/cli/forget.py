"""`regioncap forget`: take an image out of all that was published, and out of the work area."""

import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, each
from regioncap.cli.places import open_images, open_place, open_warehouse
from regioncap.cli.terminal import say, say_error, shown
from regioncap.config.deployment import Deployment
from regioncap.config.settings import work_root_in
from regioncap.drop.dates import resolve_drop_date
from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import RegionCapError, RunError
from regioncap.steps.forget import Date, forget, look, named, places_of
from regioncap.storage.store import Store
from regioncap.warehouse.forgotten import Forgetting, Forgotten, all_of, forgettings_of, not_done
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import current
from regioncap.work.row_index import image_key


def forget_images(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            help="The SHA-256 of an image file, its URI, its path in a drop, or the id of a row. None: what was to be "
            "forgotten before and is still found.",
            show_default=False,
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM-DD", help="The date whose drop a path or an id is of.", show_default="any"),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Do it. Without this, it is only told.")] = False,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who does it.", show_default="the user's name here")
    ] = None,
    warehouse_uri: Warehouse = None,
    work_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="The work area.", show_default="_work in the warehouse")
    ] = None,
) -> None:
    """Take images out of all builds of all dates, and out of the work area, for good: no later run brings them back.

    Every row with the same image file goes. The drop itself is yours: delete the image there. Each kept build is made
    anew without it, and the old ones are deleted; no model is asked.
    """
    warehouse_uri = warehouse_uri or Deployment.from_environment().warehouse_uri
    failed = False

    def each_date(doing: Callable[[Date], object], which: Sequence[Date]) -> list[Date]:
        nonlocal failed
        done = each(doing, which, lambda one: one.partition.uri)
        failed = failed or len(done) < len(which)
        return done

    try:
        day = resolve_drop_date(date, None, None) if date else None
        warehouse, works = open_warehouse(warehouse_uri), open_warehouse(work_uri or work_root_in(warehouse_uri))
        # Of what is damaged or a newer version's nobody can tell what it has.
        dates = each_date(lambda one: current(one.partition), _dates(warehouse, works))
        before = forgettings_of(warehouse).lines()
        entry, missing = _entry(images or [], day, dates, all_of(before), by or getpass.getuser())
    except (RegionCapError, ConnectionError) as error:
        say_error(error)
        raise typer.Exit(1) from None
    for name in missing:
        say_error(RunError(f"{name} is found nowhere: give the SHA-256 of the file, or --date with its path there"))
        failed = True
    forgotten = all_of(before).and_also(entry.contents, entry.images)
    lines, pending = len(before), not_done(before)
    found: list[Date] = []

    def tell(one: Date) -> None:
        held = look(one, forgotten)
        if held:
            say(f"[bold]{shown(one.partition.uri)}[/bold]")
            for told in held.told():
                say(f"  {shown(told)}")
        if held or partition_path(one.date) in pending:
            found.append(one)

    def do(one: Date) -> None:
        went = forget(
            one,
            forgotten,
            lines=lines,
            is_alive=lambda run: True,
            open_images=_originals,
            progress=lambda message: say(f"  {shown(message)}"),
        )
        at = datetime.now(UTC).isoformat(timespec="seconds")
        done = Forgetting(at=at, by=entry.by, partition=partition_path(one.date), builds=went, entry=lines)
        forgettings_of(warehouse).add(lambda _: [done])
        instead = ", ".join(f"{old} is now {new or 'gone'}" for old, new in went.items())
        say(f"{shown(one.partition.uri)}: forgotten{shown(f'; {instead}' if instead else '')}")

    each_date(tell, dates)
    if not found:
        say("nothing is found that is to be forgotten")
    elif not delete:
        say("nothing was deleted: add --delete")
    else:
        try:
            partitions = sorted(partition_path(one.date) for one in found)
            entered = entry.model_copy(update={"partitions": partitions})
            lines = forgettings_of(warehouse).add(lambda _: [entered])[-1].number
        except RegionCapError as error:
            say_error(error)
            raise typer.Exit(1) from None
        each_date(do, found)
        say("the drops themselves are left as they are: delete the image, and its row, there")
    if failed:
        raise typer.Exit(1)


def _dates(warehouse: Store, works: Store) -> list[Date]:
    prefix = partition_path("")
    names = {name for store in (warehouse, works) for name in store.folders() if name.startswith(prefix)}
    return [
        Date(name.removeprefix(prefix), warehouse, warehouse.sub(f"{name}/"), works.sub(f"{name}/"))
        for name in sorted(names)
    ]


def _entry(
    names: Sequence[str], day: str | None, dates: Sequence[Date], before: Forgotten, by: str
) -> tuple[Forgetting, list[str]]:
    """What is to be entered for these names, and those that were not found. Raises RunError."""
    found = named(names, day, dates) if names else {}
    contents = {content for one in found.values() for content in one.contents}
    images = {image for one in found.values() for image in one.images}
    for one in dates if contents else ():
        images |= places_of(contents, one)
    known = before.contents | {name for name in names if day and image_key(day, name) in before.images}
    missing = [name for name, one in found.items() if not (one.contents or one.images) and name not in known]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Forgetting(at=at, by=by, contents=sorted(contents), images=sorted(images)), missing


def _originals(drop_uri: str, images_uri: str | None) -> ImageFiles:
    return open_images(open_place(drop_uri), images_uri)
