"""The steps after `plan`, in local folders: render, caption, validate, publish."""

import asyncio
import base64
import hashlib
import io
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from PIL import Image
from urllib3.exceptions import ProtocolError

from regioncap.builds import layout
from regioncap.builds import render as render_step
from regioncap.builds import validate as validate_step
from regioncap.builds.ask.asking import AnswerSink, AskCounts, AskProgress, load_answers
from regioncap.builds.ask.caption import caption_shard
from regioncap.builds.ask.propose import propose_shard
from regioncap.builds.plan import Plan
from regioncap.builds.publish.commit import Published, TooManyRejectedError, publish_build
from regioncap.builds.publish.manifest import CommitRefusedError, Manifest, commit, current
from regioncap.builds.render import AccessDeniedError, BoxFormatError, DropChangedError, render_shard
from regioncap.builds.shard import StepMissingError, read_lines
from regioncap.builds.status import BuildStatus
from regioncap.builds.unforeseen import UnforeseenError
from regioncap.builds.validate import validate_shard
from regioncap.errors import PermanentError
from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.records import PlannedRow, Rejected
from regioncap.storage.local import LocalStore
from regioncap.storage.store import StorageError
from regioncap.vlm.client import Endpoint, RawAnswer, VlmSetupError, VlmUnavailableError
from tests.builders import Place, broken_rows, encoded, picture
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, completion, error

BOXES = [[10, 10, 40, 30]]
ASKING = {"when_no_boxes": "ask_model", "model_profile": "qwen2.5-vl"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def endpoint(vlm: FakeVlm, **changes: Any) -> Endpoint:
    return Endpoint(**{"base_urls": (vlm.url,), "model": MODEL, "patience_seconds": 1.0, **changes})


def render(place: Place, plan: Plan) -> None:
    for shard_id in plan.shards:
        render_shard(
            drop=place.drop,
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            progress=lambda done, rows: None,
        )


def caption(place: Place, plan: Plan, vlm: FakeVlm, **changes: Any) -> list[AskCounts]:
    return [
        caption_shard(
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            vlm=endpoint(vlm, **changes),
            progress=lambda at: None,
        )
        for shard_id in plan.shards
    ]


def propose(place: Place, plan: Plan, vlm: FakeVlm) -> list[AskCounts]:
    return [
        propose_shard(
            drop=place.drop,
            work=place.work,
            shard_id=shard_id,
            plan=plan,
            vlm=endpoint(vlm),
            progress=lambda at: None,
        )
        for shard_id in plan.shards_to_propose
    ]


def jpeg_of(part: dict[str, Any]) -> Image.Image:
    """The image in a part of a request."""
    return Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))


def validate(place: Place, plan: Plan) -> None:
    for shard_id in plan.shards:
        validate_shard(work=place.work, shard_id=shard_id, plan=plan)


def publish(place: Place, plan: Plan) -> Published:
    return publish_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, progress=lambda message: None
    )


def build(place: Place, vlm: FakeVlm, run_id: str = "run-1", **changes: Any) -> Published:
    plan = place.plan(run_id=run_id, **changes)
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    return publish(place, plan)


def records(place: Place) -> list[dict[str, Any]]:
    manifest, _ = current(place.partition)
    assert manifest is not None
    lines = [line for entry in manifest.captions for line in place.partition.read(entry.path).splitlines()]
    return [json.loads(line) for line in lines]


def rejected(place: Place) -> dict[str, dict[str, Any]]:
    """Rejected rows by their image."""
    manifest, _ = current(place.partition)
    assert manifest is not None
    rows = [json.loads(line) for line in place.partition.read(manifest.rejected.path).splitlines()]
    return {row["row"]["image"] if isinstance(row["row"], dict) else row["row"]: row for row in rows}


# ---- render


def bad_images(place: Place) -> dict[str, str]:
    """Puts pictures that cannot be used into the drop; returns the code of each."""
    good = encoded(picture())
    place.put("empty.jpg", b"")
    place.put("text.jpg", b"This is not a picture.")
    place.put("cut.jpg", good[:-200])
    place.put("folder/inside.txt", b"")
    (place.folder / "outside.jpg").write_bytes(good)
    (place.drop_folder / "link.jpg").symlink_to(place.folder / "outside.jpg")
    wide = Image.new("1", (20_000, 20_000))
    place.put("huge.png", encoded(wide, "PNG"))
    return {
        "none.jpg": "image_not_found",
        "empty.jpg": "image_empty",
        "text.jpg": "image_unreadable",
        "cut.jpg": "image_truncated",
        "folder": "image_not_found",
        "link.jpg": "image_is_link",
        "huge.png": "image_too_large",
    }


def test_broken_rows_of_every_kind_cost_no_good_row(place: Place, vlm: FakeVlm) -> None:
    expected = broken_rows(place)
    done = build(place, vlm, max_rejected_ratio=1)
    assert [record["id"] for record in records(place)] == expected.good
    rows = [json.loads(line) for line in place.partition.read(done.manifest.rejected.path).splitlines()]
    assert {row["line"]: row["code"] for row in rows} == expected.codes


def test_bad_pictures_are_rejected_and_cost_no_other_row(place: Place, vlm: FakeVlm) -> None:
    codes = bad_images(place)
    place.put("good.jpg", encoded(picture()))
    place.put("garbage-behind.jpg", encoded(picture()) + b"\x00garbage")
    place.put_rows(*({"image": name, "bbox": BOXES} for name in [*codes, "good.jpg", "garbage-behind.jpg"]))
    done = build(place, vlm, max_rejected_ratio=1)
    assert [record["image"] for record in records(place)] == ["good.jpg", "garbage-behind.jpg"]
    assert {image: row["code"] for image, row in rejected(place).items()} == codes
    assert all(row["reason"] and row["id"] for row in rejected(place).values())
    counts = done.manifest.counts
    assert counts.rows == counts.captioned + counts.rejected == 9


def test_a_path_means_the_same_file_however_it_is_written(place: Place, vlm: FakeVlm) -> None:
    place.put("street/20.jpg", encoded(picture()))
    place.put("a.jpg", encoded(picture(colour=(9, 9, 9))))
    images = {
        "back": "street\\20.jpg", "dot": "./street/20.jpg", "two": "street//20.jpg", "long": "图" * 563 + ".jpg",
        "name": "n" * 300, "gone": "none\\20.jpg", "ok": "a.jpg",
    }  # fmt: skip
    place.put_rows(*({"id": name, "image": image, "bbox": BOXES} for name, image in images.items()))
    build(place, vlm, max_rejected_ratio=1)
    assert {record["id"]: record["image_uri"].removeprefix(place.drop.uri) for record in records(place)} == {
        "back": "/street/20.jpg", "dot": "/street/20.jpg", "two": "/street/20.jpg", "ok": "/a.jpg",
    }  # fmt: skip
    refused = {row["id"]: row for row in rejected(place).values()}
    assert {name: row["code"] for name, row in refused.items()} == dict.fromkeys(
        ("long", "name", "gone"), "image_not_found"
    )
    assert "backslashes" in refused["gone"]["reason"] and "write /" in refused["gone"]["reason"]


def test_csv_lines_that_end_in_a_comma_are_records(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put("b.jpg", encoded(picture(colour=(9, 9, 9))))
    place.put("m.csv", 'image,bbox\na.jpg,"[[10, 10, 40, 30]]",\nb.jpg,"[[20, 20, 40, 30]]",\n')
    build(place, vlm, input_format="csv")
    assert [(record["image"], record["bbox"]) for record in records(place)] == [
        ("a.jpg", [[10, 10, 40, 30]]), ("b.jpg", [[20, 20, 40, 30]]),
    ]  # fmt: skip


def test_rows_nested_too_deep_cost_themselves_and_are_published_as_rejected(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    deep = ["[" * levels + "]" * levels for levels in (200, 250, 300)]
    rows = [f'{{"image": "a.jpg", "bbox": [[10, 10, 40, 30], {inner}]}}' for inner in deep]
    place.put_rows({"image": "a.jpg", "bbox": BOXES}, *rows, *(f'{{"image": 7, "bbox": {inner}}}' for inner in deep))
    done = build(place, vlm, max_rejected_ratio=1)
    assert (done.manifest.counts.captioned, done.manifest.counts.rejected) == (1, 6)
    assert {row["code"] for row in rejected(place).values()} == {"too_deep"}


@pytest.mark.parametrize("gone", [["1.jpg", "3.jpg"], [f"{number}.jpg" for number in range(10)]])
def test_an_image_that_goes_after_it_was_listed_is_never_a_rejected_row(place: Place, gone: list[str]) -> None:
    place.good_rows(10)
    plan = place.plan()
    kept = {name: (place.drop_folder / name).read_bytes() for name in gone}
    for name in gone:
        (place.drop_folder / name).unlink()
    with pytest.raises(DropChangedError, match=rf"{gone[0]} was there when plan listed it.*clear") as error:
        render(place, plan)
    assert not isinstance(error.value, PermanentError)
    for name, data in kept.items():
        place.put(name, data)
    render(place, plan)


def test_an_image_that_becomes_a_link_after_it_was_listed_is_never_a_rejected_row(place: Place) -> None:
    place.good_rows(2)
    plan = place.plan()
    (place.drop_folder / "1.jpg").unlink()
    (place.drop_folder / "1.jpg").symlink_to("0.jpg")
    with pytest.raises(DropChangedError):
        render(place, plan)


def test_a_drop_that_goes_while_it_is_built_is_never_published(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    plan = place.plan(max_rejected_ratio=1, **ASKING)
    place.drop.delete_folder()
    with pytest.raises(DropChangedError):
        render(place, plan)
    with pytest.raises(StepMissingError):
        publish(place, plan)


def test_an_image_that_comes_after_it_was_planned_is_used(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    place.put_rows({"image": "0.jpg", "bbox": BOXES}, {"image": "late.jpg", "bbox": BOXES})
    plan = place.plan()
    place.put("late.jpg", encoded(picture()))
    render(place, plan)
    assert not shard_rejected(place, plan)


def shard_rejected(place: Place, plan: Plan) -> dict[str, Rejected]:
    """What `render` rejected, by the row's image."""
    folders = [place.work.sub(layout.shard_path(shard_id)) for shard_id in plan.shards]
    rows = [row for folder in folders for row in read_lines(folder, layout.RENDER_REJECTED, Rejected)]
    return {row.row["image"]: row for row in rows}


def reading(monkeypatch: pytest.MonkeyPatch, faults: dict[str, Exception]) -> None:
    """Reading the image of one of these names raises the error."""
    read = render_step.read_image

    def read_or_fail(drop: LocalStore, path: str) -> bytes:
        if path in faults:
            raise faults[path]
        return read(drop, path)

    monkeypatch.setattr(render_step, "read_image", read_or_fail)


FORBIDDEN = RowFault(Code.IMAGE_FORBIDDEN, "the store does not let this file be read")


def test_where_no_image_of_a_shard_may_be_read_the_set_up_is_at_fault(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan()
    reading(monkeypatch, {f"{number}.jpg": FORBIDDEN for number in range(3)})
    with pytest.raises(AccessDeniedError, match=r"none of the 3 images .*access.*rights") as error:
        render(place, plan)
    assert isinstance(error.value, PermanentError)


def test_where_some_images_may_not_be_read_their_rows_are_rejected(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan()
    archived = RowFault(Code.IMAGE_ARCHIVED, "the file is in an archive: it has to be restored before it can be read")
    reading(monkeypatch, {"0.jpg": FORBIDDEN, "1.jpg": archived})
    render(place, plan)
    assert {name: row.code for name, row in shard_rejected(place, plan).items()} == {
        "0.jpg": "image_forbidden", "1.jpg": "image_archived",
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(5, "Input/output error"),
        OSError(116, "Stale file handle"),
        ConnectionError("the S3 service cannot be reached"),
        StorageError("access is denied"),
        ReadTimeoutError(endpoint_url="http://bucket"),
        ClientError({"Error": {"Code": "InternalError"}}, "GetObject"),
        ProtocolError("Connection broken"),
        IncompleteRead(b""),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
@pytest.mark.parametrize("step", ["reading", "marking"])
def test_what_may_pass_by_itself_never_rejects_a_row(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception, step: str
) -> None:
    place.good_rows(200)
    plan = place.plan(shard_size=200)
    if step == "reading":
        reading(monkeypatch, {"7.jpg": error})
    else:
        marking(monkeypatch, {8: error})
    with pytest.raises(type(error)) as raised:
        render(place, plan)
    assert any("manifest.jsonl, line 8: 7.jpg" in note for note in raised.value.__notes__)


def marking(monkeypatch: pytest.MonkeyPatch, faults: dict[int, Exception]) -> None:
    """Marking the image of one of these lines raises the error."""
    render_row = render_step.render_row

    def render_or_fail(row: PlannedRow, *rest: Any) -> Any:
        if row.line in faults:
            raise faults[row.line]
        return render_row(row, *rest)

    monkeypatch.setattr(render_step, "render_row", render_or_fail)


@pytest.mark.parametrize("rows", [1, 5, 200])
def test_what_nobody_foresaw_in_one_image_costs_its_row(
    place: Place, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    place.good_rows(rows)
    plan = place.plan()
    marking(monkeypatch, {rows: RuntimeError("OpenCV could not encode an image")})
    render(place, plan)
    ((name, row),) = shard_rejected(place, plan).items()
    assert (name, row.line, row.code) == (f"{rows - 1}.jpg", rows, "internal_error")
    assert row.reason.startswith("RuntimeError: OpenCV could not encode an image")


def test_what_nobody_foresaw_in_many_images_fails_the_task_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(5)
    plan = place.plan()
    marking(monkeypatch, {2: ValueError("odd"), 4: KeyError("odd")})
    with pytest.raises(UnforeseenError, match=r"2 of 5 rows .*first manifest\.jsonl, line 2: ValueError: odd") as error:
        render(place, plan)
    assert isinstance(error.value, PermanentError)


def test_an_image_of_a_shape_that_nobody_can_encode_costs_its_row(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    place.put("1.jpg", encoded(Image.new("RGB", (10, 70_000)), "PNG"))
    build(place, vlm, max_rejected_ratio=1, model_profile="qwen2.5-vl")
    assert [record["image"] for record in records(place)] == ["0.jpg", "2.jpg"]


def test_an_image_that_nobody_can_encode_is_left_to_render_by_propose(place: Place, vlm: FakeVlm) -> None:
    place.put("thin.png", encoded(Image.new("RGB", (10, 70_000)), "PNG"))
    place.put("a.jpg", encoded(picture(280, 140)))
    place.put_rows({"image": "a.jpg"}, {"image": "thin.png"})
    plan = place.plan(**ASKING)
    propose(place, plan, vlm)
    render(place, plan)
    assert list(shard_rejected(place, plan)) == ["thin.png"]


def test_a_box_of_a_detector_that_is_none_costs_its_row(place: Place, extend: Callable[..., None]) -> None:
    extend(
        "regioncap.proposers", "odd", "def it(image): return [(0, 0, float('nan') if image.width == 99 else 60, 60)]"
    )
    place.put("a.jpg", encoded(picture()))
    place.put("b.jpg", encoded(picture(width=99)))
    place.put_rows({"image": "a.jpg"}, {"image": "b.jpg"})
    plan = place.plan(when_no_boxes="odd")
    render(place, plan)
    assert {name: row.code for name, row in shard_rejected(place, plan).items()} == {"b.jpg": "internal_error"}


def test_what_nobody_foresaw_in_an_answer_costs_its_row(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan(max_rejected_ratio=1)
    render(place, plan)
    caption(place, plan, vlm)
    make = validate_step.make_record

    def make_or_fail(row: Any, *rest: Any) -> Any:
        if row.image == "1.jpg":
            raise ValueError("odd")
        return make(row, *rest)

    monkeypatch.setattr(validate_step, "make_record", make_or_fail)
    validate(place, plan)
    publish(place, plan)
    assert [record["image"] for record in records(place)] == ["0.jpg", "2.jpg"]
    assert rejected(place)["1.jpg"]["code"] == "internal_error"


def test_boxes_that_cannot_be_used_are_listed_and_the_row_stays(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows(
        {"image": "a.jpg", "bbox": [[500, 500, 9, 9], [10, 10, 40, 30], "x", [20, 20, 0, 9], [60, 5, 30, 30]]}
    )
    build(place, vlm)
    (record,) = records(place)
    assert [(region["region"], region["box_index"]) for region in record["regions"]] == [(1, 1), (2, 4)]
    assert record["dropped_boxes"] == [
        {"box_index": 0, "code": "outside"},
        {"box_index": 2, "code": "not_a_box"},
        {"box_index": 3, "code": "no_area"},
    ]
    assert record["valid_bboxes_num"] == 2


def test_boxes_beyond_the_limit_are_left_out(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": [[10 * k, 10, 20, 20] for k in range(5)]})
    build(place, vlm, max_boxes=3)
    (record,) = records(place)
    assert record["valid_bboxes_num"] == len(record["normalized_bbox"]) == 3
    assert [note["code"] for note in record["dropped_boxes"]] == ["over_max_boxes"] * 2


def test_a_box_that_is_given_twice_is_described_twice_with_a_warning(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"id": "twice", "image": "a.jpg", "bbox": [[10, 10, 40, 30], [60, 20, 50, 50], [10, 10, 40, 30]]})
    place.put_rows({"id": "once", "image": "a.jpg", "bbox": [[10, 10, 40, 30]]}, name="other.jsonl")
    build(place, vlm)
    found = {record["id"]: (record["valid_bboxes_num"], record["checks"]) for record in records(place)}
    assert found == {"twice": (3, ["duplicate_box"]), "once": (1, [])}


def test_rows_without_boxes_get_proposals_or_a_code(place: Place, vlm: FakeVlm) -> None:
    place.put("shape.jpg", encoded(picture(), quality=95))
    place.put("even.png", encoded(Image.new("RGB", (90, 90), (250, 250, 250)), "PNG"))
    place.put_rows({"image": "shape.jpg"}, {"image": "even.png", "bbox": None})
    build(place, vlm, max_rejected_ratio=1)
    (record,) = records(place)
    assert (record["type"], record["image"]) == ("without_bbox", "shape.jpg")
    assert record["bbox"] and record["valid_bboxes_num"] == len(record["bbox"])
    assert rejected(place)["even.png"]["code"] == "no_boxes"
    build(place, vlm, when_no_boxes="reject", max_rejected_ratio=1)
    assert {row["code"] for row in rejected(place).values()} == {"no_boxes"}


def test_the_model_can_be_asked_for_boxes(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture(280, 140)))
    place.put("cut.jpg", encoded(picture())[:-200])
    place.put_rows({"image": "a.jpg", "bbox": BOXES}, {"image": "a.jpg"}, {"image": "cut.jpg"})
    plan = place.plan(max_rejected_ratio=0.5, **ASKING)
    assert plan.shards_to_propose == plan.shards
    assert [(counts.questions, counts.asked) for counts in propose(place, plan, vlm)] == [(2, 1)]
    (asked,) = vlm.requests
    image, text = asked["messages"][1]["content"]
    assert jpeg_of(image).size == (280, 140) and text["text"].startswith("Locate")
    # A second try finds the answer of the first, and nothing to ask about an image that cannot be opened.
    assert [(counts.kept, counts.asked) for counts in propose(place, plan, vlm)] == [(2, 0)]
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    given, proposed = records(place)
    assert given["bbox"] == BOXES
    assert (proposed["type"], proposed["bbox"]) == ("without_bbox", [[28, 28, 56, 28]])
    assert {image: row["code"] for image, row in rejected(place).items()} == {"cut.jpg": "image_truncated"}


@pytest.mark.parametrize(
    ("reply", "code"),
    [(completion("[]"), "no_boxes"), (completion("I see none."), "no_boxes"), (error(400), "request_refused")],
)
def test_a_model_that_names_no_boxes_rejects_the_row(place: Place, vlm: FakeVlm, reply: Reply, code: str) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg"})
    vlm.behave = lambda number, body: reply if number == 0 else answer_well(body)
    plan = place.plan(max_rejected_ratio=1, **ASKING)
    propose(place, plan, vlm)
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert rejected(place)["a.jpg"]["code"] == code


def test_marks_that_wait_for_the_models_boxes_say_which_task_to_clear(place: Place) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg"})
    with pytest.raises(StepMissingError, match="propose"):
        render(place, place.plan(**ASKING))


def test_no_shard_waits_for_the_model_where_boxes_are_given_or_found_otherwise(place: Place) -> None:
    place.good_rows(3)
    assert place.plan(**ASKING).shards_to_propose == []
    place.put_rows({"image": "0.jpg"})
    assert place.plan().shards_to_propose == []


def test_ones_own_detector_finds_the_boxes(place: Place, vlm: FakeVlm, extend: Callable[..., None]) -> None:
    extend(
        "regioncap.proposers", "lower_half", "def it(image): return [(0, image.height / 2, image.width, image.height)]"
    )
    place.put("a.jpg", encoded(picture(120, 80)))
    place.put_rows({"image": "a.jpg"})
    build(place, vlm, when_no_boxes="lower_half")
    assert records(place)[0]["bbox"] == [[0, 40, 120, 40]]


def test_boxes_in_another_format_than_declared_stop_the_run_and_name_it(place: Place) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows(*({"image": "a.jpg", "bbox": [[0.1, 0.02 * k, 0.5, 0.02 * k + 0.3]]} for k in range(30)))
    plan = place.plan()
    with pytest.raises(BoxFormatError, match=r"only 0% .* as xywh, but 100% do as xyxy_norm: set the param box_format"):
        render(place, plan)
    render(place, place.plan(box_format="xyxy_norm"))


def many_boxes(place: Place, write: Callable[[float, float, float, float], list[float]]) -> Plan:
    """A plan of boxes of `write(x0, y0, x1, y1)`, shares of the sides, all over images of 200 x 100."""
    place.put("a.jpg", encoded(picture(200, 100)))
    corners = [(0.03 * k, 0.02 * k, 0.03 * k + 0.1, 0.02 * k + 0.3) for k in range(30)]
    place.put_rows(*({"image": "a.jpg", "bbox": [write(*box)]} for box in corners))
    return place.plan()


def test_a_centre_taken_for_a_corner_stops_the_run(place: Place) -> None:
    plan = many_boxes(place, lambda x0, y0, x1, y1: [100 * (x0 + x1), 50 * (y0 + y1), 200 * (x1 - x0), 100 * (y1 - y0)])
    with pytest.raises(
        BoxFormatError, match=r"only \d\d% .* as xywh, but 100% do as cxcywh: set the param box_format to "
    ):
        render(place, plan)


@pytest.mark.parametrize("thousand", [1, 1000])
def test_no_format_is_advised_that_puts_boxes_with_y_first_elsewhere(place: Place, thousand: int) -> None:
    plan = many_boxes(place, lambda x0, y0, x1, y1: [thousand * value for value in (y0, x0, y1, x1)])
    with pytest.raises(BoxFormatError, match=r"fit their images as xywh.* y (before|comes) ") as error:
        render(place, plan)
    assert "box_format to xy" not in str(error.value)


def test_boxes_of_larger_copies_stop_the_run_without_advice(place: Place) -> None:
    plan = many_boxes(place, lambda x0, y0, x1, y1: [600 * x0, 300 * y0, 600 * (x1 - x0), 300 * (y1 - y0)])
    with pytest.raises(BoxFormatError, match=r"cannot be told.* boxes of images of another size") as error:
        render(place, plan)
    assert "_1000" not in str(error.value)


def test_a_shard_whose_marks_are_missing_says_which_task_to_clear(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan()
    with pytest.raises(StepMissingError, match="clear the shard's earlier tasks"):
        caption(place, plan, vlm)


# ---- caption


def test_answers_are_kept_and_only_missing_ones_are_asked(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(6)
    plan = place.plan()
    render(place, plan)
    vlm.behave = lambda number, body: answer_well(body) if number < 4 else Reply(503)
    with pytest.raises(VlmUnavailableError):
        caption(place, plan, vlm, max_in_flight=1)
    vlm.behave = lambda _, body: answer_well(body)
    (counts,) = caption(place, plan, vlm)
    assert (counts.questions, counts.kept, counts.asked) == (6, 4, 2)


def test_answers_whose_flush_is_cancelled_are_kept(place: Place) -> None:
    class SlowStore(LocalStore):
        def write(self, path: str, data: bytes) -> None:
            time.sleep(0.1)
            super().write(path, data)

    store = SlowStore(place.folder / "work")

    async def flush_and_cancel() -> None:
        sink = AnswerSink(store, layout.ANSWERS, questions=4, images=4, kept=0, progress=lambda at: None)
        flushes = []
        for key in "abc":
            sink.add(RawAnswer(key=key, text="", finish_reason="stop"))
            flushes.append(asyncio.create_task(sink.flush()))
            await asyncio.sleep(0)
        # One write is under way, the others wait for it.
        for flush in flushes:
            flush.cancel()
        sink.add(RawAnswer(key="d", text="", finish_reason="stop"))
        await sink.close()

    asyncio.run(flush_and_cancel())
    assert set(load_answers(store, layout.ANSWERS)) == set("abcd")


def test_answers_that_could_not_be_written_go_with_the_next_flush(place: Place) -> None:
    class FlakyStore(LocalStore):
        fails = True

        def write(self, path: str, data: bytes) -> None:
            if self.fails:
                raise ConnectionError("the bucket is away")
            super().write(path, data)

    store = FlakyStore(place.folder / "work")

    async def flush_twice() -> None:
        sink = AnswerSink(store, layout.ANSWERS, questions=2, images=2, kept=0, progress=lambda at: None)
        sink.add(RawAnswer(key="a", text="", finish_reason="stop"))
        with pytest.raises(ConnectionError):
            await sink.flush()
        store.fails = False
        sink.add(RawAnswer(key="b", text="", finish_reason="stop"))
        await sink.close()

    asyncio.run(flush_twice())
    assert set(load_answers(store, layout.ANSWERS)) == set("ab")


def test_where_there_is_nothing_to_ask_no_server_is_needed(place: Place, vlm: FakeVlm) -> None:
    class Absent:
        model = MODEL

        def reach(self) -> AbstractContextManager[Endpoint]:
            raise AssertionError("a server was wanted")

    place.good_rows(2)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    counts = caption_shard(work=place.work, shard_id=plan.shards[0], plan=plan, vlm=Absent(), progress=lambda at: None)
    assert (counts.questions, counts.kept, counts.asked) == (2, 2, 0)


def test_a_rebuild_after_one_percent_of_the_rows_changed_asks_about_these(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(200)
    build(place, vlm, shard_size=64)
    asked = len(vlm.requests)
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    for changed in (17, 150):
        rows[changed]["bbox"] = [[20, 20, 30, 30]]
    place.put_rows(*rows)
    build(place, vlm, run_id="run-2", shard_size=64)
    assert len(vlm.requests) == asked + 2


def test_a_rebuild_asks_only_about_what_changed(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(20)
    build(place, vlm, shard_size=4)
    first = {record["image"]: record["answer"] for record in records(place)}
    asked = len(vlm.requests)
    # One row is gone, one has other boxes, one image is another, one row is new.
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    del rows[5]
    rows[8]["bbox"] = [[20, 20, 30, 30]]
    place.put(rows[12]["image"], encoded(picture(colour=(1, 2, 3))))
    place.put("new.jpg", encoded(picture(colour=(250, 2, 3))))
    rows.insert(10, {"image": "new.jpg", "bbox": BOXES})
    place.put_rows(*rows)
    build(place, vlm, run_id="run-2", shard_size=4)
    assert len(vlm.requests) == asked + 3
    second = {record["image"]: record["answer"] for record in records(place)}
    assert len(second) == 20
    assert all(second[image] == answer for image, answer in first.items() if image in second and image != "9.jpg")
    manifest, _ = current(place.partition)
    assert manifest is not None
    timings = json.loads(place.partition.read(f"{manifest.build}/report.json"))["timings"]
    # The rows of three shards are as they were, but for an image: the answers are in place.
    assert (timings["questions"], timings["kept"], timings["taken_over"], timings["asked"]) == (20, 11, 6, 3)
    # A third build takes over what the second had taken over.
    rows.append(rows.pop(0))
    place.put_rows(*rows)
    build(place, vlm, run_id="run-3", shard_size=4)
    assert len(vlm.requests) == asked + 3


def test_a_rebuild_after_a_run_that_found_nothing_to_do_takes_over_too(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    build(place, vlm)
    assert build(place, vlm, run_id="run-2").unchanged
    rows = [json.loads(line) for line in place.drop.read("manifest.jsonl").splitlines()]
    place.put_rows(*rows[:3])
    build(place, vlm, run_id="run-3")
    assert (len(records(place)), len(vlm.requests)) == (3, 4)


def test_a_rebuild_without_the_old_work_area_asks_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    build(place, vlm)
    shutil.rmtree(place.folder / "warehouse" / "_work")
    place.put("note.txt", b"the drop has changed")
    build(place, vlm, run_id="run-2")
    assert len(vlm.requests) == 6


def test_equal_rows_ask_once(place: Place, vlm: FakeVlm) -> None:
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": BOXES}, {"image": "a.jpg", "bbox": BOXES})
    build(place, vlm)
    assert len(vlm.requests) == 1
    first, second = records(place)
    assert first["answer"] == second["answer"] and first["id"] != second["id"]


def test_progress_ends_with_everything_done(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    plan = place.plan()
    render(place, plan)
    seen: list[AskProgress] = []
    caption_shard(work=place.work, shard_id=plan.shards[0], plan=plan, vlm=endpoint(vlm), progress=seen.append)
    assert (seen[-1].done, seen[-1].questions) == (3, 3)


@pytest.mark.parametrize("caption_mode", ["joint", "per_region"])
def test_how_far_a_build_is_can_be_read_from_its_work_area(place: Place, vlm: FakeVlm, caption_mode: str) -> None:
    place.good_rows(3)
    questions = 3 if caption_mode == "joint" else 6
    status = BuildStatus(place.work)
    assert status.update(None).questions == 0
    plan = place.plan(caption_mode=caption_mode)
    render(place, plan)
    before = status.update(plan.plan_id)
    assert (before.images, before.questions, before.answers) == (3, questions, 0)
    caption(place, plan, vlm)
    assert status.update(plan.plan_id).answers == questions
    # A build anew is asked everything again, though there are answers.
    again = place.plan(run_id="run-2", caption_mode=caption_mode, force_rebuild=True)
    assert BuildStatus(place.work).update(again.plan_id).answers == 0


def test_what_a_build_with_other_settings_left_does_not_count(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    build(place, vlm, caption_mode="joint")
    plan = place.plan(run_id="run-2", caption_mode="per_region")
    status = BuildStatus(place.work)
    assert status.update(plan.plan_id).questions == 0
    render(place, plan)
    after = status.update(plan.plan_id)
    assert (after.images, after.questions, after.answers) == (2, 4, 0)


def test_a_server_with_another_model_is_not_asked(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    vlm.models = ["another", "and-another"]
    with pytest.raises(VlmSetupError, match="serves another, and-another, not 'fake-model'"):
        caption(place, plan, vlm)
    assert vlm.requests == []


def test_force_rebuild_asks_again_and_its_retry_does_not(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    build(place, vlm)
    plan = place.plan(run_id="run-2", force_rebuild=True)
    render(place, plan)
    assert [counts.asked for counts in caption(place, plan, vlm)] == [2]
    assert [counts.asked for counts in caption(place, plan, vlm)] == [0]


# ---- validate


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
    # The record goes with the marked image and the question about all of its regions, however it was asked.
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
from regioncap.regions.gates import Gate, each_caption
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
    (row,) = read_lines(place.work.sub(layout.shard_path(plan.shards[0])), layout.VALIDATE_REJECTED, Rejected)
    assert (row.code, row.reason) == ("no_doors", "<region1> is a door")
    assert len(vlm.requests) == 3
    # Only about the door.
    assert vlm.requests[1]["response_format"]["json_schema"]["schema"]["required"] == ["<region1>"]


def test_ones_own_gate_that_raises_loses_no_row(place: Place, vlm: FakeVlm, extend: Callable[..., None]) -> None:
    extend("regioncap.gates", "no_doors", GATE.format(severity="reject", check="caption.no_such_thing"))
    place.good_rows(2)
    build(place, vlm)
    assert [record["checks"] for record in records(place)] == [["gate_error"], ["gate_error"]]


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


# ---- asking again


def test_only_the_regions_that_failed_are_asked_about_again(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: (
        completion('{"<region1>": "a red door", "<region2>": " "}') if number == 0 else answer_well(body)
    )
    build(place, vlm)
    (record,) = records(place)
    assert record["answer"] == "<region1>: a red door\n<region2>: what is in <region2>"
    assert record["attempts"] == 2
    first, again = vlm.requests
    assert again["messages"][1]["content"][:2] == first["messages"][1]["content"]
    assert again["messages"][1]["content"][2]["text"] == "Describe only these regions: <region2>."
    assert again["response_format"]["json_schema"]["schema"]["required"] == ["<region2>"]
    # At temperature 0 and with the same seed there would be the same answer.
    assert (again["seed"], again["temperature"]) == (43, 0.3)


def test_an_answer_that_is_cut_off_is_asked_for_again_with_more_room(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: (
        completion('{"<region1>": "a door, which', "length") if body["max_tokens"] < 2000 else answer_well(body)
    )
    build(place, vlm)
    assert records(place)[0]["attempts"] == 3
    assert [request["max_tokens"] for request in vlm.requests] == [512, 1024, 2048]


def test_a_row_is_given_up_after_so_many_attempts_however_often_the_task_is_run(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    vlm.behave = lambda number, body: completion("{}")
    plan = place.plan(max_attempts=4, max_rejected_ratio=1)
    render(place, plan)
    assert [counts.asked for counts in caption(place, plan, vlm)] == [8]
    assert [counts.asked for counts in caption(place, plan, vlm)] == [0]
    validate(place, plan)
    publish(place, plan)
    assert {row["code"] for row in rejected(place).values()} == {"empty"}


def test_a_further_question_that_the_server_refuses_leaves_the_first_ones_fault(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    vlm.behave = lambda number, body: completion('{"<region1>": "a', "length") if number == 0 else error(400)
    build(place, vlm, max_rejected_ratio=1)
    assert [row["code"] for row in rejected(place).values()] == ["cut_off"]


def test_a_task_that_is_killed_between_two_attempts_goes_on_with_the_second(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan(max_attempts=2)
    render(place, plan)
    vlm.behave = lambda number, body: completion('{"<region1>": "a red door"}') if number == 0 else error(401)
    with pytest.raises(VlmSetupError):
        caption(place, plan, vlm)
    vlm.behave = lambda number, body: answer_well(body)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert records(place)[0]["answer"] == "<region1>: a red door\n<region2>: what is in <region2>"
    assert len(vlm.requests) == 3


def test_an_unanswered_question_is_not_published_as_a_rejected_row(place: Place) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    with pytest.raises(StepMissingError, match="clear the shard's caption task"):
        validate(place, plan)


# ---- publish


def test_a_published_partition_is_whole(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(5)
    done = build(place, vlm, shard_size=2)
    manifest = done.manifest
    names = {entry.path.removeprefix(f"{manifest.build}/") for entry in place.partition.list(f"{manifest.build}/")}
    assert {f"captions-0000{k}-of-00003.jsonl" for k in range(3)} <= names
    assert {"rejected.jsonl", "report.json", "report.html", "README.md"} <= names
    for record in records(place):
        assert record["image_with_bbox"] in names
        assert place.partition.read(f"{manifest.build}/{record['image_with_bbox']}").startswith(b"\xff\xd8")
    for entry in manifest.captions:
        data = place.partition.read(entry.path)
        assert (len(data), data.count(b"\n")) == (entry.bytes, entry.rows)


def test_nothing_is_visible_before_the_manifest_is_written(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(2)

    def crash(*_: object) -> None:
        raise OSError("the machine is gone")

    monkeypatch.setattr("regioncap.builds.publish.commit.commit", crash)
    with pytest.raises(OSError, match="gone"):
        build(place, vlm)
    assert current(place.partition) == (None, None)


def test_a_second_build_of_the_same_drop_publishes_and_asks_nothing(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    first = build(place, vlm)
    again = build(place, vlm, run_id="run-2")
    assert again.unchanged
    assert again.manifest == first.manifest
    assert len(vlm.requests) == 3


def test_the_same_files_uploaded_once_more_publish_nothing_new(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    first = build(place, vlm)
    place.good_rows(3)
    again = build(place, vlm, run_id="run-2")
    assert again.unchanged
    assert again.manifest.build_id == first.manifest.build_id


def test_too_many_rejected_rows_publish_nothing_and_say_what_to_do(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    place.put_rows({"image": "0.jpg", "bbox": BOXES}, "x", {"image": "none.jpg"})
    with pytest.raises(TooManyRejectedError, match=r"2 of 3 rows.*max_rejected_ratio = 0.5.*not_json \(1\)"):
        build(place, vlm, max_rejected_ratio=0.5)
    assert current(place.partition) == (None, None)


def test_a_drop_of_bad_rows_only_can_be_published_too(place: Place, vlm: FakeVlm) -> None:
    place.put_rows("x", "y")
    done = build(place, vlm, max_rejected_ratio=1)
    assert (done.manifest.counts.rows, done.manifest.captions) == (2, [])


def test_the_slower_of_two_builds_learns_that_it_lost(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    plan = place.plan()
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    outcomes: list[object] = []
    gate = threading.Barrier(2)

    def race() -> None:
        gate.wait()
        try:
            outcomes.append(publish(place, plan).manifest.build_id)
        except CommitRefusedError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest, _ = current(place.partition)
    assert manifest is not None
    winners = {outcome for outcome in outcomes if isinstance(outcome, str)}
    # The slower one either finds the other's build and is content, or is refused and names it.
    assert winners == {manifest.build_id}
    assert all(manifest.build_id in str(outcome) for outcome in outcomes)


def test_a_commit_whose_answer_was_lost_is_a_success(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    done = build(place, vlm)
    commit(place.partition, done.manifest, None)
    other = done.manifest.model_copy(update={"build_id": "other"})
    with pytest.raises(CommitRefusedError, match=done.manifest.build_id):
        commit(place.partition, other, None)


def test_exports_are_published_and_listed(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    done = build(
        place,
        vlm,
        shard_size=2,
        export_formats=["parquet", "hf"],
        export_images="original",
        file_name_prefix="street",
    )
    assert Path(done.manifest.captions[0].path).name == "street-00000-of-00002.jsonl"
    assert [entry.path.partition("/")[2] for entry in done.manifest.exports] == [
        "exports/hf/street-00000-of-00001.parquet",
        "exports/hf/README.md",
        "exports/parquet/street-00000-of-00001.parquet",
    ]
    folder = place.folder / "warehouse" / "dt=2026-10-05"
    for entry in done.manifest.exports:
        data = (folder / entry.path).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    pictures, parquet = (pd.read_parquet(folder / done.manifest.exports[k].path) for k in (0, 2))
    assert pictures["id"].tolist() == parquet["id"].tolist() == [record["id"] for record in records(place)]
    assert [picture["bytes"] for picture in pictures["image"]] == [place.drop.read(f"{k}.jpg") for k in range(3)]


def test_hostile_text_is_shown_as_text(place: Place, vlm: FakeVlm) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg", "bbox": BOXES, "id": evil}, {"image": evil, "bbox": BOXES}, evil)
    vlm.behave = lambda _, body: completion(json.dumps({"<region1>": evil}))
    done = build(place, vlm, max_rejected_ratio=1)
    page = place.partition.read(f"{done.manifest.build}/report.html").decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page and "<img src=x" not in page


def test_the_report_counts_what_happened(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    place.put_rows(*({"image": f"{k}.jpg", "bbox": [*BOXES, [900, 900, 5, 5]]} for k in range(3)), "broken")
    done = build(place, vlm, max_rejected_ratio=1)
    report = json.loads(place.partition.read(f"{done.manifest.build}/report.json"))
    assert report["counts"] == {"rows": 4, "captioned": 3, "rejected": 1, "regions": 3}
    assert report["rejected_by_code"] == {"not_json": 1}
    assert report["dropped_boxes_by_code"] == {"outside": 3}
    assert report["timings"]["asked"] == 3
    assert report["settings"]["temperature"] == 0


def test_a_shard_that_is_not_validated_blocks_the_build(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(4)
    plan = place.plan(shard_size=2)
    render(place, plan)
    caption(place, plan, vlm)
    validate_shard(work=place.work, shard_id=plan.shards[0], plan=plan)
    with pytest.raises(StepMissingError):
        publish(place, plan)
    assert current(place.partition) == (None, None)


def test_records_do_not_name_the_build_they_are_in(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    first = build(place, vlm)
    before = place.partition.read(first.manifest.captions[0].path)
    second = build(place, vlm, run_id="run-2", force_rebuild=True)
    assert second.manifest.build_id != first.manifest.build_id
    assert place.partition.read(second.manifest.captions[0].path) == before


def test_the_manifest_on_disk_is_the_one_that_was_returned(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    done = build(place, vlm)
    assert Manifest.model_validate_json(place.partition.read("_manifest.json")) == done.manifest
