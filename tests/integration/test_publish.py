"""Publishing on a real bucket: a reader never sees anything but one whole build, whatever happens to the publishers."""

import json
import multiprocessing
import random
import re
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.credentials import Credentials
from regioncap.errors import CommitRefusedError, NotFoundError
from regioncap.steps.publish import publish_build
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.history import collect
from regioncap.warehouse.manifest import FileEntry, Manifest, commit, current, state_of
from tests.builders import ROOT, kept_builds, read_whole, validated
from tests.integration.publish_task import REFUSED, Task, publish_forever

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GRACE = timedelta(seconds=6)
PUBLISHERS = 2


@pytest.fixture
def room(s3: "S3Client") -> S3Store:
    return S3Store(s3, "warehouse", f"tests/{uuid.uuid4().hex}")


def build_folders(partition: S3Store) -> set[str]:
    """Folders with something in them: the server lists empty ones for a while."""
    return {entry.path.partition("/")[0] for entry in partition.list("build=")}


class Publishers:
    """Processes that publish one partition without end, against each other; one after the other is killed."""

    def __init__(self, task: Task, folder: Path) -> None:
        self._task = task
        self._folder = folder
        self._chance = random.Random(7)
        # Its children are forked from a process that has imported everything, and are at work at once.
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.integration.publish_task"])
        self._stop = threading.Event()
        self._killer = threading.Thread(target=self._kill)
        self.kills = 0

    def __enter__(self) -> "Publishers":
        self._running = [self._start(number) for number in range(PUBLISHERS)]
        self._killer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._killer.join()
        for process in self._running:
            process.kill()
            process.join()

    def _start(self, number: int) -> BaseProcess:
        log = self._folder / f"{number}.log"
        process = self._processes.Process(target=publish_forever, args=(self._task, log), daemon=True)
        process.start()
        return process

    def _kill(self) -> None:
        while not self._stop.is_set():
            for number, process in enumerate(self._running):
                # At whatever the one is at, somewhat after something was published: on a slow machine too.
                before = len(self.said())
                while len(self.said()) == before and not self._stop.wait(0.05):
                    pass
                self._stop.wait(self._chance.uniform(0.0, 1.0))
                process.kill()
                process.join()
                self.kills += 1
                self._running[number] = self._start(number)

    def said(self) -> list[str]:
        """Everything that all of them told."""
        return [text for log in self._folder.glob("*.log") for text in log.read_text().splitlines()]


@pytest.mark.parametrize(
    "reads",
    [40, pytest.param(1000, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])],
    ids=lambda reads: f"{reads}-reads",
)
def test_a_reader_never_sees_a_torn_mixed_or_missing_build(
    reads: int, room: S3Store, s3_port: int, credentials: Credentials, tmp_path: Path
) -> None:
    work, partition = room.sub("work"), room.sub("partition")
    names = ["a", "b", "c", "d"]
    plans = [validated(work, name, shards=2, rows=6, keep_builds=2) for name in names]
    publish_build(plan=plans[0], drop=work, work=work, partition=partition, progress=lambda message: None)
    place = room.uri.removeprefix("s3://warehouse/")
    task = Task(s3_port, credentials, f"{place}/work", f"{place}/partition", [plan.plan_id for plan in plans], GRACE)
    seen: Counter[str] = Counter()
    folders: set[str] = set()
    slowest, too_slow = 0.0, 0
    with Publishers(task, tmp_path) as publishers:
        while seen.total() < reads or publishers.kills < 5 or len(seen) < 5 or folders <= build_folders(partition):
            started = time.monotonic()
            try:
                seen[read_whole(partition)] += 1
            except NotFoundError:
                # A reader that is slower than this was promised nothing.
                if time.monotonic() - started < GRACE.total_seconds():
                    raise
                too_slow += 1
            else:
                slowest = max(slowest, time.monotonic() - started)
            folders.update(build_folders(partition))
    said = publishers.said()
    print(
        f"{seen.total()} reads of {len(seen)} builds, the slowest in {slowest:.2f} s, {too_slow} too slow; "
        f"{publishers.kills} kills; {len(said) - said.count(REFUSED)} builds published, {said.count(REFUSED)} refused, "
        f"{len(folders - build_folders(partition))} of {len(folders)} seen folders collected"
    )
    unexpected = [text for text in said if text != REFUSED and not re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", text)]
    assert unexpected == []
    # One more build, undisturbed, and nothing is left of those that were killed. The server tells times in seconds.
    time.sleep(1.0)
    last, _ = current(partition)
    plan = next(plan for plan in plans if last is not None and plan.plan_id != last.plan_id)
    publish_build(plan=plan, drop=work, work=work, partition=partition, progress=lambda message: None)
    collect(partition, timedelta(0))
    assert build_folders(partition) == {f"build={build}" for build in kept_builds(partition)}
    for build in kept_builds(partition):
        assert read_whole(partition, f"build={build}/manifest.json") == build


def test_the_readers_of_the_docs_read_a_published_build(
    s3: "S3Client", s3_port: int, credentials: Credentials, room: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "publishing.md").read_text()
    installed, alone = (block.partition("```")[0] for block in page.split("```python\n")[1:3])
    partition = S3Store(s3, "warehouse", "region_captions/dt=2026-10-05")
    publish_build(plan=validated(room, "a"), drop=room, work=room, partition=partition, progress=lambda message: None)
    for name, value in {
        "ENDPOINT_URL": f"http://127.0.0.1:{s3_port}", "DEFAULT_REGION": "us-east-1",
        "ACCESS_KEY_ID": credentials.access_key, "SECRET_ACCESS_KEY": credentials.secret_key,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    answers = [f"<region1>: a {row % 3}" for row in range(6)]
    read: dict[str, Any] = {}
    exec(installed, read)
    assert list(read["build"].frame()["answer"]) == answers and read["jpeg"].startswith(b"\xff\xd8")
    exec(alone, read)
    assert [record["answer"] for record in read["records"]] == answers
    assert all(image.startswith(b"\xff\xd8") for image in read["images"].values())


@pytest.mark.parametrize(
    "rounds", [5, pytest.param(100, marks=pytest.mark.prove)], ids=lambda rounds: f"{rounds}-rounds"
)
def test_of_twelve_commits_at_once_one_wins_each_time(rounds: int, room: S3Store) -> None:
    nothing = FileEntry(path="x", rows=0, bytes=0, sha256="")
    for turn in range(rounds):
        begun_under = state_of(current(room)[0])
        won: list[str] = []
        refused: list[str] = []
        gate = threading.Barrier(12)

        def publish(build_id: str, begun_under: str | None = begun_under) -> None:
            manifest = Manifest(
                partition="dt=2026-10-05", build_id=build_id, build=f"build={build_id}", captions=[],
                rejected=nothing, counts={"rows": 0, "captioned": 0, "rejected": 0, "regions": 0},  # type: ignore[arg-type]
                created_at="", plan_id="", fingerprint="", identity="",
            )  # fmt: skip
            gate.wait()  # noqa: B023
            try:
                commit(room, manifest, begun_under)
                won.append(build_id)  # noqa: B023
            except CommitRefusedError as error:
                refused.append(str(error))  # noqa: B023

        with ExitStack() as stack:
            for number in range(12):
                thread = threading.Thread(target=publish, args=(f"{turn}-{number}",))
                thread.start()
                stack.callback(thread.join)
        (winner,) = won
        assert read_build_id(room) == winner
        assert len(refused) == 11 and all(f"its current build is {winner}." in text for text in refused)


def read_build_id(partition: S3Store) -> str:
    return str(json.loads(partition.read("_manifest.json"))["build_id"])
