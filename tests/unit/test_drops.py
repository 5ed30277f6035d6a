"""A drop as it lies there: ready or not, its manifests, and their rows in every format."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.builds.drop import QUIET_SECONDS, DropError, contents, not_ready, read_rows
from regioncap.regions.codes import Code
from regioncap.regions.rows import MAX_LINE_BYTES
from tests.builders import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def values(path: Path, input_format: str) -> list[Any]:
    return [row.value for row in read_rows(path, input_format, "bbox")]  # type: ignore[arg-type]


def test_a_drop_is_ready_when_its_marker_is_there(place: Place) -> None:
    assert "there is no drop" in str(not_ready(place.drop, "marker", 0))
    place.put_rows({"image": "a.jpg"})
    assert "no _READY file yet" in str(not_ready(place.drop, "marker", 0))
    place.put("_READY", "")
    assert not_ready(place.drop, "marker", 0) is None


def test_a_drop_without_a_marker_is_ready_when_it_has_been_quiet(place: Place) -> None:
    now = time.time()
    assert "there is no drop" in str(not_ready(place.drop, "unchanged", now))
    place.put_rows({"image": "a.jpg"})
    assert "it is ready when nothing changes for 600 s" in str(not_ready(place.drop, "unchanged", now + 30))
    assert not_ready(place.drop, "unchanged", now + QUIET_SECONDS + 30) is None


def test_an_old_modification_time_does_not_make_an_upload_quiet(place: Place) -> None:
    place.put("a.jpg", b"x")
    os.utime(place.drop_folder / "a.jpg", (0, 0))
    assert not_ready(place.drop, "unchanged", time.time()) is not None


def test_all_manifests_at_the_top_level_are_read_in_order(place: Place) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl", "d.json", "e.JSONL"):
        place.put(name, "{}")
    assert contents(place.drop, "jsonl").manifests == ["a.jsonl", "b.jsonl"]
    assert contents(place.drop, "json").manifests == ["d.json"]


def test_a_drop_without_a_manifest_says_what_to_do(place: Place) -> None:
    with pytest.raises(DropError, match="there is no drop"):
        contents(place.drop, "jsonl")
    place.put("a.jpg", b"x")
    with pytest.raises(DropError, match=r"put one or more \*\.jsonl files at its top level"):
        contents(place.drop, "jsonl")


def test_the_fingerprint_changes_with_any_file_but_the_marker(place: Place) -> None:
    place.put_rows({"image": "a.jpg"})
    first = contents(place.drop, "jsonl").fingerprint
    place.put("_READY", "")
    assert contents(place.drop, "jsonl").fingerprint == first
    place.put("a.jpg", b"x")
    assert contents(place.drop, "jsonl").fingerprint != first


def test_jsonl_keeps_line_numbers_and_leaves_blank_lines_out(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"image": "a"}\r\n\r\n   \n{"image": "b"}\nnot json\n{"image": "c"}')
    rows = list(read_rows(path, "jsonl", "bbox"))
    assert [(row.line, row.value) for row in rows if row.value] == [
        (1, {"image": "a"}),
        (4, {"image": "b"}),
        (6, {"image": "c"}),
    ]
    assert [(row.line, row.fault.code, row.raw) for row in rows if row.fault] == [(5, Code.NOT_JSON, b"not json\n")]


def test_an_overlong_line_costs_one_row_and_not_the_next(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"x": "' + b"y" * (3 * MAX_LINE_BYTES) + b'"}\n{"image": "b"}\n')
    first, second = read_rows(path, "jsonl", "bbox")
    assert first.fault is not None and first.fault.code == Code.LINE_TOO_LONG
    assert (second.line, second.value) == (2, {"image": "b"})


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20))
def test_every_line_that_is_not_blank_is_one_row(lines: list[bytes]) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"\n".join(lines))
        rows = list(read_rows(Path(file.name), "jsonl", "bbox"))
    assert [row.line for row in rows] == [number for number, line in enumerate(lines, start=1) if line.strip()]
    assert all((row.value is None) == (row.fault is not None) for row in rows)


def test_json_is_an_array_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps([{"image": "a", "bbox": [[1, 2, 3, 4]]}, 17]))
    good, bad = read_rows(path, "json", "bbox")
    assert good.value == {"image": "a", "bbox": [[1, 2, 3, 4]]}
    assert bad.fault is not None and bad.fault.code == Code.NOT_AN_OBJECT


def test_csv_holds_boxes_as_json_text(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id,image,bbox\n7,a.jpg,"[[1, 2, 3, 4]]"\n,b.jpg,\n,NA,"[[1"\n')
    first, second, third = read_rows(path, "csv", "bbox")
    assert first.value == {"id": "7", "image": "a.jpg", "bbox": [[1, 2, 3, 4]]}
    assert second.value == {"image": "b.jpg", "bbox": None}
    assert third.fault is not None and third.fault.code == Code.BBOX_NOT_A_LIST


def test_parquet_holds_boxes_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pd.DataFrame({"image": ["a", "b"], "bbox": [[[1, 2, 3, 4]], None]}).to_parquet(path)
    assert values(path, "parquet") == [{"image": "a", "bbox": [[1, 2, 3, 4]]}, {"image": "b", "bbox": None}]


@pytest.mark.parametrize("input_format", ["json", "csv", "parquet"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b'{"image": "a"}', b'"unclosed\n1,2,3\n4'])
def test_a_file_of_another_format_is_a_fault_of_the_drop(tmp_path: Path, input_format: str, data: bytes) -> None:
    path = tmp_path / f"m.{input_format}"
    path.write_bytes(data)
    try:
        # CSV makes sense of nearly anything; then its rows lack an image, and are rejected one by one.
        assert all("image" not in (row.value or {}) for row in read_rows(path, input_format, "bbox"))  # type: ignore[arg-type]
        assert input_format == "csv"
    except DropError as error:
        assert f"cannot be read as {input_format}" in str(error)
