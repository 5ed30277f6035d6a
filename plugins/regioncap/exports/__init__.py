"""Exports: the records of a build in other formats, below `exports/<format>/`.

An exporter is a function. It gets an `Export`, whose `files` hands it the rows, file by file, and takes care of names,
upload and hashes.

`export`                           what all exporters share
`parts`                            what of exports that carry images is made shard by shard
`images`                           the images that exports carry, as any reader shows them
`parquet`, `coco`, `webdataset`, `hf`  the exporter of that name
`llava`                            the exporters `llava` and `llava_pixels`
`label_studio`, `cvat`             the exporter of that name, and what comes back from that tool
`handed_out`                       how both know a region
`text`                             the exporters `csv` and `json`
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from regioncap.drop.elsewhere import ImageFiles
from regioncap.exports.coco import coco
from regioncap.exports.cvat import cvat
from regioncap.exports.export import (
    Export,
    Exporter,
    ExportPlan,
    ExportShard,
    carried_by,
    follows,
    has_images_beside,
)
from regioncap.exports.hf import hf
from regioncap.exports.label_studio import label_studio
from regioncap.exports.llava import llava, llava_pixels
from regioncap.exports.parquet import parquet
from regioncap.exports.parts import ExportPart, PartFile, Parts, in_parts, is_good, make_part
from regioncap.exports.text import csv_text, json_array
from regioncap.exports.webdataset import webdataset
from regioncap.extend import Registry, not_callable
from regioncap.parallel import in_order
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import FileEntry


def _fault(name: str, exporter: Any) -> str | None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        return "is named by more than small letters, digits and underscores"
    return not_callable(name, exporter)


EXPORTERS: Registry[Exporter] = Registry(
    "regioncap.exporters",
    "exporter",
    {
        "parquet": parquet,
        "csv": csv_text,
        "json": json_array,
        "coco": coco,
        "webdataset": webdataset,
        "hf": hf,
        "llava": llava,
        "llava_pixels": llava_pixels,
        "label_studio": label_studio,
        "cvat": cvat,
    },
    _fault,
)


# Copies within a bucket wait for the service, not for us.
_COPIES_AT_ONCE = 32
# Each holds what a shard has noted: a name for each of its images.
_READS_AT_ONCE = 8
# Each message is also a sign of life.
_ROWS_PER_MESSAGE = 500
_SHARDS_PER_MESSAGE = 100
_FILES_PER_MESSAGE = 20


def stage_exports(
    *, plan: ExportPlan, drop: ImageFiles, shard: ExportShard, build: Store, each: Callable[[], None]
) -> dict[str, ExportPart]:
    """Make a validated shard's parts of all exports that are made shard by shard; `each` is called for each record.

    `drop` is rooted at the build's date; images that lie beside an export's files go into the `build`.
    Raises what the stores and the shard raise.
    """
    return {
        name: make_part(name, EXPORTERS[name], plan=plan, drop=drop, shard=shard, build=build, each=each)
        for name in staged_formats(plan)
    }


def staged_formats(plan: ExportPlan) -> list[str]:
    """The formats that are made shard by shard."""
    return [name for name in plan.settings.export_formats if in_parts(EXPORTERS[name], plan.settings.export_images)]


def write_exports(
    *,
    plan: ExportPlan,
    drop: ImageFiles,
    shards: Sequence[ExportShard],
    records: int,
    build: Store,
    progress: Callable[[str], None],
    written: Callable[[str, int, str | None], object],
    staged: Callable[[int], Mapping[str, ExportPart]] = lambda place: {},
) -> list[FileEntry]:
    """Write all exports that the run asks for; returns their files, but for loose images, relative to the build.

    `drop` is rooted at the build's date, `shards` are the validated shards in their order, and `records` is how many
    records they hold together. `written` gets what lies in the build after this: the path, relative to the build, size
    and checksum (see `Entry`) of each image beside an export's files, and of each file that was copied there. `staged`
    gives what `stage_exports` has made for this build of the shard at a place in `shards`; what it has not made, or is
    damaged, is made here. Memory grows only by what an exporter keeps of each image, and local disk holds one file at a
    time, and a name for each image. An original that is gone is noted, no error. Raises what the stores and shards
    raise.
    """
    entries: list[FileEntry] = []
    for name in plan.settings.export_formats:
        exporter, images = EXPORTERS[name], plan.settings.export_images
        export = Export(
            name=name,
            images=images if images in carried_by(exporter) else "none",
            plan=plan,
            drop=drop,
            shards=shards,
            records=records,
            build=build,
            progress=progress,
            written=written,
        )
        if in_parts(exporter, images):
            _write_from_parts(export, exporter, staged)
        else:
            exporter(export)
            _write_what_follows(export, exporter)
        entries += export.finish()
    return entries


def _write_from_parts(export: Export, exporter: Exporter, staged: Callable[[int], Mapping[str, ExportPart]]) -> None:
    """Write an export of which parts are made shard by shard, and those of them that were not made."""
    made = count(1)

    def each() -> None:
        if (rows := next(made)) % _ROWS_PER_MESSAGE == 0:
            export.progress(f"export {export.name}: the images of {rows:,} records, which no shard has put there")

    def usable(place: int) -> ExportPart | None:
        part = staged(place).get(export.name)
        return part if part is not None and is_good(part, export.shards[place], export.drop) else None

    with tempfile.TemporaryFile(prefix="regioncap-parts-") as file:
        parts = Parts(export.shards, file)
        looked = in_order(usable, range(len(export.shards)), _READS_AT_ONCE)
        for done, (shard, part) in enumerate(zip(export.shards, looked, strict=True), start=1):
            if done % _SHARDS_PER_MESSAGE == 0:
                export.progress(f"export {export.name}: {done:,} of {len(export.shards):,} shards")
            if part is None:
                plan, drop, build = export.plan, export.drop, export.build
                part = make_part(export.name, exporter, plan=plan, drop=drop, shard=shard, build=build, each=each)
            for image in part.loose:
                export.written(image.path, image.bytes, image.checksum)
            for missing in part.missing:
                export.note_missing(missing)
            parts.add(part)
        if has_images_beside(exporter):
            export.names = parts.names
            exporter(export)
        elif parts.files:
            _copy_files(export, parts)
        else:
            exporter(export)  # without records there is a file without rows
        _write_what_follows(export, exporter)


def _copy_files(export: Export, parts: Parts) -> None:
    """Copy the files of shards into the build: their names say how many there are, which is known only now."""

    def copy(numbered: tuple[int, ExportShard, PartFile]) -> tuple[FileEntry, str | None]:
        number, shard, file = numbered
        ending = file.path.partition(".")[2]
        path = f"{export.folder}{export.prefix}-{number:05d}-of-{parts.files:05d}.{ending}"
        checksum = export.build.copy(shard.own, file.path, path)
        return FileEntry(path=path, rows=file.rows, bytes=file.bytes, sha256=file.sha256), checksum

    for done, (entry, checksum) in enumerate(in_order(copy, parts.all_files(), _COPIES_AT_ONCE), start=1):
        export.written(entry.path, entry.bytes, checksum)
        export.entries.append(entry)
        if done % _FILES_PER_MESSAGE == 0:
            export.progress(f"export {export.name}: {done:,} of {parts.files:,} files are there")


def _write_what_follows(export: Export, exporter: Exporter) -> None:
    if then := follows(exporter):
        then(export)
