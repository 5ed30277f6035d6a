"""The work area is damaged, or was written by another version: what is asked again, and what is said."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regioncap.ask.status import BuildStatus
from regioncap.errors import StepMissingError
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.row_index import NO_ROW_INDEX, load_row_index
from tests.builders import Place
from tests.damage import DAMAGE, change, change_lines, damage, sign_again
from tests.fake_vlm import FakeVlm
from tests.steps import build, caption, propose, publish, render, validate

PROPOSING = {"when_no_boxes": "ask_model", "model_profile": "qwen2.5-vl"}
# A line with something in it that is none.
BAD_LINES = {
    "zeros": b"\0" * 64,
    "cut": b'{"key": "0123", "text": "a red do',
    "not-utf8": b'{"key": "\xff", "text": ""}',
    "not-an-object": b"[]",
    "other-fields": b'{"some": "thing"}',
    "other-types": b'{"key": 1, "text": null, "finish_reason": []}',
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def shard_file(place: Place, plan: Plan, name: str, number: int = 0) -> Path:
    """The file of this name in a shard, in what plans share of it or in what this plan's steps made."""
    shard = f"shards/{plan.shards[number]}"
    (path,) = (
        path for part in (shard, f"plans/{plan.plan_id}/{shard}") for path in place.work.local_path(part).glob(name)
    )
    return path


def as_of_then(part: Path) -> Path:
    """A part as 0.1 named it: without a hash of what is in it."""
    return part.rename(part.with_name(f"{part.name.partition('-')[0]}-0a1b2c3d.jsonl"))


# ---- answers


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_damaged_answer_of_then_is_told_and_asked_again_and_the_others_are_kept(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    part = as_of_then(shard_file(place, plan, "answers/*.jsonl"))
    lines = part.read_bytes().splitlines()
    part.write_bytes(b"\n".join([lines[0], BAD_LINES[kind], lines[2]]) + b"\n")
    vlm.requests.clear()
    with pytest.raises(StepMissingError, match="has no answer yet: clear the shard's caption task"):
        validate(place, plan)
    caplog.clear()
    (counts,) = caption(place, plan, vlm)
    assert (counts.kept, counts.asked, len(vlm.requests)) == (2, 1, 1)
    said = [text for text in caplog.messages if part.name in text]
    assert len(said) == 1 and "line 2" in said[0] and "asked again" in said[0]
    validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == 3


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_part_with_a_damaged_answer_is_told_and_asked_again(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Which of its other bytes are as they were, nobody knows."""
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    part = shard_file(place, plan, "answers/*.jsonl")
    lines = part.read_bytes().splitlines()
    part.write_bytes(b"\n".join([lines[0], BAD_LINES[kind], lines[2]]) + b"\n")
    with pytest.raises(StepMissingError, match="has no answer yet: clear the shard's caption task"):
        validate(place, plan)
    caplog.clear()
    (counts,) = caption(place, plan, vlm)
    assert (counts.kept, counts.asked) == (0, 3)
    said = [text for text in caplog.messages if part.name in text]
    assert len(said) == 1 and "not what was written" in said[0] and "asked again" in said[0]
    validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == 3


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_part_that_is_damaged_as_a_whole_is_asked_again(place: Place, vlm: FakeVlm, kind: str) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    damage(shard_file(place, plan, "answers/*.jsonl"), kind)
    (counts,) = caption(place, plan, vlm)
    assert counts.asked == 1
    validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == 1


def test_answers_of_a_version_that_says_more_are_taken(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    change_lines(as_of_then(shard_file(place, plan, "answers/*.jsonl")), served_by="vllm 0.40", thought=["so", "so"])
    vlm.requests.clear()
    caption(place, plan, vlm)
    validate(place, plan)
    assert vlm.requests == []


def test_a_damaged_answer_of_the_published_build_is_asked_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    first = place.plan()
    build(place, vlm)
    part = as_of_then(shard_file(place, first, "answers/*.jsonl"))
    lines = part.read_bytes().splitlines()
    part.write_bytes(b"\n".join([*lines[:2], b"\0" * 200]))
    second = place.plan(run_id="run-2", shard_size=2)
    render(place, second)
    counts = caption(place, second, vlm)
    assert (sum(item.taken_over for item in counts), sum(item.asked for item in counts)) == (2, 1)


def test_a_damaged_answer_to_where_things_are_is_asked_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    place.put_rows({"image": "0.jpg"}, {"image": "1.jpg"})
    plan = place.plan(**PROPOSING)
    propose(place, plan, vlm)
    part = as_of_then(shard_file(place, plan, "proposals/*.jsonl"))
    lines = part.read_bytes().splitlines()
    part.write_bytes(b"\n".join([lines[0], b"\0" * 80]))
    with pytest.raises(StepMissingError, match="clear the shard's propose task"):
        render(place, plan)
    (counts,) = propose(place, plan, vlm)
    assert counts.asked == 1
    render(place, plan)
    assert len(load_completions(place.work.sub(layout.shard_path(plan.shards[0])), layout.PROPOSALS)) == 2


# ---- rows on their way


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_rows_say_which_task_to_clear(place: Place, vlm: FakeVlm, kind: str) -> None:
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    damage(shard_file(place, plan, "rendered.jsonl"), kind)
    said = r"shards/.*/rendered\.jsonl is not what render wrote: clear the shard's render task"
    for step in (lambda: caption(place, plan, vlm), lambda: validate(place, plan)):
        with pytest.raises(StepMissingError, match=said):
            step()
    damage(shard_file(place, plan, "rows.jsonl"), kind)
    with pytest.raises(StepMissingError, match=r"rows\.jsonl is not what was planned: clear the run's plan task"):
        render(place, plan)


def test_rows_of_a_version_that_says_more_are_taken(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    plan = place.plan()
    render(place, plan)
    for name, step in (("rendered.jsonl", lambda: caption(place, plan, vlm)), ("records.jsonl", lambda: None)):
        change_lines(shard_file(place, plan, name), weight=2)
        sign_again(shard_file(place, plan, name))
        step()
        validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == 2


# ---- the plan


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_plan_says_which_task_to_clear(place: Place, kind: str) -> None:
    place.good_rows(1)
    plan = place.plan()
    path = place.work.local_path(layout.plan_path(plan.plan_id))
    damage(path, kind)
    with pytest.raises(StepMissingError, match=r"plan\.json cannot be read .*: clear the run's plan task") as said:
        Plan.load(place.work, plan.plan_id)
    assert "\n" not in str(said.value)
    path.unlink()
    with pytest.raises(StepMissingError, match=r"plan\.json is missing: .*clear the run's plan task"):
        Plan.load(place.work, plan.plan_id)


def test_a_plan_in_which_something_was_altered_says_which_task_to_clear(place: Place) -> None:
    place.good_rows(1)
    plan = place.plan()
    path = place.work.local_path(layout.plan_path(plan.plan_id))
    path.write_bytes(path.read_bytes().replace(b'"max_tokens": 512', b'"max_tokens": 513'))
    with pytest.raises(StepMissingError, match=r"is not what was planned under this id: .*clear the run's plan task"):
        Plan.load(place.work, plan.plan_id)


@pytest.mark.parametrize("inside", [True, False], ids=["settings", "plan"])
def test_a_plan_of_another_version_is_not_followed_by_halves(place: Place, inside: bool) -> None:
    """What this version does not know of might have shaped the build."""
    place.good_rows(1)
    plan = place.plan()
    path = place.work.local_path(layout.plan_path(plan.plan_id))
    settings = json.loads(path.read_bytes())["settings"]
    change(path, **({"settings": settings | {"blur_faces": True}} if inside else {"blur_faces": True}))
    with pytest.raises(StepMissingError, match=r"blur_faces.*another version.*clear the run's plan task"):
        Plan.load(place.work, plan.plan_id)


# ---- where rows were


def _parquet(table: pa.Table, metadata: pa.Schema | None = None) -> bytes:
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata.metadata if metadata else None), out)
    return out.getvalue()


def _schema_of(shards: str) -> pa.Schema:
    return pa.schema([("row", pa.uint64()), ("shard", pa.uint32())], {b"shards": shards})


def _table(row: list[int | None], shard: list[int | None], shards: str = '["a"]') -> bytes:
    schema = _schema_of(shards)
    return _parquet(pa.table({"row": row, "shard": shard}, schema), schema)


ROW_INDEXES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "not-parquet": lambda data: b"{}",
    "zeros": lambda data: bytes(len(data)),
    "empty": lambda data: b"",
    "no-shards": lambda data: _parquet(pq.read_table(io.BytesIO(data))),
    "other-columns": lambda data: _parquet(pa.table({"a": [1]}), pq.read_table(io.BytesIO(data)).schema),
    "texts": lambda data: _parquet(pa.table({"row": ["a"], "shard": ["b"]}), pq.read_table(io.BytesIO(data)).schema),
    "nulls": lambda data: _table([1, None], [0, 0]),
    "no-such-shard": lambda data: _table([1, 2], [0, 1]),
    "shards-are-none": lambda data: _table([1], [0], "{}"),
    "shards-are-numbers": lambda data: _table([1], [0], "[7]"),
    "shards-lead-elsewhere": lambda data: _parquet(
        pq.read_table(io.BytesIO(data)), _schema_of('["../../../../drops"]')
    ),
}


@pytest.mark.parametrize("kind", ROW_INDEXES)
def test_where_rows_were_is_damaged_so_their_answers_are_asked_for_again(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    place.good_rows(3)
    plan = place.plan()
    build(place, vlm)
    path = place.work.local_path(layout.row_index_path(plan.plan_id))
    path.write_bytes(ROW_INDEXES[kind](path.read_bytes()))
    caplog.clear()
    again = place.plan(run_id="run-2", shard_size=2)
    assert len([text for text in caplog.messages if "lineage.parquet" in text and "asked again" in text]) == 1
    assert load_row_index(place.work, plan.plan_id) is NO_ROW_INDEX
    render(place, again)
    assert sum(counts.asked for counts in caption(place, again, vlm)) == 3
    validate(place, again)
    assert publish(place, again).manifest.counts.captioned == 3


def test_where_rows_were_is_gone_so_their_answers_are_asked_for_again(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture
) -> None:
    place.good_rows(3)
    plan = place.plan()
    build(place, vlm)
    place.work.delete(layout.row_index_path(plan.plan_id))
    caplog.clear()
    again = place.plan(run_id="run-2", shard_size=2)
    assert len([text for text in caplog.messages if "lineage.parquet" in text]) == 1
    assert not any(again.sources.values())


# ---- how far a build is


def test_how_far_a_damaged_build_is_is_told_as_far_as_it_can_be(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture
) -> None:
    place.good_rows(4)
    plan = place.plan(shard_size=2)
    render(place, plan)
    caption(place, plan, vlm)
    part = as_of_then(shard_file(place, plan, "answers/*.jsonl"))
    part.write_bytes(part.read_bytes() + b"\0" * 50)
    shard_file(place, plan, "rendered.jsonl", 1).write_bytes(b"\0" * 50)
    status = BuildStatus(place.work)
    for _ in range(3):
        at = status.update(plan.plan_id)
    assert (at.images, at.questions, at.answers) == (2, 2, 2)
    assert len([text for text in caplog.messages if part.name in text]) == 1


@pytest.mark.parametrize("kind", [*DAMAGE, "missing"])
def test_how_far_a_build_without_its_plan_is_nobody_knows(place: Place, kind: str) -> None:
    place.good_rows(1)
    plan = place.plan()
    if kind == "missing":
        shutil.rmtree(place.work.local_path(f"plans/{plan.plan_id}"))
    else:
        damage(place.work.local_path(layout.plan_path(plan.plan_id)), kind)
    assert BuildStatus(place.work).update(plan.plan_id).questions == 0
