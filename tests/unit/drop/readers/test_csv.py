"""Manifests of comma-separated values."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.drop.drop import read_rows
from regioncap.drop.readers import csv as csv_reader
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.errors import DropError
from regioncap.regions.codes import Code
from tests.builders import Place


def test_csv_holds_boxes_as_json_text(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id,image,bbox\n7,a.jpg,"[[1, 2, 3, 4]]"\n,b.jpg,\n,NA,"[[1"\n')
    first, second, third = read_rows(path, "csv", "bbox")
    assert first.value == {"id": "7", "image": "a.jpg", "bbox": [[1, 2, 3, 4]]}
    assert second.value == {"image": "b.jpg", "bbox": None}
    assert third.fault is not None and third.fault.code == Code.BBOX_NOT_A_LIST


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "None", "null", "NULL", "<NA>"])
def test_by_what_tables_say_that_there_is_nothing_is_no_id_and_no_boxes(tmp_path: Path, nothing: str) -> None:
    rows = csv_rows(tmp_path, f"id,image,bbox\n{nothing},a.jpg,{nothing}\nNA,{nothing},\n")
    assert rows == [(1, {"image": "a.jpg", "bbox": None}), (2, {"id": "NA", "image": nothing, "bbox": None})]


@pytest.mark.parametrize("header", ["image , bbox,id ", '"image"," bbox",\tid', "image ; bbox; id"])
def test_spaces_around_the_names_of_columns_are_not_of_the_names(tmp_path: Path, header: str) -> None:
    mark = ";" if ";" in header else ","
    (row,) = csv_rows(tmp_path, f"{header}\na.jpg{mark}{BOX}{mark}7\n")
    assert row == (1, {**GOOD_A, "id": "7"})


@pytest.mark.parametrize("said", ["", "sep={}\n", "\ufeffsep={}\r\n", '"sep={}"\n'])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_cells_are_parted_by_what_the_file_says_or_its_header(tmp_path: Path, mark: str, said: str) -> None:
    lines = mark.join(["image", "bbox", "note"]), mark.join(["a.jpg", BOX, f'"x{mark}y"'])
    rows = csv_rows(tmp_path, said.format(mark) + "\n".join(lines))
    assert rows == [(1, {**GOOD_A, "note": f"x{mark}y"})]


@pytest.mark.parametrize("mark", [",", ";", ", "])
def test_a_name_of_a_column_may_have_several_lines(tmp_path: Path, mark: str) -> None:
    header = mark.join(['"two\nlines"', "image", "bbox"])
    (row,) = csv_rows(tmp_path, f"\n\n{header}\n{mark.join(['x', 'a.jpg', BOX])}\n")
    assert row == (1, {**GOOD_A, "two\nlines": "x"})


def test_spaces_behind_what_parts_cells_are_those_of_the_header(tmp_path: Path) -> None:
    text = f'image, note, bbox\na.jpg, "x, y", {BOX}\nb.jpg,  two\n words, {BOX}\nb.jpg, "one\n two", {BOX}\n'
    assert csv_rows(tmp_path, text) == [
        (1, {**GOOD_A, "note": "x, y"}), (2, Code.NOT_CSV), (3, Code.NOT_CSV), (4, {**GOOD_B, "note": "one\n two"}),
    ]  # fmt: skip
    assert csv_rows(tmp_path, f'"image", "a, note", "bbox"\na.jpg, "x", {BOX}\n') == [(1, {**GOOD_A, "a, note": "x"})]
    assert csv_rows(tmp_path, f"image,note,bbox\na.jpg, x,{BOX}\n") == [(1, {**GOOD_A, "note": " x"})]


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
    monkeypatch.setattr(csv_reader, "MAX_LINE_BYTES", 1000)
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
    data = b"image,bbox\n" + "\n".join(parts).encode("utf-8", "surrogateescape")
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        rows = list(read_rows(Path(file.name), "csv", "bbox"))
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    assert all((row.value is None) == (row.fault is not None) for row in rows)


@pytest.mark.parametrize("input_format", ["csv", "parquet"])
def test_a_table_with_a_box_a_row_is_not_taken_for_one_without_boxes(place: Place, input_format: str) -> None:
    columns = {"image": ["a.jpg"], "xmin": [10], "ymin": [20], "xmax": [50], "ymax": [60], "label": ["dog"]}
    place.put("a.jpg", b"x")
    out = io.BytesIO()
    if input_format == "csv":
        pacsv.write_csv(pa.table(columns), out)
    else:
        pq.write_table(pa.table(columns), out)
    place.put(f"m.{input_format}", out.getvalue())
    with pytest.raises(DropError, match=r"the numbers of a box in fields of their own \(xmin, ymin, xmax, ymax\)"):
        place.plan(input_format=input_format)
