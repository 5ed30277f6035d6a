"""What people have corrected is in every later build, and asks nobody."""

import json
import random
import shutil
from typing import Any

import pytest

from regioncap.errors import ManifestError
from regioncap.warehouse import journal
from regioncap.warehouse.corrections import Correction, about_record, about_region, correct, corrections_of
from regioncap.warehouse.history import roll_back
from regioncap.warehouse.manifest import current
from tests.builders import Place
from tests.fake_vlm import FakeVlm, Reply, answer_well, completion
from tests.steps import build, records, rejected


def say(place: Place, action: Any, about: str, caption: str | None = None, by: str = "ann", note: str = "") -> None:
    """Enter a correction, having seen all that was said before."""
    journal = corrections_of(place.partition)
    line = Correction(at="2026-10-05T10:00:00+00:00", by=by, action=action, about=about, caption=caption, note=note)
    correct(journal, [line], len(journal.lines()))


def region(record: dict[str, Any], number: int, language: str = "en") -> str:
    """What a region of a record is known by."""
    (box,) = [item["bbox"] for item in record["regions"] if item["region"] == number]
    return about_region(record["image_sha256"], box, language)


def whole(record: dict[str, Any], language: str = "en") -> str:
    """What a record is known by."""
    return about_record(record["image_sha256"], record["bbox"], language)


def captions(record: dict[str, Any]) -> dict[int, str]:
    return {item["region"]: item["caption"] for item in record["regions"]}


def test_the_next_run_publishes_what_was_corrected_and_asks_nothing(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    build(place, vlm)
    first, second, third, fourth = records(place)
    assert not any(record["corrected"] for record in records(place))
    asked = len(vlm.requests)
    say(place, "edit", region(first, 2), "a blue door")
    say(place, "reject", region(second, 1), note="it is a shadow")
    say(place, "reject", whole(third), note="not ours")
    vlm.behave = lambda *_: Reply(500, "the model is not to be asked")
    published = build(place, vlm, run_id="run-2")
    assert len(vlm.requests) == asked and not published.unchanged
    one, two, four = records(place)
    assert captions(one) == {1: captions(first)[1], 2: "a blue door"}
    assert one["answer"] == f"<region1>: {captions(first)[1]}\n<region2>: a blue door"
    assert [item["corrected"] for item in one["regions"]] == [False, True] and one["corrected"]
    assert captions(two) == {2: captions(second)[2]} and two["corrected"] and two["valid_bboxes_num"] == 2
    assert two["dropped_boxes"] == [{"box_index": 0, "code": "rejected_by_person"}]
    assert four == fourth
    (gone,) = rejected(place).values()
    assert (gone["code"], gone["reason"]) == ("rejected_by_person", "not ours")
    everything = "".join(place.published(name) for name in ("rejected.jsonl", "report.json", "README.md"))
    assert "ann" not in json.dumps([one, two, four]) and '"ann"' not in everything
    assert build(place, vlm, run_id="run-3").unchanged
    say(place, "restore", whole(third))
    build(place, vlm, run_id="run-4")
    assert len(records(place)) == 4 and records(place)[2] == third and len(vlm.requests) == asked


def test_what_a_person_says_holds_under_other_settings_wherever_the_row_stands(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    build(place, vlm)
    first, second = records(place)
    say(place, "edit", region(first, 1), "a blue door")
    say(place, "edit", region(first, 2), "sorry, I cannot see region 2")  # gates of meaning have no say
    asked = len(vlm.requests)
    place.put_rows(
        {"image": "1.jpg", "bbox": second["bbox"]},
        {"image": "0.jpg", "bbox": list(reversed(first["bbox"]))},
    )
    build(place, vlm, temperature=0.5)
    moved, turned = records(place)
    assert captions(turned) == {2: "a blue door", 1: "sorry, I cannot see region 2"}
    assert turned["checks"] == [] and not moved["corrected"]
    assert len(vlm.requests) == asked + 1  # about the other row alone
    vlm.behave = lambda *_: completion(json.dumps({"<region1>": "一扇红色的门", "<region2>": "一只灰色的猫"}))
    build(place, vlm, prompt_language="zh")
    assert not any(record["corrected"] for record in records(place))


def test_regions_that_a_person_has_settled_are_not_asked_for_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda *_: completion(json.dumps({"<region1>": "a door", "<region2>": "sorry, I cannot help with it"}))
    build(place, vlm, max_attempts=1, max_rejected_ratio=1)
    (row,) = rejected(place).values()
    assert row["code"] == "refusal"
    about = about_region(row["row"]["image_sha256"], row["row"]["regions"][1]["bbox"], "en")
    say(place, "edit", about, "a window")
    asked = len(vlm.requests)
    build(place, vlm, max_attempts=3)
    (record,) = records(place)
    assert captions(record) == {1: "a door", 2: "a window"} and len(vlm.requests) == asked


def test_a_row_is_restored_by_captions_for_all_of_its_regions(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    bad = completion("no words about it")
    vlm.behave = lambda number, body: bad if number == 0 else answer_well(body)
    build(place, vlm, max_attempts=1, max_rejected_ratio=1)
    (row,) = rejected(place).values()
    for item in row["row"]["regions"]:
        say(place, "edit", about_region(row["row"]["image_sha256"], item["bbox"], "en"), f"thing {item['region']}")
    asked = len(vlm.requests)
    build(place, vlm, max_attempts=1)
    assert [sorted(captions(record).values()) for record in records(place) if record["corrected"]] == [
        ["thing 1", "thing 2"]
    ]
    assert len(vlm.requests) == asked


def test_of_a_row_without_regions_left_nothing_is_published(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    build(place, vlm)
    first = records(place)[0]
    for number in (1, 2):
        say(place, "reject", region(first, number))
    build(place, vlm, max_rejected_ratio=0)  # what a person leaves out does not stop a build
    assert len(records(place)) == 1
    assert [row["code"] for row in rejected(place).values()] == ["rejected_by_person"]


def test_with_close_ups_only_the_other_regions_are_asked_about(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    build(place, vlm)
    (first,) = records(place)
    say(place, "edit", region(first, 1), "a blue door")
    asked = len(vlm.requests)
    build(place, vlm, caption_mode="per_region", model_profile="qwen2.5-vl")
    (record,) = records(place)
    assert captions(record)[1] == "a blue door" and len(vlm.requests) == asked + 1


def test_a_plan_goes_on_with_what_was_said_when_it_was_made(place: Place, vlm: FakeVlm) -> None:
    from tests.steps import caption, publish, render, validate

    place.good_rows(1)
    build(place, vlm)
    (first,) = records(place)
    say(place, "edit", region(first, 1), "a blue door")
    plan = place.plan(run_id="run-2")
    render(place, plan)
    say(place, "edit", region(first, 1), "a green door")
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert captions(records(place)[0])[1] == "a blue door"
    assert not build(place, vlm, run_id="run-3").unchanged
    assert captions(records(place)[0])[1] == "a green door"


@pytest.mark.parametrize("harm", ["the last line", "the last file", "the journal"])
def test_corrections_that_are_gone_stop_the_run(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(journal, "FILE_LINES", 2)
    place.good_rows(2)
    build(place, vlm)
    first = records(place)[0]
    for number, caption in ((1, "a blue door"), (2, "a gate"), (1, "a green door"), (2, "a wall")):
        say(place, "edit", region(first, number), caption)
    published = build(place, vlm, run_id="run-2").manifest
    assert published.corrections == 4
    folder = place.folder / "warehouse" / f"dt={place.date}" / "_corrections"
    last = folder / "000000003.jsonl"
    if harm == "the last line":
        last.write_bytes(last.read_bytes().splitlines(keepends=True)[0])
    elif harm == "the last file":
        last.unlink()
    else:
        shutil.rmtree(folder)
    told = r"_corrections had 4 lines when .* was planned, and has [320] now: restore its files"
    with pytest.raises(ManifestError, match=told):
        place.plan(run_id="run-3")
    assert captions(records(place)[0]) == {1: "a green door", 2: "a wall"}


def test_lines_that_come_while_another_run_publishes_stop_nobody(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    build(place, vlm)
    (first,) = records(place)
    say(place, "edit", region(first, 1), "a blue door")
    published = build(place, vlm, run_id="run-2").manifest
    say(place, "note", region(first, 1), note="hm")
    roll_back(place.partition, None)
    manifest, _ = current(place.partition)
    assert manifest is not None and (published.corrections, manifest.corrections) == (1, 0)
    assert build(place, vlm, run_id="run-3").unchanged


@pytest.mark.parametrize("seed", range(2))
def test_none_is_lost_none_is_doubled_none_is_asked_again(place: Place, vlm: FakeVlm, seed: int) -> None:
    """Edits of two people, runs with other settings and roll-backs in any order: builds are what a model says."""
    chance = random.Random(seed)
    place.good_rows(3)
    build(place, vlm, keep_builds=9)
    first = records(place)
    wanted: dict[tuple[int, int], str | None] = {}  # by row and region: a caption, or None where it is left out
    entered = 0
    temperature = 0.0
    for step in range(10):
        action = chance.choice(["edit", "edit", "edit", "reject", "settings", "run", "roll back"])
        row, number = chance.randrange(3), chance.choice([1, 2])
        if action == "edit":
            wanted[row, number] = f"thing {step}"
            say(place, "edit", region(first[row], number), f"thing {step}", chance.choice(["ann", "ben"]))
            entered += 1
        elif action == "reject":
            wanted[row, number] = None
            say(place, "reject", region(first[row], number), by=chance.choice(["ann", "ben"]))
            entered += 1
        elif action == "roll back":
            manifest, _ = current(place.partition)
            if manifest is not None and any(not earlier.withdrawn for earlier in manifest.history):
                roll_back(place.partition, None)
        else:
            if action == "settings":
                temperature = round(chance.uniform(0.1, 1), 3)
            build(place, vlm, f"run-{step}", temperature=temperature, keep_builds=9, max_rejected_ratio=1)
    say(place, "edit", region(first[0], 1), "the last word")
    wanted[0, 1] = "the last word"
    asked = len(vlm.requests)
    settled = {row for row in range(3) if {(row, 1), (row, 2)} <= wanted.keys()}
    build(place, vlm, "run-last", temperature=0.05, keep_builds=9, max_rejected_ratio=1)
    assert len(vlm.requests) == asked + 3 - len(settled)
    by_image = {record["image"]: record for record in records(place)}
    for row, record in enumerate(first):
        said = {1: captions(record)[1], 2: captions(record)[2]}
        said |= {number: caption for (at, number), caption in wanted.items() if at == row}
        kept = {number: caption for number, caption in said.items() if caption is not None}
        assert captions(by_image[record["image"]]) == kept if kept else record["image"] not in by_image
    lines = corrections_of(place.partition).lines()
    assert [line.number for line in lines] == list(range(1, entered + 2))
