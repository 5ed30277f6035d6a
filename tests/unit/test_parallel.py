"""Work on many items at once: in order, bounded, and never a wait for what hangs."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from regioncap import parallel
from regioncap.parallel import Threads, for_a_moment, in_order, run
from tests.ending import ended_when_it_hangs


@pytest.fixture(autouse=True)
def a_short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MOMENT_SECONDS", 0.05)


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            first_may_end.wait()
        if number == 1:
            first_may_end.set()
        return number * number

    assert list(in_order(work, range(50), 2)) == [number * number for number in range(50)]


def test_no_more_items_are_taken_than_are_worked_on_and_as_many_again() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    for done, _ in enumerate(in_order(lambda number: number, items(), 3), start=1):
        assert taken <= done + 6


def test_an_error_of_an_item_comes_out_in_its_turn_and_ends_the_rest() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("the fourth")
        return number

    seen = []
    with pytest.raises(ValueError, match="the fourth"):
        seen.extend(in_order(work, range(1_000_000), 2))
    results = in_order(work, range(1_000_000), 2)
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)


def test_who_breaks_off_has_what_is_under_way_interrupted() -> None:
    interrupted = threading.Event()
    results = in_order(lambda number: number == 0 or interrupted.wait(), range(9), 2, interrupt=interrupted.set)
    assert next(results)
    results.close()  # type: ignore[attr-defined]
    assert interrupted.is_set()


def test_the_time_of_a_task_ends_though_a_thread_hangs() -> None:
    with ended_when_it_hangs() as hang:
        list(in_order(lambda _: hang(), range(9), 2))


def test_the_time_of_a_task_ends_though_a_thread_of_the_loop_hangs() -> None:
    async def read() -> None:
        await asyncio.to_thread(hang)

    with ended_when_it_hangs() as hang:
        run(read())


def test_the_time_of_a_task_ends_though_the_loop_itself_hangs() -> None:
    async def block() -> None:
        hang()

    with ended_when_it_hangs() as hang:
        run(block())


def test_what_a_task_does_at_its_end_is_done() -> None:
    saved = threading.Event()

    async def ask() -> None:
        try:
            hang.begun.set()
            await asyncio.sleep(3600)
        finally:
            saved.set()

    with ended_when_it_hangs() as hang:
        run(ask())
    assert saved.wait(60)


def test_a_result_and_an_error_of_the_loop_come_out() -> None:
    async def answer(error: Exception | None) -> int:
        await asyncio.sleep(0)
        if error:
            raise error
        return 7

    assert run(answer(None)) == 7
    with pytest.raises(KeyError, match="of it"):
        run(answer(KeyError("of it")))


def test_cleaning_up_hides_nothing_and_hangs_nobody() -> None:
    done = threading.Event()
    for_a_moment(done.set)
    assert done.wait(60)

    def fails() -> None:
        raise ConnectionError

    for_a_moment(fails)
    over = threading.Event()
    for_a_moment(over.wait)
    over.set()


def test_an_item_that_was_cancelled_is_not_begun() -> None:
    threads, may_end, done = Threads(1), threading.Event(), []
    first, second = threads.submit(may_end.wait), threads.submit(done.append, 1)
    assert second.cancel()
    may_end.set()
    assert first.result() and threads.submit(lambda: "next").result() == "next"
    assert done == []
    threads.shutdown()


def test_a_process_ends_though_a_thread_of_it_hangs() -> None:
    code = """
import threading
from regioncap import parallel
parallel.MOMENT_SECONDS = 0.05
begun = threading.Event()
def work(number):
    if number == 1:
        begun.wait()
        raise SystemExit(7)
    begun.set()
    threading.Event().wait()
list(parallel.in_order(work, [1, 2], 2))
"""
    folders = [folder for folder in sys.path if folder]
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {folders!r}\n{code}"], timeout=300, check=False
    )
    assert ended.returncode == 7
