"""Airflow's part of a run, as far as builds depend on it: which task may run when, and what becomes of XComs."""

from dataclasses import dataclass, field
from typing import Any

# A task and its map index, -1 where it is not mapped.
Key = tuple[str, int]

# None: it has to run yet, or again.
State = str | None

PLAN, WITHOUT_BOXES, APPROVALS, PUBLISH = ("plan", -1), ("without_boxes", -1), ("approvals", -1), ("publish", -1)
TRIES = 4

_ORDER = (
    "plan", "without_boxes", "propose", "render", "caption", "judge", "validate", "approvals", "approve", "publish",
)  # fmt: skip

_SHARD_TASKS = ("render", "caption", "judge", "validate")
_DONE_WELL = ("success", "skipped")


@dataclass
class Run:
    """A run of the DAG. `xcoms` are by task and key, for mapped tasks by their map index too.

    `asked` are the texts of requests for approval, as Airflow keeps them: once written, they are never changed.
    `resumed_by` says how a task goes on that waits, `deferred` whether the last one that ran waits for others.
    """

    run_id: str
    kind: str
    approval: str
    force: bool
    first_question: int
    state: str = "running"
    tasks: dict[Key, State] = field(default_factory=lambda: dict.fromkeys((PLAN, WITHOUT_BOXES, APPROVALS, PUBLISH)))
    # Those that may still be used up, and the number of the latest one: Airflow never sets that back.
    failures: dict[Key, int] = field(default_factory=dict)
    try_numbers: dict[Key, int] = field(default_factory=dict)
    xcoms: dict[tuple[str, Any], Any] = field(default_factory=dict)
    asked: dict[Key, tuple[str, str | None]] = field(default_factory=dict)
    resumed_by: dict[Key, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    deferred: bool = False
    errors: list[str] = field(default_factory=list)
    # When its plan was made last, and the states that the drop was in meanwhile.
    planned_at: int = -1
    planned_states: frozenset[str] = frozenset()

    @property
    def shards(self) -> list[str] | None:
        """What the mapped tasks are mapped over."""
        return self.xcoms.get(("plan", "return_value"))

    @property
    def is_active(self) -> bool:
        """What Airflow says of it: running, or not."""
        return self.state == "running"

    def schedule(self) -> None:
        """Make the mapped tasks that are missing, as the scheduler does, and see whether the run is over."""
        if self.tasks[PLAN] == "success" and self.shards is not None:
            for task in _SHARD_TASKS:
                self._expand(task, len(self.shards))
        for task, mapped in {"without_boxes": "propose", "approvals": "approve"}.items():
            over = self.xcoms.get((task, "return_value"))
            if self.tasks[task, -1] == "success" and over is not None:
                self._expand(mapped, len(over))
        if self.is_active and not self.runnable() and "awaiting" not in self.tasks.values():
            self.state = "success" if set(self.tasks.values()) <= {*_DONE_WELL} else "failed"

    def runnable(self) -> list[Key]:
        """Which tasks could run now, in the order of the DAG."""
        if not self.is_active:
            return []
        waiting = [key for key, state in self.tasks.items() if state is None and self._may_run(key)]
        return sorted(waiting, key=lambda key: (_ORDER.index(key[0]), key[1]))

    def awaiting(self) -> list[Key]:
        """Which tasks wait for a person."""
        return [key for key, state in self.tasks.items() if state == "awaiting" and self.is_active]

    def clear(self, key: Key, *, downstream: bool, alike: bool) -> None:
        """Clear a task, with what follows; `alike`: all of its map indexes, and of those that follow."""
        for other in list(self.tasks):
            same = other == key or (alike and other[0] == key[0])
            if same or (downstream and self._follows(other, key, alike)):
                self.tasks[other] = None
                self.failures.pop(other, None)
        self.state = "running"

    def _follows(self, other: Key, key: Key, alike: bool) -> bool:
        if _ORDER.index(other[0]) <= _ORDER.index(key[0]) or (other == APPROVALS and key != PLAN):
            return False
        within_a_shard = key[0] in _SHARD_TASKS and other[0] in _SHARD_TASKS
        return not within_a_shard or alike or other[1] == key[1]

    def _expand(self, task: str, number: int) -> None:
        existing = [key for key in self.tasks if key[0] == task]
        if existing and all(self.tasks[key] is not None for key in existing):
            return
        for key in existing:
            if key[1] >= number or key[1] < 0:
                del self.tasks[key]
        for index in range(number):
            self.tasks.setdefault((task, index), None)
        if not number:
            self.tasks[task, -1] = "skipped"

    def _may_run(self, key: Key) -> bool:
        task, index = key
        if task == "plan":
            return True
        if self.tasks[PLAN] != "success":
            return False
        if task in ("without_boxes", "approvals"):
            return True
        if task == "propose":
            return index >= 0 and self.tasks[WITHOUT_BOXES] == "success"
        if task == "render":
            return index >= 0 and self._none_failed("propose")
        if task in ("caption", "judge", "validate"):
            before = {"caption": "render", "judge": "caption", "validate": "judge"}[task]
            return index >= 0 and self.tasks.get((before, index)) == "success"
        done = self._none_failed("propose") and self._none_failed("validate")
        if task == "approve":
            return index >= 0 and done and self.tasks[APPROVALS] == "success"
        return done and self._none_failed("approve")

    def _none_failed(self, task: str) -> bool:
        states = {state for (name, _), state in self.tasks.items() if name == task}
        return bool(states) and states <= {*_DONE_WELL}
