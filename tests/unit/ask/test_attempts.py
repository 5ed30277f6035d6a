"""When the model is asked again."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from regioncap.errors import (
    StepMissingError,
    VlmSetupError,
    VlmUnavailableError,
)
from tests.builders import Place, encoded, picture
from tests.fake_vlm import FakeVlm, Reply, answer_well, completion, error
from tests.steps import ASKING, build, caption, propose, publish, records, rejected, render, validate


def test_only_the_regions_that_failed_are_asked_about_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: (
        completion('{"<region1>": "a red door", "<region2>": " "}') if number == 0 else answer_well(body)
    )
    build(place, vlm)
    (record,) = records(place)
    assert record["answer"] == "<region1>: a red door\n<region2>: what is in <region2>"
    assert record["attempts"] == 2
    first, again = vlm.requests
    assert again["messages"][1]["content"][:2] == first["messages"][1]["content"]
    assert again["messages"][1]["content"][2]["text"] == "Describe only these regions: <region2>."
    assert again["response_format"]["json_schema"]["schema"]["required"] == ["<region2>"]
    # At temperature 0 and with the same seed there would be the same answer.
    assert (again["seed"], again["temperature"]) == (43, 0.3)


def test_an_answer_that_is_cut_off_is_asked_for_again_with_more_room(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: (
        completion('{"<region1>": "a door, which', "length") if body["max_tokens"] < 2000 else answer_well(body)
    )
    build(place, vlm)
    assert records(place)[0]["attempts"] == 3
    assert [request["max_tokens"] for request in vlm.requests] == [512, 1024, 2048]


def test_a_row_is_given_up_after_so_many_attempts_however_often_the_task_is_run(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    vlm.behave = lambda number, body: completion("{}")
    plan = place.plan(max_attempts=4, max_rejected_ratio=1)
    render(place, plan)
    assert [counts.asked for counts in caption(place, plan, vlm)] == [8]
    assert [counts.asked for counts in caption(place, plan, vlm)] == [0]
    validate(place, plan)
    publish(place, plan)
    assert {row["code"] for row in rejected(place).values()} == {"empty"}


def test_a_further_attempt_that_the_server_refuses_leaves_the_first_ones_error(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: completion('{"<region1>": "a', "length") if number == 0 else error(400)
    build(place, vlm, max_rejected_ratio=1)
    assert [row["code"] for row in rejected(place).values()] == ["cut_off"]


def test_a_task_that_is_killed_between_two_attempts_goes_on_with_the_second(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan(max_attempts=2)
    render(place, plan)
    vlm.behave = lambda number, body: completion('{"<region1>": "a red door"}') if number == 0 else error(401)
    with pytest.raises(VlmSetupError):
        caption(place, plan, vlm)
    vlm.behave = lambda number, body: answer_well(body)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert records(place)[0]["answer"] == "<region1>: a red door\n<region2>: what is in <region2>"
    assert len(vlm.requests) == 3


def test_an_unanswered_request_is_not_published_as_a_rejected_row(place: Place) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    with pytest.raises(StepMissingError, match="clear the shard's caption task"):
        validate(place, plan)


def _after_a_first_answer_without_region_2(place: Place, vlm: FakeVlm, further: str, **changes: object) -> None:
    """Three regions; the first answer lacks the second one, a question about it alone gets `further`."""
    place.put("scene.jpg", encoded(picture(300, 200)))
    place.put_rows({"image": "scene.jpg", "bbox": [[10, 10, 60, 60], [100, 20, 60, 60], [200, 100, 60, 60]]})
    first = "<region1>: a red door\n<region3>: a stone well"

    def behave(number: int, body: dict[str, Any]) -> Reply:
        if number == 0:
            return completion(first)
        about_part = "Describe only" in str(body["messages"])
        return completion(further if about_part else "<region1>: a cup\n<region2>: a cat\n<region3>: a plate")

    vlm.behave = behave
    build(place, vlm, answer_format="free_text", **changes)


def test_a_further_answer_about_all_marked_regions_gives_the_one_that_was_asked_about(
    place: Place, vlm: FakeVlm
) -> None:
    _after_a_first_answer_without_region_2(place, vlm, "<region1>: a cup\n<region2>: a cat\n<region3>: a plate")
    (record,) = records(place)
    assert [region["caption"] for region in record["regions"]] == ["a red door", "a cat", "a stone well"]
    assert record["attempts"] == 2


@pytest.mark.parametrize("further", ["<region1>: a cat", "1. a cat"])
def test_a_model_that_counts_a_part_from_1_is_asked_about_all_once_more(
    place: Place, vlm: FakeVlm, further: str
) -> None:
    _after_a_first_answer_without_region_2(place, vlm, further)
    (record,) = records(place)
    assert [region["caption"] for region in record["regions"]] == ["a red door", "a cat", "a stone well"]
    assert record["attempts"] == 3


def ended(reply: Reply, finish_reason: str | None, **usage: int) -> Reply:
    """The reply, whose answer ended so."""
    body = json.loads(reply.body)
    body["choices"][0]["finish_reason"] = finish_reason
    body["usage"] |= usage
    return Reply(body=json.dumps(body))


@pytest.mark.parametrize("finish_reason", ["abort", "error", None, "none", "moonrise"])
def test_an_answer_that_its_server_stopped_is_asked_for_again_as_it_was_and_costs_no_attempt(
    place: Place, vlm: FakeVlm, finish_reason: str | None
) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: ended(answer_well(body), finish_reason if number < 2 else "stop")
    build(place, vlm, max_attempts=1)
    (record,) = records(place)
    assert record["attempts"] == 1
    assert len(vlm.requests) == 3 and vlm.requests[0] == vlm.requests[2]


@pytest.mark.parametrize("finish_reason", ["abort", None])
def test_a_row_whose_every_answer_is_stopped_is_rejected_and_asked_about_once_more_by_the_next_run(
    place: Place, vlm: FakeVlm, finish_reason: str | None
) -> None:
    place.good_rows(3)
    victim: list[str] = []

    def behave(_: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]["image_url"]["url"]
        victim[:] = victim or [image]
        return ended(answer_well(body), finish_reason if image == victim[0] else "stop")

    vlm.behave = behave
    build(place, vlm, max_rejected_ratio=1)
    (row,) = rejected(place).values()
    assert row["code"] == "cut_off" and f"finish_reason {finish_reason!r}" in row["reason"]
    vlm.behave = lambda number, body: answer_well(body)
    assert not build(place, vlm, run_id="run-2", max_rejected_ratio=1).unchanged
    assert len(records(place)) == 3


def paused_after(vlm: FakeVlm, number: int, answers: float = math.inf) -> Callable[[int, dict[str, Any]], Reply]:
    """A server that is paused once it has got so many requests, until it has ended so many answers."""

    def behave(count: int, body: dict[str, Any]) -> Reply:
        if count + 1 == number:
            vlm.paused = answers
        return answer_well(body)

    return behave


@pytest.mark.parametrize("in_flight", [1, 64])
def test_a_server_that_is_paused_costs_no_row_and_is_waited_for(place: Place, vlm: FakeVlm, in_flight: int) -> None:
    place.good_rows(6)
    plan = place.plan()
    render(place, plan)
    vlm.behave = paused_after(vlm, 2, answers=10)
    caption(place, plan, vlm, max_in_flight=in_flight)
    assert vlm.paused == 0
    validate(place, plan)
    publish(place, plan)
    assert [record["attempts"] for record in records(place)] == [1] * 6


def test_a_server_that_stays_paused_ends_the_task_after_the_patience(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    vlm.behave = paused_after(vlm, 1)
    with pytest.raises(VlmUnavailableError, match="finish_reason 'abort'"):
        caption(place, plan, vlm, max_in_flight=1, patience_seconds=1.0)
    vlm.behave, vlm.paused = lambda number, body: answer_well(body), 0
    assert [counts.asked for counts in caption(place, plan, vlm)] == [2]


def test_what_a_content_filter_ends_has_a_code_of_its_own(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: ended(answer_well(body), "content_filter")
    build(place, vlm, max_rejected_ratio=1)
    assert [row["code"] for row in rejected(place).values()] == ["content_filter"]
    assert len(vlm.requests) == 3


def test_a_call_of_a_tool_is_no_answer(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: ended(answer_well(body), "tool_calls" if number == 0 else "stop")
    build(place, vlm)
    assert records(place)[0]["attempts"] == 2


@pytest.mark.parametrize("finish_reason", ["length", "MAX_TOKENS"])
def test_at_the_edge_of_the_context_it_is_said_that_the_context_is_full_and_no_more_tokens_are_asked_for(
    place: Place, vlm: FakeVlm, finish_reason: str
) -> None:
    place.good_rows(1)
    vlm.context = 1417

    def behave(_: int, body: dict[str, Any]) -> Reply:
        if body["max_tokens"] > 512:
            return error(400, "This model's maximum context length is 1417 tokens.")
        cut = completion('{"<region1>": "a door, which')
        return ended(cut, finish_reason, prompt_tokens=1230, completion_tokens=187)

    vlm.behave = behave
    build(place, vlm, max_rejected_ratio=1)
    (row,) = rejected(place).values()
    assert row["code"] == "cut_off"
    assert "the context was full: 1230 tokens of the question and 187 of the answer" in row["reason"]
    assert "--max-model-len" in row["reason"]
    assert {request["max_tokens"] for request in vlm.requests} == {512}


def test_twice_the_tokens_are_asked_for_as_far_as_the_context_has_room_for_them(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.context = 2600
    cut = completion('{"<region1>": "a door, which')
    vlm.behave = lambda number, body: ended(cut, "length", prompt_tokens=1230, completion_tokens=body["max_tokens"])
    build(place, vlm, max_rejected_ratio=1)
    assert [request["max_tokens"] for request in vlm.requests] == [512, 1024, 2600 - 1230 - 64]
    (row,) = rejected(place).values()
    assert "cut off at max_tokens; raise max_tokens" in row["reason"]


def test_proposals_that_a_content_filter_ended_have_its_code(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg"})
    plan = place.plan(max_rejected_ratio=1, **ASKING)
    vlm.behave = lambda number, body: ended(completion("I can't help"), "content_filter")
    propose(place, plan, vlm)
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert [row["code"] for row in rejected(place).values()] == ["content_filter"]
