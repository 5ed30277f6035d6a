"""`plan`: rows into shards that are known by what is in them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from regioncap.builds import shard
from regioncap.builds.drop import DropError
from regioncap.builds.layout import plan_rejected_path, shard_path
from regioncap.builds.plan import MAX_SHARDS, Plan
from regioncap.builds.publish.manifest import Counts, FileEntry, Manifest, commit
from regioncap.regions.records import PlannedRow, Rejected
from tests.builders import DATE, Place

BOXES = [[1, 2, 30, 40]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def rows_of(place: Place, plan: Plan) -> list[list[PlannedRow]]:
    return [shard.planned(place.work.sub(shard_path(shard_id))) for shard_id in plan.shards]


def rejected_of(place: Place, plan: Plan) -> list[Rejected]:
    return shard.read_lines(place.work, plan_rejected_path(plan.plan_id), Rejected)


def published(place: Place, plan: Plan) -> None:
    """Pretend that the plan was published."""
    entry = FileEntry(path="build=x/rejected.jsonl", rows=0, bytes=0, sha256="")
    manifest = Manifest(
        partition=f"dt={DATE}", build_id="x", build="build=x", captions=[], rejected=entry,
        counts=Counts(rows=1, captioned=1, rejected=0, regions=1), created_at="", plan_id=plan.plan_id,
        fingerprint=plan.fingerprint, identity=plan.identity,
    )  # fmt: skip
    commit(place.partition, manifest, None)


def test_every_row_is_in_a_shard_or_rejected(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES}, "half a", {"image": "b.jpg"}, {"bbox": BOXES}, {"image": "c.jpg"})
    plan = place.plan(shard_size=2)
    assert [[row.image for row in rows] for rows in rows_of(place, plan)] == [["a.jpg", "b.jpg"], ["c.jpg"]]
    assert [(row.line, row.code) for row in rejected_of(place, plan)] == [(2, "not_json"), (4, "image_missing")]
    assert (plan.rows, plan.rejected, plan.unchanged) == (5, 2, False)


def test_rows_of_all_manifests_are_planned_in_their_order(place: Place) -> None:
    place.put_rows({"image": "b.jpg"}, name="b.jsonl")
    place.put_rows({"image": "a.jpg"}, name="a.jsonl")
    rows = rows_of(place, place.plan())[0]
    assert [(row.manifest, row.line, row.image) for row in rows] == [("a.jsonl", 1, "a.jpg"), ("b.jsonl", 1, "b.jpg")]


def test_the_same_rows_make_the_same_shards_and_a_new_row_changes_only_the_last(place: Place) -> None:
    rows = [{"image": f"{number}.jpg"} for number in range(5)]
    place.put_rows(*rows)
    first = place.plan(shard_size=2)
    place.put_rows(*rows, {"image": "new.jpg"})
    second = place.plan(shard_size=2)
    assert second.shards[:2] == first.shards[:2]
    assert second.shards[2] != first.shards[2]


def test_a_large_drop_gets_larger_shards_not_more_than_airflow_maps(place: Place) -> None:
    place.put("m.jsonl", "".join(json.dumps({"image": f"{number}.jpg"}) + "\n" for number in range(2 * MAX_SHARDS + 1)))
    plan = place.plan(shard_size=1)
    assert len(plan.shards) <= MAX_SHARDS
    assert sum(map(len, rows_of(place, plan))) == 2 * MAX_SHARDS + 1


def test_a_published_drop_that_did_not_change_makes_no_shards(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    again = place.plan(run_id="run-2")
    assert again.unchanged
    assert again.shards == []


@pytest.mark.parametrize(
    "change", [{"temperature": 0.5}, {"mark_style": "corners"}, {"max_boxes": 3}, {"export_formats": ["csv"]}]
)
def test_a_setting_that_shapes_the_build_makes_it_new(place: Place, change: dict[str, object]) -> None:
    place.good_rows(2)
    published(place, place.plan())
    assert not place.plan(**change).unchanged


def test_a_setting_that_does_not_shape_the_build_leaves_it(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    assert place.plan(max_rejected_ratio=0.9, readiness="unchanged").unchanged


def test_another_model_makes_a_new_build(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    assert not place.plan(model="another").unchanged


@pytest.mark.parametrize("group", ["regioncap.gates", "regioncap.proposers"])
def test_another_version_of_an_installed_gate_or_of_the_detector_in_use_makes_a_new_build(
    place: Place, extend: Callable[..., None], group: str
) -> None:
    code = "from regioncap.regions.gates import Gate\nit = Gate('mine', 'warn', lambda answer: None)"
    place.good_rows(1)
    using = {"when_no_boxes": "mine"} if group == "regioncap.proposers" else {}
    extend(group, "mine", code, version="1.0")
    published(place, place.plan(**using))
    assert place.plan(**using).unchanged
    extend(group, "mine", code, version="1.1")
    assert not place.plan(**using).unchanged


def test_a_detector_that_is_not_used_has_no_say(place: Place, extend: Callable[..., None]) -> None:
    place.good_rows(1)
    published(place, place.plan())
    extend("regioncap.proposers", "mine", "it = None")
    assert place.plan().unchanged


def test_a_changed_image_makes_a_new_build(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    place.put("1.jpg", b"another picture")
    assert not place.plan().unchanged


def test_force_rebuild_plans_anew_and_its_own_retry_finds_the_same_plan(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    first = place.plan(run_id="run-2", force_rebuild=True)
    assert not first.unchanged
    assert place.plan(run_id="run-2", force_rebuild=True) == first
    assert place.plan(run_id="run-3", force_rebuild=True).plan_id != first.plan_id


def test_all_rows_rejected_is_a_plan_without_shards(place: Place) -> None:
    place.put_rows("nothing", "of use")
    plan = place.plan()
    assert (plan.rows, plan.rejected, plan.shards, plan.unchanged) == (2, 2, [], False)


def test_an_empty_manifest_is_a_fault_of_the_drop(place: Place) -> None:
    place.put("m.jsonl", "\n\n")
    with pytest.raises(DropError, match="have no rows"):
        place.plan()


def test_a_plan_is_read_back_as_it_was_written(place: Place) -> None:
    place.good_rows(1)
    plan = place.plan()
    assert Plan.load(place.work, plan.plan_id) == plan
