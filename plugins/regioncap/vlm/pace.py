"""How many requests a server has from us at once: as many as it gains from, and no more.

A server is given few at first, and more while it answers more a second for it; fewer where it is overloaded. Where it
tells how many requests it works on and how many wait, that bounds them too.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from statistics import median

# So many are under way at a server to begin with: one that takes a minute for each still answers within the time-out.
FIRST = 4
# So many as soon as a server that did them one after the other would answer them in a third of the time-out.
_MANY = 64
# What fewer than so many answers say of a server's rate is chance, and so is what comes within so many seconds.
_ROUND_ANSWERS, _ROUND_SECONDS = 8, 0.5
# A limit that is twice as high has to bring so much more.
_GAIN = 0.15
# What a server told of its queue still holds with so many times as many under way.
_FEW_MORE = 1.25
# After so many rounds without a change it is looked whether fewer would do.
_HELD_ROUNDS = 32
# So many may be between being sent and being worked on, their images being read, without being a queue.
_BEFORE_THE_QUEUE = 16
# How often a time-out is doubled while a server answers nothing.
_MOST_DOUBLINGS = 2
# Long answers are no sign of a server that hangs, nor is a pause of its or our process.
_SILENT_TIMES, _SILENT_SECONDS = 4.0, 0.5
_RECENT, _RECENT_QUEUES = 32, 4


@dataclass(frozen=True)
class PaceFigures:
    """What was seen of the servers' pace, all of them together.

    `limit` requests may be under way, `under_way` are; `running` and `waiting` are what the servers tell of all
    clients' requests, None where they do not. `seconds_per_answer` is a median. `client_seconds_share` is the share of
    the time in which fewer than the limit were under way because no request was ready to be sent.
    """

    limit: int
    under_way: int
    running: int | None
    waiting: int | None
    answers_per_second: float
    seconds_per_answer: float | None
    client_seconds_share: float


@dataclass(frozen=True)
class Level:
    """How many answers came a second with so many requests under way."""

    limit: int
    rate: float


@dataclass(frozen=True)
class Queue:
    """How many of our requests a server works on, how many wait, and whether other clients' are most of them."""

    works_on: float
    waiting: int
    crowded: bool = False


@dataclass(frozen=True)
class Figures:
    """What is known of a server when it is decided how many requests of ours it has at once.

    `limit` may be under way, `under_way` are, and `most` were since the last decision. `seconds` is the median time of
    the last answers. `rate` are the answers a second with this limit, None until they are measured; `fewer` is what
    came with a lower one, and `rounds` counts how often the rate was measured since the limit changed. From `ceiling`
    on it grows in small steps: the server was overloaded above it. `queue` is None where the server tells nothing.
    """

    limit: int
    bound: int
    under_way: int
    most: int
    timeout_seconds: float
    seconds: float | None = None
    rate: float | None = None
    fewer: Level | None = None
    rounds: int = 0
    ceiling: int | None = None
    overloaded: bool = False
    queue: Queue | None = None


def next_limit(seen: Figures) -> int:
    """How many requests may be under way from now on."""
    if seen.overloaded:
        return max(1, min(seen.limit, seen.most) // 2)
    return max(1, min(seen.bound, _wanted(seen)))


def _wanted(seen: Figures) -> int:
    if seen.seconds is None:
        return seen.limit
    full = seen.most >= seen.limit
    # Even if more bring nothing, all are answered soon: then the server's own figures are known faster than its rate.
    soon = 2 * seen.seconds <= seen.timeout_seconds / 10
    queued = seen.queue is not None and seen.queue.waiting > 0
    if soon and seen.queue is not None and queued:
        # Where others fill the queue, ours would not get their turn with fewer and fewer.
        least = min(_MANY, 2 * seen.limit if full else seen.limit) if seen.queue.crowded else 1
        # A quarter more than it works on: its queue is never empty, and short.
        return max(least, ceil(1.25 * seen.queue.works_on))
    if not full:
        return seen.limit
    if seen.ceiling is not None and seen.limit >= seen.ceiling:
        return _by_rate(seen, seen.limit + max(1, seen.limit // 4))
    if seen.limit < _MANY and not queued and seen.seconds * _MANY / seen.most <= seen.timeout_seconds / 3:
        return _MANY
    return 2 * seen.limit if soon and seen.queue is not None else _by_rate(seen, 2 * seen.limit)


def queue_of_ours(under_way: int, running: int | None, waiting: int | None) -> Queue | None:
    """What a server's figures, which are of all clients' requests, say of those `under_way`; None where it has none."""
    if waiting is None:
        return None
    if running is None:
        return Queue(max(0, under_way - waiting), waiting, crowded=waiting > under_way)
    there = running + waiting
    if there > under_way:
        return Queue(running * under_way / there, waiting, crowded=there > 2 * under_way)
    # Sent, and not there: on their way, or stuck before the queue, as where images are prepared too slowly.
    stuck = under_way - there
    prepared = min(stuck, max(_BEFORE_THE_QUEUE, running))
    return Queue(running + prepared, waiting + stuck - prepared)


def _by_rate(seen: Figures, more: int) -> int:
    if seen.rate is None:
        return seen.limit
    fewer = seen.fewer
    if fewer is None or fewer.limit >= seen.limit:
        return more
    if seen.rate >= fewer.rate * (1 + _GAIN * (seen.limit / fewer.limit - 1)):
        return more
    enough = ceil(1.25 * fewer.limit)
    if enough < seen.limit:
        return enough
    return seen.limit if seen.rounds < _HELD_ROUNDS else seen.limit // 2


def allowed_seconds(timeout_seconds: float, seconds: float | None, unanswered: int) -> float:
    """How long a request may take at a server whose answers take `seconds`, after so many time-outs without an answer.

    A server may be slow, or have much to do: its own pace counts more than what was set.
    """
    return float(max(timeout_seconds, 4 * (seconds or 0.0)) * 2 ** min(unanswered, _MOST_DOUBLINGS))


def silent_seconds(seconds: float, moved: int) -> float:
    """How long a server may answer nothing while others take `seconds`, for a request that was moved so often."""
    return float(max(_SILENT_SECONDS, _SILENT_TIMES * seconds) * 2**moved)


def is_of_the_load(answered: int, answered_since: int, others: int) -> bool:
    """Whether a request that was not answered in time may have waited for `others` of ours, still under way.

    The server has `answered` so many in all, `answered_since` of them after it was sent. One that never answered
    anything may be slower than the time-out.
    """
    return not answered or (others > 0 and answered_since < 2 * (others + 1))


class Pace:
    """Follows one server: what was sent, and what came of it. To be used from one event loop."""

    def __init__(self, bound: int, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.bound = bound
        self.limit = min(FIRST, bound)
        self.under_way = self.answered = 0
        # Time-outs since the last answer: of those that were under way together, one.
        self.unanswered = 0
        self.running: int | None = None
        self.waiting: int | None = None
        self._queues: deque[Queue] = deque(maxlen=_RECENT_QUEUES)
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._took: deque[float] = deque(maxlen=_RECENT)
        self._most = self._settling = self._round = self._rounds = 0
        self._began = self._latest = clock()
        self._lowered = self._began
        self._fewer: Level | None = None
        self._ceiling: int | None = None

    @property
    def seconds(self) -> float | None:
        """The median time of the last answers; None before the first."""
        return median(self._took) if self._took else None

    @property
    def allowed(self) -> float:
        """How long a request may take now, in seconds."""
        return allowed_seconds(self._timeout_seconds, self.seconds, self.unanswered)

    @property
    def answers_per_second(self) -> float:
        """As far as it is known, with this limit."""
        return self._round / (self._latest - self._began) if self._latest > self._began else 0.0

    def sent(self) -> float:
        """Note that a request was sent; returns when."""
        self.under_way += 1
        self._most = max(self._most, self.under_way)
        return self._clock()

    def ended(self, sent: float, answered: bool) -> None:
        """Note that what was sent then was answered, or came to nothing."""
        now = self._clock()
        self.under_way -= 1
        if self._settling:
            # It was sent when there were more, or fewer.
            self._settling -= 1
            self._began = self._latest = now
        elif answered:
            self._round += 1
            self._latest = now
        if answered:
            self.answered += 1
            self.unanswered = 0
            self._took.append(now - sent)
            if self.answered == 1:
                self.decide()

    def overload(self, sent: float, unanswered: bool = False) -> None:
        """Note that the server had too much to do with what was sent then, and whether it answered nothing since."""
        # What was under way together fails together, for one reason.
        if sent >= self._lowered:
            self.unanswered += unanswered
            self._lowered = self._clock()
            self._set(next_limit(self._figures(overloaded=True)))
            self._fewer, self._ceiling = None, self.limit

    def tell(self, running: int | None, waiting: int | None) -> None:
        """Take what the server tells of all clients' requests."""
        self.running, self.waiting = running, waiting
        queue = queue_of_ours(self.under_way, running, waiting)
        if queue is None:
            self._queues.clear()
        else:
            self._queues.append(queue)

    def decide(self) -> None:
        """Change the limit, if what was seen since the last time says so."""
        seen = self._figures()
        limit = next_limit(seen)
        if limit != self.limit:
            self._set(limit)
            if limit > seen.limit:
                # What they say of fewer says nothing of many more.
                if limit > seen.limit * _FEW_MORE:
                    self._queues.clear()
                self._fewer = Level(seen.limit, seen.rate) if seen.rate is not None else None
            elif self._fewer is not None and seen.rate is not None and self._fewer.limit < limit:
                # More under way have shown what the server can do.
                self._fewer = replace(self._fewer, rate=max(self._fewer.rate, seen.rate))
            else:
                self._fewer = None
        elif seen.rate is not None:
            self._rounds += 1
            self._round, self._began = 0, self._latest
            if self._rounds == _HELD_ROUNDS:
                self._ceiling = None
        self._most = self.under_way

    def _figures(self, overloaded: bool = False) -> Figures:
        long_enough = self._latest - self._began >= _ROUND_SECONDS
        # What it works on goes up and down; a queue is what there is now.
        works_on = max((queue.works_on for queue in self._queues), default=0.0)
        queue = replace(self._queues[-1], works_on=works_on) if self._queues else None
        measured = self._round >= max(_ROUND_ANSWERS, self.limit) and long_enough
        return Figures(
            limit=self.limit, bound=self.bound, under_way=self.under_way, most=self._most,
            timeout_seconds=self._timeout_seconds, seconds=self.seconds,
            rate=self.answers_per_second if measured else None, fewer=self._fewer, rounds=self._rounds,
            ceiling=self._ceiling, overloaded=overloaded, queue=queue,
        )  # fmt: skip

    def _set(self, limit: int) -> None:
        self.limit = limit
        self._settling, self._round, self._rounds = self.under_way, 0, 0
        self._began = self._latest = self._clock()


# Of less time than this, shares of it say nothing.
_TOLD_SECONDS = 5.0


class ConcurrencyLimit:
    """Bounds how many requests are under way at once. To be used from one event loop."""

    def __init__(self, number: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.number = number
        self._free = asyncio.Semaphore(number)
        # So many are taken back when they are next returned.
        self._surplus = 0
        self._held = 0
        self._clock = clock
        self._began = self._changed = clock()
        self._idle = 0.0
        self._over = False

    def set(self, number: int) -> None:
        """Change how many there may be."""
        self._note(0)
        self._surplus -= number - self.number
        self.number = number
        while self._surplus < 0:
            self._free.release()
            self._surplus += 1

    @property
    def idle_share(self) -> float:
        """The share of the time, until there was nothing more to send, in which more could have been under way.

        Of a short time it says nothing, and is 0.
        """
        self._note(0)
        seconds = self._changed - self._began
        return self._idle / seconds if seconds >= _TOLD_SECONDS else 0.0

    def run_out(self) -> None:
        """Note that nothing more is to be sent but what is begun."""
        self._note(0)
        self._over = True

    async def __aenter__(self) -> None:
        await self._free.acquire()
        self._note(+1)

    async def __aexit__(self, *error: object) -> None:
        self._release()

    def _release(self) -> None:
        self._note(-1)
        if self._surplus > 0:
            self._surplus -= 1
        else:
            self._free.release()

    def _note(self, change: int) -> None:
        if not self._over:
            now = self._clock()
            if self._held < self.number:
                self._idle += now - self._changed
            self._changed = now
        self._held += change
