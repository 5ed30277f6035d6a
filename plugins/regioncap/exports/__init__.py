"""Exports: the records of a build in other formats, below `exports/<format>/`.

An exporter is a function. It gets an `Export`, whose `files` hands it the rows, file by file, and takes care of names,
upload and hashes.

`export`                           what all exporters share
`images`                           the images that exports carry, as any reader shows them
`parquet`, `coco`, `webdataset`, `hf`  the exporter of that name
`llava`                            the exporters `llava` and `llava_pixels`
`label_studio`, `cvat`             the exporter of that name, and what comes back from that tool
`handed_out`                       how both know a region
`text`                             the exporters `csv` and `json`
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from regioncap.drop.elsewhere import ImageFiles
from regioncap.exports.coco import coco
from regioncap.exports.cvat import cvat
from regioncap.exports.export import Export, Exporter, ExportPlan, ExportShard, carried_by
from regioncap.exports.hf import hf
from regioncap.exports.label_studio import label_studio
from regioncap.exports.llava import llava, llava_pixels
from regioncap.exports.parquet import parquet
from regioncap.exports.text import csv_text, json_array
from regioncap.exports.webdataset import webdataset
from regioncap.extend import Registry, not_callable
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


def write_exports(
    *,
    plan: ExportPlan,
    drop: ImageFiles,
    shards: Sequence[ExportShard],
    records: int,
    build: Store,
    progress: Callable[[str], None],
    written: Callable[[str, int], object],
) -> list[FileEntry]:
    """Write all exports that the run asks for; returns their files, but for loose images, relative to the build.

    `drop` is rooted at the build's date, `shards` are the validated shards in their order, and `records` is how many
    records they hold together. `written` gets the path, relative to the build, and size of each loose image. Memory
    does not grow with the build, and local disk holds one file at a time. An original that is gone is noted, no error.
    Raises what the stores and shards raise.
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
        exporter(export)
        entries += export.finish()
    return entries
