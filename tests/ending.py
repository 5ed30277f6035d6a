"""A task whose time is up while something hangs, as Airflow ends it: by an error that comes up in the main thread."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class TimeIsUp(BaseException):
    """What Airflow raises is no Exception either."""


class Hang:
    """What calls it hangs until the block of `ended_when_it_hangs` is over."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()

    def __call__(self, *_: Any, **__: Any) -> None:
        self.begun.set()
        self.over.wait()


@contextmanager
def ended_when_it_hangs() -> Iterator[Hang]:
    """Once something hangs, the block is ended by an error; it has to end with this one, and does not wait for it.

    Not SIGALRM, which is what ends a test that takes too long.
    """
    hang = Hang()

    def end(*_: object) -> None:
        if not hang.over.is_set():
            raise TimeIsUp

    def wait_and_end() -> None:
        hang.begun.wait()
        # A signal that comes just before the main thread begins to wait does not wake it; and an error that comes up in
        # a callback of the garbage collector, as hypothesis has one, is lost. Then the next one ends it.
        while not hang.over.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            hang.over.wait(2.0)

    before = signal.signal(signal.SIGUSR1, end)
    ender = threading.Thread(target=wait_and_end, daemon=True)
    ender.start()
    try:
        with pytest.raises(TimeIsUp):
            yield hang
        assert hang.begun.is_set(), "nothing has called it"
        assert not hang.over.is_set()
    finally:
        hang.over.set()
        hang.begun.set()
        ender.join()
        signal.signal(signal.SIGUSR1, before)
