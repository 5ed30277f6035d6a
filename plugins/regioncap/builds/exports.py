"""Exports: the records of a build in other formats. Add a format by adding one function to `EXPORTERS`.

Nested fields are JSON text in CSV. In Parquet they are lists and structs, but for `bbox`: what a drop gives there can
be of any shape, so it is JSON text too.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.regions.records import Record

# Writes all records, given shard by shard, into the file.
Exporter = Callable[[Iterable[Sequence[Record]], Path], None]

_BOX = pa.list_(pa.float64())
_SCHEMA = pa.schema(
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
        ("width", pa.int64()),
        ("height", pa.int64()),
        (
            "regions",
            pa.list_(
                pa.struct([("region", pa.int64()), ("box_index", pa.int64()), ("bbox", _BOX), ("caption", pa.string())])
            ),
        ),
        ("dropped_boxes", pa.list_(pa.struct([("box_index", pa.int64()), ("code", pa.string())]))),
        ("attempts", pa.int64()),
        ("checks", pa.list_(pa.string())),
    ]
)


def parquet(shards: Iterable[Sequence[Record]], path: Path) -> None:
    """One Parquet file, a row group per shard, zstd."""
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        for records in shards:
            rows = [record.model_dump(mode="json") for record in records]
            for row in rows:
                row["bbox"] = json.dumps(row["bbox"], ensure_ascii=False)
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


def csv(shards: Iterable[Sequence[Record]], path: Path) -> None:
    """One CSV file with a header; nested fields are JSON text."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(Record.model_fields) + "\n")
        for records in shards:
            rows = [{key: _cell(value) for key, value in record.model_dump(mode="json").items()} for record in records]
            pd.DataFrame(rows, columns=list(Record.model_fields)).to_csv(stream, header=False, index=False)


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def json_array(shards: Iterable[Sequence[Record]], path: Path) -> None:
    """One JSON array of records."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for number, record in enumerate(_flat(shards)):
            stream.write(",\n" if number else "\n")
            json.dump(record.model_dump(mode="json"), stream, ensure_ascii=False)
        stream.write("\n]\n")


def _flat(shards: Iterable[Sequence[Record]]) -> Iterator[Record]:
    for records in shards:
        yield from records


EXPORTERS: dict[str, tuple[str, Exporter]] = {
    "parquet": ("parquet", parquet),
    "csv": ("csv", csv),
    "json": ("json", json_array),
}
