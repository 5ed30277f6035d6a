"""Forms in which tools and people write these formats, beside the plainest one."""

import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask

from regioncap.drop.drop import contents
from regioncap.drop.readers.outlines import around_outline
from tests.builders import Place
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of

BOX = [10, 10, 40, 30]


def coco(image: Any = None, annotation: Any = None, category: Any = None) -> dict[str, Any]:
    """One image with one box; what is given takes the place of fields, and None of a field takes it out."""

    def changed(plain: dict[str, Any], changes: Any) -> dict[str, Any]:
        return {key: value for key, value in {**plain, **(changes or {})}.items() if value is not None}

    return {
        "a.json": {
            "images": [changed({"id": 1, "file_name": "a.jpg"}, image)],
            "annotations": [changed({"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX}, annotation)],
            "categories": [changed({"id": 1, "name": "dog"}, category)],
        }
    }


def cvat(shape: str) -> dict[str, Any]:
    return {"annotations.xml": f'<annotations><image id="0" name="a.jpg">{shape}</image></annotations>'}


def label_studio(kind: str, image: str = "a.jpg", **value: Any) -> dict[str, Any]:
    result = {"type": kind, "original_width": 200, "original_height": 100, "value": {kind: ["dog"], **value}}
    return {"p.json": [{"id": 1, "data": {"image": image}, "annotations": [{"result": [result]}]}]}


def labelme(kind: str, *points: list[int]) -> dict[str, Any]:
    shape = {"label": "dog", "shape_type": kind, "points": points}
    return {"a.json": {"version": "5.4", "imagePath": "a.jpg", "imageData": None, "shapes": [shape]}}


def yolo(line: str, yaml: str = "names: [dog]", folder: str = "") -> dict[str, Any]:
    return {f"labels/{folder}a.txt": line, "data.yaml": yaml}


CORNERS = ([10, 10], [50, 10], [50, 40], [10, 40])
POINTS = " ".join(["0.3 0.3 2"] * 17)
YOLO_BOX = [0.3, 0.4, 0.3, 0.3]
YOLO_LINE = "0 0.3 0.4 0.3 0.3"

# By what it is: the files, the only box, and where the image is.
VARIANTS: dict[str, tuple[str, dict[str, Any], list[float], str]] = {
    "coco, ids that are text": (
        "coco",
        coco({"id": "x"}, {"image_id": "x", "category_id": "c"}, {"id": "c"}),
        BOX,
        "a.jpg",
    ),
    "coco, ids as a table writes them": ("coco", coco(None, {"image_id": 1.0, "category_id": 1.0}), BOX, "a.jpg"),
    "coco, ids as text on one side": ("coco", coco({"id": "1"}, {"category_id": "1"}), BOX, "a.jpg"),
    "coco, ids as text on the other": ("coco", coco(None, {"image_id": "1"}, {"id": "1"}), BOX, "a.jpg"),
    "coco, images by URL as in LVIS": (
        "coco",
        coco({"file_name": None, "coco_url": "http://images.cocodataset.org/val2017/a.jpg"}),
        BOX,
        "val2017/a.jpg",
    ),
    "coco, paths of Windows": ("coco", coco({"file_name": "C:\\data\\val2017\\a.jpg"}), BOX, "val2017/a.jpg"),
    "coco, paths of another machine": ("coco", coco({"file_name": "/home/me/pictures/a.jpg"}), BOX, "a.jpg"),
    "coco, polygons alone": (
        "coco",
        coco(None, {"bbox": None, "segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]]}),
        BOX,
        "a.jpg",
    ),
    "coco, runs alone": (
        "coco",
        coco(None, {"bbox": None, "segmentation": {"size": [80, 120], "counts": [810, 30, 50, 30, 8680]}}),
        [10, 10, 2, 30],
        "a.jpg",
    ),
    "coco, no numbers but polygons": (
        "coco",
        coco(None, {"bbox": [], "segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]]}),
        BOX,
        "a.jpg",
    ),
    "coco, boxes as text": ("coco", coco(None, {"bbox": "[10, 10, 40, 30]"}), BOX, "a.jpg"),
    "coco, numbers as text": ("coco", coco(None, {"bbox": ["10", "10.0", "40", "30"]}), BOX, "a.jpg"),
    "coco of Roboflow": ("coco", {"train/_annotations.coco.json": coco()["a.json"]}, BOX, "train/a.jpg"),
    "coco of FiftyOne": ("coco", {"labels.json": coco()["a.json"]}, BOX, "data/a.jpg"),
    "yolo of LabelImg": ("yolo", {"labels/a.txt": YOLO_LINE, "labels/classes.txt": "dog\n"}, YOLO_BOX, "images/a.jpg"),
    "yolo of Label Studio": (
        "yolo",
        {"labels/a.txt": YOLO_LINE, "classes.txt": "dog\n", "notes.json": {"categories": [{"id": 0, "name": "dog"}]}},
        YOLO_BOX,
        "images/a.jpg",
    ),
    "yolo of Roboflow": (
        "yolo",
        {
            "train/labels/a.txt": YOLO_LINE,
            "data.yaml": "train: ../train/images\nnc: 1\nnames: ['dog']\n",
            "README.roboflow.txt": "x\n",
        },
        YOLO_BOX,
        "train/images/a.jpg",
    ),
    "yolo of FiftyOne": (
        "yolo",
        {"labels/val/a.txt": YOLO_LINE, "dataset.yaml": "names:\n  0: dog\npath: /x\nval: ./images/val/\n"},
        YOLO_BOX,
        "images/val/a.jpg",
    ),
    "yolo, lists of parts": (
        "yolo",
        yolo(YOLO_LINE, "path: ../x\ntrain: [images/a, images/b]\nnames: {0: dog}", "a/"),
        YOLO_BOX,
        "images/a/a.jpg",
    ),
    "yolo, turned boxes": ("yolo", yolo("0 0.15 0.25 0.45 0.25 0.45 0.55 0.15 0.55"), YOLO_BOX, "images/a.jpg"),
    "yolo, outlines": ("yolo", yolo("0 0.15 0.25 0.45 0.25 0.45 0.55"), YOLO_BOX, "images/a.jpg"),
    "yolo, poses": (
        "yolo",
        yolo(f"{YOLO_LINE} {POINTS}", "kpt_shape: [17, 3]\nnames: [dog]"),
        YOLO_BOX,
        "images/a.jpg",
    ),
    "yolo, poses that nothing tells of": ("yolo", yolo(f"{YOLO_LINE} {POINTS}"), YOLO_BOX, "images/a.jpg"),
    "yolo, poses of an even number": (
        "yolo",
        yolo(f"{YOLO_LINE} 0.3 0.3 2 0.3 0.4 0 0.3 0.4 1 0.3 0.4 2"),
        YOLO_BOX,
        "images/a.jpg",
    ),
    "yolo, how sure": ("yolo", yolo(f"{YOLO_LINE} 0.87"), YOLO_BOX, "images/a.jpg"),
    "yolo, YAML of other things": (
        "yolo",
        {**yolo(YOLO_LINE), "args.yaml": "lr: !python/x 1"},
        YOLO_BOX,
        "images/a.jpg",
    ),
    "cvat, masks": (
        "cvat",
        cvat('<mask label="dog" rle="3, 2" left="10" top="10" width="40" height="30"/>'),
        BOX,
        "a.jpg",
    ),
    "cvat, ellipses": ("cvat", cvat('<ellipse label="dog" cx="30" cy="25" rx="20" ry="15"/>'), BOX, "a.jpg"),
    "cvat, turned ellipses": (
        "cvat",
        cvat('<ellipse label="dog" cx="30" cy="25" rx="15" ry="20" rotation="90"/>'),
        BOX,
        "a.jpg",
    ),
    "cvat, skeletons": (
        "cvat",
        cvat(
            '<skeleton label="dog"><points label="1" points="10,10"/><points label="2" points="50,40"/>'
            '<points label="3" points="0,0" outside="1"/></skeleton>'
        ),
        BOX,
        "a.jpg",
    ),
    "cvat, turned boxes": (
        "cvat",
        cvat('<box label="dog" xtl="15" ytl="5" xbr="45" ybr="45" rotation="90"/>'),
        BOX,
        "a.jpg",
    ),
    "label_studio, ellipses": (
        "label_studio",
        label_studio("ellipselabels", x=30, y=40, radiusX=10, radiusY=20),
        [20, 20, 20, 40],
        "a.jpg",
    ),
    "label_studio, turned ellipses": (
        "label_studio",
        label_studio("ellipselabels", x=30, y=40, radiusX=10, radiusY=20, rotation=90),
        [20, 20, 20, 40],
        "a.jpg",
    ),
    "label_studio, uploads": (
        "label_studio",
        label_studio("rectanglelabels", "/data/upload/3/0a1b2c3d-a.jpg", x=1, y=2, width=30, height=40),
        [1, 2, 30, 40],
        "a.jpg",
    ),
    "label_studio, in short and without sizes": (
        "label_studio",
        {
            "p.json": [
                {
                    "image": "a.jpg",
                    "id": 1,
                    "label": [{"x": 1, "y": 2, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["dog"]}],
                }
            ]
        },
        [1, 2, 30, 40],
        "a.jpg",
    ),
    "cvat, boxes that have gone": (
        "cvat",
        cvat(
            '<box label="cat" outside="1" xtl="1" ytl="2" xbr="9" ybr="9"/>'
            '<box label="dog" outside="0" xtl="10" ytl="10" xbr="50" ybr="40"/>'
        ),
        BOX,
        "a.jpg",
    ),
    "labelme, four corners of X-AnyLabeling": ("labelme", labelme("quadrilateral", *CORNERS), BOX, "a.jpg"),
    "labelme, four corners": ("labelme", labelme("rectangle", *CORNERS), BOX, "a.jpg"),
    "labelme, turned boxes": ("labelme", labelme("rotation", *CORNERS), BOX, "a.jpg"),
    "labelme, turned boxes of LabelMe 6": ("labelme", labelme("oriented_rectangle", *CORNERS), BOX, "a.jpg"),
    "labelme, masks": ("labelme", labelme("mask", [10, 10], [50, 40]), BOX, "a.jpg"),
    "csv of a spreadsheet": (
        "csv",
        {"m.csv": 'image;bbox;labels\na.jpg;"[[10, 10, 40, 30]]";"[""dog""]"\n'},
        BOX,
        "a.jpg",
    ),
    "tab-separated": ("csv", {"m.tsv": 'image\tbbox\tlabels\na.jpg\t[[10, 10, 40, 30]]\t["dog"]\n'}, BOX, "a.jpg"),
}


@pytest.mark.parametrize("what", VARIANTS)
def test_each_form_is_read_and_found_out(place: Place, what: str) -> None:
    input_format, files, box, image = VARIANTS[what]
    put_images(place, "", [image])
    for name, content in files.items():
        place.put(name, content if isinstance(content, str) else json.dumps(content))
    (row,) = values_of(place, input_format)
    labels = row["labels"] if isinstance(row["labels"], list) else json.loads(row["labels"])
    assert (row["image"], row["bbox"][0]) == (image, pytest.approx(box)) and labels == ["dog"]
    assert contents(place.drop, "auto").input_format == input_format


def test_an_image_of_another_folder_is_not_taken_for_one_of_another_machine(place: Place) -> None:
    put_images(place, "", ["val/1.jpg", "x/train/2.jpg", "y/train/2.jpg"])
    for number, path in enumerate(["/data/train/1.jpg", "http://x.org/train/2.jpg"]):
        place.put(f"{number}.json", json.dumps(coco({"file_name": path})["a.json"]))
    plan = place.plan(input_format="coco")
    assert plan.rows == plan.rejected == 2
    assert [code for *_, code, _ in faults_of(place, "coco")] == ["image_not_found"]


@pytest.mark.parametrize("seed", range(20))
def test_the_box_around_runs_is_that_of_cocos_own_library(seed: int) -> None:
    draw = np.random.default_rng(seed)
    pixels = np.zeros((23, 31), np.uint8, order="F")
    for _ in range(draw.integers(1, 4)):
        y, x = draw.integers(0, 20), draw.integers(0, 28)
        pixels[y : y + draw.integers(1, 12), x : x + draw.integers(1, 12)] = 1
    runs = mask.encode(pixels)
    expected = [float(side) for side in mask.toBbox(runs)]
    assert around_outline({"size": runs["size"], "counts": runs["counts"].decode()}) == expected
    flat = np.flatnonzero(np.diff(np.concatenate([[0], pixels.ravel(order="F"), [2]])))
    assert around_outline({"size": [23, 31], "counts": np.diff(np.concatenate([[0], flat])).tolist()}) == expected


@pytest.mark.parametrize(
    "outline",
    [
        None, [], [[]], [[1]], [["a", "b"]], "x", 7, {}, {"size": [2, 2]}, {"size": [2, 2], "counts": [1, 1]},
        {"size": [2, 2], "counts": [4]}, {"size": [2, 2], "counts": [1, -1, 4]}, {"size": "ab", "counts": "x"},
        {"size": [0, 0], "counts": []}, {"size": [10**9, 10**9], "counts": "0" * 99}, {"size": [2, 2], "counts": None},
    ],
)  # fmt: skip
def test_what_is_no_outline_has_no_box(outline: Any) -> None:
    assert around_outline(outline) is None


def test_names_of_classes_that_cannot_be_read_stop_the_run_and_those_of_other_files_do_not(place: Place) -> None:
    put_images(place, "images", ["a.jpg"])
    for name, text in yolo(YOLO_LINE, "names: !!python/object/apply:os.system ['x']").items():
        place.put(name, text)
    with pytest.raises(Exception, match=r"the file data\.yaml is not YAML"):
        values_of(place, "yolo")


def test_ids_in_csv_are_those_that_a_table_had(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("m.csv", "id,image\n17.0,a.jpg\n,a.jpg\nNaN,a.jpg\n1.50,a.jpg\n007,a.jpg\n")
    assert [row.get("id") for row in values_of(place, "csv")] == ["17", None, None, "1.50", "007"]


def test_images_of_one_name_in_the_parts_of_a_data_set_go_to_their_parts(place: Place) -> None:
    for part in ("train2017", "val2017"):
        put_images(place, f"images/{part}", ["1.jpg", "2.jpg"])
        place.put(f"annotations/instances_{part}.json", json.dumps(coco({"file_name": "1.jpg"})["a.json"]))
    assert [row["image"] for row in values_of(place, "coco")] == ["images/train2017/1.jpg", "images/val2017/1.jpg"]


def test_images_of_one_name_beside_several_manifests_go_to_the_one_in_their_folder(place: Place) -> None:
    for site in ("north", "south"):
        put_images(place, f"{site}/data", ["1.jpg", "2.jpg"])
        place.put(f"{site}/labels.json", json.dumps(coco({"file_name": "1.jpg"})["a.json"]))
        place.put(f"{site}/xml/2.xml", "<annotation><filename>2.jpg</filename></annotation>")
    assert [row["image"] for row in values_of(place, "coco")] == ["north/data/1.jpg", "south/data/1.jpg"]
    assert [row["image"] for row in values_of(place, "voc")] == ["north/data/2.jpg", "south/data/2.jpg"]


def test_of_images_in_folders_of_other_shapes_none_is_taken(place: Place) -> None:
    put_images(place, "annotations/drawn", ["1.jpg"])
    put_images(place, "photos", ["1.jpg"])
    place.put("annotations/a.json", json.dumps(coco({"file_name": "1.jpg"})["a.json"]))
    assert [code for *_, code, _ in faults_of(place, "coco")] == ["image_not_found"]


@pytest.mark.parametrize("manifest", ["annotations/instances_train.json", "train/a.json", "a_training.json"])
def test_an_image_of_another_part_is_not_taken(place: Place, manifest: str) -> None:
    put_images(place, "data/valid", ["1.jpg"])
    place.put(manifest, json.dumps(coco({"file_name": "1.jpg"})["a.json"]))
    # That is no file of the drop: the row is rejected for it.
    assert [row["image"] for row in values_of(place, "coco")] == ["1.jpg"]
    put_images(place, "data/train", ["1.jpg"])
    assert [row["image"] for row in values_of(place, "coco")] == ["data/train/1.jpg"]


@pytest.mark.parametrize("name", ["train2017/1.jpg", "http://images.cocodataset.org/train2017/1.jpg"])
def test_the_folder_that_a_name_has_counts_more_than_the_manifests_name(place: Place, name: str) -> None:
    # The parts of LVIS are others than those of COCO, whose images it has.
    put_images(place, "images/train2017", ["1.jpg"])
    put_images(place, "images/val2017", ["1.jpg"])
    place.put("lvis_v1_val.json", json.dumps(coco({"file_name": name})["a.json"]))
    assert [row["image"] for row in values_of(place, "coco")] == ["images/train2017/1.jpg"]


def test_labels_of_one_part_do_not_take_the_image_of_another(place: Place) -> None:
    put_images(place, "images/val", ["1.jpg", "train.jpg"])
    for name, text in {**yolo(YOLO_LINE, folder="train/"), **yolo(YOLO_LINE, folder="val/")}.items():
        place.put(name.replace("a.txt", "1.txt"), text)
    # A picture may be called as a part is.
    place.put("labels/val/train.txt", YOLO_LINE)
    assert [row.value and row.value["image"] for _, row in rows_of(place, "yolo")] == [
        None, "images/val/1.jpg", "images/val/train.jpg",
    ]  # fmt: skip
    assert [fault[:3] for fault in faults_of(place, "yolo")] == [("labels/train/1.txt", 1, "image_not_found")]


def test_names_as_addresses_have_them_are_those_of_their_files(place: Place) -> None:
    put_images(place, "images", ["a b.jpg", "Bär+1.jpg", "50%25.jpg"])
    for number, name in enumerate(["a%20b.jpg", "/data/local-files/?d=store/images/B%C3%A4r%2B1.jpg", "50%25.jpg"]):
        place.put(f"{number}.json", json.dumps(coco({"file_name": name})["a.json"]))
    assert [row["image"] for row in values_of(place, "coco")] == [
        "images/a b.jpg", "images/Bär+1.jpg", "images/50%25.jpg",
    ]  # fmt: skip
    place.put("labels/a%20b.txt", YOLO_LINE)
    assert [row["image"] for row in values_of(place, "yolo")] == ["images/a b.jpg"]


def test_a_name_is_read_as_one_in_an_address_once(place: Place) -> None:
    put_images(place, "images", ["a%20b.jpg", "c.jpg"])
    names = ["a%2520b.jpg", "%" + "25" * 4000 + ".jpg", "%2e%2e/%2e%2e/c.jpg", "..%2f..%2fetc%2fpasswd", "%00%ff.jpg"]
    for number, name in enumerate(names):
        place.put(f"{number}.json", json.dumps(coco({"file_name": name})["a.json"]))
    assert [row["image"] for row in values_of(place, "coco")] == [
        "images/a%20b.jpg",
        names[1],
        "images/c.jpg",
        *names[3:],
    ]
    place.put("x.csv", f"ImageID,LabelName,XMin,XMax,YMin,YMax\n{names[1][:-4]},dog,0.1,0.5,0.2,0.9\n")
    assert [code for *_, code, _ in faults_of(place, "open_images")] == ["image_not_found"]


def test_lists_of_images_are_no_labels_whatever_they_are_called(place: Place) -> None:
    put_images(place, "data", ["a b.jpg"])
    for name, text in {"data/a b.txt": YOLO_LINE, "some.txt": "\ndata/a b.JPG\r\n", "obj.names": "dog\n"}.items():
        place.put(name, text)
    (row,) = values_of(place, "yolo")
    assert (row["image"], row["labels"]) == ("data/a b.jpg", ["dog"])


def test_outlines_in_xml_are_read_and_deleted_objects_are_not(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in CORNERS)
    objects = [
        f"<object><name>{name}</name><deleted>{deleted}</deleted><polygon>{points}</polygon></object>"
        for name, deleted, points in (("dog", 0, points), ("cat", 1, points), ("cow", 0, points.replace("50", "nan")))
    ]
    place.put("a.xml", f"<annotation><filename>a.jpg</filename>{''.join(objects)}</annotation>")
    (row,) = values_of(place, "voc")
    assert row["labels"] == ["dog", "cow"] and row["bbox"][0] == BOX
    assert str(row["bbox"][1]) == "[(10.0, 10.0), (nan, 10.0), (nan, 40.0), (10.0, 40.0)]"


def test_ids_of_open_images_may_have_their_endings(place: Place) -> None:
    put_images(place, "train", ["a.b.jpg", "c.jpg"])
    lines = "".join(f"{name},dog,0.1,0.5,0.2,0.9\n" for name in ("a.b.jpg", "a.b", "c"))
    place.put("a.csv", f"ImageID,LabelName,XMin,XMax,YMin,YMax\n{lines}")
    assert [row["image"] for row in values_of(place, "open_images")] == [
        "train/a.b.jpg",
        "train/a.b.jpg",
        "train/c.jpg",
    ]


def test_images_that_share_an_id_get_no_boxes_of_each_other(place: Place) -> None:
    put_images(place, "", ["a.jpg", "b.jpg", "c.jpg"])
    images = [{"id": number, "file_name": f"{name}.jpg"} for number, name in ((1, "a"), (2, "c"), ("1", "b"), (2, "c"))]
    boxes = [{"image_id": 1, "bbox": BOX}, {"image_id": 1.0, "bbox": BOX}, {"image_id": 2, "bbox": BOX}]
    place.put("a.json", json.dumps({"annotations": boxes, "images": images}))
    reason = "several images of the file have the id 1, so that it is not known whose its boxes are"
    assert faults_of(place, "coco") == [("a.json", 1, "duplicate_id", reason), ("a.json", 3, "duplicate_id", reason)]
    rows = [row.value for _, row in rows_of(place, "coco") if row.value is not None]
    # One that is listed twice is the same image: as any other row, it counts once.
    assert [(row["image"], row.get("bbox")) for row in rows] == [("c.jpg", [BOX]), ("c.jpg", None)]
    plan = place.plan(input_format="coco")
    assert (plan.rows, plan.rejected) == (4, 3)


def test_a_task_with_boxes_on_several_images_is_rejected(place: Place) -> None:
    put_images(place, "", ["a.jpg", "b.jpg"])
    task = label_studio("rectanglelabels", x=1, y=2, width=30, height=40)["p.json"][0]
    (result,) = task["annotations"][0]["result"]
    task["annotations"][0]["result"] = [{**result, "to_name": name} for name in ("left", "right")]
    choice = {"type": "choices", "to_name": "text", "value": {"choices": ["good"]}}
    plain = {**task, "annotations": [{"result": [{**result, "to_name": "left"}, choice]}]}
    place.put("p.json", json.dumps([task, plain]))
    reason = "its boxes are on several images ('left', 'right'), of which a row has one: make a task of each"
    assert faults_of(place, "label_studio") == [("p.json", 1, "image_not_found", reason)]


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.3 0.4 0.3 0.3 0.91 12", YOLO_BOX),  # how sure, and which object of a film
        ("0 0.3 0.4 0.3 0.3 0.91 1", YOLO_BOX),
        ("0 0.3 0.4 0.3 0.3 12", YOLO_BOX),
        ("0 0.15 0.25 0.45 0.25 0.45 0.55 0.15 0.55 0.91", YOLO_BOX),  # a turned box and how sure
        ("0 0.15 0.25 0.45 0.25 0.45 0.55 0.15 0.55 0.91 1", YOLO_BOX),  # and which object
        ("0 0.15 0.25 0.45 0.25 0.45 0.55 0.3 0.55 0.15 0.4 0.91", YOLO_BOX),  # an outline and how sure
        ("0 0.15 0.25 0.45 0.25 0.45 0.55 0.15 0.4 0.3 1", [0.3, 0.625, 0.3, 0.75]),  # five corners
        ("0 0.3 0.4 0.3 0.3 0.3 0.3 1", "0 0.3 0.4 0.3 0.3 0.3 0.3 1"),  # a point that is seen, or how sure
        ("0 0.15 0.25 0.45 0.25 0.45 0.55", YOLO_BOX),  # three corners
        ("0 0.15 0.25 0.45 0.25 0.45 1", [0.3, 0.625, 0.3, 0.75]),  # which are no box in the image
        ("0 0.15 0.25 0.45 0.25 0.45 0.55 12 0.3", "0 0.15 0.25 0.45 0.25 0.45 0.55 12 0.3"),  # no places in an image
    ],
)
def test_what_follows_a_box_of_yolo_is_no_outline(place: Place, line: str, box: Any) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("labels/a.txt", line)
    (row,) = values_of(place, "yolo")
    assert row["bbox"] == [pytest.approx(box) if isinstance(box, list) else box]


@pytest.mark.parametrize(
    ("input_format", "files"),
    [("yolo", yolo(YOLO_LINE)), ("coco", coco()), ("cvat", cvat('<box label="dog" xtl="1" ytl="2" xbr="9" ybr="9"/>'))],
)
def test_the_letter_case_of_endings_does_not_matter(place: Place, input_format: str, files: dict[str, Any]) -> None:
    put_images(place, "images", ["a.JPG"])
    for name, content in files.items():
        stem, dot, ending = name.rpartition(".")
        shown = ending if ending == "yaml" else ending.upper()
        place.put(stem + dot + shown, content if isinstance(content, str) else json.dumps(content))
    (row,) = values_of(place, input_format)
    assert row["labels"] == ["dog"] and contents(place.drop, "auto").input_format == input_format


@pytest.mark.parametrize("input_format", ["voc", "labelme"])
def test_a_file_that_was_renamed_with_its_image_does_not_take_another_one(place: Place, input_format: str) -> None:
    folder = "JPEGImages" if input_format == "voc" else ""
    put_images(place, folder, ["1.jpg", "2.jpg"])
    put_images(place, "other", ["4.jpg", "6.jpg"])
    # Numbered anew: what was 2 is 1 by now, and what it was called stands in it.
    for number, said in ((1, "2.jpg"), (2, "3.jpg"), (5, "4.jpg"), (6, "other/6.jpg")):
        if input_format == "voc":
            place.put(f"Annotations/{number}.xml", f"<annotation><filename>{said}</filename></annotation>")
        else:
            place.put(f"{number}.json", json.dumps({"imagePath": said, "shapes": []}))
    ((manifest, _, code, reason),) = faults_of(place, input_format)
    one, two = (f"{folder}/{name}".lstrip("/") for name in ("1.jpg", "2.jpg"))
    assert (manifest, code) == ("Annotations/1.xml" if folder else "1.json", "image_not_found")
    assert reason.startswith(f"the file names the image {two!r}, and {one!r} has the file's own name")
    images = [row.value["image"] for _, row in rows_of(place, input_format) if row.value is not None]
    assert images == [two, "other/4.jpg", "other/6.jpg"]


def test_a_voc_file_may_give_its_images_name_without_its_ending(place: Place) -> None:
    put_images(place, "JPEGImages", ["n01_1.JPEG", "x.v2.jpg", "c.jpg"])
    for number, said in enumerate(["n01_1", "x.v2", "../../c", "none"]):
        place.put(f"Annotations/{number}.xml", f"<annotation><filename>{said}</filename></annotation>")
    assert [row["image"] for row in values_of(place, "voc")] == [
        "JPEGImages/n01_1.JPEG", "JPEGImages/x.v2.jpg", "../../c", "none",
    ]  # fmt: skip


@pytest.mark.parametrize("paths", [("/data/x/1.jpg", "/data/y/1.jpg"), ("C:\\x\\1.jpg", "http://h/y/1.jpg")])
def test_images_that_were_put_into_one_folder_are_not_taken_for_each_other(
    place: Place, paths: tuple[str, ...]
) -> None:
    put_images(place, "", ["1.jpg", "2.jpg"])
    images = [{"id": number, "file_name": path} for number, path in enumerate([*paths, paths[0], "/data/x/2.jpg"])]
    boxes = [{"image_id": number, "bbox": BOX} for number in range(4)]
    place.put("a.json", json.dumps({"images": images, "annotations": boxes}))
    for _ in range(2):  # however often they are read
        ((_, line, code, reason),) = faults_of(place, "coco")
        assert (line, code) == (2, "image_not_found") and reason.startswith(
            "'1.jpg' was taken for another image already"
        )
    rows = [row.value["image"] for _, row in rows_of(place, "coco") if row.value is not None]
    assert rows == ["1.jpg", "1.jpg", "2.jpg"]
