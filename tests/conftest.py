"""What several folders of tests share."""

import importlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import hypothesis
import pytest
from tenacity import wait_random_exponential

from regioncap.extend import installed
from regioncap.gates import all_gates
from regioncap.storage import local
from regioncap.vlm import client
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, fake_vlm

# What a machine has set for its own programs is nothing to the tests, nor to what they start: how wide and colourful a
# terminal is, proxies, whose buckets there are, another deployment.
_NOT_OURS = re.compile(
    r"(AIRFLOW|AWS|REGIONCAP|CLICOLOR)_.*|.*_PROXY|.*_COLOR|PY_COLORS|CLICOLOR|COLUMNS|LINES|GITHUB_ACTIONS|TTY_.*",
    re.I,
)
for _name in filter(_NOT_OURS.fullmatch, list(os.environ)):
    del os.environ[_name]

# How long an example takes, or is made, says more about the machine than about the code. The examples are the same each
# time; `--hypothesis-profile=default` looks for others.
hypothesis.settings.register_profile(
    "regioncap", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("regioncap")


@pytest.fixture(scope="session", autouse=True)
def _short_pauses() -> Iterator[None]:
    """A VLM that has failed is asked again soon: tests can be patient, and wait for what happens, not for seconds."""
    with mock.patch.object(client, "_PAUSE", wait_random_exponential(multiplier=0.05, max=1)):
        yield


@pytest.fixture(scope="session")
def _fake_server() -> Iterator[FakeVlm]:
    with fake_vlm() as fake:
        yield fake


@pytest.fixture(scope="session", autouse=True)
def _no_power_cuts() -> Iterator[None]:
    """What tests write need not survive one: thousands of times, that takes minutes."""
    with mock.patch.object(local, "_settle", lambda handle: None):
        yield


@pytest.fixture
def vlm(_fake_server: FakeVlm) -> FakeVlm:
    """A fake VLM that answers well, until a test says otherwise."""
    _fake_server.behave = lambda _, body: answer_well(body)
    _fake_server.models = [MODEL]
    _fake_server.requests.clear()
    _fake_server.most_in_flight = 0
    _fake_server.paused = 0
    _fake_server.servers, _fake_server.lost = 1, Reply(reset=True)
    _fake_server.deaths.clear()
    _fake_server.gone = lambda: False
    _fake_server.context = _fake_server.image_tokens = None
    _fake_server.tells = {}
    _fake_server.tokenized.clear()
    _fake_server.ignores_schemas, _fake_server.waiting, _fake_server.slots = False, None, None
    _fake_server.figures = lambda: ""
    _fake_server.greets_listening = None
    return _fake_server


@pytest.fixture
def extend(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package with an entry point: `extend(group, name, code)`; `code` defines `it`."""
    folder = tmp_path_factory.mktemp("site-packages")
    monkeypatch.syspath_prepend(folder)

    def install(group: str, name: str, code: str, version: str = "1.0") -> None:
        module = f"extension_{uuid.uuid4().hex}"
        (folder / f"{module}.py").write_text(code)
        info: Path = folder / f"{name}_package.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:it\n")
        importlib.invalidate_caches()
        forget()

    def forget() -> None:
        installed.cache_clear()
        all_gates.cache_clear()

    yield install
    forget()
