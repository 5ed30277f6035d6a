"""What RegionCap 0.1 published and left in its work area is read, taken over, gone back to: see tests/data/v0.1."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regioncap.captions.answers import parse_answer
from regioncap.cli.app import app
from regioncap.drop.decoder import Result
from regioncap.drop.decoders import Decoders
from regioncap.errors import StepMissingError
from regioncap.regions.records import Record, Rejected
from regioncap.report.drift import earlier_qualities
from regioncap.report.figures import load_report
from regioncap.steps.publish import commit_build
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.manifest import Manifest, current
from regioncap.work import layout
from regioncap.work.claim import Claim
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged
from tests.builders import ROOT, Place, read_lines, read_whole
from tests.fake_vlm import FakeVlm
from tests.steps import caption, propose, publish, render, validate

WRITTEN = ROOT / "tests" / "data" / "v0.1"
STRUCTURED, FREE_TEXT, WAITING = "2026-10-05", "2026-10-06", "2026-10-07"


class Kept(Place):
    """A date of what is kept, copied to where it can be written to."""

    def __init__(self, folder: Path, date: str) -> None:
        shutil.copytree(WRITTEN, folder, dirs_exist_ok=True)
        self.folder = folder
        self.date = date
        self.drop = LocalStore(folder / "drops" / date)
        self.warehouse = LocalStore(folder / "warehouse")
        self.work = LocalStore(folder / "work" / f"dt={date}")
        self.partition = LocalStore(folder / "warehouse" / f"dt={date}")

    @property
    def manifest(self) -> Manifest:
        """What is published."""
        manifest, _ = current(self.partition)
        assert manifest is not None
        return manifest

    def marked(self, record: Record) -> bytes:
        """The marked image of a record that is published."""
        return self.partition.read(f"{self.manifest.build}/{record.image_with_bbox}")

    def plan_again(self, **changes: object) -> Plan:
        """Plan the drop as a run with the settings of the published build would, but for `changes`."""
        settings = json.loads(self.work.read(layout.plan_path(self.manifest.plan_id)))["settings"]
        return self.plan(run_id="run-2", **(settings | changes))

    def build_again(self, vlm: FakeVlm, plan: Plan) -> list[Record]:
        """Build a plan, and return the records that are published."""
        propose(self, plan, vlm)
        render(self, plan)
        caption(self, plan, vlm)
        validate(self, plan)
        publish(self, plan)
        read_whole(self.partition)
        return records(self.partition, self.manifest)


def records(partition: Store, manifest: Manifest) -> list[Record]:
    return [record for entry in manifest.captions for record in read_lines(partition, entry.path, Record)]


def rejected(partition: Store, manifest: Manifest) -> list[Rejected]:
    return read_lines(partition, manifest.rejected.path, Rejected)


def captions(found: list[Record]) -> dict[str, list[str]]:
    return {record.id: [region.caption for region in record.regions] for record in found}


@pytest.mark.parametrize("date", [STRUCTURED, FREE_TEXT])
def test_what_was_published_is_read_whole(tmp_path: Path, date: str, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(tmp_path, date)
    manifest, report = kept.manifest, load_report(kept.partition, kept.manifest)
    assert read_whole(kept.partition) == manifest.build_id
    assert report is not None and report.counts == manifest.counts
    assert len(records(kept.partition, manifest)) == manifest.counts.captioned
    assert len(rejected(kept.partition, manifest)) == manifest.counts.rejected
    assert caplog.messages == []


def test_what_became_of_the_rows_is_what_it_was(tmp_path: Path) -> None:
    kept = Kept(tmp_path, STRUCTURED)
    assert captions(records(kept.partition, kept.manifest)) == {
        "street-1": ["a red square block", "a blue ball"],
        "street-2": ["a green square block", "a blue ball, “no. 2”"],
        "tu-3": ["a yellow ball", "a black square block"],
        "again-5": ["a blue square block", "a red ball"],
        "twice-7": ["a red square block", "a red square block"],
    }
    assert [str(row.code) for row in rejected(kept.partition, kept.manifest)] == [
        "not_json", "image_not_found", "cut_off", "request_refused",
    ]  # fmt: skip


def test_later_builds_are_compared_with_those_of_then(tmp_path: Path) -> None:
    kept = Kept(tmp_path, WAITING)
    assert [quality.regions_per_record for quality in earlier_qualities(kept.warehouse, WAITING)] == [1.6667, 2.0]


@pytest.fixture
def marked_as_then(tmp_path: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marked images of the second date are those of then, whose tags had other places."""
    kept = Kept(tmp_path / "to-know-their-names", FREE_TEXT)
    before = {record.id: kept.marked(record) for record in records(kept.partition, kept.manifest)}
    now = kept.build_again(vlm, kept.plan_again())
    then = {kept.marked(record): before[record.id] for record in now}
    vlm.requests.clear()
    run = Decoders.run

    def run_then(*arguments: Any) -> Result:
        told, jpegs = run(*arguments)
        return told, [then.get(jpeg, jpeg) for jpeg in jpegs]

    monkeypatch.setattr(Decoders, "run", run_then)


def test_images_that_are_marked_otherwise_than_then_are_asked_about_anew(tmp_path: Path, vlm: FakeVlm) -> None:
    kept = Kept(tmp_path, FREE_TEXT)
    before = {record.id: record for record in records(kept.partition, kept.manifest)}
    now = kept.build_again(vlm, kept.plan_again())
    assert {record.id for record in now} == before.keys()
    for record in now:
        then = before[record.id]
        assert record.image_with_bbox != then.image_with_bbox and record.bbox == then.bbox
        assert [region.caption for region in record.regions] == ["what is in it"] * len(then.regions)
    # Where things are was asked about the image without marks: those answers hold.
    assert len(vlm.requests) == len(now)
    assert len(kept.manifest.history) == 1


@pytest.mark.usefixtures("marked_as_then")
def test_the_answers_of_then_are_taken_over_and_none_is_asked_for_again(tmp_path: Path, vlm: FakeVlm) -> None:
    kept = Kept(tmp_path, FREE_TEXT)
    before = kept.manifest
    plan = kept.plan_again(shard_size=2)
    source = json.loads(kept.work.read(layout.plan_path(before.plan_id)))["shards"]
    # Other shards, other ids: what was asked is found by where each row was.
    assert plan.plan_id != before.plan_id and [plan.sources[name] for name in plan.shards] == [source, source]
    now = kept.build_again(vlm, plan)
    marked = {record.id: record.image_with_bbox for record in records(kept.partition, before)}
    assert {record.id: record.image_with_bbox for record in now} == marked
    assert vlm.requests == []
    assert captions(now) == captions(records(kept.partition, before))
    assert [build.build_id for build in kept.manifest.history] == [before.build_id]


def test_every_answer_of_then_is_taken_apart_as_it_was() -> None:
    """JSON, or a line for each region: 0.1 read what its servers gave by nothing but these two."""
    found = 0
    for path in (WRITTEN / "work").rglob("answers/*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["text"]
            if text.startswith("{") and text.endswith("}"):
                then = {int(name[7:-1]): caption for name, caption in json.loads(text).items()}
            elif text.startswith("<region"):
                then = {int(name[7:-1]): said.strip() for name, said in (said.split(":") for said in text.split("\n"))}
            else:
                then = {}  # refused, or cut off
            assert parse_answer(text, "structured", sorted(then)).captions == then, text
            found += bool(then)
    assert found == 11


def test_a_drop_of_then_is_built_anew_whatever_is_asked_again(tmp_path: Path, vlm: FakeVlm) -> None:
    kept = Kept(tmp_path, STRUCTURED)
    before = kept.manifest
    now = kept.build_again(vlm, kept.plan_again())
    assert kept.manifest.counts.rows == before.counts.rows
    assert {record.id for record in records(kept.partition, before)} <= {record.id for record in now}
    assert [row.id for row in rejected(kept.partition, kept.manifest)][:2] == [None, "missing-4"]


@pytest.mark.usefixtures("marked_as_then")
def test_a_run_of_then_is_planned_anew_and_nothing_is_asked_again(tmp_path: Path, vlm: FakeVlm) -> None:
    """Between `caption` and `publish` of one run, RegionCap was brought up to date."""
    kept = Kept(tmp_path, FREE_TEXT)
    before = kept.manifest
    plan = Plan.load(kept.work, before.plan_id)
    with pytest.raises(StepMissingError, match="clear the shard's render task"):
        validate(kept, plan)
    with pytest.raises(StepMissingError, match="clear the run's plan task"):
        render(kept, plan)
    now = kept.build_again(vlm, kept.plan_again())
    assert vlm.requests == []
    assert captions(now) == captions(records(kept.partition, before))


def test_the_build_before_is_gone_back_to_and_nothing_is_lost(tmp_path: Path) -> None:
    kept = Kept(tmp_path, STRUCTURED)
    (earlier,) = kept.manifest.history
    assert collect(kept.partition) == []
    assert roll_back(kept.partition, None).build_id == earlier.build_id
    assert read_whole(kept.partition) == earlier.build_id
    assert set(captions(records(kept.partition, kept.manifest))) == {"street-1", "street-2", "tu-3"}
    assert load_report(kept.partition, kept.manifest) is not None


def test_a_build_that_waits_since_then_can_be_approved(tmp_path: Path) -> None:
    kept = Kept(tmp_path, WAITING)
    (plan_id,) = (path.name for path in (tmp_path / "work" / f"dt={WAITING}" / "plans").iterdir())
    staged = Staged.load(kept.work, plan_id)
    assert staged is not None and staged.asked
    plan = Plan.load(kept.work, plan_id)
    commit_build(staged, plan=plan, work=kept.work, partition=kept.partition, progress=lambda message: None)
    assert read_whole(kept.partition) == staged.manifest.build_id


def test_the_lease_of_a_run_of_then_keeps_nobody_waiting(tmp_path: Path) -> None:
    work = Kept(tmp_path, FREE_TEXT).work
    assert work.stat("_lease.json").size
    assert Claim.take(work, "another", lambda run: True).number == 1


def test_an_image_is_forgotten_in_the_builds_of_then(tmp_path: Path) -> None:
    kept = Kept(tmp_path, STRUCTURED)
    before = records(kept.partition, kept.manifest)
    content = next(record.image_sha256 for record in before if record.id == "street-2")
    gone = {record.image for record in before if record.image_sha256 == content}
    places = ["--warehouse-uri", str(tmp_path / "warehouse"), "--work-uri", str(tmp_path / "work")]
    done = CliRunner().invoke(app, ["forget", "street-2", "--date", STRUCTURED, "--delete", *places])
    assert done.exit_code == 0, done.stderr
    now = records(kept.partition, kept.manifest)
    assert captions(now) == captions([record for record in before if record.image not in gone])
    assert read_whole(kept.partition) == kept.manifest.build_id and len(kept.manifest.history) == 1
    verified = CliRunner().invoke(app, ["verify", "--all", *places[:2]])
    assert verified.exit_code == 0, verified.stdout
    for path in (tmp_path / "warehouse" / f"dt={STRUCTURED}", tmp_path / "work" / f"dt={STRUCTURED}"):
        for file in filter(Path.is_file, path.rglob("*")):
            assert content.encode() not in file.read_bytes() and b"street-2" not in file.read_bytes(), file
    assert kept.plan_again().rejected >= 1
