"""A build is of one model, as its server tells of it: another one under the same name is no secret to anybody."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from regioncap.errors import OtherModelError, VlmSetupError
from regioncap.regions.served import Served
from regioncap.steps.caption import caption_shard
from regioncap.vlm.probe import tells
from regioncap.warehouse.manifest import Manifest, current
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from tests.builders import Place
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, completion, fake_vlm
from tests.listening import heard
from tests.steps import caption, endpoint, judge, publish, records, render, validate

A, B = {"root": "/models/a"}, {"root": "/models/b"}
ALL = {"judge": "all"}


def serve(vlm: FakeVlm, told: dict[str, str]) -> None:
    """Have it serve a model that says its own name, and tell that it does."""
    vlm.tells = told

    def say(_: int, body: dict[str, Any]) -> Reply:
        schema = body["response_format"]["json_schema"]["schema"]
        name = told.get("root", "unknown").rpartition("/")[2]
        return completion(json.dumps(dict.fromkeys(schema["required"], f"what model {name} sees there")))

    vlm.behave = say


def told(vlm: FakeVlm) -> Served | None:
    return asyncio.run(tells(endpoint(vlm)))


def caption_one(place: Place, plan: Plan, shard_id: str, vlm: FakeVlm) -> None:
    caption_shard(work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint(vlm), progress=lambda at: None)


def night(place: Place, vlm: FakeVlm, reached: bool = True, **changes: Any) -> tuple[bool, int]:
    """Build the date; returns whether there was nothing to do, and how many requests were sent.

    Unless the server is `reached`, the plan is made without it.
    """
    plan = place.plan(served=told(vlm) if reached else None, **changes)
    asked = len(vlm.requests)
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    return plan.unchanged, len(vlm.requests) - asked


def manifest(place: Place) -> Manifest:
    published, _ = current(place.partition)
    assert published is not None
    return published


def said(place: Place) -> set[str]:
    return {region["caption"].split()[2] for record in records(place) for region in record["regions"]}


def test_a_shard_that_finds_another_model_than_the_one_before_fails(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    plan = place.plan(shard_size=2)
    render(place, plan)
    vlm.tells = A
    caption_one(place, plan, plan.shards[0], vlm)
    vlm.tells = B
    with pytest.raises(OtherModelError, match=r"root is '/models/b' instead of '/models/a'.*clear the run's plan task"):
        caption_one(place, plan, plan.shards[1], vlm)
    # The other one is served again.
    vlm.tells = A
    caption_one(place, plan, plan.shards[1], vlm)


def test_what_a_server_answers_after_it_has_changed_its_model_is_not_kept(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    plan = place.plan()
    render(place, plan)
    serve(vlm, A)
    answer_as_a = vlm.behave

    def changed_after_two(number: int, body: dict[str, Any]) -> Reply:
        if number < 2:
            return answer_as_a(number, body)
        serve(vlm, B)
        return vlm.behave(number, body)

    vlm.behave = changed_after_two
    with pytest.raises(OtherModelError, match="root"):
        caption(place, plan, vlm, max_in_flight=1)
    kept = load_completions(place.work.sub(layout.shard_path(plan.shards[0])), layout.ANSWERS)
    assert not any("model b" in completion.text for completion in kept.values())


def test_what_was_found_to_be_of_the_model_in_between_is_kept(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    serve(vlm, A)
    caption(place, plan, vlm)
    serve(vlm, B)
    # The first one has been looked at by now.
    place.good_rows(6)
    other = place.plan()
    render(place, other)
    with pytest.raises(OtherModelError):
        caption(place, other, vlm)
    kept = load_completions(place.work.sub(layout.shard_path(plan.shards[0])), layout.ANSWERS)
    assert len(kept) == 3


def test_servers_of_one_connection_that_serve_different_models_are_told_apart(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    plan = place.plan()
    render(place, plan)
    with fake_vlm() as other:
        vlm.tells, other.tells = A, B
        both = replace(endpoint(vlm), base_urls=(vlm.url, other.url))
        with pytest.raises(VlmSetupError, match=f"different models.*{other.url}, root is '/models/b'.*{vlm.url}"):
            caption_shard(work=place.work, shard_id=plan.shards[0], plan=plan, vlm=both, progress=lambda at: None)
        with pytest.raises(VlmSetupError, match="different models"):
            asyncio.run(tells(both))
    assert vlm.requests == []


@pytest.mark.parametrize("reached", [True, False], ids=["told when planned", "told when asked"])
def test_another_model_under_the_same_name_builds_the_date_anew(place: Place, vlm: FakeVlm, reached: bool) -> None:
    place.good_rows(3)
    serve(vlm, A)
    assert night(place, vlm, reached) == (False, 3)
    assert night(place, vlm) == night(place, vlm, reached=False) == (True, 0)
    serve(vlm, B)
    # Nothing that the other one has said is taken over.
    assert night(place, vlm) == (False, 3)
    assert said(place) == {"b"}
    assert night(place, vlm) == (True, 0)
    assert manifest(place).served == Served(model=B)
    # Back again, it is built from what it has said then.
    serve(vlm, A)
    assert night(place, vlm) == (False, 0)
    assert said(place) == {"a"}


def test_a_plan_that_reaches_no_server_goes_by_what_a_task_was_told_last(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    serve(vlm, A)
    night(place, vlm, reached=False)
    place.good_rows(4)
    serve(vlm, B)
    with pytest.raises(OtherModelError):
        night(place, vlm, reached=False)
    # As its message says, plan is cleared.
    assert night(place, vlm, reached=False) == (False, 4)
    assert said(place) == {"b"}


def test_what_was_published_before_anything_was_told_is_of_what_is_told_first(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    serve(vlm, {})
    night(place, vlm)
    assert manifest(place).served is None
    serve(vlm, A)
    assert night(place, vlm) == (True, 0)
    # Its answers are as well.
    place.good_rows(4)
    assert night(place, vlm) == (False, 1)
    serve(vlm, B)
    assert night(place, vlm) == (False, 4)
    assert said(place) == {"b"}


def test_a_build_from_before_anything_was_told_is_built_anew_for_the_second_model_that_is_told(
    place: Place, vlm: FakeVlm
) -> None:
    place.good_rows(3)
    serve(vlm, {})
    night(place, vlm)
    serve(vlm, A)
    night(place, vlm)
    serve(vlm, B)
    assert night(place, vlm) == (False, 3)


def test_what_changes_each_time_or_is_a_setting_makes_no_other_model(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    serve(vlm, {**A, "created": 1, "permission": [{"id": "modelperm-1"}]})  # type: ignore[dict-item]
    vlm.context = 4096
    night(place, vlm)
    serve(vlm, {**A, "created": 2, "permission": [{"id": "modelperm-2"}]})  # type: ignore[dict-item]
    vlm.context = 8192
    assert night(place, vlm) == (True, 0)
    assert manifest(place).served == Served(model=A, server={"max_model_len": "4096"})


def test_a_name_behind_which_another_snapshot_stands_is_another_model(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)

    def answer_as(snapshot: str) -> None:
        def say(_: int, body: dict[str, Any]) -> Reply:
            reply = answer_well(body)
            return replace(reply, body=str(reply.body).replace(f'"{MODEL}"', f'"{MODEL}-{snapshot}"'))

        vlm.behave = say

    # Nothing is told before something is asked.
    answer_as("2026-05-01")
    assert night(place, vlm) == (False, 2)
    assert manifest(place).served == Served(model={"answers.model": f"{MODEL}-2026-05-01"})
    assert night(place, vlm) == (True, 0)
    place.good_rows(3)
    answer_as("2026-11-01")
    with pytest.raises(OtherModelError, match=r"answers\.model is"):
        night(place, vlm)
    assert night(place, vlm) == (False, 3)


def test_with_force_rebuild_another_model_is_asked_anew_in_the_middle_of_a_run(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    serve(vlm, B)
    night(place, vlm)
    serve(vlm, A)
    anew = {"run_id": "anew", "force_rebuild": True}
    plan = place.plan(served=told(vlm), **anew)
    render(place, plan)
    caption(place, plan, vlm)
    serve(vlm, B)
    assert night(place, vlm, **anew) == (False, 3)
    assert said(place) == {"b"}


def test_a_model_of_another_name_is_another_one_anyway(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    serve(vlm, A)
    night(place, vlm)
    before = place.plan(served=Served(model=B), model="of-another-name")
    assert not before.unchanged and before.ask_again == ""
    assert place.plan(served=told(vlm)).unchanged


def test_a_judge_of_its_own_that_is_exchanged_is_asked_anew_and_nobody_else(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    serve(vlm, A)
    with fake_vlm(lambda _, body: heard(["1"], 1)) as listener:
        listener.greets_listening = lambda body: heard(["1"], 1)

        def built(name: dict[str, str]) -> tuple[int, int]:
            listener.tells = name
            plan = place.plan(served=told(vlm), judge_served=told(listener), **ALL)
            asked = len(vlm.requests), len(listener.requests)
            render(place, plan)
            caption(place, plan, vlm)
            judge(place, plan, vlm, listener)
            validate(place, plan)
            publish(place, plan)
            return len(vlm.requests) - asked[0], len(listener.requests) - asked[1]

        captions, questions = built(A)
        assert captions >= 3 and questions
        assert built(A) == (0, 0)
        # Nor is it built anew for a judge that is not there when it is planned.
        assert place.plan(served=told(vlm), judge_served=Served(), **ALL).unchanged
        assert built(B) == (0, questions)
        assert manifest(place).judge_served == Served(model=B)
        place.good_rows(4)
        plan = place.plan(served=told(vlm), judge_served=told(listener), **ALL)
        render(place, plan)
        caption(place, plan, vlm)
        listener.tells = A
        with pytest.raises(OtherModelError, match="root"):
            judge(place, plan, vlm, listener)


def test_what_cannot_be_reached_tells_nothing() -> None:
    with fake_vlm() as gone:
        away = endpoint(gone)
    assert asyncio.run(tells(away)) is None
