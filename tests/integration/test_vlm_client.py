"""The VLM client against a server that misbehaves."""

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regioncap.ask.requests import first_requests
from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm import probe
from regioncap.vlm.client import connect
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.flow import PreparedRequest, ask_all
from regioncap.vlm.greeting import find_dialect
from regioncap.vlm.requests import ChatRequest, data_url
from tests.builders import encoded, marked_row, picture, planned
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, completion, error, fake_vlm

JPEG = encoded(picture())


def requests(number: int, **changes: Any) -> list[ChatRequest]:
    plan = planned(MODEL, **changes)
    return [asked for index in range(number) for asked in first_requests(marked_row(index), plan)]


def prepare(request: ChatRequest, told: Mapping[str, Completion]) -> PreparedRequest | None:
    return None if told else PreparedRequest(request, dict.fromkeys(request.images, JPEG))


def ask(vlm: FakeVlm, asked: list[ChatRequest], **changes: Any) -> list[Completion]:
    endpoint = Endpoint(**{"base_urls": (vlm.url,), "model": MODEL, "patience_seconds": 60.0, **changes})
    answers: list[Completion] = []

    async def run() -> None:
        async with connect(endpoint) as client:
            await ask_all(client, asked, prepare, answers.append, lambda asked: None, endpoint.max_in_flight)

    asyncio.run(run())
    return answers


def test_all_that_shapes_the_answer_is_sent(vlm: FakeVlm) -> None:
    ask(vlm, requests(1))
    (body,) = vlm.requests
    sampling = ("model", "temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")
    assert {name: body[name] for name in sampling} == {
        "model": MODEL, "temperature": 0, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.0, "max_tokens": 512,
        "seed": 42,
    }  # fmt: skip
    system, user = body["messages"]
    assert system["content"].startswith("You are a helpful assistant.")
    image, text = user["content"]
    assert base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,")) == JPEG
    assert text["text"] == (
        "Describe the content of each marked region in the image. There are 2 regions: <region1> to <region2>."
    )
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["<region1>", "<region2>"] and schema["additionalProperties"] is False


def test_free_text_sends_no_schema(vlm: FakeVlm) -> None:
    ask(vlm, requests(1, answer_format="free_text"))
    assert "response_format" not in vlm.requests[0]


def test_as_many_as_allowed_are_under_way_and_no_more() -> None:
    four = threading.Barrier(4)

    def together(number: int, body: dict[str, Any]) -> Reply:
        if number < 4:
            four.wait(120)
        return answer_well(body)

    with fake_vlm(together) as vlm:
        assert len(ask(vlm, requests(20), max_in_flight=4)) == 20
        assert vlm.most_in_flight == 4


@pytest.mark.parametrize("slots", [1000, 72, 8])
def test_more_are_under_way_than_the_server_works_on(slots: int) -> None:
    # However slow the machine is: until there are more, nothing is answered while others come.
    came, more = [0.0], min(slots, 128) + 1

    def when_nothing_comes(number: int, body: dict[str, Any]) -> Reply:
        came[0] = time.monotonic()
        until = 1 + number % 16 / 16
        while vlm.most_in_flight < more and (left := came[0] + until - time.monotonic()) > 0:
            time.sleep(left)
        return answer_well(body)

    with fake_vlm(when_nothing_comes) as vlm:
        vlm.slots = slots
        ask(vlm, requests(3 * more))
        # How many more depends on how soon a machine tells what waits: tests/unit/vlm/test_pace.py has the numbers.
        assert more <= vlm.most_in_flight <= 256


def test_a_server_that_ignores_schemas_is_found_out(vlm: FakeVlm) -> None:
    async def honours() -> bool:
        async with connect(Endpoint(base_urls=(vlm.url,), model=MODEL)) as client:
            return (await find_dialect(client)).form is not None

    assert asyncio.run(honours())
    vlm.ignores_schemas = True
    assert not asyncio.run(honours())


PASSING: dict[str, Callable[[], Reply]] = {
    "too many requests": lambda: error(429),
    "an internal error": lambda: error(500),
    "a restart": lambda: error(503),
    "a reset connection": lambda: Reply(reset=True),
    "a page of a proxy": lambda: Reply(body="<html>Bad gateway</html>", content_type="text/html"),
    "half a body": lambda: Reply(body='{"id": "chat-1", "choi'),
    "no chat completion": lambda: Reply(body="[1, 2, 3]"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_tried_again(vlm: FakeVlm, fault: str) -> None:
    vlm.behave = lambda number, body: PASSING[fault]() if number < 2 else answer_well(body)
    (answer,) = ask(vlm, requests(1))
    assert answer.finish_reason == "stop" and "<region2>" in answer.text
    assert len(vlm.requests) == 3


def test_a_server_that_dies_again_and_again_costs_no_request_its_answer(vlm: FakeVlm) -> None:
    (unlucky,) = first_requests(marked_row(0, regions=3), planned(MODEL))
    others = requests(300)
    answered, deaths = 0, list[int]()

    def dies_while_it_is_asked(_: int, body: dict[str, Any]) -> Reply:
        nonlocal answered
        reply = answer_well(body)
        if "<region3>" not in str(body["messages"]):
            answered += 1
            # Slow enough for there to be some left.
            reply.delay = 0.1 if len(deaths) < 6 else 0.0
            return reply
        if len(deaths) == 6:
            return reply
        # Between one death and the next, others are answered.
        while deaths and answered < min(deaths[-1] + 2, len(others)):
            time.sleep(0.01)
        deaths.append(answered)
        return Reply(ends=True)

    vlm.behave = dies_while_it_is_asked
    answers = ask(vlm, [unlucky, *others], max_in_flight=2)
    assert len(deaths) == 6
    assert {answer.finish_reason for answer in answers} == {"stop"}


def test_a_hanging_server_is_given_up_and_asked_again(vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: Reply(delay=2.0) if number == 0 else answer_well(body)
    (answer,) = ask(vlm, requests(1), timeout_seconds=0.3)
    assert answer.finish_reason == "stop"


def test_a_slow_drip_is_read_to_its_end(vlm: FakeVlm) -> None:
    reply = completion('{"<region1>": "a", "<region2>": "b"}')
    reply.pieces = 5
    vlm.behave = lambda *_: reply
    assert ask(vlm, requests(1))[0].text == '{"<region1>": "a", "<region2>": "b"}'


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_request_is_an_answer_about_its_row(vlm: FakeVlm, status: int) -> None:
    vlm.behave = lambda number, body: error(status, "the image is odd") if number == 0 else answer_well(body)
    answers = ask(vlm, requests(3), max_in_flight=1)
    assert [answer.refused is not None for answer in answers] == [True, False, False]
    assert "the image is odd" in str(answers[0].refused)


def test_no_choices_is_an_empty_answer(vlm: FakeVlm) -> None:
    vlm.behave = lambda *_: Reply(
        body='{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'
    )
    assert (ask(vlm, requests(1))[0].text, len(vlm.requests)) == ("", 1)


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "refuses the API key"), (403, "refuses the API key"), (404, "does not know the model 'fake-model'")],
)
def test_a_wrong_set_up_ends_at_once_with_what_to_do(vlm: FakeVlm, status: int, message: str) -> None:
    vlm.behave = lambda *_: error(status)
    with pytest.raises(VlmSetupError, match=f"{message}.*correct the connection's"):
        ask(vlm, requests(40), max_in_flight=2)
    assert len(vlm.requests) <= 4


def test_a_server_that_stays_away_ends_after_the_patience(vlm: FakeVlm) -> None:
    vlm.behave = lambda *_: error(503)
    with pytest.raises(VlmUnavailableError, match=r"did not answer for 1 s: is vLLM running there"):
        ask(vlm, requests(3), patience_seconds=1.0)


def test_a_server_that_answers_others_is_waited_for_longer_than_one_that_answers_nobody(vlm: FakeVlm) -> None:
    others: list[int] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        if body["temperature"] > 0:
            return error(503) if len(others) <= 8 else answer_well(body)
        others.append(number)
        return replace(answer_well(body), delay=0.6)

    vlm.behave = behave
    # Beside it the others are asked one after the other: eight of them take longer than the patience.
    put_off = requests(1, temperature=0.5)
    assert len(ask(vlm, put_off + requests(10), max_in_flight=2, patience_seconds=4.0)) == 11


@contextmanager
def two_servers() -> Iterator[tuple[FakeVlm, FakeVlm]]:
    with fake_vlm() as one, fake_vlm() as other:
        one.waiting = other.waiting = 0
        yield one, other


def ask_both(one: FakeVlm, other: FakeVlm, asked: list[ChatRequest], **changes: Any) -> list[Completion]:
    return ask(one, asked, base_urls=(one.url, other.url), **changes)


def test_of_several_servers_the_one_with_least_to_do_is_asked() -> None:
    with two_servers() as (quick, slow):

        def slower(_: int, body: dict[str, Any]) -> Reply:
            while len(quick.requests) < 50:
                time.sleep(0.02)
            return answer_well(body)

        slow.behave = slower
        assert len(ask_both(quick, slow, requests(60), max_in_flight=8)) == 60
        assert len(quick.requests) > 2 * len(slow.requests) > 0


def test_what_other_clients_ask_of_a_server_counts_too() -> None:
    with two_servers() as (free, busy):
        busy.waiting = 500
        free.behave = busy.behave = lambda _, body: replace(answer_well(body), delay=0.1)
        # The first look at the queues comes after half a second.
        ask_both(free, busy, requests(300), max_in_flight=16)
        assert len(free.requests) > 2 * len(busy.requests)


def test_a_server_that_goes_away_costs_no_request_and_is_asked_again_when_it_is_back() -> None:
    with two_servers() as (steady, flaky):
        # Slow enough for the other to come back as often as it goes away.
        steady.behave = lambda _, body: replace(answer_well(body), delay=0.0 if len(flaky.requests) > 7 else 0.3)
        flaky.behave = lambda number, body: answer_well(body) if number < 3 or number > 6 else Reply(reset=True)
        assert len(ask_both(steady, flaky, requests(200), max_in_flight=4)) == 200
        assert len(flaky.requests) > 7


def test_a_server_that_was_never_there_is_no_fault_as_long_as_another_is() -> None:
    with fake_vlm() as there:
        endpoint = Endpoint(base_urls=("http://127.0.0.1:9/v1", there.url), model=MODEL)

        async def check() -> None:
            async with connect(endpoint) as client:
                await probe.check(client)

        asyncio.run(check())


def test_one_of_several_servers_with_another_model_is_found_out() -> None:
    with two_servers() as (right, wrong):
        wrong.models = ["another"]

        async def check() -> None:
            async with connect(Endpoint(base_urls=(right.url, wrong.url), model=MODEL)) as client:
                await probe.check(client)

        with pytest.raises(VlmSetupError, match=f"{wrong.url} serves another"):
            asyncio.run(check())


@pytest.mark.parametrize("inside", [True, False], ids=["in the folder it may read", "elsewhere"])
def test_a_server_that_may_read_a_folder_is_told_the_names_of_files_in_it(
    vlm: FakeVlm, tmp_path: Path, inside: bool
) -> None:
    (tmp_path / "a b").mkdir()
    file = tmp_path / "a b" / "x.jpg"
    file.write_bytes(JPEG)

    def by_file(request: ChatRequest, told: Mapping[str, Completion]) -> PreparedRequest | None:
        return None if told else PreparedRequest(request, dict.fromkeys(request.images, file))

    endpoint = Endpoint(
        base_urls=(vlm.url,), model=MODEL, local_media_path=str(tmp_path if inside else tmp_path / "other")
    )

    async def run() -> None:
        async with connect(endpoint) as client:
            await ask_all(client, requests(1), by_file, lambda answer: None, lambda asked: None, 1)

    asyncio.run(run())
    sent = vlm.requests[0]["messages"][1]["content"][0]["image_url"]["url"]
    assert sent == (f"file://{tmp_path}/a%20b/x.jpg" if inside else data_url(JPEG))


def test_nobody_listening_is_said_so() -> None:
    absent = FakeVlm(lambda *_: Reply(), url="http://127.0.0.1:9/v1")
    with pytest.raises(VlmUnavailableError, match="is the connection's host right"):
        ask(absent, requests(1), patience_seconds=0.5)


def test_answers_before_the_first_error_are_handed_over(vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: answer_well(body) if number < 5 else error(401)
    endpoint = Endpoint(base_urls=(vlm.url,), model=MODEL)
    answers: list[Completion] = []

    async def run() -> None:
        async with connect(endpoint) as client:
            await ask_all(client, requests(10), prepare, answers.append, lambda asked: None, 1)

    with pytest.raises(VlmSetupError):
        asyncio.run(run())
    assert len(answers) == 5


def test_the_api_key_is_sent_and_never_shown(vlm: FakeVlm) -> None:
    endpoint = Endpoint(base_urls=(vlm.url,), model=MODEL, api_key="secret-key")
    assert "secret-key" not in repr(endpoint)
