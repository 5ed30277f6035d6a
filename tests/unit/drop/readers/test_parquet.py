"""Manifests in Parquet."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.drop import read_rows
from regioncap.regions.codes import Code


def test_of_parquet_only_the_columns_that_count_are_read_and_lists_where_there_are_no_boxes(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    out_of_range = pa.array([2**62, 1], pa.timestamp("ms"))
    table = {"id": [1, 2], "file": ["a", "b"], "boxes": [[[1, 2, 3, 4]], None], "taken": out_of_range, "x.y": [1, 2]}
    pq.write_table(pa.table(table), path)
    assert [row.value for row in read_rows(path, "parquet", "boxes", "file")] == [
        {"id": 1, "file": "a", "boxes": [[1, 2, 3, 4]]}, {"id": 2, "file": "b", "boxes": None},
    ]  # fmt: skip
    assert [row.value for row in read_rows(path, "parquet", "nothing", "x.y")] == [
        {"id": 1, "x.y": 1, "boxes": [[1, 2, 3, 4]]}, {"id": 2, "x.y": 2, "boxes": None},
    ]  # fmt: skip


def test_a_parquet_file_without_any_such_column_still_has_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"other": range(2500)}), path)
    rows = list(read_rows(path, "parquet", "bbox"))
    assert [row.value for row in rows] == [{}] * 2500 and rows[-1].line == 2500


def test_a_parquet_value_that_cannot_be_read_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    names = pa.array([b"a", b"\xff.jpg", b"c"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"image": names}), path)
    rows = list(read_rows(path, "parquet", "bbox"))
    assert [row.value and row.value["image"] for row in rows] == ["a", None, "c"]
    assert rows[1].fault is not None and rows[1].fault.code == Code.NOT_UTF8
    ids = pa.array([1, 2**62, 3], pa.timestamp("ms"))
    pq.write_table(pa.table({"image": ["a", "b", "c"], "id": ids}), path)
    codes = [row.fault and row.fault.code for row in read_rows(path, "parquet", "bbox")]
    assert codes == [None, Code.ID_INVALID, None]


def test_parquet_holds_boxes_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pd.DataFrame({"image": ["a", "b"], "bbox": [[[1, 2, 3, 4]], None]}).to_parquet(path)
    assert [row.value for row in read_rows(path, "parquet", "bbox")] == [
        {"image": "a", "bbox": [[1, 2, 3, 4]]},
        {"image": "b", "bbox": None},
    ]
