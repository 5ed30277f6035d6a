"""The real vLLM with the demo model: it reads our marks, in both answer formats, and does what the client expects."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo_model.drops import evaluation_rows, write_drop
from demo_model.evaluate import Score, score
from deploy.local.paths import DEMO_MODEL
from regioncap.errors import VlmSetupError
from regioncap.regions.served import Served
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.vlm.client import connect
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.greeting import find_dialect
from regioncap.vlm.probe import tells
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan
from regioncap.work.served import served_for
from regioncap.work.shard import Shard
from tests.builders import Place, records, rejected_rows

SCENES = 40


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, dict[str, list[str]]]]:
    """A drop of scenes that training never saw, and the truth about it."""
    place = Place(tmp_path_factory.mktemp("scenes"))
    yield place, write_drop(place.drop_folder, list(evaluation_rows(77, SCENES)))


def build(place: Place, endpoint: Endpoint, **changes: Any) -> tuple[Plan, AskCounts]:
    """Everything up to validated records, as one shard."""
    plan = place.plan(model=endpoint.model, **changes)
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    counts = caption_shard(work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint, progress=lambda at: None)
    validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    return plan, counts


def scored(place: Place, plan: Plan, truth: dict[str, list[str]]) -> Score:
    """The score over all scenes."""
    made = records(Shard(place.work, plan, plan.shards[0]))
    groups = score(truth, [record.model_dump() for record in made]).values()
    total = Score()
    for group in groups:
        total.regions += group.regions
        total.all_right += group.all_right
        total.bound += group.bound
    return total


@pytest.mark.parametrize("answer_format", ["structured", "free_text"])
@pytest.mark.parametrize("caption_mode", ["joint", "per_region"])
def test_the_demo_model_tells_what_is_in_each_region(
    scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint, caption_mode: str, answer_format: str
) -> None:
    place, truth = scenes
    plan, counts = build(place, demo_vlm, caption_mode=caption_mode, answer_format=answer_format)
    result = scored(place, plan, truth)
    assert counts.asked == (SCENES if caption_mode == "joint" else result.regions)
    assert result.regions > 100
    assert result.all_right / result.regions > 0.95
    assert result.bound / result.regions > 0.98


def test_at_temperature_zero_the_answers_are_the_same_again_but_for_a_word(
    scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint
) -> None:
    place, _ = scenes
    first, _ = build(place, demo_vlm)
    before = records(Shard(place.work, first, first.shards[0]))
    again, counts = build(place, demo_vlm, run_id="again", force_rebuild=True)
    assert counts.asked == SCENES
    after = records(Shard(place.work, again, again.shards[0]))
    # Which requests share a batch goes by time, and vLLM promises the same words in another one only for GPUs.
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= SCENES * 0.05


def test_sampling_with_a_seed_works_too(scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint) -> None:
    place, truth = scenes
    plan, _ = build(place, demo_vlm, temperature=0.7)
    assert scored(place, plan, truth).all_right > 0


def test_a_cut_off_answer_is_rejected_with_its_code(
    scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint
) -> None:
    place, _ = scenes
    plan, _ = build(place, demo_vlm, max_tokens=16, answer_format="free_text")
    codes = {row.code for row in rejected_rows(Shard(place.work, plan, plan.shards[0]))}
    assert codes == {"cut_off"}


def test_a_setting_that_makes_every_request_too_long_ends_the_task_and_says_what_to_change(
    scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint
) -> None:
    place, _ = scenes
    with pytest.raises(VlmSetupError, match=r"max_model_len=1024.*lower the param max_tokens"):
        build(place, demo_vlm, max_tokens=4000)


def test_the_server_makes_answers_follow_a_schema(demo_vlm: Endpoint) -> None:
    async def honours() -> bool:
        async with connect(demo_vlm) as client:
            return (await find_dialect(client)).form is not None

    assert asyncio.run(honours())


def test_another_model_than_the_served_one_is_found_out_at_once(
    scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint
) -> None:
    place, _ = scenes
    wrong = replace(demo_vlm, model="another")
    with pytest.raises(VlmSetupError, match="serves regioncap-demo, not 'another'"):
        build(place, wrong)


def test_the_shipped_model_is_small_and_says_what_it_is() -> None:
    folder = Path(__file__).resolve().parents[2] / "include" / "demo_model"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Idefics3ForConditionalGeneration"]
    assert "regions" in (folder / "README.md").read_text()


def test_a_real_vllm_says_how_likely_each_region_is_and_that_none_is(
    scenes: tuple[Place, dict[str, list[str]]], demo_vlm: Endpoint
) -> None:
    place, _ = scenes
    plan = place.plan(model=demo_vlm.model, judge="all")
    (shard_id,) = plan.shards
    asked = {"work": place.work, "shard_id": shard_id, "plan": plan}
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    caption_shard(**asked, vlm=demo_vlm, progress=lambda at: None)
    counts = judge_shard(**asked, vlm=demo_vlm, judge=demo_vlm, progress=lambda at: None)
    judged = Shard(place.work, plan, shard_id).judged()
    assert judged is not None and judged.receipt.reason is None
    twice = [score.agreed for score in judged.first if score.agreed is not None]
    assert counts.asked >= counts.questions and judged.receipt.heard >= counts.questions - len(twice)
    # Asked for once more, by itself with a close-up, it says the same but for a few.
    assert twice.count(True) > 0.9 * len(twice) > 0
    assert judge_shard(**asked, vlm=demo_vlm, judge=demo_vlm, progress=lambda at: None).asked == 0
    validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    regions = [region for record in records(Shard(place.work, plan, shard_id)) for region in record.regions]
    assert all(region.trust is not None for region in regions)
    own = {(score.image, score.region) for score in judged.scores if score.kind == "own"}
    assert len(own) == len(regions)
    answers = load_completions(Shard(place.work, plan, shard_id).shared, layout.JUDGED).values()
    for answer in answers:
        assert answer.probabilities is not None and answer.completion_tokens == 1
        assert sum(answer.probabilities.values()) == pytest.approx(1.0, abs=0.01)


def test_what_vllm_tells_of_the_model_is_where_it_was_loaded_from(demo_vlm: Endpoint) -> None:
    told = asyncio.run(tells(demo_vlm))
    assert told is not None and told.model == {"root": str(DEMO_MODEL)}
    assert told.server.keys() == {"max_model_len", "version"}
    # It is the same each time, whatever else changes in its list.
    assert asyncio.run(tells(demo_vlm)) == told


def test_a_build_of_the_real_server_says_which_model_it_is_of(demo_vlm: Endpoint, tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_drop(place.drop_folder, list(evaluation_rows(79, 2)))
    plan, _ = build(place, demo_vlm)
    assert served_for(place.work, plan) == asyncio.run(tells(demo_vlm))
    again = place.plan(model=demo_vlm.model, served=Served(model={"root": "/models/another"}))
    assert again.ask_again != plan.ask_again
