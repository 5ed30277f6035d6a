"""Work on many items at once, for what mostly waits or lets go of the interpreter. Nobody waits for what hangs.

What ends a task (its time limit, Ctrl-C) comes up in the main thread. Threads that are at work then are given a moment,
and are left to the end of the process if they hang: they are daemons, so that it ends.
"""

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# So long what is under way is waited for where a step ends with an error, in seconds.
MOMENT_SECONDS = 5.0


class Threads(Executor):
    """So many threads, each started when there is something for it to do; see above."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = 0

    def submit(self, work: Callable[..., Result], /, *args: Any, **options: Any) -> "Future[Result]":
        """Have a thread do this; see `concurrent.futures`."""
        future: Future[Result] = Future()
        self._jobs.put(lambda: _done(future, work, args, options))
        if self._left:
            self._left -= 1
            self._started += 1
            threading.Thread(target=_serve, args=(self._jobs,), daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Let the threads end when they have done what they were given."""
        for _ in range(self._started):
            self._jobs.put(None)


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # what it holds may be large


def _done(future: "Future[Result]", work: Callable[..., Result], args: Any, options: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work(*args, **options))
    except BaseException as error:
        future.set_exception(error)


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    *,
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Like `map` on a thread pool, but with a bounded number of items under way, so memory does not grow.

    An error, also one of the caller's, comes out when what is under way has ended, or after a moment; `interrupt` is
    called to hurry it.
    """
    pool = Threads(threads)
    under_way: deque[Future[Result]] = deque()

    def first() -> Result:
        # It counts as under way until it has ended.
        result = under_way[0].result()
        under_way.popleft()
        return result

    try:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) >= 2 * threads:
                yield first()
        while under_way:
            yield first()
    except BaseException:
        for future in under_way:
            future.cancel()
        interrupt()
        wait(under_way, MOMENT_SECONDS)
        raise
    finally:
        pool.shutdown()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Like `asyncio.run`, on a thread of its own.

    An error that comes up in this thread meanwhile ends it after a moment. In the loop's own thread, it could come up
    in a callback, whose errors are only logged; and the loop's end waits for its threads, whatever they do.
    """
    ended: Future[Result] = Future()
    begun: Future[Callable[[], object]] = Future()

    async def cancellable() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        begun.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    def serve() -> None:
        _done(ended, asyncio.run, (cancellable(),), {})

    try:
        threading.Thread(target=contextvars.copy_context().run, args=(serve,), daemon=True).start()
        return ended.result()
    except BaseException:
        if not ended.done():
            begun.add_done_callback(lambda cancel: cancel.result()())
            wait([ended], MOMENT_SECONDS)
        raise


def for_a_moment(call: Callable[[], object]) -> None:
    """Clean up where something has gone wrong: what hangs or fails is not waited for, and does not hide the error."""
    threads = Threads(1)
    wait([threads.submit(call)], MOMENT_SECONDS)
    threads.shutdown()
