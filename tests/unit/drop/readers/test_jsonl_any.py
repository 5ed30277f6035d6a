"""JSON lines as they come."""

import json
from typing import Any

import pytest

from regioncap.regions.boxes import BoxFormat
from tests.builders import Place, encoded, picture
from tests.unit.cli.test_check import checked
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of


@pytest.fixture(autouse=True)
def images(place: Place) -> None:
    put_images(place, "", ["a.jpg", "b.jpg"])


SIDES = {"x": 12, "y": 41, "width": 104, "height": 107}
CORNERS = {"xmin": 12, "ymin": 41, "xmax": 116, "ymax": 148}


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ({"bbox": [12, 41, 104, 107]}, None),
        ({"bbox": [12, 41, 104, 107], "label": "dog"}, ["dog"]),
        ({"bbox": [[12, 41, 104, 107]], "label": ["dog"]}, ["dog"]),
        ({"bbox": "[12, 41, 104, 107]"}, None),
        ({"bbox": "12 41 104 107", "category": "dog"}, ["dog"]),
        ({"bbox": "12, 41, 104.0, 107"}, None),
        ({"bbox": ["[12, 41, 104, 107]"]}, None),
        ({"bbox": SIDES}, None),
        ({"bbox": CORNERS | {"label": "dog"}}, ["dog"]),
        ({"bbox": [SIDES | {"class": "dog"}]}, ["dog"]),
        ({"bbox": [{"bbox": [12, 41, 104, 107], "label": "dog"}]}, ["dog"]),
        ({"objects": [{"box": CORNERS, "name": "dog"}]}, ["dog"]),
        ({"objects": [{"bbox": "[12, 41, 104, 107]", "name": "dog"}]}, ["dog"]),
        ({"objects": {"bbox": [[12, 41, 104, 107]], "category": ["dog"]}}, ["dog"]),
        ({"annotations": [SIDES | {"category_name": "dog"}]}, ["dog"]),
        ({"x1": 12, "y1": 41, "x2": 116, "y2": 148, "label": "dog"}, ["dog"]),
        ({"left": 12, "top": 41, "width": 104, "height": 107}, None),
        ({"bboxes": [[12, 41, 104, 107]], "categories": ["dog"]}, ["dog"]),
        ({"objects": [SIDES], "labels": ["dog"]}, ["dog"]),
        ({"annotations": [{"bbox": [12, 41, 116, 148], "bbox_mode": 0, "category": "dog"}]}, ["dog"]),
        ({"annotations": [{"bbox": [12, 41, 104, 107], "bbox_mode": 1}]}, None),
        ({"bbox": {"cx": 64, "cy": 94.5, "w": 104, "h": 107}}, None),
    ],
)
def test_boxes_in_many_forms_are_read(place: Place, row: dict[str, Any], labels: list[str] | None) -> None:
    place.put_rows({"image": "a.jpg", "split": "val", **row})
    expected = {"image": "a.jpg", "split": "val", "bbox": [[12, 41, 104, 107]]}
    assert values_of(place, "jsonl_any") == [expected if labels is None else {**expected, "labels": labels}]
    assert place.plan(input_format="auto").settings.input_format == "jsonl_any"


def test_numbers_of_classes_beside_boxes_are_no_labels(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": [[12, 41, 104, 107]], "category": [3]})
    assert "labels" not in values_of(place, "jsonl_any")[0]
    plan = place.plan(input_format="jsonl_any")
    assert plan.warnings == ["1 boxes are of classes that have no name in the drop, and have no label"]


def test_rows_in_the_usual_form_are_what_they_are(place: Place) -> None:
    rows = [
        {"image": "a.jpg", "bbox": [[1, 2, 30, 40]], "labels": ["dog"], "id": 3, "width": 120},
        {"image": "b.jpg"},
        {"image": "b.jpg", "bbox": None},
        {"image": "b.jpg", "bbox": [], "x": 1},
        {"image": "b.jpg", "bbox": [[1, 2], [3]]},
        {"image": "b.jpg", "bbox": "all"},
        {"image": "b.jpg", "bbox": "[[12, 41, 104, 107]]"},
        {"image": "b.jpg", "objects": ["dog", "cat"], "width": 12, "height": 10},
    ]
    place.put_rows(*rows)
    assert values_of(place, "jsonl_any") == rows
    assert place.plan(input_format="auto").settings.input_format == "jsonl"


def test_a_box_a_row_is_grouped_by_its_image(place: Place) -> None:
    lines = [("a.jpg", [1, 2, 30, 40], "dog"), ("b.jpg", [5, 5, 9, 9], None), ("a.jpg", [3, 4, 50, 60], "cat")]
    place.put_rows(
        *({"id": n, "image": image, "bbox": box, "label": label, "split": "val"} for n, (image, box, label) in
          enumerate(lines)),
        {"image": "b.jpg", "bbox": [[7, 7, 7, 7]]},
        {"image": "b.jpg", "bbox": [8, 8, "x", 8]},
        {"bbox": [8, 8, 8, 8]},
        "nothing",
    )  # fmt: skip
    rows = [(row.line, row.value) for _, row in rows_of(place, "jsonl_any")]
    assert rows == [
        (1, {"image": "a.jpg", "split": "val", "bbox": [[1, 2, 30, 40], [3, 4, 50, 60]], "labels": ["dog", "cat"]}),
        (2, {"id": 1, "image": "b.jpg", "split": "val", "bbox": [[5, 5, 9, 9]]}),
        (4, {"image": "b.jpg", "bbox": [[7, 7, 7, 7]]}),
        (5, {"image": "b.jpg", "bbox": [8, 8, "x", 8]}),
        (6, {"bbox": [8, 8, 8, 8]}),
        (7, None),
    ]
    assert [(line, code) for _, line, code, _ in faults_of(place, "jsonl_any")] == [(7, "not_json")]


@pytest.mark.parametrize(
    ("box_format", "wanted"),
    [
        ("xywh", [12, 41, 104, 107]), ("xyxy", [12, 41, 116, 148]), ("yxyx_norm", [41, 12, 148, 116]),
        ("cxcywh", [64, 94.5, 104, 107]),
    ],
)  # fmt: skip
def test_named_numbers_are_what_their_names_say_in_the_runs_own_layout(
    place: Place, box_format: BoxFormat, wanted: list[float]
) -> None:
    place.put_rows({"image": "a.jpg", "bbox": [CORNERS, {"left": 12, "top": 41, "width": 104, "height": 107}]})
    ((_, row),) = rows_of(place, "jsonl_any", box_format)
    assert row.value is not None and row.value["bbox"] == [wanted, wanted]


def test_x_and_y_are_a_centre_where_the_param_says_so(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": [SIDES]})
    ((_, row),) = rows_of(place, "jsonl_any", "cxcywh")
    assert row.value is not None and row.value["bbox"] == [[12, 41, 104, 107]]


def test_boxes_that_say_what_they_are_are_that_in_the_runs_own_layout(place: Place) -> None:
    modes = [([12, 41, 116, 148], 0), ([12, 41, 104, 107], 1), ([0.1, 0.2, 0.3, 0.4], 2), ([1, 2, 3, 4], "x")]
    place.put_rows({"image": "a.jpg", "objects": [{"bbox": box, "bbox_mode": mode} for box, mode in modes]})
    ((_, row),) = rows_of(place, "jsonl_any", "xyxy")
    assert row.value is not None and row.value["bbox"] == [[12, 41, 116, 148]] * 2 + [
        [0.1, 0.2, 0.3, 0.4],
        [1, 2, 3, 4],
    ]


def test_the_size_of_the_image_is_not_that_of_its_box(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "x": 12, "y": 41, "w": 104, "h": 107, "width": 640, "height": 480})
    (row,) = values_of(place, "jsonl_any")
    assert row == {"image": "a.jpg", "width": 640, "height": 480, "bbox": [[12, 41, 104, 107]]}


def test_the_params_own_keys_are_used(place: Place) -> None:
    place.put("m.jsonl", json.dumps({"file": "a.jpg", "boxes": [SIDES]}) + "\n")
    plan = place.plan(input_format="jsonl_any", image_key="file", bbox_key="boxes")
    assert (plan.rows, plan.rejected) == (1, 0)


def test_one_drop_with_every_form_is_read_and_its_boxes_fit(place: Place) -> None:
    place.put("a.jpg", encoded(picture(640, 480)))
    place.put_rows(
        {"id": "vg", "image": "a.jpg", "bbox": [{"x": 330, "y": 40, "width": 120, "height": 120}]},
        {"id": "flat", "image": "a.jpg", "bbox": [330, 40, 120, 120]},
        {"id": "text", "image": "a.jpg", "bbox": "[[330, 40, 120, 120]]"},
    )
    found = checked(place, input_format="auto")
    assert (found["rows"], found["usable"], found["rejected"]) == (3, 3, [])
    assert [image["regions"][0]["bbox"] for image in found["images"]] == [[330, 40, 120, 120]] * 3
    assert found["warnings"][0] == "the drop's manifests are read as jsonl_any (manifest.jsonl)"


def test_the_default_reads_what_it_always_did(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": [12, 41, 104, 107]}, {"image": "b.jpg", "bbox": [[1, 2, 3, 4]]})
    plan = place.plan()
    assert (plan.rows, plan.rejected) == (2, 1)
