"""When failures at a request are about its row, and when they are chance."""

import math
from collections import deque
from dataclasses import dataclass, field

from regioncap.vlm.solitude import Losses

# A server that fails so often at a request, and is there all the while, will fail again.
_FAILURES = 4
# Where others are answered only after failures, chance alone has to be as unlikely as this; and so many are enough.
_CHANCE, _MOST_FAILURES = 1e-6, 64
_RECENT = 64


@dataclass
class Tries:
    """What came of asking for one row: `failed` in all, `failures` at servers that were there, `busy` refusals for now.

    `moved` is how often it was taken to another server, `failed_at` are those at which something of it failed, and
    `pause` is how many seconds it waits at least before the next try. The answer `took` so many seconds at the server.
    """

    started: float
    failed: int = 0
    failures: int = 0
    busy: int = 0
    moved: int = 0
    pause: float = 0.0
    took: float = 0.0
    at_server: str = ""
    failed_at: set[str] = field(default_factory=set)
    losses: Losses = field(default_factory=Losses)
    _before: tuple[int, int] = (0, 0)

    def is_refused_alone(self, answered: int, refusals: int) -> bool:
        """Note a refusal for now; whether others are answered meanwhile, and not refused.

        There were so many answers and refusals in all, this one among them.
        """
        if not self.busy:
            self._before = (answered, refusals)
        self.busy += 1
        others_answered = answered - self._before[0]
        others_refused = refusals - self._before[1] - (self.busy - 1)
        return self.busy > 2 and others_answered > 4 * others_refused


class AnsweredAfter:
    """After how many failures the last requests were answered."""

    def __init__(self) -> None:
        self._failures: deque[int] = deque(maxlen=_RECENT)

    def note(self, failures: int) -> None:
        """One was answered after so many."""
        self._failures.append(failures)

    @property
    def failures_needed(self) -> int:
        """How many failures at one request are no chance."""
        failures = sum(self._failures)
        return failures_needed(failures / (failures + len(self._failures)) if failures else 0.0)


def failures_needed(share: float) -> int:
    """How many failures in a row are no chance, where such a share of the tries of other requests fail.

    One of several servers behind one address may be at fault: then any request fails as often as it comes to that one.
    """
    if share <= 0.0:
        return _FAILURES
    return max(_FAILURES, min(_MOST_FAILURES, math.ceil(math.log(_CHANCE) / math.log(min(share, 0.99)))))
