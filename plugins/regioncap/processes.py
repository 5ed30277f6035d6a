"""Services that never outlive the program that started them, however it ends; and what a process may use.

A service runs below a *keeper*: a small process that holds the reading end of a pipe. The writing end is ours alone, so
when we end, killed or not, the keeper reads its end and stops the service with everything that it started, also what
moved to a session of its own (the keeper adopts it as a child subreaper). Linux only.
"""

import ctypes
import errno
import json
import math
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from regioncap.errors import ServiceError

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
# From <linux/audit.h> and <asm/unistd.h>: an architecture's number, and there that of the system call `socket`.
_SOCKET_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}

_LIBC = ctypes.CDLL(None, use_errno=True)

_PACKAGES = Path(__file__).resolve().parents[1]
_START = (
    "import json, sys; first, *others = json.loads(sys.argv.pop(1)); sys.path = [first, *sys.path, *others]; "
    "from {module} import {function}; sys.exit({function}())"
)
_LOG_TAIL_LINES = 25

# Where the kernel says what a container may use.
_CGROUPS = Path("sys/fs/cgroup")

# Above the well-known ports. What a service puts 10,000 above its own falls on none of these, nor on outgoing ones.
_PORTS = range(10_000, 20_000)
# The last ones that were given: what is to listen on them may not have begun.
_given: deque[int] = deque(maxlen=1000)


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
                python(keep, str(grace), *command),
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


def python(function: Callable[[], object], *arguments: str) -> list[str]:
    """The command that runs a function of a module in a Python of its own, with `arguments` in `sys.argv[1:]`.

    It finds packages where we do, whatever the environment says that it is started with.
    """
    code = _START.format(module=function.__module__, function=function.__name__)
    return [sys.executable, "-c", code, json.dumps([str(_PACKAGES), *sys.path]), *arguments]


def ended(status: int | None) -> str:
    """What became of a process with this exit status, in a sentence about it; None stands for none yet."""
    if status is None:
        return "did not answer"
    if status >= 0:
        return f"ended by itself, with {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (", as where memory is short" if -status == signal.SIGKILL else "")


def cores(root: Path = Path("/")) -> int:
    """How many cores this process may use at once: the container's, not the host's. `root` has `proc` and `sys`."""
    quotas = [_quota(folder) for folder in _cgroups(root, "cpu")]
    return max(1, math.floor(min([len(os.sched_getaffinity(0)), *(quota for quota in quotas if quota)])))


def free_memory(root: Path = Path("/")) -> int:
    """How many bytes of memory there are left for this process: in the container, and on the host. `root` as above."""
    left = [_number(root / "proc/meminfo", "MemAvailable:") * 1024]
    for folder in _cgroups(root, "memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with suppress(OSError, ValueError):  # there is no such file, or it says `max`
                most = int((folder / limit).read_text())
                # What is kept of files is given back where memory is short.
                left.append(most - int((folder / used).read_text()) + _number(folder / "memory.stat", cache))
    return max(0, min(left))


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the control groups that bound this process, of either version, from its own one upwards."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top = root / _CGROUPS / (controller if controllers else "")
            # In a container, the path may be the host's, and what is there is at the top.
            yield from (top / folder for folder in [path.lstrip("/"), *map(str, Path(path.lstrip("/")).parents)])


def _quota(folder: Path) -> float | None:
    """How many cores a control group has; None where it sets no bound."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        return max(0, int(quota)) / int((folder / "cpu.cfs_period_us").read_text())
    return None


def _number(file: Path, name: str) -> int:
    """The number behind a name in a file of lines; 0 where there is none."""
    with suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_ports(count: int) -> list[int]:
    """So many different ports on 127.0.0.1 that nobody listens on now, and that were not given out before.

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
                if port not in _given:
                    ports.append(port)
                    _given.append(port)
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
                _reap_orphans(service.pid)
                if selector.select(timeout=0.2) and not os.read(sys.stdin.fileno(), 1):
                    break
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all_below(grace)
    return service.returncode or 0


def _reap_orphans(service: int) -> None:
    """Let go of adopted processes that have ended: until somebody asks for their status, they keep their number."""
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == service:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


def adopt_orphans() -> None:
    """From now on, a process below this one whose parent ends becomes a child of this one."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def refuse_sockets() -> None:
    """From now on, this process cannot open a socket, nor can what it starts: it gets a PermissionError.

    Where the kernel knows no such filter, or the machine is of another kind, nothing changes.
    """
    if (machine := os.uname().machine) not in _SOCKET_CALLS:
        return
    architecture, call = _SOCKET_CALLS[machine]
    # Classic BPF, as <linux/filter.h> has it: code, jump if true, jump if false, value. The call's number is at 0 of
    # what it is about, the architecture at 4.
    load, equal, answer = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EACCES
    steps = [
        (load, 0, 0, 4), (equal, 0, 3, architecture), (load, 0, 0, 0), (equal, 0, 1, call),
        (answer, 0, 0, refuse), (answer, 0, 0, allow),
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program)


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
