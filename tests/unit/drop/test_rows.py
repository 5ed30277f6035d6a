"""Manifest rows: what is accepted, what is rejected, and which id a row has."""

import json
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.drop.rows import MAX_DEPTH, MAX_LINE_BYTES, RowReader, parse_line, reject
from regioncap.errors import RowError
from regioncap.regions.codes import Code
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Rejected, Source

BOXES = [[1, 2, 30, 40]]


class Listed(set[str]):
    def near(self, path: str) -> list[str]:
        return sorted(name for name in self if name.lower() == path.lower())


def read(*rows: dict[str, Any], files: Iterable[str] = (), **changes: Any) -> list[PlannedRow | Rejected]:
    reader = RowReader(**{"image_key": "image", "bbox_key": "bbox", "files": Listed(files), **changes})
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
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", Code.TOO_DEEP),
        (b'{"x":' * 100_000 + b"1" + b"}" * 100_000, Code.TOO_DEEP),
        (b'"' + b"x" * MAX_LINE_BYTES + b'"', Code.LINE_TOO_LONG),
    ],
)
def test_a_line_that_is_no_object_gets_a_code(raw: bytes, code: Code) -> None:
    with pytest.raises(RowError) as fault:
        parse_line(raw)
    assert fault.value.code == code


def test_a_row_without_an_image_is_told_where_it_was_looked_for() -> None:
    for row in ({"file": "a.jpg"}, {"picture": ""}, {"picture": math.nan}):
        (rejected,) = read(row, image_key="picture")
        assert isinstance(rejected, Rejected) and rejected.code == Code.IMAGE_MISSING
        assert rejected.reason == (
            "the row names no image: there is nothing under 'picture', which the param image_key says"
        )


@pytest.mark.parametrize(
    ("image", "there"),
    [
        ("a%20b.jpg", "a b.jpg"), (" a b.jpg ", "a b.jpg"), ("A%20B.jpg", "a b.jpg"), ("s/caf%C3%A9.jpg", "s/café.jpg"),
        ("s\\caf%C3%A9.jpg", "s/café.jpg"),
    ],
)  # fmt: skip
def test_a_file_that_is_nearly_called_so_is_named_and_not_taken(image: str, there: str) -> None:
    (rejected,) = read({"image": image}, files=["a b.jpg", "s/café.jpg", "100%25.jpg"])
    assert isinstance(rejected, Rejected) and rejected.code == Code.IMAGE_NOT_FOUND
    assert rejected.reason == f"there is no such file in the drop, but {there!r}: write its name as it is"


@pytest.mark.parametrize("image", ["100%25.jpg", "%2e%2e/a b.jpg", "x%20y.jpg", "%FF.jpg"])
def test_a_name_with_escapes_is_first_of_all_a_name(image: str) -> None:
    (row,) = read({"image": image}, files=["a b.jpg", "100%25.jpg", "100%.jpg"])
    assert isinstance(row, PlannedRow) and row.image == image


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
        ("S3:bucket/a.jpg", Code.IMAGE_IS_URL),
        ("file:/etc/passwd", Code.IMAGE_IS_URL),
        ("anything+new://a.jpg", Code.IMAGE_IS_URL),
        ("./.", Code.IMAGE_NOT_A_PATH),
        (math.nan, Code.IMAGE_MISSING),
    ],
)
def test_an_image_that_is_no_path_inside_the_drop_is_rejected(image: object, code: Code) -> None:
    (row,) = read({"image": image, "bbox": BOXES})
    assert code_of(row) == code


@pytest.mark.parametrize(
    "image",
    [
        "a.jpg", "sub/dir/ä ö.png", "..a.jpg", "x..y.jpg", "日本.webp", "frame-00:01:02.jpg", "T12:00/a.jpg",
        "a b+c%2F.jpg", "s3.jpg", "data/a.jpg",
    ],
)  # fmt: skip
def test_an_ordinary_path_is_accepted_as_it_is(image: str) -> None:
    (row,) = read({"image": image, "bbox": BOXES})
    assert isinstance(row, PlannedRow) and row.image == image


@pytest.mark.parametrize(
    "image", ["./street/20.jpg", "street//20.jpg", "street/./20.jpg", ".//street/20.jpg", "street/20.jpg/"]
)
def test_one_file_has_one_path_however_it_is_written(image: str) -> None:
    plain, odd = read({"image": "street/20.jpg", "bbox": BOXES})[0], read({"image": image, "bbox": BOXES})[0]
    assert isinstance(odd, PlannedRow) and odd.image == "street/20.jpg"
    assert odd.id == plain.id


def test_a_file_that_is_listed_under_the_very_path_as_given_is_that_file() -> None:
    files = {"a//b.jpg", "a/b.jpg", "back\\slash.jpg", "back/slash.jpg"}
    rows = read({"image": "a//b.jpg"}, {"image": "back\\slash.jpg"}, files=files)
    assert [row.image for row in rows if isinstance(row, PlannedRow)] == ["a//b.jpg", "back\\slash.jpg"]


def test_a_backslash_separates_folders_where_that_leads_to_a_file() -> None:
    rows = read({"image": "street\\20.jpg"}, {"image": ".\\street\\21.jpg"}, files={"street/20.jpg"})
    assert [row.image for row in rows if isinstance(row, PlannedRow)] == ["street/20.jpg", ".\\street\\21.jpg"]


def test_an_image_is_found_under_nearly_its_name_where_that_is_one_file_alone() -> None:
    files = {"Street/IMG.JPG", "b.jpg", "B.jpg"}
    found, twice, exact = read({"image": "street\\img.jpg"}, {"image": "B.JPG"}, {"image": "B.jpg"}, files=files)
    assert isinstance(found, PlannedRow) and found.image == "Street/IMG.JPG"
    assert code_of(twice) == Code.IMAGE_NOT_FOUND and "'B.jpg', 'b.jpg'" in twice.reason  # type: ignore[union-attr]
    assert isinstance(exact, PlannedRow) and exact.image == "B.jpg"


@pytest.mark.parametrize(
    ("image", "path_bytes"), [("图" * 400 + ".jpg", 1024), ("a/" * 300 + "a.jpg", 600), ("é" * 130, 1024)]
)
def test_a_path_of_more_bytes_than_a_store_can_hold_is_not_found(image: str, path_bytes: int) -> None:
    (row,) = read({"image": image, "bbox": BOXES}, path_bytes=path_bytes)
    assert code_of(row) == Code.IMAGE_NOT_FOUND
    assert "bytes" in row.reason  # type: ignore[union-attr]
    (listed,) = read({"image": image, "bbox": BOXES}, path_bytes=path_bytes, files={image})
    assert isinstance(listed, PlannedRow)


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


@pytest.mark.parametrize(
    ("bbox", "told"),
    [
        ([{"x": 1, "y": 2, "width": 30, "height": 40}], ["[x, y, width, height]", "xywh"]),
        ([{"x": 1, "y": 2, "w": 30, "h": 40, "object_id": 7}], ["[x, y, w, h]", "cxcywh if x and y are its centre"]),
        ({"x": 1, "y": 2, "width": 30, "height": 40}, ["[[x, y, width, height]]", "xywh"]),
        ([{"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}], ["[xmin, ymin, xmax, ymax]", "xyxy"]),
        ([{"x1": 1, "y1": 2, "x2": 30, "y2": 40}], ["[x1, y1, x2, y2]", "xyxy"]),
        ([{"left": 1, "top": 2, "width": 30, "height": 40}], ["[left, top, width, height]", "xywh"]),
        ([{"left": 1, "top": 2, "right": 30, "bottom": 40}], ["[left, top, right, bottom]", "xyxy"]),
        ([{"label": "dog", "points": [1, 2]}], ["four numbers"]),
        ([1, 2, 30, 40], ["[[x, y, w, h]]"]),
    ],
)
def test_boxes_of_another_shape_are_rejected_with_how_to_write_them(bbox: object, told: list[str]) -> None:
    (row,) = read({"image": "a.jpg", "bbox": bbox})
    assert isinstance(row, Rejected)
    assert all(text in row.reason for text in told), row.reason


def test_what_an_object_has_for_names_is_not_repeated_unless_they_are_those_of_boxes() -> None:
    (row,) = read({"image": "a.jpg", "bbox": [{"\x1b[2J": 1, "x" * 5000: 2}]})
    assert isinstance(row, Rejected) and len(row.reason) < 300 and "\x1b" not in row.reason


@pytest.mark.parametrize("text", ["[[1, 2, 30, 40]]", " [[1,2,30,40]]\n"])
def test_boxes_in_a_text_are_read_as_in_a_table(text: str) -> None:
    rows = read({"image": "a.jpg", "bbox": text}, {"image": "a.jpg", "bbox": [[1, 2, 30, 40]]})
    assert [row.bbox for row in rows if isinstance(row, PlannedRow)] == [[[1, 2, 30, 40]]] * 2


@pytest.mark.parametrize("text", ["[[1, 2, 30", "[" * 100_000 + "]" * 100_000, "[1]" * 3, "7", '{"x": 1}', "null"])
def test_a_text_that_is_no_list_of_boxes_rejects_the_row(text: str) -> None:
    (row,) = read({"image": "a.jpg", "bbox": text})
    assert code_of(row) == Code.BBOX_NOT_A_LIST


def test_boxes_in_a_text_are_not_nested_deeper_than_others() -> None:
    deep = "[[1, 2, 30, 40], " + "[" * 100 + "]" * 100 + "]"
    (row,) = read({"image": "a.jpg", "bbox": deep})
    assert code_of(row) == Code.TOO_DEEP


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


@pytest.mark.parametrize(("given", "identity"), [(17.0, "17"), (-3.0, "-3"), (float(2**53 - 1), str(2**53 - 1))])
def test_an_integer_that_became_a_float_on_its_way_is_that_integer(given: float, identity: str) -> None:
    (row,) = read({"id": given, "image": "a.jpg"})
    assert isinstance(row, PlannedRow) and row.id == identity


@pytest.mark.parametrize("given", [math.inf, -math.inf, 2.0**53, 1e300, 0.1])
def test_a_float_that_may_stand_for_several_integers_is_no_id(given: float) -> None:
    (row,) = read({"id": given, "image": "a.jpg"})
    assert code_of(row) == Code.ID_INVALID


def test_a_number_that_is_no_id_is_told_why() -> None:
    for identity, why in ((2.0**60, "a number with decimals, or too large to be exact"), (True, "a JSON boolean")):
        (row,) = read({"id": identity, "image": "a.jpg"}, files=["a.jpg"])
        assert isinstance(row, Rejected) and why in row.reason


def test_nan_means_not_given() -> None:
    plain, nan = (read({"id": given, "image": "a.jpg", "bbox": given})[0] for given in (None, math.nan))
    assert isinstance(nan, PlannedRow) and nan == plain


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"inner": value}
    return value


@pytest.mark.parametrize("key", ["bbox", "image", "id", "other"])
@pytest.mark.parametrize("levels", [MAX_DEPTH, 200, 250, 300, 900])
def test_a_row_that_is_nested_too_deep_is_rejected_and_can_be_written_down(key: str, levels: int) -> None:
    (row,) = read({"image": "a.jpg", "bbox": BOXES, key: nested(levels)})
    assert code_of(row) == Code.TOO_DEEP
    Rejected.model_validate_json(line(row))


def test_a_row_that_is_nested_as_deep_as_it_may_be_is_planned() -> None:
    (row,) = read({"image": "a.jpg", "bbox": [*BOXES, nested(MAX_DEPTH - 2)]})
    assert isinstance(row, PlannedRow)
    assert PlannedRow.model_validate_json(line(row)) == row


@pytest.mark.parametrize(
    "row",
    [
        {"image": 17, **{f"column-{number}": "x" * 100 for number in range(5_000)}},
        {"image": 17, "bbox": [[1, 2, 3, 4]] * 50_000},
        {"image": 17, "text": "y" * 3_000_000},
        "z" * 3_000_000,
        ["z" * 100] * 50_000,
        b"\xff" * 3_000_000,
    ],
)
def test_what_is_echoed_of_a_row_is_bounded(row: Any) -> None:
    rejected = reject(Source(manifest="m.jsonl", line=1), RowError(Code.NOT_AN_OBJECT, "no"), None, row)
    assert 1_000 < len(line(rejected)) < 20_000


def test_a_row_of_ordinary_size_is_echoed_as_it_is() -> None:
    row = {"image": 17, "bbox": [[1.5, 2, 30, 40]] * 100, "note": "as it is"}
    (rejected,) = read(row)
    assert isinstance(rejected, Rejected) and rejected.row == row


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
    except RowError as fault:
        outcome = reject(Source(manifest="m.jsonl", line=1), fault, None, raw)
        json.loads(line(outcome))
    else:
        assert isinstance(parsed, dict)


def test_labels_belong_to_the_boxes_as_given_and_other_fields_are_carried_where_they_are_asked_for() -> None:
    row = {"image": "a.jpg", "bbox": [[1, 2, 30, 40], ["x"]], "labels": ["cat", None], "camera": "front", "id": 7}
    plain, kept = read(row, {**row, "id": 8}), read(row, keep=("*",))
    assert isinstance(plain[0], PlannedRow) and isinstance(kept[0], PlannedRow)
    assert plain[0].labels == ["cat", None] and plain[0].source is None
    assert kept[0].source == {"camera": "front"}


def test_a_row_without_labels_is_written_as_before_there_were_any() -> None:
    (row,) = read({"image": "a.jpg", "bbox": BOXES, "camera": "front"})
    assert b"labels" not in line(row) and b"source" not in line(row)


def test_a_field_labels_about_something_else_costs_no_row() -> None:
    reader = RowReader("image", "bbox", Listed())
    row = reader.read({"image": "a.jpg", "bbox": BOXES, "labels": ["outdoor", "day"]}, Source(manifest="m", line=1))
    assert isinstance(row, PlannedRow) and row.labels is None
    assert reader.unlabelled == 1
