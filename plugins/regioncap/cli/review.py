"""`regioncap review`: a person looks at drawn regions of a build, and says of each caption whether it is right."""

import getpass
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from regioncap.cli.partitions import Warehouse, for_each
from regioncap.cli.terminal import shown
from regioncap.report.judged import sample_told, share_told
from regioncap.storage.store import Store
from regioncap.warehouse.reader import open_build
from regioncap.warehouse.reviews import SAMPLE, Review, Verdict, draw, estimate, note, reviews_of, verdicts

# As on the page for it in Airflow.
_KEYS: dict[str, Verdict] = {"y": "right", "n": "wrong", "u": "unsure"}
_SKIP, _QUIT = "s", "q"
_HELP = "y right, n wrong, u cannot tell, s skip for now, q end"


def review(
    date: Annotated[str, typer.Argument(metavar="DATE", help="The drop's date, YYYY-MM-DD.", show_default=False)],
    regions: Annotated[int, typer.Option(min=1, max=10_000, help="How many regions are drawn.")] = SAMPLE,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who says it.", show_default="the user's name here")
    ] = None,
    see: Annotated[bool, typer.Option("--open", help="Open each marked image in the desktop's viewer.")] = False,
    warehouse_uri: Warehouse = None,
) -> None:
    """Judge drawn regions of the current build: is the caption what is in the region?

    What is said is kept at once, beside the date's builds, and a later call goes on where this one ended. It ends with
    how many of all captions are wrong, by what was said.
    """
    name = by or getpass.getuser()
    for_each(date, warehouse_uri, lambda place: _reviewed(place, regions, name, see))


def _reviewed(place: Store, regions: int, by: str, see: bool) -> Iterator[str]:
    build = open_build(place)
    journal, build_id = reviews_of(place), build.manifest.build_id
    said = verdicts(journal.lines(), build_id)
    drawn = draw(build, regions)
    left = [region for region in drawn if region.key not in said]
    if left:
        yield f"{shown(place.uri)}  {shown(build_id)}\n{_HELP}"
    with ExitStack() as stack:
        write = _writer(stack, build.image, see)
        for number, region in enumerate(left, start=len(drawn) - len(left) + 1):
            path = write(region.record.model_dump())
            yield f"\n{number} of {len(drawn)}  {shown(region.record.image)}  {shown(path)}"
            yield f"  [bold]<region{region.region}>[/bold] {shown(region.caption)}"
            key = _key()
            if key == _QUIT:
                break
            if key in _KEYS:
                at = datetime.now(UTC).isoformat(timespec="seconds")
                note(journal, Review(at=at, by=by, build_id=build_id, region=region.key, verdict=_KEYS[key]))
                yield f"  {_KEYS[key]}"
    found = estimate(verdicts(journal.lines(), build_id).values())
    yield f"\n{build_id}: by a person's sample, {sample_told(found)}"
    if build.manifest.judged is not None:
        yield f"by the judge, {shown(share_told(build.manifest.judged))}"


def _writer(stack: ExitStack, image: Callable[[dict[str, object]], bytes], see: bool) -> Callable[..., str]:
    """What writes a record's marked image where a person can look at it, until all is done; returns its path."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="regioncap-review-"))

    def write(record: dict[str, object]) -> str:
        path = Path(folder, Path(str(record["image_with_bbox"])).name)
        path.write_bytes(image(record))
        if see:
            typer.launch(str(path))
        return str(path)

    return write


def _key() -> str:
    """The next key that means something."""
    while True:
        key = typer.getchar().lower()
        if key in _KEYS or key in (_SKIP, _QUIT):
            return str(key)
        if key in ("", "\x03", "\x04"):
            return _QUIT
