"""What of a build is made shard by shard, on all workers, so that `publish` only has to look whether it is there.

A shard's marked images are copied into the folder of the build that is begun, and what the report counts of its records
is counted. What a shard lacks of that, `publish` does itself.
"""

import time
from collections.abc import Callable, Collection, Iterator

from regioncap.errors import StepMissingError
from regioncap.parallel import in_order
from regioncap.regions.records import Record
from regioncap.report.figures import PartStatistics, Statistics
from regioncap.storage.store import Entry, Store
from regioncap.warehouse.layout import IMAGES
from regioncap.work import layout
from regioncap.work.begun import join_build
from regioncap.work.plan import Plan
from regioncap.work.receipts import StoredImage
from regioncap.work.shard import Shard, ValidatedShard, parse_lines, read_marked

# Copies within a bucket wait for the service, not for us.
COPIES_AT_ONCE = 32


def stage_shard(
    *, work: Store, shard_id: str, plan: Plan, partition: Store, progress: Callable[[int, int], None]
) -> int:
    """Put the marked images of a validated shard where they are published; returns how many there are.

    `work` and `partition` are rooted at the build's date. `progress` gets (images done, images in all).
    Raises StepMissingError where an earlier step is not done, and ManifestError.
    """
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    validated = shard.validated()
    statistics, marked = counted(validated.held, validated.records)
    begun = join_build(work, plan.plan_id, partition)
    images: dict[str, StoredImage] = {}
    for path, stored in placed(shard, marked, begun.within(partition)):
        images[path] = stored
        progress(len(images), len(marked))
    shard.write_staged(
        validated.held,
        statistics.model_dump_json().encode(),
        version=shard.own.stat(layout.RECORDS).version,
        build_id=begun.build_id,
        images=images,
        seconds=round(time.monotonic() - started, 3),
    )
    return len(images)


def counted(held: ValidatedShard, records: bytes) -> tuple[PartStatistics, set[str]]:
    """What the report counts of a shard's records, and the paths of their marked images. Raises StepMissingError."""
    statistics = Statistics()
    marked: set[str] = set()
    where = f"{held.shard.own.uri}/{layout.RECORDS}"
    for record in parse_lines(records, Record, where, held.shard.clear("validate")):
        statistics.add(record)
        marked.add(record.image_with_bbox)
    return statistics.part(), marked


def placed(shard: Shard, marked: Collection[str], build: Store) -> Iterator[tuple[str, StoredImage]]:
    """Put marked images of a shard into a build's folder: the path of each, when it is there, and what is there.

    Raises StepMissingError where one is missing, or is not what was marked.
    """
    shared, noted = shard.shared, shard.render_receipt().images
    images = [entry for entry in shared.list(IMAGES) if entry.path in marked]
    if missing := len(marked) - len(images):
        raise StepMissingError(f"{missing} marked images of {shared.uri} are missing: {shard.clear('render')}")

    def place(image: Entry) -> tuple[str, StoredImage]:
        if image.checksum is None:
            # From a folder it passes through here, so it can be looked at on its way.
            data = read_marked(shared, image.path)
            build.write(image.path, data)
            return image.path, StoredImage(bytes=len(data), checksum=None)
        written = noted.get(image.path)
        if written is None or not written.is_still(image):
            read_marked(shared, image.path)
        return image.path, StoredImage(bytes=image.size, checksum=build.copy(shared, image.path, image.path))

    yield from in_order(place, images, COPIES_AT_ONCE)
