"""`regioncap verify`: are published builds whole, byte for byte?"""

from collections.abc import Iterator
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, for_each
from regioncap.cli.terminal import counting, shown
from regioncap.errors import BuildGoneError, NothingPublishedError, RollBackError
from regioncap.storage.store import Store
from regioncap.warehouse.history import and_yet, earlier_manifest, was_deleted
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.whole import problems, told

_REMEDY = (
    "{uri}: delete what is left of the files that are not as they were published, and run the date again: the build is "
    "made anew from what is kept, and nothing is asked again. Or go back to an earlier one (regioncap builds rollback)"
)
_EARLIER = "{uri}: earlier builds that are not whole cannot be gone back to; they go when newer ones are published"


def verify(
    date: Annotated[
        str | None,
        typer.Argument(metavar="DATE", help="The drop's date, YYYY-MM-DD: its current build.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every date, and the earlier builds that are kept.")] = False,
    warehouse_uri: Warehouse = None,
) -> None:
    """Is what is published whole, byte for byte? Reads every file."""
    if (date is None) != every:
        raise typer.BadParameter("name a date, or say --all", param_hint="DATE")
    for_each(date, warehouse_uri, _every_build if every else _current_build)


def _current_build(place: Store) -> Iterator[str]:
    manifest, _ = current(place)
    if manifest is None:
        raise NothingPublishedError(f"nothing is published at {place.uri}{and_yet(place)}")
    wrong, line = _verified(place, manifest, "current")
    yield line
    if wrong:
        raise BuildGoneError(_REMEDY.format(uri=place.uri))


def _every_build(place: Store) -> Iterator[str]:
    manifest, _ = current(place)
    if manifest is None:
        if was_deleted(place):
            raise NothingPublishedError(f"nothing is published at {place.uri}{and_yet(place)}")
        yield shown(f"{place.uri}: nothing is published{and_yet(place)}")
        return
    wrong, line = _verified(place, manifest, "current")
    yield line
    remedies = [_REMEDY] if wrong else []
    for build in manifest.history:
        try:
            wrong, line = _verified(place, earlier_manifest(place, manifest, build), "earlier")
        except RollBackError as error:
            wrong, line = True, _line(place, build.build_id, "earlier", f"[red]not whole[/red]: {shown(str(error))}")
        yield line
        remedies += [_EARLIER] if wrong and _EARLIER not in remedies else []
    if remedies:
        raise BuildGoneError("\n".join(remedies).format(uri=place.uri))


def _verified(place: Store, manifest: Manifest, which: str) -> tuple[bool, str]:
    """Whether something is wrong with a build, and the line that tells."""
    files = 0
    with counting(f"{place.uri}/{manifest.build}", manifest.files.rows if manifest.files else None) as count:

        def passed() -> None:
            nonlocal files
            files += 1
            count()

        wrong = told(problems(place, manifest, read=True, passed=passed))
    told_of = f"[red]not whole[/red]: {shown(wrong)}" if wrong else f"[green]whole[/green], {files:,} files"
    return wrong is not None, _line(place, manifest.build_id, which, told_of)


def _line(place: Store, build_id: str, which: str, what: str) -> str:
    return f"{shown(place.uri)}  {shown(build_id)}  {which}  {what}"
