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
"""

import fcntl
import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from regioncap.errors import ServiceError, VlmSetupError
from regioncap.processes import Service, adopt_orphans, end_all_below, free_ports
from regioncap.vlm import server
from regioncap.vlm.client import Endpoint

# Long enough for the next shard, or the next run's first one, to find the server warm.
IDLE_SECONDS = 300.0

_POLL_SECONDS = 0.5
# A server that ends by itself is started again, but not for ever.
_RESTARTS = 5
# For a moment others look whether the guard's lock is taken.
_GUARD_PATIENCE_SECONDS = 3.0


class _Job(BaseModel):
    """What `config.json` holds."""

    config: server.ServerConfig
    idle_seconds: float


class _State(BaseModel):
    """What `state.json` holds; `guard` is the process that wrote it."""

    guard: int
    port: int
    api_key: str = ""
    ready: bool
    failure: str | None = None


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
    def folder(self) -> Path:
        """Where those who want just this server meet."""
        wanted = f"{self.config.model_dump_json()} {self.environment.get('CUDA_VISIBLE_DEVICES', '')}"
        return self.root / hashlib.sha256(wanted.encode()).hexdigest()[:16]

    @contextmanager
    def open(self) -> Iterator[Endpoint]:
        """The server, started if need be; it stays for as long as the context lasts.

        Raises VlmSetupError where it cannot be started; the message ends with the last lines of its log.
        """
        _make_private(self.root)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with (self.folder / "leases.lock").open("ab") as lease:
            fcntl.flock(lease, fcntl.LOCK_SH)
            state = self._wait_until_ready()
            yield replace(self.endpoint, base_urls=(server.base_url(state.port),), api_key=state.api_key)

    def _wait_until_ready(self) -> _State:
        log = _Tail(self.folder / "vllm.log")
        deadline = time.monotonic() + server.READY_SECONDS
        guard: subprocess.Popen[bytes] | None = None
        while time.monotonic() < deadline:
            running = _is_locked(self.folder / "guard.lock")
            state = _read_state(self.folder)
            # Asked, since a guard that was killed may have left its state behind.
            if running and state is not None and state.ready and server.is_ready(state.port):
                return state
            if not running and (guard is None or guard.poll() is not None):
                if guard is not None and state is not None and state.guard == guard.pid and state.failure is not None:
                    raise VlmSetupError(
                        f"vLLM cannot be started with the connection's `server` settings: {state.failure}"
                    )
                guard = self._start_guard()
            self.waiting(log.lines())
            time.sleep(_POLL_SECONDS)
        raise VlmSetupError(f"vLLM was not ready after {server.READY_SECONDS:.0f} s: see {log.path}")

    def _start_guard(self) -> "subprocess.Popen[bytes]":
        job = _Job(config=self.config, idle_seconds=self.idle_seconds)
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
        except (ServiceError, OSError) as error:
            _write(folder / "state.json", state.model_copy(update={"failure": str(error)}))
            return 1
        (folder / "state.json").unlink(missing_ok=True)
        return 0


def _serve(job: _Job, folder: Path, state: _State, leases: IO[bytes]) -> None:
    """Run the server until nobody has wanted it for long enough. Raises ServiceError where it does not stay up."""
    for _ in range(1 + _RESTARTS):
        _write(folder / "state.json", state)
        with server.start(job.config, state.port, folder / "vllm.log", api_key=state.api_key) as service:
            done = _watch(job, folder, state, leases, service)
        # Where the server's keeper was killed, its orphans are ours.
        end_all_below(server.GRACE_SECONDS)
        if done:
            return
    raise ServiceError(f"vLLM ended by itself {_RESTARTS + 1} times: see {folder / 'vllm.log'}")


def _watch(job: _Job, folder: Path, state: _State, leases: IO[bytes], service: Service) -> bool:
    """Returns True when nobody wants the server any more, False when it ended after it had been ready.

    Raises ServiceError where it ended before.
    """
    ready = False
    wanted = time.monotonic()
    while service.running:
        if not ready and server.is_ready(state.port):
            ready = True
            _write(folder / "state.json", state.model_copy(update={"ready": True}))
        if _lock(leases, fcntl.LOCK_EX):
            if time.monotonic() - wanted > job.idle_seconds:
                # The lock is kept until the server is gone, so that nobody takes one that is about to go.
                return True
            fcntl.flock(leases, fcntl.LOCK_UN)
        else:
            wanted = time.monotonic()
        time.sleep(_POLL_SECONDS)
    if not ready:
        service.check()
    return False


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1])))
