"""Manifests of JSON lines."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from regioncap.drop.drop import read_rows
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


def test_an_overlong_line_costs_one_row_and_not_the_next(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"x": "' + b"y" * (3 * MAX_LINE_BYTES) + b'"}\n{"image": "b"}\n')
    first, second = read_rows(path, "jsonl", "bbox")
    assert first.fault is not None and first.fault.code == Code.LINE_TOO_LONG
    assert (second.line, second.value) == (2, {"image": "b"})


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=20))
def test_every_line_that_is_not_blank_is_one_row(lines: list[bytes]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"\n".join(lines))
        rows = list(read_rows(Path(file.name), "jsonl", "bbox"))
    assert [row.line for row in rows] == [number for number, line in enumerate(lines, start=1) if line.strip()]
    assert all((row.value is None) == (row.fault is not None) for row in rows)
