"""Manifests in Parquet: only the columns that are used or carried along are read, and lists where boxes are missing."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.given import ALL_FIELDS, LABELS, REGIONS
from regioncap.drop.inside import is_bytes
from regioncap.drop.readers.reader import Reader, Row
from regioncap.errors import RowError
from regioncap.regions.codes import Code


def _rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
    return _keeping(manifest, image_key, bbox_key, ())


def _keeping(manifest: Path, image_key: str, bbox_key: str, keep: tuple[str, ...]) -> Iterator[Row]:
    try:
        yield from _read(manifest, image_key, bbox_key, keep)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _read(manifest: Path, image_key: str, bbox_key: str, keep: tuple[str, ...]) -> Iterator[Row]:
    with pq.ParquetFile(manifest) as table:
        # Whole columns only: to Parquet, `a.b` is also the field `b` of the column `a`.
        names = table.schema_arrow.names
        if image_key in names and holds_bytes(table.schema_arrow.field(image_key).type):
            raise ValueError(f"its column {image_key} holds images, not paths: set input_format to image_parquet")
        kept = names if ALL_FIELDS in keep else keep
        labels = LABELS if LABELS in names else REGIONS
        used = dict.fromkeys((image_key, bbox_key, "id", "width", "height", labels, *kept))
        wanted = [name for name in used if name in names]
        if bbox_key not in names:
            # The boxes may be in one of these.
            wanted += [
                item.name for item in table.schema_arrow if pa.types.is_list(item.type) and item.name not in wanted
            ]
        yield from rows_in(table, wanted, image_key, bbox_key)


def holds_bytes(kind: Any) -> bool:
    """Whether values of this type are files, or have the bytes of one as Hugging Face's images do."""
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and is_bytes(kind.field(place).type)
    return is_bytes(kind)


def rows_in(table: pq.ParquetFile, columns: Sequence[str], image_key: str, bbox_key: str) -> Iterator[Row]:
    """The rows of these columns; one that Python cannot hold has a fault."""
    faults = {"id": Code.ID_INVALID, image_key: Code.IMAGE_NOT_A_PATH, bbox_key: Code.BBOX_NOT_A_LIST}
    number = 0
    for batch in table.iter_batches(batch_size=1_000, columns=columns):
        try:
            values = batch.to_pylist() if columns else [{} for _ in _places(batch)]
        except (ValueError, OverflowError, pa.ArrowException):
            # One of them has something in it that Python cannot hold.
            yield from [_parquet_row(number + place, batch.slice(place - 1, 1), faults) for place in _places(batch)]
        else:
            yield from [Row(number + place, value) for place, value in zip(_places(batch), values, strict=True)]
        number += batch.num_rows


def _places(batch: pa.RecordBatch) -> range:
    return range(1, batch.num_rows + 1)


def _parquet_row(number: int, row: pa.RecordBatch, faults: dict[str, Code]) -> Row:
    """A row of its own, as far as it can be read."""
    value: dict[str, Any] = {}
    fault: RowError | None = None
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            value[name] = column[0].as_py()
        except UnicodeDecodeError as error:
            fault = RowError(Code.NOT_UTF8, f"{name} is not UTF-8: {error}")
        except (ValueError, OverflowError, pa.ArrowException) as error:
            if name in faults or pa.types.is_list(column.type):
                fault = RowError(faults.get(name, Code.BBOX_NOT_A_LIST), f"{name} cannot be read: {error}")
            else:  # it says nothing about the row's boxes
                value[name] = f"cannot be read: {error}"
    return Row(number, value) if fault is None else Row(number, None, fault, value)


READER = Reader((".parquet",), _rows, is_text=False, keeping=_keeping)
