"""What may pass by itself is tried again: for minutes, with growing pauses, and then it is over."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type

from regioncap.errors import BrokenReadError, StorageUnavailableError

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

# For so long one file is tried for, in seconds: what is restarted is back by then. Whoever asked for it may try again.
PATIENCE_SECONDS = 300.0
# Never longer in this process, or in this context.
_bound = math.inf
_brief: ContextVar[float] = ContextVar("brief", default=math.inf)

# The first pause is up to so long, the next one up to twice that, and so on; in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 20.0


def be_patient_for(seconds: float) -> None:
    """Try for so long in this process from now on, unless it was told to be less patient."""
    global PATIENCE_SECONDS
    PATIENCE_SECONDS = min(seconds, _bound)


def wait_at_most(seconds: float) -> None:
    """Be less patient in this process, where somebody waits for what it says."""
    global PATIENCE_SECONDS, _bound
    PATIENCE_SECONDS = _bound = seconds


@contextmanager
def brief(seconds: float) -> Iterator[None]:
    """Be less patient within the block, where others wait for its end."""
    token = _brief.set(seconds)
    try:
        yield
    finally:
        _brief.reset(token)


def is_brief() -> bool:
    """Whether this is within such a block."""
    return _brief.get() < math.inf


# The time, and what lets it pass.
clock: Callable[[], float] = time.monotonic
sleep: Callable[[float], None] = time.sleep


class PassingFault(StorageUnavailableError):
    """It did not work, and may work the next time; not before `wait` seconds, where the service says so."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def persist(call: Callable[[], Result]) -> Result:
    """What `call` returns. Where it raises PassingFault or BrokenReadError it is called again, to begin anew.

    Raises StorageUnavailableError when that did not help for PATIENCE_SECONDS; a call within a call that has given up
    is not begun anew.
    """
    started = clock()
    try:
        return call()  # it nearly always works at once, and then costs nothing
    except (PassingFault, BrokenReadError) as fault:
        return _again(call, fault, started)


def _again(call: Callable[[], Result], first: Exception, started: float) -> Result:
    """What `call` returns, whose first fault is known."""
    known = [first]

    def attempt() -> Result:
        if known:
            raise known.pop()
        return call()

    def pause(state: RetryCallState) -> float:
        fault = _fault(state)
        asked_for = fault.wait if isinstance(fault, PassingFault) else 0.0
        # All who were refused at once must not come back at once.
        drawn = random.uniform(0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(state.attempt_number - 1, 10)))
        return asked_for + drawn

    patience = min(PATIENCE_SECONDS, _brief.get())

    def is_over(state: RetryCallState) -> bool:
        return clock() - started + state.upcoming_sleep > patience

    def tell(state: RetryCallState) -> None:
        _log.warning("%s; tried again in %.1f s", _fault(state), state.upcoming_sleep)

    tries = Retrying(
        retry=retry_if_exception_type((PassingFault, BrokenReadError)),
        wait=pause,
        stop=is_over,
        before_sleep=tell,
        sleep=lambda seconds: sleep(seconds),
    )
    try:
        return tries(attempt)
    except RetryError as error:
        fault = error.last_attempt.exception()
        raise StorageUnavailableError(
            f"{fault} (tried {error.last_attempt.attempt_number} times in {clock() - started:.0f} s). "
            "Try again when it is over"
        ) from fault


def _fault(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
