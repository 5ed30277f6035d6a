"""`render`: open, hash and mark the images of a shard, on all cores."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping

from regioncap.ask.attempts import refusal_error
from regioncap.captions.grounding import grounded_boxes
from regioncap.config.settings import BuildSettings
from regioncap.drop.detectors import DETECTORS
from regioncap.drop.drop import others_can_be_read, read_listed
from regioncap.drop.images import Picture, open_image, set_up_for_pictures
from regioncap.drop.rows import reject
from regioncap.drop.unforeseen import UnforeseenRows, named, unforeseen
from regioncap.errors import (
    AccessDeniedError,
    BoxFormatError,
    BuildIncompleteError,
    NoRegionError,
    RowError,
    StepMissingError,
)
from regioncap.marks.styles import STYLES
from regioncap.marks.view import content_name, covered_regions, crop_view, decoded_size, encode, mark, seen_scale
from regioncap.parallel import in_order
from regioncap.regions import boxes as region_boxes
from regioncap.regions.boxes import Box, DroppedBox
from regioncap.regions.codes import Code
from regioncap.regions.formats import Evidence, GivenRow, Verdict, doubts, told, weigh
from regioncap.regions.frames import Canvas, as_displayed
from regioncap.regions.records import DroppedBoxNote, PlannedRow, RegionBox, Rejected, RenderedRow
from regioncap.storage.store import Store
from regioncap.vlm.client import Completion
from regioncap.warehouse.layout import IMAGES, image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.receipts import BoxFindings, StoredImage
from regioncap.work.shard import ProposedRow, Shard

# From a row that gives no boxes, and its image file's bytes, to boxes in pixels of the image as displayed. Raises
# RowError.
FindBoxes = Callable[[PlannedRow, bytes], list[Box]]

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
    Raises BoxFormatError; DropChangedError where an image is not as it was when the drop was planned;
    AccessDeniedError where none may be read; StepMissingError where boxes were to be asked for and were not;
    BuildIncompleteError where somebody deletes what is written; and UnforeseenError where RegionCap itself seems to be
    at fault.
    """
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    rows, versions = shard.planned(), shard.versions()
    proposed = shard.proposed()
    find_boxes = _boxes_found(shard, plan, proposed.rows)
    sizes: dict[str, int] = {}
    marked: list[RenderedRow] = []
    rejected: list[Rejected] = []
    evidence = Evidence(plan.settings.box_format, plan.settings.box_frame)
    unforeseen_rows = UnforeseenRows()
    with set_up_for_pictures():
        versioned = zip(rows, versions, strict=True)
        outcomes = in_order(
            lambda item: _outcome(drop, shard.shared, *item, plan.settings, find_boxes), versioned, _THREADS
        )
        for done, (row, (outcome, canvas, written)) in enumerate(zip(rows, outcomes, strict=True), start=1):
            sizes |= written
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
    images = _stored(shard.shared, {image_path(row.marked): sizes[image_path(row.marked)] for row in marked})
    seconds = round(time.monotonic() - started, 3)
    shard.write_rendered(
        marked, rejected, images=images, boxes=_findings(evidence, verdict), inputs=proposed.inputs, seconds=seconds
    )
    return len(marked), len(rejected)


def _stored(shared: Store, sizes: dict[str, int]) -> dict[str, StoredImage]:
    """The marked images that were written with these sizes, as the store lists them. Raises BuildIncompleteError."""
    found = {entry.path: entry for entry in shared.list(IMAGES) if sizes.get(entry.path) == entry.size}
    if missing := len(sizes) - len(found):
        raise BuildIncompleteError(
            f"{missing} of {len(sizes)} marked images are not in {shared.uri} as they were written: was something "
            "deleted?"
        )
    return {path: StoredImage(bytes=entry.size, checksum=entry.checksum) for path, entry in found.items()}


def _boxes_found(shard: Shard, plan: Plan, proposed: Mapping[str, ProposedRow]) -> FindBoxes:
    """How boxes are found for the rows that give none, by the plan's settings.

    `proposed` says what the model was asked about which row, by the row's id.
    """
    settings = plan.settings
    if settings.when_no_boxes == "reject":
        return _none_wanted
    if settings.when_no_boxes == "ask_model":
        completions = load_completions(shard.shared, layout.PROPOSALS)

        def grounded(row: PlannedRow, data: bytes) -> list[Box]:
            asked = proposed.get(row.id)
            if asked is not None and asked.request is None:
                raise RowError(asked.code, asked.reason)
            completion = None if asked is None else completions.get(str(asked.request))
            if completion is None:
                raise StepMissingError(
                    f"the model has not been asked for the boxes of row {row.id} yet: {shard.clear('propose')}"
                )
            return _grounded(open_image(data, heic=settings.read_heic), completion, settings)

        return grounded
    detect = DETECTORS[settings.when_no_boxes]
    # Without colour management: the contours are those of the original pipeline, which knows none.
    return lambda _, data: detect(open_image(data, heic=settings.read_heic).decode(colour_managed=False))


def _none_wanted(row: PlannedRow, data: bytes) -> list[Box]:
    raise RowError(Code.NO_BOXES, "the row gives no boxes, and when_no_boxes is 'reject'")


def _grounded(picture: Picture, completion: Completion, settings: BuildSettings) -> list[Box]:
    if completion.refused is not None:
        raise refusal_error(completion)
    profile, displayed = settings.profile, (picture.width, picture.height)
    assert profile.coordinates is not None, "BuildSettings lets ask_model through only where the profile has them"
    return grounded_boxes(completion.text, profile.coordinates, profile.size(*displayed), displayed)


def _check_access(drop: Store, marked: list[RenderedRow], rejected: list[Rejected]) -> None:
    """Whether what the store refuses are single files: what concerns all is no fault of a row."""
    refused = [row for row in rejected if row.code in (Code.IMAGE_FORBIDDEN, Code.IMAGE_ARCHIVED)]
    paths = {str(row.row["image"]) for row in refused if isinstance(row.row, dict)}
    if refused and not others_can_be_read(drop, paths, (row.image for row in marked)):
        raise AccessDeniedError(
            f"none of the {len(refused)} images that were refused, nor any other that was looked at, can be read: "
            f"access to the drop at {drop.uri} is denied, or it is archived. Give the user that RegionCap works as "
            "(the connection's, or the worker's own) the rights to read it, or restore it, then clear this task "
            f"({refused[0].reason})"
        )


def _findings(evidence: Evidence, verdict: Verdict) -> BoxFindings:
    return BoxFindings(
        boxes=evidence.boxes,
        fitting=evidence.fits[evidence.declared],
        alike=[item.name for item in verdict.alike],
        warnings=doubts(verdict),
    )


def _outcome(
    drop: Store, shared: Store, row: PlannedRow, version: str | None, settings: BuildSettings, find_boxes: FindBoxes
) -> tuple[RenderedRow | Rejected, Canvas | None, dict[str, int]]:
    """What becomes of a row, what its boxes may be drawn on where that is known, and the bytes of images written."""
    try:
        rendered, canvas, jpegs = render_row(row, read_listed(drop, row.image, version), settings, find_boxes)
    except Exception as error:
        row_error = error if isinstance(error, RowError) else unforeseen(error, f"{named(row)}: {row.image}")
        if row_error.code == Code.IMAGE_NOT_FOUND and "\\" in row.image:
            row_error.reason += "; the path has backslashes: write / between folders"
        of_boxes = row_error if isinstance(row_error, NoRegionError) else None
        seen = Canvas(of_boxes.size, of_boxes.orientation, row.stated) if of_boxes else None
        return reject(row, row_error, row.id, {"image": row.image, "bbox": row.bbox}), seen, {}
    for name, jpeg in jpegs.items():
        shared.write(image_path(name), jpeg)
    return rendered, canvas, {image_path(name): len(jpeg) for name, jpeg in jpegs.items()}


def render_row(
    row: PlannedRow, data: bytes, settings: BuildSettings, find_boxes: FindBoxes
) -> tuple[RenderedRow, Canvas, dict[str, bytes]]:
    """Mark one image, given its bytes.

    Returns the row, what its boxes may be drawn on, and the JPEGs for the model by name. Raises RowError.
    """
    profile, style = settings.profile, STYLES[settings.mark_style]
    given, box_format, frame = row.bbox, settings.box_format, settings.box_frame
    if given is None:
        # Proposals are pixels of the image as displayed, whatever is declared of given boxes.
        given, box_format, frame = [region_boxes.as_xywh(box) for box in find_boxes(row, data)], "xywh", "displayed"
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
