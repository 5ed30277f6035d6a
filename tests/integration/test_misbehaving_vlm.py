"""A VLM that misbehaves at one row of a drop: that row ends in the right place, and no other row notices."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from regioncap.steps.caption import caption_shard
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.vlm.endpoint import Endpoint
from regioncap.work.shard import Shard
from tests.builders import Place, records, rejected_rows
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, completion, error

ROWS = 6
CAPTIONED = "captioned"


@dataclass(frozen=True)
class Misbehaviour:
    """What the server replies to the victim's row: always, or only so many times; and what should become of the row."""

    reply: Callable[[], Reply]
    becomes: str
    times: int = 1_000_000


def regions(**captions: Any) -> Reply:
    return completion(json.dumps({f"<{name}>": text for name, text in captions.items()}))


MISBEHAVIOURS = {
    "too many requests": Misbehaviour(lambda: error(429), CAPTIONED, times=3),
    "a failure now and then": Misbehaviour(lambda: error(500), CAPTIONED, times=2),
    "a failure at this row each time": Misbehaviour(lambda: error(500), "request_refused"),
    "a restart": Misbehaviour(lambda: error(503), CAPTIONED, times=3),
    "a connection reset": Misbehaviour(lambda: Reply(reset=True), CAPTIONED, times=2),
    "a hang": Misbehaviour(lambda: Reply(delay=60.0), CAPTIONED, times=1),
    "a hang at this row each time": Misbehaviour(lambda: Reply(delay=60.0), "request_refused"),
    "a slow drip": Misbehaviour(lambda: drip(regions(region1="a red cup", region2="a dog")), CAPTIONED),
    "a proxy's page": Misbehaviour(lambda: Reply(body="<html>x</html>", content_type="text/html"), CAPTIONED, times=2),
    "half a body": Misbehaviour(lambda: Reply(body='{"choices": [{"mess'), CAPTIONED, times=2),
    "a body without end": Misbehaviour(lambda: Reply(body=b"x" * (17 << 20)), "request_refused"),
    "no choices": Misbehaviour(lambda: Reply(body='{"choices": []}'), "empty"),
    "no content": Misbehaviour(lambda: completion(None), "empty"),
    "an answer that is not JSON": Misbehaviour(lambda: completion("I see several things."), "unparseable"),
    "JSON that breaks off": Misbehaviour(lambda: completion('{"<region1>": "a", "<reg'), "unparseable"),
    "JSON of another shape": Misbehaviour(lambda: completion('{"regions": ["a", "b"]}'), "unparseable"),
    "a region too few": Misbehaviour(lambda: regions(region1="a red cup"), "missing_region"),
    "a region too few, then the rest": Misbehaviour(lambda: regions(region1="a red cup"), CAPTIONED, times=1),
    "a region too many": Misbehaviour(
        lambda: regions(region1="a red cup", region2="a dog", region3="a hat"), "invented_region"
    ),
    "numbers for captions": Misbehaviour(lambda: regions(region1=1, region2=2), "empty"),
    "an answer cut off": Misbehaviour(lambda: completion('{"<region1>": "a b c', "length"), "cut_off"),
    "a refused request": Misbehaviour(lambda: error(400, "the image is odd"), "request_refused"),
}


def drip(reply: Reply) -> Reply:
    reply.pieces = 4
    return reply


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_the_row_ends_in_the_right_place(vlm: FakeVlm, tmp_path: Path, name: str) -> None:
    misbehaviour = MISBEHAVIOURS[name]
    place = Place(tmp_path)
    place.good_rows(ROWS)
    plan = place.plan()
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    shard = Shard(place.work, plan, shard_id)
    victim: list[str] = []
    seen: list[None] = []

    def behave(_: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]["image_url"]["url"]
        victim[:] = victim or [image]
        if image != victim[0] or len(seen) >= misbehaviour.times:
            return answer_well(body)
        seen.append(None)
        return misbehaviour.reply()

    vlm.behave = behave
    endpoint = Endpoint(base_urls=(vlm.url,), model=MODEL, timeout_seconds=0.6, patience_seconds=60)
    caption_shard(work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint, progress=lambda at: None)
    validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    assert seen, "the server has misbehaved"
    codes = [str(row.code) for row in rejected_rows(shard)]
    assert codes == ([] if misbehaviour.becomes == CAPTIONED else [misbehaviour.becomes])
    assert len(records(shard)) + len(codes) == ROWS
