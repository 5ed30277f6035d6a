"""Answers that earlier plans of a date paid for: none is paid for twice, and each is read from where it is."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import TooManyRejectedError, VlmSetupError
from regioncap.steps.propose import propose_shard
from regioncap.storage.store import Store
from regioncap.work.plan import Plan
from tests.builders import Place, encoded, picture
from tests.fake_vlm import FakeVlm, answer_well, completion, error
from tests.steps import ASKING, build, caption, endpoint, publish, records, render, validate


def rows_of(place: Place) -> list[dict[str, Any]]:
    return [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]


def asked(place: Place, plan: Plan, vlm: FakeVlm) -> int:
    render(place, plan)
    return sum(counts.asked for counts in caption(place, plan, vlm))


@pytest.mark.parametrize("shard_size", [4, 1000])
def test_a_drop_that_is_mended_before_it_was_ever_published_asks_only_for_what_changed(
    place: Place, vlm: FakeVlm, shard_size: int
) -> None:
    place.good_rows(12)
    assert asked(place, place.plan(shard_size=shard_size), vlm) == 12
    rows = rows_of(place)
    del rows[3]
    place.put_rows(*rows)
    plan = place.plan(run_id="run-2", shard_size=shard_size)
    assert asked(place, plan, vlm) == 0
    rows[5]["bbox"] = [[20, 20, 30, 30]]
    place.put_rows(*rows)
    plan = place.plan(run_id="run-3", shard_size=shard_size)
    assert asked(place, plan, vlm) == 1
    validate(place, plan)
    assert publish(place, plan).manifest.counts.captioned == 11
    assert len(vlm.requests) == 13


def test_a_drop_that_is_mended_after_too_many_rejected_rows_pays_for_the_mended_row_alone(
    place: Place, vlm: FakeVlm
) -> None:
    place.good_rows(10)
    rows = rows_of(place)
    bad = {"image": "none.jpg", "bbox": [[1, 2, 30, 40]]}
    place.put_rows(bad, *rows)
    plan = place.plan(shard_size=2, max_rejected_ratio=0)
    assert asked(place, plan, vlm) == 10
    validate(place, plan)
    with pytest.raises(TooManyRejectedError):
        publish(place, plan)
    place.put("none.jpg", encoded(picture(colour=(1, 2, 3))))
    assert asked(place, place.plan(run_id="run-2", shard_size=2, max_rejected_ratio=0), vlm) == 1


def test_what_a_killed_caption_task_had_got_is_found_by_a_mended_drop(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(12)
    plan = place.plan()
    render(place, plan)
    vlm.behave = lambda number, body: answer_well(body) if number < 5 else error(401)
    with pytest.raises(VlmSetupError):
        caption(place, plan, vlm, max_in_flight=1)
    vlm.behave = lambda number, body: answer_well(body)
    place.put_rows(*rows_of(place)[1:])
    assert asked(place, place.plan(run_id="run-2"), vlm) == 7


def test_a_drop_that_changes_back_and_forth_never_pays_twice(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(9)
    rows = rows_of(place)
    build(place, vlm, shard_size=3)
    for run in range(3):
        random.Random(run).shuffle(rows)
        place.put_rows(*rows[run:])
        assert asked(place, place.plan(run_id=f"run-{run}", shard_size=3), vlm) == 0
    assert len(vlm.requests) == 9


def test_equal_questions_of_two_rows_are_paid_for_once_whichever_row_stays(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    boxes = [[10, 10, 40, 30]]
    first, second = ({"id": name, "image": "a.jpg", "bbox": boxes} for name in ("one", "two"))
    place.put_rows(first, second)
    build(place, vlm)
    place.put_rows(second)
    assert asked(place, place.plan(run_id="run-2"), vlm) == 0


def test_a_further_attempts_answer_is_found_too(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    vlm.behave = lambda number, body: completion('{"<region1>": "a red door"}') if number == 0 else answer_well(body)
    asked(place, place.plan(), vlm)
    assert len(vlm.requests) == 4
    place.put_rows(*reversed(rows_of(place)))
    assert asked(place, place.plan(run_id="run-2"), vlm) == 0


def test_proposals_are_found_where_their_images_are(place: Place, vlm: FakeVlm) -> None:
    for number in range(6):
        place.put(f"{number}.jpg", encoded(picture(colour=(number * 30, 9, 90))))
    images = [{"image": f"{number}.jpg"} for number in range(6)]
    place.put_rows(*images)

    def proposals(plan: Plan) -> int:
        return sum(
            propose_shard(
                drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint(vlm),
                progress=lambda at: None,
            ).asked
            for shard_id in plan.shards_to_propose
        )  # fmt: skip

    assert proposals(place.plan(shard_size=2, **ASKING)) == 6
    place.put_rows(*reversed(images[1:]))
    assert proposals(place.plan(run_id="run-2", shard_size=2, **ASKING)) == 0


def test_what_is_asked_anew_looks_for_no_earlier_answer(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    build(place, vlm)
    place.put_rows(*rows_of(place)[1:])
    assert asked(place, place.plan(run_id="run-2", force_rebuild=True), vlm) == 2


class CountingStore:
    """A store that counts what is read and listed of the answers below it."""

    def __init__(self, store: Any, counts: dict[str, int], path: str = "") -> None:
        self._store, self._counts, self._path = store, counts, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def sub(self, path: str) -> "CountingStore":
        return CountingStore(self._store.sub(path), self._counts, self._path + path)

    def _count(self, what: str, path: str) -> None:
        if "answers/" in self._path + path:
            self._counts[what] = self._counts.get(what, 0) + 1

    def read(self, path: str, version: str | None = None) -> bytes:
        self._count("read", path)
        return bytes(self._store.read(path, version))

    def list(self, prefix: str = "") -> Any:
        self._count("list", prefix)
        return self._store.list(prefix)


def counting(place: Place) -> dict[str, int]:
    counts: dict[str, int] = {}
    work: Store = CountingStore(place.work, counts)  # type: ignore[assignment]
    place.work = work  # type: ignore[assignment]
    return counts


@pytest.mark.parametrize("published", [True, False])
def test_a_drop_in_another_order_reads_each_answer_once_however_many_shards_there_are(
    place: Place, vlm: FakeVlm, published: bool
) -> None:
    shards, parts = 12, 2
    place.good_rows(shards * 6)
    if published:
        build(place, vlm, shard_size=6)
    else:
        asked(place, place.plan(shard_size=6), vlm)
    for folder in (place.folder / "warehouse" / "_work").rglob("answers"):
        (part,) = folder.iterdir()
        lines = part.read_bytes().splitlines(keepends=True)
        part.unlink()
        for number in range(parts):
            Path(folder, f"{number}.jsonl").write_bytes(b"".join(lines[number::parts]))
    rows = rows_of(place)
    random.Random(3).shuffle(rows)
    place.put_rows(*rows)
    counts = counting(place)
    plan = place.plan(run_id="run-2", shard_size=6)
    assert (len(plan.shards), counts) == (shards, {"list": shards, "read": shards * parts})
    assert not any(plan.sources.values())
    counts.clear()
    assert asked(place, plan, vlm) == 0
    # Of each shard its own folder, where nothing is yet, and what was brought.
    assert counts == {"list": 2 * shards, "read": shards}
    validate(place, plan)
    publish(place, plan)
    assert len(records(place)) == shards * 6
