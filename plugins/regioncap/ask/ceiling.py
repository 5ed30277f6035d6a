"""Ceilings of requests, tokens and money, for servers that cost."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from regioncap.config.prices import FREE
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
    money: float = 0.0

    @property
    def under_way(self) -> int:
        """How many of its requests have no answer yet."""
        return self.requests - self.answered

    @property
    def tokens_each(self) -> int:
        """How many tokens an answer has taken."""
        return -(-self.tokens // self.answered) if self.answered else 0

    @property
    def money_each(self) -> float:
        """What an answer has cost."""
        return self.money / self.answered if self.answered else 0.0

    def with_more(self, requests: int) -> Spent:
        """What it will have spent with so many more requests, if each takes as much as those before."""
        more = self.under_way + requests
        return Spent(
            requests=self.requests + requests,
            tokens=self.tokens + self.tokens_each * more,
            money=self.money + self.money_each * more,
        )


@dataclass(frozen=True)
class Limits:
    """How much all tasks of a build may spend; None where it is not bounded."""

    requests: int | None
    tokens: int | None
    money: float | None = None

    def requests_left(self, own: Own, others: Spent) -> int:
        """How many requests may still be sent, whatever their tokens."""
        return sys.maxsize if self.requests is None else self.requests - others.requests - own.requests

    def to_set_aside(self, own: Own, others: Spent) -> int:
        """How many requests a task may set aside, where the others have spent so much."""
        left, mine = self.requests_left(own, others), own.with_more(0)
        if self.tokens is not None:
            left = min(left, _affordable(own, self.tokens - others.tokens - mine.tokens, max(1, own.tokens_each)))
        if self.money is not None:
            left = min(left, _affordable(own, self.money - others.money - mine.money, own.money_each))
        return min(_MOST_AT_ONCE, max(1, left // _SHARE)) if left > 0 else 0


def _affordable(own: Own, room: float, each: float) -> int:
    """How many more requests there is room for where each takes so much; none where there is no room at all."""
    if room <= 0:
        return 0
    if not own.answered:
        return _UNTIL_KNOWN - own.under_way
    return int(min(room // each, sys.maxsize)) if each else sys.maxsize


class Ceiling:
    """What a task may still send, of what `max_requests`, `max_tokens_total` and `max_cost` leave to all of a plan's.

    Requests are set aside in the build's ledger before they are sent, with the tokens that they are expected to take:
    so there are never more requests than allowed, and hardly more tokens. To be used from several threads.
    """

    def __init__(self, work: Store, plan: Plan) -> None:
        settings = plan.settings
        self._limits = Limits(settings.max_requests, settings.max_tokens_total, settings.max_cost)
        self._prices = plan.prices or FREE
        # Until when the time in which something was under way is counted.
        self._counted = time.monotonic()
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
                if not self._own.under_way:
                    self._counted = time.monotonic()
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
            own, now = self._own, time.monotonic()
            money = self._prices.money(completion.prompt_tokens, completion.completion_tokens, now - self._counted)
            self._counted = now
            self._own = Own(own.requests, own.answered + 1, own.tokens + tokens, own.money + money)
            by_tokens = self._limits.tokens is not None
            by_price = self._limits.money is not None and self._prices.are_of_tokens
            if (by_tokens or by_price) and completion.refused is None and not tokens:
                self._tells_no_tokens = self._stopped = True
            self._news.notify_all()

    def check(self) -> None:
        """Raises CeilingError where something could not be sent, VlmSetupError where tokens cannot be counted."""
        if self._tells_no_tokens:
            raise VlmSetupError(
                "the server tells of no tokens, so max_tokens_total cannot be kept, nor max_cost where tokens have a "
                "price: set max_requests instead"
            )
        if self.reached:
            raise self.error()

    def error(self) -> CeilingError:
        """What is said at the ceiling."""
        spent = self._ledger.read()
        limits, currency = self._limits, self._prices.currency
        if limits.requests_left(Own(), spent) <= 0:
            name, most = "max_requests", f"{limits.requests:,}"
        elif limits.tokens is not None and spent.tokens + self._own.tokens_each > limits.tokens:
            name, most = "max_tokens_total", f"{limits.tokens:,}"
        elif limits.money is not None:
            name, most = "max_cost", f"{limits.money:,g} {currency}"
        else:
            name, most = "max_tokens_total", f"{limits.tokens:,}"
        taken = f"{spent.requests:,} requests and {spent.tokens:,} tokens"
        paid = "" if limits.money is None else f", at about {spent.money:,.4g} {currency},"
        return CeilingError(
            f"the {name} of {most} is reached: this build has taken {taken}{paid} so far, of them "
            f"{self._own.requests:,} requests in this task. The answers are kept: start a run for the date with a "
            f"higher {name}, and it goes on from there"
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
                mine = Spent(requests=self._own.requests, tokens=self._own.tokens, money=self._own.money)
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
        money = spent.money - self._booked.money
        return Spent(requests=max(0, requests), tokens=max(0, tokens), money=max(0.0, money))


def _sum(one: Spent, other: Spent) -> Spent:
    requests, tokens = one.requests + other.requests, one.tokens + other.tokens
    return Spent(requests=requests, tokens=tokens, money=one.money + other.money)
