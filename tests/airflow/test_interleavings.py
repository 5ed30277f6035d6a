"""Runs of one date in each other's way, step by step: the right build, or a clear failure with nothing published.

Each is what the rule-based machine of `test_safety` finds where the code lets it, as short as it can be.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stateful.runs import PLAN, PUBLISH
from tests.stateful.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.installed():
        yield world


def build(world: World, kind: str, **params: object) -> None:
    """A run from its first task to its last, or to where it waits."""
    world.trigger(kind, **params)  # type: ignore[arg-type]
    world.go_on(-1)
    world.check()


def test_a_cleared_task_of_an_older_run_mixes_nothing_into_a_build(world: World) -> None:
    build(world, "plain")
    build(world, "original")
    world.clear(0, ("validate", 1), downstream=True)
    world.go_on(0)
    world.check()


def test_a_cleared_publish_of_an_older_run_publishes_only_what_is_its_own(world: World) -> None:
    build(world, "plain")
    build(world, "original")
    world.clear(0, PUBLISH, downstream=False)
    world.go_on(0)
    world.check()


def test_a_step_that_is_marked_as_a_success_by_hand_does_not_pass_for_one(world: World) -> None:
    build(world, "plain")
    world.trigger("original")
    world.go_on(-1, 2)
    for shard in (0, 1):
        world.mark_success(-1, ("validate", shard))
    world.mark_success(-1, ("render", 0))
    world.go_on(-1)
    world.check()


@pytest.mark.parametrize("tasks", [1, 4, 6, 8])
def test_a_run_that_was_queued_for_hours_goes_on_with_its_own(world: World, tasks: int) -> None:
    world.trigger("plain")
    world.go_on(-1, tasks)
    world.pause()
    build(world, "original")
    world.go_on(0)
    world.check()


@pytest.mark.parametrize("at", range(0, 90, 5))
def test_a_run_that_overtakes_a_publishing_one_does_not_get_into_its_build(world: World, at: int) -> None:
    world.trigger("original")
    world.go_on(-1, 8)

    def overtake() -> None:
        world.pause()
        build(world, "plain")

    world.interrupted(0, 0, at, overtake)
    world.check()
    world.go_on(0)
    world.check()


def test_what_is_approved_is_what_was_shown(world: World) -> None:
    build(world, "original", approval="always")
    world.change_image(0, 1)
    world.clear(0, PLAN, downstream=True)
    world.go_on(0)
    world.answer(0, approve=True)
    world.go_on(0)
    world.check()


def test_what_was_deleted_while_it_waited_for_approval_is_not_made_current(world: World) -> None:
    build(world, "plain", approval="always")
    world.delete_partition()
    world.answer(0, approve=True)
    world.go_on(0)
    world.check()
    world.settle("plain")
    world.check()


def test_a_build_that_lacks_a_file_is_not_gone_back_to(world: World) -> None:
    build(world, "plain")
    build(world, "original")
    world.delete_published(0, "deleted")
    world.roll_back(1)
    world.check()


def test_a_build_that_waits_is_published_though_the_manifest_was_touched(world: World) -> None:
    build(world, "plain")
    build(world, "original", approval="always")
    world.touch_manifest()
    world.collect()
    world.answer(1, approve=True)
    world.go_on(1)
    world.check()
    assert world.published == 2


@pytest.mark.parametrize("tasks", [0, 3, 5, 7])
@pytest.mark.parametrize("at", range(0, 30, 2))
def test_a_fault_that_passes_rejects_no_row(world: World, tasks: int, at: int) -> None:
    world.trigger("original")
    world.go_on(0, tasks)
    world.struck(0, 0, at, "fails")
    world.go_on(0)
    world.check()
    world.settle("original")
    world.check()


@pytest.mark.parametrize("tasks", [5, 6, 7, 8])
def test_exports_get_the_image_that_has_come_back(world: World, tasks: int) -> None:
    world.trigger("original")
    world.go_on(0, tasks)
    world.delete_image(0)
    world.go_on(0)
    world.change_image(0, 0)
    world.settle("original")
    world.check()


def test_a_drop_that_was_touched_is_built_once_at_most(world: World) -> None:
    world.settle("plain")
    world.upload_again()
    world.settle("plain")
    world.settle("plain")
    world.check()


def test_the_same_drop_uploaded_again_does_not_undo_a_roll_back(world: World) -> None:
    world.settle("plain")
    world.settle("original")
    world.roll_back(0)
    world.upload_again()
    build(world, "original")
    world.check()


@pytest.mark.parametrize("task", ["render", "caption", "validate"])
def test_a_run_with_nothing_to_do_takes_nothing_from_the_one_that_built(world: World, task: str) -> None:
    build(world, "plain")
    build(world, "plain")
    world.clear(0, (task, 1), downstream=True)
    world.go_on(0)
    world.check()


@pytest.mark.parametrize("change", [lambda world: world.change_image(0, 1), lambda world: world.change_manifest(1)])
def test_a_drop_that_changes_after_it_was_planned_is_built_as_one_state(
    world: World, change: Callable[[World], None]
) -> None:
    world.trigger("plain")
    world.go_on(0, 2)
    change(world)
    world.go_on(0)
    world.check()
