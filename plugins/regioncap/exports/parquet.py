"""The export `parquet`.

Nested fields are lists and structs, but for `bbox` and `source`: what a drop gives there can be of any shape, so they
are JSON text.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.exports.export import Export, Row, carries, chunks

_BOX = pa.list_(pa.float64())
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("type", pa.string()),
        ("bbox", pa.string()),
        ("normalized_bbox", pa.list_(_BOX)),
        ("result_file", pa.string()),
        ("image_with_bbox", pa.string()),
        ("valid_bboxes_num", pa.int64()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("id", pa.string()),
        ("image_uri", pa.string()),
        ("image_sha256", pa.string()),
        ("perceptual_hash", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        (
            "regions",
            pa.list_(
                pa.struct(
                    [
                        ("region", pa.int64()),
                        ("box_index", pa.int64()),
                        ("bbox", _BOX),
                        ("caption", pa.string()),
                        ("corrected", pa.bool_()),
                        ("trust", pa.float64()),
                        ("confused_with", pa.int64()),
                        ("label", pa.string()),
                    ]
                )
            ),
        ),
        ("dropped_boxes", pa.list_(pa.struct([("box_index", pa.int64()), ("code", pa.string())]))),
        ("attempts", pa.int64()),
        ("checks", pa.list_(pa.string())),
        ("corrected", pa.bool_()),
        ("source", pa.string()),
    ]
)


@carries()
def parquet(export: Export) -> None:
    """Parquet files, zstd."""
    for path, rows in export.files("parquet"):
        write_table(path, SCHEMA, rows, columns)


def columns(row: Row) -> dict[str, Any]:
    """A record's fields as `SCHEMA` has them."""
    return row.record | {name: _text(row.record[name]) for name in ("bbox", "source")}


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def write_table(path: Path, schema: pa.Schema, rows: Iterable[Row], of: Callable[[Row], dict[str, Any]]) -> None:
    """Write rows into a Parquet file, `of` each its columns; a row group has as many as memory holds easily."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in chunks(rows):
            writer.write_table(pa.Table.from_pylist([of(row) for row in batch], schema=schema))
