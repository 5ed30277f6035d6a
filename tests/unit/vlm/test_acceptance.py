"""Whose fault a refusal is, where requests of several shapes are under way at once."""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from regioncap.ask.requests import first_requests
from regioncap.errors import VlmSetupError
from regioncap.vlm.client import connect
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.flow import PreparedRequest, ask_all
from regioncap.vlm.requests import ChatRequest
from regioncap.vlm.shapes import sent_image, shape_of, stand_in
from tests.builders import encoded, marked_row, picture, planned
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, error
from tests.steps import jpeg_of

JPEG = encoded(picture())


def one_image(number: int) -> list[ChatRequest]:
    """Requests with one image each."""
    return [asked for row in range(number) for asked in first_requests(marked_row(row), planned(MODEL))]


def two_images(number: int) -> list[ChatRequest]:
    """Requests with two images each."""
    plan = planned(MODEL, caption_mode="per_region")
    rows = (marked_row(100 + row, regions=1, crops=True) for row in range(number))
    return [asked for row in rows for asked in first_requests(row, plan)]


def ask(vlm: FakeVlm, requests: list[ChatRequest], in_flight: int) -> list[Completion]:
    answers: list[Completion] = []

    def prepare(request: ChatRequest, told: Mapping[str, Completion]) -> PreparedRequest | None:
        return None if told else PreparedRequest(request, dict.fromkeys(request.images, JPEG))

    async def run() -> None:
        async with connect(Endpoint(base_urls=(vlm.url,), model=MODEL, patience_seconds=3.0)) as client:
            await ask_all(client, requests, prepare, answers.append, lambda asked: None, in_flight)

    asyncio.run(run())
    return answers


def takes_one_image(_: int, body: dict[str, Any]) -> Reply:
    images = [part for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    if len(images) > 1:
        return error(400, "At most 1 image(s) may be provided in one prompt.")
    return replace(answer_well(body), delay=0.02)


@pytest.mark.parametrize("in_flight", [1, 4, 64])
def test_all_requests_with_two_images_are_refused_by_the_set_up_though_those_with_one_are_answered(
    vlm: FakeVlm, in_flight: int
) -> None:
    vlm.behave = takes_one_image
    asked = [request for pair in zip(one_image(40), two_images(40), strict=True) for request in pair]
    with pytest.raises(VlmSetupError, match=r"At most 1 image.*--limit-mm-per-prompt"):
        ask(vlm, asked, in_flight)
    assert len(vlm.requests) <= len(asked) + 2


@pytest.mark.parametrize("in_flight", [1, 64])
def test_a_single_request_of_its_shape_that_is_refused_is_refused_for_itself(vlm: FakeVlm, in_flight: int) -> None:
    vlm.behave = takes_one_image
    answers = ask(vlm, [*one_image(5), *two_images(1), *one_image(10)[5:]], in_flight)
    assert sum(answer.refused is not None for answer in answers) == 1
    assert len(answers) == 11


@pytest.mark.parametrize("size", [(256, 256), (900, 700)])
def test_a_stand_in_has_the_pixels_and_the_bytes_of_the_image_and_nothing_of_what_is_in_it(
    size: tuple[int, int],
) -> None:
    noise = Image.effect_noise(size, 90).convert("RGB")
    image = sent_image(encoded(noise, quality=95), by_name=False)
    plain = stand_in(image)
    decoded = jpeg_of({"image_url": {"url": plain}})
    assert decoded.size == size and decoded.getcolors() == [(size[0] * size[1], (128, 128, 128))]
    assert abs(len(plain) * 3 / 4 - image.bytes) < 100


def test_a_shape_covers_what_asks_for_no_more() -> None:
    images = {name: sent_image(JPEG, by_name=False) for name in ("marked-0", "marked-100", "close-100-0")}
    (small,), (large,) = one_image(1), two_images(1)
    of_small, of_large = shape_of(small, images), shape_of(large, images)
    assert of_large.covers(of_small) and not of_small.covers(of_large)
    more_room = replace(small, options=small.options | {"max_tokens": 4096})
    assert not of_small.covers(shape_of(more_room, images))
    assert not shape_of(replace(small, options={}), images).covers(of_small)


def test_what_is_no_larger_than_a_grey_picture_stands_in_for_itself_as_one() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "JPEG")
    assert jpeg_of({"image_url": {"url": stand_in(sent_image(stream.getvalue(), by_name=False))}}).size == (32, 32)
