"""A build is one plan: what steps of another plan left behind, what was altered or never done, is never published."""

from collections.abc import Callable
from pathlib import Path

import pytest

from regioncap.errors import StepMissingError
from regioncap.steps.caption import caption_shard
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.warehouse.manifest import current
from regioncap.work.plan import Plan
from tests.builders import Place, read_whole
from tests.fake_vlm import FakeVlm, answer_well, completion
from tests.steps import caption, endpoint, publish, records, render, validate

# Other prompts, other marks and other ways to ask.
A = {"prompt": "Describe the {n} regions.", "mark_style": "corners", "shard_size": 2}
B = {"prompt": "What is in the {n} regions?", "caption_mode": "per_region", "shard_size": 2}


def all_steps(place: Place, plan: Plan, vlm: FakeVlm) -> None:
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)


def is_all_of(place: Place, plan: Plan) -> bool:
    """Whether what is published was made by this plan alone."""
    read_whole(place.partition)
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.identity == plan.identity
    asked = plan.settings.prompt_template.split()[0]
    return all(record["prompt"].startswith(asked) for record in records(place))


def files(place: Place, name: str) -> list[Path]:
    """All files of this name in the work area."""
    root = place.work.local_path("")
    assert root is not None
    return sorted(root.glob(f"**/{name}"))


@pytest.fixture
def place(place: Place) -> Place:
    place.good_rows(6)
    return place


def test_a_shard_that_is_validated_again_after_another_run_leaves_the_build_one(place: Place, vlm: FakeVlm) -> None:
    first = place.plan(**A)
    all_steps(place, first, vlm)
    publish(place, first)
    second = place.plan(run_id="run-2", **B)
    all_steps(place, second, vlm)
    publish(place, second)
    assert is_all_of(place, second)
    validate_shard(work=place.work, shard_id=first.shards[1], plan=first)
    publish(place, first)
    assert is_all_of(place, first)


def test_publish_alone_again_after_another_run_leaves_the_build_one(place: Place, vlm: FakeVlm) -> None:
    first, second = place.plan(**A), place.plan(run_id="run-2", **B)
    all_steps(place, first, vlm)
    all_steps(place, second, vlm)
    publish(place, first)
    assert is_all_of(place, first)
    publish(place, second)
    assert is_all_of(place, second)


def test_two_runs_whose_tasks_take_turns_make_two_builds(place: Place, vlm: FakeVlm) -> None:
    first, second = place.plan(**A), place.plan(run_id="run-2", **B)
    for plan in (first, second):
        render(place, plan)
    for plan in (second, first):
        caption(place, plan, vlm)
    for plan in (first, second):
        validate(place, plan)
    for plan in (second, first):
        publish(place, plan)
        assert is_all_of(place, plan)


@pytest.mark.parametrize("step", ["render", "caption", "validate"])
def test_a_task_that_somebody_marked_as_a_success_is_named(place: Place, vlm: FakeVlm, step: str) -> None:
    """Another plan's task of the same shard has done its own work."""
    all_steps(place, place.plan(**A), vlm)
    plan = place.plan(run_id="run-2", **B)
    for shard_id in plan.shards:
        marked = shard_id == plan.shards[1]
        if not (marked and step == "render"):
            render_shard(
                drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None
            )
    with pytest.raises(StepMissingError, match=f"clear .*shard's {step} task"):
        for shard_id in plan.shards:
            if not (shard_id == plan.shards[1] and step == "caption"):
                caption_shard(
                    work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint(vlm), progress=lambda at: None
                )
        for shard_id in plan.shards:
            if not (shard_id == plan.shards[1] and step == "validate"):
                validate_shard(work=place.work, shard_id=shard_id, plan=plan)
        publish(place, plan)
    assert current(place.partition) == (None, None)


def test_a_shard_that_the_plan_does_not_have_says_which_task_to_clear(place: Place, vlm: FakeVlm) -> None:
    """The run's plan task was cleared by itself, and has found nothing to do."""
    plan = place.plan(**A)
    all_steps(place, plan, vlm)
    publish(place, plan)
    again = place.plan(run_id="run-2", **A)
    assert again.unchanged and Plan.load(place.work, plan.plan_id) == plan
    one = {"work": place.work, "shard_id": plan.shards[0], "plan": again}
    for step in (
        lambda: render_shard(drop=place.drop, progress=lambda done, rows: None, **one),
        lambda: caption_shard(vlm=endpoint(vlm), progress=lambda at: None, **one),
        lambda: validate_shard(**one),
    ):
        with pytest.raises(StepMissingError, match=r"has no shard .*clear the run's plan task"):
            step()


def alter(path: Path, before: bytes, after: bytes) -> None:
    """Change characters of a file and leave its size as it is."""
    data = path.read_bytes()
    assert before in data and len(before) == len(after)
    path.write_bytes(data.replace(before, after, 1))


def steps_of(place: Place, plan: Plan, vlm: FakeVlm) -> list[Callable[[], object]]:
    return [
        lambda: render(place, plan), lambda: caption(place, plan, vlm), lambda: validate(place, plan),
        lambda: publish(place, plan),
    ]  # fmt: skip


# A file, what is altered in it, after how many steps, and the task that has to be cleared then.
ALTERED = [
    ("rows.jsonl", b"[10,10,40,30]", b"[10,10,41,30]", 0, "plan"),
    ("versions/*.json", b",", b" ", 0, "plan"),
    ("rendered.jsonl", b'"box_index":0', b'"box_index":1', 1, "render"),
    ("rendered.jsonl", b'"box_index":0', b'"box_index":1', 2, "render"),
    ("render_rejected.jsonl", b"none.jpg", b"gone.jpg", 3, "render"),
    ("records.jsonl", b'"caption":"what', b'"caption":"that', 3, "validate"),
    ("validate_rejected.jsonl", b"no region", b"no reason", 3, "validate"),
    ("rejected.jsonl", b"half a row", b"half a cow", 3, "plan"),
]


@pytest.mark.parametrize(("name", "before", "after", "done", "task"), ALTERED)
def test_an_altered_character_is_never_published(
    place: Place, vlm: FakeVlm, name: str, before: bytes, after: bytes, done: int, task: str
) -> None:
    manifest = (place.drop_folder / "manifest.jsonl").read_text()
    place.put("manifest.jsonl", manifest + '{"image": "none.jpg", "bbox": [[1, 2, 30, 40]]}\nhalf a row\n')
    plan = place.plan(shard_size=10, max_rejected_ratio=1, max_attempts=1)
    vlm.behave = lambda number, body: completion("nothing of use") if number == 1 else answer_well(body)
    steps = steps_of(place, plan, vlm)
    for step in steps[:done]:
        step()
    (path,) = files(place, name)
    alter(path, before, after)
    with pytest.raises(StepMissingError, match=f"clear .*{task} task"):
        for step in steps[done:]:
            step()
    assert current(place.partition) == (None, None)
    # What is cleared is made anew, and nothing else is asked.
    asked = len(vlm.requests)
    if task == "plan":
        assert place.plan(shard_size=10, max_rejected_ratio=1, max_attempts=1) == plan
    for step in steps[{"plan": 0, "render": 0, "validate": 2}[task] :]:
        step()
    read_whole(place.partition)
    assert done < 2 or len(vlm.requests) == asked


@pytest.mark.parametrize("how", ["altered", "empty", "gone"])
def test_a_marked_image_that_is_not_as_it_was_marked_is_never_sent(place: Place, vlm: FakeVlm, how: str) -> None:
    plan = place.plan()
    render(place, plan)
    image = files(place, "images/*.jpg")[2]
    data = image.read_bytes()
    image.unlink()
    if how != "gone":
        image.write_bytes(b"" if how == "empty" else data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(StepMissingError, match="clear the shard's render task"):
        caption(place, plan, vlm)
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert is_all_of(place, plan)


def test_an_altered_answer_is_never_published(place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture) -> None:
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    (part,) = files(place, "answers/*.jsonl")
    asked = len(vlm.requests)
    alter(part, b"what is in", b"that is in")
    caplog.clear()
    with pytest.raises(StepMissingError, match="clear the shard's caption task"):
        validate(place, plan)
    assert part.name in caplog.text and "asked again" in caplog.text
    caption(place, plan, vlm)
    assert len(vlm.requests) == 2 * asked
    validate(place, plan)
    publish(place, plan)
    assert is_all_of(place, plan)
