"""The declared box format and frame: stopped where they cannot be right, told where numbers cannot tell."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bench.boxes import Layout, drawn, evidence_of, one_size, rows_of, square, written
from regioncap.regions.boxes import BOX_FORMATS, BoxFormat
from regioncap.regions.formats import Evidence, GivenRow, Verdict, doubts, together, weigh
from regioncap.regions.frames import BoxFrame, Canvas

LAYOUTS = ("xywh", "xyxy", "cxcywh", "yxyx")
UNITS = ("", "_norm", "_percent", "_1000")


def drop(images: int, seed: int = 1) -> list[Layout]:
    return random.Random(seed).sample(drawn(400, 7), images)


def verdict(layouts: list[Layout], true: BoxFormat, declared: BoxFormat) -> Verdict:
    return weigh(evidence_of(rows_of(layouts, true), declared))


def on(canvas_of: object, layouts: list[Layout], frame: BoxFrame = "displayed") -> Verdict:
    """Boxes in pixels of layouts, given for what `canvas_of(size)` says that there is."""
    evidence = Evidence("xywh", frame)
    for item in layouts:
        evidence.add(GivenRow(item.boxes, canvas_of(item.size)))  # type: ignore[operator]
    return weigh(evidence)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(BOX_FORMATS), st.integers(0, 10_000), st.integers(1, 30))
def test_boxes_in_the_declared_format_are_never_doubted(name: BoxFormat, seed: int, images: int) -> None:
    found = verdict(drop(images, seed), name, name)
    assert not found.stop and not found.doubt and not found.likely and not found.frames


@pytest.mark.parametrize("kind", [None, one_size, square])
@pytest.mark.parametrize("declared", BOX_FORMATS)
def test_every_other_format_that_puts_boxes_elsewhere_is_noticed_from_ten_images_on(
    declared: BoxFormat, kind: object
) -> None:
    for seed in range(2):
        layouts = [kind(item) if kind else item for item in drop(10, seed)]  # type: ignore[operator]
        for true in BOX_FORMATS:
            evidence = evidence_of(rows_of(layouts, true), declared)
            if evidence.reading(true).moved < 0.1:
                continue
            found = weigh(evidence)
            assert found.stop or true in [item.name for item in found.alike]
            # What it is told to be is what it is, or it is not told.
            assert len(found.likely) != 1 or found.likely[0].name == true


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("true", "declared"), itertools.permutations(LAYOUTS[:3], 2))
def test_a_layout_of_the_same_unit_is_named_but_for_the_order_of_x_and_y(unit: str, true: str, declared: str) -> None:
    found = verdict(drop(30), true + unit, declared + unit)  # type: ignore[arg-type]
    names = [item.name.partition("_")[0] for item in found.likely]
    assert found.stop
    assert names == [true] or (true == "xyxy" and unit and sorted(names) == ["xyxy", "yxyx"])


@pytest.mark.parametrize("unit", UNITS[1:])
def test_shares_with_y_first_cannot_be_told_from_shares_with_x_first(unit: str) -> None:
    for true, declared in itertools.permutations(["xyxy", "yxyx"]):
        found = verdict(drop(30), true + unit, declared + unit)  # type: ignore[arg-type]
        assert not found.doubt
        assert [item.name for item in found.alike] == [true + unit]


@pytest.mark.parametrize("true", BOX_FORMATS)
def test_what_parts_of_a_drop_say_adds_up_to_what_the_whole_says(true: BoxFormat) -> None:
    rows = rows_of(drop(30), true)
    parts = [evidence_of([row], "xywh") for row in rows]
    kept = TypeAdapter(Evidence)
    whole = together([kept.validate_json(kept.dump_json(part)) for part in parts])
    assert whole is not None
    expected, found = weigh(evidence_of(rows, "xywh")), weigh(whole)
    assert (found.stop, found.doubt, doubts(found)) == (expected.stop, expected.doubt, doubts(expected))
    assert [item.name for item in found.likely] == [item.name for item in expected.likely]
    assert [item.name for item in found.alike] == [item.name for item in expected.alike]


def test_parts_add_up_for_frames_too() -> None:
    layouts = drop(12)

    def on_smaller_copies(item: Layout) -> Evidence:
        evidence = Evidence("xywh")
        size = (item.size[0] * 3, item.size[1] * 3)
        evidence.add(GivenRow(item.boxes, Canvas(size, stated=item.size)))
        return evidence

    found = together([on_smaller_copies(item) for item in layouts])
    assert found is not None
    assert weigh(found).stop
    assert [(item.name, item.rows) for item in weigh(found).frames] == [("row_size", 12)]
    # That the rows give a size of their own counts once, as in one part.
    one = Evidence("xywh")
    for item in layouts:
        one.add(GivenRow(item.boxes, Canvas((item.size[0] * 3, item.size[1] * 3), stated=item.size)))
    assert weigh(found).frames[0].nats == pytest.approx(weigh(one).frames[0].nats)


@pytest.mark.parametrize("margin", [0, 20])
@pytest.mark.parametrize("side", [8, 15, 40, 100])
def test_boxes_that_somebody_keeps_off_the_edges_are_not_taken_for_centres(side: int, margin: int) -> None:
    """Half a small box off the edge, a centre would put it at the edge, now and then."""
    width, height = 1920, 1080
    for seed in range(6):
        chance, evidence = random.Random(seed), Evidence("xywh")
        for _ in range(300):
            boxes = []
            for _ in range(5):
                w, h = (max(4, chance.gauss(side, side / 4)) for _ in range(2))
                x, y = chance.uniform(margin, width - w - margin), chance.uniform(margin, height - h - margin)
                boxes.append([round(value) for value in (x, y, w, h)])
            evidence.add(GivenRow(boxes, Canvas((width, height))))
        assert not weigh(evidence).stop and doubts(weigh(evidence)) == []


def test_no_part_says_nothing() -> None:
    assert together([]) is None


def test_one_row_alone_decides_nothing() -> None:
    for true, declared in itertools.permutations(BOX_FORMATS, 2):
        assert not verdict(drop(1), true, declared).doubt


@pytest.mark.parametrize("name", BOX_FORMATS)
def test_slips_of_an_annotator_are_no_reason_to_doubt(name: BoxFormat) -> None:
    for seed in range(10):
        chance = random.Random(seed)
        rows = rows_of(drop(12, seed), name)
        slips = [
            GivenRow([[value * chance.uniform(0.5, 2) for value in box] for box in row.boxes[:1]], row.canvas)
            for row in rows[:2]
        ]
        assert not weigh(evidence_of([*slips, *rows[2:]], name)).stop


def test_a_third_of_the_rows_in_another_layout_is_no_reason_to_stop() -> None:
    layouts = drop(30)
    assert not weigh(evidence_of(rows_of(layouts[:20], "xywh") + rows_of(layouts[20:], "xyxy"), "xywh")).stop


@pytest.mark.parametrize("other", ["xyxy", "yxyx", "xywh_norm", "xyxy_1000"])
def test_of_rows_of_two_formats_in_one_drop_a_person_is_warned(other: BoxFormat) -> None:
    layouts = drop(60)
    rows = rows_of(layouts[:40], "xywh") + rows_of(layouts[40:], other)
    (warning,) = doubts(weigh(evidence_of(rows, "xywh")))
    assert "some rows" in warning and "xywh" in warning
    assert doubts(weigh(evidence_of(rows_of(layouts, "xywh"), "xywh"))) == []


def test_the_same_boxes_in_a_corner_of_every_image_are_not_taken_for_another_unit() -> None:
    rows = [GivenRow([[20, 30, 50, 40], [10, 12, 30, 30]], Canvas((1280, 960)))] * 50
    found = weigh(evidence_of(rows, "xywh"))
    assert not found.doubt
    # But that they never leave it is told.
    assert found.shrunk == pytest.approx(0.073, abs=0.001)


@pytest.mark.parametrize("rows", [1, 3, 10])
@pytest.mark.parametrize("factor", [0.25, 0.5, 2])
def test_boxes_of_the_size_that_the_rows_give_stop_the_run(rows: int, factor: float) -> None:
    found = on(
        lambda size: Canvas((round(size[0] * factor), round(size[1] * factor)), stated=size), drop(rows, seed=rows)
    )
    assert found.stop or rows == 1
    assert [item.name for item in found.frames] == ["row_size"] and not found.likely
    assert not on(
        lambda size: Canvas((round(size[0] * factor), round(size[1] * factor)), stated=size),
        drop(rows, seed=rows),
        frame="row_size",
    ).doubt


@pytest.mark.parametrize("stated", [0.5, 3])
def test_a_size_that_the_boxes_do_not_bear_out_stops_nothing(stated: float) -> None:
    found = on(lambda size: Canvas(size, stated=(round(size[0] * stated), round(size[1] * stated))), drop(10))
    assert not found.stop and not found.frames


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_photos_as_they_are_stored_stop_the_run(orientation: int) -> None:
    layouts = [item for item in drop(60) if item.size[0] != item.size[1]][:20]
    found = on(lambda size: Canvas(size[::-1], orientation), layouts)
    assert found.stop and [item.name for item in found.frames] == ["stored"]
    assert not on(lambda size: Canvas(size[::-1], orientation), layouts, frame="stored").doubt
    assert not on(lambda size: Canvas(size, orientation), layouts).frames


def test_one_turned_photo_is_enough_where_the_row_gives_the_sides_as_stored() -> None:
    # A wide box, far to the right: outside of the image as displayed.
    row = GivenRow([[400, 100, 200, 90]], Canvas((480, 640), 6, (640, 480)))
    assert weigh(evidence_of([row], "xywh")).stop


def test_boxes_of_larger_images_stop_the_run_without_naming_a_format() -> None:
    found = on(lambda size: Canvas((size[0] // 2, size[1] // 2)), drop(30))
    assert found.stop and not found.likely


def test_boxes_that_fit_in_no_format_stop_the_run() -> None:
    rows = [GivenRow([[5000, 7000, 10, 10]], Canvas((640, 480)))] * 10
    found = weigh(evidence_of(rows, "xywh"))
    assert found.stop and not found.likely


def test_malformed_boxes_are_left_out() -> None:
    rows = [GivenRow(["x", [1, 2], None, [10, 10, 20, 20]], Canvas((100, 100))), GivenRow([], Canvas((100, 100)))]
    assert evidence_of(rows, "xywh").boxes == 1


def test_boxes_are_written_as_annotation_tools_write_them() -> None:
    assert written([320, 120, 64, 48], "cxcywh_norm", (640, 480)) == [0.55, 0.3, 0.1, 0.1]
    assert written([320, 120, 64, 48], "yxyx_1000", (640, 480)) == [250, 500, 350, 600]
