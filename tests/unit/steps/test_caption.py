"""`caption`: what is asked, and what was answered before."""

import asyncio
import json
import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from regioncap.ask.asking import AskProgress, CompletionSink
from regioncap.ask.status import BuildStatus
from regioncap.errors import (
    VlmSetupError,
    VlmUnavailableError,
)
from regioncap.steps.caption import caption_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.warehouse.manifest import current
from regioncap.work import layout
from regioncap.work.completions import load_completions
from tests.builders import Place, encoded, picture
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well
from tests.steps import (
    BOXES,
    build,
    caption,
    endpoint,
    records,
    render,
)


def test_answers_are_kept_and_only_missing_ones_are_asked(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(6)
    plan = place.plan()
    render(place, plan)
    vlm.behave = lambda number, body: answer_well(body) if number < 4 else Reply(503)
    with pytest.raises(VlmUnavailableError):
        caption(place, plan, vlm, max_in_flight=1, patience_seconds=1.0)
    vlm.behave = lambda _, body: answer_well(body)
    (counts,) = caption(place, plan, vlm)
    assert (counts.questions, counts.kept, counts.asked) == (6, 4, 2)


def test_answers_whose_flush_is_cancelled_are_kept(place: Place) -> None:
    class SlowStore(LocalStore):
        def write(self, path: str, data: bytes) -> None:
            time.sleep(0.1)
            super().write(path, data)

    store = SlowStore(place.folder / "work")

    async def flush_and_cancel() -> None:
        sink = CompletionSink(store, layout.ANSWERS, questions=4, images=4, kept=0, progress=lambda at: None)
        flushes = []
        for key in "abc":
            sink.add(Completion(key=key, text="", finish_reason="stop"))
            flushes.append(asyncio.create_task(sink.flush()))
            await asyncio.sleep(0)
        # One write is under way, the others wait for it.
        for flush in flushes:
            flush.cancel()
        sink.add(Completion(key="d", text="", finish_reason="stop"))
        await sink.close()

    asyncio.run(flush_and_cancel())
    assert set(load_completions(store, layout.ANSWERS)) == set("abcd")


def test_answers_that_could_not_be_written_go_with_the_next_flush(place: Place) -> None:
    class FlakyStore(LocalStore):
        fails = True

        def write(self, path: str, data: bytes) -> None:
            if self.fails:
                raise ConnectionError("the bucket is away")
            super().write(path, data)

    store = FlakyStore(place.folder / "work")

    async def flush_twice() -> None:
        sink = CompletionSink(store, layout.ANSWERS, questions=2, images=2, kept=0, progress=lambda at: None)
        sink.add(Completion(key="a", text="", finish_reason="stop"))
        with pytest.raises(ConnectionError):
            await sink.flush()
        store.fails = False
        sink.add(Completion(key="b", text="", finish_reason="stop"))
        await sink.close()

    asyncio.run(flush_twice())
    assert set(load_completions(store, layout.ANSWERS)) == set("ab")


def test_where_there_is_nothing_to_ask_no_server_is_needed(place: Place, vlm: FakeVlm) -> None:
    class Absent:
        model = MODEL
        served = None

        def open(self) -> AbstractContextManager[Endpoint]:
            raise AssertionError("a server was wanted")

    place.good_rows(2)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    counts = caption_shard(work=place.work, shard_id=plan.shards[0], plan=plan, vlm=Absent(), progress=lambda at: None)
    assert (counts.questions, counts.kept, counts.asked) == (2, 2, 0)


def test_a_rebuild_after_one_percent_of_the_rows_changed_asks_about_these(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(200)
    build(place, vlm, shard_size=64)
    asked = len(vlm.requests)
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    for changed in (17, 150):
        rows[changed]["bbox"] = [[20, 20, 30, 30]]
    place.put_rows(*rows)
    build(place, vlm, run_id="run-2", shard_size=64)
    assert len(vlm.requests) == asked + 2


def test_a_rebuild_asks_only_about_what_changed(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(20)
    build(place, vlm, shard_size=4)
    first = {record["image"]: record["answer"] for record in records(place)}
    asked = len(vlm.requests)
    # One row is gone, one has other boxes, one image is another, one row is new.
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    del rows[5]
    rows[8]["bbox"] = [[20, 20, 30, 30]]
    place.put(rows[12]["image"], encoded(picture(colour=(1, 2, 3))))
    place.put("new.jpg", encoded(picture(colour=(250, 2, 3))))
    rows.insert(10, {"image": "new.jpg", "bbox": BOXES})
    place.put_rows(*rows)
    build(place, vlm, run_id="run-2", shard_size=4)
    assert len(vlm.requests) == asked + 3
    second = {record["image"]: record["answer"] for record in records(place)}
    assert len(second) == 20
    assert all(second[image] == answer for image, answer in first.items() if image in second and image != "9.jpg")
    manifest, _ = current(place.partition)
    assert manifest is not None
    timings = json.loads(place.partition.read(f"{manifest.build}/report.json"))["timings"]
    # The rows of three shards are as they were, but for an image: the answers are in place.
    assert (timings["questions"], timings["kept"], timings["taken_over"], timings["asked"]) == (20, 11, 6, 3)
    # A third build takes over what the second had taken over.
    rows.append(rows.pop(0))
    place.put_rows(*rows)
    build(place, vlm, run_id="run-3", shard_size=4)
    assert len(vlm.requests) == asked + 3


def test_a_rebuild_after_a_run_that_found_nothing_to_do_takes_over_too(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    build(place, vlm)
    assert build(place, vlm, run_id="run-2").unchanged
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    place.put_rows(*rows[:3])
    build(place, vlm, run_id="run-3")
    assert (len(records(place)), len(vlm.requests)) == (3, 4)


def test_a_rebuild_without_the_old_work_area_asks_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    build(place, vlm)
    shutil.rmtree(place.folder / "warehouse" / "_work")
    place.put("note.txt", b"the drop has changed")
    build(place, vlm, run_id="run-2")
    assert len(vlm.requests) == 6


def test_equal_rows_ask_once(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": BOXES}, {"image": "a.jpg", "bbox": BOXES})
    build(place, vlm)
    assert len(vlm.requests) == 1
    first, second = records(place)
    assert first["answer"] == second["answer"] and first["id"] != second["id"]


def test_progress_ends_with_everything_done(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    seen: list[AskProgress] = []
    caption_shard(work=place.work, shard_id=plan.shards[0], plan=plan, vlm=endpoint(vlm), progress=seen.append)
    assert (seen[-1].done, seen[-1].questions) == (3, 3)


@pytest.mark.parametrize("caption_mode", ["joint", "per_region"])
def test_how_far_a_build_is_can_be_read_from_its_work_area(place: Place, vlm: FakeVlm, caption_mode: str) -> None:
    place.good_rows(3)
    questions = 3 if caption_mode == "joint" else 6
    status = BuildStatus(place.work)
    assert status.update(None).questions == 0
    plan = place.plan(caption_mode=caption_mode)
    render(place, plan)
    before = status.update(plan.plan_id)
    assert (before.images, before.questions, before.answers) == (3, questions, 0)
    caption(place, plan, vlm)
    assert status.update(plan.plan_id).answers == questions
    # A build anew is asked everything again, though there are answers.
    again = place.plan(run_id="run-2", caption_mode=caption_mode, force_rebuild=True)
    assert BuildStatus(place.work).update(again.plan_id).answers == 0


def test_what_a_build_with_other_settings_left_does_not_count(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    build(place, vlm, caption_mode="joint")
    plan = place.plan(run_id="run-2", caption_mode="per_region")
    status = BuildStatus(place.work)
    assert status.update(plan.plan_id).questions == 0
    render(place, plan)
    after = status.update(plan.plan_id)
    assert (after.images, after.questions, after.answers) == (2, 4, 0)


def test_a_server_with_another_model_is_not_asked(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    vlm.models = ["another", "and-another"]
    with pytest.raises(VlmSetupError, match="serves another, and-another, not 'fake-model'"):
        caption(place, plan, vlm)
    assert vlm.requests == []


def test_force_rebuild_asks_again_and_its_retry_does_not(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    build(place, vlm)
    plan = place.plan(run_id="run-2", force_rebuild=True)
    render(place, plan)
    assert [counts.asked for counts in caption(place, plan, vlm)] == [2]
    assert [counts.asked for counts in caption(place, plan, vlm)] == [0]


def figures(vlm: FakeVlm, **seconds: float) -> str:
    """What a vLLM tells that took so long for each of the requests that came."""
    number = len(vlm.requests) + 1000
    lines = {"e2e_request_latency_seconds_count": number, **{name: number * each for name, each in seconds.items()}}
    return "".join(f'vllm:{name}{{engine="0"}} {value}\n' for name, value in lines.items())


def test_it_says_what_holds_it_back_and_what_to_set(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture
) -> None:
    place.good_rows(40)
    plan = place.plan()
    render(place, plan)
    # Most of the time is over before a request is in the queue.
    vlm.behave = lambda _, body: replace(answer_well(body), delay=0.05)
    vlm.figures = lambda: figures(vlm, request_queue_time_seconds_sum=0.001, request_decode_time_seconds_sum=0.004)
    with caplog.at_level("INFO"):
        (counts,) = caption(place, plan, vlm)
    assert "--api-server-count" in counts.held_back
    assert counts.held_back in caplog.messages


def test_of_a_server_that_tells_nothing_nothing_is_said(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture
) -> None:
    place.good_rows(40)
    plan = place.plan()
    render(place, plan)
    with caplog.at_level("INFO"):
        (counts,) = caption(place, plan, vlm)
    assert counts.held_back == ""
    assert not any("held back" in message for message in caplog.messages)
