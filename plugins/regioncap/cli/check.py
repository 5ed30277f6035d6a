"""`regioncap check`: what would become of a drop? To be asked before it is uploaded."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from regioncap.cli.places import make_folder, open_drop, open_images
from regioncap.cli.terminal import following, say, say_error, shown
from regioncap.config.deployment import Deployment
from regioncap.config.settings import BuildSettings, settings_of
from regioncap.errors import ParamsError, RegionCapError
from regioncap.regions.records import RenderedRow
from regioncap.report.page import SheetRow, render_sheet
from regioncap.steps.check import Checked, check_drop
from regioncap.warehouse.layout import image_path

_PAGE = "check.html"
# Of the rejected rows so many are listed; a person reads no more, and programs have --json.
_LISTED = 40


def check(
    drop: Annotated[
        str,
        typer.Argument(
            metavar="DROP", help="The folder of one date's drop: a path, or s3://bucket/prefix.", show_default=False
        ),
    ],
    params: Annotated[
        str,
        typer.Option(metavar="JSON", help="Params of the run, a JSON object.", show_default="what nightly runs go by"),
    ] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a page with marked images to look at there, check.html.", show_default=False
        ),
    ] = None,
) -> None:
    """What would become of a drop? Reads every row and image, asks no model, writes nothing into the drop.

    Ends with 1 where a run would stop.
    """
    try:
        deployment = Deployment.from_environment()
        settings = _settings(params, deployment)
        make_folder(out, drop)
    except (RegionCapError, ValueError, OSError) as error:
        say_error(error)
        raise typer.Exit(2) from None
    sheet: list[SheetRow] = []

    def show(row: RenderedRow, jpeg: bytes) -> None:
        if out is not None:
            sheet.append(SheetRow(row, image_path(row.marked), jpeg))

    try:
        place = open_drop(drop)
        with following("rows") as progress:
            images = open_images(place, settings.images_uri)
            checked = check_drop(place, settings, deployment.vlm_model, show=show, progress=progress, images=images)
        uri = place.uri
    except RegionCapError as error:  # that this is no place for a drop, a run would say too
        checked, uri = Checked(stops=str(error)), drop
    try:
        if out is not None:
            _write_sheet(out, uri, checked, sheet)
    except OSError as error:
        say_error(RegionCapError(f"the page cannot be written into {out} ({error.strerror}): choose another folder"))
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(_as_object(checked)))
    else:
        _tell(uri, checked, out)
    if checked.stops is not None:
        raise typer.Exit(1)


def _settings(params: str, deployment: Deployment) -> BuildSettings:
    """Raises ParamsError."""
    try:
        given = json.loads(params)
    except (ValueError, RecursionError) as error:
        meant = f'as --params "$(cat {params})"' if _is_file(params) else 'as \'{"box_format": "xyxy"}\''
        raise ParamsError(f"--params is not JSON ({error}): write it {meant}") from None
    if not isinstance(given, dict):
        raise ParamsError('--params is not a JSON object: write it as \'{"box_format": "xyxy"}\'')
    return settings_of({**deployment.default_params, **given}, strict=True)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # it is too long to be a path, or has a character that none has
        return False


def _write_sheet(out: Path, uri: str, checked: Checked, sheet: list[SheetRow]) -> None:
    for item in sheet:
        path = out / item.picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.jpeg)
    page = render_sheet(uri, _counts(checked), checked.stops, checked.boxes, checked.warnings, sheet, checked.rejected)
    (out / _PAGE).write_text(page, encoding="utf-8")


def _counts(checked: Checked) -> Mapping[str, int]:
    """Rows by what would become of them, as far as a run would come."""
    rejected = len(checked.rejected)
    left = checked.rows - checked.usable - rejected
    counts = {"row" if checked.rows == 1 else "rows": checked.rows, "usable": checked.usable, "rejected": rejected}
    if checked.stops is not None:
        return {name: rows for name, rows in counts.items() if rows}
    return {**counts, "not looked at": left} if left else counts


def _as_object(checked: Checked) -> dict[str, Any]:
    return {
        "rows": checked.rows,
        "usable": checked.usable,
        "rejected": [row.model_dump(mode="json", exclude={"row"}) for row in checked.rejected],
        "stops": checked.stops,
        "warnings": checked.warnings,
        "images": [image.model_dump(mode="json") for image in checked.images],
    }


def _tell(uri: str, checked: Checked, out: Path | None) -> None:
    say(f"[bold]{shown(uri)}[/bold]")
    say("  " + (", ".join(f"{rows:,} {name}" for name, rows in _counts(checked).items()) or "no rows were read"))
    for sentence in checked.boxes:
        say(f"  {shown(sentence)}")
    for row in checked.rejected[:_LISTED]:
        say(f"  {shown(row.manifest)}:{row.line}  [red]{shown(str(row.code))}[/red]  {shown(row.reason)}")
    if len(checked.rejected) > _LISTED:
        codes = Counter(str(row.code) for row in checked.rejected)
        listed = ", ".join(f"{code} ({rows:,})" for code, rows in codes.most_common())
        say(f"  and {len(checked.rejected) - _LISTED:,} more, which --json lists; of all: {shown(listed)}")
    for warning in checked.warnings:
        say(f"  [yellow]warning[/yellow]: {shown(warning)}")
    if out is not None:
        say(f"  to look at: {shown(os.fspath(out / _PAGE))}")
    if checked.stops is not None:
        say_error(RegionCapError(f"a run would stop: {checked.stops}"))
