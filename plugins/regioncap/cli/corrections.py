"""`regioncap corrections`: captions that people have corrected in Label Studio or CVAT."""

import getpass
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, for_each
from regioncap.cli.terminal import say, shown
from regioncap.errors import CorrectionError
from regioncap.exports.cvat import returned_by_cvat
from regioncap.exports.handed_out import Returned
from regioncap.exports.label_studio import returned_by_label_studio
from regioncap.pages.returning import come_back, enter, settle
from regioncap.storage.store import Store
from regioncap.warehouse.corrections import corrections_of
from regioncap.warehouse.reader import open_build

app = typer.Typer(help="Captions that were corrected in Label Studio or CVAT.", no_args_is_help=True)


@app.callback()
def _corrections() -> None:
    """Makes the command one of several, also while there is just one."""


@app.command("import")
def import_(
    date: Annotated[str, typer.Argument(metavar="DATE", help="The drop's date, YYYY-MM-DD.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What Label Studio exports as JSON, or CVAT as 'CVAT for images' (the XML file out of its ZIP).",
            show_default=False,
            exists=True,
            dir_okay=False,
        ),
    ],
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who says it.", show_default="the user's name here")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be entered, and enter nothing.")] = False,
    warehouse_uri: Warehouse = None,
) -> None:
    """Enter captions that were changed there as corrections: the date's next run publishes them.

    The file has to come from the date's export `label_studio` or `cvat`. Nothing else of it is taken: of boxes that
    were moved, added or deleted there it is told. To import a file twice changes nothing.
    """
    name = by or getpass.getuser()
    for_each(date, warehouse_uri, lambda place: _imported(place, file, name, dry_run))


def _imported(place: Store, file: Path, by: str, dry_run: bool) -> Iterator[str]:
    tool, read = _tool(file)
    build = open_build(place)
    try:
        back, known = come_back(read(file), build)
    except (ValueError, OSError) as error:
        raise CorrectionError(f"{file} cannot be read: {error}") from error
    changes, journal = list(back.changed.values()), corrections_of(place)
    if dry_run:
        settled = settle(changes, known, journal.lines())
        taken = len(settled.to_enter)
        for change in settled.to_enter:
            say(f"{shown(change.where)}: {shown(change.caption)}")
    else:
        taken, settled = enter(journal, changes, known, by, f"from {tool}", build.manifest.build_id)
    for fault in (*back.faults.first, *settled.faults):
        yield f"[yellow]{shown(fault)}[/yellow]"
    entered = "would be entered" if dry_run else "entered"
    yield (
        f"{shown(place.uri)}: {taken:,} captions {entered}, {settled.already:,} were there already, "
        f"{back.unchanged:,} nobody has changed"
    )
    if faults := back.faults.count + len(settled.faults):
        raise CorrectionError(f"{faults:,} not taken of what is in {file}: see above")


def _tool(file: Path) -> tuple[str, Callable[[Path], Iterator[Returned]]]:
    with file.open("rb") as stream:
        start = stream.read(1 << 10).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        return "CVAT", returned_by_cvat
    if start.startswith(b"["):
        return "Label Studio", returned_by_label_studio
    if start.startswith(b"PK"):
        raise CorrectionError(f"{file} is an archive: take the file out of it, annotations.xml or the like")
    raise CorrectionError(f"{file} is neither Label Studio's JSON nor CVAT's XML: export it there as one of these")
