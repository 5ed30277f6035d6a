"""`validate`: from answers to records and rejected rows."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from regioncap.regions.records import Rejected
from regioncap.warehouse.manifest import current
from regioncap.work import layout
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture, read_lines
from tests.fake_vlm import FakeVlm, Reply, answer_well, completion
from tests.steps import BOXES, build, caption, jpeg_of, publish, records, rejected, render, validate


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (completion(""), "empty"),
        (completion(None), "empty"),
        (completion('{"<region1>": "a thing", "<region2>": "anoth', "length"), "cut_off"),
        (completion('{"<region1>": "a thing"}'), "missing_region"),
        (completion('{"<region1>": "a thing", "<region2>": "  "}'), "empty"),
        (completion('{"<region1>": "a cat", "<region2>": "a dog", "<region3>": "a cow"}'), "invented_region"),
        (completion('{"what": "is this"}'), "unparseable"),
        (completion('{"<region1>": "broken'), "unparseable"),
        (Reply(400, '{"error": {"message": "the prompt is too long"}}'), "request_refused"),
    ],
)
def test_a_bad_answer_rejects_its_row_with_a_code(place: Place, vlm: FakeVlm, reply: Reply, code: str) -> None:
    place.good_rows(3)
    first: list[str] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        image = body["messages"][1]["content"][0]["image_url"]["url"]
        first.append(image)
        return reply if image == first[0] else answer_well(body)

    vlm.behave = behave
    plan = place.plan(max_rejected_ratio=1)
    render(place, plan)
    caption(place, plan, vlm, max_in_flight=1)
    validate(place, plan)
    publish(place, plan)
    assert [row["code"] for row in rejected(place).values()] == [code]
    assert len(records(place)) == 2


def test_both_answer_formats_yield_regions_and_one_answer(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    build(place, vlm)
    (structured,) = records(place)
    vlm.behave = lambda _, body: completion("<region1>: one thing\n<region2>: another\n")
    build(place, vlm, answer_format="free_text")
    (free,) = records(place)
    assert structured["answer"] == "<region1>: what is in <region1>\n<region2>: what is in <region2>"
    assert free["answer"] == "<region1>: one thing\n<region2>: another"
    assert [region["caption"] for region in free["regions"]] == ["one thing", "another"]


@pytest.mark.parametrize("answer_format", ["structured", "free_text"])
def test_each_region_can_be_asked_about_by_itself_with_a_close_up(
    place: Place, vlm: FakeVlm, answer_format: str
) -> None:
    place.put("a.jpg", encoded(picture(400, 300)))
    place.put_rows({"image": "a.jpg", "bbox": [[10, 10, 60, 60], [200, 100, 50, 50], [500, 0, 10, 10]]})
    build(place, vlm, caption_mode="per_region", answer_format=answer_format, model_profile="qwen2.5-vl")
    (record,) = records(place)
    assert [region["region"] for region in record["regions"]] == [1, 2]
    assert record["answer"].splitlines()[1].startswith("<region2>: what is in")
    # The record goes with the marked image and the request about all of its regions, however it was asked.
    assert record["prompt"].endswith("There are 2 regions: <region1> to <region2>.")
    assert len(vlm.requests) == 2
    contents = [request["messages"][1]["content"] for request in vlm.requests]
    for content in contents:
        assert [part["type"] for part in content] == ["image_url", "text", "image_url", "text"]
        assert content[:2] == contents[0][:2] and content[1]["text"] == record["prompt"]
    assert {content[3]["text"] for content in contents} == {
        f"This is a close-up of <region{k}>. Describe <region{k}> only." for k in (1, 2)
    }
    marked = jpeg_of(contents[0][0])
    assert marked.size == (392, 308)
    # Only the marked image is published.
    manifest, _ = current(place.partition)
    assert manifest is not None
    assert len(list(place.partition.list(f"{manifest.build}/images/"))) == 1


def test_a_single_region_asked_about_by_itself_has_a_line_too(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": BOXES})
    vlm.behave = lambda number, body: completion("a blue disc")
    build(place, vlm, caption_mode="per_region", answer_format="free_text")
    assert records(place)[0]["answer"] == "<region1>: a blue disc"


def test_one_bad_answer_about_a_region_rejects_the_row_and_keeps_the_others(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    vlm.behave = lambda number, body: completion("") if number == 1 else answer_well(body)
    build(place, vlm, caption_mode="per_region", max_attempts=1, max_rejected_ratio=0.5)
    assert len(records(place)) == 1
    assert [row["code"] for row in rejected(place).values()] == ["empty"]


def test_a_server_that_ignores_schemas_is_told_of_and_its_free_text_is_read(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture
) -> None:
    place.good_rows(1)
    vlm.ignores_schemas = True
    vlm.behave = lambda number, body: completion("<region1>: a red door\n<region2>: a cat")
    build(place, vlm)
    assert records(place)[0]["answer"] == "<region1>: a red door\n<region2>: a cat"
    assert "ignores JSON schemas" in caplog.text
    manifest, _ = current(place.partition)
    assert manifest is not None
    assert json.loads(place.partition.read(f"{manifest.build}/report.json"))["timings"]["schema_ignored"] is True


GATE = """
from regioncap.gates import Gate, each_caption
it = Gate("no_doors", "{severity}", each_caption(lambda caption: {check}))
"""


def test_ones_own_gate_that_warns_is_in_the_records_checks(
    place: Place, vlm: FakeVlm, extend: Callable[..., None]
) -> None:
    extend(
        "regioncap.gates",
        "no_doors",
        GATE.format(severity="warn", check="'is a door' if 'door' in caption.text else None"),
    )
    place.good_rows(1)
    vlm.behave = lambda number, body: completion('{"<region1>": "a red door", "<region2>": "a cat"}')
    build(place, vlm)
    assert records(place)[0]["checks"] == ["no_doors"]


def test_ones_own_gate_that_rejects_names_the_rejected_row(
    place: Place, vlm: FakeVlm, extend: Callable[..., None]
) -> None:
    extend(
        "regioncap.gates",
        "no_doors",
        GATE.format(severity="reject", check="'is a door' if 'door' in caption.text else None"),
    )
    place.good_rows(1)
    both, again = '{"<region1>": "a red door", "<region2>": "a cat"}', '{"<region1>": "a blue door"}'
    vlm.behave = lambda number, body: completion(again if number else both)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    (row,) = read_lines(Shard(place.work, plan, plan.shards[0]).own, layout.VALIDATE_REJECTED, Rejected)
    assert (row.code, row.reason) == ("no_doors", "<region1> is a door")
    assert len(vlm.requests) == 3
    # Only about the door.
    assert vlm.requests[1]["response_format"]["json_schema"]["schema"]["required"] == ["<region1>"]


def test_ones_own_gate_that_raises_loses_no_row(place: Place, vlm: FakeVlm, extend: Callable[..., None]) -> None:
    extend("regioncap.gates", "no_doors", GATE.format(severity="reject", check="caption.no_such_thing"))
    place.good_rows(2)
    build(place, vlm)
    assert [record["checks"] for record in records(place)] == [["gate_error"], ["gate_error"]]


def test_what_a_gate_that_rejects_is_not_sure_of_is_in_the_checks_and_costs_no_attempt(
    place: Place, vlm: FakeVlm
) -> None:
    place.good_rows(1)
    vlm.behave = lambda _, body: completion('{"<region1>": "A woman, labelled 1.", "<region2>": "a cat"}')
    build(place, vlm)
    assert (records(place)[0]["attempts"], records(place)[0]["checks"]) == (1, ["mark_talk"])


def test_regions_asked_one_by_one_tell_together_that_their_numbers_are_those_of_marks(
    place: Place, vlm: FakeVlm
) -> None:
    place.good_rows(1)
    said = {"<region1>": "A bench, labelled 1.", "<region2>": "A cat, numbered 2."}

    def behave(number: int, body: dict[str, Any]) -> Reply:
        (tag,) = body["response_format"]["json_schema"]["schema"]["required"]
        return completion(json.dumps({tag: said[tag]}))

    vlm.behave = behave
    build(place, vlm, caption_mode="per_region", model_profile="qwen2.5-vl")
    assert records(place)[0]["checks"] == ["mark_talk"]


def test_an_excuse_that_is_published_beside_the_captions_is_in_the_checks(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    said = "I'm sorry, but I can't identify real people.\n<region1>: a man in a suit\n<region2>: a red door"
    vlm.behave = lambda _, body: completion(said)
    build(place, vlm, answer_format="free_text")
    assert (records(place)[0]["answer"], records(place)[0]["checks"]) == (said, ["refusal"])


def test_a_caption_of_nothing_but_its_mark_in_the_marks_colour_is_asked_about_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: completion(
        '{"<region1>": "a cat", "<region2>": "a blue box with the number 2"}'
        if number == 0
        else '{"<region2>": "a dog"}'
    )
    build(place, vlm)
    assert records(place)[0]["attempts"] == 2
    assert [region["caption"] for region in records(place)[0]["regions"]] == ["a cat", "a dog"]


def test_warnings_are_about_the_captions_that_are_taken(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: completion(
        '{"<region1>": "a red door", "<region2>": "a red door", "<region3>": "a cat"}'
        if number == 0
        else '{"<region1>": "a red door", "<region2>": "a cat"}'
    )
    build(place, vlm)
    assert (records(place)[0]["attempts"], records(place)[0]["checks"]) == (2, [])


def test_regions_asked_about_one_by_one_are_compared_too(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: completion("a blue disc")
    build(place, vlm, caption_mode="per_region", answer_format="free_text")
    assert records(place)[0]["checks"] == ["same_text"]


def test_the_answer_in_free_text_is_the_models_own_without_its_thoughts(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    said = "Here you are:\n1. **<region1>**: a red door\n2. **<region2>**: a cat\n\nLet me know if you need more."
    vlm.behave = lambda _, __: completion(f"<think>\n<region1>: a cup, or so?\n</think>\n\n{said}")
    build(place, vlm, answer_format="free_text")
    (record,) = records(place)
    assert record["answer"] == said
    assert [region["caption"] for region in record["regions"]] == ["a red door", "a cat"]
