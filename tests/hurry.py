"""Minutes that pass at once, for what waits for something to pass by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from regioncap.storage import patience


class Hurry:
    """A clock that goes on by what is slept; `pauses` are the sleeps, in seconds."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def clock(self) -> float:
        return sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@contextmanager
def hurried() -> Iterator[Hurry]:
    """Patience takes no time within the block."""
    hurry = Hurry()
    own = {name: getattr(patience, name) for name in ("PATIENCE_SECONDS", "_bound")}
    own |= {"clock": hurry.clock, "sleep": hurry.sleep}
    with mock.patch.multiple(patience, **own):
        yield hurry
