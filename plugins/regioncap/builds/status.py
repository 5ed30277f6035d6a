"""How far a running build is, read from its work area."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from regioncap.builds import layout, shard
from regioncap.storage.store import NotFoundError, Store

# The rate is that of the last answers, not of the time before the first.
_WINDOW_SECONDS = 20.0


@dataclass(frozen=True)
class Status:
    """`answers` to `questions` about `images` marked images are there by now, `rate` answers per second lately."""

    images: int
    questions: int
    answers: int
    rate: float


class BuildStatus:
    """Follows the shards of one date; each file of the work area is read only once."""

    def __init__(self, work: Store) -> None:
        self._work = work
        self._questions: dict[str, set[tuple[str, str]]] = {}
        self._parts: dict[str, int] = {}
        self._recent: deque[tuple[float, int]] = deque()

    def update(self, shards: Sequence[str]) -> Status:
        """What there is of `shards` by now."""
        for shard_id in shards:
            place = self._work.sub(layout.shard_path(shard_id))
            try:
                if shard_id not in self._questions:
                    # A row asks one question, or one for each of its close-ups; equal ones are asked once.
                    rows = shard.rendered(place)
                    self._questions[shard_id] = {(row.marked, name) for row in rows for name in row.close_ups or [""]}
                for part in place.list(layout.ANSWERS):
                    name = f"{shard_id}/{part.path}"
                    if name not in self._parts:
                        self._parts[name] = place.read(part.path).count(b"\n")
            except (NotFoundError, shard.StepMissingError):
                continue
        answers = sum(self._parts.values())
        return Status(
            images=len({marked for asked in self._questions.values() for marked, _ in asked}),
            questions=sum(map(len, self._questions.values())),
            answers=answers,
            rate=self._rate(answers),
        )

    def _rate(self, answers: int) -> float:
        now = time.monotonic()
        self._recent.append((now, answers))
        while now - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        since, before = self._recent[0]
        return (answers - before) / (now - since) if now > since else 0.0
