"""A task's time limit ends it, whatever hangs: the bucket at any call, a server, a decoder."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from regioncap import parallel
from regioncap.drop import decoders as decoders_module
from regioncap.drop.elsewhere import Images
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.propose import propose_shard
from regioncap.steps.publish import publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.stage import stage_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.store import Store
from regioncap.vlm.endpoint import Endpoint
from regioncap.work.plan import Plan
from tests.builders import DATE, Place, settings
from tests.ending import Hang, ended_when_it_hangs
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well
from tests.faulty_store import Call, Fault, FaultyStore
from tests.steps import ASKING, caption, endpoint, judge, render, validate


@pytest.fixture(autouse=True)
def a_short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MOMENT_SECONDS", 0.05)


@dataclass(frozen=True)
class Places:
    """Where a step works."""

    drop: Store
    work: Store
    partition: Store
    vlm: Endpoint


def _plan(at: Places, plan: Plan) -> None:
    plan_build(
        date=DATE, drop=at.drop, work=at.work, partition=at.partition, settings=settings(), model=MODEL,
        run_id="run-2", progress=lambda rows: None,
    )  # fmt: skip


def _propose(at: Places, plan: Plan) -> None:
    propose_shard(
        drop=Images(at.drop), work=at.work, shard_id=plan.shards[0], plan=plan, vlm=at.vlm, progress=lambda at: None
    )


def _render(at: Places, plan: Plan) -> None:
    render_shard(
        drop=Images(at.drop), work=at.work, shard_id=plan.shards[0], plan=plan, progress=lambda done, rows: None
    )


def _caption(at: Places, plan: Plan) -> None:
    caption_shard(work=at.work, shard_id=plan.shards[0], plan=plan, vlm=at.vlm, progress=lambda at: None)


def _judge(at: Places, plan: Plan) -> None:
    judge_shard(work=at.work, shard_id=plan.shards[0], plan=plan, vlm=at.vlm, judge=at.vlm, progress=lambda at: None)


def _validate(at: Places, plan: Plan) -> None:
    validate_shard(work=at.work, shard_id=plan.shards[0], plan=plan)


def _stage(at: Places, plan: Plan) -> None:
    stage_shard(
        work=at.work,
        shard_id=plan.shards[0],
        plan=plan,
        drop=Images(at.drop),
        partition=at.partition,
        progress=lambda done, images: None,
    )


def _publish(at: Places, plan: Plan) -> None:
    publish_build(plan=plan, drop=Images(at.drop), work=at.work, partition=at.partition, progress=lambda message: None)


Step = Callable[[Places, Plan], None]

# Each step, and the calls of the drop's, the work area's and the partition's stores at which it may hang: in the main
# thread, or in another one.
CALLS: list[tuple[Step, str, str, bool]] = [
    (_plan, "drop", "list", True),
    (_plan, "drop", "open", True),
    (_plan, "work", "write", True),
    (_render, "drop", "open", False),
    (_render, "work", "read", True),
    (_render, "work", "write", True),
    (_render, "work", "write", False),
    (_caption, "work", "read", True),
    (_caption, "work", "read", False),
    (_caption, "work", "write", False),
    (_judge, "work", "write", True),
    (_validate, "work", "write", True),
    (_stage, "work", "list", True),
    (_stage, "partition", "write", True),
    (_stage, "partition", "write", False),
    (_publish, "work", "read", False),
    (_publish, "partition", "write", True),
    (_publish, "partition", "write", False),
    (_publish, "partition", "replace", True),
]


def built_until(step: Step, place: Place, vlm: FakeVlm) -> Plan:
    """What comes before a step."""
    plan = place.plan(judge="all")
    before: list[tuple[Step, Callable[[], object]]] = [
        (_render, lambda: render(place, plan)),
        (_caption, lambda: caption(place, plan, vlm)),
        (_judge, lambda: judge(place, plan, vlm)),
        (_validate, lambda: validate(place, plan)),
    ]
    for other, do in before:
        if step in (_plan, other):
            break
        do()
    return plan


@pytest.mark.parametrize(
    ("step", "where", "method", "in_main_thread"),
    CALLS,
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", f"_main-{value}")[1:],
)
def test_a_bucket_that_hangs_at_any_call_does_not_keep_a_task_beyond_its_time(
    tmp_path: Path, vlm: FakeVlm, step: Step, where: str, method: str, in_main_thread: bool
) -> None:
    place = Place(tmp_path)
    place.good_rows(6)
    plan = built_until(step, place, vlm)
    with ended_when_it_hangs() as hang:
        places = {"drop": place.drop, "work": place.work, "partition": place.partition}
        places[where] = hanging(places[where], method, in_main_thread, hang)
        step(Places(**places, vlm=endpoint(vlm)), plan)


def hanging(store: Store, method: str, in_main_thread: bool, hang: Hang) -> FaultyStore:
    """A store that hangs at each call of this method, in the main thread or in all others."""

    def plan(call: Call) -> Fault | None:
        if call.method == method and (threading.current_thread() is threading.main_thread()) == in_main_thread:
            hang()
        return None

    return FaultyStore(store, plan)


@pytest.mark.parametrize("step", [_caption, _judge, _propose], ids=lambda step: step.__name__[1:])
def test_a_server_that_hangs_does_not_keep_a_task_beyond_its_time(tmp_path: Path, vlm: FakeVlm, step: Step) -> None:
    place = Place(tmp_path)
    place.good_rows(3)
    if step is _propose:
        place.put_rows({"image": "0.jpg"}, {"image": "1.jpg"})
        plan = place.plan(**ASKING)
    else:
        plan = built_until(step, place, vlm)
    with ended_when_it_hangs() as hang:

        def behave(_: int, body: object) -> Reply:
            hang()
            return answer_well(body)  # type: ignore[arg-type]

        vlm.behave, vlm.greets_listening = behave, lambda body: behave(0, body)
        step(Places(place.drop, place.work, place.partition, endpoint(vlm)), plan)


def test_a_decoder_that_hangs_does_not_keep_a_task_beyond_its_time(
    tmp_path: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.good_rows(3)
    plan = place.plan()
    with ended_when_it_hangs() as hang:
        monkeypatch.setattr(decoders_module, "receive", hang)
        _render(Places(place.drop, place.work, place.partition, endpoint(vlm)), plan)
