"""Airflow's part of a run, as far as builds depend on it: which task may run when, and what becomes of XComs."""

from dataclasses import dataclass, field
from typing import Any

# A task and its map index, -1 where it is not mapped.
Key = tuple[str, int]

# None: it has to run yet, or again.
State = str | None

PLAN, WITHOUT_BOXES, PUBLISH = ("plan", -1), ("without_boxes", -1), ("publish", -1)
TRIES = 4

_SHARD_TASKS = ("render", "caption", "validate")
_DONE_WELL = ("success", "skipped")


@dataclass
class Run:
    """A run of the DAG. `xcoms` are by task and key; `asked` is the text of its request for approval, as Airflow keeps
    it: once written, it is never changed.
    """

    run_id: str
    kind: str
    approval: str
    force: bool
    first_question: int
    state: str = "running"
    tasks: dict[Key, State] = field(default_factory=lambda: {PLAN: None, WITHOUT_BOXES: None, PUBLISH: None})
    tries: dict[Key, int] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: str | None = None
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
        proposed = self.xcoms.get(("without_boxes", "return_value"))
        if self.tasks[WITHOUT_BOXES] == "success" and proposed is not None:
            self._expand("propose", len(proposed))
        if self.is_active and not self.runnable() and "awaiting" not in self.tasks.values():
            self.state = "success" if set(self.tasks.values()) <= {*_DONE_WELL} else "failed"

    def runnable(self) -> list[Key]:
        """Which tasks could run now, in the order of the DAG."""
        if not self.is_active:
            return []
        order = ("plan", "without_boxes", "propose", *_SHARD_TASKS, "publish")
        waiting = [key for key, state in self.tasks.items() if state is None and self._may_run(key)]
        return sorted(waiting, key=lambda key: (order.index(key[0]), key[1]))

    def clear(self, key: Key, *, downstream: bool, alike: bool) -> None:
        """Clear a task, with what follows; `alike`: all of its map indexes, and of those that follow."""
        for other in list(self.tasks):
            same = other == key or (alike and other[0] == key[0])
            if same or (downstream and self._follows(other, key, alike)):
                self.tasks[other] = None
                self.tries.pop(other, None)
        self.state = "running"

    def _follows(self, other: Key, key: Key, alike: bool) -> bool:
        order = {"plan": 0, "without_boxes": 1, "propose": 2, "render": 3, "caption": 4, "validate": 5, "publish": 6}
        if order[other[0]] <= order[key[0]]:
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
        proposed = [state for (name, _), state in self.tasks.items() if name == "propose"]
        if task == "without_boxes":
            return True
        if task == "propose":
            return index >= 0 and self.tasks[WITHOUT_BOXES] == "success"
        proposed_well = bool(proposed) and set(proposed) <= {*_DONE_WELL}
        if task == "render":
            return index >= 0 and proposed_well
        if task in ("caption", "validate"):
            before = {"caption": "render", "validate": "caption"}[task]
            return index >= 0 and self.tasks.get((before, index)) == "success"
        validated = [state for (name, _), state in self.tasks.items() if name == "validate"]
        return proposed_well and bool(validated) and set(validated) <= {*_DONE_WELL}
