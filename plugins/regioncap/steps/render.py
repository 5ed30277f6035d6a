"""`render`: open, hash and mark the images of a shard, on all cores."""

import hashlib
import os
import time
from collections.abc import Callable

from regioncap.config.settings import BuildSettings
from regioncap.drop.drop import read_image
from regioncap.drop.images import open_image, set_up_for_pictures
from regioncap.drop.rows import reject
from regioncap.drop.unforeseen import UnforeseenRows, named, unforeseen
from regioncap.errors import (
    AccessDeniedError,
    BoxFormatError,
    DropChangedError,
    NoRegionError,
    RowError,
)
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES
from regioncap.marks.view import content_name, covered_regions, crop_view, decoded_size, encode, mark, seen_scale
from regioncap.parallel import in_order
from regioncap.regions import boxes as region_boxes
from regioncap.regions.boxes import DroppedBox
from regioncap.regions.codes import Code
from regioncap.regions.formats import Evidence, GivenRow, told, weigh
from regioncap.regions.frames import Canvas, as_displayed
from regioncap.regions.records import DroppedBoxNote, PlannedRow, RegionBox, Rejected, RenderedRow
from regioncap.steps.propose import FindBoxes, proposals
from regioncap.storage.store import Store
from regioncap.warehouse.layout import image_path
from regioncap.work import layout, shard
from regioncap.work.counts import RenderCounts
from regioncap.work.plan import Plan

# Pillow and OpenCV let go of the interpreter while they work, so threads use all cores. Two per core, since each spends
# about as long waiting for storage.
_THREADS = 2 * (os.cpu_count() or 1)

# So many rows of a shard are enough to tell in which format its boxes are.
_SAMPLED_ROWS = 200


def render_shard(
    *, drop: Store, work: Store, shard_id: str, plan: Plan, progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """Mark every image of the shard; returns how many rows are marked and how many are rejected.

    `drop` and `work` are rooted at the build's date. `progress` gets (rows done, rows in all).
    Raises BoxFormatError; DropChangedError where an image is gone that was there when the drop was planned;
    AccessDeniedError where none may be read; StepMissingError where boxes were to be asked for and were not; and
    UnforeseenError where RegionCap itself seems to be at fault.
    """
    started = time.monotonic()
    store = work.sub(layout.shard_path(shard_id))
    rows = shard.planned(store)
    propose = proposals(plan, store)
    marked: list[RenderedRow] = []
    rejected: list[Rejected] = []
    evidence = Evidence(plan.settings.box_format, plan.settings.box_frame)
    unforeseen_rows = UnforeseenRows()
    with set_up_for_pictures():
        outcomes = in_order(lambda row: _outcome(drop, store, row, plan.settings, propose), rows, _THREADS)
        for done, (row, (outcome, canvas)) in enumerate(zip(rows, outcomes, strict=True), start=1):
            if done <= _SAMPLED_ROWS and canvas is not None and row.bbox:
                evidence.add(GivenRow(row.bbox, canvas))
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
                unforeseen_rows.note(outcome)
            else:
                marked.append(outcome)
            progress(done, len(rows))
    unforeseen_rows.check(len(rows))
    _check_access(drop, marked, rejected)
    verdict = weigh(evidence)
    if verdict.stop:
        raise BoxFormatError(told(verdict))
    shard.write_lines(store, layout.RENDER_REJECTED, rejected)
    shard.write_lines(store, layout.RENDERED, marked)
    counts = RenderCounts(marked=len(marked), rejected=len(rejected), seconds=round(time.monotonic() - started, 3))
    store.write(layout.RENDER_COUNTS, counts.model_dump_json().encode())
    return len(marked), len(rejected)


def _check_access(drop: Store, marked: list[RenderedRow], rejected: list[Rejected]) -> None:
    if not marked and {row.code for row in rejected} == {Code.IMAGE_FORBIDDEN}:
        raise AccessDeniedError(
            f"none of the {len(rejected)} images of this shard can be read: access to the drop at {drop.uri} is "
            "denied. Give the user that RegionCap works as (the connection's, or the worker's own) the rights to read "
            f"it, then clear this task ({rejected[0].reason})"
        )


def _outcome(
    drop: Store, store: Store, row: PlannedRow, settings: BuildSettings, propose: FindBoxes
) -> tuple[RenderedRow | Rejected, Canvas | None]:
    """What becomes of a row, and what its boxes may be drawn on, where that is known."""
    try:
        rendered, canvas, jpegs = render_row(row, read_image(drop, row.image), settings, propose)
    except Exception as error:
        row_error = error if isinstance(error, RowError) else unforeseen(error, f"{named(row)}: {row.image}")
        if row.listed and row_error.code in (Code.IMAGE_NOT_FOUND, Code.IMAGE_IS_LINK):
            raise DropChangedError(
                f"the drop changed while it was built: {row.image} was there when plan listed it ({row_error.reason}). "
                "Put it back, or clear the run's plan task and those after it"
            ) from error
        if row_error.code == Code.IMAGE_NOT_FOUND and "\\" in row.image:
            row_error.reason += "; the path has backslashes: write / between folders"
        of_boxes = row_error if isinstance(row_error, NoRegionError) else None
        seen = Canvas(of_boxes.size, of_boxes.orientation, row.stated) if of_boxes else None
        return reject(row, row_error, row.id, {"image": row.image, "bbox": row.bbox}), seen
    for name, jpeg in jpegs.items():
        store.write(image_path(name), jpeg)
    return rendered, canvas


def render_row(
    row: PlannedRow, data: bytes, settings: BuildSettings, propose: FindBoxes
) -> tuple[RenderedRow, Canvas, dict[str, bytes]]:
    """Mark one image, given its bytes.

    Returns the row, what its boxes may be drawn on, and the JPEGs for the model by name. Raises RowError.
    """
    profile, style = PROFILES[settings.model_profile], STYLES[settings.mark_style]
    given, box_format, frame = row.bbox, settings.box_format, settings.box_frame
    if given is None:
        # Proposals are pixels of the image as displayed, whatever is declared of given boxes.
        given, box_format, frame = [region_boxes.as_xywh(box) for box in propose(data)], "xywh", "displayed"
        if not given:
            raise RowError(Code.NO_BOXES, f"the row gives no boxes, and {settings.when_no_boxes} found none")
    picture = open_image(data, heic=settings.read_heic)
    displayed = (picture.width, picture.height)
    canvas = Canvas(displayed, picture.orientation, row.stated)
    regions, dropped = region_boxes.select_regions(
        given,
        place=lambda raw: as_displayed(raw, box_format, frame, canvas),
        width=picture.width,
        height=picture.height,
        scale=seen_scale(*displayed, profile),
        max_boxes=settings.max_boxes,
    )
    if not regions:
        raise _no_region(dropped, canvas)
    boxes = {number: region.box for number, region in enumerate(regions, start=1)}
    alone = boxes if settings.caption_mode == "per_region" else {}
    image = picture.decode(at_least=decoded_size(displayed, profile, alone))
    marked = encode(mark(image, displayed, boxes, profile, style))
    crops = [encode(crop_view(image, displayed, number, box, profile, style)[0]) for number, box in alone.items()]
    warned = {
        Code.DUPLICATE_BOX: region_boxes.has_duplicates(regions),
        Code.REGION_COVERED: bool(covered_regions(displayed, boxes, profile, style)),
    }
    rendered = RenderedRow(
        **row.model_dump(exclude={"bbox"}),
        bbox=given,
        normalized_bbox=region_boxes.normalized(list(boxes.values()), *displayed, settings.max_boxes),
        regions=[
            RegionBox(region=number, box_index=region.box_index, bbox=region_boxes.as_xywh(region.box))
            for number, region in enumerate(regions, start=1)
        ],
        dropped_boxes=[DroppedBoxNote(box_index=box.box_index, code=box.code) for box in dropped],
        warnings=[code for code, there in warned.items() if there],
        image_sha256=hashlib.sha256(data).hexdigest(),
        width=picture.width,
        height=picture.height,
        marked=content_name(marked),
        crops=[content_name(jpeg) for jpeg in crops],
    )
    return rendered, canvas, {content_name(jpeg): jpeg for jpeg in (marked, *crops)}


def _no_region(dropped: list[DroppedBox], canvas: Canvas) -> NoRegionError:
    listed = ", ".join(f"box {box.box_index}: {box.code}" for box in dropped[:10])
    width, height = canvas.displayed
    reason = f"no box can be used in this {width} x {height} image ({listed})"
    return NoRegionError(dropped[0].code, reason, canvas.displayed, canvas.orientation)
