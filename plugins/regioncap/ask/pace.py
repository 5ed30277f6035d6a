"""How fast something goes."""

import time
from collections import deque
from collections.abc import Callable

# Long enough to be steady, short enough to forget a slow start.
WINDOW_SECONDS = 20.0


class Pace:
    """The rate of a count that grows: that of the last seconds, not of the time before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, int]] = deque()

    def note(self, count: int) -> float:
        """Take the count as it is now; returns its growth per second over the last `WINDOW_SECONDS`."""
        now = self._clock()
        self._recent.append((now, count))
        while now - self._recent[0][0] > WINDOW_SECONDS:
            self._recent.popleft()
        since, before = self._recent[0]
        return (count - before) / (now - since) if now > since else 0.0
