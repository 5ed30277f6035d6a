"""Asking the model where things are: what it says becomes boxes of the image as displayed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.ask.requests import grounding_request
from regioncap.captions.grounding import grounded_boxes, grounding_prompt, grounding_schema
from regioncap.marks.profiles import PROFILES, Coordinates
from regioncap.regions.boxes import Box
from tests.builders import Place

# A 4000 x 3000 photo, as Qwen2.5-VL sees it.
DISPLAYED, SEEN = (4000, 3000), (1148, 840)


def boxes(text: str, coordinates: Coordinates = "thousandths") -> list[Box]:
    return grounded_boxes(text, coordinates, SEEN, DISPLAYED)


def test_pixels_are_those_of_the_image_that_the_model_sees() -> None:
    assert boxes('[{"bbox_2d": [0, 0, 574, 420], "label": "door"}]', "pixels") == [pytest.approx((0, 0, 2000, 1500))]


def test_thousandths_are_shares_of_the_sides() -> None:
    assert boxes('[{"bbox_2d": [250, 100, 500, 1000], "label": "door"}]') == [(1000, 300, 2000, 3000)]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[{"bbox_2d": [250, 100, 500, 1000], "label": "a [1, 2] door"}]\n```',
        'There is one door: {"label": "door", "bbox_2d": [250.0, 100, 500, 1e3]} [250, 100, 500, 1000]',
        '[{"bbox_2d": [250, 100, 500, 1000], "label": "door"}, {"bbox_2d": [600, 1',
        '[{"bbox_2d": [500, 1000, 250, 100], "label": "door"}]',
        "[[250, 100, 500, 1000], [250, 100, 500, 1000]]",
        '[{"bbox_2d": [250, 100, 500, 9000], "label": "a door that goes on"}]',
        '[{"bbox_2d": [250, 100, 500, 1000]}, {"bbox_2d": [10, 10, 10, 50], "label": "a line"}]',
    ],
)
def test_fences_prose_cuts_swapped_corners_and_repeats_do_no_harm(text: str) -> None:
    assert boxes(text) == [(1000, 300, 2000, 3000)]


@pytest.mark.parametrize("text", ["", "I see no objects.", "[]", "[1, 2, 3]", '{"bbox_2d": ["a", "b", "c", "d"]}'])
def test_where_there_are_no_boxes_there_are_none(text: str) -> None:
    assert boxes(text) == []


@given(st.text() | st.lists(st.lists(st.floats() | st.integers(), min_size=4, max_size=4)).map(str))
def test_whatever_is_said_boxes_lie_in_the_image_and_have_an_area(text: str) -> None:
    for x0, y0, x1, y1 in boxes(text, "pixels"):
        assert 0 <= x0 < x1 <= DISPLAYED[0] and 0 <= y0 < y1 <= DISPLAYED[1]


@pytest.mark.parametrize(
    ("profile", "coordinates"),
    [("qwen2.5-vl", "in pixels of the image"), ("qwen3-vl", "relative to the image, from 0 to 1000")],
)
def test_qwens_models_are_asked_in_the_words_that_they_are_trained_on(profile: str, coordinates: str) -> None:
    how = PROFILES[profile]
    assert how.coordinates is not None
    assert grounding_prompt(how.grounding, how.coordinates, 10) == (
        "Locate the main objects in the image, at most 10, most prominent first. Report their bbox coordinates "
        f'{coordinates} in JSON format, like [{{"bbox_2d": [x1, y1, x2, y2], "label": "..."}}].'
    )
    schema = grounding_schema(how.grounding, 10)
    assert schema["maxItems"] == 10 and schema["items"]["required"] == ["bbox_2d", "label"]


def test_a_profile_of_ones_own_is_asked_in_its_own_words(tmp_path: Path, extend: Callable[..., None]) -> None:
    extend(
        "regioncap.profiles", "acme",
        "from regioncap.marks.profiles import Grounding, ModelProfile\n"
        "words = Grounding('Detect {n} things {coordinates}: {{}}', box_key='box_2d')\n"
        "it = ModelProfile('acme', None, lambda w, h: (w, h), coordinates='thousandths', grounding=words)",
    )  # fmt: skip
    place = Place(tmp_path)
    place.good_rows(1)
    request = grounding_request("view", place.plan(when_no_boxes="ask_model", model_profile="acme", max_boxes=4))
    assert request.parts[1].value == "Detect 4 things relative to the image, from 0 to 1000: {}"
    schema = request.options["response_format"]["json_schema"]["schema"]
    assert schema["items"]["required"] == ["box_2d", "label"]
