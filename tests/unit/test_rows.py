"""Manifest rows: what is accepted, what is rejected, and which id a row has."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Rejected, Source
from regioncap.regions.rows import MAX_LINE_BYTES, RowReader, parse_line, reject

BOXES = [[1, 2, 30, 40]]


def read(*rows: dict[str, Any], **keys: str) -> list[PlannedRow | Rejected]:
    reader = RowReader(keys.get("image_key", "image"), keys.get("bbox_key", "bbox"))
    return [reader.read(row, Source(manifest="m.jsonl", line=number)) for number, row in enumerate(rows, start=1)]


def code_of(row: PlannedRow | Rejected) -> Code:
    assert isinstance(row, Rejected)
    return row.code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"image": "a.jpg"', Code.NOT_JSON),
        (b"plain words", Code.NOT_JSON),
        (b"[1, 2]", Code.NOT_AN_OBJECT),
        (b"null", Code.NOT_AN_OBJECT),
        (b'{"image": "\xff\xfe.jpg"}', Code.NOT_UTF8),
        (b"[" * 100_000, Code.NOT_JSON),
        (b'{"x": ' + b"9" * 5000 + b"}", Code.NOT_JSON),
        (b'"' + b"x" * MAX_LINE_BYTES + b'"', Code.LINE_TOO_LONG),
    ],
)
def test_a_line_that_is_no_object_gets_a_code(raw: bytes, code: Code) -> None:
    with pytest.raises(RowFault) as fault:
        parse_line(raw)
    assert fault.value.code == code


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (None, Code.IMAGE_MISSING),
        ("", Code.IMAGE_MISSING),
        (17, Code.IMAGE_NOT_A_PATH),
        (["a.jpg"], Code.IMAGE_NOT_A_PATH),
        ("   ", Code.IMAGE_NOT_A_PATH),
        ("a\x00.jpg", Code.IMAGE_NOT_A_PATH),
        ("\ud800.jpg", Code.IMAGE_NOT_A_PATH),
        (".", Code.IMAGE_NOT_A_PATH),
        ("x" * 2000, Code.IMAGE_NOT_A_PATH),
        ("/etc/passwd", Code.IMAGE_OUTSIDE_DROP),
        ("C:\\a.jpg", Code.IMAGE_OUTSIDE_DROP),
        ("../a.jpg", Code.IMAGE_OUTSIDE_DROP),
        ("a/../../b.jpg", Code.IMAGE_OUTSIDE_DROP),
        ("a\\..\\b.jpg", Code.IMAGE_OUTSIDE_DROP),
        ("https://example.com/a.jpg", Code.IMAGE_IS_URL),
        ("data:image/png;base64,AAAA", Code.IMAGE_IS_URL),
        ("s3://bucket/a.jpg", Code.IMAGE_IS_URL),
    ],
)
def test_an_image_that_is_no_path_inside_the_drop_is_rejected(image: object, code: Code) -> None:
    (row,) = read({"image": image, "bbox": BOXES})
    assert code_of(row) == code


@pytest.mark.parametrize("image", ["a.jpg", "sub/dir/ä ö.png", "..a.jpg", "x..y.jpg", "日本.webp"])
def test_an_ordinary_path_is_accepted_as_it_is(image: str) -> None:
    (row,) = read({"image": image, "bbox": BOXES})
    assert isinstance(row, PlannedRow) and row.image == image


@pytest.mark.parametrize(
    ("bbox", "code"),
    [
        ("1,2,3,4", Code.BBOX_NOT_A_LIST),
        ({"x": 1}, Code.BBOX_NOT_A_LIST),
        (7, Code.BBOX_NOT_A_LIST),
        ([10, 10, 20, 20], Code.BBOX_NOT_A_LIST),
        ([[1, 2, 3]], Code.WRONG_LENGTH),
        ([["1", "2", "3", "4"]], Code.NOT_A_NUMBER),
        ([[float("nan"), 0, 1, 1]], Code.NOT_FINITE),
    ],
)
def test_boxes_of_which_none_can_be_used_reject_the_row(bbox: object, code: Code) -> None:
    (row,) = read({"image": "a.jpg", "bbox": bbox})
    assert code_of(row) == code


def test_a_row_with_one_good_box_is_kept_with_all_its_boxes() -> None:
    boxes = [[1, 2, 3], [1, 2, 30, 40]]
    (row,) = read({"image": "a.jpg", "bbox": boxes})
    assert isinstance(row, PlannedRow) and row.bbox == boxes


@pytest.mark.parametrize(
    ("row", "kind"),
    [({"bbox": BOXES}, "with_bbox"), ({"bbox": None}, "with_bbox"), ({"bbox": []}, "with_bbox"), ({}, "without_bbox")],
)
def test_the_type_tells_whether_the_row_has_the_key(row: dict[str, Any], kind: str) -> None:
    (read_row,) = read({"image": "a.jpg", **row})
    assert isinstance(read_row, PlannedRow)
    assert read_row.type == kind
    assert (read_row.bbox is None) == (not row.get("bbox"))


def test_keys_can_be_named_otherwise() -> None:
    (row,) = read({"file": "a.jpg", "boxes": BOXES}, image_key="file", bbox_key="boxes")
    assert isinstance(row, PlannedRow) and (row.image, row.bbox, row.type) == ("a.jpg", BOXES, "with_bbox")


def test_a_given_id_is_kept_and_the_first_to_use_it_wins() -> None:
    rows = read({"id": "one", "image": "a.jpg"}, {"id": "one", "image": "b.jpg"}, {"id": 7, "image": "c.jpg"})
    assert [row.id for row in rows] == ["one", "one", "7"] or code_of(rows[1]) == Code.DUPLICATE_ID
    assert code_of(rows[1]) == Code.DUPLICATE_ID
    assert isinstance(rows[0], PlannedRow) and isinstance(rows[2], PlannedRow)


@pytest.mark.parametrize("identity", ["", True, 1.5, [], {}, "\ud800"])
def test_an_id_that_is_no_name_is_rejected(identity: object) -> None:
    (row,) = read({"id": identity, "image": "a.jpg"})
    assert code_of(row) == Code.ID_INVALID


def test_a_row_without_id_gets_one_from_its_content_wherever_it_stands() -> None:
    alone = read({"image": "a.jpg", "bbox": BOXES})[0]
    later = read({"image": "z.jpg"}, {"image": "a.jpg", "bbox": BOXES})[1]
    assert alone.id == later.id


def test_identical_rows_are_told_apart_by_a_count() -> None:
    rows = read(*[{"image": "a.jpg", "bbox": BOXES}] * 3)
    base = rows[0].id
    assert [row.id for row in rows] == [base, f"{base}-2", f"{base}-3"]


def test_a_rejected_row_keeps_its_id_and_is_strict_json_even_with_nan() -> None:
    (row,) = read({"id": "n1", "image": "a.jpg", "bbox": [[float("nan"), 0, 1, float("inf")]]})
    written = json.loads(line(row), parse_constant=lambda _: pytest.fail("not strict JSON"))
    assert (written["id"], written["code"]) == ("n1", "not_finite")
    assert written["row"]["bbox"] == [["NaN", 0, 1, "Infinity"]]


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["id", "image", "bbox", "other"]), JSON_VALUES))
def test_any_object_is_planned_or_rejected_and_can_be_written_down(row: dict[str, Any]) -> None:
    (outcome,) = read(row)
    json.loads(line(outcome).decode("utf-8"), parse_constant=lambda _: pytest.fail("not strict JSON"))


@given(st.binary(max_size=200))
def test_any_line_is_an_object_or_a_fault_that_can_be_written_down(raw: bytes) -> None:
    try:
        parsed = parse_line(raw)
    except RowFault as fault:
        outcome = reject(Source(manifest="m.jsonl", line=1), fault, None, raw)
        json.loads(line(outcome))
    else:
        assert isinstance(parsed, dict)
