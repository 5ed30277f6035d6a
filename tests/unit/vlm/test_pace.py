"""How many requests a server has from us, by what is known of it; and what comes of it at servers of all kinds."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.vlm.pace import (
    ConcurrencyLimit,
    Figures,
    Level,
    Pace,
    Queue,
    allowed_seconds,
    is_of_the_load,
    next_limit,
    queue_of_ours,
    silent_seconds,
)

SOON = {"seconds": 0.5, "limit": 64, "most": 64}
SEEN = Figures(limit=16, bound=256, under_way=16, most=16, timeout_seconds=300, seconds=60)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param({"seconds": None}, 16, id="nothing is answered yet: no change"),
        pytest.param({}, 16, id="its rate is not measured: no change"),
        pytest.param({"rate": 1.0}, 32, id="measured: twice as many are tried"),
        pytest.param({"rate": 1.0, "most": 15}, 16, id="fewer are ready than could be under way: no change"),
        pytest.param({"rate": 1.9, "fewer": Level(8, 1.0)}, 32, id="twice as many brought nearly twice as much: more"),
        pytest.param({"rate": 1.0, "fewer": Level(8, 1.0)}, 10, id="twice as many brought nothing: back, and a few"),
        pytest.param({"limit": 10, "most": 10, "rate": 1.0, "fewer": Level(8, 1.0)}, 10, id="few more: kept"),
        pytest.param(
            {"limit": 10, "most": 10, "rate": 1.0, "fewer": Level(8, 1.0), "rounds": 32}, 5, id="kept for long: fewer"
        ),
        pytest.param({"rate": 1.0, "ceiling": 16}, 20, id="overloaded before: small steps"),
        pytest.param({"rate": 1.0, "limit": 200, "most": 200}, 256, id="never more than the bound"),
        pytest.param({"overloaded": True}, 8, id="overloaded: half"),
        pytest.param({"overloaded": True, "most": 4}, 2, id="overloaded with few: half of these"),
        pytest.param({"overloaded": True, "limit": 1, "most": 1}, 1, id="overloaded with one: one"),
        pytest.param({"seconds": 0.5, "limit": 4, "most": 4}, 64, id="soon answered, even one by one: many at once"),
        pytest.param({"seconds": 0.5, "limit": 64, "most": 64}, 64, id="soon answered, no figures: its rate decides"),
        pytest.param({**SOON, "queue": Queue(64, 0)}, 128, id="soon answered, and nothing waits: more"),
        pytest.param({**SOON, "queue": Queue(2, 62)}, 3, id="a queue: a quarter more than it works on"),
        pytest.param({**SOON, "queue": Queue(60, 4)}, 75, id="a queue that is too short"),
        pytest.param({**SOON, "queue": Queue(4, 900, crowded=True)}, 64, id="a queue of others: enough to have a turn"),
        pytest.param({**SOON, "limit": 4, "most": 4, "queue": Queue(0, 900, crowded=True)}, 8, id="the same, with few"),
        pytest.param({"queue": Queue(16, 0)}, 16, id="nothing waits, but it is slow: its rate decides"),
        pytest.param({"queue": Queue(2, 14)}, 16, id="a queue, but it is slow: its rate decides"),
    ],
)
def test_what_is_known_decides_how_many_are_under_way(seen: dict[str, object], expected: int) -> None:
    assert next_limit(replace(SEEN, **seen)) == expected  # type: ignore[arg-type]


@given(
    seen=st.builds(
        Figures,
        limit=st.integers(1, 256), bound=st.integers(1, 256), under_way=st.integers(0, 256), most=st.integers(0, 256),
        timeout_seconds=st.floats(0.1, 3000), seconds=st.none() | st.floats(0.001, 3000),
        rate=st.none() | st.floats(0.0001, 1000),
        fewer=st.none() | st.builds(Level, st.integers(1, 256), st.floats(0, 9)),
        rounds=st.integers(0, 40), ceiling=st.none() | st.integers(1, 256), overloaded=st.booleans(),
        queue=st.none() | st.builds(Queue, st.floats(0, 256), st.integers(0, 999), st.booleans()),
    )
)  # fmt: skip
def test_there_is_always_one_and_never_more_than_the_bound(seen: Figures) -> None:
    if seen.most >= 1 and (seen.limit <= seen.bound or not seen.overloaded):
        assert 1 <= next_limit(seen) <= seen.bound


@pytest.mark.parametrize(
    ("under_way", "running", "waiting", "expected"),
    [
        (160, 128, 32, Queue(128, 32)),
        (160, 128, 20, Queue(140, 20)),  # a few are on their way
        (256, 8, 0, Queue(24, 232)),  # stuck before the queue
        (64, 64, 192, Queue(16, 192, crowded=True)),  # a quarter of all are ours
        (64, None, 48, Queue(16, 48)),
        (64, None, 500, Queue(0, 500, crowded=True)),
        (64, 64, None, None),
    ],
)
def test_a_queue_is_what_waits_in_the_server_and_what_is_stuck_before_it(
    under_way: int, running: int | None, waiting: int | None, expected: Queue | None
) -> None:
    assert queue_of_ours(under_way, running, waiting) == expected


def test_a_time_out_follows_what_the_server_takes_and_grows_while_it_answers_nothing() -> None:
    assert allowed_seconds(300, None, 0) == allowed_seconds(300, 60, 0) == 300
    assert allowed_seconds(300, 240, 0) == 960
    assert [allowed_seconds(300, None, times) for times in range(4)] == [300, 600, 1200, 1200]


def test_a_request_is_moved_soon_and_each_time_later() -> None:
    assert silent_seconds(0.01, 0) == 0.5
    assert [silent_seconds(2, moved) for moved in range(3)] == [8, 16, 32]


@pytest.mark.parametrize(
    ("answered", "since", "others", "expected"),
    [
        (0, 0, 0, True),  # it may be slower than the time-out
        (50, 0, 0, False),  # alone, at a server that answers
        (50, 5, 3, True),  # all that was under way may have stood before it
        (50, 500, 63, False),  # others come and go
        (50, 5, 0, False),
    ],
)
def test_a_time_out_is_of_the_load_unless_others_were_answered_all_the_while(
    answered: int, since: int, others: int, expected: bool
) -> None:
    assert is_of_the_load(answered, since, others) == expected


class Server(Protocol):
    """A server in a time of its own: requests are numbers."""

    def arrive(self, now: float, request: int) -> None: ...
    def drop(self, now: float, request: int) -> None: ...
    def due(self) -> float: ...
    def answered(self, now: float) -> list[int]: ...
    def figures(self) -> tuple[int | None, int | None]: ...


@dataclass
class Batches:
    """Takes what is there, at most so many, and answers all of it after so many seconds."""

    seconds: float
    size: int = 10_000
    waiting: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    ends: float = float("inf")

    def arrive(self, now: float, request: int) -> None:
        self.waiting.append(request)
        self._start(now)

    def _start(self, now: float) -> None:
        if not self.running and self.waiting:
            self.running, self.waiting = self.waiting[: self.size], self.waiting[self.size :]
            self.ends = now + self.seconds

    def drop(self, now: float, request: int) -> None:
        # It is worked on to its end: the server does not notice.
        if request in self.waiting:
            self.waiting.remove(request)

    def due(self) -> float:
        return self.ends

    def answered(self, now: float) -> list[int]:
        done, self.running, self.ends = self.running, [], float("inf")
        return done

    def after(self, now: float) -> None:
        self._start(now)

    def figures(self) -> tuple[int | None, int | None]:
        return len(self.running), len(self.waiting)


@dataclass
class Shared:
    """Works on so many at once, `total(k)` answers a second with k at work; the others wait.

    `others` are requests of another client that are always there: for each that is answered, the next one comes.
    """

    total: Callable[[int], float]
    slots: int
    others: int = 0
    told: bool = True
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    work: dict[int, float] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        for number in range(self.others):
            self.arrive(0.0, -1 - number)

    def _pass(self, now: float) -> None:
        if self.work:
            done = (now - self.now) * self.total(len(self.work)) / len(self.work)
            self.work = {request: left - done for request, left in self.work.items()}
        self.now = now

    def arrive(self, now: float, request: int) -> None:
        self._pass(now)
        self.waiting.append(request)
        self._start()

    def _start(self) -> None:
        while self.waiting and len(self.work) < self.slots:
            self.work[self.waiting.pop(0)] = self.chance.lognormvariate(-0.08, 0.4)

    def drop(self, now: float, request: int) -> None:
        self._pass(now)
        self.work.pop(request, None)
        if request in self.waiting:
            self.waiting.remove(request)
        self._start()

    def due(self) -> float:
        if not self.work:
            return float("inf")
        return self.now + max(0.0, min(self.work.values())) * len(self.work) / self.total(len(self.work))

    def answered(self, now: float) -> list[int]:
        self._pass(now)
        done = [request for request, left in self.work.items() if left < 1e-9]
        for request in done:
            del self.work[request]
        self.waiting += [request for request in done if request < 0]
        self._start()
        return [request for request in done if request >= 0]

    def figures(self) -> tuple[int | None, int | None]:
        return (len(self.work), len(self.waiting)) if self.told else (None, None)


@dataclass
class Course:
    """What came of it: answers by the time they came at, requests that would count against their rows, limits."""

    answers: list[float]
    blamed: int
    limits: list[int]


def follow(server: Server, rows: int, timeout: float = 300.0, look: float = 0.5, bound: int = 256) -> Course:
    """Ask so many rows at the pace that the server is given, in the server's time."""
    now, tick = 0.0, look
    pace = Pace(bound, timeout, clock=lambda: now)
    left, numbers = rows, 0
    under_way: dict[int, tuple[float, int]] = {}
    course = Course([], 0, [])
    while len(course.answers) < rows:
        assert now < 360_000, "no progress"
        while left and pace.under_way < pace.limit:
            left, numbers = left - 1, numbers + 1
            sent = pace.sent()
            under_way[numbers] = (sent, pace.answered)
            server.arrive(now, numbers)
        now = min(server.due(), tick)
        if now == server.due():
            for request in server.answered(now):
                if request in under_way:
                    sent, _ = under_way.pop(request)
                    pace.ended(sent, answered=True)
                    course.answers.append(now)
            if isinstance(server, Batches):
                server.after(now)
        for request in [request for request, (sent, _) in under_way.items() if now - sent >= pace.allowed]:
            sent, before = under_way.pop(request)
            server.drop(now, request)
            pace.ended(sent, answered=False)
            since, others = pace.answered - before, len(under_way)
            if is_of_the_load(pace.answered, since, others):
                pace.overload(sent, unanswered=not since)
            else:
                course.blamed += 1
            left += 1
        if now >= tick:
            tick += look
            pace.tell(*server.figures())
            pace.decide()
            course.limits.append(pace.limit)
    return course


def rate_at_the_end(course: Course) -> float:
    """Answers a second over the last half of the rows, without the tail, in which fewer and fewer are under way."""
    half = course.answers[len(course.answers) // 2 : -64]
    return (len(half) - 1) / (half[-1] - half[0])


SERVERS: dict[str, tuple[Callable[[], Server], float, int]] = {
    "a laptop's CPU, an answer in 60 s": (lambda: Shared(lambda k: 1 / 60, 256), 1 / 60, 200),
    "the same without figures": (lambda: Shared(lambda k: 1 / 60, 256, told=False), 1 / 60, 200),
    "0.05 answers/s, one at a time": (lambda: Shared(lambda k: 0.05, 1), 0.05, 200),
    "0.05 answers/s, one at a time, without figures": (lambda: Shared(lambda k: 0.05, 1, told=False), 0.05, 200),
    "an answer in 15 minutes": (lambda: Shared(lambda k: 1 / 900, 256, told=False), 1 / 900, 200),
    "a CPU that gains a little from more": (lambda: Shared(lambda k: 0.1 * k / (k + 3), 256), 0.09, 300),
    "a GPU of 16 slots, 10 s each": (lambda: Shared(lambda k: k / 10, 16), 1.6, 600),
    "a GPU of 16 slots, 10 s each, without figures": (lambda: Shared(lambda k: k / 10, 16, told=False), 1.6, 800),
    "a GPU of 128 slots, 5 s each": (lambda: Shared(lambda k: k / 5, 128), 25.6, 2000),
    "a GPU of 128 slots, 5 s each, without figures": (lambda: Shared(lambda k: k / 5, 128, told=False), 25.6, 2000),
    "500 answers/s": (lambda: Shared(lambda k: min(500, 20 * k), 128), 500, 3000),
    "500 answers/s, without figures": (lambda: Shared(lambda k: min(500, 20 * k), 128, told=False), 500, 3000),
    "a server whose work is shared with another client": (lambda: Shared(lambda k: k / 5, 64, others=32), 6.4, 1000),
    "a queue of another client": (lambda: Shared(lambda k: k / 2, 64, others=128), 9.0, 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_is_given_what_it_can_do_and_no_row_is_blamed(name: str) -> None:
    make, best, rows = SERVERS[name]
    # What takes hours is looked at less often.
    course = follow(make(), rows, look=0.5 if best > 1 else 5.0)
    assert course.blamed == 0
    assert rate_at_the_end(course) >= 0.8 * best, course.limits[:: max(1, len(course.limits) // 50)]


@pytest.mark.parametrize(("size", "least"), [(10_000, 2.0), (64, 0.8), (8, 0.12)])
def test_a_server_that_answers_a_batch_a_minute_is_given_ever_more_and_no_row_is_blamed(
    size: int, least: float
) -> None:
    course = follow(Batches(60.0, size), 1000 if size > 8 else 300, look=5.0)
    assert course.blamed == 0
    assert rate_at_the_end(course) >= least


def test_a_few_more_of_a_known_queue_are_not_twice_as_many_a_moment_later() -> None:
    now = 0.0
    pace = Pace(256, 300.0, clock=lambda: now)
    sent = deque(pace.sent() for _ in range(4))
    now = 0.5
    for _ in range(4):
        pace.ended(sent.popleft(), answered=True)

    def fill() -> None:
        sent.extend(pace.sent() for _ in range(pace.limit - pace.under_way))

    fill()
    for running, limit in ((55, 69), (57, 72)):
        pace.tell(running, pace.under_way - running)
        pace.decide()
        assert pace.limit == limit
        fill()
    for _ in range(3 * pace.limit):
        now += 0.01
        pace.ended(sent.popleft(), answered=True)
        fill()
    # Nothing new was told of the queue: what is known of it still holds.
    pace.decide()
    assert pace.limit == 72


def test_time_in_which_nothing_was_ready_counts_until_all_is_sent() -> None:
    now = 0.0

    async def over_time() -> list[float]:
        nonlocal now
        limit = ConcurrencyLimit(1, clock=lambda: now)
        now, shares = 3.0, [limit.idle_share]
        now = 4.0
        async with limit:
            now = 8.0
        limit.run_out()
        now = 100.0
        return [*shares, limit.idle_share]

    # Of three seconds nothing is told; of eight, four had room.
    assert asyncio.run(over_time()) == [0.0, 0.5]
