"""What the listener is asked, when it is asked again, and what is made of its answers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from regioncap.ask.attempts import Attempts, follow_attempts
from regioncap.ask.listening import (
    agreed,
    better,
    by_choice,
    draw_sheet,
    drawn_regions,
    follow_listening,
    least_sure,
    listening_request,
    regions_to_ask_again,
    second_askings,
    second_plan,
    sheets_of,
    sure_of,
)
from regioncap.ask.requests import first_requests
from regioncap.regions.records import RenderedRow
from regioncap.trust.questions import Question
from regioncap.trust.scores import Scored
from regioncap.vlm.completion import SURE, Completion
from regioncap.work.plan import Plan
from tests.builders import encoded, marked_row, picture, planned

CAPTIONS = {1: "a red door", 2: "a grey cat", 3: "two old chairs"}
RED = Question("0", 1, CAPTIONS[1], "own")


def row(**changes: Any) -> RenderedRow:
    return marked_row(0, 3).model_copy(update={"unmarked": "unmarked-0", **changes})


def plan(**changes: Any) -> Plan:
    return planned(judge="all", **changes).model_copy(update={"judge_share": 1.0})


def heard(key: str, probabilities: dict[str, float]) -> dict[str, Completion]:
    return {key: Completion(key=key, text="1", finish_reason="length", probabilities=probabilities)}


def scored(region: int, trust: float, caption: str = "", kind: Any = "own") -> Scored:
    return Scored("0", region, kind, caption or CAPTIONS[region], trust, None if trust >= 0.5 else 0)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ({"1": 0.5, "2": 0.25, "none": 0.25}, {"1": 0.5, "2": 0.25, "none": 0.25}),
        # With the space that a tokenizer may put before a word, or the beginning of one.
        ({" 1": 0.5, "no": 0.25, "n": 0.25}, {"1": 0.5, "2": 0.0, "none": 0.5}),
        # What is no choice is not counted, where there is little of it.
        ({"1": 0.75, "The": 0.25}, {"1": 1.0, "2": 0.0, "none": 0.0}),
        ({"1": 0.4, "The": 0.6}, None),
        ({"": 1.0}, None),
        ({}, None),
    ],
)
def test_the_first_token_says_how_likely_each_choice_is(
    tokens: dict[str, float], expected: dict[str, float] | None
) -> None:
    assert by_choice(tokens, ["1", "2", "none"]) == expected


def test_a_question_asks_for_one_token_with_its_probabilities_after_the_captions_own_beginning() -> None:
    sheet = sheets_of(row(), CAPTIONS, 0)[0]
    request = listening_request(row(), plan(), sheet, RED)
    (first,) = first_requests(row(), plan())
    assert request.system == first.system
    assert [part.kind for part in request.parts] == ["image", "text"]
    assert '"a red door"' in request.parts[1].value
    assert request.options["structured_outputs"] == {"choice": ["1", "2", "3", "none"]}
    assert (request.options["max_tokens"], request.options["temperature"]) == (1, 0)
    assert request.options["logprobs"] is True
    assert request.about == first.about


def test_extras_are_sent_but_change_nothing_of_how_an_answer_is_bound() -> None:
    extras = {"chat_template_kwargs": {"enable_thinking": False}, "logprobs": False}
    request = listening_request(row(), plan(request_extras=extras), sheets_of(row(), CAPTIONS, 0)[0], RED)
    assert request.options["chat_template_kwargs"] == {"enable_thinking": False}
    assert request.options["logprobs"] is True


def test_another_judge_another_caption_and_other_marks_make_other_questions() -> None:
    sheet, again = sheets_of(row(), CAPTIONS, 0)[0], sheets_of(row(), CAPTIONS, 1)[0]
    keys = {
        listening_request(row(), plan(), sheet, RED).key,
        listening_request(row(), plan(), sheet, replace(RED, caption="a blue door")).key,
        listening_request(row(), plan(), again, RED).key,
        listening_request(row(marked="other marks"), plan(), sheet, RED).key,
        listening_request(row(), plan().model_copy(update={"judge_model": "another"}), sheet, RED).key,
    }
    assert len(keys) == 4 + (sheet.shown != again.shown)
    assert listening_request(row(), plan(), sheet, RED).key in keys


def test_what_is_found_at_once_is_asked_once_and_what_is_doubtful_under_another_shuffle() -> None:
    question = Question("0", 1, CAPTIONS[1], "own")
    first = follow_listening(row(), question, plan(), CAPTIONS, {})
    assert first.request is not None and first.sheet is not None and not first.heard
    number = str(first.sheet.number(1))
    sure = heard(first.request.key, {number: 0.95, "none": 0.05})
    done = follow_listening(row(), question, plan(), CAPTIONS, sure)
    assert done.request is None and [each.round for each in done.heard] == [0]
    doubtful = heard(first.request.key, {number: 0.3, "none": 0.7})
    asked = follow_listening(row(), question, plan(), CAPTIONS, doubtful)
    assert asked.sheet is not None and asked.sheet.round == 1 and len(asked.heard) == 1


def test_an_answer_that_was_refused_or_is_not_bound_says_nothing() -> None:
    question = Question("0", 1, CAPTIONS[1], "own")
    request = follow_listening(row(), question, plan(), CAPTIONS, {}).request
    assert request is not None
    refused = Completion(key=request.key, text="", finish_reason="refused", refused="no")
    chat = Completion(key=request.key, text="The", finish_reason="length", probabilities={"The": 1.0})
    silent = Completion(key=request.key, text="1", finish_reason="length")
    for completion, unbound in ((refused, False), (chat, True), (silent, True)):
        followed = follow_listening(row(), question, plan(), CAPTIONS, {request.key: completion})
        assert (followed.heard, followed.request, followed.unbound) == ([], None, unbound)


def test_regions_are_judged_only_where_the_image_was_kept_for_it() -> None:
    assert drawn_regions(row(), plan()) == [1, 2, 3]
    assert drawn_regions(row(unmarked=""), plan()) == []
    assert drawn_regions(row(), plan().model_copy(update={"judge_share": 0.0})) == []


def test_a_sheet_is_drawn_with_its_numbers_on_the_image_as_the_model_sees_it() -> None:
    unmarked = encoded(picture(256, 192))
    first, second = (draw_sheet(row(), sheets_of(row(), CAPTIONS, number)[0], plan(), unmarked) for number in (0, 1))
    assert first == draw_sheet(row(), sheets_of(row(), CAPTIONS, 0)[0], plan(), unmarked)
    shown = [sheets_of(row(), CAPTIONS, number)[0].shown for number in (0, 1)]
    assert (first == second) == (shown[0] == shown[1])


def test_doubted_captions_are_asked_for_again_and_with_auto_those_that_are_hard_to_tell() -> None:
    scores = [scored(1, 0.9), scored(2, 0.2), scored(3, 0.9), scored(1, 0.1, "a lamp", "foreign")]
    large = [{"bbox": [200 * number, 10, 150, 150]} for number in range(3)]
    seen = row(regions=[each.model_copy(update=box) for each, box in zip(row().regions, large, strict=True)])
    assert regions_to_ask_again(seen, plan(), CAPTIONS, scores) == [2]
    auto = plan(caption_mode="auto")
    assert regions_to_ask_again(seen, auto, CAPTIONS, scores) == [2]
    assert regions_to_ask_again(seen, auto, {**CAPTIONS, 3: "A red door."}, scores) == [1, 2, 3]
    small = row(regions=[seen.regions[0].model_copy(update={"bbox": [10, 10, 9, 9]}), *seen.regions[1:]])
    assert regions_to_ask_again(small, auto, CAPTIONS, scores) == [1, 2]
    covered = row(regions=[*seen.regions[:2], seen.regions[2].model_copy(update={"bbox": [20, 20, 100, 100]})])
    assert regions_to_ask_again(covered, auto, CAPTIONS, scores) == [2, 3]
    assert regions_to_ask_again(seen, auto, CAPTIONS, scores, {3}) == [2, 3]
    assert regions_to_ask_again(seen, plan(), CAPTIONS, scores, {3}) == [2]


def test_how_sure_a_caption_is_is_told_by_its_least_likely_token() -> None:
    text = json.dumps({f"<region{region}>": caption for region, caption in CAPTIONS.items()})
    tokens = [(3, 0.5), (text.index(CAPTIONS[3]) + 2, 0.9), (text.index(CAPTIONS[3]) + 4, 0.7)]
    told = Completion(key="k", text=text, finish_reason="stop", unsure=tokens)
    silent = Completion(key="k", text=text, finish_reason="stop")
    assert sure_of([Attempts(dict(CAPTIONS), used=[told])]) == {1: 1.0, 2: 1.0, 3: 0.7}
    assert sure_of([Attempts(dict(CAPTIONS), used=[silent])]) == dict.fromkeys(CAPTIONS)
    # It is not in the text as it stands: a mark was taken off, say.
    assert sure_of([Attempts({1: "another"}, used=[told])]) == {1: None}


def test_the_model_was_unsure_of_an_eighth_of_its_captions_at_most() -> None:
    some: dict[tuple[str, int], float | None] = {("a", number): 0.5 + number / 100 for number in range(1, 17)}
    assert least_sure(some) == {("a", 1), ("a", 2)}
    assert least_sure({**some, ("b", 1): None, ("b", 2): None}) == {("a", 1), ("a", 2)}
    assert least_sure({("a", 1): 1.0, ("a", 2): SURE}) == set()
    assert least_sure({("a", 1): 0.3}) == {("a", 1)}


def test_another_caption_is_kept_where_it_is_not_doubted_since_it_comes_of_a_closer_look() -> None:
    after = [scored(1, 0.8, "a lamp"), scored(2, 0.4, "a dog"), scored(3, 0.7, "a stool")]
    assert [(score.region, score.caption) for score in better(after)] == [(1, "a lamp"), (3, "a stool")]


# ---- second askings


def second_completion(text: str, **changes: Any) -> dict[str, Completion]:
    """The answer to what is asked about region 1 the other way."""
    other = second_plan(plan().model_copy(update={"second_share": 1.0}))
    request = follow_attempts(row(crops=["c1", "c2", "c3"]), (1,), other, {}).request
    assert request is not None
    return {request.key: Completion(key=request.key, text=text, finish_reason="stop", **changes)}


def agreed_with(completions: dict[str, Completion], caption: str = "a red door") -> bool | None:
    """Whether they say the same of region 1."""
    other = second_plan(plan().model_copy(update={"second_share": 1.0}))
    own, planted = agreed(
        row(crops=["c1", "c2", "c3"]),
        [scored(1, 0.9, caption), scored(1, 0.1, "a tree", "foreign")],
        other,
        completions,
    )
    assert planted.agreed is None
    return own.agreed


def test_the_other_way_is_by_itself_where_all_were_asked_about_together_and_together_where_each_was_by_itself() -> None:
    joint, alone = (
        plan(caption_mode=mode, temperature=0.9).model_copy(update={"second_share": 1.0})
        for mode in ("joint", "per_region")
    )
    assert second_askings(row(), [1, 3], second_plan(joint)) == [(1,), (3,)]
    assert second_askings(row(), [1, 3], second_plan(alone)) == [(1, 2, 3)]
    assert second_askings(row(), [], second_plan(alone)) == []
    for each in (joint, alone):
        settings = second_plan(each).settings
        assert (settings.temperature, settings.max_attempts) == (0.0, 1)
    assert second_askings(row(), [1, 2, 3], second_plan(joint.model_copy(update={"second_share": 0.0}))) == []


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('{"<region1>": "A red door."}', True),
        ('{"<region1>": "a blue door"}', False),
        # What says nothing of the region is of no such opinion.
        ('{"<region1>": ""}', False),
        ("I cannot tell.", False),
    ],
)
def test_a_second_asking_says_the_same_or_it_does_not(text: str, same: bool) -> None:
    assert agreed_with(second_completion(text)) is same


def test_without_an_answer_nothing_is_known_of_a_second_opinion() -> None:
    assert agreed_with({}) is None
    assert agreed_with(second_completion("", refused="At most 1 image may be provided")) is None
