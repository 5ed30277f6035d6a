"""A caption task that is killed again and again, on a real bucket: nothing lost, next to nothing asked twice."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.local.credentials import Credentials
from regioncap.ask.asking import FLUSH_ROWS
from regioncap.steps.caption import caption_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.s3 import S3Store
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.work.layout import shard_path
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import DATE, ROOT, Place, read_lines, settings
from tests.fake_vlm import MODEL, Reply, completion, fake_vlm

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

IN_FLIGHT = 8
SECONDS_AN_ANSWER = 0.1


def rendered(place: Place, work: S3Store) -> Plan:
    """Plan all rows of the drop as one shard, and mark its images."""
    plan = plan_build(
        date=DATE, drop=place.drop, work=work, partition=work.sub("partition"),
        settings=settings(shard_size=100_000), model=MODEL, run_id="run", progress=lambda rows: None,
    )  # fmt: skip
    (shard,) = plan.shards
    render_shard(drop=place.drop, work=work, shard_id=shard, plan=plan, progress=lambda done, rows: None)
    return plan


def record_lines(work: S3Store, plan: Plan) -> list[bytes]:
    """The records of the plan's only shard, as published."""
    (shard,) = plan.shards
    validate_shard(work=work, shard_id=shard, plan=plan)
    return Shard(work, plan, shard).validated().records.splitlines()


@pytest.mark.parametrize(
    "kills",
    [3, pytest.param(40, marks=[pytest.mark.prove, pytest.mark.timeout(1800)])],
    ids=lambda kills: f"{kills}-kills",
)
def test_killed_caption_tasks_lose_nothing(
    kills: int, s3: "S3Client", s3_port: int, credentials: Credentials, tmp_path: Path
) -> None:
    images = 100 * kills
    place = Place(tmp_path)
    # One small picture, and a different box in each row: as many questions as rows.
    place.good_rows(1)
    place.put_rows(*({"image": "0.jpg", "bbox": [[k % 80, k // 80, 30, 20]]} for k in range(images)))
    room = f"tests/{uuid.uuid4().hex}"
    work = S3Store(s3, "warehouse", f"{room}/work")
    plan = rendered(place, work)
    (shard,) = plan.shards
    (tmp_path / "credentials.json").write_text(json.dumps(vars(credentials)))

    def slow(_: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]["image_url"]["url"]
        reply = completion(json.dumps({"<region1>": f"picture {hashlib.sha256(image.encode()).hexdigest()[:16]}"}))
        reply.delay = SECONDS_AN_ANSWER
        return reply

    chance = random.Random(kills)
    with fake_vlm(slow) as vlm:
        told = {
            "port": s3_port, "credentials": str(tmp_path / "credentials.json"), "work": f"{room}/work",
            "plan": plan.plan_id, "shard": shard, "vlm": vlm.url, "model": MODEL, "in_flight": IN_FLIGHT,
        }  # fmt: skip

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.integration.caption_task", json.dumps(told)],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
            )  # fmt: skip

        for _ in range(kills):
            asked = len(vlm.requests)
            task = start()
            while len(vlm.requests) == asked and task.poll() is None:
                time.sleep(0.02)
            time.sleep(chance.uniform(0.0, 3.0))
            task.kill()
            task.wait()
        assert start().wait(900) == 0
        requests = len(vlm.requests)
        undisturbed = S3Store(s3, "warehouse", f"{room}/undisturbed")
        assert rendered(place, undisturbed) == plan
        caption_shard(
            work=undisturbed, shard_id=shard, plan=plan, progress=lambda at: None,
            vlm=Endpoint(base_urls=(vlm.url,), model=MODEL, max_in_flight=64),
        )  # fmt: skip

    records, expected = record_lines(work, plan), record_lines(undisturbed, plan)
    assert len(records) == images
    # Not `==` of the whole: pytest would spend minutes on the difference.
    assert [(a, b) for a, b in zip(records, expected, strict=True) if a != b][:3] == []
    parts = [entry.path for entry in work.list(f"{shard_path(shard)}answers/")]
    written = Counter(answer.key for part in parts for answer in read_lines(work, part, Completion))
    # No try asks for what an earlier try has written.
    assert max(written.values()) == 1
    # Under way, and answered since the last flush (two seconds, or FLUSH_ROWS rows), or while a slow disk took that.
    unflushed = 2 * min(FLUSH_ROWS, 2.5 * IN_FLIGHT / SECONDS_AN_ANSWER)
    assert requests - images <= kills * (IN_FLIGHT + unflushed + IN_FLIGHT)
