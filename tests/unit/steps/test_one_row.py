"""What is wrong with one row costs it alone, whatever it is and in whatever step it comes up."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from regioncap.ask import attempts
from regioncap.cli.app import app
from regioncap.drop import decoders
from regioncap.errors import UnforeseenError
from regioncap.regions.records import Rejected
from regioncap.steps import caption as caption_step
from regioncap.steps.render import render_shard
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture, read_lines
from tests.fake_vlm import FakeVlm, answer_well, completion
from tests.slow_files import slow_jpeg
from tests.steps import ASKING, build, caption, propose, publish, records, rejected, render, validate

# A style that does something else to narrow images.
STYLE = """
import ctypes, os, re, sys, time
from regioncap.marks.styles import MarkStyle
from regioncap.marks.pieces import outline, tags

def odd(image, marks, scale):
    if image.width < 80:
        {what}

it = MarkStyle("odd", (outline, tags, odd), words={{"en": "Framed.", "zh": "Framed."}})
"""


def three_rows(place: Place, odd: bytes = encoded(picture(width=60))) -> None:
    """Three rows, of which that of 1.jpg is odd."""
    place.put("0.jpg", encoded(picture()))
    place.put("1.jpg", odd)
    place.put("2.jpg", encoded(picture(colour=(9, 9, 9))))
    place.put_rows(*({"image": f"{number}.jpg", "bbox": [[10, 10, 40, 30]]} for number in range(3)))


def of_render(place: Place, plan: Plan) -> dict[str, Rejected]:
    """What `render` rejected, by the row's image."""
    folders = [Shard(place.work, plan, shard_id).own for shard_id in plan.shards]
    rows = [row for folder in folders for row in read_lines(folder, layout.RENDER_REJECTED, Rejected)]
    return {row.row["image"]: row for row in rows}


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("raise MemoryError", "internal_error"),
        ("raise RecursionError('too deep')", "internal_error"),
        ("raise KeyError('odd')", "internal_error"),
        ("raise OSError(5, 'Input/output error')", "internal_error"),
        ("sys.exit()", "internal_error"),
        ("bytearray(1 << 40)", "internal_error"),
        ("ctypes.string_at(0)", "image_crashed"),
        ("os.abort()", "image_crashed"),
        ("os.kill(os.getpid(), 9)", "image_crashed"),
        ("re.match('(a+)+$', 'a' * 60 + 'b')", "image_too_slow"),
    ],
)
def test_a_style_that_fails_at_an_image_costs_its_row(
    place: Place, extend: Callable[..., None], what: str, code: str
) -> None:
    extend("regioncap.styles", "odd", STYLE.format(what=what))
    three_rows(place)
    plan = place.plan(mark_style="odd", model_profile="qwen2.5-vl")
    render(place, plan)
    assert {name: row.code for name, row in of_render(place, plan).items()} == {"1.jpg": code}
    assert of_render(place, plan)["1.jpg"].reason


def test_a_style_that_waits_for_ever_costs_its_row(
    place: Place, extend: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    extend("regioncap.styles", "odd", STYLE.format(what="time.sleep(3600)"))
    three_rows(place)
    plan = place.plan(mark_style="odd", model_profile="qwen2.5-vl", shard_size=1)
    for number, shard_id in enumerate(plan.shards):
        # A slow machine has time for the others.
        monkeypatch.setattr(decoders, "_PATIENCE", 0.2 if number == 1 else 100.0)
        render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    assert {name: row.code for name, row in of_render(place, plan).items()} == {"1.jpg": "image_too_slow"}


def test_a_style_that_fails_at_every_image_is_no_fault_of_the_drop(place: Place, extend: Callable[..., None]) -> None:
    extend("regioncap.styles", "odd", STYLE.format(what="").replace("if image.width < 80:", "raise KeyError('odd')"))
    three_rows(place)
    plan = place.plan(mark_style="odd")
    with pytest.raises(UnforeseenError, match=r"3 of 3 rows .*KeyError: 'odd'.*mend"):
        render(place, plan)


def test_an_image_that_takes_hours_to_decode_costs_its_row(place: Place, vlm: FakeVlm) -> None:
    three_rows(place, odd=slow_jpeg())
    done = build(place, vlm, max_rejected_ratio=1, model_profile="qwen2.5-vl")
    assert (done.manifest.counts.captioned, done.manifest.counts.rejected) == (2, 1)
    row = rejected(place)["1.jpg"]
    assert row["code"] == "image_too_slow" and "seconds" in row["reason"]


def test_the_model_is_asked_about_the_others_where_an_image_takes_hours(place: Place, vlm: FakeVlm) -> None:
    three_rows(place, odd=slow_jpeg())
    place.put_rows(*({"image": f"{number}.jpg"} for number in range(3)))
    plan = place.plan(**ASKING)
    propose(place, plan, vlm)
    render(place, plan)
    assert {name: row.code for name, row in of_render(place, plan).items()} == {"1.jpg": "image_too_slow"}


def test_a_detector_that_runs_out_of_memory_costs_its_row(place: Place, extend: Callable[..., None]) -> None:
    code = "def it(image): return [(0, 0, 60, 60)] if image.width != 60 else bytearray(1 << 60)"
    extend("regioncap.proposers", "odd", code)
    three_rows(place)
    place.put_rows(*({"image": f"{number}.jpg"} for number in range(3)))
    plan = place.plan(when_no_boxes="odd")
    render(place, plan)
    assert {name: row.code for name, row in of_render(place, plan).items()} == {"1.jpg": "internal_error"}


def test_ones_own_detector_has_what_a_decoder_has_not(
    place: Place, extend: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTOR_KEY", "40")
    code = """
import os, socket

def it(image):
    socket.socket().close()
    side = int(os.environ["DETECTOR_KEY"])
    return [(0, 0, side, side)]
"""
    extend("regioncap.proposers", "remote", code)
    place.put("a.jpg", encoded(picture()))
    place.put_rows({"image": "a.jpg"})
    plan = place.plan(when_no_boxes="remote")
    render(place, plan)
    (row,) = Shard(place.work, plan, plan.shards[0]).rendered().rows
    assert row.bbox == [[0, 0, 40, 40]]


@pytest.mark.parametrize("box_format", ["xywh", "xyxy_norm", "cxcywh_percent", "yxyx_1000"])
@pytest.mark.parametrize("box", [[0, 0, 1e-200, 1e-200], [1e-200, 0, 5e-324, 1e-300], [1e308, -1e308, 1e308, 1e308]])
def test_boxes_of_any_numbers_cost_no_other_row(place: Place, box_format: str, box: list[float]) -> None:
    three_rows(place)
    good = {"xywh": [10, 10, 40, 30], "xyxy_norm": [0.1, 0.1, 0.5, 0.5], "cxcywh_percent": [50, 50, 20, 20]}
    boxes = [good.get(box_format, [100, 100, 500, 500]), box, good.get(box_format, [100, 100, 500, 500])]
    place.put_rows(*({"image": f"{number}.jpg", "bbox": [box]} for number, box in enumerate(boxes)))
    plan = place.plan(box_format=box_format)
    render(place, plan)
    assert set(of_render(place, plan)) <= {"1.jpg"}


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep"), KeyError("odd")], ids=repr)
def test_an_answer_that_nothing_can_be_made_of_costs_its_row(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    parse = attempts.parse_answer

    def parse_or_fail(text: str, *rest: Any) -> Any:
        if "odd" in text:
            raise error
        return parse(text, *rest)

    monkeypatch.setattr(attempts, "parse_answer", parse_or_fail)
    vlm.behave = lambda number, body: completion("odd") if number == 0 else answer_well(body)
    three_rows(place)
    plan = place.plan(max_rejected_ratio=1)
    render(place, plan)
    caption(place, plan, vlm)
    # Now the answer is there from the beginning.
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert len(records(place)) == 2
    (row,) = rejected(place).values()
    assert row["code"] == "internal_error" and type(error).__name__ in row["reason"]


def test_a_request_that_cannot_be_made_costs_its_row(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at(function: Any) -> Any:
        def made(row: Any, *rest: Any, **named: Any) -> Any:
            if row.image == "1.jpg":
                raise RecursionError("too deep")
            return function(row, *rest, **named)

        return made

    for module in (attempts, caption_step):
        monkeypatch.setattr(module, "caption_request", fail_at(module.caption_request))
    three_rows(place)
    build(place, vlm, max_rejected_ratio=1)
    assert {name: row["code"] for name, row in rejected(place).items()} == {"1.jpg": "internal_error"}


def test_a_reader_that_ends_in_the_middle_of_a_manifest_stops_the_run(
    place: Place, extend: Callable[..., None]
) -> None:
    code = """
from regioncap.drop.readers import Reader, Row

def rows(manifest, image_key, bbox_key):
    yield Row(1, {"image": "0.jpg", "bbox": [[10, 10, 40, 30]]})
    raise KeyError("odd")

it = Reader((".odd",), rows)
"""
    extend("regioncap.readers", "odd", code)
    three_rows(place)
    place.put("m.odd", b"anything")
    with pytest.raises(UnforeseenError, match=r"reader of odd ended at the manifest m\.odd .*KeyError: 'odd'"):
        place.plan(input_format="odd")


# ---- large images


def large_jpeg(**options: Any) -> bytes:
    """12,000 x 9,000 pixels, 108 million, with a dark box at (3000, 2000) of 1500 x 1200."""
    image = Image.new("L", (12_000, 9_000), 200)
    image.paste(20, (3000, 2000, 4500, 3200))
    return encoded(image, "JPEG", **options)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_of_more_than_a_hundred_megapixels_is_marked_where_its_boxes_are(
    place: Place, options: dict[str, Any]
) -> None:
    place.put("large.jpg", large_jpeg(**options))
    place.put_rows(
        {"image": "large.jpg", "bbox": [[3000, 2000, 1500, 1200], [0, 0, 900, 900]]},
        {"id": "2", "image": "large.jpg"},
    )
    plan = place.plan(model_profile="qwen2.5-vl", caption_mode="per_region")
    render(place, plan)
    assert not of_render(place, plan)
    shard = Shard(place.work, plan, plan.shards[0])
    given, found = shard.rendered().rows
    assert (given.width, given.height) == (12_000, 9_000)
    assert given.regions[0].bbox == [3000, 2000, 1500, 1200]
    ((x, y, w, h),) = found.bbox
    assert abs(x - 3000) < 20 and abs(y - 2000) < 20 and abs(w - 1500) < 40 and abs(h - 1200) < 40


def test_what_is_larger_than_the_run_allows_is_rejected_before_it_is_decoded(place: Place) -> None:
    place.put("large.jpg", large_jpeg())
    place.put("large.png", encoded(Image.new("1", (12_000, 9_000)), "PNG"))
    place.put("small.jpg", encoded(picture(1300, 900)))
    names, boxes = ("large.jpg", "large.png", "small.jpg"), [[0, 0, 1000, 800]]
    place.put_rows(*({"image": name, "bbox": boxes} for name in names))
    codes = {}
    for most in (1, 100, 1000):
        plan = place.plan(max_image_megapixels=most)
        render(place, plan)
        codes[most] = {name: row.code for name, row in of_render(place, plan).items()}
    assert codes[1] == codes[100] | {"small.jpg": "image_too_large"}
    assert codes[100] == {"large.jpg": "image_too_large", "large.png": "image_too_large"}
    assert codes[1000] == {"large.png": "image_too_large"}


def test_check_rejects_what_a_run_would_reject(place: Place) -> None:
    three_rows(place, odd=slow_jpeg())
    done = CliRunner().invoke(app, ["check", str(place.drop_folder), "--json"])
    told = json.loads(done.stdout)
    assert (told["rows"], told["usable"]) == (3, 2)
    assert [row["code"] for row in told["rejected"]] == ["image_too_slow"]
