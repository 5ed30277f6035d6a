"""COCO, in whatever order a file has it, and with what is wrong in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from regioncap.drop.readers.streamed import MAX_ITEM, items
from regioncap.errors import DropError
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture
from tests.steps import render
from tests.unit.drop.readers.foreign import faults_of, put_images, rows_of, values_of
from tests.unit.steps.test_plan import rejected_of

IMAGES = [{"id": 7, "file_name": "a.jpg", "width": 120, "height": 80}, {"id": 9, "file_name": "b.jpg", "license": 3}]
ANNOTATIONS: list[Any] = [
    {"id": 1, "image_id": 9, "category_id": 2, "bbox": [1, 2, 30, 40], "iscrowd": 0},
    {"id": 2, "image_id": 7, "category_id": 1, "bbox": [5, 6, 20, 10.5], "iscrowd": 1},
    {"id": 3, "image_id": 9, "category_id": 5, "bbox": [9, 9, 9, 9]},
]
CATEGORIES = [{"id": 1, "name": "dog"}, {"id": 2, "name": "自行车"}]
WANTED = [
    {
        "image": "a.jpg", "id": 7, "width": 120, "height": 80, "bbox": [[5, 6, 20, 10.5]], "labels": ["dog"],
        "crowd": [True],
    },
    {"image": "b.jpg", "id": 9, "license": 3, "bbox": [[1, 2, 30, 40], [9, 9, 9, 9]], "labels": ["自行车", None]},
]  # fmt: skip


def put(place: Place, name: str = "a.json", **changes: Any) -> None:
    parts = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES, **changes}
    place.put(name, json.dumps(parts, ensure_ascii=False))


@pytest.fixture(autouse=True)
def images(place: Place) -> None:
    put_images(place, "", ["a.jpg", "b.jpg"])


@pytest.mark.parametrize(
    "order", [("images", "annotations", "categories"), ("categories", "annotations", "images"),
              ("annotations", "categories", "images")],
)  # fmt: skip
def test_boxes_come_to_their_images_in_whatever_order_they_are(place: Place, order: tuple[str, ...]) -> None:
    parts = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}
    place.put("a.json", json.dumps({"info": {"year": 2026}, **{key: parts[key] for key in order}}, indent=1))
    assert values_of(place, "coco") == WANTED


def test_the_boxes_of_panoptic_segments_are_read(place: Place) -> None:
    segments = [{"id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}, {"id": 2, "category_id": 2}]
    put(place, annotations=[{"image_id": 7, "file_name": "a.png", "segments_info": segments}])
    first, second = values_of(place, "coco")
    assert first["bbox"] == [[1, 2, 3, 4], None] and first["labels"] == ["dog", "自行车"]
    assert "bbox" not in second and "labels" not in second


def test_a_bad_annotation_costs_itself_and_is_told_of(place: Place) -> None:
    bad = [17, {"id": 5, "bbox": [1, 2, 3, 4]}, {"id": 6, "image_id": 99, "bbox": [1, 2, 3, 4]}]
    broken = [{"id": 8, "image_id": 7, "category_id": 1, "bbox": bbox} for bbox in ([1, 2], "all", None, {"x": 1})]
    put(place, annotations=[*bad, *broken, *ANNOTATIONS])
    assert [fault[:3] for fault in faults_of(place, "coco")] == [
        ("a.json", 1, "not_an_object"), ("a.json", 2, "image_missing"), ("a.json", 1, "image_missing"),
    ]  # fmt: skip
    reasons = [reason for *_, reason in faults_of(place, "coco")]
    assert reasons[0] == "the annotation at place 1 of its list is not an object"
    assert reasons[1] == "the annotation at place 2 of its list (its id is 5) has no image_id"
    assert reasons[2] == "1 annotations are of the image 99, which the file does not list"
    first, _ = (row.value for _, row in rows_of(place, "coco") if row.value is not None)
    assert first is not None and first["bbox"] == [[1, 2], "all", None, {"x": 1}, [5, 6, 20, 10.5]]


def test_a_bad_box_is_dropped_and_its_neighbours_stay(place: Place) -> None:
    for name in ("a.jpg", "b.jpg"):
        place.put(name, encoded(picture()))
    put(place, annotations=[{"image_id": 7, "bbox": bbox} for bbox in ([1, 2], [5, 6, 20, 10], ["1", 2, 3, 4])])
    plan = place.plan(input_format="coco", when_no_boxes="reject")
    render(place, plan)
    shard = Shard(place.work, plan, plan.shards[0])
    (marked,) = shard.rendered().rows
    assert [(note.box_index, note.code) for note in marked.dropped_boxes] == [(0, "wrong_length"), (2, "not_a_number")]


def test_bad_images_cost_themselves(place: Place) -> None:
    put(place, images=["a.jpg", {"file_name": "a.jpg"}, {"id": 3}, *IMAGES])
    plan = place.plan(input_format="coco")
    assert [(row.line, row.code) for row in rejected_of(place, plan)] == [
        (1, "not_an_object"), (2, "id_invalid"), (3, "image_missing"),
    ]  # fmt: skip
    assert plan.rows == 5


def test_images_are_found_where_such_files_have_them(place: Place) -> None:
    put_images(place, "data/images/train", ["c.jpg", "d.jpg"])
    put_images(place, "data/images/val", ["d.jpg", "E.jpg"])
    names = ["c.jpg", "train/d.jpg", "d.jpg", "../val/d.jpg", "val\\e.jpg", "none.jpg", "../../../etc/passwd", "/x.jpg"]
    put(place, "data/annotations/x.json", images=[{"id": n, "file_name": name} for n, name in enumerate(names)],
        annotations=[])  # fmt: skip
    found = [row.value["image"] if row.value else row.fault for _, row in rows_of(place, "coco")]
    assert found[:2] == ["data/images/train/c.jpg", "data/images/train/d.jpg"]
    assert "several images of the drop can be the one that is called 'd.jpg'" in str(found[2])
    assert found[3] == "data/images/val/d.jpg"
    codes = {row.line: row.code for row in rejected_of(place, place.plan(input_format="coco"))}
    assert codes == {3: "image_not_found", 7: "image_outside_drop", 8: "image_outside_drop"}


def test_an_image_beside_its_file_goes_before_others_of_its_name(place: Place) -> None:
    for part in ("train", "valid"):
        put_images(place, part, ["a.jpg", "b.jpg"])
        put(place, f"{part}/_annotations.coco.json")
    (place.drop_folder / "a.jpg").unlink()
    found = [(row["image"], row["id"]) for row in values_of(place, "coco")]
    # Each file counts its images by itself.
    assert found == [
        (f"{part}/{name}", f"{part}/_annotations.coco.json#{number}")
        for part in ("train", "valid")
        for name, number in (("a.jpg", 7), ("b.jpg", 9))
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", r"it is not JSON at its character 1: \{ is missing|it lists no images"),
        ("{}", "it lists no images"),
        ('{"images": [{"id": 1}', r"it is not JSON at its character 22: , or \] is missing"),
        ('{"images": [{"id": 1,}]}', "it is not JSON at its character 2"),
        ('{"images": [{"id": 1}]} x', "it is not JSON at its character 25: there is more after its end"),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "x"}]}', "none of its annotations"),
        ("", "it is not JSON at its character 1"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_coco_is_named(place: Place, text: str, reason: str) -> None:
    place.put("sub/x.json", text)
    with pytest.raises(DropError, match=rf"the manifest sub/x\.json cannot be read as coco: ({reason})"):
        rows_of(place, "coco")


DEEP = ['{"a": ' * depth + "1" + "}" * depth for depth in (80, 5_000)]


@pytest.mark.parametrize("bad", [*DEEP, '{"a": "' + "]" * (MAX_ITEM + 9) + '"}'])
def test_an_item_that_is_too_deep_or_too_large_is_skipped(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(f'{{"images": [1, {bad}, "]", {{"b": [2]}}], "last": 3}}')
    found = list(items(path))
    assert [(item.key, item.number) for item in found] == [("images", n) for n in (1, 2, 3, 4)] + [("last", 0)]
    assert [item.value for item in found if item.fault is None] == [1, "]", {"b": [2]}, 3]
    assert [item.fault.code for item in found if item.fault] in (["too_deep"], ["line_too_long"])


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
def test_items_are_the_same_wherever_a_piece_of_the_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("regioncap.drop.readers.streamed._PIECE", piece)
    whole = {"a": [1234, -5.5e3, 'ä\\"]}', None, True, {"x": [[]]}, []], "b": 17, "c": [], "自": {"d": 1}}
    path = tmp_path / "x.json"
    for indent in (None, 2):
        path.write_text(json.dumps(whole, ensure_ascii=False, indent=indent), encoding="utf-8")
        found: dict[str, Any] = {}
        for item in items(path):
            if item.number:
                found.setdefault(item.key, []).append(item.value)
            else:
                found[item.key] = item.value
        assert found == {key: value for key, value in whole.items() if value != []}


def test_bytes_that_are_no_utf8_cost_what_they_are_in(place: Place) -> None:
    text = json.dumps({"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}).encode()
    place.put("a.json", text.replace(b"b.jpg", b"\xff.jpg"))
    plan = place.plan(input_format="coco")
    assert [row.code for row in rejected_of(place, plan)] == ["image_not_a_path"] and plan.rows == 2


def test_compressed_and_utf16_files_are_read(place: Place) -> None:
    import gzip

    text = json.dumps({"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}, ensure_ascii=False)
    place.put("a.json.gz", gzip.compress(text.encode("utf-16")))
    assert values_of(place, "coco") == WANTED
    assert place.plan(input_format="auto").settings.input_format == "coco"
