"""The export `hf`: a folder that Hugging Face `datasets` opens with `load_dataset`."""

import json
from typing import Any

import pyarrow as pa

from regioncap.exports.export import Export, Row, by_shard
from regioncap.exports.parquet import SCHEMA, columns, write_table

# How `datasets` keeps an image in a table, and how it knows one again.
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_IS_PICTURE = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
_SCHEMA_WITH_PICTURES = (
    SCHEMA.set(0, pa.field("image", _PICTURE))
    .insert(1, pa.field("image_path", pa.string()))
    .with_metadata({"huggingface": _IS_PICTURE})
)

_README = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: "{prefix}-*.parquet"
dataset_info:
  splits:
  - name: train
    num_examples: {records}
    num_bytes: {size}
---

Region captions, for `datasets.load_dataset` with the path of this folder. The dataset card is the build's `README.md`.
"""


def _readme(export: Export) -> None:
    size = sum(entry.bytes for entry in export.entries)
    with export.file("README.md", 0) as path:
        path.write_text(_README.format(prefix=export.prefix, records=export.records, size=size), encoding="utf-8")


@by_shard(then=_readme)
def hf(export: Export) -> None:
    """Parquet files, and the README that `datasets` reads.

    With images, the column `image` is the picture itself, and its path in the drop is in `image_path`.
    """
    schema, of = (SCHEMA, columns) if export.images == "none" else (_SCHEMA_WITH_PICTURES, _with_picture)
    for path, rows in export.files("parquet"):
        write_table(path, schema, rows, of)


def _with_picture(row: Row) -> dict[str, Any]:
    picture = None if row.image is None else {"bytes": row.image.data, "path": row.image.name}
    return columns(row) | {"image": picture, "image_path": row.record["image"]}
