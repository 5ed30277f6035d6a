"""A caption task that is killed again and again, on a real bucket: nothing lost, next to nothing asked twice."""

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
from regioncap.builds.caption import FLUSH_ROWS, load_answers
from regioncap.builds.layout import shard_path
from regioncap.builds.plan import plan_build
from regioncap.builds.render import render_shard
from regioncap.builds.shard import read_lines
from regioncap.storage.s3 import S3Store
from regioncap.vlm.client import RawAnswer
from tests.builders import DATE, ROOT, Place, settings
from tests.fake_vlm import MODEL, Reply, answer_well, fake_vlm

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

IN_FLIGHT = 8
SECONDS_AN_ANSWER = 0.1


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
    plan = plan_build(
        date=DATE, drop=place.drop, work=work, partition=S3Store(s3, "warehouse", f"{room}/partition"),
        settings=settings(shard_size=images), model=MODEL, run_id="run", progress=lambda rows: None,
    )  # fmt: skip
    (shard,) = plan.shards
    render_shard(drop=place.drop, work=work, shard_id=shard, settings=plan.settings, progress=lambda done, rows: None)
    (tmp_path / "credentials.json").write_text(json.dumps(vars(credentials)))

    def slow(_: int, body: dict[str, Any]) -> Reply:
        reply = answer_well(body)
        reply.delay = SECONDS_AN_ANSWER
        return reply

    chance = random.Random(kills)
    with fake_vlm(slow) as vlm:
        told = {
            "port": s3_port, "credentials": str(tmp_path / "credentials.json"), "work": f"{room}/work",
            "plan": plan.plan_id, "shard": shard, "vlm": vlm.url,
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
        assert start().wait(300) == 0
        requests = len(vlm.requests)

    answers = load_answers(work.sub(shard_path(shard)))
    assert len(answers) == images
    parts = [entry.path for entry in work.list(f"{shard_path(shard)}answers/")]
    written = Counter(answer.key for part in parts for answer in read_lines(work, part, RawAnswer))
    # No try asks for what an earlier try has written.
    assert max(written.values()) == 1
    # Under way, and answered since the last flush (two seconds, or FLUSH_ROWS rows).
    unflushed = min(FLUSH_ROWS, 2.5 * IN_FLIGHT / SECONDS_AN_ANSWER)
    assert requests - images <= kills * (IN_FLIGHT + unflushed + IN_FLIGHT)
