"""What becomes of requests that the VLM refuses: is it about one row, or about how server and run are set up?"""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.steps.caption import caption_shard
from regioncap.steps.propose import propose_shard
from regioncap.steps.publish import Published, publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.vlm.endpoint import Endpoint
from regioncap.warehouse.manifest import current
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan
from tests.builders import Place, encoded, picture
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, completion, error, odd_at_first_image

ROWS = 12


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.good_rows(ROWS)
    return place


def caption(place: Place, plan: Plan, vlm: FakeVlm, **changes: Any) -> list[AskCounts]:
    endpoint = Endpoint(**{"base_urls": (vlm.url,), "model": MODEL, "patience_seconds": 60.0, **changes})
    return [
        caption_shard(work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint, progress=lambda at: None)
        for shard_id in plan.shards
    ]


def rendered(place: Place, **changes: Any) -> Plan:
    plan = place.plan(**changes)
    for shard_id in plan.shards:
        render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    return plan


def publish(place: Place, plan: Plan) -> Published:
    for shard_id in plan.shards:
        validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    return publish_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, progress=lambda message: None
    )


def rejected(place: Place) -> list[dict[str, Any]]:
    manifest, _ = current(place.partition)
    assert manifest is not None
    return [json.loads(line) for line in place.partition.read(manifest.rejected.path).splitlines()]


def asked_images(vlm: FakeVlm) -> list[str]:
    return [body["messages"][1]["content"][0]["image_url"]["url"] for body in vlm.requests]


REFUSES_ALL = {
    "the image limit": (
        "At most 1 image(s) may be provided in one prompt. Set `--limit-mm-per-prompt` to increase this limit.",
        "--limit-mm-per-prompt",
    ),
    "the context": (
        "This model's maximum context length is 4096 tokens. However, you requested 4096 output tokens and your prompt "
        "contains 1400 input tokens, for a total of 5496 tokens.",
        "--max-model-len",
    ),
    "local files": ("Cannot load local files without `--allowed-local-media-path`.", "local_media_path"),
    "words that nobody has met yet": ("The moon is in the wrong house.", "docs/vlm-servers.md"),
}


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("name", REFUSES_ALL)
def test_a_setting_that_refuses_every_row_ends_the_task_with_the_servers_words_and_a_remedy(
    place: Place, vlm: FakeVlm, status: int, name: str
) -> None:
    said, change = REFUSES_ALL[name]
    vlm.behave = lambda number, body: error(status, said)
    plan = rendered(place)
    with pytest.raises(VlmSetupError) as told:
        caption(place, plan, vlm)
    assert said.rstrip(".") in str(told.value) and change in str(told.value)
    # Each row once, and once more with a plain picture.
    assert len(vlm.requests) <= ROWS + 1


def test_a_mended_server_is_asked_exactly_what_is_missing(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: answer_well(body) if number < 5 else error(401)
    plan = rendered(place)
    with pytest.raises(VlmSetupError):
        caption(place, plan, vlm, max_in_flight=1)  # the answers before it are there
    vlm.behave = lambda number, body: error(400, "At most 1 image(s) may be provided in one prompt.")
    with pytest.raises(VlmSetupError, match="At most 1 image"):
        caption(place, plan, vlm)
    vlm.behave = lambda number, body: answer_well(body)
    (counts,) = caption(place, plan, vlm)
    assert (counts.kept, counts.asked) == (5, ROWS - 5)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def restarted_after(number: int, refusal: Reply) -> Callable[[int, dict[str, Any]], Reply]:
    """A server that answers so many requests, and refuses all from then on."""
    return lambda count, body: answer_well(body) if count < number else refusal


@pytest.mark.parametrize("name", REFUSES_ALL)
def test_a_setting_that_refuses_every_row_from_some_moment_on_loses_none(place: Place, vlm: FakeVlm, name: str) -> None:
    said, change = REFUSES_ALL[name]
    vlm.behave = restarted_after(5, error(400, said))
    plan = rendered(place)
    with pytest.raises(VlmSetupError) as told:
        caption(place, plan, vlm, max_in_flight=2)
    assert said.rstrip(".") in str(told.value) and change in str(told.value)
    assert len(vlm.requests) < ROWS
    vlm.behave = lambda number, body: answer_well(body)
    (counts,) = caption(place, plan, vlm)
    assert (counts.kept, counts.asked) == (5, ROWS - 5)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def sized_rows(place: Place, *sizes: int) -> None:
    """Rows with square pictures of so many pixels a side."""
    for number, size in enumerate(sizes):
        place.put(f"{number}.jpg", encoded(picture(size, size, (number, 99, 200)), quality=100))
    place.put_rows(*({"image": f"{number}.jpg", "bbox": [[10, 10, 30, 30]]} for number in range(len(sizes))))


def proxy(limit: int, refusal: Reply) -> Callable[[int, dict[str, Any]], Reply]:
    """A server behind a proxy that takes bodies of so many bytes."""
    return lambda _, body: answer_well(body) if len(json.dumps(body)) < limit else refusal


@pytest.mark.parametrize("in_flight", [1, 64])
@pytest.mark.parametrize("words", ["", "<html><h1>413 Request Entity Too Large</h1></html>"])
@pytest.mark.parametrize("before", [0, 5, 9])
def test_one_row_that_is_too_large_for_a_proxy_is_that_rows_fault_and_says_what_to_change(
    tmp_path: Path, vlm: FakeVlm, words: str, in_flight: int, before: int
) -> None:
    place = Place(tmp_path / "other")
    sized_rows(place, *[150] * before, 900, *[150] * (9 - before))
    vlm.behave = proxy(20_000, Reply(413, words))
    plan = rendered(place, model_profile="qwen2.5-vl")
    caption(place, plan, vlm, max_in_flight=in_flight)
    assert publish(place, plan).manifest.counts.captioned == 9
    (row,) = rejected(place)
    assert row["code"] == "request_refused" and "413" in row["reason"] and "proxy" in row["reason"]


@pytest.mark.parametrize("in_flight", [1, 64])
def test_all_rows_of_a_size_that_a_proxy_does_not_take_end_the_task(
    tmp_path: Path, vlm: FakeVlm, in_flight: int
) -> None:
    place = Place(tmp_path / "other")
    sized_rows(place, *[150] * 5, 900, 880, *[150] * 4)
    vlm.behave = proxy(20_000, Reply(413, ""))
    plan = rendered(place, model_profile="qwen2.5-vl")
    with pytest.raises(VlmSetupError, match=r"413.*proxy"):
        caption(place, plan, vlm, max_in_flight=in_flight)
    vlm.behave = lambda number, body: answer_well(body)
    caption(place, plan, vlm)
    assert publish(place, plan).manifest.counts.captioned == 11


def test_a_row_whose_regions_are_all_refused_is_one_row(tmp_path: Path, vlm: FakeVlm) -> None:
    place = Place(tmp_path / "other")
    sized_rows(place, *[150] * 5, 900)
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    place.put_rows(*(row | {"bbox": [[10, 10, 30, 30], [50, 50, 30, 30]]} for row in rows))
    vlm.behave = proxy(30_000, Reply(413, ""))
    plan = rendered(place, model_profile="qwen2.5-vl", caption_mode="per_region")
    caption(place, plan, vlm)
    assert publish(place, plan).manifest.counts.captioned == 5


def test_several_rows_that_are_refused_for_what_is_in_them_are_these_rows_fault(place: Place, vlm: FakeVlm) -> None:
    odd: set[str] = set()

    def behave(number: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]["image_url"]["url"]
        if number in (2, 5, 8):
            odd.add(image)
        return error(400, "cannot identify image file") if image in odd else answer_well(body)

    vlm.behave = behave
    plan = rendered(place, max_rejected_ratio=1)
    caption(place, plan, vlm, max_in_flight=1)
    assert publish(place, plan).manifest.counts.rejected == 3


def test_a_folder_that_the_server_may_not_read_ends_the_task_though_it_takes_what_is_sent(
    place: Place, vlm: FakeVlm
) -> None:
    by_name = "Cannot load local files without `--allowed-local-media-path`."
    vlm.behave = lambda number, body: error(400, by_name) if "file://" in json.dumps(body) else answer_well(body)
    plan = rendered(place)
    with pytest.raises(VlmSetupError, match="local_media_path"):
        caption(place, plan, vlm, local_media_path=str(place.folder / "warehouse"))
    assert len(vlm.requests) <= ROWS + 1


def test_a_setting_that_refuses_all_requests_for_boxes_ends_the_task_too(tmp_path: Path, vlm: FakeVlm) -> None:
    place = Place(tmp_path / "other")
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg"})
    vlm.behave = lambda number, body: error(400, "At most 0 image(s) may be provided in one prompt.")
    plan = place.plan(when_no_boxes="ask_model", model_profile="qwen2.5-vl")
    endpoint = Endpoint(base_urls=(vlm.url,), model=MODEL)
    with pytest.raises(VlmSetupError, match="At most 0 image"):
        propose_shard(
            drop=place.drop, work=place.work, shard_id=plan.shards[0], plan=plan, vlm=endpoint,
            progress=lambda at: None,
        )  # fmt: skip


def test_a_proxy_that_takes_no_real_picture_ends_the_task(place: Place, vlm: FakeVlm) -> None:
    real = [encoded(picture(900, 700, (k, 99, 200)), quality=100) for k in range(3)]
    for number, jpeg in enumerate(real):
        place.put(f"{number}.jpg", jpeg)
    place.put_rows(*({"image": f"{number}.jpg", "bbox": [[10, 10, 300, 300]]} for number in range(3)))
    limit = 6_000

    def proxy(_: int, body: dict[str, Any]) -> Reply:
        if len(json.dumps(body)) < limit:
            return answer_well(body)
        return Reply(413, "<html><h1>413 Request Entity Too Large</h1></html>", content_type="text/html")

    vlm.behave = proxy
    plan = rendered(place, model_profile="qwen2.5-vl")
    with pytest.raises(VlmSetupError, match=r"413 Request Entity Too Large.*proxy"):
        caption(place, plan, vlm)


def test_a_server_that_fails_at_every_image_loses_no_row(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: error(500, "EngineCore encountered an issue.")
    plan = rendered(place)
    with pytest.raises(VlmUnavailableError, match="EngineCore encountered an issue"):
        caption(place, plan, vlm, patience_seconds=5.0)
    vlm.behave = lambda number, body: answer_well(body)
    assert [counts.asked for counts in caption(place, plan, vlm)] == [ROWS]


@pytest.mark.parametrize("in_flight", [1, 2, 256])
def test_a_refusal_says_nothing_of_all_while_others_are_answered(place: Place, vlm: FakeVlm, in_flight: int) -> None:
    # One region is refused in every row, also with a plain picture; the other is answered, before, beside or after it.
    refused: set[str] = set()
    all_refused, answers = threading.Event(), itertools.count(1)

    def behave(_: int, body: dict[str, Any]) -> Reply:
        schema = body["response_format"]["json_schema"]["schema"]
        if schema["required"] == ["<region2>"]:
            refused.add(body["messages"][1]["content"][0]["image_url"]["url"])
            if len(refused) >= ROWS:
                all_refused.set()
            return error(400, "no second region here")
        # Where several are under way, the last answer comes after the last refusals, on whatever machine.
        if next(answers) == ROWS and in_flight > 1:
            all_refused.wait(5)
        return replace(answer_well(body), delay=0.2 if in_flight > 1 else 0.0)

    vlm.behave = behave
    plan = rendered(place, caption_mode="per_region", max_rejected_ratio=1)
    caption(place, plan, vlm, max_in_flight=in_flight)
    assert publish(place, plan).manifest.counts.rejected == ROWS


def test_what_a_server_says_is_told_in_a_line_and_never_nothing(place: Place, vlm: FakeVlm) -> None:
    plan = rendered(place)
    for body, told in (
        ("", "HTTP 400, without a word"),
        ('{"error": {"message": "no\\n\\u001b[31mway"}}', "no [31mway"),
    ):
        vlm.behave = lambda number, request, body=body: Reply(400, body)
        with pytest.raises(VlmSetupError) as error_told:
            caption(place, plan, vlm)
        assert told in str(error_told.value)


def test_what_one_row_is_refused_for_is_that_rows_fault(place: Place, vlm: FakeVlm) -> None:
    odd_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm)
    published = publish(place, plan)
    assert (published.manifest.counts.captioned, published.manifest.counts.rejected) == (ROWS - 1, 1)
    (row,) = rejected(place)
    assert row["code"] == "request_refused" and "the image is odd" in row["reason"]


def test_one_row_alone_is_not_taken_for_all(tmp_path: Path, vlm: FakeVlm) -> None:
    place = Place(tmp_path / "other")
    place.good_rows(1)
    odd_at_first_image(vlm)
    plan = rendered(place, max_rejected_ratio=1)
    caption(place, plan, vlm)
    assert [row["code"] for row in (publish(place, plan), rejected(place))[1]] == ["request_refused"]


def test_each_try_asks_once_more_what_was_refused_and_nothing_else(place: Place, vlm: FakeVlm) -> None:
    odd = odd_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm)
    for _ in range(2):
        vlm.requests.clear()
        (counts,) = caption(place, plan, vlm)
        assert (counts.kept, counts.asked) == (ROWS - 1, 1)
        assert asked_images(vlm)[0] == odd[0]
    vlm.behave = lambda number, body: answer_well(body)
    caption(place, plan, vlm)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def test_a_run_of_a_drop_that_is_published_without_a_refused_row_asks_for_it_once_more(
    place: Place, vlm: FakeVlm
) -> None:
    odd_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm)
    first = publish(place, plan)

    again = rendered(place, run_id="run-2")
    assert not again.unchanged
    vlm.requests.clear()
    assert [counts.asked for counts in caption(place, again, vlm)] == [1]
    second = publish(place, again)
    assert second.unchanged and second.manifest.build_id == first.manifest.build_id

    vlm.behave = lambda number, body: answer_well(body)
    third = rendered(place, run_id="run-3")
    assert [counts.asked for counts in caption(place, third, vlm)] == [1]
    built = publish(place, third)
    assert not built.unchanged and built.manifest.counts.captioned == ROWS
    assert rendered(place, run_id="run-4").unchanged


def test_a_refusal_in_another_shard_of_the_published_build_is_asked_about_once_more(place: Place, vlm: FakeVlm) -> None:
    odd_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm)
    publish(place, plan)
    vlm.behave = lambda number, body: answer_well(body)
    again = rendered(place, shard_size=5)
    counts = caption(place, again, vlm)
    assert (sum(count.taken_over for count in counts), sum(count.asked for count in counts)) == (ROWS - 1, 1)
    assert publish(place, again).manifest.counts.captioned == ROWS


def ends_at_first_image(vlm: FakeVlm) -> list[dict[str, Any]]:
    """One row ends the server, whichever comes first; returns the requests about it, as they come."""
    about_it: list[dict[str, Any]] = []

    def behave(_: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]
        if about_it and image != about_it[0]["messages"][1]["content"][0]:
            return answer_well(body)
        about_it.append(body)
        return Reply(ends=True)

    vlm.behave = behave
    return about_it


@pytest.mark.parametrize("in_flight", [1, 3, 64])
def test_a_row_that_ends_the_server_each_time_is_rejected_and_the_others_are_captioned(
    place: Place, vlm: FakeVlm, in_flight: int
) -> None:
    about_it = ends_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm, max_in_flight=in_flight)
    assert 3 <= len(about_it) <= 9
    assert publish(place, plan).manifest.counts.captioned == ROWS - 1
    (row,) = rejected(place)
    assert row["code"] == "request_refused" and "ended 3 times while it was asked nothing but this" in row["reason"]


def test_a_row_that_ended_a_server_is_asked_about_again_only_where_the_server_or_a_setting_is_another(
    place: Place, vlm: FakeVlm
) -> None:
    about_it = ends_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm)
    first = publish(place, plan)
    vlm.requests.clear()

    again = rendered(place, run_id="run-2")
    caption(place, again, vlm)
    assert publish(place, again).manifest.build_id == first.manifest.build_id
    place.put_rows(*reversed([json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]))
    other_order = rendered(place, run_id="run-3")
    caption(place, other_order, vlm)
    assert publish(place, other_order).manifest.counts.rejected == 1
    assert vlm.requests == []

    vlm.behave = lambda number, body: answer_well(body)
    vlm.context = 8192
    mended = rendered(place, run_id="run-4")
    assert [counts.asked for counts in caption(place, mended, vlm)] == [1]
    assert publish(place, mended).manifest.counts.captioned == ROWS
    assert vlm.requests[0]["messages"] == about_it[0]["messages"]


def test_an_answer_counts_more_than_a_refusal_whichever_was_written_last(place: Place, vlm: FakeVlm) -> None:
    odd_at_first_image(vlm)
    plan = rendered(place)
    caption(place, plan, vlm)
    vlm.behave = lambda number, body: answer_well(body)
    caption(place, plan, vlm)
    # As from a worker whose clock is slow.
    shard = place.work.sub(f"shards/{plan.shards[0]}/")
    parts = [entry.path for entry in shard.list("answers/")]
    shard.write("answers/0-early.jsonl", shard.read(parts[-1]))
    shard.delete(parts[-1])
    assert publish(place, plan).manifest.counts.captioned == ROWS


@pytest.mark.parametrize("fields", [{"usage": None}, {"usage": {"prompt_tokens": None, "completion_tokens": None}}])
def test_a_server_that_does_not_count_tokens_answers_all_the_same(
    place: Place, vlm: FakeVlm, fields: dict[str, Any]
) -> None:
    def behave(_: int, body: dict[str, Any]) -> Reply:
        return Reply(body=json.dumps(json.loads(answer_well(body).body) | fields))

    vlm.behave = behave
    plan = rendered(place)
    caption(place, plan, vlm)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def test_an_answer_in_parts_is_their_text(place: Place, vlm: FakeVlm) -> None:
    def behave(_: int, body: dict[str, Any]) -> Reply:
        reply = json.loads(answer_well(body).body)
        text = reply["choices"][0]["message"]["content"]
        reply["choices"][0]["message"]["content"] = [
            {"type": "text", "text": text[:9]},
            {"type": "text", "text": text[9:]},
        ]
        return Reply(body=json.dumps(reply))

    vlm.behave = behave
    plan = rendered(place)
    caption(place, plan, vlm)
    assert publish(place, plan).manifest.counts.captioned == ROWS


def test_text_on_a_sign_may_have_quotation_marks_and_line_ends(place: Place, vlm: FakeVlm) -> None:
    def behave(_: int, body: dict[str, Any]) -> Reply:
        schema = body["response_format"]["json_schema"]["schema"]
        # Bounds of the length would let no escape through.
        assert all(caption == {"type": "string"} for caption in schema["properties"].values())
        return completion('{"<region1>": "a sign: \\"Stop\\"\nin red", "<region2>": "a C:\\\\ prompt"}')

    vlm.behave = behave
    plan = rendered(place)
    caption(place, plan, vlm)
    publish(place, plan)
    manifest, _ = current(place.partition)
    assert manifest is not None
    record = json.loads(place.partition.read(manifest.captions[0].path).splitlines()[0])
    assert [region["caption"] for region in record["regions"]] == ['a sign: "Stop" in red', "a C:\\ prompt"]
