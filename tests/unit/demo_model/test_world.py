"""The demo model's world, its drops and its evaluation (the model itself is in tests/integration)."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from demo_model.drops import evaluation_rows, write_drop
from demo_model.evaluate import attributes_of, score
from demo_model.world import SIZES, generator, make_scene
from regioncap.drop.drop import read_rows
from tests.builders import ROOT

SAMPLES = ROOT / "include" / "drops"


def test_the_same_seed_gives_the_same_scene() -> None:
    one, two = (make_scene(generator("train", 3, 4), 5) for _ in range(2))
    assert one.things == two.things and one.boxes == two.boxes
    assert one.image.tobytes() == two.image.tobytes()


def test_a_scene_for_one_purpose_never_turns_up_in_another() -> None:
    scenes = [make_scene(generator(purpose, 1, 0), 5) for purpose in ("train", "evaluate", "sample")]
    assert len({scene.image.tobytes() for scene in scenes}) == 3


@pytest.mark.parametrize("regions", [1, 4, 7, 10])
def test_things_lie_apart_in_their_boxes_and_have_their_size(regions: int) -> None:
    for index in range(20):
        scene = make_scene(generator("evaluate", 9, index), regions)
        unit = np.sqrt(scene.image.width * scene.image.height)
        for thing, (x, y, w, h) in zip(scene.things, scene.boxes, strict=True):
            left, top, side, _ = thing.rect
            assert x <= left and y <= top and x + w >= left + side and y + h >= top + side
            assert x >= 0 and y >= 0 and x + w <= scene.image.width and y + h <= scene.image.height
            assert SIZES[thing.size][0] <= side / unit <= SIZES[thing.size][1]


def test_an_evaluation_drop_has_few_and_many_regions(tmp_path: Any) -> None:
    truth = write_drop(tmp_path, list(evaluation_rows(1, 20)))
    sizes = Counter(len(captions) <= 6 for captions in truth.values())
    assert sizes[True] >= 9 and sizes[False] >= 9
    rows = [row.value for row in read_rows(tmp_path / "manifest.jsonl", "jsonl", "bbox")]
    assert all(row is not None and (tmp_path / row["image"]).exists() for row in rows)
    assert all(len(row["bbox"]) == len(truth[row["image"]]) for row in rows if row)


def record(image: str, *captions: str, first: int = 0) -> dict[str, Any]:
    regions = [{"box_index": first + index, "caption": caption} for index, caption in enumerate(captions)]
    return {"image": image, "regions": regions}


def test_only_captions_of_the_world_have_attributes() -> None:
    assert attributes_of(" A small dotted red circle.") == ("small", "dotted", "red", "circle")
    assert attributes_of("a small red circle") is None
    assert attributes_of("a small dotted red circle and a hat") is None


def test_the_score_counts_what_is_right_and_what_is_bound() -> None:
    truth = {"a": ["a small solid red circle", "a large dotted blue star"]}
    perfect = score(truth, [record("a", *truth["a"])])["1 to 6"]
    assert (perfect.regions, perfect.all_right, perfect.bound) == (2, 2, 2)
    swapped = score(truth, [record("a", *reversed(truth["a"]))])["1 to 6"]
    assert (swapped.all_right, swapped.bound) == (0, 0)
    one_off = score(truth, [record("a", "a small solid red heart", truth["a"][1])])["1 to 6"]
    assert (one_off.all_right, one_off.right["shape"], one_off.right["size"], one_off.bound) == (1, 1, 2, 2)


def test_what_is_missing_counts_as_wrong() -> None:
    truth = {"a": ["a small solid red circle"], "b": ["a small solid red circle", "a large solid red star"]}
    result = score(truth, [record("b", "a large solid red star", first=1)])["1 to 6"]
    assert (result.images, result.missing_images, result.regions, result.all_right) == (2, 1, 3, 1)


@pytest.mark.parametrize("date", ["2026-10-05", "2026-10-06"])
def test_the_sample_drops_are_as_their_truth_says(date: str) -> None:
    truth = json.loads((SAMPLES / "truth" / f"{date}.json").read_text())
    rows = {
        row.value["image"]: row.value
        for row in read_rows(SAMPLES / date / "manifest.jsonl", "jsonl", "bbox")
        if row.value
    }
    assert truth.keys() <= rows.keys()
    assert (SAMPLES / date / "_READY").exists()
    assert sum("bbox" not in rows[image] or rows[image]["bbox"] is None for image in truth) >= 3


def test_the_photos_have_their_licences_beside_them() -> None:
    folder = SAMPLES / "2026-10-07"
    licences = (folder / "LICENSES.md").read_text()
    for row in read_rows(folder / "manifest.jsonl", "jsonl", "bbox"):
        assert row.value is not None
        assert (folder / row.value["image"]).exists()
        assert row.value["image"] in licences
