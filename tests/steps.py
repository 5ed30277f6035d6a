"""The steps of a build, run by hand in local folders."""

import base64
import io
import json
from typing import Any

from PIL import Image

from regioncap.drop.elsewhere import Images
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.propose import propose_shard
from regioncap.steps.publish import Published, publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.vlm.endpoint import Endpoint
from regioncap.warehouse.manifest import current
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan
from tests.builders import Place
from tests.fake_vlm import MODEL, FakeVlm

BOXES = [[10, 10, 40, 30]]
ASKING = {"when_no_boxes": "ask_model", "model_profile": "qwen2.5-vl"}


def endpoint(vlm: FakeVlm, **changes: Any) -> Endpoint:
    return Endpoint(**{"base_urls": (vlm.url,), "model": MODEL, "patience_seconds": 60.0, **changes})


def render(place: Place, plan: Plan) -> None:
    for shard_id in plan.shards:
        render_shard(
            drop=Images(place.drop),
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            progress=lambda done, rows: None,
        )


def caption(place: Place, plan: Plan, vlm: FakeVlm, **changes: Any) -> list[AskCounts]:
    return [
        caption_shard(
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            vlm=endpoint(vlm, **changes),
            progress=lambda at: None,
        )
        for shard_id in plan.shards
    ]


def propose(place: Place, plan: Plan, vlm: FakeVlm) -> list[AskCounts]:
    return [
        propose_shard(
            drop=Images(place.drop),
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            vlm=endpoint(vlm),
            progress=lambda at: None,
        )
        for shard_id in plan.shards_to_propose
    ]


def jpeg_of(part: dict[str, Any]) -> Image.Image:
    """The image in a part of a request."""
    return Image.open(io.BytesIO(jpeg_bytes(part)))


def jpeg_bytes(part: dict[str, Any]) -> bytes:
    """The same as it is sent."""
    return base64.b64decode(part["image_url"]["url"].partition(",")[2])


def judge(
    place: Place,
    plan: Plan,
    vlm: FakeVlm,
    listener: FakeVlm | None = None,
    least_seconds: float = 600.0,
    **changes: Any,
) -> list[AskCounts]:
    """Have the captions judged, by the VLM itself unless there is another listener."""
    return [
        judge_shard(
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            vlm=endpoint(vlm, **changes),
            judge=endpoint(listener or vlm, **changes),
            progress=lambda at: None,
            least_seconds=least_seconds,
        )
        for shard_id in plan.shards
    ]


def validate(place: Place, plan: Plan) -> None:
    for shard_id in plan.shards:
        validate_shard(work=place.work, shard_id=shard_id, plan=plan)


def publish(place: Place, plan: Plan) -> Published:
    return publish_build(
        plan=plan, drop=Images(place.drop), work=place.work, partition=place.partition, progress=lambda message: None
    )


def build(place: Place, vlm: FakeVlm, run_id: str = "run-1", **changes: Any) -> Published:
    plan = place.plan(run_id=run_id, **changes)
    render(place, plan)
    caption(place, plan, vlm)
    judge(place, plan, vlm)
    validate(place, plan)
    return publish(place, plan)


def records(place: Place) -> list[dict[str, Any]]:
    manifest, _ = current(place.partition)
    assert manifest is not None
    lines = [line for entry in manifest.captions for line in place.partition.read(entry.path).splitlines()]
    return [json.loads(line) for line in lines]


def rejected(place: Place) -> dict[str, dict[str, Any]]:
    """Rejected rows by their image."""
    manifest, _ = current(place.partition)
    assert manifest is not None
    rows = [json.loads(line) for line in place.partition.read(manifest.rejected.path).splitlines()]
    return {row["row"]["image"] if isinstance(row["row"], dict) else row["row"]: row for row in rows}
