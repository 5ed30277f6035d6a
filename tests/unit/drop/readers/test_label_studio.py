"""Label Studio's exports, whole and in short."""

import json
from typing import Any

import pytest

from regioncap.errors import DropError
from tests.builders import Place
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of


def box(label: str | None, *numbers: Any, rotation: float = 0, **more: Any) -> dict[str, Any]:
    value: dict[str, Any] = dict(zip(("x", "y", "width", "height"), numbers, strict=False)) | {"rotation": rotation}
    if label is not None:
        value["rectanglelabels"] = [label]
    kind = "rectanglelabels" if label is not None else "rectangle"
    return {"type": kind, "value": value, "original_width": 200, "original_height": 100, **more}


def task(number: int, image: Any, *annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image, **data}, "annotations": list(annotations), "predictions": []}


def put(place: Place, *tasks: Any) -> None:
    place.put("export.json", json.dumps(tasks))


@pytest.fixture(autouse=True)
def images(place: Place) -> None:
    put_images(place, "media", ["a.jpg", "0f1e2d3c-b.jpg", "c d.jpg"])


def test_boxes_stay_in_percent_and_other_fields_of_the_data_are_kept(place: Place) -> None:
    put(place, task(5, "a.jpg", {"result": [box("dog", 10, 20, 30, 40.5)]}, source_url="x", weather="rain"))
    assert values_of(place, "label_studio") == [
        {
            "image": "media/a.jpg", "id": 5, "source_url": "x", "weather": "rain", "width": 200, "height": 100,
            "bbox": [[10, 20, 30, 40.5]], "labels": ["dog"],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "image"),
    [
        ("/data/upload/3/0f1e2d3c-b.jpg", "media/0f1e2d3c-b.jpg"),
        ("/data/upload/3/99aabbcc-a.jpg", "media/a.jpg"),
        ("/data/local-files/?d=some/where/media/c%20d.jpg", "media/c d.jpg"),
        ("s3://bucket/some/media/a.jpg", "media/a.jpg"),
        ("https://host/x/a.jpg?token=1", "media/a.jpg"),
        ("/tasks/7/presign/?fileuri=czM6Ly9idWNrZXQvc29tZS9tZWRpYS9hLmpwZw==", "media/a.jpg"),
        ("/tasks/7/presign/?fileuri=%21", ""),
        ("https://host/x/none.jpg", "https://host/x/none.jpg"),
        ("/data/upload/3/none.jpg", "none.jpg"),
        (None, None),
    ],
)
def test_images_are_found_by_their_names_whatever_server_they_lie_on(place: Place, said: Any, image: Any) -> None:
    put(place, task(1, said, {"result": [box("dog", 1, 2, 3, 4)]}))
    assert values_of(place, "label_studio")[0]["image"] == image


def test_of_several_annotations_the_one_that_is_true_or_else_the_first_is_read(place: Place) -> None:
    cancelled = {"was_cancelled": True, "result": [box("x", 9, 9, 9, 9)]}
    one, two = ({"result": [box(name, 1, 2, 3, 4)]} for name in ("one", "two"))
    put(
        place,
        task(1, "a.jpg", cancelled, one, two),
        task(2, "a.jpg", one, {**two, "ground_truth": True}),
        task(3, "a.jpg"),
    )
    assert [row.get("labels") for row in values_of(place, "label_studio")] == [["one"], ["two"], None]


def test_a_box_and_its_label_may_be_two_results_and_other_shapes_are_left_out(place: Place) -> None:
    results = [
        box(None, 1, 2, 3, 4, id="k"),
        {"id": "k", "type": "labels", "value": {"labels": ["dog"], "x": 1}},
        {"id": "m", "type": "brushlabels", "value": {"rle": [1], "brushlabels": ["sky"]}},
        {"id": "n", "type": "choices", "value": {"choices": ["good"]}},
        {"id": "o", "type": "polygonlabels", "value": {"points": [[1, 2], [5, 9], [3, 1]], "polygonlabels": ["cat"]}},
        {"id": "p", "type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["nose"]}},
        box("bad", 1, "2", 3, id="q"),
        "nothing",
    ]  # fmt: skip
    put(place, task(1, "a.jpg", {"result": results}))
    (row,) = values_of(place, "label_studio")
    assert row["bbox"] == [[1, 2, 3, 4], [1, 1, 4, 8], [1, "2", 3, None]] and row["labels"] == ["dog", "cat", "bad"]


def test_a_turned_box_becomes_the_box_around_it_in_pixels(place: Place) -> None:
    # 40 x 10 pixels at (20, 10), turned by a quarter about that corner: it goes down 40, and left 10.
    put(place, task(1, "a.jpg", {"result": [box("dog", 10, 10, 20, 10, rotation=90)]}))
    assert values_of(place, "label_studio")[0]["bbox"] == [pytest.approx([5, 10, 5, 40])]


def test_annotations_of_another_tool_are_not_taken_for_tasks(place: Place) -> None:
    boxes = [{"label": "dog", "coordinates": {"x": 30, "y": 35, "width": 40, "height": 30}}]
    put(place, {"image": "a.jpg", "annotations": boxes})
    with pytest.raises(DropError, match=r"Not read is export\.json, which is of CreateML"):
        place.plan(input_format="auto")
    assert [fault[2:] for fault in faults_of(place, "label_studio")] == [
        ("not_an_object", "its annotations have no results: they are of another tool")
    ]


def test_the_short_form_is_read(place: Place) -> None:
    short = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["dog"]}
    size = {"original_width": 200, "original_height": 100}
    put(place, {"id": 4, "image": "/data/upload/1/a.jpg", "label": [{**short, **size}], "annotator": 1})
    assert values_of(place, "label_studio") == [
        {"image": "media/a.jpg", "id": 4, "annotator": 1, "width": 200, "height": 100, "bbox": [[10, 20, 30, 40]],
         "labels": ["dog"]}
    ]  # fmt: skip
    assert place.plan(input_format="auto").settings.input_format == "label_studio"


def test_a_bad_task_costs_itself_and_a_file_of_another_kind_is_named(place: Place) -> None:
    put(place, 7, task(1, "a.jpg"), {"id": 2}, {"data": 5, "annotations": {"result": 1}})
    assert faults_of(place, "label_studio") == [("export.json", 1, "not_an_object", "the task is not an object")]
    assert [row.value and row.value.get("image") for _, row in rows_of(place, "label_studio")] == [
        None, "media/a.jpg", None, None,
    ]  # fmt: skip
    place.put("export.json", '{"tasks": [1]}')
    with pytest.raises(DropError, match=r"export\.json cannot be read as label_studio: it is no list"):
        rows_of(place, "label_studio")


@pytest.mark.parametrize("drawn_on", ["after", "image2"])
def test_boxes_are_on_the_image_that_they_were_drawn_on(place: Place, drawn_on: str) -> None:
    data = {"other": "0f1e2d3c-b.jpg", drawn_on: "a.jpg", "text": "c d.jpg is another"}
    put(place, {"id": 1, "data": data, "annotations": [{"result": [box("dog", 1, 2, 3, 4, to_name=drawn_on)]}]})
    assert [row["image"] for row in values_of(place, "label_studio")] == ["media/a.jpg"]


def test_of_several_images_none_is_taken_unless_something_says_which(place: Place) -> None:
    drawn = {"result": [box("dog", 1, 2, 3, 4, to_name="img2")]}
    images = {"image1": "a.jpg", "image2": "0f1e2d3c-b.jpg"}
    put(place, {"id": 1, "data": images, "annotations": [drawn]}, {"id": 2, "data": images, "annotations": []})
    reason = (
        "it has several images ('image1', 'image2'), and its boxes do not say which one they are on: set the param "
        "image_key"
    )
    assert faults_of(place, "label_studio") == [("export.json", 1, "image_not_found", reason)]
    put(place, task(1, "a.jpg", drawn, thumbnail="0f1e2d3c-b.jpg"), task(2, "a.jpg", drawn))
    assert place.plan(input_format="label_studio").warnings == [
        "1 tasks have other images too, and do not say which one their boxes are on: look at some"
    ]


def test_what_is_turned_on_an_image_of_no_known_size_is_no_box(place: Place) -> None:
    boxes = [{"x": 10, "y": 20, "width": 30, "height": 40}, {"x": 30, "y": 40, "radiusX": 10, "radiusY": 20}]
    shapes = [{**shape, "rotation": turn, "rectanglelabels": ["dog"]} for turn in (0, 30) for shape in boxes]
    put(place, {"image": "a.jpg", "id": 1, "label": shapes})
    (row,) = values_of(place, "label_studio")
    said = "turned, and the size of the image is not given"
    assert row["bbox"] == [[10, 20, 30, 40], [20, 20, 20, 40], said, said]
    shapes = [{**shape, "original_width": 0, "original_height": 100} for shape in shapes]
    put(place, {"image": "a.jpg", "id": 1, "label": shapes})
    assert values_of(place, "label_studio")[0]["bbox"] == row["bbox"]
