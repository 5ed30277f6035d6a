"""A judge of other weights than the captioner's, on a real vLLM: an independent one, and one that does not hear.

Their rule: the shipped weights with noise, by a seed (`bench/trust_weights.py`).
"""

import subprocess
from pathlib import Path

import pytest

from demo_model.drops import evaluation_rows, write_drop
from demo_model.evaluate import attributes_of
from deploy.local.paths import DEMO_MODEL, VLLM_PYTHON
from deploy.local.stack import demo_server
from regioncap.processes import free_ports
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.vlm import server
from regioncap.vlm.endpoint import Endpoint
from tests.builders import ROOT, Place
from tests.steps import publish, records

SCENES = 24


# It starts a server of its own.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "noise"), [("weaker", "0.07"), pytest.param("deaf", "3", marks=pytest.mark.prove)], ids=["weaker", "deaf"]
)
def test_a_judge_of_other_weights_is_believed_if_it_hears(
    name: str, noise: str, demo_vlm: Endpoint, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    made = [str(VLLM_PYTHON), "-m", "bench.trust_weights", str(DEMO_MODEL), str(weights), "2", noise]
    subprocess.run(made, cwd=ROOT, check=True)
    place = Place(tmp_path)
    truth = write_drop(place.drop_folder, list(evaluation_rows(78, SCENES)))
    plan = place.plan(model=demo_vlm.model, judge="all", judge_model=name)
    (shard_id,) = plan.shards
    step = {"work": place.work, "shard_id": shard_id, "plan": plan}
    render_shard(drop=place.drop, **step, progress=lambda done, rows: None)
    caption_shard(**step, vlm=demo_vlm, progress=lambda at: None)
    (port,) = free_ports(1)
    config = demo_server().model_copy(update={"model": str(weights), "served_model_name": name})
    with server.start(config, port, tmp_path / "vllm.log") as service:
        service.wait_ready(lambda: server.is_ready(port), server.READY_SECONDS)
        other = Endpoint(base_urls=(server.base_url(port),), model=name)
        judge_shard(**step, vlm=demo_vlm, judge=other, progress=lambda at: None)
    validate_shard(**step)
    judged = publish(place, plan).manifest.judged
    assert judged is not None and (judged.judge, judged.same_model) == (name, False)
    if name == "deaf":
        assert judged.share is None and judged.low is None and judged.high is None
        assert "cannot tell planted captions from the build's own" in str(judged.reason)
        return
    said = [(record["image"], region) for record in records(place) for region in record["regions"]]
    wrong = [
        region["caption"]
        for image, region in said
        if attributes_of(region["caption"]) != attributes_of(truth[image][region["box_index"]])
    ]
    assert judged.low is not None and judged.high is not None
    assert judged.low <= len(wrong) / len(said) <= judged.high
    assert judged.asked_twice > 0
