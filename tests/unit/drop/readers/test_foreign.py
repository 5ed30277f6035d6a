"""What other tools write: one set of scenes in every format, by the formats' own libraries."""

from typing import Any

import pytest

from regioncap.drop.drop import contents
from regioncap.errors import DropError
from regioncap.regions.boxes import to_pixels
from tests.builders import ORIGINAL_FIELDS, Place, encoded, picture
from tests.fake_vlm import FakeVlm
from tests.steps import build, records
from tests.unit.drop.readers.foreign import box_format_of, put_images, scenes, unpack, values_of

# The file, its format, where its images are, and by how many pixels its boxes are off: the format's own precision.
WRITTEN = [
    ("coco-datumaro", "coco", "train", 0),
    ("coco-supervision", "coco", "", 0),
    ("yolo-datumaro", "yolo", "obj_train_data", 0.001),
    ("yolo-supervision", "yolo", "images", 0.01),
    ("voc-datumaro", "voc", "JPEGImages", 0),
    ("voc-supervision", "voc", "", 1),  # it counts pixels from 1
    ("label-studio-sdk", "label_studio", "media", 1e-6),
    ("cvat-datumaro", "cvat", "images", 0),
    ("kitti-datumaro", "kitti", "train/image_2", 0),
    ("open-images-datumaro", "open_images", "images/train", 1e-6),
]
# Formats that say nothing of images' sizes.
UNSIZED = ("yolo", "kitti", "open_images")


@pytest.mark.parametrize(("name", "input_format", "folder", "off"), WRITTEN)
def test_every_format_gives_the_same_images_boxes_and_labels(
    place: Place, name: str, input_format: str, folder: str, off: float
) -> None:
    unpack(name, place)
    put_images(place, folder, [scene["image"] for scene in scenes()])
    rows = sorted(values_of(place, input_format), key=lambda row: str(row["image"]))
    assert [row["image"].rpartition("/") for row in rows] == [
        (folder, "/" * bool(folder), scene["image"]) for scene in scenes()
    ]
    for row, scene in zip(rows, scenes(), strict=True):
        assert row["labels"] == scene["labels"]
        size = scene["width"], scene["height"]
        assert input_format in UNSIZED or (int(row["width"]), int(row["height"])) == size
        for box, expected in zip(row["bbox"], scene["bbox"], strict=True):
            read = to_pixels(box, box_format_of(input_format), *size)
            assert read == pytest.approx(to_pixels(expected, "xywh", *size), abs=off)


@pytest.mark.parametrize(("name", "input_format", "folder", "off"), WRITTEN)
def test_the_format_is_found_and_told(place: Place, name: str, input_format: str, folder: str, off: float) -> None:
    unpack(name, place)
    put_images(place, folder, [scenes()[0]["image"]])
    assert contents(place.drop, "auto").input_format == input_format
    plan = place.plan(input_format="auto")
    assert plan.settings.input_format == input_format and plan.settings.box_format == box_format_of(input_format)
    assert f"the drop's manifests are read as {input_format} (" in plan.warnings[0]


@pytest.mark.parametrize(("name", "input_format", "folder", "off"), WRITTEN)
def test_records_are_those_of_rows_of_our_own(
    tmp_path: Any, vlm: FakeVlm, name: str, input_format: str, folder: str, off: float
) -> None:
    first, second = Place(tmp_path / "ours"), Place(tmp_path / "theirs")
    few = scenes()[:3]
    pictures = [encoded(picture(scene["width"], scene["height"])) for scene in few]
    unpack(name, second)
    where = f"{folder}/" * bool(folder)
    for scene, data in zip(few, pictures, strict=True):
        first.put(where + scene["image"], data)
        second.put(where + scene["image"], data)
    lines = [{**scene, "image": where + scene["image"]} for scene in few]
    first.put_rows(*lines)
    build(first, vlm, temperature=0)
    build(second, vlm, temperature=0, input_format=input_format, max_rejected_ratio=1)
    for ours, theirs in zip(records(first), records(second), strict=True):
        assert list(theirs)[: len(ORIGINAL_FIELDS)] == ORIGINAL_FIELDS
        # What is as it was given: the row's own id, and its boxes in the format's own numbers.
        given = {"id", "bbox", "image_uri"} | (
            {"image_with_bbox", "normalized_bbox", "regions"} if off > 0.1 else set()
        )
        assert {key: theirs[key] for key in theirs.keys() - given} == {key: ours[key] for key in ours.keys() - given}
        if off == 0:
            assert theirs["bbox"] == ours["bbox"]


def test_two_formats_in_a_drop_stop_what_is_to_be_found_out(place: Place) -> None:
    unpack("coco-datumaro", place)
    unpack("cvat-datumaro", place)
    with pytest.raises(
        DropError, match=r"2 formats: coco \(annotations/instances_train.json\), cvat \(train.xml\)\. Set the param inp"
    ):
        contents(place.drop, "auto")
    assert contents(place.drop, "coco").manifests == ["annotations/instances_train.json"]


def test_rows_of_our_own_are_found_out_too(place: Place) -> None:
    place.put("a.jpg", b"x")
    place.put_rows({"image": "a.jpg", "bbox": [[1, 2, 30, 40]]})
    plan = place.plan(input_format="auto")
    assert plan.settings.input_format == "jsonl" and plan.rows == 1 and plan.rejected == 0
    assert plan.identity == place.plan().identity
    place.put("b.csv", "image,bbox\na.jpg,\n")
    with pytest.raises(DropError, match=r"2 formats: csv \(b\.csv\), jsonl \(manifest\.jsonl\)"):
        place.plan(input_format="auto")


def test_a_drop_in_which_no_format_is_found_says_so(place: Place) -> None:
    with pytest.raises(DropError, match="there is no drop at"):
        contents(place.drop, "auto")
    place.put("a.jpg", b"x")
    place.put("readme.txt", "Pictures of dogs.\n")
    with pytest.raises(DropError, match="has no file that is a manifest by its name and its beginning"):
        contents(place.drop, "auto")


def test_a_box_format_that_contradicts_is_told_and_not_used(place: Place) -> None:
    unpack("yolo-supervision", place)
    plan = place.plan(input_format="yolo", box_format="xyxy")
    assert plan.settings.box_format == "cxcywh_norm"
    assert "the param box_format is xyxy, which is not used: boxes of yolo are read as cxcywh_norm" in plan.warnings[0]
    assert not any("box_format" in warning for warning in place.plan(input_format="yolo").warnings)


@pytest.mark.parametrize("hidden", ["__MACOSX/annotations/._instances_train.json", ".cache/x.json", "._a.json"])
def test_hidden_manifests_are_left_out_in_folders_too(place: Place, hidden: str) -> None:
    unpack("coco-datumaro", place)
    place.put(hidden, "\x00\x05\x16\x07")
    found = contents(place.drop, "coco")
    assert found.hidden == [hidden] and found.manifests == ["annotations/instances_train.json"]
