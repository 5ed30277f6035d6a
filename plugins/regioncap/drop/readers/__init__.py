"""Readers: from a drop's manifests to its rows, a file for each format.

`reader` says what a reader is. Rows of RegionCap's own form: `jsonl`, `json`, `csv`, `parquet`; with boxes in other
forms: `jsonl_any`; files of other tools: `coco`, `yolo`, `voc`, `label_studio`, `cvat`, `labelme`, `kitti`,
`open_images`, `visual_genome`, `image_folder`; with the images inside them: `image_parquet`, `webdataset`. `streamed`,
`grouped`, `loose`, `outlines` and `elements` are what they read with: large JSON, items that belong together, boxes in
many forms, outlines instead of boxes, XML.
"""

from collections.abc import Mapping
from typing import Any

from regioncap.drop.readers import (
    coco,
    csv,
    cvat,
    image_folder,
    image_parquet,
    json,
    jsonl,
    jsonl_any,
    kitti,
    label_studio,
    labelme,
    open_images,
    parquet,
    visual_genome,
    voc,
    webdataset,
    yolo,
)
from regioncap.drop.readers.reader import ByLine, DropReader, Given, Reader, Row
from regioncap.extend import Registry

__all__ = ["AUTO", "READERS", "ByLine", "DropReader", "Given", "Reader", "Row"]

# Stands for the format that a drop's manifests are found to have.
AUTO = "auto"


def _fault(name: str, reader: Any) -> str | None:
    usable = isinstance(reader, Reader | DropReader) and isinstance(reader.suffixes, tuple) and reader.suffixes
    return None if usable else "is no Reader with a tuple of suffixes"


_ROWS: Mapping[str, Reader | DropReader] = {
    "jsonl": jsonl.READER, "json": json.READER, "csv": csv.READER, "parquet": parquet.READER,
}  # fmt: skip
_OTHERS: Mapping[str, Reader | DropReader] = {
    "jsonl_any": jsonl_any.READER, "coco": coco.READER, "yolo": yolo.READER, "voc": voc.READER,
    "label_studio": label_studio.READER, "cvat": cvat.READER, "labelme": labelme.READER, "kitti": kitti.READER,
    "open_images": open_images.READER, "visual_genome": visual_genome.READER,
    "image_folder": image_folder.READER, "image_parquet": image_parquet.READER, "webdataset": webdataset.READER,
}  # fmt: skip

READERS = Registry("regioncap.readers", "reader", {**_ROWS, **_OTHERS}, _fault, later=_OTHERS)
