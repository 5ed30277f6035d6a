"""Parquet files that hold their images, as Hugging Face writes data sets. Images stay in the file."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.given import ALL_FIELDS, LABELS
from regioncap.drop.inside import PARQUET, is_bytes, member_path
from regioncap.drop.readers.loose import FIELDS, LISTS, with_boxes
from regioncap.drop.readers.parquet import check_columns, holds_bytes, rows_in
from regioncap.drop.readers.reader import DropReader, Given, Row
from regioncap.errors import RowError

# What is read at a time; and so many rows are asked whether they have images, where the file does not say it of all.
_BUFFER_BYTES, _ASKED = 1 << 18, 16

# A column of images, as Arrow writes a schema.
_IMAGES = re.compile(rb"^[^\n:]+: (?:(?:large_)?binary(?:_view)?$|struct<bytes: (?:large_)?binary)", re.MULTILINE)


def _rows(given: Given) -> Iterator[Row]:
    for manifest in given.manifests:
        with given.opened(manifest) as (stream, _):
            try:
                yield from _read(given, manifest, stream)
            except pa.ArrowException as error:
                raise ValueError(str(error)) from error


def _read(given: Given, manifest: str, stream: IO[bytes]) -> Iterator[Row]:
    table = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    schema = table.schema_arrow
    column = _image_column(schema, given.image_key)
    check_columns(schema.names, (column,))
    image = schema.field(column)
    if holds_bytes(image.type) and manifest not in given:
        raise ValueError("its images are in it, and images_uri says that they are elsewhere: leave images_uri out")
    used = {given.bbox_key, "id", "width", "height", LABELS, *FIELDS, *given.keep}
    wanted = [
        item.name
        for item in schema
        if (item.name in used or ALL_FIELDS in given.keep) and item.name != column and not _has_bytes(item.type)
    ]
    if {given.bbox_key, *LISTS}.isdisjoint(schema.names):
        # The boxes may be in one of these: then it is told of.
        wanted += [item.name for item in schema if item.name != column and _may_hold_boxes(item.type)]
    if pa.types.is_struct(image.type):
        wanted += [f"{column}.path"] if image.type.get_field_index("path") >= 0 else []
    elif not is_bytes(image.type):
        wanted.append(column)
    names = _class_names(schema)
    rows = rows_in(stream, table, wanted, column, given.bbox_key)
    for row, here in zip(rows, _are_here(table, column, image.type), strict=True):
        if row.value is None:
            yield Row(row.line, None, row.fault, row.raw, manifest)
            continue
        try:
            value = with_boxes(given, {key: _named(field, names.get(key)) for key, field in row.value.items()})
            value.pop(column, None)
            path = row.value.get(column)
            path = path.get("path") if isinstance(path, dict) else path
            where = member_path(manifest, f"{column}/{row.line}") if here else given.image(path or "", manifest)
            yield Row(row.line, {given.image_key: where, **value}, manifest=manifest)
        except RowError as fault:
            yield Row(row.line, None, fault, row.value, manifest)


def _image_column(schema: Any, image_key: str) -> str:
    """The column with the images: that of the param, or the only one that holds some."""
    if image_key in schema.names:
        return image_key
    found = [item.name for item in schema if holds_bytes(item.type)]
    if len(found) == 1:
        return str(found[0])
    listed = f"several columns with images ({', '.join(found)})" if found else "no column with images"
    raise ValueError(f"it has {listed}, and none is called {image_key}: set the param image_key")


def _may_hold_boxes(kind: Any) -> bool:
    """Whether values of this type are lists, or have some in them, and no bytes."""
    holds_lists = pa.types.is_list(kind) or any(pa.types.is_list(kind.field(at).type) for at in range(kind.num_fields))
    return holds_lists and not _has_bytes(kind)


def _has_bytes(kind: Any) -> bool:
    """Whether there are bytes in values of this type, however deep: other images, sounds, arrays."""
    return is_bytes(kind) or any(_has_bytes(kind.field(place).type) for place in range(kind.num_fields))


def _are_here(table: pq.ParquetFile, column: str, kind: Any) -> Iterator[bool]:
    """Whether the image of each row is in the file."""
    leaf = f"{column}.bytes" if pa.types.is_struct(kind) else column
    for group in range(table.num_row_groups):
        about = table.metadata.row_group(group)
        if not holds_bytes(kind):
            yield from (False for _ in range(about.num_rows))
            continue
        chunks = (about.column(place) for place in range(about.num_columns))
        said = next(chunk.statistics for chunk in chunks if chunk.path_in_schema == leaf)
        if said is not None and said.has_null_count and said.null_count in (0, about.num_rows):
            yield from (said.null_count == 0 for _ in range(about.num_rows))
            continue
        for batch in table.iter_batches(batch_size=_ASKED, row_groups=[group], columns=[leaf], use_threads=False):
            values = batch.column(0)
            yield from (values.field("bytes") if pa.types.is_struct(kind) else values).is_valid().to_pylist()


def _class_names(schema: Any) -> dict[str, Any]:
    """What Hugging Face writes of columns: names of classes are there, and in the rows their numbers."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _named(value: Any, feature: Any) -> Any:
    """A value with the names of classes in place of their numbers."""
    if isinstance(feature, list):
        feature = {"_type": "List", "feature": feature[0] if feature else None}
    if not isinstance(feature, dict):
        return value
    inner = feature.get("feature") if isinstance(feature.get("_type"), str) and "feature" in feature else feature
    if isinstance(value, list):
        return [_named(item, inner) for item in value]
    if isinstance(value, dict):
        return {key: _named(item, inner.get(key) if isinstance(inner, dict) else None) for key, item in value.items()}
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and type(value) is int:
        return names[value] if 0 <= value < len(names) else None
    return value


def _recognises(path: str, start: bytes) -> bool:
    return _IMAGES.search(start) is not None


def _count(given: Given) -> int:
    count = 0
    for manifest in given.manifests:
        with given.opened(manifest) as (stream, _):
            try:
                count += pq.read_metadata(stream).num_rows
            except pa.ArrowException as error:
                raise ValueError(str(error)) from error
    return count


READER = DropReader((PARQUET,), _rows, None, _recognises, _count, is_text=False, packed=False)
