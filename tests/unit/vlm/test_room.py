"""Whether the largest question fits into the server's context is known before the first row."""

import logging

import pytest

from regioncap.errors import VlmSetupError
from tests.builders import Place, encoded, picture
from tests.fake_vlm import FakeVlm
from tests.steps import caption, jpeg_of, render


def sized(place: Place) -> None:
    for number, size in enumerate((150, 600, 300)):
        place.put(f"{number}.jpg", encoded(picture(size, size, (number, 99, 200))))
    sizes = enumerate((150, 600, 300))
    place.put_rows(*({"image": f"{number}.jpg", "bbox": [[10, 10, size - 20, size - 20]]} for number, size in sizes))


@pytest.mark.parametrize(("caption_mode", "question"), [("joint", 1330), ("per_region", 2560)])
def test_what_an_image_costs_and_what_the_largest_question_needs_is_logged(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture, caption_mode: str, question: int
) -> None:
    caplog.set_level(logging.INFO)
    sized(place)
    plan = place.plan(model_profile="qwen2.5-vl", caption_mode=caption_mode)
    render(place, plan)
    vlm.context, vlm.image_tokens = 4096, 1230
    caption(place, plan, vlm)
    assert f"an image costs 1230 tokens; the largest question needs {question + 512} of 4096" in caplog.messages
    # The largest one, and the same without its images.
    whole, without = vlm.tokenized
    asked = whole["messages"][1]["content"]
    assert jpeg_of(asked[0]).width > 550 and whole["messages"] in [body["messages"] for body in vlm.requests]
    assert [part for part in asked if part["type"] == "text"] == without["messages"][1]["content"]


@pytest.mark.parametrize(("caption_mode", "context"), [("joint", 1841), ("per_region", 3071)])
def test_a_largest_question_without_room_ends_the_task_before_anything_is_asked(
    place: Place, vlm: FakeVlm, caption_mode: str, context: int
) -> None:
    sized(place)
    plan = place.plan(model_profile="qwen2.5-vl", caption_mode=caption_mode)
    render(place, plan)
    vlm.context, vlm.image_tokens = context, 1230
    with pytest.raises(VlmSetupError) as told:
        caption(place, plan, vlm)
    said = str(told.value)
    assert vlm.requests == []
    assert f"max_model_len={context}" in said and f"--max-model-len {context + 1} or more" in said
    assert "1230 of them for each" in said and "lower the param max_tokens" in said
    assert ("caption_mode of joint" in said) == (caption_mode == "per_region")


def test_just_enough_room_is_enough(place: Place, vlm: FakeVlm) -> None:
    sized(place)
    plan = place.plan(model_profile="qwen2.5-vl")
    render(place, plan)
    vlm.context, vlm.image_tokens = 1842, 1230
    assert [counts.asked for counts in caption(place, plan, vlm)] == [3]


@pytest.mark.parametrize("context", [None, 64])
def test_a_server_that_does_not_tell_is_asked_all_the_same(
    place: Place, vlm: FakeVlm, caplog: pytest.LogCaptureFixture, context: int | None
) -> None:
    sized(place)
    plan = place.plan(model_profile="qwen2.5-vl")
    render(place, plan)
    vlm.context = context
    assert [counts.asked for counts in caption(place, plan, vlm)] == [3]
    assert not any("costs" in text for text in caplog.messages)
