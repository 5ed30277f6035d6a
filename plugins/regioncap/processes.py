"""Services that never outlive the program that started them, however it ends.

A service runs below a *keeper*: a small process that holds the reading end of a pipe. The writing end is ours alone, so
when we end, killed or not, the keeper reads its end and stops the service with everything that it started, also what
moved to a session of its own (the keeper adopts it as a child subreaper). Linux only.
"""

import ctypes
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from regioncap.errors import ServiceError

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_LIBC = ctypes.CDLL(None, use_errno=True)

_PACKAGES = Path(__file__).resolve().parents[1]
# It finds packages where we do, whatever the service's environment says.
_KEEPER = (
    "import json, sys; first, *others = json.loads(sys.argv.pop(1)); sys.path = [first, *sys.path, *others]; "
    "from regioncap.processes import keep; sys.exit(keep())"
)
_LOG_TAIL_LINES = 25

# Above the well-known ports. What a service puts 10,000 above its own falls on none of these, nor on outgoing ones.
_PORTS = range(10_000, 20_000)


class Service:
    """A program that runs until this object is stopped, or this process ends.

    `environment` is the program's whole environment; its output is appended to `log`; at its end it and everything
    below it get SIGTERM and `grace` seconds, then SIGKILL. Use it as a context manager, or call `stop`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        grace: float = 15.0,
    ) -> None:
        self.name = name
        self.log = log
        self._grace = grace
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._keeper = subprocess.Popen(
                [sys.executable, "-c", _KEEPER, json.dumps([str(_PACKAGES), *sys.path]), str(grace), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # Ctrl-C in a terminal is for us: the keeper follows when we are done.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the service has not ended."""
        return self._keeper.poll() is None

    @property
    def pid(self) -> int:
        """The process above everything that belongs to the service."""
        return self._keeper.pid

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready()` is true. Raises ServiceError if the service ends, or is not ready in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{self.name} was not ready after {seconds:.0f} s. The end of {self.log}:\n{self.log_tail()}"
                )
            time.sleep(0.1)

    def check(self) -> None:
        """Raise ServiceError if the service has ended."""
        if not self.running:
            raise ServiceError(f"{self.name} ended by itself. The end of {self.log}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def stop(self) -> None:
        """End the service and everything it started; returns when all of it is gone."""
        stdin: IO[bytes] | None = self._keeper.stdin
        if stdin is not None and not stdin.closed:
            stdin.close()
        self._keeper.wait(self._grace + 15)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_ports(count: int) -> list[int]:
    """So many different ports on 127.0.0.1 that nobody listens on now.

    None is of those that systems give to outgoing connections (from 32768 or 49152 up): a service that is started again
    finds its port as free as it left it.
    """
    with ExitStack() as probes:
        ports: list[int] = []
        while len(ports) < count:
            probe = probes.enter_context(socket.socket())
            with suppress(OSError):
                port = random.choice(_PORTS)
                probe.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def keep() -> int:
    """The keeper's whole life: start the service, wait for its end or for the end of whoever started us, clean up."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # turned into the clean-up below
    service = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # Should the keeper itself be killed, the service at least does not stay.
        preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin.buffer, selectors.EVENT_READ)
            while service.poll() is None:
                if selector.select(timeout=0.2) and not os.read(sys.stdin.fileno(), 1):
                    break
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all_below(grace)
    return service.returncode or 0


def adopt_orphans() -> None:
    """From now on, a process below this one whose parent ends becomes a child of this one."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_all_below(grace: float) -> None:
    """End every process below this one. Some start others while they end, so look again until none is left."""
    deadline = time.monotonic() + grace
    told: set[int] = set()
    while alive := _descendants():
        for process in alive:
            late = time.monotonic() > deadline
            if late or process.pid not in told:
                told.add(process.pid)
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
        psutil.wait_procs(alive, timeout=0.1)


def _descendants() -> list[psutil.Process]:
    alive = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
            elif process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)  # an adopted orphan that ended
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return alive
