"""What of a work area can go: nothing that a build under way, one that waits, or the next one reads."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from regioncap.drop.elsewhere import Images
from regioncap.errors import PartitionBusyError, StepMissingError
from regioncap.regions.records import RenderedRow
from regioncap.steps.publish import stage_build
from regioncap.steps.stage import stage_shard
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import current
from regioncap.warehouse.whole import problems
from regioncap.work.claim import Claim
from regioncap.work.completions import load_completions
from regioncap.work.layout import ANSWERS, plan_path, shard_path
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged
from regioncap.work.upkeep import WorkArea, abandoned, collect, give_up, look
from tests.builders import Place, encoded, picture, validated


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def say(row: RenderedRow) -> str:
    return "\n".join(f"<region{region.region}>: a red door, number {row.id}" for region in row.regions)


def pause(folder: Path) -> float:
    """Wait until the file system's clock has gone on; returns a time after which nothing there has been written yet."""
    newest = max(path.stat().st_ctime for path in folder.rglob("*") if path.is_file())
    probe = folder / "probe"
    while not probe.exists() or probe.stat().st_ctime <= newest:
        probe.write_bytes(b"")
    probe.unlink()
    return newest + 1e-6


def looked(place: Place, limit: float, alive: Iterable[str] = ()) -> WorkArea:
    published, _ = current(place.partition)
    running = set(alive)
    return look(place.work, published.plan_id if published else None, limit, lambda run: run in running)


def went(place: Place, limit: float) -> list[str]:
    area = looked(place, limit)
    folders: list[str] = []
    collect(place.work, area, lambda heap: folders.append(heap.folder))
    return folders


def names(store: Store, folder: str) -> list[str]:
    return [entry.path for entry in store.list(folder)]


def test_a_plan_that_was_superseded_goes_with_its_shards_and_answers_of_what_is_published_stay(place: Place) -> None:
    place.good_rows(2)
    first = place.build(say)
    place.put("other.jpg", encoded(picture(colour=(1, 2, 200))))
    place.put_rows({"image": "other.jpg", "bbox": [[10, 10, 40, 30]]})
    second = place.build(say)
    limit = pause(place.folder)
    before = {shard: load_completions(place.work.sub(shard_path(shard)), ANSWERS) for shard in shards(place)}
    folders = went(place, limit)
    (shard,) = shards(place)
    assert f"plans/{first.manifest.plan_id}/" in folders and f"plans/{second.manifest.plan_id}/" not in folders
    assert f"shards/{shard}/images/" in folders
    assert [folder for folder in folders if folder.startswith("shards/") and not folder.endswith("/images/")] != []
    assert place.work.sub("shards/").folders() == [shard]
    assert load_completions(place.work.sub(shard_path(shard)), ANSWERS) == before[shard] != {}
    # Nothing that readers see has changed, nor the build that can be gone back to.
    for build in (first, second):
        assert list(problems(place.partition, build.manifest, read=True)) == []
    assert went(place, limit) == []


def shards(place: Place) -> list[str]:
    """Those of the plan of the current build."""
    published, _ = current(place.partition)
    assert published is not None
    return Plan.load(place.work, published.plan_id).shards


def test_after_it_a_build_with_other_settings_draws_its_images_again_and_is_as_before(place: Place) -> None:
    place.good_rows(3)
    place.build(say)
    before = place.published("captions-00000-of-00001.jsonl")
    limit = pause(place.folder)
    assert went(place, limit)
    plan = place.plan(export_formats=["csv"], max_attempts=1, max_rejected_ratio=1)
    assert not plan.unchanged
    place.build(say, export_formats=["csv"])
    assert place.published("captions-00000-of-00001.jsonl") == before


def test_what_was_touched_lately_stays(place: Place) -> None:
    limit = 0.0
    for rows in (2, 3):
        place.good_rows(rows)
        place.build(say)
    area = looked(place, limit)
    assert area.leftovers == [] and area.held.files > 10 and area.held.bytes > 1_000


def test_what_a_young_plan_needs_of_old_shards_stays_with_its_images(place: Place) -> None:
    place.good_rows(2)
    place.build(say)
    limit = pause(place.folder)
    # Of the same rows: the shard is the same.
    plan = place.plan(export_formats=["csv"])
    assert plan.shards == shards(place)
    assert went(place, limit) == []
    assert names(place.work, f"{shard_path(plan.shards[0])}images/") != []


def test_a_date_that_is_being_built_is_left_alone_and_one_whose_run_is_over_is_not(place: Place) -> None:
    place.good_rows(2)
    place.build(say)
    Claim.take(place.work, "run-2", lambda run: True)
    limit = pause(place.folder)
    with pytest.raises(PartitionBusyError, match="is being built by the run run-2"):
        looked(place, limit, alive=["run-2"])
    assert looked(place, limit).leftovers != []


def test_a_build_that_waits_for_a_person_keeps_all_that_it_needs(place: Place) -> None:
    plan = validated(place.work, "a")
    staged = stage_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(), max_rejected_ratio=1,
        progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    staged.save(place.work)
    limit = pause(place.folder)
    assert went(place, limit) == []


def test_answers_that_were_never_published_stay_while_the_next_plan_looks_into_them(place: Place) -> None:
    place.good_rows(2)
    plan = place.plan()
    limit = pause(place.folder)
    assert went(place, limit) == []
    assert place.work.sub("plans/").folders() == [plan.plan_id]


def test_where_nobody_can_tell_what_a_plan_needs_nothing_goes(place: Place) -> None:
    place.good_rows(2)
    build = place.build(say)
    place.work.write(plan_path(build.manifest.plan_id), b'{"from": "a newer version"}')
    limit = pause(place.folder)
    with pytest.raises(StepMissingError, match="another version"):
        looked(place, limit)


def test_it_stops_where_a_run_plans_the_date_meanwhile(place: Place) -> None:
    for rows in (2, 3, 4):
        place.good_rows(rows)
        place.build(say)
    limit = pause(place.folder)
    area = looked(place, limit)
    assert len(area.leftovers) > 2
    gone: list[str] = []

    def one(folder: str) -> None:
        gone.append(folder)
        Claim.take(place.work, "run-2", lambda run: True)

    with pytest.raises(PartitionBusyError, match="is planned meanwhile"):
        collect(place.work, area, lambda heap: one(heap.folder))
    assert len(gone) == 1


def staged_half(place: Place) -> str:
    """Shards whose images are in a build that is begun; returns its folder."""
    plan = place.ready(say)
    for shard_id in plan.shards:
        stage_shard(
            work=place.work, shard_id=shard_id, plan=plan, drop=Images(place.drop), partition=place.partition,
            progress=lambda done, images: None,
        )  # fmt: skip
    (folder,) = set(place.partition.folders()) - kept(place)
    return folder


def kept(place: Place) -> set[str]:
    published, _ = current(place.partition)
    return {published.build} if published else set()


@pytest.mark.parametrize("first", [True, False], ids=["nothing published", "another published"])
def test_a_build_that_was_begun_and_that_nobody_went_on_with_goes(place: Place, first: bool) -> None:
    place.good_rows(2)
    if not first:
        place.build(say)
        place.good_rows(3)
    young = pause(place.folder)
    folder = staged_half(place)
    assert abandoned(place.partition, young) == []
    (heap,) = abandoned(place.partition, pause(place.folder))
    assert (heap.folder, heap.files > 1) == (f"{folder}/", True)
    give_up(place.work, place.partition, heap)
    assert place.partition.folders() == sorted(kept(place))
    # Whoever goes on with its plan all the same begins another one.
    assert staged_half(place) != folder
    assert place.build(say).manifest.counts.captioned == (2 if first else 3)


def test_a_build_that_is_whole_and_waits_for_somebody_is_not_given_up(place: Place) -> None:
    place.good_rows(2)
    plan = place.ready(say)
    staged = stage_build(
        plan=plan, drop=Images(place.drop), work=place.work, partition=place.partition, before=(),
        max_rejected_ratio=1.0, progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    assert abandoned(place.partition, pause(place.folder)) == []
