"""Whether it is a request that ends servers, found out by sending it alone.

A server that ends takes all that is under way with it, and one that is killed again and again fails many a request many
times, also where it is back at once. Only a request that was alone each time has ended it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

# What was under way so often when a server was lost is sent alone, and then so often until it is to blame; so often in
# any case, where it cannot be told for sure.
_SUSPECT, _TO_BLAME, _MOST = 6, 3, 64


@dataclass
class Losses:
    """How often a server was lost with a request under way; the last time `at`, by the monotonic clock.

    `alone` nothing else was under way, and `sure` it was the server, and not one of several behind its address that
    is at fault.
    """

    times: int = 0
    alone: int = 0
    sure: int = 0
    at: float = 0.0

    def note(self, now: float, heard: float, alone: bool, sure: bool) -> None:
        """Note a loss; the server was last `heard` then. One that has not been there since is not lost once more."""
        if heard >= self.at:
            self.times += 1
            self.alone += alone
            self.sure += alone and sure
            self.at = now

    @property
    def is_suspect(self) -> bool:
        """Whether it is to be sent alone."""
        return self.times >= _SUSPECT

    @property
    def is_to_blame(self) -> bool:
        """Whether it is this request that ends servers."""
        return self.sure >= _TO_BLAME or self.alone >= _MOST


@dataclass
class Turn:
    """A request's time under way; `alone` where no other one was under way in it."""

    alone: bool


class Solitude:
    """Lets requests be under way together, and suspects one by one. To be used from one event loop."""

    def __init__(self) -> None:
        self._under_way: list[Turn] = []
        self._door = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def turn(self, alone: bool) -> AsyncIterator[Turn]:
        """A request's time under way; with `alone` nothing else is under way meanwhile."""
        # What comes after a suspect waits until it is done.
        async with self._door:
            if alone:
                await self._empty.wait()
            turn = self._begin()
            if alone:
                try:
                    yield turn
                finally:
                    self._end(turn)
                return
        try:
            yield turn
        finally:
            self._end(turn)

    def _begin(self) -> Turn:
        turn = Turn(alone=not self._under_way)
        for other in self._under_way:
            other.alone = False
        self._under_way.append(turn)
        self._empty.clear()
        return turn

    def _end(self, turn: Turn) -> None:
        self._under_way.remove(turn)
        if not self._under_way:
            self._empty.set()
