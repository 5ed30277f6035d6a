"""Boxes: from what a row gives to the regions that are marked."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.regions.boxes import (
    BOX_FORMATS,
    as_xywh,
    box_error,
    clip,
    normalized,
    select_regions,
    to_pixels,
)
from regioncap.regions.codes import Code

NUMBERS = st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.booleans(), st.none())


def select(boxes: list[object], width: int = 200, height: int = 100, **changes: object):  # type: ignore[no-untyped-def]
    form = changes.pop("box_format", "xywh")
    options = {"width": width, "height": height, "scale": 1.0, "max_boxes": 10, **changes}
    return select_regions(boxes, place=lambda raw: to_pixels(raw, form, width, height), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ("10,10,20,20", Code.NOT_A_BOX),
        ({"x": 1}, Code.NOT_A_BOX),
        ([1, 2, 3], Code.WRONG_LENGTH),
        ([1, 2, 3, 4, 5], Code.WRONG_LENGTH),
        (["1", "2", "3", "4"], Code.NOT_A_NUMBER),
        ([True, 0, 5, 5], Code.NOT_A_NUMBER),
        ([None, 0, 5, 5], Code.NOT_A_NUMBER),
        ([math.nan, 0, 5, 5], Code.NOT_FINITE),
        ([0, 0, math.inf, 5], Code.NOT_FINITE),
        ([0, 0, 10**400, 5], Code.NOT_FINITE),
        ([10, 10, 0, 5], Code.NO_AREA),
        ([10, 10, 5, -5], Code.NO_AREA),
        ([500, 10, 20, 20], Code.OUTSIDE),
        ([-50, 10, 50, 20], Code.OUTSIDE),
        ([10, 10, 3, 30], Code.TOO_SMALL),
    ],
)
def test_a_box_that_cannot_be_used_is_dropped_with_its_code(box: object, code: Code) -> None:
    regions, dropped = select([box, [10, 10, 50, 50]])
    assert [(item.box_index, item.code) for item in dropped] == [(0, code)]
    assert [region.box_index for region in regions] == [1]


def test_region_numbers_map_back_to_the_given_boxes() -> None:
    regions, _ = select([[0, 0, 0, 0], [10, 10, 20, 20], "x", [50, 50, 20, 20]])
    assert [region.box_index for region in regions] == [1, 3]


def test_usable_boxes_beyond_the_limit_are_dropped_and_said_so() -> None:
    regions, dropped = select([[index, 0, 20, 20] for index in range(5)], max_boxes=3)
    assert len(regions) == 3
    assert [(item.box_index, item.code) for item in dropped] == [(3, Code.OVER_MAX_BOXES), (4, Code.OVER_MAX_BOXES)]


def test_the_published_example_normalizes_as_the_original_does() -> None:
    box = to_pixels([196, 104, 310, 495], "xywh", 1536, 832)
    assert normalized([box], 1536, 832, 2) == [[0.128, 0.125, 0.329, 0.72], [0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("box_format", "numbers"),
    [
        ("xywh", [20, 10, 40, 30]),
        ("xyxy", [20, 10, 60, 40]),
        ("cxcywh", [40, 25, 40, 30]),
        ("xywh_norm", [0.1, 0.1, 0.2, 0.3]),
        ("xyxy_norm", [0.1, 0.1, 0.3, 0.4]),
        ("cxcywh_norm", [0.2, 0.25, 0.2, 0.3]),
        ("yxyx", [10, 20, 40, 60]),
        ("yxyx_norm", [0.1, 0.1, 0.4, 0.3]),
        ("yxyx_1000", [100, 100, 400, 300]),
        ("xywh_percent", [10, 10, 20, 30]),
        ("xyxy_percent", [10, 10, 30, 40]),
        ("cxcywh_percent", [20, 25, 20, 30]),
        ("yxyx_percent", [10, 10, 40, 30]),
        ("xywh_1000", [100, 100, 200, 300]),
        ("xyxy_1000", [100, 100, 300, 400]),
        ("cxcywh_1000", [200, 250, 200, 300]),
    ],
)
def test_every_format_means_the_same_box(box_format: str, numbers: list[float]) -> None:
    box = to_pixels(numbers, box_format, 200, 100)  # type: ignore[arg-type]
    assert box == pytest.approx((20, 10, 60, 40))


def test_every_declared_format_is_tried_above() -> None:
    assert len(BOX_FORMATS) == 16


def test_a_box_over_the_edge_is_clipped() -> None:
    assert clip((-10, 90, 50, 130), 200, 100) == (0, 90, 50, 100)


def test_record_boxes_are_whole_numbers_where_they_can_be() -> None:
    assert as_xywh((1.0, 2.5, 11.0, 7.123456)) == [1, 2.5, 10, 4.62]


@given(st.lists(st.one_of(NUMBERS, st.lists(NUMBERS, max_size=5)), max_size=12), st.sampled_from(BOX_FORMATS))
def test_every_box_is_either_a_region_inside_the_image_or_dropped_with_a_code(boxes: list[object], form: str) -> None:
    regions, dropped = select(boxes, box_format=form)
    assert sorted([r.box_index for r in regions] + [d.box_index for d in dropped]) == list(range(len(boxes)))
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 200 and 0 <= y0 < y1 <= 100
    for item in dropped:
        fault = box_error(boxes[item.box_index])
        assert fault in (None, item.code)
