"""A drop as it lies there: ready or not, its manifests, and their rows in every format."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.drop import drop as drops
from regioncap.drop.drop import QUIET_SECONDS, contents, not_ready, path_bytes, read_rows
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.errors import DropError
from regioncap.regions.codes import Code
from regioncap.storage.s3 import S3Store
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


def test_the_listing_tells_which_files_there_are(place: Place) -> None:
    for name in ("manifest.jsonl", "a.jpg", "deep/ä.jpg", os.fsdecode(b"\xff.jpg")):
        place.put(name, "")
    (place.drop_folder / "link.jpg").symlink_to("a.jpg")
    files = contents(place.drop, "jsonl").files
    assert all(name in files for name in ("manifest.jsonl", "a.jpg", "deep/ä.jpg", os.fsdecode(b"\xff.jpg")))
    assert not any(name in files for name in ("link.jpg", "deep", "b.jpg", "A.jpg", ""))


def test_the_drops_own_path_takes_room_from_the_paths_in_a_bucket(place: Place) -> None:
    client: Any = None
    in_bucket = S3Store(client, "drops", "straße").sub("2026-10-05")
    assert path_bytes(in_bucket) == 1024 - len("straße/2026-10-05/".encode())
    assert path_bytes(S3Store(client, "drops")) == path_bytes(place.drop) == 1024


def test_a_manifest_whose_name_is_not_utf8_is_a_fault_of_the_drop(place: Place) -> None:
    place.put(os.fsdecode(b"caf\xe9.jsonl"), "{}")
    with pytest.raises(DropError, match=r"caf\\xe9\.jsonl.* is not UTF-8: rename it"):
        contents(place.drop, "jsonl")
    # Where it is no manifest, a file may be called anything.
    place.put("m.json", "[]")
    assert contents(place.drop, "json").manifests == ["m.json"]


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


def csv_rows(tmp_path: Path, text: str | bytes) -> list[tuple[int, Any]]:
    """Each row's number, with its value or its code."""
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [(row.line, row.fault.code if row.fault else row.value) for row in read_rows(path, "csv", "bbox")]


BOX = '"[[1, 2, 3, 4]]"'
GOOD_A, GOOD_B = ({"image": name, "bbox": [[1, 2, 3, 4]]} for name in ("a.jpg", "b.jpg"))


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (f"x.jpg,{BOX},more", Code.NOT_CSV),
        (f"x,y.jpg,{BOX}", Code.NOT_CSV),
        ("x.jpg", Code.NOT_CSV),
        ("x.jpg,[[1, 2, 3, 4]]", Code.NOT_CSV),
        ('x.jpg,"[[1, 2, 3, 4]]', Code.NOT_CSV),
        ('"x.jpg,', Code.NOT_CSV),
        ('"x.jpg', Code.NOT_CSV),
        (b"caf\xe9.jpg,", Code.NOT_UTF8),
        (b'x.jpg,"[[1, 2, \xff, 4]]"', Code.NOT_UTF8),
        ("x.jpg," + "y" * (MAX_LINE_BYTES + 10), Code.LINE_TOO_LONG),
        ('x.jpg,"[[1, 2"', Code.BBOX_NOT_A_LIST),
        (f'x.jpg,"{"[" * 100_000}"', Code.BBOX_NOT_A_LIST),
    ],
)
def test_a_line_that_is_no_csv_costs_itself_and_not_the_next(tmp_path: Path, bad: str | bytes, code: Code) -> None:
    line = bad.encode() if isinstance(bad, str) else bad
    between = f"a.jpg,{BOX}\n".encode() + line + f"\nb.jpg,{BOX}\n".encode()
    assert csv_rows(tmp_path, b"image,bbox\n" + between) == [(1, GOOD_A), (2, code), (3, GOOD_B)]
    last = f"a.jpg,{BOX}\nb.jpg,{BOX}\n".encode() + line
    assert csv_rows(tmp_path, b"image,bbox\r\n" + last) == [(1, GOOD_A), (2, GOOD_B), (3, code)]


def test_a_quote_that_never_closes_swallows_no_other_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "MAX_LINE_BYTES", 1000)
    rows = csv_rows(tmp_path, 'image,bbox\n"x.jpg,\n' + "".join(f"{number}.jpg,\n" for number in range(500)))
    assert len(rows) == 501
    assert rows[0] == (1, Code.NOT_CSV)
    assert rows[1:3] == [(2, {"image": "0.jpg", "bbox": None}), (3, {"image": "1.jpg", "bbox": None})]


@pytest.mark.parametrize("bad", ['x.jpg,"[[1, 2, 3, 4]]', 'x.jpg,"[[5'])
@pytest.mark.parametrize("after", ['b.jpg,""', 'b.jpg,"[]"', 'b.jpg,"[[1, 2, 3, 4]]"', "b.jpg,"])
def test_a_quote_that_closes_in_another_row_takes_nothing_from_it(tmp_path: Path, bad: str, after: str) -> None:
    rows = csv_rows(tmp_path, f"image,bbox\n{bad}\n{after}\n")
    assert rows[0] == (1, Code.NOT_CSV)
    assert len(rows) == 2 and rows[1][1]["image"] == "b.jpg"


@pytest.mark.parametrize("stray", ['x.jpg,"', '"x.jpg,'])
def test_quotes_that_happen_to_fit_together_swallow_no_row_in_between(tmp_path: Path, stray: str) -> None:
    between = "".join(f'{number}.jpg,""\n' for number in range(50))
    rows = csv_rows(tmp_path, f"image,bbox\n{stray}\n{between}{stray}\n{between}")
    good = [(place, {"image": f"{number}.jpg", "bbox": None}) for place, number in enumerate(range(50), start=2)]
    assert rows[:52] == [(1, Code.NOT_CSV), *good, (52, Code.NOT_CSV)]
    assert len(rows) == 102


def test_lines_that_end_in_a_comma_mean_what_they_say(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, f"image,bbox\na.jpg,{BOX},\nb.jpg,{BOX},,\n") == [(1, GOOD_A), (2, GOOD_B)]
    assert csv_rows(tmp_path, f"image,bbox,\na.jpg,{BOX},\nb.jpg,{BOX}\n") == [
        (1, {**GOOD_A, "": ""}), (2, {**GOOD_B, "": ""}),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_is_read_as_programs_write_it(tmp_path: Path, end: str) -> None:
    lines = [
        "\ufeffimage,note,bbox", f'a.jpg,"one{end}two, ""three""{end}",{BOX}', "", "   ",
        f'"b.jpg",\0,"[[1,{end} 2,{end} 3, 4]]"', f'5" wide.jpg,,{BOX}', ",,",
    ]  # fmt: skip
    assert csv_rows(tmp_path, end.join(lines)) == [
        (1, {**GOOD_A, "note": f'one{end}two, "three"{end}'}),
        (2, {**GOOD_B, "note": "\0"}),
        (3, {**GOOD_A, "image": '5" wide.jpg', "note": ""}),
        (4, {"image": "", "note": "", "bbox": None}),
    ]


def test_of_csv_columns_with_one_name_the_first_counts(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, f"image,bbox,bbox\na.jpg,{BOX},other\n") == [(1, GOOD_A)]


def test_a_csv_row_may_hold_as_many_boxes_as_another(tmp_path: Path) -> None:
    boxes = [[number, 2, 3, 4] for number in range(50_000)]
    assert csv_rows(tmp_path, f'image,bbox\na.jpg,"{json.dumps(boxes)}"\n') == [
        (1, {"image": "a.jpg", "bbox": boxes}),
    ]  # fmt: skip


@given(st.lists(st.text(st.sampled_from('ab,"\r\n\0 é\udcff'), max_size=12), max_size=12))
def test_no_csv_file_is_read_for_ever_or_raises_but_as_a_whole(parts: list[str]) -> None:
    import tempfile

    data = b"image,bbox\n" + "\n".join(parts).encode("utf-8", "surrogateescape")
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        rows = list(read_rows(Path(file.name), "csv", "bbox"))
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    assert all((row.value is None) == (row.fault is not None) for row in rows)


def test_of_parquet_only_the_columns_that_count_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    out_of_range = pa.array([2**62, 1], pa.timestamp("ms"))
    table = {"id": [1, 2], "file": ["a", "b"], "boxes": [[[1, 2, 3, 4]], None], "taken": out_of_range, "x.y": [1, 2]}
    pq.write_table(pa.table(table), path)
    assert [row.value for row in read_rows(path, "parquet", "boxes", "file")] == [
        {"id": 1, "file": "a", "boxes": [[1, 2, 3, 4]]}, {"id": 2, "file": "b", "boxes": None},
    ]  # fmt: skip
    assert [row.value for row in read_rows(path, "parquet", "nothing", "x.y")] == [
        {"id": 1, "x.y": 1}, {"id": 2, "x.y": 2},
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


@pytest.mark.parametrize(
    ("input_format", "data"),
    [
        ("json", b"[" * 2000 + b"]" * 2000),
        ("json", b'[{"image": "a"}, {"image": '),
        ("json", b'[{"image": "\xff"}]'),
        ("json", b'[{"image": 1' + b"0" * 5000 + b"}]"),
        ("csv", b"image,\xff\na.jpg,\n"),
        ("csv", b'"image\na.jpg,\n'),
        ("parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    ],
)
def test_a_manifest_that_cannot_be_read_as_a_whole_is_named(tmp_path: Path, input_format: str, data: bytes) -> None:
    path = tmp_path / "copy"
    path.write_bytes(data)
    with pytest.raises(DropError, match=rf"the manifest street\.m cannot be read as {input_format}"):
        list(read_rows(path, input_format, "bbox", name="street.m"))  # type: ignore[arg-type]


def test_memory_that_runs_out_and_a_disk_that_fails_are_no_fault_of_the_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.json"
    path.write_text("[]")
    for error in (MemoryError(), OSError(5, "Input/output error")):

        def fail(text: bytes, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(json, "loads", fail)
        with pytest.raises(type(error)):
            list(read_rows(path, "json", "bbox"))
