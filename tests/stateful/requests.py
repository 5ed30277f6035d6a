"""Stores whose every request is counted, and may be struck: by a passing fault, a kill, or what others do meanwhile."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn, cast

from regioncap.storage.store import Entry, Store
from tests.faulty_store import Call, Fault, FaultyStore

Moment = Literal["before", "after"]

# What stands between two writes, by the storage service's clock, in seconds.
_TICK = 10.0
# What is never opened: it lies outside of all places, and links in the drop lead to it.
SECRET = "secret-of-another-4711.jpg"

_WRITES = frozenset({"write", "write_stream", "copy", "replace"})

_opened: list[str] | None = None


class KilledError(BaseException):
    """The process ends here, as by SIGKILL: nothing of it may catch this."""


class Requests:
    """All requests to the stores of one world, in order; `now` is the service's clock, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.count = 0
        self.struck = 0
        # After a kill nothing more of the task happens, whatever its code still tries.
        self.killed = False
        self._modified: dict[str, float] = {}
        self._armed: tuple[int, Moment, Callable[[], None]] | None = None
        self._fault: Fault | None = None

    def watched(self, store: Store) -> Store:
        """The same store; its requests are counted here."""
        return cast(Store, _Watched(FaultyStore(store, self._next_fault), self))

    @contextlib.contextmanager
    def armed(self, at: int, moment: Moment, strike: Callable[[], None]) -> Iterator[None]:
        """Within the block, `strike` is called once, before or after the request number `at` from here on."""
        self._armed = (self.count + at, moment, strike)
        try:
            yield
        finally:
            self.disarm()

    def disarm(self) -> None:
        """Let nothing more happen to the requests that follow."""
        self._armed, self.killed, self._fault = None, False, None

    def kill(self) -> NoReturn:
        """Ends the task that makes the request."""
        self.killed = True
        raise KilledError

    def fail(self, fault: Fault) -> None:
        """Lets the request that is about to be made fail."""
        self._fault = fault

    def request(self, name: str, call: Callable[[], Any]) -> Any:
        """Carry out one request."""
        if self.killed:
            raise KilledError
        number, self.count = self.count, self.count + 1
        self._strike(number, "before")
        result = call()
        self._strike(number, "after")
        return result

    def _next_fault(self, call: Call) -> Fault | None:
        fault, self._fault = self._fault, None
        return fault

    def _strike(self, number: int, moment: Moment) -> None:
        if self._armed is None or self._armed[:2] != (number, moment):
            return
        strike, self._armed = self._armed[2], None
        self.struck += 1
        strike()

    def written(self, key: str) -> None:
        """Note that a file is written now."""
        self.now += _TICK
        self._modified[key] = self.now

    def entry(self, uri: str, entry: Entry) -> Entry:
        """An entry with the service's time in the place of the disk's, which does not pass in a test."""
        return dataclasses.replace(entry, modified=self._modified.get(f"{uri}/{entry.path}", entry.modified))


class _Watched:
    """A store as `Requests` sees it; whatever methods stores have."""

    def __init__(self, store: Store, requests: Requests) -> None:
        self._store = store
        self._requests = requests

    def sub(self, path: str) -> Store:
        return self._requests.watched(self._store.sub(path))

    def local_path(self, path: str) -> None:
        """As in a bucket: all that is read is a request."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute
        requests, uri = self._requests, self._store.uri

        def call(*args: Any, **options: Any) -> Any:
            result = requests.request(name, lambda: act(*args, **options))
            if name == "list":
                return iter([requests.entry(uri, entry) for entry in result])
            return requests.entry(uri, result) if name == "stat" else result

        def act(*args: Any, **options: Any) -> Any:
            result = attribute(*args, **options)
            if name == "list":
                return list(result)
            if name in _WRITES:
                path = {"write": 0, "replace": 0, "write_stream": 1, "copy": 2}[name]
                requests.written(f"{uri}/{args[path]}")
            return result

        return call


@contextlib.contextmanager
def secrets_opened() -> Iterator[list[str]]:
    """Which opened files are the secret's, by whatever way."""
    global _opened
    if not _hooked:
        sys.addaudithook(_note_opened)
        _hooked.append(True)
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


_hooked: list[bool] = []


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and str(arguments[0]).endswith(SECRET):
        _opened.append(str(arguments[0]))
