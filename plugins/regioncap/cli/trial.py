"""`regioncap try`: what becomes of some rows under these settings, and under those? Without Airflow, or a bucket."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from regioncap.cli.places import make_folder, open_drop, open_images
from regioncap.cli.terminal import following, say, say_error, shown
from regioncap.config.deployment import Deployment
from regioncap.config.settings import BuildSettings, settings_of
from regioncap.errors import ParamsError, RegionCapError, VlmSetupError, VlmUnavailableError
from regioncap.marks.profiles import profile_of
from regioncap.report.trial import MarksRead, Tried, differing_captions, differing_params, render_trial
from regioncap.steps.trial import try_settings
from regioncap.storage.local import LocalStore
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.probe import served_model

_PAGE = "try.html"
_MOST_ROWS = 1000
_DEFAULTS = "defaults"
# What the server wants to be shown; as vLLM itself calls it.
_KEY = "VLLM_API_KEY"
# Somebody waits for it.
_PATIENCE_SECONDS = 15.0


def try_(
    drop: Annotated[
        str,
        typer.Argument(
            metavar="DROP", help="The folder of one date's drop: a path, or s3://bucket/prefix.", show_default=False
        ),
    ],
    vlm: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The server's address, http://<server>:8000/v1; its key is in VLLM_API_KEY.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Write the page there, try.html, with its images.", show_default=False),
    ],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="The model.", show_default="the one that the server serves")
    ] = "",
    rows: Annotated[int, typer.Option(min=1, max=_MOST_ROWS, help="So many rows, evenly from all of the drop.")] = 20,
    params: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A set of params, a file with a JSON object. Several times: several sets.",
            show_default="what nightly runs go by",
        ),
    ] = None,
) -> None:
    """What becomes of some rows under one set of params, and under others? Asks the model; needs no Airflow, no bucket.

    The page has the same rows side by side, a table of what differs, and how well this model reads marks. Ends with 1
    where a run would stop.
    """  # fmt: skip
    try:
        deployment = Deployment.from_environment()
        sets = _sets(params or [], {**deployment.default_params, "sample_rows": rows})
        make_folder(out, drop)
    except (RegionCapError, ValueError, OSError) as error:
        say_error(error)
        raise typer.Exit(2) from None
    try:
        # What is wrong with the drop is told before anybody waits for a server.
        place = open_drop(drop)
        images = open_images(place, next(iter(sets.values())).images_uri)
        endpoint = asyncio.run(_endpoint(vlm, model))
        if not deployment.vlm_model:
            known = {**deployment.default_params, "model_profile": profile_of(endpoint.model), "sample_rows": rows}
            sets = _sets(params or [], known)
        with tempfile.TemporaryDirectory(prefix="regioncap-try-") as folder, following("answers") as progress:
            tried, marks, guessed = try_settings(
                place, images, LocalStore(Path(folder)), sets, endpoint, progress=progress
            )
    except (VlmSetupError, VlmUnavailableError) as error:
        say_error(RegionCapError(f"{error} (what is called the connection is here --vlm, --model and {_KEY})"))
        raise typer.Exit(1) from None
    except (RegionCapError, OSError) as error:
        say_error(error)
        raise typer.Exit(1) from None
    try:
        _write(out, render_trial(place.uri, endpoint.model, tried, marks, guessed), tried)
    except OSError as error:
        say_error(RegionCapError(f"the page cannot be written into {out} ({error.strerror}): choose another folder"))
        raise typer.Exit(2) from None
    _tell(tried, marks, out)
    if any(one.stops is not None for one in tried):
        raise typer.Exit(1)


async def _endpoint(url: str, model: str) -> Endpoint:
    """The server, and its model. Raises VlmSetupError and VlmUnavailableError."""
    endpoint = Endpoint(
        base_urls=(url,), model=model or "?", api_key=os.environ.get(_KEY, ""), patience_seconds=_PATIENCE_SECONDS
    )
    return endpoint if model else await served_model(endpoint)


def _sets(files: Sequence[Path], params: Mapping[str, Any]) -> dict[str, BuildSettings]:
    """The sets of settings by their names: those of the files, and of these params what they do not say.

    Raises ParamsError.
    """
    if not files:
        return {_DEFAULTS: settings_of(params, strict=True)}
    if twice := [path for number, path in enumerate(files) if path in files[:number]]:
        raise ParamsError(f"{twice[0]} is given twice: each set of params is compared with the others")
    alike = len({path.stem for path in files}) < len(files)
    sets: dict[str, BuildSettings] = {}
    for path in files:
        name = os.fspath(path) if alike else path.stem
        try:
            given = {**params, **_object(path), "sample_rows": params["sample_rows"]}
            sets[name] = settings_of(given, strict=True)
        except ParamsError as error:
            raise ParamsError(f"{path}: {error}") from None
    places = {settings.images_uri for settings in sets.values()}
    if len(places) > 1:
        raise ParamsError("images_uri differs between the sets of params: the same images have to be tried")
    return sets


def _object(path: Path) -> Mapping[str, Any]:
    """Raises ParamsError."""
    try:
        given = json.loads(path.read_bytes())  # whatever encoding of Unicode a shell has written it in
    except FileNotFoundError:
        raise ParamsError("there is no such file") from None
    except IsADirectoryError:
        raise ParamsError("it is a folder: name a file with a JSON object of params") from None
    except OSError as error:
        raise ParamsError(f"it cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ParamsError(f'it is not JSON ({error}): write it as {{"mark_style": "corners"}}') from None
    if not isinstance(given, dict):
        raise ParamsError('it is no JSON object: write it as {"mark_style": "corners"}')
    return given


def _write(out: Path, page: str, tried: Sequence[Tried]) -> None:
    for one in tried:
        for row in one.rows.values():
            if row.record is not None and row.jpeg is not None:
                path = out / row.picture
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(row.jpeg)
    (out / _PAGE).write_text(page, encoding="utf-8")


def _tell(tried: Sequence[Tried], marks: Sequence[MarksRead], out: Path) -> None:
    for number, one in enumerate(tried):
        if one.stops is not None:
            say_error(RegionCapError(f"{one.name}: a run would stop: {one.stops}"))
            continue
        say(f"[bold]{shown(one.name)}[/bold]")
        for name, figure in one.figures().items():
            say(f"  {name}: {shown(figure)}")
        if number:
            differing, both = differing_captions(tried[0], one)
            say(f"  captions unlike those of {shown(tried[0].name)}: {differing:,} of {both:,}")
        for warning in one.warnings:
            say(f"  [yellow]warning[/yellow]: {shown(warning)}")
    if len(tried) > 1 and not differing_params(tried):
        say("  [yellow]warning[/yellow]: the settings are the same in all sets: what differs is the model's own doing")
    for read in marks:
        say(f"  numbers read back, {shown(read.style)}, {read.size}: {read.right} of {read.asked}")
    say(f"  to look at: {shown(os.fspath(out / _PAGE))}")
