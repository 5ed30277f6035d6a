"""`regioncap upkeep`: what of the work area can go, and its deletion."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, for_each
from regioncap.cli.places import open_warehouse
from regioncap.cli.terminal import say, shown
from regioncap.config.deployment import Deployment
from regioncap.config.settings import work_root_in
from regioncap.errors import NotFoundError
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import current
from regioncap.work.layout import CLAIM
from regioncap.work.upkeep import Heap, abandoned, collect, give_up, look, old_previews


def upkeep(
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The drop's date.", show_default="all")] = None,
    days: Annotated[
        int | None,
        typer.Option(
            "--older-than",
            min=1,
            metavar="DAYS",
            help="What was touched since then stays.",
            show_default="REGIONCAP_KEEP_WORK_DAYS, or 30",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it. Without this, it is only told.")] = False,
    warehouse_uri: Warehouse = None,
    work_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="The work area.", show_default="_work in the warehouse")
    ] = None,
) -> None:
    """What no build needs any more: superseded plans, their shards, marked images of old builds, abandoned builds.

    What a run that goes on, or a build that waits for approval, may still need is left alone, and so is all that spares
    the next build the model.
    """
    deployment = Deployment.from_environment()
    warehouse_uri = warehouse_uri or deployment.warehouse_uri
    limit = time.time() - timedelta(days=days or deployment.keep_work_days).total_seconds()
    warehouse = open_warehouse(warehouse_uri)

    def lines(work: Store) -> Iterator[str]:
        name = work.uri.rstrip("/").rpartition("/")[2]
        partition = warehouse.sub(f"{name}/")
        published, _ = current(partition)
        # Whether a run is over, only its Airflow knows: here, one that began lately may go on.
        area = look(work, published.plan_id if published else None, limit, lambda run: _claimed(work) >= limit)
        gone = Heap("")
        for heap in area.leftovers:
            gone = gone.and_of(heap)
        yield f"{shown(work.uri)}: {_told(area.held)}, of which {_told(gone)} can go"
        for heap in abandoned(partition, limit):
            if delete:
                give_up(work, partition, heap)
            yield f"  {shown(f'{partition.uri}/{heap.folder}')}  {_told(heap)}{', deleted' if delete else ''}"
        if delete:
            deleted: list[Heap] = []
            try:
                collect(work, area, deleted.append)
            finally:
                say(f"  {len(deleted)} of {len(area.leftovers)} folders deleted")
        else:
            yield from (f"  {shown(heap.folder)}  {_told(heap)}" for heap in area.leftovers)

    for_each(date, work_uri or work_root_in(warehouse_uri), lines)
    if date is None:
        for heap in old_previews(warehouse, limit):
            if delete:
                warehouse.sub(heap.folder).delete_folder()
            say(f"{shown(heap.folder)}  {_told(heap)}{', deleted' if delete else ''}")
    if not delete:
        say("nothing was deleted: add --delete")


def _claimed(work: Store) -> float:
    try:
        return work.stat(CLAIM).modified
    except NotFoundError:
        return 0.0


def _told(heap: Heap) -> str:
    return f"{heap.files:,} files, {heap.bytes / 1e6:,.1f} MB"
