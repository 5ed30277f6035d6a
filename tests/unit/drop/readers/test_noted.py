"""What readers leave out, take instead or cannot name is said of the drop, once for each kind, with how often."""

import json
from typing import Any

import pytest

from tests.builders import Place
from tests.unit.drop.readers.foreign import put_images, values_of
from tests.unit.drop.readers.test_label_studio import box, task
from tests.unit.drop.readers.test_more_formats import KITTI, labelme, shape
from tests.unit.drop.readers.test_variants import YOLO_LINE, coco, cvat

KEYPOINT = {"id": "p", "type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["nose"]}}
BRUSH = {"id": "q", "type": "brushlabels", "value": {"rle": [1], "brushlabels": ["sky"]}}
ONE = {"result": [box("one", 1, 2, 30, 40)]}
TWO = {"result": [box("two", 5, 6, 30, 40)]}
OPEN_IMAGES = "ImageID,LabelName,XMin,XMax,YMin,YMax\na,/m/01,0.1,0.5,0.2,0.9\n"
NUMBERED = {"objects": {"bbox": [[1, 2, 30, 40]], "category": [3]}}
NOT_UTF8 = "1 names of classes are not UTF-8, and are no labels: set the param manifest_encoding to what they are in"


def left(kind: str, number: int = 1) -> str:
    return f"{number} shapes of the kind {kind} were left out: no boxes are read of these"


# By what it is: the files, their format, the labels that are read, and what is said.
NOTED: dict[str, tuple[dict[str, Any], str, list[str | None], list[str]]] = {
    "points and lines of CVAT": (
        cvat('<box label="dog" xtl="1" ytl="2" xbr="30" ybr="40"/><points label="nose" points="1,2"/>'
             '<polyline label="road" points="1,2;3,4"/><points label="nose" points="1,2"/>'),
        "cvat", ["dog"], [left("points", 2), left("polyline")],
    ),
    "cuboids and tags of CVAT": (
        cvat('<box label="dog" xtl="1" ytl="2" xbr="30" ybr="40"/><cuboid label="car"/><tag label="day"/>'),
        "cvat", ["dog"], [left("cuboid")],
    ),
    "points and lines of LabelMe": (
        {"a.json": labelme("a.jpg", shape("rectangle", [1, 2], [30, 40]), shape("point", [1, 2]), shape("spline"))},
        "labelme", ["dog"], [left("point"), left("another kind")],
    ),
    "brushes and points of Label Studio": (
        {"p.json": [task(1, "a.jpg", {"result": [box("dog", 1, 2, 30, 40), KEYPOINT, BRUSH]})]},
        "label_studio", ["dog"], [left("keypoint"), left("brush")],
    ),
    "several annotations of a task": (
        {"p.json": [task(1, "a.jpg", ONE, TWO)]},
        "label_studio", ["one"], ["1 tasks have several annotations, of which the first was read"],
    ),
    "boxes on an image that was turned": (
        {"p.json": [task(1, "a.jpg", {"result": [box("dog", 1, 2, 30, 40, image_rotation=90)] * 2})]},
        "label_studio", ["dog", "dog"],
        ["1 tasks have boxes that were drawn while the image was turned: look whether they are in place"],
    ),
    "predictions of a task that nobody has annotated": (
        {"p.json": [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [], "predictions": [ONE, TWO]}]},
        "label_studio", ["one"], ["1 tasks have no annotation: their predictions were read"],
    ),
    "what KITTI says not to care about": (
        {"label_2/a.txt": f"{KITTI}\nDontCare{KITTI[3:]}\n"},
        "kitti", ["Car"], ["1 lines are DontCare and were left out"],
    ),
    "classes of YOLO without names": (
        {"labels/a.txt": f"{YOLO_LINE}\n7{YOLO_LINE[1:]}", "data.yaml": "names: [dog]"},
        "yolo", ["dog", None], ["1 boxes are of classes that have no name in the drop, and have no label"],
    ),
    "categories of COCO without names": (
        coco(None, {"category_id": 5}), "coco", [None],
        ["1 boxes are of classes that have no name in the drop, and have no label"],
    ),
    "classes of Open Images without names": (
        {"a.csv": OPEN_IMAGES}, "open_images", ["/m/01"],
        ["1 boxes have the code of their class for a label, since no file gives its name"],
    ),
    "categories of COCO of two names": (
        {"a.json": coco()["a.json"] | {"categories": [{"id": 1, "name": name} for name in ("dog", "cat", "dog")]}},
        "coco", [None], ["1 boxes are of classes that have no name in the drop, and have no label"],
    ),
    "categories of COCO in another encoding": (
        {"a.json": json.dumps(coco(None, None, {"name": "Bär"})["a.json"], ensure_ascii=False).encode("cp1252")},
        "coco", [None], [NOT_UTF8, "1 boxes are of classes that have no name in the drop, and have no label"],
    ),
    "classes of YOLO that have other names in a folder above": (
        {"labels/a.txt": f"{YOLO_LINE}\n1{YOLO_LINE[1:]}", "labels/classes.txt": "dog\ncat\n",
         "data.yaml": "names: [background, dog, cat]"},
        "yolo", ["dog", "cat"],
        ["1 folders give classes other names than a folder above them does: the names in them were read for their "
         "boxes"],
    ),
    "classes of YOLO in another encoding": (
        {"labels/a.txt": f"{YOLO_LINE}\n1{YOLO_LINE[1:]}", "classes.txt": "Bär\ndog\n".encode("cp1252")},
        "yolo", [None, "dog"], [NOT_UTF8, "1 boxes are of classes that have no name in the drop, and have no label"],
    ),
    "classes of Open Images in another encoding": (
        {"a.csv": OPEN_IMAGES, "class-descriptions.csv": "/m/01,Bär\n".encode("cp1252")},
        "open_images", ["/m/01"],
        [NOT_UTF8, "1 boxes have the code of their class for a label, since no file gives its name"],
    ),
    "numbers of classes in image folders": (
        {"metadata.jsonl": json.dumps({"file_name": "a.jpg", **NUMBERED})}, "image_folder", [None],
        ["1 boxes are of classes that have no name in the drop, and have no label"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTED)
def test_what_is_not_as_it_was_given_is_said(place: Place, what: str) -> None:
    files, input_format, labels, told = NOTED[what]
    put_images(place, "", ["a.jpg"])
    for name, content in files.items():
        place.put(name, content if isinstance(content, str | bytes) else json.dumps(content))
    (row,) = values_of(place, input_format)
    assert row.get("labels", [None]) == labels
    plan = place.plan(input_format=input_format)
    assert plan.warnings == told


def test_nothing_is_said_where_all_is_read(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("a.json", json.dumps(coco()["a.json"]))
    assert place.plan(input_format="coco").warnings == []


@pytest.mark.parametrize(
    ("annotations", "labels"),
    [
        ([{"result": []}], None),  # somebody has looked, and there is nothing
        ([{"result": [], "was_cancelled": True}], None),  # somebody has skipped it
        ([TWO], ["two"]),
    ],
)
def test_predictions_are_not_read_where_a_person_has_said_something(
    place: Place, annotations: list[Any], labels: Any
) -> None:
    put_images(place, "", ["a.jpg"])
    found = {"id": 1, "data": {"image": "a.jpg"}, "annotations": annotations, "predictions": [ONE]}
    place.put("p.json", json.dumps([found]))
    (row,) = values_of(place, "label_studio")
    assert row.get("labels") == labels
    assert place.plan(input_format="label_studio").warnings == []
