"""An upgrade, rehearsed: what 0.1 left is there, a run is under way, and workers are replaced one by one."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from regioncap.drop.elsewhere import Images
from regioncap.errors import StepMissingError, SupersededError
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.propose import propose_shard
from regioncap.steps.publish import commit_build, publish_build, stage_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.local import LocalStore
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.whole import problems
from regioncap.work import identity
from regioncap.work.claim import Claim
from regioncap.work.layout import plan_path
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged
from tests.builders import ROOT, Place, read_whole
from tests.fake_vlm import FakeVlm, fake_vlm
from tests.steps import endpoint, records

DATE = "2026-10-05"
RUN = "region_captions/nightly"


class Fleet:
    """A date of 0.1's, and workers, of which each has some version of the deciding code."""

    def __init__(self, folder: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(ROOT / "tests" / "data" / "v0.1", folder)
        self.place = Place.__new__(Place)
        self.place.folder, self.place.date = folder, DATE
        self.place.drop = LocalStore(folder / "drops" / DATE)
        self.place.warehouse = LocalStore(folder / "warehouse")
        self.place.work = LocalStore(folder / "work" / f"dt={DATE}")
        self.place.partition = LocalStore(folder / "warehouse" / f"dt={DATE}")
        self.vlm = vlm
        self._monkeypatch = monkeypatch
        self.claim: Claim | None = None

    @property
    def manifest(self) -> Manifest:
        manifest, _ = current(self.place.partition)
        assert manifest is not None
        return manifest

    @contextmanager
    def worker(self, code: str) -> Iterator[None]:
        """What is done within is done by a worker with this code."""
        with self._monkeypatch.context() as patched:
            patched.setattr(identity, "code_hash", lambda: code)
            yield

    def plan(self, code: str) -> Plan:
        """The task `plan`: the run's, with the settings of then, but smaller shards."""
        settings = json.loads(self.place.work.read(plan_path(self.manifest.plan_id)))["settings"]
        with self.worker(code):
            self.claim = Claim.take(self.place.work, RUN, lambda run: True)
            return self.place.plan(run_id=RUN, **(settings | {"shard_size": 2, "judge": "none"}))

    def do(self, code: str, task: str, plan: Plan, shard: str = "", claim: Claim | None = None) -> None:
        """A task of the run, by a worker with this code."""
        (claim or self.claim or Claim(self.place.work, RUN, 0)).check()
        place = self.place
        common: dict[str, Any] = {"work": place.work, "shard_id": shard, "plan": plan}
        drop = Images(place.drop)
        tasks: dict[str, Callable[[], object]] = {
            "propose": lambda: propose_shard(
                **common, drop=drop, vlm=endpoint(self.vlm), progress=lambda at: None
            ),
            "render": lambda: render_shard(**common, drop=drop, progress=lambda done, rows: None),
            "caption": lambda: caption_shard(**common, vlm=endpoint(self.vlm), progress=lambda at: None),
            "judge": lambda: judge_shard(
                **common, vlm=endpoint(self.vlm), judge=endpoint(self.vlm), progress=lambda at: None
            ),
            "validate": lambda: validate_shard(**common),
            "publish": lambda: publish_build(
                plan=plan, drop=drop, work=place.work, partition=place.partition, progress=lambda message: None
            ),
        }  # fmt: skip
        with self.worker(code):
            tasks[task]()

    def finish(self, code: str, plan: Plan) -> None:
        """All tasks of the run, by workers with this code; what is done is done again, as cleared tasks are."""
        for task in ("render", "caption", "judge", "validate"):
            for shard in plan.shards:
                self.do(code, task, plan, shard)
        self.do(code, "publish", plan)

    def told(self) -> list[dict[str, Any]]:
        """What is published, which is whole."""
        assert read_whole(self.place.partition) == self.manifest.build_id
        assert list(problems(self.place.partition, self.manifest, read=True)) == []
        return [{**record, "image_uri": ""} for record in records(self.place)]

    def asked(self) -> list[str]:
        return sorted(json.dumps(request, sort_keys=True) for request in self.vlm.requests)


@pytest.fixture
def fleet(tmp_path: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(tmp_path / "replaced", vlm, monkeypatch)


@pytest.fixture
def straight(tmp_path: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """The same by workers of the new version alone."""
    with fake_vlm(vlm.behave) as other:
        done = Fleet(tmp_path / "straight", other, monkeypatch)
        done.finish("new", done.plan("new"))
        yield done


def test_where_the_deciding_code_is_the_same_the_run_ends_under_its_plan(fleet: Fleet, straight: Fleet) -> None:
    plan = fleet.plan("the same")
    assert len(plan.shards) > 3
    for shard in plan.shards:
        fleet.do("the same", "render", plan, shard)
    for number, shard in enumerate(plan.shards):
        # By turns by the old version and the new one, whose code decides the same.
        fleet.do("the same", "caption", plan, shard)
        if number % 2:
            fleet.do("the same", "caption", plan, shard)
    fleet.finish("the same", plan)
    assert fleet.manifest.plan_id == plan.plan_id
    assert fleet.told() == straight.told()
    assert fleet.asked() == straight.asked() and len(set(fleet.asked())) == len(fleet.asked())


@pytest.mark.parametrize("replaced_at", ["render", "caption", "validate", "publish"])
def test_where_it_is_another_the_task_says_to_clear_plan_and_every_answer_is_taken_over(
    fleet: Fleet, straight: Fleet, replaced_at: str
) -> None:
    plan = fleet.plan("old")
    half = len(plan.shards) // 2
    steps = ["render", "caption", "judge", "validate"]
    for task in steps[: steps.index(replaced_at)] if replaced_at in steps else steps:
        for shard in plan.shards:
            fleet.do("old", task, plan, shard)
    before = fleet.manifest
    if replaced_at == "publish":
        with pytest.raises(StepMissingError, match="clear the run's plan task"):
            fleet.do("new", "publish", plan)
    else:
        # Some workers are replaced, and others not yet.
        for shard in plan.shards[:half]:
            fleet.do("old", replaced_at, plan, shard)
        asked = len(fleet.vlm.requests)
        for shard in plan.shards[half:]:
            with pytest.raises(StepMissingError, match="clear the run's plan task"):
                fleet.do("new", replaced_at, plan, shard)
        assert len(fleet.vlm.requests) == asked
    assert fleet.manifest == before
    # `plan` is cleared, with what follows; it is done by a new worker, and a task by one that is old still.
    old_claim = fleet.claim
    anew = fleet.plan("new")
    assert anew.plan_id != plan.plan_id
    with pytest.raises(StepMissingError, match="clear the run's plan task"):
        fleet.do("old", "render", anew, anew.shards[0])
    with pytest.raises(SupersededError):
        fleet.do("old", "caption", plan, plan.shards[0], claim=old_claim)
    fleet.finish("new", anew)
    assert fleet.told() == straight.told()
    assert fleet.asked() == straight.asked() and len(set(fleet.asked())) == len(fleet.asked())


def test_a_version_that_is_gone_back_to_builds_the_date_anew_and_asks_nothing(fleet: Fleet) -> None:
    fleet.finish("new", fleet.plan("new"))
    told, asked, build = fleet.told(), fleet.asked(), fleet.manifest.build_id
    fleet.finish("old", fleet.plan("old"))
    assert fleet.manifest.build_id != build
    assert (fleet.told(), fleet.asked()) == (told, asked)
    assert build in [each.build_id for each in fleet.manifest.history]


def test_a_build_that_waits_for_an_approval_is_published_as_it_was_shown(fleet: Fleet) -> None:
    plan, place = fleet.plan("old"), fleet.place
    for task in ("render", "caption", "judge", "validate"):
        for shard in plan.shards:
            fleet.do("old", task, plan, shard)
    with fleet.worker("old"):
        staged = stage_build(
            plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(), max_rejected_ratio=1.0,
            progress=lambda message: None,
        )  # fmt: skip
    assert isinstance(staged, Staged)
    staged.save(place.work)
    with fleet.worker("new"):
        waited = Staged.load(place.work, plan.plan_id)
        assert waited is not None
        commit_build(waited, plan=plan, work=place.work, partition=place.partition, progress=lambda message: None)
    assert fleet.manifest.build_id == staged.manifest.build_id and fleet.told()
