"""How many requests are under way at once: as many as the servers can work on, and few that wait."""

import asyncio

from regioncap.vlm.client import VlmClient

# So many requests are under way to begin with, and at least. The queues are polled this often, that of a single
# server less often while nothing changes: each poll costs it some milliseconds.
FIRST_IN_FLIGHT = 64
_POLL_SECONDS, _MAX_POLL_SECONDS = 0.5, 2.0


class ConcurrencyLimit:
    """Bounds how many requests are under way at once. To be used from one event loop."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._free = asyncio.Semaphore(number)
        # So many are taken back when they are next returned.
        self._surplus = 0

    def set(self, number: int) -> None:
        """Change how many there may be."""
        self._surplus -= number - self.number
        self.number = number
        while self._surplus < 0:
            self._free.release()
            self._surplus += 1

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *error: object) -> None:
        if self._surplus > 0:
            self._surplus -= 1
        else:
            self._free.release()


async def poll_regularly(client: VlmClient, limit: ConcurrencyLimit, bound: int) -> None:
    """Keep the servers' queues short but not empty; of several servers, notice which is busy or back."""
    pause, servers = _POLL_SECONDS, len(client.endpoint.base_urls)
    # A server that is back is asked again after a poll.
    longest = _MAX_POLL_SECONDS if servers == 1 else _POLL_SECONDS
    while True:
        await asyncio.sleep(pause)
        waiting = await client.poll_metrics()
        before = limit.number
        limit.set(concurrency_wanted(client.in_flight, None if waiting is None else waiting * servers, bound))
        steady = abs(limit.number - before) <= before / 8
        pause = min(2 * pause, longest) if steady else _POLL_SECONDS


def concurrency_wanted(under_way: int, waiting: int | None, bound: int) -> int:
    """How many requests should be under way, where so many are and so many of them wait in the servers' queues.

    Twice as many until there is a queue, then a quarter more than what is being worked on, so that it stays short.
    `waiting` is None where the queues are not known; then it is `bound`.
    """
    if waiting is None:
        return bound
    more = 1.25 if waiting else 2
    return min(bound, max(FIRST_IN_FLIGHT, round(more * (under_way - waiting))))
