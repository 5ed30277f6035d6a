"""What `plan` and `render` would do with a drop, found out by doing it: in a temporary folder, and without a VLM."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from regioncap.config.settings import BuildSettings
from regioncap.drop.decoders import Decoders
from regioncap.drop.drop import read_listed
from regioncap.drop.elsewhere import Images
from regioncap.drop.unforeseen import named, unforeseen
from regioncap.errors import BoxFormatError, RegionCapError, RowError
from regioncap.regions.boxes import Box
from regioncap.regions.codes import Code
from regioncap.regions.formats import together
from regioncap.regions.records import PlannedRow, RegionBox, Rejected, RenderedRow
from regioncap.report.figures import told_by_boxes, told_of_one_colour
from regioncap.steps.plan import plan_build
from regioncap.steps.render import check_boxes, render_row, render_shard
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.receipts import RenderReceipt
from regioncap.work.shard import ProposedRow, Shard, parse_lines, plan_rejected

Item = TypeVar("Item")

# So many images are enough to see whether the boxes are where they should be.
SHOWN = 60

# A plan is about a date, and the folder need not have the name of one.
_DATE = "1970-01-01"
# What only the model can say.
_NOT_ASKED = "not_asked"


class SeenImage(BaseModel):
    """What a record would say of its image: width and height as displayed, in pixels, and regions without captions."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    width: int
    height: int
    regions: list[RegionBox]


@dataclass
class Checked:
    """What would become of a drop.

    `stops` says why the run would stop, if it would. `usable` rows would be asked about, `rejected` ones not (of their
    own text they keep nothing); those that are neither were not looked at. `images` are those of usable rows, and where
    the run would stop for the boxes, those of a few rows as they are read now. `boxes` says what the boxes seem to be,
    and `warnings` what is odd.
    """

    rows: int = 0
    usable: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    stops: str | None = None
    images: list[SeenImage] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_drop(
    drop: Store,
    settings: BuildSettings,
    model: str,
    *,
    show: Callable[[RenderedRow, bytes], None],
    progress: Callable[[int, int | None], None],
    images: Images | None = None,
) -> Checked:
    """Plan the drop and mark its images. Nothing is written into it, and nothing is left behind.

    `images` is where the images are, if not in the drop alone. `show` gets up to about `SHOWN` of the rows and their
    marked images, evenly from all of them; `progress` gets (rows done, rows in all) of a step, with None while these
    are counted.
    """
    checked = Checked()
    with tempfile.TemporaryDirectory(prefix="regioncap-check-") as folder:
        place = LocalStore(Path(folder))
        try:
            _check(drop, images or Images(drop), place, settings, model, checked, show, progress)
        except (RegionCapError, OSError) as error:
            checked.stops = checked.stops or str(error)
    looked_at = [row for row in checked.rejected if row.code != _NOT_ASKED]
    if left := len(checked.rejected) - len(looked_at):
        checked.warnings.append(
            f"{left:,} rows without boxes were not looked at: the model is to be asked where things are in them, and "
            "it is not asked here"
        )
    checked.rejected = sorted(looked_at, key=lambda row: (row.manifest, row.line))
    if checked.stops is None and len(checked.rejected) > settings.max_rejected_ratio * checked.rows:
        checked.warnings.append(
            f"{len(checked.rejected):,} of {checked.rows:,} rows would be rejected, and nothing is published where "
            f"these are more than {settings.max_rejected_ratio:.0%} (max_rejected_ratio)"
        )
    return checked


def _check(
    drop: Store,
    images: Images,
    place: Store,
    settings: BuildSettings,
    model: str,
    checked: Checked,
    show: Callable[[RenderedRow, bytes], None],
    progress: Callable[[int, int | None], None],
) -> None:
    def read(rows: int) -> None:
        checked.rows = rows
        progress(rows, None)

    work = place.sub("work")
    plan = plan_build(
        date=_DATE, drop=drop, work=work, partition=place.sub("partition"), settings=settings, model=model,
        run_id="check", progress=read, images=images,
    )  # fmt: skip
    checked.warnings += plan.warnings
    checked.rejected += _rejected(plan_rejected(work, plan))
    found: list[RenderReceipt] = []
    done = of_one_colour = 0
    # Each `every`th shard shows so many rows.
    every, quota = -(-len(plan.shards) // SHOWN), -(-SHOWN // max(1, len(plan.shards)))
    for number, shard_id in enumerate(plan.shards):

        def marked(rows: int, _: int, before: int = done) -> None:
            progress(before + rows, plan.rows - plan.rejected)

        shard, shown = Shard(work, plan, shard_id), quota if number % every == 0 else 0
        planned = shard.planned()
        _leave_out(shard, shard_id, plan, planned)
        try:
            render_shard(drop=images, work=work, shard_id=shard_id, plan=plan, progress=marked)
        except BoxFormatError as error:
            checked.stops = checked.stops or str(error)
            # They show a person what is wrong.
            rows = _as_declared(images, shard, plan, planned, shown)
        else:
            found.append(shard.render_receipt())
            rows = list(shard.rendered().rows)
            checked.usable += len(rows)
            checked.rejected += _rejected(shard.own.read(layout.RENDER_REJECTED))
        of_one_colour += sum(Code.ONE_COLOUR in row.warnings for row in rows)
        checked.images += map(_seen, rows)
        for row in _evenly(rows, shown):
            show(row, shard.shared.read(image_path(row.marked)))
        # Of a large drop, the marked images would fill the disk.
        shard.shared.delete_folder()
        done += len(planned)
    checked.warnings += told_of_one_colour(of_one_colour)
    told, warnings = told_by_boxes(found)
    checked.boxes = told[:1]
    check_boxes(together(receipt.evidence for receipt in found), plan.settings)
    # That other boxes would fit as well is for whoever uploads the drop to look at.
    checked.warnings += [*told[1:], *warnings]


def _leave_out(shard: Shard, shard_id: str, plan: Plan, planned: Sequence[PlannedRow]) -> None:
    """Stand in for `propose`: `render` rejects what could not be asked about, with this code."""
    if shard_id in plan.shards_to_propose:
        shard.write_proposed(
            [ProposedRow(id=row.id, code=_NOT_ASKED) for row in planned if row.bbox is None], seconds=0
        )


def _as_declared(
    drop: Images, shard: Shard, plan: Plan, planned: Sequence[PlannedRow], number: int
) -> list[RenderedRow]:
    """Mark so many rows with boxes, whatever the format of these is."""
    marked = []
    versioned = [item for item in zip(planned, shard.versions(), strict=True) if item[0].bbox is not None]
    with Decoders(heic=plan.settings.read_heic, max_pixels=plan.settings.max_file_pixels) as decoders:
        for row, version in _evenly(versioned, number):
            try:
                data = read_listed(drop, row.image, version)
                rendered, _, jpegs = render_row(row, data, plan.settings, decoders, _no_boxes_wanted)
            except Exception as error:
                if not isinstance(error, RowError):
                    unforeseen(error, named(row))  # goes up where it is not the row's
                continue
            shard.shared.write(image_path(rendered.marked), jpegs[rendered.marked])
            marked.append(rendered)
    return marked


def _no_boxes_wanted(row: PlannedRow, _: bytes) -> list[Box]:
    raise AssertionError(f"the row {row.id} has boxes")


def _rejected(data: bytes) -> list[Rejected]:
    rows = parse_lines(data, Rejected, "rejected rows", "check the drop again")
    return [row.model_copy(update={"row": None}) for row in rows]


def _seen(row: RenderedRow) -> SeenImage:
    return SeenImage(id=row.id, width=row.width, height=row.height, regions=row.regions)


def _evenly(items: Sequence[Item], number: int) -> Sequence[Item]:
    """At most so many of them, from all of their length."""
    return items[:: max(1, -(-len(items) // number))] if number else ()
