"""A vLLM server that the tasks of a host share: the first that needs it starts it, and it ends when nobody does.

A *guard* runs the server: a process of its own, so that the server outlives the task that needed it first and is warm
for the next one. Tasks and guard meet in a folder that only their user can read:

    guard.lock    locked by the guard for as long as it lives
    leases.lock   locked (shared) by every task that uses the server. The kernel gives a lock back when its holder ends,
                  however it ends, so no lease of a killed task has to expire
    config.json   what to start
    state.json    the server's port and key, whether it is ready, and why it is not to be had
    vllm.log

When the guard could have had `leases.lock` for itself throughout `idle_seconds`, it takes it until the server is gone:
a task that comes in between waits, and then starts a new one. Should the guard be killed, the server's keeper ends the
server.

Temporary folders are swept of what is old, and a lock on a file that has no name any more is met by nobody. So the
guard keeps these files new; where they are gone all the same, the server ends with the last task that has it.
"""

import fcntl
import hashlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel

from regioncap.errors import ServiceError, VlmSetupError, VlmUnavailableError
from regioncap.processes import Service, adopt_orphans, end_all_below, free_ports
from regioncap.regions.served import Served
from regioncap.vlm import server
from regioncap.vlm.endpoint import Endpoint

# Long enough for the next shard, or the next run's first one, to find the server warm.
IDLE_SECONDS = 300.0

_POLL_SECONDS = 0.5
# A server that ends by itself is started again, but not for ever.
_RESTARTS = 5
# What is in the way of a start (a server that is just ending holds the GPU) is given time, a little more each time.
_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 15.0
# For a moment others look whether the guard's lock is taken.
_GUARD_PATIENCE_SECONDS = 3.0
# The guard's exit status where `state.json` says why there is no server.
_TOLD = 3
# Files in use are never older than this.
_FRESH_SECONDS = 3600.0
# Dates and times, in a log's lines.
_TIMES = re.compile(r"\d+(?:[-:.]\d+)+")


class _Job(BaseModel):
    """What `config.json` holds."""

    config: server.ServerConfig
    idle_seconds: float
    patience_seconds: float


class _State(BaseModel):
    """What `state.json` holds; `guard` is the process that wrote it, and `may_pass` is of the `failure`."""

    guard: int
    port: int
    api_key: str = ""
    ready: bool
    failure: str | None = None
    may_pass: bool = False


class _PassingError(Exception):
    """vLLM could not start for something that may pass."""


@dataclass(frozen=True)
class ManagedServer:
    """A server of one's own, as what requests are sent to (`Vlm`).

    `endpoint` says how to talk to it, but for the address and the key. It is started with the variables of
    `environment`, of which CUDA_VISIBLE_DEVICES says on which GPUs: workers with different ones have servers of their
    own. While it starts, `waiting` gets the new lines of its log about twice a second.
    """

    config: server.ServerConfig
    endpoint: Endpoint
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    idle_seconds: float = IDLE_SECONDS
    waiting: Callable[[Sequence[str]], None] = lambda lines: None
    root: Path = field(default_factory=lambda: Path(tempfile.gettempdir(), f"regioncap-vlm-{os.getuid()}"))

    @property
    def model(self) -> str:
        """The name that requests ask for."""
        return self.config.name

    @property
    def served(self) -> Served:
        """What the server is started with, as far as it shapes answers."""
        return Served(model=self.config.shaping)

    @property
    def folder(self) -> Path:
        """Where those who want just this server meet."""
        wanted = f"{self.config.model_dump_json()} {self.environment.get('CUDA_VISIBLE_DEVICES', '')}"
        return self.root / hashlib.sha256(wanted.encode()).hexdigest()[:16]

    @contextmanager
    def open(self) -> Iterator[Endpoint]:
        """The server, started if need be; it stays for as long as the context lasts.

        Raises VlmSetupError where it cannot be started, and VlmUnavailableError where it may be later; the message ends
        with the last lines of its log.
        """
        _make_private(self.root)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with (self.folder / "leases.lock").open("ab") as lease:
            fcntl.flock(lease, fcntl.LOCK_SH)
            state = self._wait_until_ready()
            yield replace(self.endpoint, base_urls=(server.base_url(state.port),), api_key=state.api_key)

    def _wait_until_ready(self) -> _State:
        log = _Tail(self.folder / "vllm.log")
        progress = Progress(server.download_folder(self.config, self.environment))
        began = moved = time.monotonic()
        guard: subprocess.Popen[bytes] | None = None
        while time.monotonic() - moved < server.READY_SECONDS:
            running = _is_locked(self.folder / "guard.lock")
            state = _read_state(self.folder)
            # Asked, since a guard that was killed may have left its state behind.
            if running and state is not None and state.ready and server.is_ready(state.port):
                return state
            if not running and (guard is None or guard.poll() is not None):
                if guard is not None:
                    self._raise_failure(guard, state, time.monotonic() - began)
                guard = self._start_guard()
            lines = log.lines()
            self.waiting(lines)
            if progress.note([*lines, log.unfinished]):
                moved = time.monotonic()
            time.sleep(_POLL_SECONDS)
        raise VlmUnavailableError(
            f"vLLM was not ready, and nothing moved for {server.READY_SECONDS:.0f} s: see {log.path}"
        )

    def _raise_failure(self, guard: "subprocess.Popen[bytes]", state: _State | None, seconds: float) -> None:
        """Raise why there is no server, where the guard that ended knows; else another may be started."""
        if guard.returncode == _TOLD and state is not None and state.guard == guard.pid and state.failure is not None:
            if state.may_pass:
                raise VlmUnavailableError(f"vLLM cannot be started now: {state.failure}")
            raise VlmSetupError(f"vLLM cannot be started with the connection's `server` settings: {state.failure}")
        log = self.folder / "guard.log"
        # Below 0 it was killed; 0 where another one was faster.
        if guard.returncode > 0 and guard.returncode != _TOLD:
            raise VlmSetupError(f"the process that keeps vLLM cannot run. The end of {log}:\n{_end_of(log)}")
        if seconds > self.endpoint.patience_seconds:
            raise VlmUnavailableError(f"the process that keeps vLLM was ended again and again: see {log}")

    def _start_guard(self) -> "subprocess.Popen[bytes]":
        patience = self.endpoint.patience_seconds
        job = _Job(config=self.config, idle_seconds=self.idle_seconds, patience_seconds=patience)
        _write(self.folder / "config.json", job)
        # The guard is of our environment: it finds packages where we do.
        packages = os.pathsep.join(
            filter(None, (str(Path(__file__).resolve().parents[2]), self.environment.get("PYTHONPATH")))
        )
        with (self.folder / "guard.log").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "regioncap.vlm.managed", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**self.environment, "PYTHONPATH": packages},
                # It has to outlive the task, whose process group may be ended with it.
                start_new_session=True,
            )


class _Tail:
    """The lines of a file that come to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._rest = b""

    @property
    def unfinished(self) -> str:
        """The line that is being written, such as a bar that grows."""
        return self._rest.rpartition(b"\r")[2].decode("utf-8", "replace")

    def lines(self) -> list[str]:
        """What came since the last call, as whole lines."""
        with suppress(FileNotFoundError), self.path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < self._read:  # a new server writes a new log
                self._read, self._rest = 0, b""
            stream.seek(self._read)
            new = stream.read()
            self._read += len(new)
            *whole, self._rest = (self._rest + new).split(b"\n")
            return [line.decode("utf-8", "replace").rstrip() for line in whole]
        return []


class Progress:
    """Notices whether a start goes on: its log says something new, or more of the model has been downloaded."""

    def __init__(self, download: Path | None) -> None:
        self._download = download
        self._said: set[str] = set()
        self._bytes = 0

    def note(self, lines: Sequence[str]) -> bool:
        """Whether anything moved since the last call. What the log said before with another time is nothing new."""
        said, size = len(self._said), self._bytes
        self._said.update(_TIMES.sub("", line) for line in lines)
        self._bytes = _size_of(self._download) if self._download is not None else 0
        return len(self._said) > said or self._bytes != size


def _size_of(folder: Path) -> int:
    """The bytes of all files below a folder. Links are not followed: in the hub's cache every file is there once."""
    sizes = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            sizes += path.lstat().st_size
    return sizes


def _end_of(log: Path) -> str:
    with suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    return ""


def _make_private(folder: Path) -> None:
    """Make a folder that is ours alone. Raises VlmSetupError where somebody else's is in its place."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise VlmSetupError(f"{folder} is open to other users: remove it, or set TMPDIR to another place")


def _is_locked(path: Path) -> bool:
    with path.open("ab") as file:
        return not _lock(file, fcntl.LOCK_SH)


def _lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_state(folder: Path) -> _State | None:
    try:
        return _State.model_validate_json((folder / "state.json").read_bytes())
    except FileNotFoundError:
        return None


def _write(path: Path, what: BaseModel) -> None:
    """Write at once: others may read, or write the same, at any moment."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(what.model_dump_json(indent=2))
    temporary.replace(path)


def guard(folder: Path) -> int:
    """The guard's whole life."""
    with (folder / "guard.lock").open("ab") as alive, (folder / "leases.lock").open("ab") as leases:
        deadline = time.monotonic() + _GUARD_PATIENCE_SECONDS
        while not _lock(alive, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                return 0  # another one was faster
            time.sleep(0.05)
        adopt_orphans()
        (folder / "state.json").unlink(missing_ok=True)
        (folder / "vllm.log").unlink(missing_ok=True)
        job = _Job.model_validate_json((folder / "config.json").read_bytes())
        (port,) = free_ports(1)
        state = _State(guard=os.getpid(), port=port, api_key=secrets.token_urlsafe(32), ready=False)
        try:
            _serve(job, folder, state, leases)
        except _PassingError as error:
            _write(folder / "state.json", state.model_copy(update={"failure": str(error), "may_pass": True}))
            return _TOLD
        except (ServiceError, OSError) as error:
            _write(folder / "state.json", state.model_copy(update={"failure": str(error)}))
            return _TOLD
        (folder / "state.json").unlink(missing_ok=True)
        return 0


def _serve(job: _Job, folder: Path, state: _State, leases: IO[bytes]) -> None:
    """Run the server until nobody has wanted it for long enough.

    Raises ServiceError where it does not stay up, and _PassingError where it cannot be started for the time being.
    """
    log, restarts, pause = folder / "vllm.log", 0, _PAUSE_SECONDS
    patient_until = time.monotonic() + job.patience_seconds
    while restarts <= _RESTARTS:
        _write(folder / "state.json", state)
        size = log.stat().st_size if log.exists() else 0
        with server.start(job.config, state.port, log, api_key=state.api_key) as service:
            end = _watch(job, folder, state, leases, service)
        # Where the server's keeper was killed, its orphans are ours.
        end_all_below(server.GRACE_SECONDS)
        if end == "unwanted":
            return
        if end == "worked":
            restarts, patient_until, pause = restarts + 1, time.monotonic() + job.patience_seconds, _PAUSE_SECONDS
            continue
        said = log.read_bytes()[size:].decode("utf-8", "replace")
        failure = f"vLLM ended by itself: {server.cause(said)}. The end of {log}:\n{service.log_tail()}"
        if not server.may_pass(said):
            raise ServiceError(failure)
        if time.monotonic() + pause > patient_until:
            raise _PassingError(failure)
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
    raise ServiceError(f"vLLM ended by itself {_RESTARTS + 1} times: see {log}")


# How a server ended: nobody wants it any more; by itself, after it had been ready; or before.
_End = Literal["unwanted", "worked", "failed"]


def _watch(job: _Job, folder: Path, state: _State, leases: IO[bytes], service: Service) -> _End:
    """Look after the server until it ends, or nobody wants it any more."""
    ready = False
    wanted = time.monotonic()
    while service.running:
        if not ready and server.is_ready(state.port):
            ready = True
            _write(folder / "state.json", state.model_copy(update={"ready": True}))
        found = _keep_fresh(folder, leases)
        if _lock(leases, fcntl.LOCK_EX):
            if not found or time.monotonic() - wanted > job.idle_seconds:
                # The lock is kept until the server is gone, so that nobody takes one that is about to go.
                return "unwanted"
            fcntl.flock(leases, fcntl.LOCK_UN)
        else:
            wanted = time.monotonic()
        time.sleep(_POLL_SECONDS)
    return "worked" if ready else "failed"


def _keep_fresh(folder: Path, leases: IO[bytes]) -> bool:
    """Keep what the folder holds from looking forgotten. Returns whether other tasks can still find the server."""
    with suppress(FileNotFoundError):
        for path in (folder, *folder.iterdir()):
            if time.time() - path.stat().st_mtime > _FRESH_SECONDS:
                os.utime(path)
    try:
        return os.path.samestat((folder / "leases.lock").stat(), os.fstat(leases.fileno()))
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1])))
