"""YOLO, in the folders that its tools make."""

import pytest

from regioncap.errors import DropError
from tests.builders import Place
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of


def test_labels_and_images_lie_in_folders_of_the_same_shape(place: Place) -> None:
    place.put("data.yaml", "names:\n  0: dog\n  '2': traffic light\n  x: y\n  3: [a]\n")
    for part in ("train", "val"):
        put_images(place, f"images/{part}", ["a.jpg", "b.v2.PNG"])
        place.put(f"labels/{part}/a.txt", "2 0.5 0.5 0.2 0.1\r\n0 0.25 0.25 0.5 0.5 0.91\r\n\r\n")
        place.put(f"labels/{part}/b.v2.txt", "")
    place.put("labels/notes.txt", "0 0.5 0.5 0.2 0.1")
    put_images(place, "images", ["notes.jpg"])
    rows = values_of(place, "yolo")
    assert [row["image"] for row in rows] == [
        "images/notes.jpg", "images/train/a.jpg", "images/train/b.v2.PNG", "images/val/a.jpg", "images/val/b.v2.PNG",
    ]  # fmt: skip
    assert rows[1]["bbox"] == [[0.5, 0.5, 0.2, 0.1], [0.25, 0.25, 0.5, 0.5]]
    assert rows[1]["labels"] == ["traffic light", "dog"]
    assert "bbox" not in rows[2] and "labels" not in rows[2]


def test_outlines_and_turned_boxes_become_the_boxes_around_them(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("a.txt", "0 0.1 0.2 0.3 0.2 0.3 0.6\n1 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6\n")
    (row,) = values_of(place, "yolo")
    assert row["bbox"] == [[0.2, 0.4, 0.2, 0.4]] * 2 and row["labels"] == [None, None]


def test_points_of_a_pose_are_left_out(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("pose.yaml", "kpt_shape: [2, 3]\nnames: [person]\n")
    place.put("a.txt", "0 0.5 0.5 0.2 0.1 0.4 0.4 2 0.6 0.6 1")
    (row,) = values_of(place, "yolo")
    assert (row["bbox"], row["labels"]) == ([[0.5, 0.5, 0.2, 0.1]], ["person"])


def test_a_bad_line_costs_its_box(place: Place) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("classes.txt", "dog\ncat\n")
    place.put("a.txt", b"1 0.5 0.5 0.2 0.1\nx 0.1 0.1 0.1 0.1\n0 0.5 0.5 0.2\n0 0.5 0.5 \xff 0.2\n7 nan 0.5 0.2 0.1\n")
    (row,) = values_of(place, "yolo")
    assert row["bbox"][:4] == [
        [0.5, 0.5, 0.2, 0.1], "x 0.1 0.1 0.1 0.1", "0 0.5 0.5 0.2", "0 0.5 0.5 \ufffd 0.2",
    ]  # fmt: skip
    assert str(row["bbox"][4]) == "[nan, 0.5, 0.2, 0.1]"
    assert row["labels"] == ["cat", None, "dog", "dog", None]


def test_labels_without_an_image_are_told_of(place: Place) -> None:
    place.put("labels/a.txt", "0 0.5 0.5 0.2 0.1")
    put_images(place, "images", ["b.jpg"])
    place.put("labels/b.txt", "0 0.5 0.5 0.2 0.1")
    reason = "there is no image in the drop that is called a but for its ending"
    assert faults_of(place, "yolo") == [("labels/a.txt", 1, "image_not_found", reason)]
    put_images(place, "images", ["b.png"])
    (_, _, _, reason) = faults_of(place, "yolo")[1]
    assert "several images of the drop can be the one that is called 'b': 'images/b.jpg', 'images/b.png'" in reason


def test_text_files_of_other_things_are_no_labels_unless_an_image_is_called_so(place: Place) -> None:
    for name in ("README.dataset.txt", "train.txt", "classes.txt", "a.txt"):
        place.put(name, "0 0.5 0.5 0.2 0.1")
    put_images(place, "", ["a.jpg"])
    assert [row["image"] for row in values_of(place, "yolo")] == ["a.jpg"]
    put_images(place, "", ["train.jpg"])
    assert [row["image"] for row in values_of(place, "yolo")] == ["a.jpg", "train.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch /tmp/pwned']",
        "names: [a\n",
        "a: &a [x, x]\nb: *c\n",
        "\x00: 1",
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nnames: [*b, *b]\n",
        "a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
        "x: " + "a" * 600_000,
    ],
)
def test_yaml_is_data_and_nothing_else(place: Place, text: str) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("a.txt", "0 0.5 0.5 0.2 0.1")
    place.put("data.yaml", text)
    with pytest.raises(DropError, match=r"cannot be read as yolo: the file data\.yaml is not YAML"):
        rows_of(place, "yolo")


def test_names_that_differ_in_one_folder_stop_the_drop_and_nearer_ones_count(place: Place) -> None:
    for part in ("one", "two"):
        put_images(place, f"{part}/images", [f"{part}.jpg"])
        place.put(f"{part}/labels/{part}.txt", "0 0.5 0.5 0.2 0.1")
        place.put(f"{part}/data.yaml", f"names: [{part}]")
    assert [row["labels"] for row in values_of(place, "yolo")] == [["one"], ["two"]]
    place.put("one/classes.txt", "dog")
    with pytest.raises(DropError, match=r"the file one/classes\.txt gives the classes other names than another one"):
        rows_of(place, "yolo")


@pytest.mark.parametrize(
    "names", ["[no, off, 007, null, 2024-01-01, 1.0]", "{0: no, 1: off, '2': 007, 3: null, 4: 2024-01-01, 5: 1.0}"]
)
def test_classes_are_called_as_it_is_written(place: Place, names: str) -> None:
    put_images(place, "", ["a.jpg"])
    place.put("a.txt", "".join(f"{number} 0.5 0.5 0.2 0.1\n" for number in range(6)))
    place.put("data.yaml", f"names: {names}\n")
    (row,) = values_of(place, "yolo")
    assert row["labels"] == ["no", "off", "007", "null", "2024-01-01", "1.0"]


def test_poses_of_one_data_set_do_not_make_poses_of_the_outlines_of_another(place: Place) -> None:
    outline = "0 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4"
    for folder, more in (("one", ""), ("two", "kpt_shape: [2, 2]\n")):
        put_images(place, f"{folder}/images", [f"{folder}.jpg"])
        place.put(f"{folder}/labels/{folder}.txt", outline)
        place.put(f"{folder}/data.yaml", f"{more}names: [dog]\n")
    one, two = values_of(place, "yolo")
    assert one["bbox"] == [pytest.approx([0.2, 0.25, 0.2, 0.3])] and two["bbox"] == [[0.1, 0.1, 0.3, 0.1]]


def test_the_only_names_are_those_of_boxes_beside_them_unless_they_are_of_others(place: Place) -> None:
    for folder in ("one", "two"):
        put_images(place, f"{folder}/images", [f"{folder}.jpg"])
        place.put(f"{folder}/labels/{folder}.txt", "0 0.5 0.5 0.2 0.1")
    place.put("config/classes.txt", "dog")
    assert [row["labels"] for row in values_of(place, "yolo")] == [["dog"], ["dog"]]
    (place.drop_folder / "config/classes.txt").rename(place.drop_folder / "one/classes.txt")
    assert [row["labels"] for row in values_of(place, "yolo")] == [["dog"], [None]]


@pytest.mark.parametrize("name", ["_darknet.labels", "obj.names", "classes.txt"])
def test_lists_of_classes_have_a_class_a_line(place: Place, name: str) -> None:
    put_images(place, "train", ["a.jpg"])
    place.put("train/a.txt", "1 0.5 0.5 0.2 0.1")
    place.put(f"train/{name}", "cat\r\ndog\r\n")
    assert [row["labels"] for row in values_of(place, "yolo")] == [["dog"]]


def test_only_ends_of_lines_part_the_names_of_classes(place: Place) -> None:
    put_images(place, "images", ["a.png"])
    place.put("labels/a.txt", "1 0.5 0.5 0.5 0.5")
    place.put("classes.txt", "dog\u2028or\x85hound\ncat\r\n")
    assert [value["labels"] for value in values_of(place, "yolo")] == [["cat"]]
