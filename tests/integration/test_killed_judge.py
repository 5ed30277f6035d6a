"""A judge task that is killed: nothing of what was heard is lost, and nothing is called judged that is not."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import StepMissingError
from regioncap.steps.publish import Published
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import ROOT, Place
from tests.fake_vlm import FakeVlm, Reply, completion, fake_vlm
from tests.listening import heard, rows
from tests.steps import caption, judge, publish, render, validate

IMAGES = 24
# So many requests are answered before the task is killed, each time.
ANSWERED = (30, 60)


def says(_: int, body: dict[str, Any]) -> Reply:
    """The same to the same request, whoever sends it: captions of an image, and which number is meant."""
    content = body["messages"][1]["content"]
    if "logprobs" not in body:
        image = hashlib.sha256(json.dumps(content[0]).encode()).hexdigest()
        schema = body["response_format"]["json_schema"]["schema"]
        return completion(json.dumps({name: f"a {image[:6]} cup in {name[1:-1]}" for name in schema["required"]}))
    digest = hashlib.sha256(json.dumps(content).encode()).digest()
    choices = body["structured_outputs"]["choice"]
    return heard([choices[digest[0] % len(choices)]], len(choices) - 1)


class KilledAfter:
    """Answers as `says`, so many requests, and no more: the task that asks is killed in the middle of it."""

    def __init__(self, answers: int) -> None:
        self.left = answers
        self._lock = threading.Lock()
        self.enough = threading.Event()
        self.killed = threading.Event()

    def __call__(self, number: int, body: dict[str, Any]) -> Reply:
        with self._lock:
            self.left -= 1
            over = self.left < 0
        if over:
            self.enough.set()
            self.killed.wait(60)
            return Reply(503)
        return says(number, body)


def captioned(folder: Path, vlm: FakeVlm) -> tuple[Place, Plan]:
    place = Place(folder)
    rows(place, IMAGES)
    plan = place.plan(judge="all", judge_away="wait")
    render(place, plan)
    caption(place, plan, vlm)
    return place, plan


def kill_in_the_middle(place: Place, plan: Plan, vlm: FakeVlm, answers: int) -> set[str]:
    """Have a process judge, and kill it once it has written some answers; returns the keys of all that are kept."""
    shared = Shard(place.work, plan, plan.shards[0]).shared
    before = set(load_completions(shared, layout.JUDGED))
    behaviour = KilledAfter(answers)
    vlm.behave = behaviour
    told = {
        "work": str(place.folder / "warehouse" / "_work" / f"dt={place.date}"),
        "plan": plan.plan_id,
        "vlm": vlm.url,
    }
    command = [sys.executable, "-m", "tests.integration.judge_task", json.dumps(told)]
    path = os.pathsep.join([str(ROOT / "plugins"), str(ROOT)])
    task = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path})
    try:
        wait_for(lambda: behaviour.enough.is_set() or task.poll() is not None)
        wait_for(lambda: before < set(load_completions(shared, layout.JUDGED)))
    finally:
        task.kill()
        task.wait()
        behaviour.killed.set()
        vlm.behave = says
    return set(load_completions(shared, layout.JUDGED))


def wait_for(condition: Callable[[], bool]) -> None:
    over = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < over, "it did not come to be"
        time.sleep(0.05)


def finished(place: Place, plan: Plan) -> Published:
    validate(place, plan)
    return publish(place, plan)


@pytest.mark.timeout(1800)
def test_a_killed_judge_loses_nothing_and_nothing_is_called_judged(tmp_path: Path) -> None:
    with fake_vlm(says) as vlm:
        vlm.greets_listening = lambda _: heard(["1"], 1)
        place, plan = captioned(tmp_path / "killed", vlm)
        shard = Shard(place.work, plan, plan.shards[0])
        kept: set[str] = set()
        for answers in ANSWERED:
            before, kept = kept, kill_in_the_middle(place, plan, vlm, answers)
            assert before < kept
            with pytest.raises(StepMissingError, match=r"judge\.json is missing: clear the shard's judge task"):
                validate(place, plan)
        (counts,) = judge(place, plan, vlm)
        # What was kept is not asked again.
        total = len(load_completions(shard.shared, layout.JUDGED)) + len(load_completions(shard.shared, layout.ANSWERS))
        assert counts.asked == total - len(kept) - IMAGES
        published = finished(place, plan)
        whole, whole_plan = captioned(tmp_path / "whole", vlm)
        judge(whole, whole_plan, vlm)
        expected = finished(whole, whole_plan)
    assert published.manifest.judged == expected.manifest.judged
    assert shard.own.read(layout.SCORED) == Shard(whole.work, whole_plan, whole_plan.shards[0]).own.read(layout.SCORED)
