"""Which of an endpoint's servers is asked next, and how many requests they have. Nothing is sent here."""

import asyncio
import hashlib
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from regioncap.regions.served import Served
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.pace import ConcurrencyLimit, Pace, PaceFigures, silent_seconds

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(eq=False)
class UnderWay:
    """A request of a row's at a server, sent then; how many the server had answered, and what ends the waiting."""

    sent: float
    answered: int
    moved: int
    timer: asyncio.Timeout
    # Ended because another server answers meanwhile.
    outdone: bool = False


@dataclass(eq=False)
class Server:
    """One of an endpoint's servers: how many requests of ours and of other clients it has, and at what pace.

    `away` after it failed, or answered nothing, until it answers again. `rests_until` is when it wants to be asked
    again, by the monotonic clock.
    """

    url: str
    pace: Pace
    ours: int = 0
    others: int = 0
    away: bool = False
    rests_until: float = 0.0
    # What it told of the model that is asked for when it was last looked at, and at which paths beside its list of
    # models; not known before.
    told: Served | None = None
    tells_at: tuple[str, ...] | None = None
    # Empty where it is not told, or not known yet.
    version: str = ""
    # As which model its last answer was.
    answers_as: object = None
    # When it last answered a request of a row's.
    answered_at: float = 0.0
    # How many it had answered when it last said that it has too much to do.
    answered_before_refusal: int = -1
    under_way: set[UnderWay] = field(default_factory=set)

    @cached_property
    def address(self) -> str:
        """A short hash of where it is, the same for all tasks that ask it; what is local is another on each host."""
        host = urlsplit(self.url).hostname
        where = socket.gethostname() if host in _LOCAL else ""
        return hashlib.sha256(f"{where} {self.url}".encode()).hexdigest()[:8]


class Replicas:
    """An endpoint's servers; each who sends them a request of a row's takes a place of `slots`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._bound = endpoint.max_in_flight
        self.servers = [
            Server(url.rstrip("/"), Pace(self._bound, endpoint.timeout_seconds)) for url in endpoint.base_urls
        ]
        self.slots = ConcurrencyLimit(1)

    @property
    def in_flight(self) -> int:
        """How many requests are under way now."""
        return sum(server.ours for server in self.servers)

    @property
    def answered(self) -> int:
        """How many requests of rows they have answered."""
        return sum(server.pace.answered for server in self.servers)

    @property
    def rest_until(self) -> float:
        """When the first of them may be asked, by the monotonic clock."""
        return min(server.rests_until for server in self.servers)

    @property
    def figures(self) -> PaceFigures:
        """What was seen of the servers' pace."""
        paces = [server.pace for server in self.servers]
        running = [pace.running for pace in paces if pace.running is not None]
        waiting = [pace.waiting for pace in paces if pace.waiting is not None]
        seconds = [pace.seconds for pace in paces if pace.seconds is not None]
        return PaceFigures(
            limit=self.slots.number,
            under_way=self.in_flight,
            running=sum(running) if running else None,
            waiting=sum(waiting) if waiting else None,
            answers_per_second=sum(pace.answers_per_second for pace in paces),
            seconds_per_answer=max(seconds, default=None),
            client_seconds_share=self.slots.idle_share,
        )

    def start(self, bound: int) -> None:
        """Let at most `bound` requests be under way from now on. The time before counts for nothing."""
        self._bound = bound
        for server in self.servers:
            server.pace.bound, server.pace.limit = bound, min(server.pace.limit, bound)
        self.slots = ConcurrencyLimit(1)
        self.adjust()

    def adjust(self) -> None:
        """Let as many requests be under way as the servers that are there are given."""
        now = time.monotonic()
        there = [server for server in self.servers if not server.away and server.rests_until <= now] or self.servers
        number = min(self._bound, sum(server.pace.limit for server in there))
        if number != self.slots.number:
            self.slots.set(number)

    def least_busy(self, failed_at: Collection[str] = ()) -> Server:
        """The server to send the next request to: where it did not fail, if there is one."""
        now = time.monotonic()
        return min(
            self.servers,
            key=lambda server: (
                server.away,
                server.rests_until > now,
                server.url in failed_at,
                server.pace.under_way >= server.pace.limit,
                server.ours + server.others,
            ),
        )

    def has_another(self, failed_at: Collection[str]) -> bool:
        """Whether one is there that is none of these."""
        return any(not server.away and server.url not in failed_at for server in self.servers)

    def is_outdone(self, server: Server, request: UnderWay) -> bool:
        """Whether the server has said nothing for so long that another one would have answered this meanwhile."""
        took = [
            other.pace.seconds
            for other in self.servers
            if other is not server and not other.away and other.pace.seconds is not None
        ]
        silent = time.monotonic() - max(request.sent, server.answered_at)
        return bool(took) and silent >= silent_seconds(max(took), request.moved)

    async def rested(self) -> None:
        """Wait until one of the servers may be asked."""
        while (seconds := self.rest_until - time.monotonic()) > 0:
            await asyncio.sleep(seconds)
