"""What of a build is made shard by shard, on all workers, so that `publish` only has to look whether it is there.

A shard's marked images are copied into the folder of the build that is begun, its parts of exports that carry images
are made, and what the report counts of its records is counted. What a shard lacks of that, `publish` does itself.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import cache
from itertools import count
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap import exports
from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import StepMissingError
from regioncap.exports import EXPORTERS, stage_exports, staged_formats
from regioncap.exports.parts import ExportPart
from regioncap.parallel import in_order
from regioncap.regions.jsonl import canonical
from regioncap.regions.records import Record
from regioncap.report.figures import PartStatistics, Statistics
from regioncap.storage.store import Entry, Store
from regioncap.warehouse.layout import IMAGES
from regioncap.work import layout
from regioncap.work.begun import join_build
from regioncap.work.identity import hash_of_sources
from regioncap.work.plan import Plan
from regioncap.work.receipts import StoredImage
from regioncap.work.shard import Shard, ValidatedShard, parse_lines, read_marked

# Copies within a bucket wait for the service, not for us.
COPIES_AT_ONCE = 32


class _Parts(BaseModel):
    """A shard's parts of exports, by the format, and what made them (see `exporting_hash`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    made_by: str
    parts: dict[str, ExportPart]


def stage_shard(
    *,
    work: Store,
    shard_id: str,
    plan: Plan,
    drop: ImageFiles,
    partition: Store,
    progress: Callable[[int, int], None],
) -> int:
    """Put the images of a validated shard where they are published, or can be copied from; returns how many there are.

    `work`, `drop` and `partition` are rooted at the build's date. `progress` gets (images done, images in all): the
    marked ones, and those of each export. Raises StepMissingError where an earlier step is not done, and ManifestError.
    """
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    validated = shard.validated()
    statistics, marked = counted(validated.held, validated.records)
    begun = join_build(work, plan.plan_id, partition)
    build = begun.within(partition)
    in_all = len(marked) + validated.held.rows * len(staged_formats(plan))
    done = count(1)

    def each() -> None:
        progress(next(done), in_all)

    images: dict[str, StoredImage] = {}
    for path, stored in placed(shard, marked, build):
        images[path] = stored
        each()
    parts = stage_exports(plan=plan, drop=drop, shard=validated.held, build=build, each=each)
    made = _Parts(made_by=exporting_hash(plan), parts=parts)
    shard.write_staged(
        validated.held,
        {
            layout.STATISTICS: statistics.model_dump_json().encode(),
            layout.EXPORTED: made.model_dump_json().encode(),
        },
        version=shard.own.stat(layout.RECORDS).version,
        build_id=begun.build_id,
        images=images,
        seconds=round(time.monotonic() - started, 3),
    )
    return in_all


def staged_parts(held: ValidatedShard, plan: Plan, build_id: str) -> dict[str, ExportPart]:
    """What a shard has made of exports that can be used for a build; nothing where another code has made it."""
    staged = held.shard.staged_file(held, layout.EXPORTED)
    if staged is None:
        return {}
    try:
        made = _Parts.model_validate_json(staged[1])
    except ValidationError:  # another version's
        return {}
    if made.made_by != exporting_hash(plan):
        return {}
    # What lies beside an export's files was put into the build that the shard has joined.
    return {name: part for name, part in made.parts.items() if part.names is None or staged[0] == build_id}


def discard_parts(work: Store, plan: Plan) -> None:
    """Delete the files that shards have made of exports: they were copied into the build that is published."""
    if staged_formats(plan):
        rooms = (Shard(work, plan, shard_id).own.sub(layout.EXPORTS) for shard_id in plan.shards)
        deque(in_order(lambda room: room.delete_folder(), rooms, COPIES_AT_ONCE), 0)


def exporting_hash(plan: Plan) -> str:
    """A hash of the code that writes exports: it is no part of what a build is known by."""
    added = [name for name in plan.settings.export_formats if name in EXPORTERS.added]
    known = [[*EXPORTERS.version(name), hash_of_sources(EXPORTERS.source(name))] for name in added]
    return hashlib.sha256(canonical([_own_exporters(), known])).hexdigest()


@cache
def _own_exporters() -> str:
    return hash_of_sources(sorted(Path(str(exports.__file__)).parent.rglob("*.py")))


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
