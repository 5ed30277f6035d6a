"""A store that fails on demand: what may go wrong between RegionCap and a place to keep files, at any call."""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, TypeVar

from regioncap.errors import BrokenReadError, StorageUnavailableError
from regioncap.storage.store import Entry, Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Result = TypeVar("Result")

# When a call fails: before anything is done; midway, with a part of what is read or listed handed out; or after all is
# done, so that only the answer is lost. What cannot fail midway fails before.
Fault = Literal["before", "midway", "after"]

READS = ("list", "folders", "stat", "read", "open")
WRITES = ("write", "write_stream", "copy", "replace", "delete", "delete_folder")


@dataclass(frozen=True)
class Call:
    """A call of a store's method; `uri` is that of the file, or of the folder."""

    method: str
    uri: str


@dataclass
class FaultPlan:
    """Which calls fail, and how: this share of them, drawn from a seed.

    `methods` are those that fail; `only` may narrow it further. `faults` are those that were injected so far. Where
    `chance` is set to 0, nothing fails.
    """

    seed: int
    chance: float
    methods: Sequence[str] = READS + WRITES
    kinds: Sequence[Fault] = ("before", "midway", "after")
    only: Callable[[Call], bool] = lambda call: True
    faults: list[tuple[Call, Fault]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def __call__(self, call: Call) -> Fault | None:
        if call.method not in self.methods or not self.only(call) or self._draw.random() >= self.chance:
            return None
        fault = self._draw.choice(self.kinds)
        self.faults.append((call, fault))
        return fault


class FaultyStore:
    """`store`, with the faults that `plan` injects. Stores below it share the plan."""

    def __init__(self, store: Store, plan: Callable[[Call], Fault | None]) -> None:
        self._store = store
        self._plan = plan

    @property
    def uri(self) -> str:
        return self._store.uri

    def sub(self, path: str) -> "FaultyStore":
        return FaultyStore(self._store.sub(path), self._plan)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        call = self._call("list", prefix)
        fault = self._plan(call)
        if fault in (None, "after"):
            yield from self._store.list(prefix)
        elif fault == "midway":
            entries = list(self._store.list(prefix))
            yield from entries[: len(entries) // 2]
        if fault is not None:
            raise self._error(call)

    def now(self) -> float:
        return self._store.now()

    def folder_exists(self) -> bool:
        return next(self.list(), None) is not None

    def folders(self) -> Sequence[str]:
        return self._done("folders", "", self._store.folders)

    def stat(self, path: str) -> Entry:
        return self._done("stat", path, lambda: self._store.stat(path))

    def read(self, path: str, version: str | None = None) -> bytes:
        return self._done("read", path, lambda: self._store.read(path, version))

    def read_part(self, path: str, start: int, size: int, version: str | None = None) -> bytes:
        return self._done("read", path, lambda: self._store.read_part(path, start, size, version))

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        call = self._call("open", path)
        fault = self._plan(call)
        if fault == "before":
            raise self._error(call)
        with self._store.open(path, version) as stream:
            data = stream.read()
        if fault is None:
            return io.BytesIO(data)
        return io.BufferedReader(_Cut(data[: len(data) // 2] if fault == "midway" else data, call.uri))

    def write(self, path: str, data: bytes) -> None:
        self._done("write", path, lambda: self._store.write(path, data))

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        self._done("write_stream", path, lambda: self._store.write_stream(stream, path))

    def local_path(self, path: str) -> Path | None:
        return self._store.local_path(path)

    def copy(self, source: Store, source_path: str, path: str) -> str | None:
        return self._done("copy", path, lambda: self._store.copy(source, source_path, path))

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        return self._done("replace", path, lambda: self._store.replace(path, data, version))

    def delete(self, path: str) -> None:
        self._done("delete", path, lambda: self._store.delete(path))

    def delete_folder(self) -> None:
        call = self._call("delete_folder", "")
        fault = self._plan(call)
        if fault == "midway":
            entries = list(self._store.list())
            for entry in entries[: len(entries) // 2]:
                self._store.delete(entry.path)
        elif fault != "before":
            self._store.delete_folder()
        if fault is not None:
            raise self._error(call)

    def _done(self, method: str, path: str, do: Callable[[], Result]) -> Result:
        """The result of a call that is done at once or not at all."""
        call = self._call(method, path)
        fault = self._plan(call)
        if fault in ("before", "midway"):
            raise self._error(call)
        result = do()
        if fault == "after":
            raise self._error(call)
        return result

    def _call(self, method: str, path: str) -> Call:
        return Call(method, f"{self.uri}/{path}".rstrip("/"))

    def _error(self, call: Call) -> Exception:
        return StorageUnavailableError(f"{call.uri}: an injected fault of {call.method}")


class _Cut(io.RawIOBase):
    """These bytes, and then an error where the file's end or its next byte should be."""

    def __init__(self, data: bytes, uri: str) -> None:
        self._data = io.BytesIO(data)
        self._uri = uri

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = self._data.readinto(buffer)
        if not count:
            raise BrokenReadError(f"{self._uri}: an injected fault of open")
        return count
