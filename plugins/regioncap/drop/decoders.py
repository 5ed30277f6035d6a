"""Decoding image files in processes that can be killed: a file that hangs its decoder, or ends it, costs its row alone.

Each process is asked for one file after the other, and knows nothing but that: no secrets are in its environment. It
may take as much memory and time as its picture's pixels say (`decoder.needs`); it ends with the process that started
it, however that ends. Linux only.
"""

import atexit
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from regioncap.drop.decoder import SMALL_MEMORY, SMALL_SECONDS, Job, Request, Result, receive, send, serve
from regioncap.drop.images import MAX_FILE_PIXELS
from regioncap.errors import NoRegionError, RowError, ServiceError
from regioncap.processes import cores, ended, free_memory, python
from regioncap.regions.codes import Code

# What a process is told of our environment: where things are, and in which language.
_TOLD = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
# One core for each, and no more memory set aside than it takes. What is taken for an image is kept for the next: to
# have it mapped anew each time costs a sixth of the time of small ones.
_OWN = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

# Of the memory that is left, other processes may want as much.
_MEMORY_SHARE = 0.5
# Time may pass without a core to work on: so many times what a picture may take of one, it is waited for.
_PATIENCE = 6.0
_START_SECONDS = 120.0
_BUFFER_BYTES = 1 << 20


class Decoders:
    """As many processes as there are cores, for any number of threads. Use it as a context manager.

    `heic` and `max_pixels` are those of `open_image`.
    """

    def __init__(self, *, heic: bool = False, max_pixels: int = MAX_FILE_PIXELS) -> None:
        self._heic = heic
        self._max_pixels = max_pixels
        memory = round(_MEMORY_SHARE * free_memory())
        number = max(1, min(cores(), memory // SMALL_MEMORY))
        self._memory = _Budget(memory)
        self._slots = threading.Semaphore(number)
        self._busy: set[_Decoder] = set()
        self._interrupted = False

    def run(self, data: bytes, job: Job, *arguments: Any) -> Result:
        """What `job` makes of an image file.

        Raises RowError: what `open_image` and the job raise, image_too_slow, image_crashed, and internal_error; and
        ServiceError where no process can be started.
        """
        request = pickle.dumps(Request(job, arguments, self._heic, self._max_pixels))
        with self._slots:
            try:
                return self._tried(request, data, alone=False)
            except _LostError as error:
                if error.certain or self._interrupted:
                    raise error.row_error from None
            # It may have been the machine, or what was decoded before or beside it.
            try:
                return self._tried(request, data, alone=True)
            except _LostError as error:
                raise error.row_error from None

    def interrupt(self) -> None:
        """End what is under way: its callers get an error soon."""
        self._interrupted = True
        for decoder in list(self._busy):
            decoder.interrupt()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.interrupt()

    def _tried(self, request: bytes, data: bytes, *, alone: bool) -> Result:
        """One try. Alone, a process that has done nothing else has all the memory."""
        decoder = _Decoder() if alone else _idle.taken()
        self._busy.add(decoder)
        if self._interrupted:  # since it was started
            decoder.interrupt()
        try:
            result = decoder.ask(request, data, self._memory, alone=alone)
        except RowError:
            _idle.keep(decoder)
            raise
        except BaseException:
            decoder.kill()
            raise
        finally:
            self._busy.discard(decoder)
        _idle.keep(decoder)
        return result


class _LostError(Exception):
    """A decoder came to no end. `certain` says that it would not another time either."""

    def __init__(self, row_error: RowError, *, certain: bool = False) -> None:
        super().__init__(row_error.reason)
        self.row_error = row_error
        self.certain = certain


class _Decoder:
    """A process, for one thread at a time."""

    def __init__(self) -> None:
        self.path = list(sys.path)
        self.owner = os.getpid()
        self._connection, theirs = socket.socketpair()
        # Nothing is ever sent through it: its end says that we are gone.
        self._lifeline, their_lifeline = socket.socketpair()
        with theirs, their_lifeline:
            for end in (self._connection, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            numbers = (theirs.fileno(), their_lifeline.fileno())
            self._process = subprocess.Popen(
                python(serve, *map(str, numbers)),
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**{name: os.environ[name] for name in _TOLD if name in os.environ}, **_OWN},
                start_new_session=True,
            )
        try:
            self._connection.settimeout(_START_SECONDS)
            receive(self._connection)
        except (EOFError, OSError) as error:
            self.kill()
            raise ServiceError(
                f"no process can be started that decodes images ({ended(self._process.returncode)}): look at what it "
                "said in this task's log, and at the limits that this worker's processes have"
            ) from error

    @property
    def usable(self) -> bool:
        """Whether it is there, belongs to this process, and finds the packages that this one finds now."""
        return self.owner == os.getpid() and self.path == sys.path and self._process.poll() is None

    def interrupt(self) -> None:
        """End the process: whoever waits for its answer gets an error."""
        self._process.kill()

    def kill(self) -> None:
        """End it, whatever it does. It was the caller's."""
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
        for end in (self._connection, self._lifeline):
            end.close()

    def ask(self, request: bytes, data: bytes, memory: "_Budget", *, alone: bool) -> Result:
        """What comes of a request. Raises RowError, and _LostError."""
        seconds, granted = SMALL_SECONDS, SMALL_MEMORY
        with ExitStack() as held:
            held.enter_context(memory.of(memory.total if alone else SMALL_MEMORY))
            try:
                self._connection.settimeout(_PATIENCE * seconds)
                send(self._connection, request, data)
                answer, *blobs = receive(self._connection)
                told = json.loads(answer)
                if "needs" in told:
                    granted, seconds = min(int(told["needs"][0]), memory.total), float(told["needs"][1])
                    if not alone:
                        # What is held while more is waited for could keep all waiting.
                        held.close()
                        held.enter_context(memory.of(granted))
                    self._connection.settimeout(_PATIENCE * seconds)
                    send(self._connection, str(granted).encode())
                    answer, *blobs = receive(self._connection)
                    told = json.loads(answer)
            except TimeoutError:
                raise _LostError(_too_slow(_PATIENCE * seconds)) from None
            except (EOFError, OSError, ValueError):
                raise self._lost(seconds) from None
        if "fault" in told:
            raise _fault(**told["fault"])
        return told["done"], blobs

    def _lost(self, seconds: float) -> _LostError:
        """Why the process is gone."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.poll()
        if status == -signal.SIGXCPU:
            return _LostError(_too_slow(seconds), certain=True)
        return _LostError(RowError(Code.IMAGE_CRASHED, f"the process that decoded the image {ended(status)}"))


class _Idle:
    """The processes that wait for a file. They stay for the next step of this process, which has not to start them."""

    def __init__(self) -> None:
        self._decoders: list[_Decoder] = []
        self._lock = threading.Lock()

    def taken(self) -> _Decoder:
        """One of them, or a new one."""
        while True:
            with self._lock:
                if not self._decoders:
                    break
                decoder = self._decoders.pop()
            if decoder.usable:
                return decoder
            decoder.kill()
        return _Decoder()

    def keep(self, decoder: _Decoder) -> None:
        """Take one back."""
        with self._lock:
            self._decoders.append(decoder)

    def end(self) -> None:
        """End all of them."""
        while self._decoders:
            self._decoders.pop().kill()


_idle = _Idle()
atexit.register(_idle.end)


class _Budget:
    """Memory that is under way, in bytes: first come, first served."""

    def __init__(self, total: int) -> None:
        self.total = max(total, SMALL_MEMORY)
        self._free = self.total
        self._turn = threading.Lock()
        self._freed = threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Hold so much of it; waits until it is there."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._freed:
                self._free += size
                self._freed.notify_all()


def _fault(code: str, reason: str, of_boxes: tuple[list[int], int] | None, passing: bool) -> Exception:
    if of_boxes is not None:
        (width, height), orientation = of_boxes
        return NoRegionError(code, reason, (width, height), orientation)
    row_error = RowError(code, reason)
    return _LostError(row_error) if passing else row_error


def _too_slow(seconds: float) -> RowError:
    return RowError(
        Code.IMAGE_TOO_SLOW,
        f"the image was not decoded in {seconds:.0f} seconds, many times what one of its size takes: it is damaged, or "
        "made to be slow; save it anew",
    )
