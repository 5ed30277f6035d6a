"""Labels and other fields on their way from a row to its record, and into the prompt."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regioncap.ask.requests import first_requests
from regioncap.captions.prompts import label_hint
from regioncap.regions.records import RenderedRow
from regioncap.steps.render import render_shard
from regioncap.work.shard import Shard
from tests.builders import ORIGINAL_FIELDS, Place, describe, encoded, picture

BOXES = [[10, 10, 40, 30], [500, 500, 9, 9], [60, 20, 50, 50]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.put("a.jpg", encoded(picture()))
    return place


def record_of(place: Place, say: Any = describe, **changes: Any) -> dict[str, Any]:
    place.build(say, **changes)
    (text,) = place.published("captions-00000-of-00001.jsonl").splitlines()
    return json.loads(text)  # type: ignore[no-any-return]


def texts_of(place: Place, **changes: Any) -> list[list[str]]:
    """The texts of each request about the drop's only row."""
    plan = place.plan(**changes)
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    (row,) = Shard(place.work, plan, shard_id).rendered().rows
    return [[part.value for part in request.parts if part.kind == "text"] for request in first_requests(row, plan)]


def test_a_label_goes_with_its_box_also_where_a_box_before_it_is_dropped(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES, "labels": ["door", "sky", "cat"]})
    record = record_of(place)
    assert [(region["box_index"], region["label"]) for region in record["regions"]] == [(0, "door"), (2, "cat")]


def test_other_fields_are_in_the_record_only_where_they_are_asked_for(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES, "labels": ["door", "sky", "cat"], "camera": "front", "at": [1, 2]})
    assert record_of(place)["source"] is None
    assert record_of(place, keep_fields=["*"])["source"] == {"camera": "front", "at": "[1, 2]"}
    assert record_of(place, keep_fields=["at", "speed"])["source"] == {"at": "[1, 2]", "speed": None}


def test_fields_that_no_row_has_are_told_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put_rows(
        *({"image": "a.jpg", "bbox": BOXES, "n": number} for number in range(4)), {"image": "a.jpg", "at": 1, "b": None}
    )
    told = (
        "no row has anything in the fields 'camara', 'b', which the param keep_fields names: they are null in all "
        "records. Are they called so?"
    )
    assert place.plan(keep_fields=["n", "camara", "at", "b"]).warnings == [told]
    assert place.plan(keep_fields=["*", "camara"]).warnings == [] == place.plan(keep_fields=["n", "at"]).warnings
    monkeypatch.setattr("regioncap.steps.plan.processes_for", lambda rows, files: 2)
    assert place.plan(run_id="other", keep_fields=["n", "camara", "at", "b"]).warnings == [told]


@pytest.mark.parametrize("processes", [0, 2])
def test_fields_of_several_kinds_are_told_of(place: Place, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    monkeypatch.setattr("regioncap.steps.plan.processes_for", lambda rows, files: processes)
    values = [
        {"speed": 1, "at": [1]},
        {"speed": 2.5, "at": "x"},
        {"speed": None, "good": True},
        {"<b>": 1},
        {"<b>": ""},
    ]
    place.put_rows(*({"image": "a.jpg", "bbox": BOXES, **value} for value in values))
    assert place.plan(keep_fields=["*"]).warnings == [
        "1 field under source is of several kinds, such as text in some rows and numbers in others. Tools that expect "
        "one kind in a field will refuse the records: one whose name is not shown"
    ]
    place.put_rows(*({"image": "a.jpg", "bbox": BOXES, "speed": speed, "good": speed} for speed in (1, "fast", True)))
    (told,) = place.plan(keep_fields=["good", "speed"]).warnings
    assert told.startswith("2 fields under source are ") and told.endswith(": good, speed")


def test_the_nine_fields_are_what_they_were_with_labels_and_fields_and_hints(place: Place) -> None:
    place.put_rows({"id": "r", "image": "a.jpg", "bbox": BOXES})
    before = record_of(place)
    place.put_rows({"id": "r", "image": "a.jpg", "bbox": BOXES, "labels": ["door", "sky", "cat"], "camera": "front"})
    after = record_of(place, keep_fields=["*"], label_hint=True)
    assert list(after)[:9] == ORIGINAL_FIELDS
    assert {name: after[name] for name in ORIGINAL_FIELDS} == {name: before[name] for name in ORIGINAL_FIELDS}


@pytest.mark.parametrize("mode", ["joint", "per_region"])
def test_a_hint_follows_the_prompt_and_is_nowhere_else(place: Place, mode: str) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES, "labels": ["door", "sky", "cat"]})
    off, on = texts_of(place, caption_mode=mode), texts_of(place, caption_mode=mode, label_hint=True)
    hint = label_hint({1: "door", 2: "cat"}, "en")
    assert hint.endswith("region 1 is a door; region 2 is a cat.")
    assert on == [[prompt, hint, *rest] for prompt, *rest in off]


@pytest.mark.parametrize("labels", [None, [None, "sky", None], ["<|im_end|>", "sky", "<image>"]])
def test_without_a_label_that_can_be_told_there_is_no_hint(place: Place, labels: Any) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES, "labels": labels})
    assert texts_of(place, label_hint=True) == texts_of(place)


@pytest.mark.parametrize(
    "label", ["red tag on the black frame of a door", "Describe the region. Answer with one JSON key", "a 'cat' \" }"]
)
def test_a_caption_that_says_what_the_label_says_is_no_leak_of_the_prompt(place: Place, label: str) -> None:
    place.put_rows({"image": "a.jpg", "bbox": [[10, 10, 40, 30]], "labels": [label]})

    def say(_: RenderedRow) -> str:
        return json.dumps({"<region1>": "a red tag on the black frame of a door"})

    record = record_of(place, say, label_hint=True)
    assert record["regions"][0] | {"label": label} == record["regions"][0]
    assert record["checks"] == []


def test_a_parquet_manifest_has_labels_and_fields_too(place: Place) -> None:
    table = pd.DataFrame(
        [{"image": "a.jpg", "bbox": BOXES[:1], "labels": ["door"], "camera": "front", "at": pd.Timestamp("2026-10-05")}]
    )
    table.to_parquet(place.drop_folder / "manifest.parquet")
    record = record_of(place, input_format="parquet", keep_fields=["*"])
    assert record["regions"][0]["label"] == "door"
    assert record["source"] == {"camera": "front", "at": "2026-10-05 00:00:00"}


def test_a_csv_manifest_has_them_too(place: Place) -> None:
    table = pd.DataFrame([{"image": "a.jpg", "bbox": json.dumps(BOXES[:1]), "labels": '["door"]', "camera": "front"}])
    table.to_csv(place.drop_folder / "manifest.csv", index=False)
    record = record_of(place, input_format="csv", keep_fields=["camera"])
    assert (record["regions"][0]["label"], record["source"]) == ("door", {"camera": "front"})
