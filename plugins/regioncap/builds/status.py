"""How far a running build is, read from its work area."""

import time
from collections import deque
from collections.abc import Sequence

from regioncap.builds import layout
from regioncap.storage.store import NotFoundError, Store

# The rate is that of the last answers, not of the time before the first.
_WINDOW_SECONDS = 20.0


class AnswerCount:
    """Counts the answers in the work area of one date; each part is read only once."""

    def __init__(self, work: Store) -> None:
        self._work = work
        self._parts: dict[str, int] = {}
        self._recent: deque[tuple[float, int]] = deque()

    def update(self, shards: Sequence[str]) -> tuple[int, float]:
        """The answers of `shards` by now, and answers per second lately (0 where nothing came)."""
        for shard_id in shards:
            for part in self._work.list(layout.shard_path(shard_id) + layout.ANSWERS):
                if part.path not in self._parts:
                    try:
                        self._parts[part.path] = self._work.read(part.path).count(b"\n")
                    except NotFoundError:
                        continue
        now, total = time.monotonic(), sum(self._parts.values())
        self._recent.append((now, total))
        while now - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        since, before = self._recent[0]
        return total, (total - before) / (now - since) if now > since else 0.0
