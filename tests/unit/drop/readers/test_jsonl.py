"""Manifests of JSON lines."""

import codecs
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from regioncap.drop.drop import read_rows
from regioncap.drop.readers import jsonl
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.regions.codes import Code


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


def test_files_with_a_mark_that_were_put_behind_one_another_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\r\n{"image": "a"}\n\xef\xbb\xbf{"image": "b"}\n\xef\xbb\xbf\n')
    assert [(row.line, row.value) for row in read_rows(path, "jsonl", "bbox")] == [
        (2, {"image": "a"}), (3, {"image": "b"}),
    ]  # fmt: skip


def test_lines_may_end_in_carriage_returns_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    long = b'{"x": "' + b"y" * (2 * MAX_LINE_BYTES) + b'"}'
    path.write_bytes(b'\r{"image": "a"}\r\rnot json\r' + long + b'\r{"image": "\xc3\xa9"}\r')
    assert [(row.line, row.value or (row.fault and row.fault.code)) for row in read_rows(path, "jsonl", "bbox")] == [
        (2, {"image": "a"}), (4, Code.NOT_JSON), (5, Code.LINE_TOO_LONG), (6, {"image": "é"}),
    ]  # fmt: skip
    assert jsonl.READER.count is not None and jsonl.READER.count(path) == 7
    path.write_bytes(b'{"x":\r"' + long + b'"}\n{"image": "a"}\n')
    assert [row.value for row in read_rows(path, "jsonl", "bbox")] == [None, {"image": "a"}]
    path.write_bytes(b'{"image": "a"}\n{"image":\r"b"}\r\n')
    assert [row.value for row in read_rows(path, "jsonl", "bbox")] == [{"image": "a"}, {"image": "b"}]


def test_what_is_no_json_is_told_by_its_place_in_the_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"image": "a"}\n{"image": "b"},\n')
    _, row = read_rows(path, "jsonl", "bbox")
    assert row.fault is not None and row.fault.reason == "the line is not JSON at its character 15: Extra data"


def test_an_overlong_line_costs_one_row_and_not_the_next(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"x": "' + b"y" * (3 * MAX_LINE_BYTES) + b'"}\n{"image": "b"}\n')
    first, second = read_rows(path, "jsonl", "bbox")
    assert first.fault is not None and first.fault.code == Code.LINE_TOO_LONG
    assert (second.line, second.value) == (2, {"image": "b"})


@given(st.lists(st.binary(max_size=40).filter(lambda line: not {*b"\n\r"} & {*line}), max_size=20))
def test_every_line_that_is_not_blank_is_one_row(lines: list[bytes]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"\n".join(lines))
        rows = list(read_rows(Path(file.name), "jsonl", "bbox"))
    blank = [not line.removeprefix(codecs.BOM_UTF8).strip() for line in lines]
    assert [row.line for row in rows] == [number for number, skipped in enumerate(blank, start=1) if not skipped]
    assert all((row.value is None) == (row.fault is not None) for row in rows)
