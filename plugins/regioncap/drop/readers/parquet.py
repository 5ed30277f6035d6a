"""Manifests in Parquet: only the columns that are used or carried along are read, and lists where boxes are missing."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from regioncap.drop.box_keys import PARTS
from regioncap.drop.given import ALL_FIELDS, LABELS, REGIONS
from regioncap.drop.inside import is_bytes
from regioncap.drop.readers.reader import Reader, Row
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# So many rows are unpacked at once, and no more bytes of their texts than that.
_BATCH_ROWS, _BATCH_BYTES = 1000, 64 << 20
# What a column of a row group may unpack to: so many values, and of what is packed to nearly nothing so many bytes.
_MOST_VALUES, _MOST_TIMES, _MOST_BYTES = 1 << 27, 200, 256 << 20
# How texts are written that rows share, and how many rows are read at once to find the longest of them.
_SHARED, _MEASURED_ROWS = {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}, 100_000


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
        check_columns(names, (image_key,))
        if image_key in names and holds_bytes(table.schema_arrow.field(image_key).type):
            raise ValueError(f"its column {image_key} holds images, not paths: set input_format to image_parquet")
        kept = names if ALL_FIELDS in keep else keep
        labels = LABELS if LABELS in names else REGIONS
        used = dict.fromkeys((image_key, bbox_key, "id", "width", "height", labels, *kept))
        wanted = [name for name in used if name in names]
        if bbox_key not in names:
            # The boxes may be in one of these.
            wanted += [
                item.name
                for item in table.schema_arrow
                if item.name not in wanted and (pa.types.is_list(item.type) or item.name in PARTS)
            ]
        yield from rows_in(manifest, table, wanted, image_key, bbox_key)


def check_columns(names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises ValueError where several columns have a name that is wanted."""
    for name in wanted:
        if names.count(name) > 1:
            raise ValueError(f"several columns are called {name}: leave one of them in")


def holds_bytes(kind: Any) -> bool:
    """Whether values of this type are files, or have the bytes of one as Hugging Face's images do."""
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and is_bytes(kind.field(place).type)
    return is_bytes(kind)


def rows_in(
    source: Path | IO[bytes], table: pq.ParquetFile, columns: Sequence[str], image_key: str, bbox_key: str
) -> Iterator[Row]:
    """The rows of these columns of a table, which `source` holds.

    One that Python cannot hold, or that is longer than a line may be, has a fault.

    Raises ValueError where the columns unpack to more than there may be, or several have one name.
    """
    faults = {"id": Code.ID_INVALID, image_key: Code.IMAGE_NOT_A_PATH, bbox_key: Code.BBOX_NOT_A_LIST}
    check_columns(table.schema_arrow.names, columns)
    # As databases write their numbers.
    decimals = [item.name for item in table.schema_arrow if item.name in faults and "decimal" in str(item.type)]
    for row in _rows_of_groups(source, table, columns, faults):
        if row.value is not None:
            row.value.update({name: _number(row.value[name]) for name in decimals if name in row.value})
        yield row


def _number(value: Any) -> Any:
    """A value with numbers in place of decimals."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _rows_of_groups(
    source: Path | IO[bytes], table: pq.ParquetFile, columns: Sequence[str], faults: dict[str, Code]
) -> Iterator[Row]:
    number = 0
    for group in range(table.num_row_groups):
        size = _rows_at_once(source, table, group, columns)
        for batch in table.iter_batches(batch_size=size, row_groups=[group], columns=columns):
            if batch.nbytes > MAX_LINE_BYTES:
                # As Python's values they take many times that: one row after the other.
                for place in _places(batch):
                    yield _parquet_row(number + place, batch.slice(place - 1, 1), faults)
            else:
                yield from _small_rows(number, batch, columns, faults)
            number += batch.num_rows


def _small_rows(number: int, batch: pa.RecordBatch, columns: Sequence[str], faults: dict[str, Code]) -> list[Row]:
    try:
        values = batch.to_pylist() if columns else [{} for _ in _places(batch)]
    except (ValueError, OverflowError, pa.ArrowException):
        # One of them has something in it that Python cannot hold.
        return [_parquet_row(number + place, batch.slice(place - 1, 1), faults) for place in _places(batch)]
    return [Row(number + place, value) for place, value in zip(_places(batch), values, strict=True)]


def _rows_at_once(source: Path | IO[bytes], table: pq.ParquetFile, group: int, columns: Sequence[str]) -> int:
    """How many rows of a row group are unpacked at once: a value may be in the file once, and in a thousand rows.

    Raises ValueError where it unpacks to more than there may be.
    """
    about = table.metadata.row_group(group)
    leaves = [about.column(place) for place in range(about.num_columns)]
    longest = 0
    for leaf in leaves:
        if not any(leaf.path_in_schema == name or leaf.path_in_schema.startswith(f"{name}.") for name in columns):
            continue
        unpacked, packed = leaf.total_uncompressed_size, leaf.total_compressed_size
        if leaf.num_values > _MOST_VALUES or (unpacked > _MOST_BYTES and unpacked > _MOST_TIMES * packed):
            raise ValueError(
                f"its column {leaf.path_in_schema} unpacks to {leaf.num_values:,} values, {unpacked:,} bytes, in one "
                "row group: write smaller ones"
            )
        if leaf.physical_type == "BYTE_ARRAY" and unpacked > _BATCH_BYTES // _BATCH_ROWS:
            longest += _longest(source, table, group, leaf)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, longest)))


def _longest(source: Path | IO[bytes], table: pq.ParquetFile, group: int, leaf: Any) -> int:
    """How many bytes the longest text of a column may have, where its rows may share one; else 0."""
    if "DELTA_BYTE_ARRAY" in leaf.encodings:  # each may be as the one before it
        return int(leaf.total_uncompressed_size)
    if _SHARED.isdisjoint(leaf.encodings):
        return 0
    # Read so, a text that rows share is there once.
    once = pq.ParquetFile(source, metadata=table.metadata, read_dictionary=[leaf.path_in_schema], pre_buffer=False)
    batches = once.iter_batches(
        batch_size=_MEASURED_ROWS, row_groups=[group], columns=[leaf.path_in_schema], use_threads=False
    )
    return max((_longest_in(batch.column(0)) for batch in batches), default=0)


def _longest_in(column: pa.Array) -> int:
    while not pa.types.is_dictionary(column.type):
        if pa.types.is_struct(column.type):
            column = column.field(0)
        elif hasattr(column, "values"):
            column = column.values
        else:
            return int(column.nbytes)
    return pc.max(pc.binary_length(column.dictionary)).as_py() or 0


def _places(batch: pa.RecordBatch) -> range:
    return range(1, batch.num_rows + 1)


def _parquet_row(number: int, row: pa.RecordBatch, faults: dict[str, Code]) -> Row:
    """A row of its own, as far as it can be read."""
    if row.nbytes > MAX_LINE_BYTES:
        too_long = RowError(Code.LINE_TOO_LONG, f"the row has more than {MAX_LINE_BYTES:,} bytes")
        return Row(number, None, too_long, {})
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
