"""`render`: what becomes of each row's image and boxes."""

import json
import sqlite3
from collections.abc import Callable
from http.client import IncompleteRead
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from PIL import Image
from urllib3.exceptions import ProtocolError

from regioncap.errors import (
    AccessDeniedError,
    BoxFormatError,
    DropChangedError,
    PermanentError,
    RowError,
    StepMissingError,
    StorageError,
    UnforeseenError,
)
from regioncap.regions.codes import Code
from regioncap.regions.records import PlannedRow, Rejected
from regioncap.steps import plan as plan_step
from regioncap.steps import propose as propose_step
from regioncap.steps import render as render_step
from regioncap.steps import validate as validate_step
from regioncap.storage.local import LocalStore
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place, broken_rows, encoded, picture, read_lines
from tests.fake_vlm import FakeVlm, Reply, answer_well, completion, error
from tests.steps import ASKING, BOXES, build, caption, jpeg_of, propose, publish, records, rejected, render, validate


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
    away = place.folder / "away"
    away.mkdir()
    for name in gone:
        (place.drop_folder / name).rename(away / name)
    with pytest.raises(DropChangedError, match=rf"{gone[0]} is not as it was when plan listed it.*clear") as error:
        render(place, plan)
    assert not isinstance(error.value, PermanentError)
    for name in gone:
        (away / name).rename(place.drop_folder / name)
    render(place, plan)


@pytest.mark.parametrize(
    ("settings", "before"), [({}, "render"), (ASKING, "propose"), (ASKING, "render")], ids=["given", "asking", "asked"]
)
def test_an_image_that_changes_after_it_was_listed_is_noticed(
    place: Place, vlm: FakeVlm, settings: dict[str, Any], before: str
) -> None:
    place.good_rows(3)
    if settings:
        place.put_rows(*({"image": f"{number}.jpg"} for number in range(3)))
    plan = place.plan(**settings)
    if before == "render":
        propose(place, plan, vlm)
    place.put("1.jpg", encoded(picture(colour=(1, 2, 3))))
    with pytest.raises(DropChangedError, match=r"1\.jpg is not as it was .*clear the run's plan task") as error:
        render(place, plan) if before == "render" else propose(place, plan, vlm)
    assert not isinstance(error.value, PermanentError)
    plan = place.plan(**settings)
    propose(place, plan, vlm)
    render(place, plan)


def test_an_image_that_is_away_when_the_model_is_asked_is_no_fault_of_its_row(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    place.put_rows({"image": "0.jpg"}, {"image": "1.jpg"})
    plan = place.plan(**ASKING)
    (place.drop_folder / "1.jpg").rename(place.folder / "away")
    with pytest.raises(DropChangedError, match=r"1\.jpg is not as it was"):
        propose(place, plan, vlm)
    (place.folder / "away").rename(place.drop_folder / "1.jpg")
    propose(place, plan, vlm)
    render(place, plan)
    assert not shard_rejected(place, plan)


def test_an_image_that_could_not_be_read_when_the_model_was_asked_is_asked_about_again(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(2)
    place.put_rows({"image": "0.jpg"}, {"image": "1.jpg"})
    plan = place.plan(**ASKING)
    read = propose_step.read_listed

    def forbidden(drop: LocalStore, path: str, version: str | None) -> bytes:
        if path == "1.jpg":
            raise FORBIDDEN
        return read(drop, path, version)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(propose_step, "read_listed", forbidden)
        propose(place, plan, vlm)
    with pytest.raises(StepMissingError, match="clear the shard's propose task"):
        render(place, plan)
    assert [counts.asked for counts in propose(place, plan, vlm)] == [1]
    render(place, plan)


def test_the_model_is_not_asked_about_an_image_that_was_not_there(place: Place, vlm: FakeVlm) -> None:
    place.put_rows({"image": "late.jpg"})
    plan = place.plan(**ASKING)
    propose(place, plan, vlm)
    place.put("late.jpg", encoded(picture()))
    for step in (lambda: propose(place, plan, vlm), lambda: render(place, plan)):
        with pytest.raises(DropChangedError, match=r"late\.jpg is not as it was"):
            step()
    assert vlm.requests == []


def test_a_manifest_that_changes_while_it_is_read_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.good_rows(3)
    place.put_rows({"image": "0.jpg", "bbox": BOXES}, name="second.jsonl")
    counted = plan_step._count_rows

    def late(*arguments: Any) -> int:
        place.put_rows({"image": "1.jpg", "bbox": BOXES}, name="second.jsonl")
        return counted(*arguments)

    # What was copied already is one state.
    monkeypatch.setattr(plan_step, "_count_rows", late)
    plan = place.plan()
    monkeypatch.setattr(plan_step, "_count_rows", counted)
    assert plan.rows == 4
    listed = plan_step.drops.contents

    def listed_before(*arguments: Any) -> Any:
        contents = listed(*arguments)
        place.put_rows({"image": "2.jpg", "bbox": [*BOXES, *BOXES]}, name="second.jsonl")
        return contents

    monkeypatch.setattr(plan_step.drops, "contents", listed_before)
    with pytest.raises(DropChangedError, match=r"second\.jsonl is not as it was"):
        place.plan()


def test_an_image_whose_name_is_only_taken_for_another_is_not_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some folders leave out a full stop at the end; a bucket does not."""
    place.good_rows(1)
    place.put_rows({"image": "0.jpg", "bbox": BOXES}, {"image": "0.jpg.", "bbox": BOXES})
    plan = place.plan()
    opened = place.drop.open
    monkeypatch.setattr(place.drop, "open", lambda path, version=None: opened(path.rstrip("."), version))
    render(place, plan)
    (row,) = shard_rejected(place, plan).values()
    assert (row.code, row.row["image"]) == ("image_not_found", "0.jpg.") and "called exactly so" in row.reason


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


def test_an_image_that_comes_after_it_was_planned_is_noticed(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(1)
    place.put_rows({"image": "0.jpg", "bbox": BOXES}, {"image": "late.jpg", "bbox": BOXES})
    plan = place.plan()
    place.put("late.jpg", encoded(picture()))
    with pytest.raises(DropChangedError, match=r"late\.jpg .*clear the run's plan task"):
        render(place, plan)
    plan = place.plan()
    render(place, plan)
    assert not shard_rejected(place, plan)


def shard_rejected(place: Place, plan: Plan) -> dict[str, Rejected]:
    """What `render` rejected, by the row's image."""
    folders = [Shard(place.work, plan, shard_id).own for shard_id in plan.shards]
    rows = [row for folder in folders for row in read_lines(folder, layout.RENDER_REJECTED, Rejected)]
    return {row.row["image"]: row for row in rows}


def reading(monkeypatch: pytest.MonkeyPatch, faults: dict[str, Exception]) -> None:
    """Reading the image of one of these names raises the error."""
    read = render_step.read_listed

    def read_or_fail(drop: LocalStore, path: str, version: str | None) -> bytes:
        if path in faults:
            raise faults[path]
        return read(drop, path, version)

    monkeypatch.setattr(render_step, "read_listed", read_or_fail)


FORBIDDEN = RowError(Code.IMAGE_FORBIDDEN, "the store does not let this file be read")


def test_where_no_image_of_a_shard_may_be_read_the_set_up_is_at_fault(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan()
    reading(monkeypatch, {f"{number}.jpg": FORBIDDEN for number in range(3)})
    with pytest.raises(AccessDeniedError, match=r"none of the 3 images .*access.*rights") as error:
        render(place, plan)
    assert isinstance(error.value, PermanentError)


def test_a_shard_that_none_can_read_is_its_rows_fault_where_other_images_can_be_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan(shard_size=1)
    reading(monkeypatch, {"0.jpg": FORBIDDEN})
    render(place, plan)
    assert {name: row.code for name, row in shard_rejected(place, plan).items()} == {"0.jpg": "image_forbidden"}


def test_where_all_images_are_archived_they_have_to_be_restored(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.good_rows(3)
    plan = place.plan()
    archived = RowError(Code.IMAGE_ARCHIVED, "the file is archived; restore it first")
    reading(monkeypatch, {f"{number}.jpg": archived for number in range(3)})
    with pytest.raises(AccessDeniedError, match="restore it"):
        render(place, plan)


def test_where_some_images_may_not_be_read_their_rows_are_rejected(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.good_rows(3)
    plan = place.plan()
    archived = RowError(Code.IMAGE_ARCHIVED, "the file is in an archive: it has to be restored before it can be read")
    reading(monkeypatch, {"0.jpg": FORBIDDEN, "1.jpg": archived})
    render(place, plan)
    assert {name: row.code for name, row in shard_rejected(place, plan).items()} == {
        "0.jpg": "image_forbidden", "1.jpg": "image_archived",
    }  # fmt: skip


PASSING = (
    OSError(5, "Input/output error"),
    OSError(116, "Stale file handle"),
    ConnectionError("the S3 service cannot be reached"),
    StorageError("access is denied"),
    ReadTimeoutError(endpoint_url="http://bucket"),
    ClientError({"Error": {"Code": "InternalError"}}, "GetObject"),
    ProtocolError("Connection broken"),
    IncompleteRead(b""),
    sqlite3.OperationalError("database or disk is full"),
)


@pytest.mark.parametrize(
    ("step", "error"),
    [("reading", MemoryError()), *((step, error) for step in ("reading", "marking") for error in PASSING)],
)
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


def test_a_picture_that_comes_out_all_of_one_colour_is_captioned_with_a_warning(place: Place, vlm: FakeVlm) -> None:
    place.put("even.png", encoded(Image.new("RGB", (90, 90), (250, 250, 250)), "PNG"))
    place.put("a.jpg", encoded(picture()))
    place.put_rows(*({"image": image, "bbox": [[10, 10, 40, 30]]} for image in ("even.png", "a.jpg")))
    build(place, vlm)
    assert {record["image"]: record["checks"] for record in records(place)} == {"even.png": ["one_colour"], "a.jpg": []}


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
    with pytest.raises(
        BoxFormatError, match=r"only 0% .* as xywh, but 100% do as xyxy_norm or yxyx_norm .y before x.*box_format"
    ):
        render(place, plan)
    render(place, place.plan(box_format="xyxy_norm"))


def many_boxes(place: Place, write: Callable[[float, float, float, float], list[float]]) -> Plan:
    """A plan of boxes of `write(x0, y0, x1, y1)`, shares of the sides, all over images of 200 x 100."""
    place.put("a.jpg", encoded(picture(200, 100)))
    corners = [(0.031 * k, 0.024 * k, 0.031 * k + 0.1, 0.024 * k + 0.3) for k in range(30)]
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
    with pytest.raises(StepMissingError, match="clear the shard's render task"):
        caption(place, plan, vlm)
