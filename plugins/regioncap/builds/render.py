"""`render`: open, hash and mark the images of a shard, on all cores."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from regioncap.builds import layout, shard
from regioncap.builds.settings import BuildSettings
from regioncap.regions import boxes as region_boxes
from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.images import MAX_BYTES, OpenedImage, open_image
from regioncap.regions.marks import STYLES
from regioncap.regions.profiles import PROFILES
from regioncap.regions.proposals import PROPOSERS
from regioncap.regions.records import DroppedBoxNote, PlannedRow, RegionBox, Rejected, RenderedRow
from regioncap.regions.render import mark, seen_scale
from regioncap.regions.rows import reject
from regioncap.storage.store import LinkError, NotFoundError, Store

# Pillow and OpenCV let go of the interpreter while they work, so threads use all cores. Two per core, since each spends
# about as long waiting for storage.
_THREADS = 2 * (os.cpu_count() or 1)

Item = TypeVar("Item")
Result = TypeVar("Result")


def render_shard(
    *, drop: Store, work: Store, shard_id: str, settings: BuildSettings, progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """Mark every image of the shard; returns how many rows are marked and how many are rejected.

    `drop` and `work` are rooted at the build's date. `progress` gets (rows done, rows in all).
    """
    place = work.sub(layout.shard_path(shard_id))
    rows = shard.planned(place)
    marked: list[RenderedRow] = []
    rejected: list[Rejected] = []
    outcomes = _in_order(lambda row: _outcome(drop, place, row, settings), rows)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, Rejected):
            rejected.append(outcome)
        else:
            marked.append(outcome)
        progress(done, len(rows))
    shard.write_lines(place, layout.RENDER_REJECTED, rejected)
    shard.write_lines(place, layout.RENDERED, marked)
    return len(marked), len(rejected)


def _outcome(drop: Store, place: Store, row: PlannedRow, settings: BuildSettings) -> RenderedRow | Rejected:
    try:
        rendered, jpeg = render_row(row, _read_image(drop, row.image), settings)
    except RowFault as fault:
        return reject(row, fault, row.id, {"image": row.image, "bbox": row.bbox})
    place.write(layout.image_path(rendered.marked), jpeg)
    return rendered


def render_row(row: PlannedRow, data: bytes, settings: BuildSettings) -> tuple[RenderedRow, bytes]:
    """Mark one image, given its bytes; returns the row and the marked JPEG. Raises RowFault."""
    profile = PROFILES[settings.model_profile]
    image = open_image(data, reduce_for=profile.size)
    given, box_format = row.bbox, settings.box_format
    if given is None:
        # Proposals are whole pixels of the full-size picture, whatever the declared format of given boxes.
        given, box_format = _proposed(data, settings), "xywh"
    regions, dropped = region_boxes.select_regions(
        given,
        box_format=box_format,
        width=image.width,
        height=image.height,
        scale=seen_scale(image.width, image.height, profile),
        max_boxes=settings.max_boxes,
    )
    if not regions:
        raise _no_region(dropped, image)
    boxes = [region.box for region in regions]
    jpeg = mark(image.pixels, (image.width, image.height), boxes, profile, STYLES[settings.mark_style])
    rendered = RenderedRow(
        **row.model_dump(exclude={"bbox"}),
        bbox=given,
        normalized_bbox=region_boxes.normalized(boxes, image.width, image.height, settings.max_boxes),
        regions=[
            RegionBox(region=number, box_index=region.box_index, bbox=region_boxes.as_xywh(region.box))
            for number, region in enumerate(regions, start=1)
        ],
        dropped_boxes=[DroppedBoxNote(box_index=box.box_index, code=box.code) for box in dropped],
        image_sha256=hashlib.sha256(data).hexdigest(),
        width=image.width,
        height=image.height,
        # Named by content: shards and repeated runs cannot collide, and equal pictures are kept once.
        marked=hashlib.sha256(jpeg).hexdigest()[:32],
    )
    return rendered, jpeg


def _read_image(drop: Store, path: str) -> bytes:
    try:
        with drop.open(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except NotFoundError:
        raise RowFault(Code.IMAGE_NOT_FOUND, "there is no such file in the drop") from None
    except LinkError:
        raise RowFault(Code.IMAGE_IS_LINK, "the path leads through a symbolic link; links are not followed") from None
    if len(data) > MAX_BYTES:
        raise RowFault(Code.IMAGE_TOO_LARGE, f"the file has more than {MAX_BYTES:,} bytes")
    return data


def _proposed(data: bytes, settings: BuildSettings) -> list[Any]:
    proposer = PROPOSERS.get(settings.when_no_boxes)
    if proposer is None:
        raise RowFault(Code.NO_BOXES, "the row gives no boxes, and when_no_boxes is 'reject'")
    found = proposer(open_image(data, colour_managed=False).pixels)
    if not found:
        raise RowFault(Code.NO_BOXES, f"the row gives no boxes, and {settings.when_no_boxes} found none in the image")
    return [region_boxes.as_xywh(box) for box in found]


def _no_region(dropped: list[region_boxes.DroppedBox], image: OpenedImage) -> RowFault:
    listed = ", ".join(f"box {box.box_index}: {box.code}" for box in dropped[:10])
    return RowFault(dropped[0].code, f"no box can be used in this {image.width} x {image.height} image ({listed})")


def _in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Like `map` on a thread pool, but with a bounded number of items under way, so memory does not grow."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="render") as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) >= 2 * _THREADS:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
