"""Ceilings of requests and tokens, for servers that cost by use."""

import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from regioncap.errors import CeilingError, VlmSetupError
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.work.plan import Plan
from regioncap.work.spent import Ledger, Spent

Item = TypeVar("Item")

# At most so many requests are set aside at once, and a share of what is left: what one task has, no other can have.
_MOST_AT_ONCE, _SHARE = 16, 4
# Before the first answer it is not known what one costs: so many are under way until then.
_UNTIL_KNOWN = 4
# Whoever waits for an answer looks so often whether there still is one to come.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Own:
    """What a task itself has sent, and what came of it."""

    requests: int = 0
    answered: int = 0
    tokens: int = 0

    @property
    def under_way(self) -> int:
        """How many of its requests have no answer yet."""
        return self.requests - self.answered

    @property
    def tokens_each(self) -> int:
        """How many tokens an answer has taken."""
        return -(-self.tokens // self.answered) if self.answered else 0

    def with_more(self, requests: int) -> Spent:
        """What it will have spent with so many more requests, if each takes as many tokens as those before."""
        tokens = self.tokens + self.tokens_each * (self.under_way + requests)
        return Spent(requests=self.requests + requests, tokens=tokens)


@dataclass(frozen=True)
class Limits:
    """How much all tasks of a build may spend; None where it is not bounded."""

    requests: int | None
    tokens: int | None

    def requests_left(self, own: Own, others: Spent) -> int:
        """How many requests may still be sent, whatever their tokens."""
        return sys.maxsize if self.requests is None else self.requests - others.requests - own.requests

    def to_set_aside(self, own: Own, others: Spent) -> int:
        """How many requests a task may set aside, where the others have spent so much."""
        left = self.requests_left(own, others)
        if self.tokens is not None:
            room = self.tokens - others.tokens - own.with_more(0).tokens
            affordable = room // max(1, own.tokens_each) if own.answered else _UNTIL_KNOWN - own.under_way
            left = min(left, affordable if room > 0 else 0)
        return min(_MOST_AT_ONCE, max(1, left // _SHARE)) if left > 0 else 0


class Ceiling:
    """What a task may still send, of what a plan's `max_requests` and `max_tokens_total` leave to all of its tasks.

    Requests are set aside in the build's ledger before they are sent, with the tokens that they are expected to take:
    so there are never more requests than allowed, and hardly more tokens. To be used from several threads.
    """

    def __init__(self, work: Store, plan: Plan) -> None:
        self._limits = Limits(plan.settings.max_requests, plan.settings.max_tokens_total)
        self._ledger = Ledger(work, plan)
        self._own = Own()
        # What of the ledger is this task's, and how many requests of it are not sent yet.
        self._booked = Spent()
        self._set_aside = 0
        self._stopped = self._tells_no_tokens = False
        # Whether something could not be sent.
        self.reached = False
        self._one_at_a_time = threading.Lock()
        # Guards `_own` and `_stopped`; is told of each answer.
        self._news = threading.Condition()

    @property
    def is_bounded(self) -> bool:
        """Whether there is a ceiling at all."""
        return self._limits != Limits(None, None)

    @property
    def is_spent(self) -> bool:
        """Whether nothing was left before this task began."""
        return self.is_bounded and not self._limits.to_set_aside(Own(), self._ledger.read())

    def admit(self) -> bool:
        """Whether one more request may be sent, which is ready; waits where that turns out with those under way."""
        if not self.is_bounded:
            return True
        with self._one_at_a_time:
            while not (self._set_aside or self._stopped or self.reached):
                self._set_more_aside()
            if not self._set_aside or self._stopped:
                return False
            self._set_aside -= 1
            with self._news:
                self._own = replace(self._own, requests=self._own.requests + 1)
            return True

    def until_reached(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, for as long as anything may be asked about them."""
        for item in items:
            if self.reached or self._stopped:
                return
            yield item

    def note(self, completion: Completion) -> None:
        """Take note of what came of a request."""
        tokens = completion.prompt_tokens + completion.completion_tokens
        with self._news:
            own = self._own
            self._own = replace(own, answered=own.answered + 1, tokens=own.tokens + tokens)
            if self._limits.tokens is not None and completion.refused is None and not tokens:
                self._tells_no_tokens = self._stopped = True
            self._news.notify_all()

    def check(self) -> None:
        """Raises CeilingError where something could not be sent, VlmSetupError where tokens cannot be counted."""
        if self._tells_no_tokens:
            raise VlmSetupError(
                "the server tells of no tokens, so max_tokens_total cannot be kept: set max_requests instead"
            )
        if self.reached:
            raise self.error()

    def error(self) -> CeilingError:
        """What is said at the ceiling."""
        spent = self._ledger.read()
        none_left = self._limits.requests_left(Own(), spent) <= 0
        name, most = ("max_requests", self._limits.requests) if none_left else ("max_tokens_total", self._limits.tokens)
        return CeilingError(
            f"the {name} of {most:,} is reached: this build has taken {spent.requests:,} requests and {spent.tokens:,} "
            f"tokens so far, of them {self._own.requests:,} requests in this task. The answers are kept: start a run "
            f"for the date with a higher {name}, and it goes on from there"
        )

    def stop(self) -> None:
        """Let nobody wait any more."""
        with self._news:
            self._stopped = True
            self._news.notify_all()

    def close(self) -> None:
        """Give back what was set aside and not spent."""
        self.stop()
        if self._booked != Spent():
            with self._one_at_a_time:
                mine = Spent(requests=self._own.requests, tokens=self._own.tokens)
                self._ledger.change(lambda spent: _sum(self._others(spent), mine))
                self._booked = mine

    def _set_more_aside(self) -> None:
        """Set some requests aside, or find that the ceiling is reached, or wait for an answer."""
        with self._news:
            own = self._own
        more, requests_left = 0, 0

        def changed(spent: Spent) -> Spent:
            nonlocal more, requests_left
            others = self._others(spent)
            more, requests_left = self._limits.to_set_aside(own, others), self._limits.requests_left(own, others)
            return _sum(others, own.with_more(more)) if more else spent

        self._ledger.change(changed)
        if more:
            self._set_aside, self._booked = more, own.with_more(more)
            return
        with self._news:
            # Tokens may turn out to be fewer than was expected.
            if own.under_way and requests_left > 0:
                if self._own == own and not self._stopped:
                    self._news.wait(_LOOK_SECONDS)
            else:
                self.reached = True

    def _others(self, spent: Spent) -> Spent:
        # A ledger that was deleted meanwhile begins anew.
        requests, tokens = spent.requests - self._booked.requests, spent.tokens - self._booked.tokens
        return Spent(requests=max(0, requests), tokens=max(0, tokens))


def _sum(one: Spent, other: Spent) -> Spent:
    return Spent(requests=one.requests + other.requests, tokens=one.tokens + other.tokens)
