"""The export `coco`: annotations in COCO's form."""

import hashlib
import json
import shutil
import tempfile
from typing import IO, Any

from regioncap.drop.given import UNLABELLED
from regioncap.exports.export import Export, Row, carries
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import SCHEMA_VERSION

# The category of regions without a label.


# Marked images have another size than the boxes.
@carries("original", beside=True)
def coco(export: Export) -> None:
    """One file: an entry in `images` for every image file, and an annotation for every region of every record.

    `file_name` is relative to the export's folder where it carries images, else to the drop.
    """
    with tempfile.TemporaryFile() as images, tempfile.TemporaryFile() as annotations:
        ids: dict[int, int] = {}
        # What a region shows is in its caption; the label that its row gives, if it does, is its category.
        categories = {UNLABELLED: 1}
        regions = 0
        for row in export.rows():
            file_name = f"images/{row.file}" if row.file is not None else row.record["image"]
            # A drop may name an image in several rows, and readers know an image by its file.
            key = int.from_bytes(hashlib.blake2b(file_name.encode(), digest_size=8).digest())
            if key not in ids:
                ids[key] = len(ids) + 1
                _add(images, _image(ids[key], file_name, row))
            for region in row.record["regions"]:
                regions += 1
                category = categories.setdefault(region["label"] or UNLABELLED, len(categories) + 1)
                _add(annotations, _annotation(regions, ids[key], row.record["id"], category, region))
        with export.file(f"{export.prefix}.json", export.records) as path, path.open("wb") as stream:
            stream.write(json.dumps(_head(export)).encode().removesuffix(b"}"))
            for name, entries in ((b"images", images), (b"annotations", annotations)):
                entries.seek(0)
                stream.write(b', "' + name + b'": [\n')
                shutil.copyfileobj(entries, stream, 1 << 20)
                stream.write(b"\n]")
            told = [{"id": number, "name": name, "supercategory": "region"} for name, number in categories.items()]
            stream.write(b', "categories": ' + json.dumps(told).encode() + b"}\n")


def _head(export: Export) -> dict[str, Any]:
    plan = export.plan
    return {
        "info": {
            "description": f"Region captions, {partition_path(plan.date)}",
            "version": SCHEMA_VERSION,
            "year": int(plan.date[:4]),
            "date_created": plan.date,
            "contributor": plan.model,
            "url": plan.drop_uri,
        },
        "licenses": [{"id": 1, "name": "The licence of the drop that the images are from", "url": plan.drop_uri}],
    }


def _image(number: int, file_name: str, row: Row) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": file_name,
        "width": row.record["width"],
        "height": row.record["height"],
        "license": 1,
        "coco_url": row.record["image_uri"],
        "sha256": row.record["image_sha256"],
    }


def _annotation(number: int, image: int, record_id: str, category: int, region: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = region["bbox"]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "area": width * height,
        # The box itself, as a polygon: readers that draw masks want one.
        "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        "iscrowd": 0,
        "record_id": record_id,
        **region,  # all that a record says of it
    }


def _add(stream: IO[bytes], entry: dict[str, Any]) -> None:
    # ASCII: pycocotools opens the file in whatever encoding the machine has.
    stream.write((b",\n" if stream.tell() else b"") + json.dumps(entry).encode())
