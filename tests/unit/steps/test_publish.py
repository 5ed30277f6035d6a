"""`publish`: from validated shards to a published build."""

import hashlib
import json
import threading
from pathlib import Path

import pandas as pd
import pytest

from regioncap.errors import (
    BoxFormatError,
    CommitRefusedError,
    StepMissingError,
    TooManyRejectedError,
)
from regioncap.steps.validate import validate_shard
from regioncap.warehouse.manifest import Manifest, commit, current
from tests.builders import Place, centres_of_boxes, encoded, picture
from tests.fake_vlm import FakeVlm, completion
from tests.steps import BOXES, build, caption, publish, records, render, validate


def test_a_published_partition_is_whole(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(5)
    done = build(place, vlm, shard_size=2)
    manifest = done.manifest
    names = {entry.path.removeprefix(f"{manifest.build}/") for entry in place.partition.list(f"{manifest.build}/")}
    assert {f"captions-0000{k}-of-00003.jsonl" for k in range(3)} <= names
    assert {"rejected.jsonl", "report.json", "report.html", "README.md"} <= names
    for record in records(place):
        assert record["image_with_bbox"] in names
        assert place.partition.read(f"{manifest.build}/{record['image_with_bbox']}").startswith(b"\xff\xd8")
    for entry in manifest.captions:
        data = place.partition.read(entry.path)
        assert (len(data), data.count(b"\n")) == (entry.bytes, entry.rows)


def test_nothing_is_visible_before_the_manifest_is_written(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(2)

    def crash(*_: object) -> None:
        raise OSError("the machine is gone")

    monkeypatch.setattr("regioncap.steps.publish.commit", crash)
    with pytest.raises(OSError, match="gone"):
        build(place, vlm)
    assert current(place.partition) == (None, None)


def test_a_second_build_of_the_same_drop_publishes_and_asks_nothing(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    first = build(place, vlm)
    again = build(place, vlm, run_id="run-2")
    assert again.unchanged
    assert again.manifest == first.manifest
    assert len(vlm.requests) == 3


def test_the_same_files_uploaded_once_more_publish_nothing_new(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    first = build(place, vlm)
    place.good_rows(3)
    again = build(place, vlm, run_id="run-2")
    assert again.unchanged
    assert again.manifest.build_id == first.manifest.build_id


def test_too_many_rejected_rows_publish_nothing_and_say_what_to_do(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    place.put_rows({"image": "0.jpg", "bbox": BOXES}, "x", {"image": "none.jpg"})
    with pytest.raises(TooManyRejectedError, match=r"2 of 3 rows.*max_rejected_ratio = 0.5.*not_json \(1\)"):
        build(place, vlm, max_rejected_ratio=0.5)
    assert current(place.partition) == (None, None)


def test_boxes_whose_format_no_shard_alone_can_doubt_are_not_published(place: Place, vlm: FakeVlm) -> None:
    centres_of_boxes(place, 12)
    with pytest.raises(BoxFormatError, match="as xywh, but 100% do as cxcywh: set the param box_format"):
        build(place, vlm, shard_size=1)
    assert current(place.partition) == (None, None)
    assert build(place, vlm, run_id="run-2", shard_size=1, box_format="cxcywh").manifest.counts.captioned == 12


def test_a_drop_of_bad_rows_only_can_be_published_too(place: Place, vlm: FakeVlm) -> None:
    place.put_rows("x", "y")
    done = build(place, vlm, max_rejected_ratio=1)
    assert (done.manifest.counts.rows, done.manifest.captions) == (2, [])


def test_the_slower_of_two_builds_learns_that_it_lost(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    outcomes: list[object] = []
    gate = threading.Barrier(2)

    def race() -> None:
        gate.wait()
        try:
            outcomes.append(publish(place, plan).manifest.build_id)
        except CommitRefusedError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest, _ = current(place.partition)
    assert manifest is not None
    winners = {outcome for outcome in outcomes if isinstance(outcome, str)}
    # The slower one either finds the other's build and is content, or is refused and names it.
    assert winners == {manifest.build_id}
    assert all(manifest.build_id in str(outcome) for outcome in outcomes)


def test_a_commit_whose_answer_was_lost_is_a_success(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    done = build(place, vlm)
    commit(place.partition, done.manifest, None)
    other = done.manifest.model_copy(update={"build_id": "other"})
    with pytest.raises(CommitRefusedError, match=done.manifest.build_id):
        commit(place.partition, other, None)


def test_exports_are_published_and_listed(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    done = build(
        place,
        vlm,
        shard_size=2,
        export_formats=["parquet", "hf"],
        export_images="original",
        file_name_prefix="street",
    )
    assert Path(done.manifest.captions[0].path).name == "street-00000-of-00002.jsonl"
    assert [entry.path.partition("/")[2] for entry in done.manifest.exports] == [
        "exports/hf/street-00000-of-00002.parquet",
        "exports/hf/street-00001-of-00002.parquet",
        "exports/hf/README.md",
        "exports/parquet/street-00000-of-00001.parquet",
    ]
    folder = place.folder / "warehouse" / "dt=2026-10-05"
    for entry in done.manifest.exports:
        data = (folder / entry.path).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    hf = folder / done.manifest.exports[0].path
    pictures = pd.concat(pd.read_parquet(path) for path in sorted(hf.parent.glob("*.parquet")))
    parquet = pd.read_parquet(folder / done.manifest.exports[3].path)
    assert pictures["id"].tolist() == parquet["id"].tolist() == [record["id"] for record in records(place)]
    assert [picture["bytes"] for picture in pictures["image"]] == [place.drop.read(f"{k}.jpg") for k in range(3)]


def test_hostile_text_is_shown_as_text(place: Place, vlm: FakeVlm) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": BOXES, "id": evil}, {"image": evil, "bbox": BOXES}, evil)
    vlm.behave = lambda _, body: completion(json.dumps({"<region1>": evil}))
    done = build(place, vlm, max_rejected_ratio=1)
    page = place.partition.read(f"{done.manifest.build}/report.html").decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page and "<img src=x" not in page


def test_the_report_counts_what_happened(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    place.put_rows(*({"image": f"{k}.jpg", "bbox": [*BOXES, [900, 900, 5, 5]]} for k in range(3)), "broken")
    done = build(place, vlm, max_rejected_ratio=1)
    report = json.loads(place.partition.read(f"{done.manifest.build}/report.json"))
    assert report["counts"] == {"rows": 4, "captioned": 3, "rejected": 1, "regions": 3}
    assert report["rejected_by_code"] == {"not_json": 1}
    assert report["dropped_boxes_by_code"] == {"outside": 3}
    assert report["timings"]["asked"] == 3
    assert report["settings"]["temperature"] == 0


def test_a_shard_that_is_not_validated_blocks_the_build(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    plan = place.plan(shard_size=2)
    render(place, plan)
    caption(place, plan, vlm)
    validate_shard(work=place.work, shard_id=plan.shards[0], plan=plan)
    with pytest.raises(StepMissingError):
        publish(place, plan)
    assert current(place.partition) == (None, None)


def test_records_do_not_name_the_build_they_are_in(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    first = build(place, vlm)
    before = place.partition.read(first.manifest.captions[0].path)
    second = build(place, vlm, run_id="run-2", force_rebuild=True)
    assert second.manifest.build_id != first.manifest.build_id
    assert place.partition.read(second.manifest.captions[0].path) == before


def test_the_manifest_on_disk_is_the_one_that_was_returned(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    done = build(place, vlm)
    assert Manifest.model_validate_json(place.partition.read("_manifest.json")) == done.manifest
