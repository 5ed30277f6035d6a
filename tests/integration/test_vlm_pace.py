"""Servers of every speed, and several of which one is at fault: nothing is lost, and nobody waits for long."""

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from regioncap.ask.requests import first_requests
from regioncap.errors import ParamsError, VlmUnavailableError
from regioncap.vlm import probe
from regioncap.vlm.client import connect
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.flow import PreparedRequest, ask_all
from regioncap.vlm.greeting import find_dialect
from regioncap.vlm.requests import ChatRequest
from tests.builders import marked_row, planned
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, error, fake_vlm
from tests.integration.test_vlm_client import ask, prepare, requests


def finish_reasons(answers: list[Completion]) -> set[str]:
    return {answer.finish_reason for answer in answers}


def test_a_server_that_takes_longer_the_more_it_has_loses_no_row(vlm: FakeVlm) -> None:
    # All that is under way shares 8 answers a second: with 64, each would take 8 s.
    working, lock = 0, threading.Lock()

    def shared(_: int, body: dict[str, Any]) -> Reply:
        nonlocal working
        with lock:
            working += 1
        left = 1 / 8
        while left > 0:
            time.sleep(0.05)
            left -= 0.05 / working
        with lock:
            working -= 1
        return answer_well(body)

    vlm.behave = shared
    answers = ask(vlm, requests(40), timeout_seconds=1.5)
    assert len(answers) == 40 and finish_reasons(answers) == {"stop"}


def test_a_server_that_is_slower_than_the_time_out_is_asked_less_and_waited_for(vlm: FakeVlm) -> None:
    vlm.behave = lambda _, body: replace(answer_well(body), delay=1.0)
    answers = ask(vlm, requests(6), timeout_seconds=0.4)
    assert len(answers) == 6 and finish_reasons(answers) == {"stop"}


def test_a_server_that_answers_in_batches_loses_no_row(vlm: FakeVlm) -> None:
    vlm.behave = lambda _, body: replace(answer_well(body), delay=1.0 - time.monotonic() % 1.0)
    answers = ask(vlm, requests(60), timeout_seconds=5.0)
    assert len(answers) == 60 and finish_reasons(answers) == {"stop"}


@pytest.mark.parametrize("in_flight", [1, 16])
def test_one_of_two_replicas_behind_one_name_that_fails_at_all_costs_no_row(vlm: FakeVlm, in_flight: int) -> None:
    # Whatever comes, small requests too, goes to the one and to the other in turns.
    turn, lock = 0, threading.Lock()
    handle = vlm.handle

    def in_turns(body: dict[str, Any]) -> Reply:
        nonlocal turn
        with lock:
            turn += 1
            broken = turn % 2 == 0
        return error(500, "CUDA error: device-side assert triggered") if broken else handle(body)

    vlm.handle = in_turns  # type: ignore[method-assign]
    try:
        answers = ask(vlm, requests(30), max_in_flight=in_flight)
    finally:
        del vlm.handle
    assert len(answers) == 30 and finish_reasons(answers) == {"stop"}


@pytest.mark.parametrize("failures", range(3))
def test_a_last_row_does_not_come_to_the_broken_one_of_two_replicas_each_time(vlm: FakeVlm, failures: int) -> None:
    # It has failed so often before, while all else was answered; then whatever comes goes to the one and to the other.
    failed, turn, lock = 0, 0, threading.Lock()
    handle = vlm.handle

    def in_turns(body: dict[str, Any]) -> Reply:
        nonlocal failed, turn
        row = isinstance(body["messages"][-1]["content"], list)
        with lock:
            if row and failed < failures:
                failed += 1
                return error(500)
            turn += bool(turn or row)
            broken = turn % 2 == 1
        return error(500, "CUDA error: device-side assert triggered") if broken else handle(body)

    vlm.handle = in_turns  # type: ignore[method-assign]
    try:
        (answer,) = ask(vlm, requests(1))
    finally:
        del vlm.handle
    assert answer.finish_reason == "stop"


def test_one_of_two_servers_that_breaks_for_a_while_costs_no_row() -> None:
    with fake_vlm() as steady, fake_vlm() as broken:
        steady.behave = lambda _, body: replace(answer_well(body), delay=0.05)
        until = time.monotonic() + 2.0
        broken.behave = lambda _, body: error(500) if time.monotonic() < until else answer_well(body)
        answers = ask(steady, requests(300), base_urls=(steady.url, broken.url), max_in_flight=8)
        assert len(answers) == 300 and finish_reasons(answers) == {"stop"}


@pytest.mark.parametrize("hangs", ["from the first", "in the middle"])
def test_a_server_of_two_that_hangs_costs_no_row_and_little_time(hangs: str) -> None:
    with fake_vlm() as good, fake_vlm() as hanging:
        good.behave = lambda _, body: replace(answer_well(body), delay=0.1)

        def hang(number: int, body: dict[str, Any]) -> Reply:
            if number > 20:
                hanging.hangs.set()
            return replace(answer_well(body), delay=0.1)

        hanging.behave = hang
        if hangs == "from the first":
            hanging.hangs.set()
        endpoint = Endpoint(base_urls=(good.url, hanging.url), model=MODEL, max_in_flight=8)
        answers: list[Completion] = []

        async def run() -> None:
            async with connect(endpoint) as client:
                await probe.check(client)
                client.wire.dialect = await find_dialect(client, {}, structured=True)
                await ask_all(client, requests(120), prepare, answers.append, lambda asked: None, 8)

        started = time.monotonic()
        asyncio.run(run())
        # The time-out is not waited for. The good one alone takes 1.5 s.
        assert time.monotonic() - started < endpoint.timeout_seconds
        assert len(answers) == 120 and finish_reasons(answers) == {"stop"}
        if hangs == "from the first":
            assert not hanging.requests


@pytest.mark.parametrize("form", ["seconds", "date", "limits"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_is_not_asked_before_the_time_that_it_says(vlm: FakeVlm, status: int, form: str) -> None:
    asked: list[float] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        asked.append(time.time())
        if number:
            return answer_well(body)
        if form == "limits":
            limits = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"}
            return replace(error(status), headers=limits)
        # Dates have no parts of a second.
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
        return replace(error(status), headers={"Retry-After": "2" if form == "seconds" else date})

    vlm.behave = behave
    answers = ask(vlm, requests(1))
    assert finish_reasons(answers) == {"stop"}
    assert asked[1] - asked[0] >= 1.9


def test_a_server_that_wants_to_be_left_alone_for_a_day_ends_the_task_with_its_words(vlm: FakeVlm) -> None:
    vlm.behave = lambda *_: replace(error(429, "daily quota"), headers={"Retry-After": "86400"})
    with pytest.raises(VlmUnavailableError, match=r"asked again in 86400 s.*daily quota"):
        ask(vlm, requests(1))


@pytest.mark.parametrize("status", [429, 503])
def test_one_row_that_is_refused_for_now_each_time_is_an_answer_about_this_row(vlm: FakeVlm, status: int) -> None:
    def behave(_: int, body: dict[str, Any]) -> Reply:
        return error(status, "try later") if "<region3>" in str(body["messages"]) else answer_well(body)

    vlm.behave = behave
    odd = regions_of_three()
    answers = ask(vlm, [odd, *requests(20)], patience_seconds=2.5)
    assert len(answers) == 21
    (refused,) = [answer for answer in answers if answer.refused is not None]
    assert refused.key == odd.key and "try later" in str(refused.refused)


def regions_of_three() -> ChatRequest:
    (request,) = first_requests(marked_row(0, regions=3), planned(MODEL))
    return request


def test_an_address_that_is_not_found_after_good_answers_is_asked_again(vlm: FakeVlm) -> None:
    vlm.behave = lambda number, body: error(404) if 3 <= number < 6 else answer_well(body)
    answers = ask(vlm, requests(12), max_in_flight=1)
    assert len(answers) == 12 and finish_reasons(answers) == {"stop"}


def test_an_error_of_who_prepares_is_raised_as_it_is(vlm: FakeVlm) -> None:
    def fails(request: ChatRequest, told: Mapping[str, Completion]) -> PreparedRequest | None:
        raise ParamsError("no such image")

    async def run() -> None:
        async with connect(Endpoint(base_urls=(vlm.url,), model=MODEL)) as client:
            await ask_all(client, requests(3), fails, lambda answer: None, lambda asked: None, 3)

    with pytest.raises(ParamsError, match="no such image"):
        asyncio.run(run())
