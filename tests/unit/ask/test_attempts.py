"""When the model is asked again."""

import pytest

from regioncap.errors import (
    StepMissingError,
    VlmSetupError,
)
from tests.builders import Place
from tests.fake_vlm import FakeVlm, answer_well, completion, error
from tests.steps import build, caption, publish, records, rejected, render, validate


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
