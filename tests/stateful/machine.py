"""All that can happen to a date's builds, in any order: hypothesis' rule-based machine over a `World`."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.stateful.world import KINDS, ViolationError, World

STEPS_PER_EXAMPLE = 50

_NUMBERS = st.integers(0, 2)
_TASKS = st.integers(0, 12)
# Most tasks make some ten requests, the last one a hundred.
_REQUESTS = st.one_of(st.integers(0, 9), st.integers(0, 90))
_KINDS = st.sampled_from(sorted(KINDS))
_FLAGS = st.sampled_from([True, False])
_ALL = 100
_HOW = st.sampled_from(["fails", "answer lost", "killed", "killed after"])


class Count:
    """What has been done in all examples so far."""

    def __init__(self) -> None:
        self.steps = self.published = self.faults = 0


class Builds(RuleBasedStateMachine):
    """Up to three runs of one date, with settings of different kinds, and a drop that changes."""

    count = Count()

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="regioncap-world-"))
        self._open = contextlib.ExitStack()
        self.world = World(self._folder)
        self._open.enter_context(self.world.installed())

    def teardown(self) -> None:
        """Nothing of it is left."""
        self.count.published += self.world.published
        self.count.faults += self.world.requests.struck
        self._open.close()
        shutil.rmtree(self._folder)

    @property
    def _has_runs(self) -> bool:
        return bool(self.world.runs)

    @property
    def _has_tasks(self) -> bool:
        return any(run.runnable() for run in self.world.runs)

    def _waiting(self, number: int) -> int:
        """A run with tasks that may run."""
        waiting = [place for place, run in enumerate(self.world.runs) if run.runnable()]
        return waiting[number % len(waiting)]

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        """After every step."""
        self.world.check()

    @rule(
        kind=_KINDS,
        approval=st.sampled_from(["never", "never", "always"]),
        force=st.sampled_from([False, False, True]),
        tasks=st.sampled_from([_ALL, 0, 2, 5, _ALL]),
    )
    def trigger(self, kind: str, approval: str, force: bool, tasks: int) -> None:
        """A run begins, and so many of its tasks run; the first of three runs is forgotten."""
        self._done()
        if len(self.world.runs) == 3:
            self.world.runs.pop(0)
        self.world.trigger(kind, approval, force)
        self.world.go_on(-1, tasks)

    @precondition(lambda self: self._has_tasks)
    @rule(run=_NUMBERS, task=_TASKS)
    def a_task(self, run: int, task: int) -> None:
        """One task of a run."""
        self._done()
        self.world.step(self._waiting(run), task)

    @precondition(lambda self: self._has_tasks)
    @rule(run=_NUMBERS)
    def all_tasks(self, run: int) -> None:
        """All tasks of a run that may run."""
        self._done()
        self.world.go_on(self._waiting(run))

    @precondition(lambda self: self._has_runs)
    @rule(run=_NUMBERS, task=_TASKS, downstream=_FLAGS, alike=_FLAGS, go_on=_FLAGS)
    def clear(self, run: int, task: int, downstream: bool, alike: bool, go_on: bool) -> None:
        """A task is cleared, and the run may go on."""
        self._done()
        self.world.clear(run, task, downstream=downstream, alike=alike)
        self.world.go_on(run, _ALL if go_on else 0)

    @precondition(lambda self: self._has_runs)
    @rule(run=_NUMBERS, task=_TASKS)
    def mark_success(self, run: int, task: int) -> None:
        """A task is marked as a success."""
        self._done()
        self.world.mark_success(run, task)

    @precondition(lambda self: self._has_runs)
    @rule(run=_NUMBERS, how=st.sampled_from(["marked", "deleted"]))
    def end(self, run: int, how: str) -> None:
        """A run ends by hand."""
        self._done()
        self.world.end(run, how)

    @precondition(lambda self: any(run.awaiting() for run in self.world.runs))
    @rule(run=_NUMBERS, approve=st.sampled_from([True, True, False]))
    def answer(self, run: int, approve: bool) -> None:
        """A request is answered."""
        self._done()
        waiting = [place for place, each in enumerate(self.world.runs) if each.awaiting()]
        self.world.answer(waiting[run % len(waiting)], approve)

    @rule()
    def pause(self) -> None:
        """A long pause."""
        self._done()
        self.world.pause()

    @precondition(lambda self: self._has_tasks)
    @rule(run=_NUMBERS, task=_TASKS, at=_REQUESTS, how=_HOW)
    def fault(self, run: int, task: int, at: int, how: str) -> None:
        """A request of a task fails, or its worker is killed there."""
        self._done()
        self.world.struck(self._waiting(run), task, at, how)

    @precondition(lambda self: self._has_tasks)
    @rule(run=_NUMBERS, task=_TASKS, at=_REQUESTS, what=st.integers(0, 6), other=_NUMBERS)
    def meanwhile(self, run: int, task: int, at: int, what: int, other: int) -> None:
        """Something else happens in the middle of a task."""
        self._done()
        world = self.world
        happening: Callable[[], None] = [
            lambda: world.go_on(other),
            lambda: world.go_on(other, 1),
            lambda: world.change_image(other, what + other),
            lambda: world.delete_image(other),
            lambda: world.change_manifest(other),
            world.pause,
            lambda: world.roll_back(0),
        ][what]
        world.interrupted(self._waiting(run), task, at, happening)

    @rule(image=_NUMBERS, content=_NUMBERS)
    def change_image(self, image: int, content: int) -> None:
        """An image changes."""
        self._done()
        self.world.change_image(image, content)

    @rule(image=_NUMBERS)
    def delete_image(self, image: int) -> None:
        """An image is deleted."""
        self._done()
        self.world.delete_image(image)

    @rule(number=st.integers(0, 1))
    def change_manifest(self, number: int) -> None:
        """The manifest changes."""
        self._done()
        self.world.change_manifest(number)

    @rule()
    def upload_again(self) -> None:
        """The same drop, once more."""
        self._done()
        self.world.upload_again()

    @rule()
    def delete_partition(self) -> None:
        """The partition is deleted."""
        self._done()
        self.world.delete_partition()

    @rule(file=st.integers(0, 30), how=st.sampled_from(["deleted", "emptied"]))
    def delete_published(self, file: int, how: str) -> None:
        """A published file goes."""
        self._done()
        self.world.delete_published(file, how)

    @rule()
    def touch_manifest(self) -> None:
        """The manifest is written as it is."""
        self._done()
        self.world.touch_manifest()

    @rule(which=_NUMBERS)
    def roll_back(self, which: int) -> None:
        """An earlier build is the current one again."""
        self._done()
        self.world.roll_back(which)

    @rule()
    def collect(self) -> None:
        """Old builds are collected."""
        self._done()
        self.world.collect()

    @rule(kind=_KINDS)
    def settle(self, kind: str) -> None:
        """An undisturbed run puts everything right."""
        self._done()
        self.world.settle(kind)

    def _done(self) -> None:
        self.count.steps += 1


def explore(
    steps: int, seed: int, *, shrink: bool = True, without: Sequence[str] = ()
) -> tuple[Count, ViolationError | None]:
    """Let at least so many rules happen; the same seed, the same ones. Ends at the first violation.

    With `shrink`, the shortest example of it is looked for, and is in the error's notes. `without` names rules that do
    not happen.
    """
    count = Count()
    machine = type("Builds", (Builds,), {"count": count, **dict.fromkeys(without)})
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    settings = hypothesis.settings(
        max_examples=max(1, -(-steps // STEPS_PER_EXAMPLE)), stateful_step_count=STEPS_PER_EXAMPLE, database=None,
        deadline=None, phases=phases, report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    logging.disable(logging.WARNING)
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)
    except ViolationError as violation:
        return count, violation
    finally:
        logging.disable(logging.NOTSET)
    return count, None
