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
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.stateful.world import KINDS, ViolationError, World

STEPS_PER_EXAMPLE = 50

_NUMBERS = st.integers(0, 2)
_TASKS = st.integers(0, 12)
# Most tasks make some ten requests, the last one a hundred.
_REQUESTS = st.one_of(st.integers(0, 9), st.integers(0, 90))
_KINDS = st.sampled_from(sorted(KINDS))
_FLAGS = st.sampled_from([True, False])
_SO_MANY = st.sampled_from([100, 100, 100, 0, 1, 3, 6, 8])
_APPROVALS = st.sampled_from(["never", "always"])
_FILES = st.integers(0, 30)
_HOW = st.sampled_from(["fails", "is cut", "answer lost", "killed", "killed after"])


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

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        """After every step."""
        self.world.check()

    @initialize(kinds=st.permutations(sorted(KINDS)), approval=_APPROVALS, tasks=_SO_MANY)
    def begin(self, kinds: list[str], approval: str, tasks: int) -> None:
        """One kind of build is published, and a run of another kind is under way."""
        self._done()
        self.world.trigger(kinds[0])
        self.world.go_on(-1)
        self.world.trigger(kinds[1], approval)
        self.world.go_on(-1, tasks)

    @rule(kind=_KINDS, approval=_APPROVALS, force=st.sampled_from([False, False, True]), tasks=_SO_MANY)
    def trigger(self, kind: str, approval: str, force: bool, tasks: int) -> None:
        """A run begins, and so many of its tasks run."""
        self._done()
        self._trigger(kind, approval, force)
        self.world.go_on(-1, tasks)

    @rule(run=_NUMBERS, tasks=_SO_MANY)
    def go_on(self, run: int, tasks: int) -> None:
        """So many tasks of a run that may run."""
        self._done()
        self.world.go_on(self._waiting(run), tasks)

    @rule(run=_NUMBERS, task=_TASKS)
    def a_task(self, run: int, task: int) -> None:
        """One task of a run, not always the first that may run."""
        self._done()
        self.world.step(self._waiting(run), task)

    @rule(run=_NUMBERS, task=_TASKS, downstream=_FLAGS, alike=_FLAGS, tasks=_SO_MANY)
    def clear(self, run: int, task: int, downstream: bool, alike: bool, tasks: int) -> None:
        """A task is cleared, and so many tasks of the run run then."""
        self._done()
        if self.world.runs:
            self.world.clear(run, task, downstream=downstream, alike=alike)
            self.world.go_on(run, tasks)

    @rule(run=_NUMBERS, task=_TASKS, what=st.sampled_from(["task is success", "run has failed", "run is deleted"]))
    def by_hand(self, run: int, task: int, what: str) -> None:
        """A task or a run is marked by hand, whatever it has done."""
        self._done()
        if not self.world.runs:
            return
        if what == "task is success":
            self.world.mark_success(run, task)
        else:
            self.world.end(run, deleted=what == "run is deleted")

    @precondition(lambda self: any(run.awaiting() for run in self.world.runs))
    @rule(run=_NUMBERS, approve=st.sampled_from([True, True, False]), tasks=_SO_MANY)
    def answer(self, run: int, approve: bool, tasks: int) -> None:
        """A request is answered, and so many tasks run then."""
        self._done()
        waiting = [place for place, each in enumerate(self.world.runs) if each.awaiting()]
        place = waiting[run % len(waiting)]
        self.world.answer(place, approve)
        self.world.go_on(place, tasks)

    @rule(kind=_KINDS, meanwhile=_NUMBERS, task=_TASKS, approve=_FLAGS)
    def asked_about(self, kind: str, meanwhile: int, task: int, approve: bool) -> None:
        """A person is asked about a build; before they answer, the drop changes, or a task is cleared, or both."""
        self._done()
        self._trigger(kind, "always", force=True)
        self.world.go_on(-1)
        if meanwhile > 0:
            self.world.change_image(task, task)
        if meanwhile > 1:
            self.world.clear(-1, task, downstream=True, alike=True)
            self.world.go_on(-1)
        self.world.answer(-1, approve)
        self.world.go_on(-1)

    @rule(run=_NUMBERS, task=_TASKS, at=_REQUESTS, how=_HOW)
    def fault(self, run: int, task: int, at: int, how: str) -> None:
        """A request of a task fails, or its worker is killed there."""
        self._done()
        self.world.struck(self._waiting(run), task, at, how)

    @rule(run=_NUMBERS, task=_TASKS, at=_REQUESTS, what=st.integers(0, 7), other=_NUMBERS)
    def meanwhile(self, run: int, task: int, at: int, what: int, other: int) -> None:
        """Something else happens in the middle of a task."""
        self._done()
        world, place = self.world, self._waiting(run)

        def overtake() -> None:
            world.end(place, deleted=False)
            self._trigger(sorted(KINDS)[other])
            world.go_on(-1)

        happening: Callable[[], None] = [
            overtake,
            lambda: world.go_on(other),
            lambda: world.go_on(other, 1),
            lambda: world.change_image(other, what + other),
            lambda: world.delete_image(other),
            lambda: world.change_manifest(other),
            lambda: world.end(place, deleted=False),
            lambda: world.roll_back(other),
        ][what]
        world.interrupted(place, task, at, happening)

    @rule(what=st.sampled_from(["image", "image", "deleted", "manifest", "again"]), which=_NUMBERS, content=_NUMBERS)
    def drop_changes(self, what: str, which: int, content: int) -> None:
        """Something is uploaded, or deleted."""
        self._done()
        if what == "image":
            self.world.change_image(which, content)
        elif what == "deleted":
            self.world.delete_image(which)
        elif what == "manifest":
            self.world.change_manifest(content)
        else:
            self.world.upload_again()

    @rule(
        what=st.sampled_from(
            [
                "rolled back", "rolled back", "partition deleted", "manifest deleted", "deleted", "emptied", "touched",
                "collected",
            ]
        ),
        which=_FILES,
    )  # fmt: skip
    def warehouse_changes(self, what: str, which: int) -> None:
        """Something is done to what is published."""
        self._done()
        if what == "rolled back":
            self.world.roll_back(which)
        elif what == "partition deleted":
            self.world.delete_partition()
        elif what == "manifest deleted":
            self.world.delete_manifest()
        elif what == "touched":
            self.world.touch_manifest()
        elif what == "collected":
            self.world.collect()
        else:
            self.world.delete_published(which, what)

    @rule(kind=_KINDS, then=st.sampled_from(["nothing", "again", "touched"]))
    def settle(self, kind: str, then: str) -> None:
        """An undisturbed run puts everything right; after it, others have nothing to do."""
        self._done()
        self.world.settle(kind)
        if then == "touched":
            self.world.upload_again()
            self.world.settle(kind)
        if then != "nothing":
            self.world.settle(kind)

    def _trigger(self, kind: str, approval: str = "never", force: bool = False) -> None:
        # The first of three is forgotten, as if it were deleted.
        del self.world.runs[:-2]
        self.world.trigger(kind, approval, force)

    def _waiting(self, number: int) -> int:
        """A run with tasks that may run; a new one where there is none."""
        waiting = [place for place, run in enumerate(self.world.runs) if run.runnable()]
        if waiting:
            return waiting[number % len(waiting)]
        self._trigger(sorted(KINDS)[number % len(KINDS)])
        return len(self.world.runs) - 1

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
    logging.disable(logging.WARNING)
    try:
        # Some examples are shorter than others.
        again = 0
        while count.steps < steps:
            settings = hypothesis.settings(
                max_examples=-(-(steps - count.steps) // STEPS_PER_EXAMPLE), stateful_step_count=STEPS_PER_EXAMPLE,
                database=None, deadline=None, phases=phases, report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            run_state_machine_as_test(hypothesis.seed(f"{seed} {again}")(machine), settings=settings)
            again += 1
        return count, None
    except ViolationError as violation:
        return count, violation
    finally:
        logging.disable(logging.NOTSET)
