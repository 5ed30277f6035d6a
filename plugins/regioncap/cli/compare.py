"""`regioncap compare`: what differs between two builds of a date."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, for_each
from regioncap.cli.terminal import shown
from regioncap.errors import NothingPublishedError
from regioncap.storage.store import Store
from regioncap.warehouse.compare import KINDS, Comparison, Difference, differences
from regioncap.warehouse.history import and_yet, earlier_manifest
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.reader import Build

_SIDES = ("-", "+")


def compare(
    date: Annotated[str, typer.Argument(metavar="DATE", help="The drop's date, YYYY-MM-DD.", show_default=False)],
    first: Annotated[
        str | None,
        typer.Argument(metavar="FROM", help="One build's id.", show_default="the last earlier one"),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(metavar="TO", help="Another's, to compare with it.", show_default="the current one"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each difference as a line of JSON, and nothing else.")
    ] = False,
    warehouse_uri: Warehouse = None,
) -> None:
    """What differs between two builds of a date, row by row: what they say of each region, known by its box."""
    for_each(date, warehouse_uri, lambda place: _compared(place, first, second, as_json))


def _compared(place: Store, first: str | None, second: str | None, as_json: bool) -> Iterator[str]:
    published, _ = current(place)
    if published is None:
        raise NothingPublishedError(f"nothing is published at {place.uri}{and_yet(place)}")
    builds = [_build(place, published, first or _earlier(published)), _build(place, published, second)]
    counts = Comparison()
    for difference in differences(builds[0], builds[1], counts):
        if as_json:
            typer.echo(json.dumps(asdict(difference)))
        else:
            yield from _told(difference)
    if not as_json:
        differing = ", ".join(f"{number:,} {KINDS[kind]}" for kind, number in counts.differing.items())
        yield f"{builds[0].manifest.build_id} -> {builds[1].manifest.build_id}: {counts.same:,} the same" + (
            f", {differing}" if differing else ""
        )


def _earlier(published: Manifest) -> str:
    if not published.history:
        raise NothingPublishedError(f"{published.partition} has one build only: there is none to compare it with")
    return published.history[0].build_id


def _build(place: Store, published: Manifest, build_id: str | None) -> Build:
    if build_id in (None, published.build_id):
        return Build(published, place)
    kept = next((build for build in published.history if build.build_id == build_id), None)
    if kept is None:
        listed = ", ".join(build.build_id for build in published.history) or "none"
        raise NothingPublishedError(f"there is no build {build_id}; kept beside {published.build_id}: {listed}")
    return Build(earlier_manifest(place, published, kept), place)


def _told(difference: Difference) -> Iterator[str]:
    record = difference.records[0] or difference.records[1] or {}
    code = next(filter(None, difference.codes), None)
    yield (
        f"[bold]{shown(str(record.get('image', '')))}[/bold]  {shown(difference.id)}  {KINDS[difference.kind]}"
        f"{f' ({shown(code)})' if code else ''}"
    )
    for pair in difference.regions:
        if pair.differs:
            for side, colour in enumerate(("red", "green")):
                caption, number = pair.captions[side], pair.numbers[side]
                if caption is not None:
                    by = " (a person's)" if pair.corrected[side] else ""
                    yield f"  [{colour}]{_SIDES[side]} <region{number}> {shown(caption)}{by}[/{colour}]"
