"""Faults around a server that tasks share, by a stand-in for vLLM that has them."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm import server
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.managed import ManagedServer, Progress
from regioncap.vlm.server import ServerConfig
from tests import processes

# In the place of vLLM's Python. It does what `plan.json` beside it says for its first start, its second, and so on; a
# start that is not there is a good one.
STAND_IN = """#!{python}
import http.server, json, sys, time
from pathlib import Path
here = Path(__file__).parent
starts = here / "starts"
number = len(starts.read_text()) if starts.exists() else 0
with starts.open("a") as file:
    file.write(".")
plan = json.loads((here / "plan.json").read_text())
for step in plan[number] if number < len(plan) else []:
    if isinstance(step, int):
        sys.exit(step)
    elif isinstance(step, float):
        time.sleep(step)
    else:
        print(step, flush=True)


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""

HELD = "ValueError: Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired GPU memory utilization"


class Room:
    """A place with a stand-in for vLLM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "vllm" / "python"
        self.program.parent.mkdir()
        self.program.write_text(STAND_IN.format(python=sys.executable))
        self.program.chmod(0o755)
        self.plan()

    def plan(self, *starts: list[Any]) -> None:
        (self.program.parent / "plan.json").write_text(json.dumps(starts))

    @property
    def starts(self) -> int:
        return len((self.program.parent / "starts").read_text())

    def server(self, **changes: Any) -> ManagedServer:
        config = {"python": self.program, "model": "org/model", **changes.pop("config", {})}
        endpoint = Endpoint(base_urls=(), model="m", patience_seconds=changes.pop("patience_seconds", 120.0))
        return ManagedServer(
            **{"config": ServerConfig(**config), "endpoint": endpoint, "idle_seconds": 600.0}
            | {"root": self.folder / "vlm", **changes}
        )

    def guards(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            command = processes.command(process)
            if "regioncap.vlm.managed" in command and command[-1].startswith(str(self.folder)):
                found += [process, *processes.below(process.pid)]
        return found


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    for process in room.guards():
        processes.kill(process)


def until(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_start_that_fails_for_what_may_pass_is_tried_again(room: Room) -> None:
    room.plan(["loading", HELD, 1], ["loading", HELD, 1])
    with room.server().open() as endpoint:
        assert endpoint.base_urls
    assert room.starts == 3


@pytest.mark.parametrize(
    ("says", "passes"),
    [
        (HELD, True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 79 GiB", True),
        ("AssertionError: Error in memory profiling. Initial free memory 3 GiB, current free memory 9 GiB.", True),
        (
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries",
            True,
        ),
        ("httpx.ConnectError: [Errno -3] Temporary failure in name resolution", True),
        ("huggingface_hub.errors.HfHubHTTPError: 503 Server Error: Service Unavailable for url: https://h.co", True),
        ("huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://h.co", True),
        ("huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the files", True),
        ("OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them", True),
        ("OSError: [Errno 98] Address already in use", True),
        ("huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error: Repository Not Found for url: h", False),
        ("huggingface_hub.errors.GatedRepoError: 403 Client Error. Access to model org/model is restricted", False),
        ("ValueError: The model's max seq len (8192) is larger than the maximum number of tokens in KV cache", False),
        ("ValueError: size must contain 'shortest_edge' and 'longest_edge' keys.", False),
        ("api_server.py: error: unrecognized arguments: --max-len 3", False),
    ],
)
def test_what_may_pass_is_known_by_vllms_words(says: str, passes: bool) -> None:
    last = "RuntimeError: Engine core initialization failed. See root cause above."
    assert server.may_pass(f"(EngineCore_DP0 pid=1) ERROR 11-26 03:05:44 [core.py:866] {says}\n{last}") is passes


def test_what_may_pass_and_does_not_is_told_in_vllms_words_and_the_task_is_tried_again(room: Room) -> None:
    room.plan(*[[HELD, 1]] * 50)
    with pytest.raises(VlmUnavailableError, match="Free memory on device"), room.server(patience_seconds=2.0).open():
        pass
    assert 1 <= room.starts < 10


def test_what_cannot_pass_is_told_at_the_first_start(room: Room) -> None:
    room.plan(["ValueError: Unrecognized image processor in org/model", 1])
    with pytest.raises(VlmSetupError, match="Unrecognized image processor"), room.server().open():
        pass
    assert room.starts == 1


def test_a_guard_that_cannot_run_is_told_with_its_own_words(room: Room) -> None:
    lost = room.server(environment={**os.environ, "PYTHONHOME": "/nowhere"})
    with pytest.raises(VlmSetupError, match=r"guard\.log(?s:.*)encodings"), lost.open():
        pass


def test_a_start_goes_on_while_its_log_says_something_new() -> None:
    progress = Progress(None)
    assert progress.note(["INFO 11-26 03:05:44 loading weights"])
    assert progress.note(["shards: 2/9 [00:05<00:31]"]) and progress.note(["shards: 3/9 [00:08<00:28]"])
    # The same with another time is nothing new.
    assert not progress.note(["INFO 11-26 03:06:44 loading weights", "shards: 3/9 [00:09<00:28]"])
    assert not progress.note([])


def test_a_start_goes_on_while_more_of_its_model_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--model"
    progress = Progress(folder)
    assert not progress.note([])
    (folder / "blobs").mkdir(parents=True)
    part = folder / "blobs" / "weights.incomplete"
    part.write_bytes(bytes(10))
    (folder / "link").symlink_to(part)
    assert progress.note([]) and not progress.note([])
    part.write_bytes(bytes(20))
    assert progress.note([])


def test_a_start_is_waited_for_from_when_it_last_went_on(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    # However long it takes: what is looked at moves each time.
    monkeypatch.setattr(server, "READY_SECONDS", 2.0)
    monkeypatch.setattr(Progress, "note", lambda self, lines: True)
    room.plan(["loading", 3.0])
    with room.server().open() as endpoint:
        assert endpoint.base_urls


@pytest.mark.parametrize("silent", [[100.0], [step for at in range(100) for step in (f"12:{at} waiting", 0.5)]])
def test_a_start_that_stands_still_is_given_up_and_tried_again_later(
    room: Room, monkeypatch: pytest.MonkeyPatch, silent: list[Any]
) -> None:
    monkeypatch.setattr(server, "READY_SECONDS", 2.0)
    room.plan(silent)
    with pytest.raises(VlmUnavailableError, match=r"for 2 s.*vllm\.log"), room.server().open():
        pass


def test_files_of_a_server_in_use_never_look_forgotten(room: Room) -> None:
    long_ago = time.time() - 20 * 24 * 3600
    with room.server().open():
        (folder,) = (room.folder / "vlm").iterdir()
        kept = [folder, *folder.iterdir()]
        assert {"guard.lock", "leases.lock", "config.json", "state.json"} <= {path.name for path in kept}
        for path in kept:
            os.utime(path, (long_ago, long_ago))
        until(lambda: all(path.stat().st_mtime > long_ago + 1000 for path in kept))


def test_a_server_that_nobody_can_find_any_more_ends_when_its_last_task_does(room: Room) -> None:
    with room.server().open() as endpoint:
        before = room.guards()
        (folder,) = (room.folder / "vlm").iterdir()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        time.sleep(2)
        until(lambda: server.is_ready(int(endpoint.base_urls[0].split(":")[2].split("/")[0])))
    until(lambda: not any(map(processes.runs, before)))
    with room.server().open() as endpoint:
        assert endpoint.base_urls
    assert room.starts == 2


def test_a_guard_that_was_killed_while_it_started_is_started_again(room: Room) -> None:
    room.plan(["one", 60.0])
    killed = False

    def kill_once(lines: Sequence[str]) -> None:
        nonlocal killed
        if "one" in lines and not killed:
            killed = True
            next(p for p in room.guards() if "regioncap.vlm.managed" in processes.command(p)).kill()

    with room.server(waiting=kill_once).open() as endpoint:
        assert endpoint.base_urls
    assert room.starts == 2


def test_the_cause_is_told_and_not_what_vllms_parts_say_of_each_other(room: Room) -> None:
    lines = [
        "(EngineCore_DP0 pid=12) ERROR 11-26 03:05:44 [core.py:866] Traceback (most recent call last):",
        "(EngineCore_DP0 pid=12) ERROR 11-26 03:05:44 [core.py:866] RuntimeError: head size 20 has no kernel",
        *(f"(APIServer pid=3)   File vllm/api_server.py, line {number}" for number in range(40)),
        "(APIServer pid=3) RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    room.plan([*lines, 1])
    with pytest.raises(VlmSetupError, match="ended by itself: RuntimeError: head size 20 has no kernel"):
        room.server().open().__enter__()


def test_what_hub_a_model_comes_from_follows_the_environment(tmp_path: Path) -> None:
    def folder(config: dict[str, Any], **environment: str) -> Path | None:
        made = ServerConfig(**{"python": Path("/v/python"), "model": "org/model", **config})
        return server.download_folder(made, {"HOME": "/home/me", **environment})

    assert folder({}) == Path("/home/me/.cache/huggingface/hub/models--org--model")
    assert folder({}, HF_HOME="/hf") == Path("/hf/hub/models--org--model")
    assert folder({}, HF_HOME="/hf", HF_HUB_CACHE="/hub") == Path("/hub/models--org--model")
    assert folder({"hf_home": Path("/own")}, HF_HOME="/hf") == Path("/own/hub/models--org--model")
    assert folder({"download_dir": Path("/d")}, HF_HOME="/hf") == Path("/d/models--org--model")
    assert folder({"model": str(tmp_path)}) is None
