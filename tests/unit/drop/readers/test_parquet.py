"""A small Parquet file that unpacks to far more than there is memory for."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regioncap.drop.readers import parquet
from regioncap.drop.readers.parquet import READER
from regioncap.drop.readers.reader import Row
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.regions.codes import Code

LONG = "a" * (MAX_LINE_BYTES + 1)
ROWS = 1000


def rows_of(table: pa.Table, folder: Path, **options: Any) -> list[Row]:
    """The rows of a table that was written to a file of a few kilobytes."""
    path = folder / "manifest.parquet"
    pq.write_table(table, path, compression="zstd", **options)
    assert path.stat().st_size < 200_000
    return list(READER.rows(path, "image", "bbox"))


def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each batch of rows has, as they are read."""
    seen: list[int] = []
    real = pq.ParquetFile.iter_batches

    def noted(self: Any, *args: Any, **options: Any) -> Any:
        for batch in real(self, *args, **options):
            seen.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    return seen


def shared(text: str, rows: int = ROWS) -> pa.Array:
    """The same text in each row, which is written once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def boxes(rows: int = ROWS) -> pa.Array:
    return pa.array([[[1.0, 1.0, 5.0, 5.0]]] * rows)


def test_a_text_that_all_rows_share_is_unpacked_for_a_few_of_them_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = batches(monkeypatch)
    rows = rows_of(pa.table({"image": shared(LONG), "bbox": boxes()}), tmp_path)
    assert [row.line for row in rows] == list(range(1, ROWS + 1))
    assert {row.fault.code for row in rows if row.fault} == {Code.LINE_TOO_LONG} and all(row.fault for row in rows)
    assert max(seen) <= 2 * parquet._BATCH_BYTES


def test_so_is_one_within_lists_and_in_columns_that_are_carried_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = batches(monkeypatch)
    labels = pa.ListArray.from_arrays(pa.array(np.arange(ROWS + 1, dtype=np.int32)), shared(LONG))
    table = pa.table({"image": [f"{row}.jpg" for row in range(ROWS)], "bbox": boxes(), "labels": labels})
    assert all(row.fault and row.fault.code == Code.LINE_TOO_LONG for row in rows_of(table, tmp_path))
    assert max(seen) <= 2 * parquet._BATCH_BYTES


def test_a_text_that_each_row_has_of_the_one_before_it_is_unpacked_for_a_few_of_them_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = batches(monkeypatch)
    table = pa.table({"image": [LONG] * 20, "bbox": boxes(20)})
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 4 * MAX_LINE_BYTES)
    options = {"use_dictionary": False, "column_encoding": {"image": "DELTA_BYTE_ARRAY"}}
    assert all(row.fault for row in rows_of(table, tmp_path, **options))
    assert max(seen) <= 2 * parquet._BATCH_BYTES


def test_a_row_of_a_million_boxes_costs_itself_and_no_row_beside_it(tmp_path: Path) -> None:
    numbers = pa.array(np.ones(4 * 1_000_000 + 4))
    each = pa.ListArray.from_arrays(pa.array(np.arange(0, len(numbers) + 1, 4, dtype=np.int32)), numbers)
    given = pa.ListArray.from_arrays(pa.array(np.array([0, 1_000_000, 1_000_001], np.int32)), each)
    first, second = rows_of(pa.table({"image": ["a.jpg", "b.jpg"], "bbox": given}), tmp_path)
    assert first.fault is not None and first.fault.code == Code.LINE_TOO_LONG
    assert second.value is not None and second.value["bbox"] == [[1.0, 1.0, 1.0, 1.0]]


def test_a_column_that_unpacks_to_far_more_than_it_is_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_MOST_BYTES", 1 << 20)
    with pytest.raises(ValueError, match=r"its column image unpacks to 10 values, [\d,]+ bytes, in one row group"):
        rows_of(pa.table({"image": shared(LONG, 10), "bbox": boxes(10)}), tmp_path)
    monkeypatch.setattr(parquet, "_MOST_VALUES", 9)
    with pytest.raises(ValueError, match="write smaller ones"):
        rows_of(pa.table({"image": ["a.jpg"] * 10, "bbox": boxes(10)}), tmp_path)


def test_usual_rows_are_read_by_the_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = batches(monkeypatch)
    paths = [f"{row % 700}.jpg" for row in range(2500)]
    table = pa.table({"image": paths, "bbox": boxes(2500), "labels": [["cat", "dog"]] * 2500})
    rows = rows_of(table, tmp_path)
    assert [row.value and row.value["image"] for row in rows] == paths
    assert len(seen) == 3


def test_numbers_of_a_column_of_decimals_are_numbers(tmp_path: Path) -> None:
    box = [Decimal("10.50"), Decimal("10.00"), Decimal("40.00"), Decimal("30.25")]
    table = pa.table(
        {
            "id": pa.array([Decimal("123456789012345678901"), None]),
            "image": ["a.jpg", "b.jpg"],
            "bbox": pa.array([[box], None]),
            "price": pa.array([Decimal("1.50")] * 2),
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    assert READER.keeping is not None
    first, second = READER.keeping(tmp_path / "m.parquet", "image", "bbox", ("*",))
    assert first.value == {
        "id": 123456789012345678901, "image": "a.jpg", "bbox": [[10.5, 10, 40, 30.25]], "price": Decimal("1.50"),
    }  # fmt: skip
    assert second.value == {"id": None, "image": "b.jpg", "bbox": None, "price": Decimal("1.50")}


@pytest.mark.parametrize("name", ["image", "bbox", "id", "note"])
def test_columns_of_one_name_are_not_taken_for_each_other(tmp_path: Path, name: str) -> None:
    columns = {"image": ["a.jpg"], "bbox": [[[1, 2, 30, 40]]], "id": ["x"], "note": ["n"]}
    arrays = [pa.array(values) for values in (*columns.values(), columns[name])]
    pq.write_table(pa.Table.from_arrays(arrays, [*columns, name]), tmp_path / "m.parquet")
    assert READER.keeping is not None
    with pytest.raises(ValueError, match=f"several columns are called {name}: leave one of them in"):
        list(READER.keeping(tmp_path / "m.parquet", "image", "bbox", ("note",)))
