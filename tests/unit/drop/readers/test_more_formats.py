"""LabelMe, KITTI, Open Images, Visual Genome and image folders, and what is wrong in their files."""

import json
from typing import Any

import pytest

from regioncap.errors import DropError
from tests.builders import Place
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of


def labelme(image: str, *shapes: Any) -> str:
    found = {"version": "5.5", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
    return json.dumps({**found, "imageHeight": 80, "imageWidth": 120}, indent=2)


def shape(kind: str, *points: list[float], label: str = "dog") -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def test_labelmes_shapes_are_the_boxes_around_them(place: Place) -> None:
    put_images(place, "sub", ["a.jpg"])
    shapes = [
        shape("rectangle", [40, 60], [10, 20.5]), shape("polygon", [1, 2], [11, 2], [5, 9.5], label="自行车"),
        shape("circle", [50, 50], [53, 54]), shape("line", [1, 2], [3, 4]), shape("point", [1, 2]),
        {"label": 7, "points": [[1, "x"]]}, "nothing",
    ]  # fmt: skip
    place.put("sub/a.json", labelme("a.jpg", *shapes))
    assert values_of(place, "labelme") == [
        {
            "image": "sub/a.jpg", "width": 120, "height": 80,
            "bbox": [[10, 20.5, 30, 39.5], [1, 2, 10, 7.5], [45, 45, 10, 10], [[1, "x"]], None],
            "labels": ["dog", "自行车", "dog", None, None],
        }
    ]  # fmt: skip
    assert place.plan(input_format="auto").settings.input_format == "labelme"


def test_a_labelme_file_with_its_image_in_it_is_read(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    text = labelme("a.jpg", shape("rectangle", [1, 2], [3, 4]))
    place.put("a.json", text.replace('"imageData": null', '"imageData": "' + "A" * 5_000_000 + '"'))
    assert values_of(place, "labelme")[0]["bbox"] == [[1, 2, 2, 2]]


@pytest.mark.parametrize("said", ["../images/a.jpg", "..\\images\\a.jpg", "C:\\somewhere\\a.jpg", "images/a.jpg", ""])
def test_labelmes_images_are_found_where_they_lie(place: Place, said: str) -> None:
    put_images(place, "images", ["a.jpg"])
    place.put("labels/a.json", labelme(said, shape("rectangle", [1, 2], [3, 4])))
    assert [row["image"] for row in values_of(place, "labelme")] == ["images/a.jpg"]


def test_a_labelme_file_that_is_none_costs_itself(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("a.json", labelme("a.jpg", shape("rectangle", [1, 2], [3, 4])))
    place.put("b.json", '{"shapes": 1}')
    place.put("c.json", '{"shapes"')
    place.put("d.json", labelme("../../../etc/passwd", shape("rectangle", [1, 2], [3, 4])))
    assert [fault[:3] for fault in faults_of(place, "labelme")] == [
        ("b.json", 1, "not_an_object"), ("c.json", 1, "not_json"),
    ]  # fmt: skip
    plan = place.plan(input_format="labelme")
    assert (plan.rows, plan.rejected) == (4, 3)


KITTI = "Car 0.00 0 -1.58 10.0 20.5 40.00 60.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"


def test_kittis_lines_are_read_from_their_ends(place: Place) -> None:
    put_images(place, "training/image_2", ["000001.png", "000002.png"])
    lines = [
        KITTI, KITTI.replace("Car", "traffic light") + " 0.97", KITTI.replace("Car", "type 3"), "DontCare" + KITTI[3:],
        "Car 0.0 0", "", KITTI.replace("10.0", "x"), KITTI.replace("Car", "type 1") + " 0.97",
    ]  # fmt: skip
    place.put("training/label_2/000001.txt", "\n".join(lines))
    place.put("training/label_2/000002.txt", "DontCare" + KITTI[3:])
    first, second = values_of(place, "kitti")
    box = [10, 20.5, 30, 39.5]
    assert first == {
        "image": "training/image_2/000001.png", "bbox": [box, box, box, lines[4], lines[6], box],
        "labels": ["Car", "traffic light", "type 3", None, None, "type 1"],
    }  # fmt: skip
    assert second == {"image": "training/image_2/000002.png"}


def test_classes_in_another_encoding_are_no_labels(place: Place) -> None:
    put_images(place, "training/image_2", ["000001.png"])
    put_images(place, "train", ["a.jpg"])
    place.put("training/label_2/000001.txt", KITTI.replace("Car", "Bär").encode("cp1252"))
    assert [fault[1:3] for fault in faults_of(place, "kitti")] == [(1, "not_utf8")]
    place.put("a.csv", f"{HEADER}\na,x,Bär,1,0.1,0.5,0.2,0.9,0,0,0\na,x,dog,1,0.1,0.5,0.2,0.9,0,0,0\n".encode("cp1252"))
    assert [fault[1:3] for fault in faults_of(place, "open_images")] == [(2, "not_utf8")]
    assert [row.value and row.value["labels"] for _, row in rows_of(place, "open_images")] == [None, ["dog"]]


def test_what_lies_beside_kittis_labels_is_left_out(place: Place) -> None:
    put_images(place, "training/image_2", ["000001.png"])
    place.put("training/label_2/000001.txt", KITTI)
    place.put("training/calib/000001.txt", "P0: 7.0 0 0 0 0 0 0 0 0 0 0 0\n")
    (row,) = values_of(place, "kitti")
    assert row["labels"] == ["Car"]


HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"


def test_open_images_lines_are_grouped_and_their_classes_named(place: Place) -> None:
    put_images(place, "validation", ["0001.jpg", "0002.jpg"])
    place.put("class-descriptions-boxable.csv", '/m/0199g,Bicycle\n/m/01,"Cup, saucer"\n')
    lines = [
        HEADER, "0001,x,/m/0199g,1,0.1,0.5,0.2,0.9,0,0,0", "0002,x,/m/99,1,0,1,0,1,0,0,0", "broken", "",
        "0001,x,/m/01,1,a,0.5,0.2,0.9,0,0,1", "0003,x,/m/01,1,0,1,0,1,0,0,0",
    ]  # fmt: skip
    place.put("validation-annotations-bbox.csv", "\r\n".join(lines))
    rows = [row.value for _, row in rows_of(place, "open_images") if row.value is not None]
    assert rows == [
        {
            "image": "validation/0001.jpg", "bbox": [[0.1, 0.2, 0.5, 0.9], ["a", 0.2, 0.5, 0.9]],
            "labels": ["Bicycle", "Cup, saucer"], "crowd": [False, True],
        },
        {"image": "validation/0002.jpg", "bbox": [[0, 0, 1, 1]], "labels": ["/m/99"]},
    ]  # fmt: skip
    name = "validation-annotations-bbox.csv"
    assert [fault[:3] for fault in faults_of(place, "open_images")] == [
        (name, 4, "not_csv"), (name, 7, "image_not_found"),
    ]  # fmt: skip


def test_a_csv_file_of_our_own_is_no_open_images(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("m.csv", 'image,bbox\na.jpg,"[[1,2,3,4]]"\n')
    assert place.plan(input_format="auto").settings.input_format == "csv"
    with pytest.raises(DropError, match="cannot be read as open_images: none of the files has the columns ImageID, "):
        rows_of(place, "open_images")


def test_visual_genomes_objects_and_regions_are_read(place: Place) -> None:
    put_images(place, "VG_100K_2", ["1.jpg", "2.jpg"])
    objects = [
        {"object_id": 5, "x": 1, "y": 2, "w": 30, "h": 40, "names": ["tree", "oak"], "synsets": []},
        {"object_id": 6, "x": 1, "y": 2, "w": "30", "names": []}, "nothing",
    ]  # fmt: skip
    place.put("objects.json", json.dumps([{"image_id": 1, "objects": objects, "image_url": "x"}, 5, {"image_id": 2},
                                          {"image_id": 2, "objects": []}, {"image_id": 3, "objects": []}]))  # fmt: skip
    assert [(row.line, row.value) for _, row in rows_of(place, "visual_genome") if row.value] == [
        (1, {"id": 1, "image": "VG_100K_2/1.jpg", "bbox": [[1, 2, 30, 40], [1, 2, "30", None], None],
             "labels": ["tree", None, None]}),
        (4, {"id": 2, "image": "VG_100K_2/2.jpg"}),
    ]  # fmt: skip
    assert [fault[1:3] for fault in faults_of(place, "visual_genome")] == [
        (2, "not_an_object"), (3, "not_an_object"), (5, "image_not_found"),
    ]  # fmt: skip
    assert place.plan(input_format="auto").settings.input_format == "visual_genome"
    (place.drop_folder / "objects.json").unlink()
    regions = [{"region_id": 9, "x": 1, "y": 2, "width": 30, "height": 40, "phrase": "a tall tree", "image_id": 1}]
    place.put("region_descriptions.json", json.dumps([{"id": 1, "regions": regions}]))
    (row,) = values_of(place, "visual_genome")
    assert row["bbox"] == [[1, 2, 30, 40]] and row["labels"] == [None]


def test_what_lies_beside_visual_genomes_objects_is_left_out(place: Place) -> None:
    put_images(place, "VG_100K", ["1.jpg"])
    parts = [{"object_id": 5, "x": 1, "y": 2, "w": 30, "h": 40, "names": ["tree"]}]
    place.put("objects.json", json.dumps([{"image_id": 1, "objects": parts}]))
    others: dict[str, Any] = {
        "image_data": {"width": 800, "url": "https://x.org/1.jpg", "height": 600, "image_id": 1, "coco_id": None,
                       "flickr_id": None},
        "attributes": {"image_id": 1, "attributes": [{**parts[0], "attributes": ["green"]}]},
        "relationships": {"image_id": 1, "relationships": [{"predicate": "on", "relationship_id": 7}]},
    }  # fmt: skip
    for name, item in others.items():
        place.put(f"{name}.json", json.dumps([item, item]))
    plan = place.plan(input_format="auto")
    assert (plan.settings.input_format, plan.rows, plan.rejected) == ("visual_genome", 1, 0)
    assert plan.warnings[1:] == ["3 files without objects or regions were left out"]
    (place.drop_folder / "objects.json").unlink()
    with pytest.raises(DropError, match="cannot be read as visual_genome: none of the files lists objects or regions"):
        rows_of(place, "visual_genome")


def test_image_folders_are_read_with_what_lies_beside_their_metadata(place: Place) -> None:
    for part in ("train", "test"):
        put_images(place, part, ["a.jpg"])
    objects = {"bbox": [[1, 2, 30, 40]], "categories": ["dog"]}
    lines = [{"file_name": "a.jpg", "objects": objects, "text": "a dog"}, {"file_name": "none.jpg"}, {"text": "x"}]
    place.put("train/metadata.jsonl", "\n".join([*map(json.dumps, lines), "broken"]))
    place.put("test/metadata.jsonl", json.dumps({"file_name": "a.jpg", "objects": {"bbox": [], "categories": []}}))
    assert [row.value for _, row in rows_of(place, "image_folder")] == [
        {"image": "test/a.jpg"},
        {"image": "train/a.jpg", "text": "a dog", "bbox": [[1, 2, 30, 40]], "labels": ["dog"]},
        {"image": "none.jpg"},
        {"image": "", "text": "x"},
        None,
    ]
    assert [fault[:3] for fault in faults_of(place, "image_folder")] == [("train/metadata.jsonl", 4, "not_json")]
    assert place.plan(input_format="auto").settings.input_format == "image_folder"


@pytest.mark.parametrize("key", ["bbox", "bboxes"])
@pytest.mark.parametrize("beside", ["labels", "categories", "category"])
def test_labels_of_image_folders_may_stand_beside_the_boxes(place: Place, key: str, beside: str) -> None:
    put_images(place, "", ["a.jpg"])
    boxes = [[1, 2, 30, 40], [5, 6, 7, 8]]
    rows = [{beside: labels} for labels in (["dog", "cat"], [3, 4], ["one"], "dog")]
    place.put("metadata.jsonl", "".join(json.dumps({"file_name": "a.jpg", key: boxes, **row}) + "\n" for row in rows))
    found = values_of(place, "image_folder")
    assert [row["bbox"] for row in found] == [boxes] * 4
    assert [row.get("labels") for row in found[:2]] == [["dog", "cat"], None]
    # What is no list with a label for each box is about something else.
    assert [row.get(beside) for row in found[2:]] == [["one"], "dog"]
    assert (
        "2 boxes are of classes that have no name in the drop, and have no label"
        in place.plan(input_format="image_folder").warnings
    )
