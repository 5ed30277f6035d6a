"""A server that tasks share: started once, warm for the next, and gone when nobody wants it any more."""

import json
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from deploy.local.paths import ROOT, VLLM_PYTHON
from deploy.local.stack import demo_server
from regioncap.errors import VlmSetupError
from regioncap.marks.profiles import PROFILES, profile_of
from regioncap.marks.size_rules import MAX_PIXELS
from regioncap.steps.caption import caption_shard
from regioncap.steps.render import render_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.managed import ManagedServer
from regioncap.vlm.server import ServerConfig, is_ready
from regioncap.work.plan import Plan
from tests import processes
from tests.builders import Place
from tests.families.served import FAMILIES, Visit, make_checkpoints

IDLE_SECONDS = 6.0
# Far longer than anything takes on a machine that has much to do.
LONG = 400.0

# Each task is a process of its own, as in Airflow; spawned, so that it shares nothing with this one.
tasks = multiprocessing.get_context("spawn")


def managed(root: Path, idle_seconds: float = IDLE_SECONDS) -> ManagedServer:
    """The demo model's server, shared below `root`."""
    config = demo_server()
    endpoint = Endpoint(base_urls=(), model=config.name, max_in_flight=32)
    return ManagedServer(config=config, endpoint=endpoint, idle_seconds=idle_seconds, root=root / "vlm")


def caption_task(root: Path, work: Path, plan_id: str, shard_id: str, results: Path) -> None:
    """A caption task: writes down how many questions it asked."""
    store = LocalStore(work)
    plan, vlm = Plan.load(store, plan_id), managed(root, idle_seconds=LONG)
    counts = caption_shard(work=store, shard_id=shard_id, plan=plan, vlm=vlm, progress=lambda at: None)
    results.joinpath(shard_id).write_text(str(counts.asked))


def hold(root: Path, seconds: float) -> None:
    """A task that uses the server for so long."""
    with managed(root).open():
        (root / f"held-{os.getpid()}").touch()
        time.sleep(seconds)


def servers(root: Path) -> list[psutil.Process]:
    """Guards of `root`, and everything below them."""
    found = []
    for process in psutil.process_iter():
        command = processes.command(process)
        if "regioncap.vlm.managed" in command and command[-1].startswith(str(root)):
            found += [process, *processes.below(process.pid)]
    return found


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def all_gone(servers: list[psutil.Process]) -> bool:
    return not any(map(processes.runs, servers))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A folder whose servers are gone at the end, whatever the test did."""
    yield tmp_path
    for process in servers(tmp_path):
        processes.kill(process)


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    process = tasks.Process(target=target, args=arguments)
    process.start()
    return process


def start_ups(root: Path) -> int:
    """How often vLLM has been started since its log was begun."""
    (log,) = (root / "vlm").glob("*/vllm.log")
    return log.read_text(errors="replace").count("Started server process")


def test_shards_share_one_server_that_stays_for_the_next(room: Path) -> None:
    place = Place(room / "place")
    place.good_rows(12)
    plan = place.plan(shard_size=4, model=demo_server().name)
    for shard_id in plan.shards:
        render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    results = room / "results"
    results.mkdir()
    work = place.folder / "warehouse" / "_work" / "dt=2026-10-05"
    first, second, third = plan.shards
    # Two at once, then one that finds the server warm.
    pair = [start(caption_task, room, work, plan.plan_id, shard_id, results) for shard_id in (first, second)]
    for task in pair:
        task.join(LONG)
    last = start(caption_task, room, work, plan.plan_id, third, results)
    last.join(LONG)
    assert [task.exitcode for task in (*pair, last)] == [0, 0, 0]
    assert {path.name: path.read_text() for path in results.iterdir()} == dict.fromkeys(plan.shards, "4")
    assert start_ups(room) == 1
    assert len(servers(room)) >= 3


def test_its_key_is_known_to_those_who_share_it_and_our_pythons_packages_are_not_its(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A package that vLLM imports, as another environment has it.
    elsewhere = room / "packages"
    elsewhere.mkdir()
    (elsewhere / "torch.py").write_text("raise ImportError('this is the torch of another Python')")
    monkeypatch.setenv("PYTHONPATH", str(elsewhere), prepend=os.pathsep)
    with managed(room).open() as endpoint, managed(room).open() as again:
        assert endpoint.api_key and again == endpoint
        models = f"{endpoint.base_urls[0]}/models"
        assert httpx2.get(models, trust_env=False).status_code == 401
        headers = {"Authorization": f"Bearer {endpoint.api_key}"}
        assert httpx2.get(models, headers=headers, trust_env=False).status_code == 200
        assert endpoint.api_key not in repr(endpoint)
        for process in servers(room):
            assert endpoint.api_key not in " ".join(processes.command(process))
        (state,) = (room / "vlm").glob("*/state.json")
        assert all(path.stat().st_mode & 0o077 == 0 for path in (state.parent, state.parent.parent))


@pytest.mark.parametrize("killed", ["server", pytest.param("keeper", marks=pytest.mark.prove)])
def test_a_killed_server_comes_back_and_a_killed_task_leaves_nothing_running(room: Path, killed: str) -> None:
    task = start(hold, room, 600)
    wait(lambda: list(room.glob("held-*")))
    running = servers(room)
    (folder,) = (room / "vlm").iterdir()
    port = json.loads((folder / "state.json").read_text())["port"]
    # The keeper's command line ends with the server's.
    keeper, api_server = (
        process for process in running if "vllm.entrypoints.openai.api_server" in processes.command(process)
    )
    (api_server if killed == "server" else keeper).kill()
    wait(lambda: start_ups(room) == 2)
    assert json.loads((folder / "state.json").read_text())["port"] == port
    running += servers(room)
    assert task.pid is not None
    os.kill(task.pid, signal.SIGKILL)
    wait(lambda: all_gone(running))
    task.join(LONG)
    assert not (folder / "state.json").exists()


def test_a_killed_guard_takes_its_server_along_and_the_next_task_starts_another(room: Path) -> None:
    # Far longer than this test: what ends the server is not that nobody wants it.
    patient = managed(room, idle_seconds=600)
    with patient.open():
        before = servers(room)
        next(process for process in before if "regioncap.vlm.managed" in processes.command(process)).kill()
        wait(lambda: all_gone(before))
    with patient.open() as endpoint:
        wait(lambda: is_ready(int(endpoint.base_urls[0].split(":")[2].split("/")[0])))


def test_a_server_that_cannot_start_says_why_at_once(room: Path) -> None:
    broken = demo_server().model_copy(update={"model": str(room / "no-model")})
    lines: list[str] = []
    config = ManagedServer(
        config=broken, endpoint=Endpoint(base_urls=(), model="m"), waiting=lines.extend, root=room / "vlm"
    )
    with (
        pytest.raises(VlmSetupError, match="cannot be started with the connection's `server`"),
        config.open(),
    ):
        pass
    assert any("no-model" in line for line in lines)
    assert all_gone(servers(room))


def documented() -> dict[str, Any]:
    """The connection of docs/vlm-servers.md that has tasks start a server."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "vlm-servers.md").read_text(), re.DOTALL)
    connections = [json.loads(block if block.startswith("{") else f"{{{block}}}") for block in blocks]
    (found,) = (connection for connection in connections if connection.get("host") == "managed")
    return dict(found["extra"])


def test_the_documented_connection_starts_a_server_that_takes_a_runs_images_as_they_are(room: Path) -> None:
    extra = documented()
    model = extra["server"]["model"]
    assert model == FAMILIES["qwen2.5-vl"].model
    make_checkpoints(room / "models", "qwen2.5-vl")
    # A small model of the same family in its place, on the CPU.
    here = {"python": VLLM_PYTHON, "model": str(room / "models" / "qwen2.5-vl"), "served_model_name": model}
    told = {**extra["server"], **here, "hf_home": str(room), "device": "cpu", "dtype": "float32", "revision": None}
    told["arguments"] = ["--enable-prompt-tokens-details"]
    config = ServerConfig.model_validate(told).for_images(PROFILES[profile_of(model)], MAX_PIXELS)
    documented_server = ManagedServer(
        config=config, endpoint=Endpoint(base_urls=(), model=config.name, max_in_flight=8), root=room / "vlm"
    )
    with documented_server.open() as endpoint:
        visit = Visit("qwen2.5-vl", endpoint, room / "visit")
        assert visit.tokens("per_region").wrong == []
        answers = visit.ask(caption_mode="per_region")
        assert answers.exact == answers.whole > 0 and not answers.refused


def test_a_place_that_others_may_look_into_is_refused(room: Path) -> None:
    (room / "vlm").mkdir(mode=0o755)
    (room / "vlm").chmod(0o755)
    with pytest.raises(VlmSetupError, match="open to other users"), managed(room).open():
        pass
