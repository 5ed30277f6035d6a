"""Two people correct what a pipeline builds, over and over, while processes are killed: what has to hold then.

A *world* has some dates in a bucket. Its builds are made by processes of their own, the whole of it or until one is
killed; what people know of their edits (entered, or nobody knows) is in `Edits`, and checked against the journal and
the builds.
"""

import json
import multiprocessing
import random
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx2

from deploy.local import airflow, bucket
from deploy.local.credentials import Credentials
from regioncap.errors import CorrectionConflictError, RollBackError
from regioncap.processes import Service, free_ports
from regioncap.steps.caption import caption_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.publish import publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.s3 import S3Store
from regioncap.vlm.endpoint import Endpoint
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of, what_holds
from regioncap.warehouse.history import roll_back
from regioncap.warehouse.manifest import current
from tests.builders import encoded, picture, settings
from tests.fake_vlm import MODEL, FakeVlm
from tests.processes import below, kill

# On a machine that has much else to do.
_READY_SECONDS = 900.0

BOXES = [[10, 10, 40, 30], [60, 20, 50, 50]]


@dataclass(frozen=True)
class Task:
    """What a process builds: a date below a prefix of the buckets, with a temperature, which makes it another build."""

    port: int
    credentials: Credentials
    prefix: str
    date: str
    vlm: str
    run_id: str
    temperature: float

    def store(self, folder: str, bucket_name: str = "warehouse") -> S3Store:
        """A folder below the prefix."""
        return S3Store(bucket.client(self.port, self.credentials), bucket_name, f"{self.prefix}/{folder}")


def build(task: Task, log: Path) -> None:
    """All steps of a build, one after the other; `log` gets the name of each that begins, or what went wrong."""
    drop = task.store(task.date, "drops")
    work, partition = task.store(f"_work/dt={task.date}"), task.store(f"dt={task.date}")
    with log.open("a", buffering=1) as told:
        try:
            told.write("plan\n")
            plan = plan_build(
                date=task.date, drop=drop, work=work, partition=partition,
                settings=settings(temperature=task.temperature, keep_builds=5, max_rejected_ratio=1), model=MODEL,
                run_id=task.run_id, progress=lambda rows: None, judge_model="",
            )  # fmt: skip
            if not plan.unchanged:
                for shard_id in plan.shards:
                    told.write("render\n")
                    render_shard(drop=drop, work=work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
                    told.write("caption\n")
                    vlm = Endpoint(base_urls=(task.vlm,), model=MODEL)
                    caption_shard(work=work, shard_id=shard_id, plan=plan, vlm=vlm, progress=lambda at: None)
                    told.write("validate\n")
                    validate_shard(work=work, shard_id=shard_id, plan=plan)
                told.write("publish\n")
                publish_build(plan=plan, drop=drop, work=work, partition=partition, progress=lambda message: None)
            told.write("done\n")
        except Exception:
            told.write(traceback.format_exc())
            raise


@dataclass
class Edits:
    """What people know of their edits, by caption, each of which is another one: entered, or nobody knows."""

    entered: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, caption: str, *, entered: bool) -> None:
        """What somebody knows of an edit now."""
        with self.lock:
            (self.entered if entered else self.unknown).add(caption)

    def check(self, journals: Sequence[Sequence[Correction]]) -> None:
        """None of those entered is lost, and none of all is there twice; nothing else is there."""
        there = Counter(str(line.caption) for lines in journals for line in lines)
        assert self.entered - there.keys() == set(), "lost"
        assert [caption for caption, times in there.items() if times > 1] == [], "doubled"
        assert there.keys() - self.entered - self.unknown == set()
        for lines in journals:
            assert [line.number for line in lines] == list(range(1, len(lines) + 1))


class World:
    """Some dates, each a drop of so many rows with two regions, and the processes that build them."""

    def __init__(
        self, port: int, credentials: Credentials, prefix: str, vlm: FakeVlm, folder: Path, dates: Sequence[str],
        rows: int,
    ) -> None:  # fmt: skip
        self.dates = dates
        self._task = Task(port, credentials, prefix, "", vlm.url, "", 0.0)
        self._vlm, self._folder, self._chance = vlm, folder, random.Random(5)
        # Its children are forked from a process that has imported everything, and are at work at once.
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.integration.correcting"])
        self.builds = self.killed = self.killed_in_publish = self.rolled_back = 0
        self._temperature = 0.0
        for day, date in enumerate(dates):
            drop = self._task.store(date, "drops")
            manifest = b""
            for row in range(rows):
                drop.write(f"{row}.jpg", encoded(picture(colour=(row * 11 % 256, 90 + 40 * day, 90))))
                manifest += json.dumps({"image": f"{row}.jpg", "bbox": BOXES}).encode() + b"\n"
            drop.write("manifest.jsonl", manifest)

    def task(self, date: str, run_id: str = "") -> Task:
        """What a process needs to know of a date."""
        return replace(self._task, date=date, run_id=run_id, temperature=self._temperature)

    def partition(self, date: str) -> S3Store:
        """A date's partition."""
        return self._task.store(f"dt={date}")

    def journal(self, date: str) -> list[Correction]:
        """All that was said of a date."""
        return corrections_of(self.partition(date)).lines()

    def records(self, date: str) -> list[dict[str, Any]]:
        """The records of a date's current build."""
        partition = self.partition(date)
        manifest, _ = current(partition)
        assert manifest is not None
        return [json.loads(text) for entry in manifest.captions for text in partition.read(entry.path).splitlines()]

    def other_settings(self) -> None:
        """From now on, builds are made with other settings: what nobody has corrected is asked anew."""
        self._temperature = round(self._temperature + 0.01, 2)

    def build(self, date: str, *, kill: bool = False) -> int:
        """Build a date; with `kill`, it is killed once before, mostly while it publishes. Returns how much was asked.

        What is published then has everything that the journal said when it was begun.
        """
        self.builds += 1
        run_id = f"run-{self.builds}"
        if kill:
            self._kill(date, run_id)
        before, asked = len(self.journal(date)), len(self._vlm.requests)
        process, log = self._start(date, run_id)
        process.join()
        assert process.exitcode == 0, log.read_text()
        lines = self.journal(date)
        assert any(self._has(date, lines[:count]) for count in range(before, len(lines) + 1)), "not what was said"
        return len(self._vlm.requests) - asked

    def roll_back(self, date: str) -> None:
        """Go back to an earlier build, if there is one."""
        lines = self.journal(date)
        try:
            roll_back(self.partition(date), None)
        except RollBackError:
            return
        self.rolled_back += 1
        assert self.journal(date)[: len(lines)] == lines

    def unsettled(self, date: str) -> int:
        """How many rows have a region of which nobody has said anything: about these the model is asked."""
        held = what_holds(self.journal(date), "en")
        return sum(
            any(held.holding(about_region(record["image_sha256"], box, "en")) is None for box in BOXES)
            for record in self.records(date)
        )

    def _has(self, date: str, lines: Sequence[Correction]) -> bool:
        """Whether the current build is what was said by then, and what the model says of everything else."""
        held = what_holds(lines, "en")
        for record in self.records(date):
            assert [region["bbox"] for region in record["regions"]] == BOXES
            for region in record["regions"]:
                holding = held.holding(about_region(record["image_sha256"], region["bbox"], "en"))
                said = holding.caption if holding else f"what is in <region{region['region']}>"
                if (region["caption"], region["corrected"]) != (said, holding is not None):
                    return False
            said = "\n".join(f"<region{region['region']}>: {region['caption']}" for region in record["regions"])
            if record["corrected"] and record["answer"] != said:
                return False
        return True

    def _start(self, date: str, run_id: str) -> tuple[Any, Path]:
        log = self._folder / f"{run_id}.log"
        process = self._processes.Process(target=build, args=(self.task(date, run_id), log), daemon=True)
        process.start()
        return process, log

    def _kill(self, date: str, run_id: str) -> None:
        process, log = self._start(date, run_id)
        step = self._chance.choice(["publish", "publish", "publish", "caption", "plan"])

        def told() -> list[str]:
            return log.read_text().splitlines() if log.exists() else []

        while process.is_alive() and step not in told():
            process.join(0.01)
        process.join(self._chance.uniform(0.0, 0.3))
        process.kill()
        process.join()
        if process.exitcode != 0:
            self.killed += 1
            self.killed_in_publish += told()[-1] == "publish"
        log.unlink()


class Writer:
    """Somebody who enters edits in the journal, in a process that is killed now and then and started again."""

    def __init__(self, world: World, date: str, by: str, edits: int, known: Edits, folder: Path) -> None:
        self._task = world.task(date)
        contents = [about_region(record["image_sha256"], box, "en") for record in world.records(date) for box in BOXES]
        # Of the last row's regions nobody says anything.
        self._contents = contents[: -len(BOXES)]
        self._by, self._edits, self._known, self._log = by, edits, known, folder / f"{by}.log"
        self._chance = random.Random(by)
        self.killed = 0

    def run(self) -> None:
        """Enter all edits; what was under way when the process was killed may be there."""
        at = 0
        while at < self._edits:
            process = multiprocessing.get_context("forkserver").Process(
                target=write_each, args=(self._task, self._by, self._contents, at, self._edits, self._log), daemon=True
            )
            process.start()
            # At whatever it is at, somewhat after some edits: on a slow machine too.
            until = at + self._chance.randrange(2, 6)
            while process.is_alive() and self._entered() < until:
                process.join(0.01)
            process.join(self._chance.uniform(0.0, 0.05))
            process.kill()
            process.join()
            self.killed += process.exitcode != 0
            begun = [int(text.split()[1]) for text in self._lines() if text.startswith("begun")]
            at = max(begun, default=-1) + 1
        entered = {int(text.split()[1]) for text in self._lines() if text.startswith("entered")}
        for number in range(self._edits):
            self._known.note(f"{self._by} {number}", entered=number in entered)

    def _entered(self) -> int:
        return sum(text.startswith("entered") for text in self._lines())

    def _lines(self) -> list[str]:
        # The last one may be half a line.
        return self._log.read_text().rpartition("\n")[0].splitlines() if self._log.exists() else []


def write_each(task: Task, by: str, contents: Sequence[str], first: int, edits: int, log: Path) -> None:
    """Enter edits, from `first` on, each with another caption; `log` gets which are begun, and which are entered."""
    journal = corrections_of(task.store(f"dt={task.date}"))
    with log.open("a", buffering=1) as told:
        for number in range(first, edits):
            about = contents[number % len(contents)]
            line = Correction(
                at="2026-10-05T10:00:00+00:00", by=by, action="edit", about=about, caption=f"{by} {number}"
            )
            told.write(f"begun {number}\n")
            while True:
                try:
                    correct(journal, [line], len(journal.lines()))
                    break
                except CorrectionConflictError:
                    pass  # somebody was faster, which a person looks at before saying it again
            told.write(f"entered {number}\n")


class ApiServer:
    """Airflow's api-server with RegionCap's pages, and users who may trigger runs; it is killed and started again."""

    def __init__(self, s3_port: int, credentials: Credentials, prefix: str, home: Path, users: Sequence[str]) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._home, self._chance, self.killed = home, random.Random(3), 0
        home.mkdir()
        self.passwords = {user: secrets.token_urlsafe(12) for user in users}
        airflow.password_file(home).write_text(json.dumps(self.passwords))
        connection = {
            "conn_type": "aws",
            "login": credentials.access_key,
            "password": credentials.secret_key,
            "extra": {"endpoint_url": f"http://127.0.0.1:{s3_port}", "region_name": "us-east-1"},
        }
        places = {
            "REGIONCAP_DROPS_URI": f"s3://drops/{prefix}",
            "REGIONCAP_WAREHOUSE_URI": f"s3://warehouse/{prefix}",
            "REGIONCAP_ALLOWED_ROOTS": "s3://drops,s3://warehouse",
            "AIRFLOW_CONN_REGIONCAP_WAREHOUSE": json.dumps(connection),
            "AIRFLOW_CONN_REGIONCAP_DROPS": json.dumps(connection),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:user" for user in users),
        }
        self._variables = airflow.environment(home, port, credentials, places)

    def __enter__(self) -> Self:
        airflow.set_up(self._home, self._variables)
        self._start()
        self._service.wait_ready(self._is_ready, _READY_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._service.stop()

    def kill_until(self, done: Callable[[], bool], known: Edits, edits: int = 20) -> None:
        """Kill it each time that so many edits were entered, at whatever it is at, and start it again."""
        at = edits
        while not done():
            if len(known.entered) < at:
                time.sleep(0.01)
                continue
            at = len(known.entered) + edits
            time.sleep(self._chance.uniform(0.0, 0.3))
            for process in below(self._service.pid):
                kill(process)
            self._service.stop()
            self.killed += 1
            self._start()

    def _start(self) -> None:
        self._service: Service = airflow.start("api-server", self._variables, self._home / "logs")

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/regioncap/", timeout=3, trust_env=False).status_code == 401
        except httpx2.HTTPError:
            return False


class Person:
    """Somebody who corrects on the pages, by forms and by JSON in turn, and does not give up where nobody answers."""

    def __init__(self, server: ApiServer, world: World, by: str, edits: int, known: Edits) -> None:
        self._server, self._world, self._by, self._edits, self._known = server, world, by, edits, known
        self._http = httpx2.Client(base_url=server.url, timeout=30.0, trust_env=False)
        self._chance, self.conflicts = random.Random(by), 0
        self._token = ""

    def run(self) -> None:
        """Enter all edits, each with another caption."""
        login = {"username": self._by, "password": self._server.passwords[self._by]}
        token = self._insist(lambda: self._http.post("/auth/token", json=login)).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        for number in range(self._edits):
            date = self._chance.choice(self._world.dates)
            self._edit(date, f"{self._by} {number}", form=number % 2 == 0, again=number % 3 != 0)

    def lines(self, date: str) -> int:
        """How many lines of the date's journal there are, as the pages say."""
        return len(self._insist(lambda: self._http.get(f"/regioncap/api/dates/{date}/corrections")).json())

    def _edit(self, date: str, caption: str, *, form: bool, again: bool) -> None:
        """Correct a region of a date's build; where nobody answers, say it `again`, or leave it at that."""
        page = self._build(date)
        # Of the last rows' regions, or of one of the two, nobody says anything.
        row = self._chance.randrange(18)
        region = self._chance.choice([1, 2]) if row < 15 else 1
        asked = {"record": f"0.{row}", "region": region, "action": "edit", "caption": caption}
        seen = self.lines(date)
        doubtful = False
        while True:
            answer: httpx2.Response | None
            try:
                answer = self._send(page, asked | {"seen": seen}, form=form)
            except httpx2.HTTPError:
                answer = None
            if answer is None or answer.status_code >= 500:
                doubtful = True
                if not again:
                    self._known.note(caption, entered=False)
                    return
                time.sleep(0.1)
                continue
            if answer.status_code in (201, 303):
                self._known.note(caption, entered=True)
                return
            assert answer.status_code == 409, answer.text
            self.conflicts += 1
            if doubtful:
                # It may be what somebody else was told of.
                self._known.note(caption, entered=False)
                return
            seen = self.lines(date)

    def _send(self, page: str, asked: dict[str, Any], *, form: bool) -> httpx2.Response:
        if not form:
            return self._http.post(f"/regioncap/api{page}/corrections", json=asked)
        if not self._token:
            text = self._insist(lambda: self._http.get(f"/regioncap{page}/gallery")).text
            self._token = text.partition('name="token" value="')[2].partition('"')[0]
        fields = {name: str(value) for name, value in asked.items()} | {"token": self._token}
        return self._http.post(f"/regioncap{page}/corrections", data=fields, headers={"Origin": self._server.url})

    def _build(self, date: str) -> str:
        to = self._insist(lambda: self._http.get(f"/regioncap/dates/{date}")).headers["location"]
        return "/dates/" + str(to).partition("/dates/")[2]

    def _insist(self, ask: Callable[[], httpx2.Response]) -> httpx2.Response:
        """Ask until the server is there and has an answer."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            with suppress(httpx2.HTTPError):
                answer = ask()
                if answer.status_code < 400:
                    return answer
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.1)
