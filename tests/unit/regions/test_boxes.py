"""Boxes: from what a row gives to the regions that are marked."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.regions.boxes import (
    BOX_FORMATS,
    BoxFormat,
    GivenBox,
    as_xywh,
    box_error,
    clip,
    normalized,
    select_regions,
    suspect_format,
    to_pixels,
)
from regioncap.regions.codes import Code

NUMBERS = st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.booleans(), st.none())


def select(boxes: list[object], width: int = 200, height: int = 100, **changes: object):  # type: ignore[no-untyped-def]
    options = {"box_format": "xywh", "width": width, "height": height, "scale": 1.0, "max_boxes": 10, **changes}
    return select_regions(boxes, **options)  # type: ignore[arg-type]


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
        ("xywh_1000", [100, 100, 200, 300]),
        ("xyxy_1000", [100, 100, 300, 400]),
        ("cxcywh_1000", [200, 250, 200, 300]),
    ],
)
def test_every_format_means_the_same_box(box_format: str, numbers: list[float]) -> None:
    box = to_pixels(numbers, box_format, 200, 100)  # type: ignore[arg-type]
    assert box == pytest.approx((20, 10, 60, 40))


def test_every_declared_format_is_tried_above() -> None:
    assert len(BOX_FORMATS) == 9


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


def written(box: tuple[float, float, float, float], box_format: str, size: tuple[int, int]) -> list[float]:
    """A box (x0, y0, x1, y1) in pixels as a manifest of the given format has it."""
    x0, y0, x1, y1 = box
    layout, _, unit = box_format.partition("_")
    numbers = {
        "xywh": (x0, y0, x1 - x0, y1 - y0),
        "xyxy": (x0, y0, x1, y1),
        "cxcywh": ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
    }[layout]
    across, down = {"": (1, 1), "norm": size, "1000": (size[0] / 1000, size[1] / 1000)}[unit]
    return [numbers[0] / across, numbers[1] / down, numbers[2] / across, numbers[3] / down]


def drop_of(
    box_format: str, boxes: int = 60, seed: int = 1, size: tuple[int, int] = (1280, 960), shown: float = 1
) -> list[GivenBox]:
    """Boxes all over images of `size` (1,280 x 960), as an annotator draws them; the images are shown at a scale."""
    chance = random.Random(seed)
    drawn = []
    for _ in range(boxes):
        w, h = chance.uniform(0.03, 0.4) * size[0], chance.uniform(0.04, 0.4) * size[1]
        x, y = chance.uniform(0, size[0] - w), chance.uniform(0, size[1] - h)
        seen = (round(size[0] * shown), round(size[1] * shown))
        drawn.append(GivenBox(written((x, y, x + w, y + h), box_format, size), seen))
    return drawn


@given(st.sampled_from(BOX_FORMATS), st.integers(0, 10_000))
def test_boxes_in_the_declared_format_are_never_suspect(box_format: str, seed: int) -> None:
    assert suspect_format(drop_of(box_format, seed=seed), box_format) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("declared", "real"),
    [
        ("xywh", "xyxy"),
        ("xywh", "xywh_norm"),
        ("xywh", "xyxy_norm"),
        ("xyxy", "xywh"),
        ("xyxy", "cxcywh_norm"),
        ("xywh_norm", "xywh"),
        ("xyxy_norm", "xyxy"),
        ("xywh_1000", "xywh_norm"),
    ],
)
def test_boxes_in_another_format_are_told(declared: str, real: str) -> None:
    suspicion = suspect_format(drop_of(real, boxes=200), declared)  # type: ignore[arg-type]
    assert suspicion is not None
    assert suspicion.likely == real


UNITS = ("", "_norm", "_1000")
LAYOUTS = ("xywh", "xyxy", "cxcywh")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("declared", "real"), itertools.permutations(LAYOUTS, 2))
@pytest.mark.parametrize("boxes", [40, 1000])
def test_boxes_in_another_layout_of_the_same_unit_are_told(unit: str, declared: str, real: str, boxes: int) -> None:
    for seed in range(10):
        suspicion = suspect_format(drop_of(real + unit, boxes=boxes, seed=seed), declared + unit)  # type: ignore[arg-type]
        assert suspicion is not None
        assert (suspicion.likely, suspicion.certain) == (real + unit, True)
        assert suspicion.x_first == (unit == "")


def test_boxes_that_are_half_right_are_told_though_most_are_in_their_images() -> None:
    suspicion = suspect_format(drop_of("cxcywh", boxes=200), "xywh")
    assert suspicion is not None and suspicion.declared_share > 0.5


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@pytest.mark.parametrize("boxes", [8, 12, 20, 60])
def test_slips_of_an_annotator_are_no_reason_to_doubt(box_format: str, boxes: int) -> None:
    for seed in range(50):
        drawn = drop_of(box_format, boxes=boxes, seed=seed)
        chance = random.Random(seed)
        for place in chance.sample(range(boxes), 1 + boxes // 20):
            raw, size = drawn[place].raw, drawn[place].size
            drawn[place] = GivenBox([value * chance.uniform(0.5, 2) for value in raw], size)
        assert suspect_format(drawn, box_format) is None  # type: ignore[arg-type]


def test_eight_boxes_are_enough_where_many_of_them_speak_against_the_declared_layout() -> None:
    told = [suspect_format(drop_of("xyxy", boxes=8, seed=seed), "xywh") for seed in range(20)]
    assert all(suspicion is None or suspicion.likely == "xyxy" for suspicion in told)
    assert sum(suspicion is not None for suspicion in told) > 10
    assert suspect_format(drop_of("xyxy", boxes=7), "xywh") is None


@pytest.mark.parametrize("scale", [0.4, 0.5, 0.6])
@pytest.mark.parametrize("declared", LAYOUTS)
def test_no_format_is_certain_for_boxes_of_larger_copies(declared: str, scale: float) -> None:
    for seed in range(20):
        drawn = drop_of(declared, boxes=100, seed=seed, size=(640, 480), shown=scale)
        suspicion = suspect_format(drawn, declared)  # type: ignore[arg-type]
        assert suspicion is None or not suspicion.certain


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("declared", BOX_FORMATS)
def test_no_format_is_certain_with_x_first_for_boxes_with_y_first(unit: str, declared: str) -> None:
    drawn = [GivenBox([box.raw[place] for place in (1, 0, 3, 2)], box.size) for box in drop_of(f"xyxy{unit}", 200)]
    suspicion = suspect_format(drawn, declared)  # type: ignore[arg-type]
    assert suspicion is None or not (suspicion.certain and suspicion.x_first)


def test_a_few_wrong_boxes_or_a_few_boxes_in_all_are_no_reason_to_doubt() -> None:
    mixed = drop_of("xywh", boxes=80) + drop_of("xyxy", boxes=40)
    assert suspect_format(mixed, "xywh") is None
    assert suspect_format(drop_of("xywh_norm", boxes=10), "xywh") is None


@pytest.mark.parametrize("declared", ["xyxy_1000", "cxcywh_1000"])
def test_thousandths_are_not_certain_where_the_numbers_reach_the_edges_as_pixels(declared: BoxFormat) -> None:
    boxes = [GivenBox([10 + 12 * k, 440 - 11 * k, 90, 60], (512, 512)) for k in range(30)]
    suspicion = suspect_format(boxes, declared)
    assert suspicion is not None and not suspicion.certain


@pytest.mark.parametrize("declared", ["xyxy", "cxcywh"])
def test_pixels_are_not_certain_where_the_numbers_reach_the_edges_as_thousandths(declared: BoxFormat) -> None:
    boxes = [GivenBox([10 + 29 * k, 880 - 29 * k, 120, 110], (1920, 1600)) for k in range(30)]
    suspicion = suspect_format(boxes, declared)
    assert suspicion is not None and not suspicion.certain
