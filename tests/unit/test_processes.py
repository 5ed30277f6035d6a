"""Services: ready or explained, and gone with whoever started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from regioncap import processes
from regioncap.errors import ServiceError
from regioncap.processes import Service, cores, free_memory, free_ports, is_free
from tests.builders import ROOT

# Writes its own pid and that of a child in a session of its own that ignores SIGTERM; then waits.
STUBBORN = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"],
    start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


def service(tmp_path: Path, code: str, *arguments: str, grace: float = 0.5) -> Service:
    command = [sys.executable, "-c", code, *arguments]
    return Service("thing", command, environment=os.environ, log=tmp_path / "thing.log", grace=grace)


def wait_until(condition: object, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def pids(file: Path) -> list[int]:
    wait_until(lambda: file.exists() and len(file.read_text().split()) == 2)
    return [int(pid) for pid in file.read_text().split()]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_services_keeper_finds_packages_where_we_do_whatever_the_service_does(tmp_path: Path) -> None:
    # A Python that is started with the service's environment finds no packages.
    hidden = tmp_path / "sitecustomize"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]")
    code = "import os; print(sorted(name for name in os.environ if name.startswith('PYTHON')))"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(hidden)}
    with Service("thing", [sys.executable, "-c", code], environment=variables, log=tmp_path / "thing.log") as thing:
        wait_until(lambda: not thing.running)
    assert (tmp_path / "thing.log").read_text() == "['PYTHONPATH']\n"


def test_stop_ends_the_service_and_what_it_started(tmp_path: Path) -> None:
    with service(tmp_path, STUBBORN, str(tmp_path / "pids")) as running:
        both = pids(tmp_path / "pids")
        assert running.running
    assert all(map(gone, both))


def test_a_killed_parent_takes_its_service_along(tmp_path: Path) -> None:
    parent = f"""
import os, sys, time
from pathlib import Path
from regioncap.processes import Service
Service("thing", [sys.executable, "-c", {STUBBORN!r}, sys.argv[1]], environment=os.environ,
        log=Path(sys.argv[1] + ".log"), grace=0.5)
time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
    killed = subprocess.Popen([sys.executable, "-c", parent, str(tmp_path / "pids")], env=environment)
    both = pids(tmp_path / "pids")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    wait_until(lambda: all(map(gone, both)))


def test_a_service_that_daemonises_is_found_too(tmp_path: Path) -> None:
    code = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(f"{os.getppid()} {os.getpid()}")
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""
    with service(tmp_path, code, str(tmp_path / "pids")):
        _, daemon = pids(tmp_path / "pids")
        assert not gone(daemon)
    assert gone(daemon)


ORPHAN = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
    os._exit(0)
os.wait()
time.sleep(600)
"""


def test_what_a_service_left_behind_and_has_ended_keeps_no_number(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    command = [sys.executable, "-c", ORPHAN, str(note)]
    with Service("orphans", command, environment=dict(os.environ), log=tmp_path / "log", grace=2.0) as service:
        service.wait_ready(lambda: note.exists() and note.read_text() != "", 120)
        service.wait_ready(lambda: not psutil.pid_exists(int(note.read_text())), 120)
        assert service.running


def test_a_service_that_ends_at_once_is_explained_by_its_log(tmp_path: Path) -> None:
    with (
        service(tmp_path, "print('the port is taken'); raise SystemExit(3)") as broken,
        pytest.raises(ServiceError, match=r"thing ended by itself(.|\n)*the port is taken"),
    ):
        broken.wait_ready(lambda: False, 120)


def test_a_service_that_is_never_ready_is_explained_by_its_log(tmp_path: Path) -> None:
    code = "import time; print('still loading', flush=True); time.sleep(600)"
    with service(tmp_path, code) as slow:
        wait_until(lambda: "still loading" in slow.log_tail())
        with pytest.raises(ServiceError, match=r"was not ready after 0 s(.|\n)*still loading"):
            slow.wait_ready(lambda: False, 0.2)


def test_the_service_has_the_environment_it_was_given_and_no_other(tmp_path: Path) -> None:
    code = "import os; print(sorted(os.environ), flush=True)"
    environment = {"PATH": os.environ["PATH"], "ONLY": "this"}
    running = Service("thing", [sys.executable, "-c", code], environment=environment, log=tmp_path / "log", grace=0.5)
    with running:
        wait_until(lambda: "ONLY" in running.log_tail())
    assert "HOME" not in running.log_tail()


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_free_ports_are_different_and_none_is_one_of_those_for_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32_768


def test_a_port_that_was_given_is_not_given_again_though_nobody_listens_on_it_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of so few, some would be drawn twice.
    monkeypatch.setattr(processes, "_PORTS", range(10_000, 10_300))
    ports = [port for _ in range(30) for port in free_ports(3)]
    assert len(set(ports)) == 90


GB = 1 << 30


def a_machine(folder: Path, cgroups: str, **files: str) -> Path:
    """A root with what the kernel says: 32 GB of memory are left, and in `files` a bar stands for a slash."""
    said = {"proc|self|cgroup": cgroups, "proc|meminfo": f"MemTotal: 1 kB\nMemAvailable:   {32 * GB // 1024} kB\n"}
    for name, text in {**said, **files}.items():
        path = folder.joinpath(*name.split("|"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_machine_without_bounds_is_used_as_it_is(tmp_path: Path) -> None:
    root = a_machine(tmp_path, "0::/\n", **{"sys|fs|cgroup|cpu.max": "max 100000"})
    assert (cores(root), free_memory(root)) == (len(os.sched_getaffinity(0)), 32 * GB)
    assert cores() >= 1 and 0 < free_memory() < 1 << 50


@pytest.mark.parametrize(("quota", "number"), [("150000 100000", 1), ("100000 100000", 1), ("20000 100000", 1)])
def test_the_cores_are_those_of_the_container(tmp_path: Path, quota: str, number: int) -> None:
    bounded = {"sys|fs|cgroup|pods|cpu.max": quota, "sys|fs|cgroup|pods|one|cpu.max": "max 100000"}
    assert cores(a_machine(tmp_path, "0::/pods/one\n", **bounded)) == number


def test_the_cores_are_those_of_an_older_container(tmp_path: Path) -> None:
    bounded = {"sys|fs|cgroup|cpu|cpu.cfs_quota_us": "100000", "sys|fs|cgroup|cpu|cpu.cfs_period_us": "100000"}
    # The path is the host's; in the container, its own group is at the top.
    assert cores(a_machine(tmp_path, "4:cpuset:/\n3:cpu:/docker/abc\n", **bounded)) == 1


def test_the_memory_is_what_the_narrowest_group_has_left(tmp_path: Path) -> None:
    bounded = {
        "sys|fs|cgroup|pods|memory.max": str(8 * GB),
        "sys|fs|cgroup|pods|memory.current": str(5 * GB),
        "sys|fs|cgroup|pods|memory.stat": f"anon 1\ninactive_file {GB}\n",
        "sys|fs|cgroup|pods|one|memory.max": "max",
    }
    assert free_memory(a_machine(tmp_path, "0::/pods/one\n", **bounded)) == 4 * GB


def test_the_memory_is_what_an_older_container_has_left(tmp_path: Path) -> None:
    bounded = {
        "sys|fs|cgroup|memory|memory.limit_in_bytes": str(2 * GB),
        "sys|fs|cgroup|memory|memory.usage_in_bytes": str(3 * GB),
    }
    assert free_memory(a_machine(tmp_path, "9:memory:/\n", **bounded)) == 0
