"""`render`: have the images of a shard opened and marked, on all cores."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping

from PIL import Image

from regioncap.ask.attempts import filter_error, refusal_error
from regioncap.captions.grounding import grounded_boxes
from regioncap.config.settings import BuildSettings
from regioncap.drop import decoding
from regioncap.drop.decoders import Decoders
from regioncap.drop.decoding import Marking
from regioncap.drop.detectors import DETECTORS
from regioncap.drop.drop import others_can_be_read, read_listed
from regioncap.drop.elsewhere import ImageFiles
from regioncap.drop.readers import READERS, DropReader
from regioncap.drop.rows import forgotten_row, reject
from regioncap.drop.unforeseen import UnforeseenRows, named, unforeseen
from regioncap.errors import (
    AccessDeniedError,
    BoxFormatError,
    BuildIncompleteError,
    NoRegionError,
    RowError,
    StepMissingError,
)
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES
from regioncap.marks.view import content_name
from regioncap.parallel import in_order
from regioncap.processes import cores
from regioncap.regions import boxes as region_boxes
from regioncap.regions.boxes import Box, Region
from regioncap.regions.codes import Code
from regioncap.regions.formats import Evidence, GivenRow, told, weigh
from regioncap.regions.frames import Canvas
from regioncap.regions.records import DroppedBoxNote, PlannedRow, RegionBox, Rejected, RenderedRow
from regioncap.storage.store import Store
from regioncap.trust.questions import asked_twice, drawn
from regioncap.vlm.completion import Completion
from regioncap.warehouse.layout import IMAGES, image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.identity import check_code
from regioncap.work.made_from import MadeFrom
from regioncap.work.plan import Plan, is_forgotten
from regioncap.work.receipts import StoredImage
from regioncap.work.rendering import MarkedRow, MarkedSoFar
from regioncap.work.shard import ProposedRow, Shard

# From a row that gives no boxes, and its image file's bytes, to boxes in pixels of the image as displayed. Raises
# RowError.
FindBoxes = Callable[[PlannedRow, bytes], list[Box]]

# What becomes of a row: see `_outcome`.
_Outcome = tuple[RenderedRow | Rejected, Canvas | None, dict[str, int], str]

# Threads for each core: while images are decoded and marked, others are read and written.
_THREADS = 2

# So many rows of a shard are enough to tell in which format its boxes are.
_SAMPLED_ROWS = 200


def render_shard(
    *, drop: ImageFiles, work: Store, shard_id: str, plan: Plan, progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """Mark every image of the shard; returns how many rows are marked and how many are rejected.

    What an earlier try has marked is not marked again, but for the first rows, which tell in which format boxes are.
    `drop` and `work` are rooted at the build's date. `progress` gets (rows done, rows in all).
    Raises BoxFormatError; DropChangedError where an image is not as it was when the drop was planned;
    AccessDeniedError where none may be read; StepMissingError where boxes were to be asked for and were not;
    BuildIncompleteError where somebody deletes what is written; and UnforeseenError where RegionCap itself seems to be
    at fault.
    """
    check_code(plan)
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    rows, versions = shard.planned(), shard.versions()
    proposed = shard.proposed()
    settings = plan.settings
    # What cannot be loaded of an installed package is no fault of a row.
    PROFILES[settings.model_profile], STYLES[settings.mark_style]
    sizes: dict[str, int] = {}
    marked: list[RenderedRow] = []
    rejected: list[Rejected] = []
    evidence = Evidence(plan.settings.box_format, plan.settings.box_frame)
    made_from = MadeFrom()
    unforeseen_rows = UnforeseenRows()
    so_far = MarkedSoFar(shard)
    known = so_far.load(rows[_SAMPLED_ROWS:], versions[_SAMPLED_ROWS:])

    def outcome_of(item: tuple[PlannedRow, str | None]) -> _Outcome:
        row, version = item
        if row.bbox is not None and (before := known.get(row.id)) is not None:
            return before.row, None, before.sizes, before.row.image_sha256
        return _outcome(drop, shard.shared, row, version, plan, decoders, find_boxes)

    with Decoders(heic=settings.read_heic, max_pixels=settings.max_file_pixels) as decoders:
        find_boxes = _boxes_found(shard, plan, proposed.rows, decoders)
        outcomes = in_order(
            outcome_of,
            zip(rows, versions, strict=True),
            _THREADS * cores(),
            interrupt=decoders.interrupt,
        )
        for done, (row, (outcome, canvas, written, decided_by)) in enumerate(zip(rows, outcomes, strict=True), start=1):
            sizes |= written
            made_from.add(row, decided_by)
            if done <= _SAMPLED_ROWS and canvas is not None and row.bbox:
                try:
                    evidence.add(GivenRow(row.bbox, canvas))
                except Exception as error:
                    outcome, *_ = _rejected(row, error, named(row))
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
                unforeseen_rows.note(outcome)
            else:
                marked.append(outcome)
                if row.id not in known:
                    so_far.note(MarkedRow(row=outcome, version=versions[done - 1], sizes=written), done)
            progress(done, len(rows))
    unforeseen_rows.check(len(rows))
    _check_access(drop, marked, rejected)
    check_boxes(evidence, settings)
    images = _stored(shard.shared, {image_path(row.marked): sizes[image_path(row.marked)] for row in marked})
    seconds = round(time.monotonic() - started, 3)
    shard.write_rendered(
        marked,
        rejected,
        images=images,
        evidence=evidence,
        made_from=made_from.hexdigest(),
        inputs=proposed.inputs,
        seconds=seconds,
    )
    so_far.clear()
    return len(marked), len(rejected)


def check_boxes(evidence: Evidence | None, settings: BuildSettings) -> None:
    """Whether boxes can be what they were declared to be. Raises BoxFormatError."""
    if evidence is not None and (verdict := weigh(evidence)).stop:
        raise BoxFormatError(told(verdict) + _of_other_tools(settings))


def _of_other_tools(settings: BuildSettings) -> str:
    """What is to be added where the format of the manifests says what boxes are, and the param does not."""
    reader = READERS[settings.input_format]
    if not isinstance(reader, DropReader) or reader.box_format is None:
        return ""
    return (
        f". By definition boxes of {settings.input_format} are {reader.box_format}, so the param is not used for them: "
        "correct the files, or write the rows as JSON lines"
    )


def _stored(shared: Store, sizes: dict[str, int]) -> dict[str, StoredImage]:
    """The marked images that were written with these sizes, as the store lists them. Raises BuildIncompleteError."""
    found = {entry.path: entry for entry in shared.list(IMAGES) if sizes.get(entry.path) == entry.size}
    if missing := len(sizes) - len(found):
        raise BuildIncompleteError(
            f"{missing} of {len(sizes)} marked images are not in {shared.uri} as they were written: was something "
            "deleted?"
        )
    return {path: StoredImage(bytes=entry.size, checksum=entry.checksum) for path, entry in found.items()}


def _boxes_found(shard: Shard, plan: Plan, proposed: Mapping[str, ProposedRow], decoders: Decoders) -> FindBoxes:
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
            (width, height), _ = decoders.run(data, decoding.size)
            return _grounded((width, height), completion, settings)

        return grounded
    if settings.when_no_boxes in DETECTORS.own:
        return lambda _, data: [tuple(box) for box in decoders.run(data, decoding.found)[0]]
    detect = DETECTORS[settings.when_no_boxes]

    def detected(_: PlannedRow, data: bytes) -> list[Box]:
        # Here, since it may need what those processes have not: a network, a GPU, secrets.
        (displayed, decoded), (pixels,) = decoders.run(data, decoding.pixels)
        boxes = detect(Image.frombytes("RGB", decoded, pixels))
        scale_x, scale_y = displayed[0] / decoded[0], displayed[1] / decoded[1]
        return [(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y) for x0, y0, x1, y1 in boxes]

    return detected


def _none_wanted(row: PlannedRow, data: bytes) -> list[Box]:
    raise RowError(Code.NO_BOXES, "the row gives no boxes, and when_no_boxes is 'reject'")


def _grounded(displayed: tuple[int, int], completion: Completion, settings: BuildSettings) -> list[Box]:
    if completion.refused is not None:
        raise refusal_error(completion)
    if filtered := filter_error(completion):
        raise filtered
    profile = settings.profile
    assert profile.coordinates is not None, "BuildSettings lets ask_model through only where the profile has them"
    return grounded_boxes(completion.text, profile.coordinates, profile.size(*displayed), displayed)


def _check_access(drop: ImageFiles, marked: list[RenderedRow], rejected: list[Rejected]) -> None:
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


def _outcome(
    drop: ImageFiles,
    shared: Store,
    row: PlannedRow,
    version: str | None,
    plan: Plan,
    decoders: Decoders,
    find_boxes: FindBoxes,
) -> _Outcome:
    """What becomes of a row, what its boxes may be drawn on where that is known, and the bytes of images written.

    The last is what decided it: the SHA-256 of the image; or why the row is rejected, whatever the model says.
    """
    at = f"{named(row)}: {row.image}"
    try:
        data = read_listed(drop, row.image, version)
    except MemoryError as error:  # no file is so large that this would be its fault
        error.add_note(f"This came up at {at}.")
        raise
    except Exception as error:
        return _rejected(row, error, at)
    if is_forgotten(data, plan):
        return forgotten_row(row), None, {}, Code.FORGOTTEN
    try:
        rendered, canvas, jpegs = render_row(
            row, data, plan.settings, decoders, find_boxes, plan.judge_share, plan.second_share
        )
    except Exception as error:
        outcome, seen, written, decided_by = _rejected(row, error, at)
        if row.bbox is None and plan.settings.when_no_boxes == "ask_model":
            # It may be for the boxes that the model has proposed, and it may propose others.
            decided_by = hashlib.sha256(data).hexdigest()
        return outcome, seen, written, decided_by
    for name, jpeg in jpegs.items():
        shared.write(image_path(name), jpeg)
    return rendered, canvas, {image_path(name): len(jpeg) for name, jpeg in jpegs.items()}, rendered.image_sha256


def _rejected(row: PlannedRow, error: Exception, at: str) -> tuple[Rejected, Canvas | None, dict[str, int], str]:
    """What an error makes of a row. It is raised again where it is not the row's."""
    row_error = error if isinstance(error, RowError) else unforeseen(error, at)
    if row_error.code == Code.IMAGE_NOT_FOUND and "\\" in row.image:
        row_error.reason += "; the path has backslashes: write / between folders"
    of_boxes = row_error if isinstance(row_error, NoRegionError) else None
    seen = Canvas(of_boxes.size, of_boxes.orientation, row.stated) if of_boxes else None
    return (
        reject(row, row_error, row.id, {"image": row.image, "bbox": row.bbox}),
        seen,
        {},
        f"{row_error.code}: {row_error.reason}",
    )


def render_row(
    row: PlannedRow,
    data: bytes,
    settings: BuildSettings,
    decoders: Decoders,
    find_boxes: FindBoxes,
    judge_share: float = 0.0,
    second_share: float = 0.0,
) -> tuple[RenderedRow, Canvas, dict[str, bytes]]:
    """Mark one image, given its bytes.

    Returns the row, what its boxes may be drawn on, and the JPEGs for the model by name. Raises RowError.
    """
    given, box_format, frame = row.bbox, settings.box_format, settings.box_frame
    if given is None:
        # Proposals are pixels of the image as displayed, whatever is declared of given boxes.
        given, box_format, frame = [region_boxes.as_xywh(box) for box in find_boxes(row, data)], "xywh", "displayed"
        if not given:
            raise RowError(Code.NO_BOXES, f"the row gives no boxes, and {settings.when_no_boxes} found none")
    numbers = range(1, min(len(given), settings.max_boxes) + 1)
    may_be_heard = _may_be_heard(row, numbers, settings, judge_share)
    may_be_alone = settings.asks_again or any(
        asked_twice(row.id, region, second_share) and drawn(row.id, region, judge_share) for region in numbers
    )
    how = Marking(
        view=settings.view,
        mark_style=settings.mark_style,
        box_format=box_format,
        box_frame=frame,
        max_boxes=settings.max_boxes,
        per_region=settings.caption_mode == "per_region" or (may_be_alone and may_be_heard),
        stated=row.stated,
        unmarked=may_be_heard,
    )
    told, jpegs = decoders.run(data, decoding.marked, given, how)
    regions = [Region(index, (x0, y0, x1, y1)) for index, (x0, y0, x1, y1) in told["regions"]]
    displayed = told["width"], told["height"]
    names = [content_name(jpeg) for jpeg in jpegs]
    images = dict(zip(names, jpegs, strict=True))
    unmarked = names.pop() if may_be_heard else ""
    if unmarked and not _may_be_heard(row, range(1, len(regions) + 1), settings, judge_share):
        del images[unmarked]
        unmarked = ""
    warned = {
        Code.DUPLICATE_BOX: region_boxes.has_duplicates(regions),
        Code.ONE_COLOUR: told["one_colour"],
        Code.REGION_COVERED: told["region_covered"],
    }
    rendered = RenderedRow(
        **row.model_dump(exclude={"bbox"}),
        bbox=given,
        normalized_bbox=region_boxes.normalized([region.box for region in regions], *displayed, settings.max_boxes),
        regions=[
            RegionBox(region=number, box_index=region.box_index, bbox=region_boxes.as_xywh(region.box))
            for number, region in enumerate(regions, start=1)
        ],
        dropped_boxes=[DroppedBoxNote(box_index=index, code=code) for index, code in told["dropped"]],
        warnings=[code for code, there in warned.items() if there],
        image_sha256=hashlib.sha256(data).hexdigest(),
        perceptual_hash=told["perceptual_hash"],
        width=told["width"],
        height=told["height"],
        marked=names[0],
        crops=names[1:],
        unmarked=unmarked,
    )
    return rendered, Canvas(displayed, told["orientation"], row.stated), images


def _may_be_heard(row: PlannedRow, regions: Iterable[int], settings: BuildSettings, share: float) -> bool:
    """Whether the listener may be asked about the row: about drawn regions, and with `auto` about any of all rows."""
    return (settings.caption_mode == "auto" and share > 0) or any(drawn(row.id, region, share) for region in regions)
