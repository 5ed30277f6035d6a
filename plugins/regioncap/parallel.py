"""Work on many items at once, for what mostly waits or lets go of the interpreter."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    *,
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """Like `map` on a thread pool, but with a bounded number of items under way, so memory does not grow.

    An error, also one of the caller's, comes out when what is under way has ended; `interrupt` is called to hurry it.
    """
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) >= 2 * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BaseException:
            for future in under_way:
                future.cancel()
            interrupt()
            raise
