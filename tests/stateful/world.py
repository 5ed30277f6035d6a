"""One date, its drop, its warehouse, and all that people, Airflow and bad luck do to its builds."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
from airflow.sdk import Asset
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput, TaskDeferred

from regioncap.airflow import build as operators
from regioncap.airflow.approval import APPROVE, REJECT
from regioncap.airflow.publish import ApprovalsOperator, ApproveOperator, PublishOperator
from regioncap.config.deployment import Deployment
from regioncap.config.settings import BuildSettings
from regioncap.errors import PermanentError, RegionCapError
from regioncap.marks.view import content_name
from regioncap.regions.served import Served
from regioncap.steps.publish import commit_build
from regioncap.storage.local import LocalStore
from regioncap.storage.uri import open_store
from regioncap.vlm.dialects import Dialect
from regioncap.warehouse.history import collect, roll_back
from regioncap.work.identity import identity_of
from tests.builders import DATE, encoded, picture
from tests.fake_vlm import MODEL
from tests.stateful.expected import DropState, ExpectedBuild, differs, expected_build
from tests.stateful.requests import SECRET, Moment, Requests, secrets_opened
from tests.stateful.runs import PLAN, PUBLISH, TRIES, Key, Run
from tests.stateful.vlm import ENDPOINT, TracingVlm

# Settings that draw other marks, of other boxes, ask in other words and export other files.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {
        "prompt": "Describe the {n} marked regions.", "mark_style": "box", "max_boxes": 1,
        "export_formats": ["parquet"], "model_profile": "demo", "when_no_boxes": "reject",
    },
    "original": {
        "prompt": "Say what is in each of the {n} regions.", "mark_style": "corners", "max_boxes": 2,
        "export_formats": ["coco", "parquet", "webdataset"], "export_images": "original", "model_profile": "demo",
        "when_no_boxes": "reject",
    },
    "asking": {
        "mark_style": "box", "max_boxes": 2, "when_no_boxes": "ask_model", "model_profile": "qwen2.5-vl",
        "caption_mode": "per_region", "export_formats": ["webdataset"], "export_images": "marked", "judge": "all",
    },
}  # fmt: skip
_JUDGED = frozenset(kind for kind, settings in KINDS.items() if "judge" in settings)
IMAGES = ("a.jpg", "sub/b.jpg", "c.jpg")
MANIFESTS: tuple[tuple[str, ...], ...] = tuple(
    tuple(row if isinstance(row, str) else json.dumps(row) for row in rows)
    for rows in (
        (
            {"id": "a", "image": "a.jpg", "bbox": [[4, 4, 24, 20], [34, 10, 20, 30]]},
            {"id": "b", "image": "sub/b.jpg", "bbox": [[10, 8, 30, 30]]},
            "this is no JSON",
            {"id": "c", "image": "c.jpg"},
            {"id": "l", "image": "link.jpg", "bbox": [[4, 4, 24, 20]]},
        ),
        (
            {"id": "b", "image": "sub/b.jpg", "bbox": [[6, 8, 30, 30], [30, 20, 30, 20]]},
            {"id": "m", "image": f"linked/{SECRET}", "bbox": [[4, 4, 24, 20]]},
            {"id": "a", "image": "a.jpg", "bbox": [[4, 4, 24, 20]]},
        ),
    )
)
PICTURES = tuple(encoded(picture(64, 48, colour)) for colour in ((200, 180, 160), (40, 160, 90), (90, 60, 200)))

_BUILD_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


class ViolationError(AssertionError):
    """What must never be."""


class World:
    """Its methods are what can happen, one rule each; after each one `check` says whether all is as it must be.

    To be used within `installed`. Choices are numbers, taken modulo what there is to choose from. `published` counts
    the builds that became the current one.
    """

    def __init__(self, folder: Path) -> None:
        self.vlm = TracingVlm()
        self.requests = Requests()
        self.published = 0
        self.runs: list[Run] = []
        self._all_runs = 0
        self._step = 0
        self._folder = folder
        self._drop = folder / "drops" / DATE
        self._partition = folder / "warehouse" / f"dt={DATE}"
        self._outside = folder / "outside"
        self._secrets: list[str] = []
        # Builds that somebody has damaged by hand, and has not had mended.
        self._hurt: set[str] = set()
        self._hurt_at = -1
        self._rolled_back_at = -1
        self._brought_back: str | None = None
        # The run that planned the date last: when its task began and ended.
        self._latest: tuple[int, int, str] = (-1, -1, "")
        self._approved: set[str] = set()
        self._rejected: set[str] = set()
        # What builds hold, as far as it is known: a content by its key, and a kind.
        self._content: dict[str, tuple[str, str]] = {}
        self._current: str | None = None
        self._seen: Any = None
        self._expected: dict[tuple[str, str], ExpectedBuild] = {}
        self._settled: tuple[str, str, str | None] | None = None
        self._identities = {identity_of(self._settings(kind), MODEL): kind for kind in KINDS}
        self._manifest_number = 0
        self._images: dict[str, int | None] = dict.fromkeys(IMAGES, 0)
        self._states: list[DropState] = []
        self._live: set[str] = set()
        self._make_drop()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block, the product's code works on this world."""
        places = {
            "REGIONCAP_DROPS_URI": f"{self._folder}/drops",
            "REGIONCAP_WAREHOUSE_URI": f"{self._folder}/warehouse",
        }
        # Read once: each opening of a place reads it anew.
        deployment = Deployment.from_environment(places)

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.fromtimestamp(requests.now, tz)

        requests = self.requests
        with contextlib.ExitStack() as stack:
            for name, value in {
                "regioncap.airflow.places.open_store": self._open_store,
                "regioncap.airflow.places.Deployment": SimpleNamespace(from_environment=lambda: deployment),
                "regioncap.airflow.build.vlm_from_connection": lambda *_: ENDPOINT,
                "regioncap.airflow.build.judge_from_connection": lambda *_: None,
                "regioncap.airflow.build.told_of": lambda *_: None,
                "regioncap.airflow.build.report_progress": lambda *_, **__: None,
                "regioncap.ask.asking.connect": self.vlm.connect,
                "regioncap.ask.asking.check": mock.AsyncMock(),
                "regioncap.ask.asking.identify": mock.AsyncMock(),
                "regioncap.ask.asking.look_again": mock.AsyncMock(return_value=Served()),
                "regioncap.ask.asking.find_dialect": mock.AsyncMock(return_value=Dialect()),
                "regioncap.ask.asking.find_listening_dialect": mock.AsyncMock(return_value=Dialect()),
                "regioncap.parallel.Threads": _AtOnce,
                "regioncap.steps.publish.datetime": Clock,
                "regioncap.warehouse.history.datetime": Clock,
                "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS": SimpleNamespace(send=self._ask),
            }.items():
                stack.enter_context(mock.patch(name, value, create=name.endswith("COMMS")))
            # Superseded builds are not kept for readers' sake: what is collected wrongly shows.
            no_grace = {"grace": operators.timedelta(0)}
            stack.enter_context(mock.patch.dict(commit_build.__kwdefaults__, no_grace))
            stack.enter_context(mock.patch.object(ExecutorSafeguard, "test_mode", True))
            self._secrets = stack.enter_context(secrets_opened())
            yield

    # What people and the scheduler do to runs.

    def trigger(self, kind: str, approval: str = "never", force: bool = False) -> Run:
        """Somebody starts a run."""
        self._all_runs += 1
        run = Run(f"run-{self._all_runs}", kind, approval, force, len(self.vlm.asked))
        self.runs.append(run)
        return run

    def step(self, number: int, which: int = 0) -> None:
        """A task of a run that may run runs."""
        run = self._run(number)
        tasks = run.runnable()
        if tasks:
            self._execute(run, tasks[which % len(tasks)])

    def go_on(self, number: int, tasks: int = 100) -> None:
        """So many tasks of a run run, as long as there are any that may."""
        run = self._run(number)
        run.deferred = False
        for _ in range(tasks):
            if run.deferred or not run.runnable():
                return
            self._execute(run, run.runnable()[0])

    def clear(self, number: int, which: int | Key, *, downstream: bool, alike: bool = False) -> None:
        """Somebody clears a task."""
        run = self._run(number)
        key = sorted(run.tasks)[which % len(run.tasks)] if isinstance(which, int) else which
        run.clear(key, downstream=downstream, alike=alike)
        run.schedule()

    def mark_success(self, number: int, which: int | Key) -> None:
        """Somebody marks a task as a success, whatever it has done."""
        run = self._run(number)
        key = sorted(run.tasks)[which % len(run.tasks)] if isinstance(which, int) else which
        if key != PUBLISH:
            run.tasks[key] = "success"
            run.state = "running"
            run.schedule()

    def end(self, number: int, *, deleted: bool) -> None:
        """A run ends without its tasks' doing: marked as failed by hand, or deleted; no callback is called."""
        run = self._run(number)
        run.state = "failed"
        if deleted:
            self.runs.remove(run)

    def answer(self, number: int, approve: bool) -> None:
        """Somebody answers a run's request, by what it shows."""
        run = self._run(number)
        if not run.awaiting():
            return
        key = run.awaiting()[0]
        shown = set(_BUILD_ID.findall(f"{run.asked[key]}"))
        chosen, others = (self._approved, self._rejected) if approve else (self._rejected, self._approved)
        chosen |= shown
        others -= shown
        event = {
            "chosen_options": [APPROVE if approve else REJECT], "params_input": {},
            "responded_at": datetime.now(UTC), "responded_by_user": {"id": "1", "name": "Ada"},
        }  # fmt: skip
        self._execute(run, key, event)

    def pause(self) -> None:
        """Nothing happens for hours."""
        self.requests.now += 5 * 3600

    def struck(self, number: int, which: int, at: int, how: str) -> None:
        """A task runs, and a request of it fails, is cut, loses its answer, or is its last: the worker is killed."""
        run = self._run(number)
        if run.runnable():
            moment, strike = self._strikes()[how]
            with self.requests.armed(at, moment, strike):
                self.step(number, which)

    def interrupted(self, number: int, which: int, at: int, meanwhile: Callable[[], None]) -> None:
        """A task runs, and in the middle of it something else happens."""
        if self._run(number).runnable():
            with self.requests.armed(at, "before", meanwhile):
                self.step(number, which)

    def settle(self, kind: str) -> None:
        """All other runs are over, and one builds the date as it is, undisturbed: now all must be as it should."""
        for run in self.runs:
            run.state = "failed"
        self.pause()
        manifest = self._manifest()
        before = manifest["build_id"] if manifest else None
        run = self.trigger(kind)
        self.go_on(-1)
        wanted = (self._expect(self._states[-1], kind).key, kind)
        after = self._manifest()
        withdrawn = [entry["build_id"] for entry in after["history"] if entry["withdrawn"]] if after else []
        is_withdrawn = wanted in [self._content.get(each) for each in withdrawn]
        if is_withdrawn and before in self._hurt and "RunError" in f"{run.errors}":
            # Only a person can say what is to become of it: what was gone back to is damaged.
            return
        self._demand(run.state == "success", f"an undisturbed run of kind {kind} fails: {run.errors or run.tasks}")
        assert after is not None
        unchanged = bool(run.xcoms["plan", "plan"]["unchanged"])
        build = after["build_id"]
        if build == before and is_withdrawn:
            return
        self._demand(
            self._content.get(build) == wanted,
            f"after an undisturbed run of kind {kind}, of {wanted}, the current build is of {self._content.get(build)}",
        )
        gone = self._verify(after)
        self._demand(not gone, f"the images of {gone} are there, and the exports lack them")
        if self._settled == (*wanted, before):
            self._demand(unchanged, "nothing has changed since a run built the date, and the next one builds it again")
        self._settled = (*wanted, build)

    # What happens to the drop.

    def change_image(self, which: int, content: int) -> None:
        """An image is uploaded."""
        self._put(IMAGES[which % len(IMAGES)], content % len(PICTURES))

    def delete_image(self, which: int) -> None:
        """An image is deleted."""
        self._put(IMAGES[which % len(IMAGES)], None)

    def change_manifest(self, number: int) -> None:
        """The drop's manifest is uploaded."""
        self._manifest_number = number % len(MANIFESTS)
        self._write_manifest()
        self._note_state()

    def upload_again(self) -> None:
        """The very same drop is uploaded once more, or touched."""
        for name, content in self._images.items():
            if content is not None:
                self._write(self._drop / name, PICTURES[content])
        self._write_manifest()

    # What happens to the warehouse.

    def delete_partition(self) -> None:
        """Somebody deletes what is published, to start over."""
        shutil.rmtree(self._partition, ignore_errors=True)

    def delete_manifest(self) -> None:
        """Somebody deletes the partition's manifest alone."""
        (self._partition / "_manifest.json").unlink(missing_ok=True)

    def delete_published(self, which: int, how: str) -> None:
        """Somebody, or a rule of the bucket, deletes a published file, or leaves it empty."""
        files = [
            path for path in sorted(self._partition.rglob("*")) if path.is_file() and path.parent != self._partition
        ]
        if not files:
            return
        path = files[which % len(files)]
        self._hurt.update(_BUILD_ID.findall(str(path)))
        self._hurt_at = self._step = self._step + 1
        self._settled = None
        if how == "emptied":
            path.write_bytes(b"")
        else:
            path.unlink()

    def touch_manifest(self) -> None:
        """The partition's manifest is written again as it is."""
        path = self._partition / "_manifest.json"
        if path.exists():
            self._write(path, path.read_bytes())
            self.requests.written(f"file://{path}")

    def roll_back(self, which: int) -> None:
        """Somebody rolls back, to a build of the history, to the last one, or, without a manifest, to any."""
        manifest = self._manifest()
        there = sorted(path.name.removeprefix("build=") for path in self._partition.glob("build=*"))
        choices = [None, *([entry["build_id"] for entry in manifest["history"]] if manifest else there)]
        partition = self.requests.watched(LocalStore(self._partition))
        with contextlib.suppress(RegionCapError):
            roll_back(partition, choices[which % len(choices)])
            self._rolled_back_at = self._step = self._step + 1
            back = self._manifest()
            self._brought_back = back["build_id"] if back else None

    def collect(self) -> None:
        """What is not kept any more is deleted."""
        collect(self.requests.watched(LocalStore(self._partition)))

    # What must be.

    def check(self) -> None:
        """Raise ViolationError where something is that must never be."""
        self._step += 1
        self._demand(not self._secrets, f"opened outside of all places: {self._secrets}")
        manifest = self._manifest()
        build = manifest["build_id"] if manifest else None
        if manifest is not None and (build != self._current or build not in self._hurt):
            self._verify(manifest)
        self._current = build
        if manifest is not None:
            for earlier in manifest["history"]:
                kept = self._partition / f"build={earlier['build_id']}"
                self._demand(
                    kept.is_dir() or earlier["build_id"] in self._hurt, f"{kept.name} is listed, and was collected"
                )

    def _verify(self, manifest: dict[str, Any]) -> list[str]:
        """Look at every byte of the current build; returns the ids of records whose image an export lacks."""
        seen = self._tree(manifest["build"]), json.dumps(manifest)
        if self._seen is not None and self._seen[0] == seen:
            return list(self._seen[1])
        build = manifest["build_id"]
        records = [line for entry in manifest["captions"] for line in self._lines(entry)]
        rejected = [(line["line"], line["code"]) for line in self._lines(manifest["rejected"])]
        counts = manifest["counts"]
        regions = sum(len(record["regions"]) for record in records)
        self._demand(
            (counts["rows"], counts["captioned"], counts["rejected"], counts["regions"])
            == (len(records) + len(rejected), len(records), len(rejected), regions),
            f"{counts} do not add up: {len(records)} records of {regions} regions, {len(rejected)} rejected rows",
        )
        kind = self._identities.get(manifest["identity"])
        self._demand(kind is not None, f"nobody has asked for the identity of {build}")
        assert kind is not None
        self._demand((manifest["judged"] is not None) == (kind in _JUDGED), f"{build} is judged, or is not")
        report = self._report(manifest)
        for name, value in KINDS[kind].items():
            self._demand(report["settings"][name] == value, f"{build} is of kind {kind}, its report says {name} is "
                         f"{report['settings'][name]!r}")  # fmt: skip
        self._demand(report["counts"] == counts and report["build_id"] == build, f"the report of {build} is another's")
        state, found = self._state_of(kind, records, rejected)
        self._demand(state is not None, f"{build} is of kind {kind}, and of no state of the drop: {found}")
        assert state is not None
        questions = self._check_captions(kind, records, self._expect(state, kind))
        if report["settings"]["force_rebuild"]:
            made_by = [run for run in self.runs if self._plan_id(run) == manifest["plan_id"]]
            for run in made_by:
                self._demand(min(questions, default=run.first_question) >= run.first_question, f"{build} was forced, "
                             "and has answers from before")  # fmt: skip
        for record in records:
            data = self._read(f"{manifest['build']}/{record['image_with_bbox']}")
            self._demand(content_name(data) == Path(record["image_with_bbox"]).stem, f"{record['image_with_bbox']} of "
                         f"{build} has other bytes")  # fmt: skip
        gone = self._check_exports(manifest, kind, records)
        for name in ("README.md", "report.html"):
            self._demand(self._read(f"{manifest['build']}/{name}") != b"", f"{name} of {build} is empty")
        own = json.loads(self._read(f"{manifest['build']}/manifest.json"))
        # What is noted of a build after it was published stands in the partition's manifest alone.
        noted = {"history": [], "fingerprint": ""}
        self._demand({**own, **noted} == {**manifest, **noted}, f"manifest.json of {build} is another's")
        self._content[build] = (self._expect(state, kind).key, kind)
        self._hurt.discard(build)
        self._seen = seen, gone
        return gone

    def _state_of(
        self, kind: str, records: list[dict[str, Any]], rejected: list[tuple[int, str]]
    ) -> tuple[DropState | None, str]:
        """The state of the drop that a build is of; None with how it differs from the latest."""
        nearest = ""
        for state in reversed(self._states):
            difference = differs(self._expect(state, kind), records, rejected)
            if difference is None:
                return state, ""
            nearest = nearest or difference
        return None, nearest

    def _check_captions(self, kind: str, records: list[dict[str, Any]], expected: ExpectedBuild) -> list[int]:
        numbers = []
        for record, wanted in zip(records, expected.records, strict=True):
            for region in record["regions"]:
                question = self.vlm.question(region["caption"])
                self._demand(question is not None, f"nobody has said {region['caption']!r}")
                assert question is not None
                numbers.append(question[0])
                is_judged = region["trust"] is not None
                self._demand(is_judged == (kind in _JUDGED), f"of kind {kind}, the trust is {region['trust']}")
                self._demand(
                    not is_judged or self.vlm.has_heard(region["caption"]),
                    f"nobody was asked about {region['caption']!r}, which has a trust",
                )
                body = wanted.asked[region["region"]]
                self._demand(
                    question[1] == body,
                    f"region {region['region']} of {record['id']} has the answer to another question: {question[1]}, "
                    f"and should have that to {body}",
                )
        return numbers

    def _check_exports(self, manifest: dict[str, Any], kind: str, records: list[dict[str, Any]]) -> list[str]:
        files: dict[str, dict[str, bytes]] = defaultdict(dict)
        for entry in manifest["exports"]:
            _, _, name, file = entry["path"].split("/", 3)
            files[name][file] = self._entry(entry)
        formats = KINDS[kind]["export_formats"]
        self._demand(sorted(files) == (formats if records else sorted(files)), f"exported are {sorted(files)}")
        gone: list[str] = []
        for name, written in files.items():
            missing = [json.loads(text)["id"] for text in written.pop("missing_images.jsonl", b"").splitlines()]
            gone += missing
            data = [written[file] for file in sorted(written)]
            if name == "parquet":
                rows = [row for part in data for row in pq.read_table(io.BytesIO(part)).to_pylist()]
                rows = [{**row, "bbox": json.loads(row["bbox"])} for row in rows]
                self._demand(rows == records, f"the export parquet differs from the records: {rows} and {records}")
            elif name == "coco":
                self._check_coco(json.loads(data[0]), f"{manifest['build']}/exports/coco", records, missing)
            else:
                self._check_samples(data, records, missing, KINDS[kind]["export_images"])
        return gone

    def _check_coco(self, coco: dict[str, Any], folder: str, records: list[dict[str, Any]], missing: list[str]) -> None:
        said = [(item["record_id"], item["caption"]) for item in coco["annotations"]]
        captions = [(record["id"], region["caption"]) for record in records for region in record["regions"]]
        self._demand(said == captions, f"the export coco differs from the records: {said} and {captions}")
        shas = {record["image_sha256"] for record in records if record["id"] not in missing}
        there = [image for image in coco["images"] if image["file_name"].startswith("images/")]
        self._demand({image["sha256"] for image in there} == shas, f"{folder} has the images {there}")
        for image in there:
            digest = hashlib.sha256(self._read(f"{folder}/{image['file_name']}")).hexdigest()
            self._demand(digest == image["sha256"], f"{image['file_name']} of {folder} is another image")

    def _check_samples(self, data: list[bytes], records: list[dict[str, Any]], missing: list[str], images: str) -> None:
        members: dict[str, bytes] = {}
        for part in data:
            with tarfile.open(fileobj=io.BytesIO(part)) as tar:
                for member in tar:
                    stream = tar.extractfile(member)
                    assert stream is not None
                    members[member.name] = stream.read()
        keys = sorted(name.removesuffix(".json") for name in members if name.endswith(".json"))
        rows = [json.loads(members[f"{key}.json"]) for key in keys]
        self._demand(rows == records, f"the export webdataset differs from the records: {rows} and {records}")
        for key, record in zip(keys, records, strict=True):
            image = members.get(f"{key}.jpg")
            self._demand((image is None) == (record["id"] in missing), f"{record['id']} comes without its image")
            if image is not None:
                same = (
                    hashlib.sha256(image).hexdigest() == record["image_sha256"]
                    if images == "original"
                    else content_name(image) == Path(record["image_with_bbox"]).stem
                )
                self._demand(same, f"{record['id']} is exported with another image")

    # Runs, within.

    def _run(self, number: int) -> Run:
        return self.runs[number % len(self.runs)]

    def _execute(self, run: Run, key: Key, event: dict[str, Any] | None = None) -> None:
        """A try of a task, or, with an answer's event, the rest of one."""
        task, index = key
        self._step += 1
        run.tasks[key] = "running"
        if event is None:
            own = [name for name in run.xcoms if name[0] == task and (index < 0 or name[1] == index)]
            run.xcoms = {name: value for name, value in run.xcoms.items() if name not in own}
            run.try_numbers[key] = run.try_numbers.get(key, 0) + 1
        was_live, self._live = self._live, {self._states[-1].key}
        began, struck = self._step, self.requests.struck
        before = self._manifest()
        try:
            value = self._call(run, key, event)
        except TaskAwaitingInput as waits:
            run.tasks[key], run.resumed_by[key] = "awaiting", (waits.method_name, waits.kwargs or {})
        except TaskDeferred:
            run.tasks[key], run.deferred = None, True
        except AirflowSkipException:
            run.tasks[key] = "skipped"
        except BaseException as error:
            self._note_error(run, key, error)
        else:
            run.tasks[key] = "success"
            run.xcoms[task, "return_value" if index < 0 else index] = value
            if key == PLAN:
                run.planned_at, run.planned_states = began, frozenset(self._live)
                self._latest = max(self._latest, (began, self._step, run.run_id))
            if key == PUBLISH:
                self._after_publish(run, value, undisturbed=self.requests.struck == struck)
        after = self._manifest()
        changed = after is not None and (before is None or after["build_id"] != before["build_id"])
        # In the middle of the task, a person may have brought an earlier build back.
        by_hand = after is not None and self._rolled_back_at >= began and after["build_id"] == self._brought_back
        if after is not None and changed and not by_hand and after["plan_id"] == self._plan_id(run):
            self._after_change(run, after, began)
        self._live = was_live | self._live
        # What follows is done by others: the scheduler, the process that runs callbacks.
        self.requests.disarm()
        was_active = run.is_active
        run.schedule()
        if was_active and run.state == "failed":
            # The DAG's failure callback; it may fail too.
            with contextlib.suppress(Exception):
                operators.release_claim(self._context(run, PLAN))  # type: ignore[arg-type]

    def _note_error(self, run: Run, key: Key, error: BaseException) -> None:
        if isinstance(error, ViolationError) or (not isinstance(error, Exception) and not self.requests.killed):
            raise error
        clear = isinstance(error, RegionCapError | OSError) or self.requests.killed
        missing = run.xcoms.get(("plan", "plan")) is None and key != PLAN
        self._demand(clear or missing, f"{key} of {run.run_id} ends in {error!r}")
        run.errors.append(f"{key}: {error!r}")
        run.failures[key] = run.failures.get(key, 0) + 1
        again = not isinstance(error, PermanentError) and run.failures[key] < TRIES and not missing
        run.tasks[key] = None if again else "failed"

    def _call(self, run: Run, key: Key, event: dict[str, Any] | None) -> Any:
        task, index = key
        handle = run.xcoms.get(("plan", "plan"))
        context: Any = self._context(run, key)
        if task == "plan":
            return operators.PlanOperator(task_id=task).execute(context)
        if task == "without_boxes":
            return operators.ShardsToProposeOperator(task_id=task, plan=handle).execute(context)
        if task == "approvals":
            return ApprovalsOperator(task_id=task, plan=handle).execute(context)
        if task == "publish":
            approved = [value for (name, index), value in sorted(run.xcoms.items(), key=str) if name == "approve"]
            return PublishOperator(task_id=task, plan=handle, approved=approved, asset=_ASSET).execute(context)
        kind = {
            "propose": operators.ProposeOperator, "render": operators.RenderOperator,
            "caption": operators.CaptionOperator, "judge": operators.JudgeOperator,
            "validate": operators.ValidateOperator,
        }.get(task)  # fmt: skip
        mapped_over = {"propose": "without_boxes", "approve": "approvals"}.get(task, "plan")
        over = run.xcoms.get((mapped_over, "return_value"))
        if over is None or index >= len(over):
            # Airflow ends the task before its own code begins.
            raise PermanentError("nothing to be mapped over")
        if kind is None:
            approve = ApproveOperator(task_id=task, plan=handle, asks=over[index])
            if event is None:
                return approve.execute(context)
            method, arguments = run.resumed_by[key]
            return getattr(approve, method)(context, event, **arguments)
        return kind(task_id=task, plan=handle, shard=over[index]).execute(context)

    def _context(self, run: Run, key: Key) -> dict[str, Any]:
        task = SimpleNamespace(
            id=_task_id(run, key), map_index=key[1], run_id=run.run_id,
            try_number=run.try_numbers.get(key, 1), get_dr_count=self._alive,
            xcom_push=lambda key, value: run.xcoms.update({("plan", key): value}),
        )  # fmt: skip
        event = SimpleNamespace(extra=None, add_partitions=lambda *_: None)
        params = self._settings(run.kind, approval=run.approval, force_rebuild=run.force).model_dump(mode="json")
        return {
            "params": {**params, "drop_date": DATE}, "run_id": run.run_id, "ti": task, "task_instance": task,
            "dag_run": SimpleNamespace(
                partition_key=None, logical_date=None, run_id=run.run_id, triggering_user_name="Ann"
            ),
            "dag": SimpleNamespace(dag_id="region_captions"), "outlet_events": {_ASSET: event},
        }  # fmt: skip

    def _after_publish(self, run: Run, result: dict[str, Any], *, undisturbed: bool) -> None:
        """What must be where a run's last task says what is published."""
        manifest = self._manifest()
        if manifest is None or manifest["build_id"] != result["build_id"]:
            self._demand(
                not undisturbed, f"{run.run_id} says that it has published {result['build_id']}, which is not current"
            )
            return
        build = manifest["build_id"]
        if self._hurt_at < run.planned_at or build not in self._hurt:
            # Also where it was damaged by hand before the run was planned: since then somebody has looked.
            self._verify(manifest)
        withdrawn = [entry["build_id"] for entry in manifest["history"] if entry["withdrawn"]]
        contents = [self._content.get(each) for each in (build, *(withdrawn if result["unchanged"] else ()))]
        self._demand(
            any(content is None or content in self._planned(run) for content in contents),
            f"{run.run_id} says that {build} is published, which is of {contents[0]}, and not of {self._planned(run)}",
        )

    def _planned(self, run: Run) -> set[tuple[str, str]]:
        """What a run may publish: builds of the states that the drop was in while it was planned."""
        states = [state for state in self._states if state.key in run.planned_states]
        return {(self._expect(state, run.kind).key, run.kind) for state in states}

    def _after_change(self, run: Run, manifest: dict[str, Any], began: int) -> None:
        """What must be where a run has made its build the current one, whether its task could say so or not.

        Its task began at the step `began`.
        """
        _, since, latest = self._latest
        self._demand(
            latest == run.run_id or since >= began,
            f"{run.run_id} has published, though {latest} has planned the date since",
        )
        self.published += 1
        self._verify(manifest)
        build = manifest["build_id"]
        withdrawn = [entry["build_id"] for entry in manifest["history"] if entry["withdrawn"]]
        self._demand(
            self._content[build] in self._planned(run),
            f"{run.run_id} has published a build of {self._content[build]}, and has planned {self._planned(run)}",
        )
        settings = self._report(manifest)["settings"]
        self._demand(
            (settings["approval"], settings["force_rebuild"]) == (run.approval, run.force),
            f"{run.run_id} has approval={run.approval} and force_rebuild={run.force}; the report of what it has "
            f"published says {settings['approval']} and {settings['force_rebuild']}",
        )
        if run.approval == "always":
            self._demand(
                build in self._approved, f"{run.run_id} has published {build}, and nobody has approved that one"
            )
            self._demand(
                build not in self._rejected, f"{run.run_id} has published {build}, which somebody has rejected"
            )
        if not run.force and self._rolled_back_at < run.planned_at:
            again = [each for each in withdrawn if self._content.get(each) == self._content[build]]
            self._demand(not again, f"{run.run_id} has published anew what was withdrawn as {again}")

    def _alive(self, *, run_ids: list[str], **_: Any) -> int:
        return sum(run.is_active for run in self.runs if run.run_id in run_ids)

    def _ask(self, request: Any) -> Any:
        """What Airflow does with a request: the text of an older one of the same task stays."""
        known = ((run, key) for run in self.runs for key in run.tasks if _task_id(run, key) == request.ti_id)
        run, key = next(known, (None, PLAN))
        if run is None:
            # Somebody has deleted it while this task was running: Airflow ends its process.
            self.requests.kill()
        subject, body = run.asked.setdefault(key, (request.subject, request.body))
        return SimpleNamespace(subject=subject, body=body)

    def _strikes(self) -> dict[str, tuple[Moment, Callable[[], None]]]:
        requests = self.requests
        return {
            "fails": ("before", lambda: requests.fail("before")),
            "is cut": ("before", lambda: requests.fail("midway")),
            "answer lost": ("before", lambda: requests.fail("after")),
            "killed": ("before", requests.kill),
            "killed after": ("after", requests.kill),
        }

    def _settings(self, kind: str, **changes: Any) -> BuildSettings:
        return BuildSettings(
            **{
                "drops_uri": f"{self._folder}/drops",
                "warehouse_uri": f"{self._folder}/warehouse",
                "shard_size": 2,
                "temperature": 0,
                "keep_builds": 3,
                "max_rejected_ratio": 1,
                "judge": "none",
                **KINDS[kind],
                **changes,
            }
        )

    def _plan_id(self, run: Run) -> str | None:
        handle = run.xcoms.get(("plan", "plan"))
        return handle["plan_id"] if handle else None

    def _open_store(self, *arguments: Any) -> Any:
        return self.requests.watched(open_store(*arguments))

    # The drop, within.

    def _make_drop(self) -> None:
        self._outside.mkdir(parents=True)
        (self._outside / SECRET).write_bytes(encoded(picture(64, 48, (9, 9, 9))))
        (self._folder / "warehouse").mkdir()
        self.upload_again()
        (self._drop / "link.jpg").symlink_to(self._outside / SECRET)
        (self._drop / "linked").symlink_to(self._outside)
        self._note_state()

    def _put(self, name: str, content: int | None) -> None:
        self._images[name] = content
        if content is None:
            (self._drop / name).unlink(missing_ok=True)
            self._settled = None
        else:
            self._write(self._drop / name, PICTURES[content])
        self._note_state()

    def _write_manifest(self) -> None:
        self._write(self._drop / "manifest.jsonl", "\n".join(MANIFESTS[self._manifest_number]).encode())

    def _write(self, path: Path, data: bytes) -> None:
        """A file that is written now, by the world's clock: on a disk, two writes may fall into the same moment."""
        self.requests.now += 1
        if self._drop in path.parents:
            self._settled = None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (self.requests.now, self.requests.now))

    def _note_state(self) -> None:
        images = tuple((name, PICTURES[number]) for name, number in self._images.items() if number is not None)
        state = DropState(MANIFESTS[self._manifest_number], images)
        self._states = [other for other in self._states if other.key != state.key] + [state]
        self._live.add(state.key)

    def _expect(self, state: DropState, kind: str) -> ExpectedBuild:
        if (state.key, kind) not in self._expected:
            self._expected[state.key, kind] = expected_build(state, self._settings(kind))
        return self._expected[state.key, kind]

    # The partition, within.

    def _manifest(self) -> dict[str, Any] | None:
        with contextlib.suppress(FileNotFoundError):
            manifest: dict[str, Any] = json.loads((self._partition / "_manifest.json").read_bytes())
            return manifest
        return None

    def _report(self, manifest: dict[str, Any]) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self._read(f"{manifest['build']}/report.json"))
        return report

    def _read(self, path: str) -> bytes:
        try:
            return (self._partition / path).read_bytes()
        except FileNotFoundError:
            raise ViolationError(f"{path} is not there") from None

    def _entry(self, entry: dict[str, Any]) -> bytes:
        data = self._read(entry["path"])
        self._demand(
            (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]),
            f"{entry['path']} is not what the manifest says",
        )
        return data

    def _lines(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        lines = [json.loads(text) for text in self._entry(entry).split(b"\n") if text]
        self._demand(len(lines) == entry["rows"], f"{entry['path']} has {len(lines)} rows, and not {entry['rows']}")
        return lines

    def _tree(self, folder: str) -> list[tuple[str, int, int]]:
        return [
            (str(path), status.st_size, status.st_mtime_ns)
            for path in sorted((self._partition / folder).rglob("*"))
            for status in [path.stat()]
        ]

    def _demand(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise ViolationError(otherwise)


_ASSET = Asset(name="region_captions", uri="file:///warehouse")


def _task_id(run: Run, key: Key) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{run.run_id}/{key[0]}/{key[1]}")


class _AtOnce:
    """In the place of a pool of threads: each call is made when it is submitted, so that requests have an order."""

    def __init__(self, threads: int) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def submit(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future
