"""`judge`: what the listener is asked, what it is not asked again, and what a build says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.steps.publish import Published
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place
from tests.fake_vlm import FakeVlm, Reply, completion, error, fake_vlm
from tests.listening import Knowing, heard, rows, truth
from tests.steps import caption, judge, publish, records, rejected, render, validate

ROWS = 40
# One is of nothing in its image, two are each the other's.
WRONG = {
    ("row-3", 2): "a tiny violet spoon",
    ("row-7", 1): truth("row-7", 3),
    ("row-7", 3): truth("row-7", 1),
}


@pytest.fixture
def knowing(vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> Knowing:
    """How the VLM behaves: three of its captions are wrong."""
    knowing = Knowing(WRONG)
    vlm.behave = knowing
    vlm.greets_listening = lambda _: heard(["1"], 1)
    monkeypatch.setattr("regioncap.steps.judge.draw_sheet", knowing.draw_sheet)
    return knowing


def captioned(place: Place, vlm: FakeVlm, knowing: Knowing, run_id: str = "run-1", **changes: Any) -> Plan:
    """A plan whose images have their captions."""
    plan = place.plan(run_id=run_id, **{"judge": "all", **changes})
    render(place, plan)
    knowing.learn(place, plan)
    caption(place, plan, vlm)
    return plan


def finished(place: Place, plan: Plan) -> Published:
    validate(place, plan)
    return publish(place, plan)


def judged_build(place: Place, vlm: FakeVlm, knowing: Knowing, **changes: Any) -> Published:
    plan = captioned(place, vlm, knowing, **changes)
    judge(place, plan, vlm)
    return finished(place, plan)


def regions(place: Place) -> dict[tuple[str, int], dict[str, Any]]:
    return {(record["id"], each["region"]): each for record in records(place) for each in record["regions"]}


def test_every_caption_has_a_trust_and_a_wrong_one_says_what_it_was_taken_for(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, ROWS)
    judged_build(place, vlm, knowing)
    found = regions(place)
    assert {key for key, region in found.items() if region["trust"] < 0.5} == set(WRONG)
    assert found["row-3", 2]["confused_with"] == 0
    assert found["row-7", 1]["confused_with"] == 3
    assert all(region["confused_with"] is None for key, region in found.items() if key not in WRONG)


def test_the_manifest_says_what_share_is_wrong_with_its_interval(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, ROWS)
    judged = judged_build(place, vlm, knowing).manifest.judged
    assert judged is not None and judged.reason is None
    assert judged.share is not None and judged.low is not None and judged.high is not None
    assert judged.low <= len(WRONG) / (3 * ROWS) <= judged.high
    assert (judged.how, judged.judge, judged.same_model) == ("all", "fake-model", True)
    assert judged.regions == judged.judged == 3 * ROWS
    assert judged.asked >= judged.judged
    assert set(judged.found) > {"neighbour", "foreign"}


def test_questions_begin_as_captioning_does_with_the_image_before_the_text(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 4)
    judged_build(place, vlm, knowing)
    asked = [body for body in vlm.requests if "top_logprobs" in body]
    assert {body["messages"][0]["content"] for body in asked} == {vlm.requests[0]["messages"][0]["content"]}
    for body in asked:
        assert [part["type"] for part in body["messages"][1]["content"]] == ["image_url", "text"]
        assert (body["temperature"], body["max_tokens"], body["top_logprobs"]) == (0, 1, 20)
        assert body["structured_outputs"] == {"choice": ["1", "2", "3", "none"]}


def test_regions_are_shown_under_other_numbers_than_they_were_captioned_by(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 6)
    judged_build(place, vlm, knowing)
    assert len(knowing.sheets) > 6
    for sheet in knowing.sheets:
        assert len(sheet.shown) == 1 or any(region != number for region, number in sheet.shown)


def test_an_image_with_many_regions_is_shown_in_parts_of_nine_at_most(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 1)
    boxes = [[8 * (number % 12), 20 * (number // 12), 8, 16] for number in range(24)]
    place.put_rows({"id": "row-0", "image": "0.jpg", "bbox": boxes})
    plan = captioned(place, vlm, knowing, max_boxes=24)
    judge(place, plan, vlm)
    finished(place, plan)
    first = [region for sheet in knowing.sheets if sheet.round == 0 for region, _ in sheet.shown]
    assert sorted(first) == list(range(1, 25))
    assert max(len(sheet.shown) for sheet in knowing.sheets) <= 9
    assert all(region["trust"] is not None for region in regions(place).values())


def test_where_nothing_is_to_be_judged_nothing_is_drawn_nor_asked(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 3)
    plan = captioned(place, vlm, knowing, judge="none")
    asked = len(vlm.requests)
    assert [counts.questions for counts in judge(place, plan, vlm)] == [0]
    published = finished(place, plan)
    assert len(vlm.requests) == asked and knowing.asked == []
    assert published.manifest.judged is None
    assert all(region["trust"] is None for region in regions(place).values())
    (row, *_) = Shard(place.work, plan, plan.shards[0]).rendered().rows
    assert row.unmarked == ""


def test_of_a_large_drop_a_sample_is_judged_and_only_its_images_are_kept_without_marks(
    place: Place, vlm: FakeVlm, knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regioncap.trust.questions.JUDGED_REGIONS", 30)
    rows(place, ROWS)
    plan = captioned(place, vlm, knowing, judge="sample")
    assert plan.judge_share == pytest.approx(30 / (3 * ROWS))
    judge(place, plan, vlm)
    published = finished(place, plan)
    trusted = [key for key, region in regions(place).items() if region["trust"] is not None]
    assert 10 < len(trusted) < 60
    assert published.manifest.judged is not None and published.manifest.judged.how == "sample"
    marked = [row for row in Shard(place.work, plan, plan.shards[0]).rendered().rows if row.unmarked]
    assert {row.id for row in marked} == {row_id for row_id, _ in trusted}


def test_a_server_with_less_than_one_answer_a_second_is_not_asked_for_a_sample(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 12)
    plan = captioned(place, vlm, knowing, judge="sample")
    (shard_id,) = plan.shards
    own = Shard(place.work, plan, shard_id).own
    counts = json.loads(own.read("caption.json"))
    own.write("caption.json", json.dumps({**counts, "seconds": 13.0}).encode())
    judge(place, plan, vlm)
    published = finished(place, plan)
    assert knowing.asked == []
    assert published.manifest.judged is not None
    assert "less than one answer a second" in str(published.manifest.judged.reason)


def test_a_sample_ends_when_its_time_is_over_and_what_was_heard_counts(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 12)
    plan = captioned(place, vlm, knowing, judge="sample")
    own = Shard(place.work, plan, plan.shards[0]).own
    counts = json.loads(own.read("caption.json"))
    own.write("caption.json", json.dumps({**counts, "seconds": 0.0}).encode())
    judge(place, plan, vlm, least_seconds=-1.0)
    assert knowing.asked == []
    judged = Shard(place.work, plan, plan.shards[0]).judged()
    assert judged is not None and "may take a fifth of captioning's time" in str(judged.receipt.limited)
    assert finished(place, plan).manifest.judged is not None


def test_what_was_heard_is_kept_and_only_the_rest_is_asked(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 8)
    plan = captioned(place, vlm, knowing, judge_away="wait")

    def dies(number: int, body: dict[str, Any]) -> Reply:
        return knowing(number, body) if len(knowing.asked) < 9 else Reply(503)

    vlm.behave = dies
    with pytest.raises(VlmUnavailableError):
        judge(place, plan, vlm, max_in_flight=1, patience_seconds=1.0)
    assert len(knowing.asked) == 9
    vlm.behave = knowing
    (counts,) = judge(place, plan, vlm)
    asked = list(knowing.asked)
    assert len(asked) + len(alone(vlm)) == counts.asked + 9
    (again,) = judge(place, plan, vlm)
    assert (again.asked, knowing.asked) == (0, asked)


def test_a_judge_that_was_killed_leaves_nothing_that_says_judged(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 3)
    plan = captioned(place, vlm, knowing)
    with pytest.raises(Exception, match=r"judge\.json is missing: clear the shard's judge task"):
        validate(place, plan)


def test_a_caption_that_has_not_changed_is_not_judged_twice(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 8)
    judged_build(place, vlm, knowing)
    asked = len(knowing.asked)
    manifest = place.drop.read("manifest.jsonl").decode().splitlines()
    place.put("manifest.jsonl", "\n".join(manifest[:7]) + "\n")
    judged_build(place, vlm, knowing, run_id="run-2")
    # Of the row that is gone, some captions were planted elsewhere.
    assert len(knowing.asked) - asked < asked / 4
    assert all(region["trust"] is not None for region in regions(place).values())


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(503), "503"),
        (error(400, "logprobs are not supported"), "refuses to tell probabilities"),
        (completion("1"), "does not tell probabilities of tokens"),
    ],
)
def test_a_judge_that_is_away_or_cannot_listen_leaves_the_build_not_judged_or_waits(
    place: Place, vlm: FakeVlm, knowing: Knowing, reply: Reply, told: str
) -> None:
    rows(place, 3)
    plan = captioned(place, vlm, knowing)
    with fake_vlm(lambda _, body: reply) as other:
        other.greets_listening = lambda _: reply
        judge(place, plan, vlm, other, patience_seconds=1.0)
        published = finished(place, plan)
        judged = published.manifest.judged
        assert judged is not None and judged.share is None and told in str(judged.reason)
        assert all(region["trust"] is None for region in regions(place).values())
        waiting = captioned(place, vlm, knowing, run_id="run-2", judge_away="wait", mark_style="corners")
        with pytest.raises((VlmUnavailableError, VlmSetupError)):
            judge(place, waiting, vlm, other, patience_seconds=1.0)


def test_a_server_that_does_not_bind_answers_to_the_choice_leaves_the_build_not_judged(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 3)
    plan = captioned(place, vlm, knowing)

    def chats(number: int, body: dict[str, Any]) -> Reply:
        reply = json.loads(completion("The").body)
        token = {"token": "The", "logprob": -0.01}
        reply["choices"][0]["logprobs"] = {"content": [{**token, "top_logprobs": [token]}]}
        return Reply(body=json.dumps(reply))

    with fake_vlm(chats) as other:
        other.greets_listening = lambda _: heard(["1"], 1)
        judge(place, plan, vlm, other)
    judged = finished(place, plan).manifest.judged
    assert judged is not None and "does not bind answers to a choice" in str(judged.reason)


def test_a_deaf_judge_leaves_the_build_not_judged(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, ROWS)
    knowing.deaf = True
    judged = judged_build(place, vlm, knowing).manifest.judged
    assert judged is not None and judged.share is None
    assert "cannot tell planted captions" in str(judged.reason)


def test_another_model_that_judges_is_named_and_the_date_is_built_anew_for_it(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 3)
    judged_build(place, vlm, knowing)
    assert place.plan(run_id="run-2", judge="all").unchanged
    other = place.plan(run_id="run-3", judge="all", judge_model="another")
    assert not other.unchanged and other.judge == "another"
    assert place.plan(run_id="run-4", judge="all", judge_model="fake-model").unchanged


def test_doubtful_captions_are_asked_for_again_with_a_crop_and_the_trusted_one_is_kept(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, ROWS)
    knowing.alone["row-7", 1] = "a flat grey plate"
    published = judged_build(place, vlm, knowing, judge_again="ask_again")
    found = regions(place)
    # Two are mended, the third is not any better.
    assert found["row-3", 2]["caption"] == truth("row-3", 2) and found["row-3", 2]["trust"] > 0.9
    assert found["row-7", 1]["caption"] == WRONG["row-7", 1] and found["row-7", 1]["trust"] < 0.5
    attempts = {record["id"]: record["attempts"] for record in records(place)}
    assert (attempts["row-3"], attempts["row-7"], attempts["row-0"]) == (2, 2, 1)
    judged = published.manifest.judged
    assert judged is not None and (judged.asked_again, judged.mended) == (3, 2)
    (record,) = [record for record in records(place) if record["id"] == "row-3"]
    assert truth("row-3", 2) in record["answer"]


def test_asking_again_is_resumed_and_asks_nothing_twice(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 8)
    plan = captioned(place, vlm, knowing, judge_again="ask_again")
    judge(place, plan, vlm)
    asked = len(vlm.requests)
    judge(place, plan, vlm)
    assert len(vlm.requests) == asked


def test_a_region_that_was_asked_about_by_itself_is_asked_again_with_another_seed(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 2)
    knowing.alone["row-1", 1] = "a tiny violet spoon"
    judged_build(place, vlm, knowing, judge_again="ask_again", caption_mode="per_region")
    seeds = [body["seed"] for body in alone(vlm)]
    assert sorted(seeds) == [42] * 6 + [43]


def test_rows_with_doubtful_captions_can_be_rejected(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, ROWS)
    published = judged_build(place, vlm, knowing, judge_again="reject")
    said = rejected(place)
    assert {image: row["code"] for image, row in said.items()} == {"3.jpg": "doubted", "7.jpg": "doubted"}
    assert "region 1, the listener finds region 3" in said["7.jpg"]["reason"]
    judged = published.manifest.judged
    assert judged is not None and judged.rejected == 2
    assert judged.judged == judged.regions == 3 * ROWS


@pytest.mark.parametrize("judge_again", ["nothing", "ask_again", "reject"])
def test_what_a_person_has_settled_is_neither_judged_nor_asked_again_nor_rejected(
    place: Place, vlm: FakeVlm, knowing: Knowing, judge_again: str
) -> None:
    rows(place, 12)
    judged_build(place, vlm, knowing)
    said: dict[tuple[str, int], str | None] = {
        ("row-3", 2): "a thing that no listener knows",
        ("row-7", 1): "another such thing",
        ("row-7", 3): None,
    }
    for record in records(place):
        for region in record["regions"]:
            if (record["id"], region["region"]) in said:
                text = said[record["id"], region["region"]]
                correct(
                    corrections_of(place.partition),
                    [Correction(at="2026-10-05T10:00:00+00:00", by="ann", action="edit" if text else "reject",
                                about=about_region(record["image_sha256"], region["bbox"], "en"), caption=text)],
                    99,
                )  # fmt: skip
    captioned_before = [body for body in vlm.requests if "logprobs" not in body]
    knowing.asked.clear()
    judged_build(place, vlm, knowing, judge_again=judge_again)
    assert [body for body in vlm.requests if "logprobs" not in body] == captioned_before
    assert not rejected(place)
    found = regions(place)
    for key, text in said.items():
        assert (key not in found) if text is None else found[key]["caption"] == text
        if text is not None:
            assert found[key]["corrected"] and found[key]["trust"] is found[key]["confused_with"] is None
            assert text not in knowing.asked
    assert all(found[key]["trust"] > 0.5 for key in found.keys() - said.keys())


@pytest.mark.parametrize("judge_again", ["ask_again", "reject"])
def test_the_share_is_told_of_captions_as_they_were_not_of_those_that_were_chosen_for_being_trusted(
    place: Place, vlm: FakeVlm, knowing: Knowing, tmp_path: Path, judge_again: str
) -> None:
    rows(place, ROWS)
    published = judged_build(place, vlm, knowing, judge_again=judge_again)
    plain = Place(tmp_path / "plain")
    rows(plain, ROWS)
    noted = judged_build(plain, vlm, knowing)
    told, wanted = ({**dict(each.manifest.judged or {}), "asked": 0} for each in (published, noted))
    changed = {"asked_again", "mended", "rejected"}
    assert told.keys() == wanted.keys()
    assert {name: told[name] for name in told.keys() - changed} == {
        name: wanted[name] for name in wanted.keys() - changed
    }


def test_auto_asks_by_themselves_about_doubtful_and_small_regions_only(
    place: Place, vlm: FakeVlm, knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regioncap.trust.questions.ASKED_TWICE", 0)
    rows(place, 8)
    small = [[4, 4, 30, 30], [40, 4, 30, 30], [80, 40, 5, 5]]
    manifest = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    manifest[5]["bbox"] = small
    place.put_rows(*manifest)
    plan = captioned(place, vlm, knowing, caption_mode="auto", judge="none")
    judge(place, plan, vlm)
    finished(place, plan)
    # The small one, and the three that are wrong.
    assert len(alone(vlm)) == 4
    assert regions(place)["row-3", 2]["caption"] == truth("row-3", 2)


def test_what_auto_asks_again_the_captioner_tells_and_the_listener_hears_of_no_more_than_the_sample(
    place: Place, vlm: FakeVlm, knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regioncap.trust.questions.JUDGED_REGIONS", 0)
    knowing.tells = True
    rows(place, 10)
    plan = captioned(place, vlm, knowing, caption_mode="auto", judge="sample")
    judge(place, plan, vlm)
    published = finished(place, plan)
    assert len(alone(vlm)) == len(WRONG)
    # Of what came of that it is asked.
    assert sorted(knowing.asked) == sorted(truth(*at) for at in WRONG)
    assert {at: each["caption"] for at, each in regions(place).items() if at in WRONG} == {
        at: truth(*at) for at in WRONG
    }
    assert {at for at, each in regions(place).items() if each["trust"] is not None} == set(WRONG)
    # It was chosen for being doubtful, so it tells nothing of all.
    assert published.manifest.judged is not None and published.manifest.judged.judged == 0


def test_where_the_captioner_does_not_tell_how_sure_it_was_auto_goes_by_the_listener(
    place: Place, vlm: FakeVlm, knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regioncap.trust.questions.JUDGED_REGIONS", 10)
    monkeypatch.setattr("regioncap.trust.questions.ASKED_TWICE", 0)
    rows(place, 10)
    plan = captioned(place, vlm, knowing, caption_mode="auto", judge="sample")
    judge(place, plan, vlm)
    published = finished(place, plan)
    assert len(alone(vlm)) == len(WRONG)
    assert all(each["trust"] is not None and each["caption"] == truth(*at) for at, each in regions(place).items())
    judged = published.manifest.judged
    # The share is told of the sample alone, which nobody has chosen.
    assert judged is not None and 0 < judged.judged < 30


def test_a_build_that_could_not_be_judged_is_judged_by_the_next_run_and_no_caption_is_asked_for_again(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 4)
    plan = captioned(place, vlm, knowing)
    with fake_vlm(lambda _, body: Reply(503)) as other:
        judge(place, plan, vlm, other)
        first = finished(place, plan)
        asked = len(vlm.requests)
        again = captioned(place, vlm, knowing, run_id="run-2")
        assert not again.unchanged
        judge(place, again, vlm, other)
        assert finished(place, again).manifest.build_id == first.manifest.build_id
    judge(place, again, vlm)
    last = finished(place, again)
    assert last.manifest.build_id != first.manifest.build_id
    assert len(vlm.requests) == asked + len(knowing.asked) + len(asked_twice(place, again))
    assert all(region["trust"] is not None for region in regions(place).values())
    assert place.plan(run_id="run-3", judge="all").unchanged


# ---- second askings


def asked_twice(place: Place, plan: Plan) -> list[tuple[str, int, bool]]:
    """The captions of a plan that were asked for once more, and whether that says the same."""
    shards = (Shard(place.work, plan, shard_id).judged() for shard_id in plan.shards)
    first = [score for shard in shards if shard for score in shard.first]
    return [(score.image, score.region, score.agreed) for score in first if score.agreed is not None]


def alone(vlm: FakeVlm) -> list[dict[str, Any]]:
    """The requests about one region by itself."""
    return [body for body in vlm.requests if "Describe <region" in body["messages"][1]["content"][-1].get("text", "")]


def test_a_quarter_of_what_is_judged_is_asked_for_once_more_by_itself_and_the_build_says_what_came_of_it(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, ROWS)
    plan = captioned(place, vlm, knowing)
    asked = len(vlm.requests)
    judge(place, plan, vlm)
    judged = finished(place, plan).manifest.judged
    told = asked_twice(place, plan)
    assert 0.15 < len(told) / (3 * ROWS) < 0.35
    assert {(row, region) for row, region, same in told if not same} == {each[:2] for each in told} & set(WRONG)
    again = alone(vlm)
    assert len(again) == len(told) and not alone_before(vlm, asked)
    for body in again:
        assert [part["type"] for part in body["messages"][1]["content"]] == ["image_url", "text", "image_url", "text"]
        assert body["temperature"] == 0
    assert judged is not None
    trusted = [same for row, region, same in told if (row, region) not in WRONG]
    assert (judged.asked_twice, judged.agreed) == (len(trusted), trusted.count(True))


def alone_before(vlm: FakeVlm, asked: int) -> bool:
    return any(body in vlm.requests[:asked] for body in alone(vlm))


def test_what_was_asked_about_by_itself_is_asked_about_together_with_the_others(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 12)
    plan = captioned(place, vlm, knowing, caption_mode="per_region")
    asked = len(vlm.requests)
    judge(place, plan, vlm)
    told = asked_twice(place, plan)
    again = [body for body in vlm.requests[asked:] if "top_logprobs" not in body]
    # All regions of an image in one request.
    assert len(again) == len({row for row, _, _ in told}) > 0
    assert all([part["type"] for part in body["messages"][1]["content"]] == ["image_url", "text"] for body in again)
    # It says wrong what it says right of each by itself.
    assert {(row, region) for row, region, same in told if not same} == {each[:2] for each in told} & set(WRONG)


@pytest.mark.parametrize("judge_again", ["nothing", "ask_again"])
def test_a_second_asking_is_no_attempt_of_its_row(
    place: Place, vlm: FakeVlm, knowing: Knowing, judge_again: str
) -> None:
    rows(place, 8)
    knowing.wrong = {}
    judged_build(place, vlm, knowing, judge_again=judge_again)
    assert alone(vlm)
    assert [record["attempts"] for record in records(place)] == [1] * 8


def test_errors_that_captioner_and_judge_share_are_allowed_for_as_far_as_a_second_asking_sees_them(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, ROWS)
    knowing.fooled = True
    wrong = {(f"row-{at}", at % 3 + 1): f"a violet spoon of {at} grams" for at in range(0, ROWS, 2)}
    knowing.wrong = wrong
    judged = judged_build(place, vlm, knowing).manifest.judged
    assert judged is not None and judged.high is not None
    assert judged.agreed < judged.asked_twice
    assert judged.high >= len(wrong) / (3 * ROWS)


def test_second_askings_are_kept_and_taken_over_by_the_next_build(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 12)
    plan = captioned(place, vlm, knowing)
    judge(place, plan, vlm)
    asked = len(vlm.requests)
    judge(place, plan, vlm)
    assert len(vlm.requests) == asked
    finished(place, plan)
    manifest = place.drop.read("manifest.jsonl").decode().splitlines()
    place.put("manifest.jsonl", "\n".join(manifest[:11]) + "\n")
    again = captioned(place, vlm, knowing, run_id="run-2")
    asked_alone = len(alone(vlm))
    judge(place, again, vlm)
    assert len(alone(vlm)) == asked_alone > 0
    assert set(asked_twice(place, again)) <= set(asked_twice(place, plan))


def test_a_sample_whose_time_is_over_asks_for_nothing_twice(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 12)
    plan = captioned(place, vlm, knowing, judge="sample")
    own = Shard(place.work, plan, plan.shards[0]).own
    counts = json.loads(own.read("caption.json"))
    own.write("caption.json", json.dumps({**counts, "seconds": 0.0}).encode())
    judge(place, plan, vlm, least_seconds=-1.0)
    assert alone(vlm) == [] and asked_twice(place, plan) == []


@pytest.mark.parametrize(
    ("judge_away", "reply"),
    [("publish", Reply(503)), ("wait", Reply(503)), ("wait", error(400, "At most 1 image may be provided"))],
)
def test_where_the_captioner_is_away_or_takes_no_close_ups_the_judge_s_word_counts_alone_or_it_waits(
    place: Place, vlm: FakeVlm, knowing: Knowing, judge_away: str, reply: Reply
) -> None:
    rows(place, ROWS)
    plan = captioned(place, vlm, knowing, judge_away=judge_away)
    with fake_vlm(knowing) as other:
        other.greets_listening = vlm.greets_listening
        vlm.behave = lambda _, body: reply
        if (judge_away, reply.status) == ("wait", 503):
            with pytest.raises(VlmUnavailableError):
                judge(place, plan, vlm, other, patience_seconds=3.0)
            return
        judge(place, plan, vlm, other, patience_seconds=3.0)
    judged = finished(place, plan).manifest.judged
    assert judged is not None and judged.share is not None
    assert (judged.asked_twice, judged.agreed) == (0, 0)


def test_where_rows_are_only_tried_nothing_is_asked_for_twice(place: Place, vlm: FakeVlm, knowing: Knowing) -> None:
    rows(place, 8)
    plan = captioned(place, vlm, knowing, sample_rows=8)
    judge(place, plan, vlm)
    assert knowing.asked and alone(vlm) == []


def test_of_many_regions_no_more_are_asked_for_twice_than_it_takes(
    place: Place, vlm: FakeVlm, knowing: Knowing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regioncap.trust.questions.ASKED_TWICE", 6)
    rows(place, ROWS)
    plan = captioned(place, vlm, knowing)
    judge(place, plan, vlm)
    assert 0 < len(asked_twice(place, plan)) < 15
    (shard_id,) = plan.shards
    with_crops = {row.id for row in Shard(place.work, plan, shard_id).rendered().rows if row.crops}
    assert with_crops == {row for row, _, _ in asked_twice(place, plan)}
