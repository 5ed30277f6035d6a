"""Following servers while they are asked: what takes too long, how busy they are, who is back."""

import asyncio
import time
from contextlib import suppress

from regioncap.vlm.replicas import Replicas, Server
from regioncap.vlm.wire import LOOK_SECONDS, Wire

# The queues are polled this often, that of a single server less often while nothing changes: each poll costs it some
# milliseconds. One that tells nothing is asked for its figures seldom.
_POLL_SECONDS, _MAX_POLL_SECONDS, _NO_FIGURES_SECONDS = 0.5, 2.0, 30.0


async def follow(replicas: Replicas, server: Server, timeout_seconds: float) -> None:
    """End what takes too long; change how many requests the server gets."""
    while True:
        await asyncio.sleep(min(_POLL_SECONDS, timeout_seconds / 4))
        for request in list(server.under_way):
            late = time.monotonic() - request.sent >= server.pace.allowed
            if late or replicas.is_outdone(server, request):
                server.under_way.discard(request)
                request.outdone = not late
                request.timer.reschedule(0.0)
        server.pace.decide()
        replicas.adjust()


async def poll(wire: Wire, server: Server, is_one_of_several: bool) -> None:
    """Follow the server's queue; where it is one of several and away, notice that it is back."""
    pause = _POLL_SECONDS
    while True:
        await asyncio.sleep(pause)
        if server.rests_until > time.monotonic():
            continue
        if server.away and is_one_of_several:
            await _look(wire, server)
            continue
        before = server.pace.limit
        told = await wire.tell_queue(server)
        steady = abs(server.pace.limit - before) <= before / 8
        longest = _MAX_POLL_SECONDS if told else _NO_FIGURES_SECONDS
        pause = min(2 * pause, longest) if steady and not (is_one_of_several and told) else _POLL_SECONDS


async def _look(wire: Wire, server: Server) -> None:
    """Ask a server that is away something small: once it answers, it is back."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(LOOK_SECONDS, 4 * (server.pace.seconds or 0.0))):
            server.away = not await wire.answers(server, 1)
