"""What a build has paid for: each answer once, whichever try or run asked for it, and nothing of another build."""

from dataclasses import replace
from pathlib import Path

import pytest

from regioncap.config.prices import Prices
from regioncap.errors import CeilingError, VlmSetupError
from regioncap.report.cost import Cost
from regioncap.report.figures import load_report
from regioncap.steps.publish import Published
from regioncap.work import layout
from tests.builders import Place, encoded, picture
from tests.fake_vlm import FakeVlm, answer_well, completion, error, odd_at_first_image
from tests.listening import Knowing, heard, rows
from tests.steps import ASKING, build, caption, judge, propose, publish, render, validate

ROWS = 12
# What the fake VLM tells of each answer.
READ, WRITTEN = 10, 5


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.good_rows(ROWS)
    return place


def cost_of(place: Place, published: Published) -> Cost:
    report = load_report(place.partition, published.manifest)
    assert report is not None and report.cost is not None
    return report.cost


def tokens(cost: Cost) -> tuple[int, int, int]:
    return cost.requests, cost.prompt_tokens, cost.completion_tokens


def of(requests: int) -> tuple[int, int, int]:
    return requests, READ * requests, WRITTEN * requests


def test_a_build_costs_its_answers_and_the_time_in_which_they_were_under_way(place: Place, vlm: FakeVlm) -> None:
    vlm.behave = lambda _, body: replace(answer_well(body), delay=0.05)
    cost = cost_of(place, build(place, vlm, judge="none"))
    assert tokens(cost) == of(ROWS)
    assert (cost.servers, cost.unknown_tasks) == (1, 0)
    assert cost.server_seconds >= 0.05
    assert (cost.money, cost.currency, cost.per_thousand_captions) == (None, None, None)


def test_further_attempts_and_boxes_that_are_asked_for_cost_too(place: Place, vlm: FakeVlm) -> None:
    place.put("x.jpg", encoded(picture(colour=(1, 2, 3))))
    place.put_rows({"image": "x.jpg"}, name="more.jsonl")
    plan = place.plan(judge="none", max_attempts=2, **ASKING)
    propose(place, plan, vlm)
    render(place, plan)
    boxes = len(vlm.requests)
    vlm.behave = lambda number, body: completion("I see.") if number == boxes else answer_well(body)
    caption(place, plan, vlm)
    validate(place, plan)
    asked = len(vlm.requests)
    assert asked == 1 + ROWS + 1 + 1, "boxes, a caption each, and one again"
    assert tokens(cost_of(place, publish(place, plan))) == of(asked)


def test_all_tries_of_a_task_are_paid_for_and_each_answer_once(place: Place, vlm: FakeVlm) -> None:
    plan = place.plan(judge="none")
    render(place, plan)
    vlm.behave = lambda number, body: answer_well(body) if number < 5 else error(401)
    with pytest.raises(VlmSetupError):
        caption(place, plan, vlm, max_in_flight=1)
    vlm.behave = lambda _, body: answer_well(body)
    for _ in range(2):
        caption(place, plan, vlm)
    validate(place, plan)
    assert tokens(cost_of(place, publish(place, plan))) == of(ROWS)


def test_runs_that_stopped_at_a_ceiling_belong_to_the_build_that_comes_of_them(place: Place, vlm: FakeVlm) -> None:
    stopped = place.plan(judge="none", max_requests=5)
    render(place, stopped)
    with pytest.raises(CeilingError):
        caption(place, stopped, vlm)
    assert tokens(cost_of(place, build(place, vlm, run_id="run-2", judge="none"))) == of(ROWS)


def test_what_is_taken_over_from_the_published_build_costs_nothing(place: Place, vlm: FakeVlm) -> None:
    build(place, vlm, judge="none")
    place.put("new.jpg", encoded(picture(colour=(1, 2, 3))))
    place.put_rows({"image": "new.jpg", "bbox": [[10, 10, 40, 30], [60, 20, 50, 50]]}, name="more.jsonl")
    published = build(place, vlm, run_id="run-2", judge="none")
    assert tokens(cost_of(place, published)) == of(1)
    page = place.partition.read(f"{published.manifest.build}/report.html").decode()
    assert f"What an earlier build has paid for cost nothing: {ROWS} questions." in page


def test_asking_once_more_for_a_row_that_was_refused_costs_that_request_alone(place: Place, vlm: FakeVlm) -> None:
    odd_at_first_image(vlm)
    assert tokens(cost_of(place, build(place, vlm, judge="none"))) == of(ROWS - 1)
    vlm.behave = lambda _, body: answer_well(body)
    assert tokens(cost_of(place, build(place, vlm, run_id="run-2", judge="none"))) == of(1)


def test_the_judges_questions_and_second_askings_are_paid_for_and_each_once(
    tmp_path: Path, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    rows(place, ROWS)
    knowing = Knowing({("row-3", 2): "a tiny violet spoon"})
    vlm.behave = knowing
    vlm.greets_listening = lambda _: heard(["1"], 1)
    monkeypatch.setattr("regioncap.steps.judge.draw_sheet", knowing.draw_sheet)
    plan = place.plan(judge="all", judge_again="ask_again")
    render(place, plan)
    knowing.learn(place, plan)
    caption(place, plan, vlm)
    captions = len(vlm.requests)
    for _ in range(2):
        judge(place, plan, vlm)
    assert len(vlm.requests) > captions + len(knowing.asked), "something was asked again"
    validate(place, plan)
    cost = cost_of(place, publish(place, plan))
    assert (cost.requests, cost.unknown_tasks) == (len(vlm.requests), 0)


def test_where_there_are_prices_the_report_says_what_it_cost_in_all_and_for_a_thousand_captions(
    place: Place, vlm: FakeVlm
) -> None:
    prices = Prices(currency="EUR", prompt_million=2000.0, completion_million=10_000.0)
    plan = place.plan(judge="none").model_copy(update={"prices": prices})
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    published = publish(place, plan)
    cost = cost_of(place, published)
    assert cost.money == pytest.approx(ROWS * (READ * 0.002 + WRITTEN * 0.01))
    # Two regions each.
    assert cost.per_thousand_captions == pytest.approx(1000 * 0.07 / 2)
    assert (cost.currency, cost.prices) == ("EUR", prices.model_dump(exclude={"currency"}))
    page = place.partition.read(f"{published.manifest.build}/report.html").decode()
    assert "0.84 EUR, 35.00 a thousand captions: 120 tokens read and 60 written, by 12 requests" in page


def test_of_a_shard_whose_counts_are_lost_the_report_says_that_its_cost_is_missing(place: Place, vlm: FakeVlm) -> None:
    plan = place.plan(judge="none")
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    place.work.sub(layout.plan_shard_path(plan.plan_id, plan.shards[0])).delete(layout.CAPTION_COUNTS)
    cost = cost_of(place, publish(place, plan))
    assert (tokens(cost), cost.unknown_tasks) == (of(0), 1)
