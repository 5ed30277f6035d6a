"""Rows that end the server, which takes all that is under way with it and is back at once: none of these is blamed."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from regioncap.ask.requests import first_requests
from regioncap.errors import VlmUnavailableError
from regioncap.vlm import client as client_module
from regioncap.vlm.client import connect
from regioncap.vlm.completion import ENDED, Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.flow import PreparedRequest, ask_all
from regioncap.vlm.requests import ChatRequest, data_url
from tests.builders import encoded, marked_row, picture, planned
from tests.fake_vlm import MODEL, FakeVlm, Reply, answer_well, error, fake_vlm

JPEG, DEADLY = encoded(picture()), encoded(picture(colour=(0, 0, 0)))

# A row is asked about so often with others when the server ends, and then alone, until it is to blame.
MOST_DEATHS = 6 + 3


def rows(number: int) -> list[ChatRequest]:
    return [request for index in range(number) for request in first_requests(marked_row(index), planned(MODEL))]


def ask(
    asked: list[ChatRequest],
    in_flight: int,
    *servers: FakeVlm,
    deadly: Collection[ChatRequest] = (),
    answers: list[Completion] | None = None,
) -> dict[str, Completion]:
    """What came of the requests, by their keys; each came to one end. `answers` gets them as they come."""
    answers = [] if answers is None else answers

    def prepare(request: ChatRequest, told: Mapping[str, Completion]) -> PreparedRequest | None:
        image = DEADLY if request in deadly else JPEG
        return None if told else PreparedRequest(request, dict.fromkeys(request.images, image))

    async def run() -> None:
        endpoint = Endpoint(base_urls=tuple(server.url for server in servers), model=MODEL, patience_seconds=120.0)
        async with connect(endpoint) as client:
            await ask_all(client, asked, prepare, answers.append, lambda asked: None, in_flight)

    asyncio.run(run())
    assert Counter(answer.key for answer in answers) == Counter(request.key for request in asked)
    return {answer.key: answer for answer in answers}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is asked again at once, so that what ends the server finds the others under way again."""
    monkeypatch.setattr(client_module, "_PAUSE", lambda state: 0.005)


def ends_at_deadly_pictures(fake: FakeVlm) -> Callable[[int, dict[str, Any]], Reply]:
    """All else takes longer than that, where it has company."""

    def behave(_: int, body: dict[str, Any]) -> Reply:
        if data_url(DEADLY) in str(body["messages"]):
            return Reply(ends=True, delay=0.03)
        reply = answer_well(body)
        reply.delay = 0.2 if fake.in_flight > 1 else 0.0
        return reply

    return behave


LOST = {
    "a reset": Reply(reset=True),
    "a gateway's word": error(502, "Bad Gateway"),
    "a gateway that waited": error(504, "Gateway Timeout"),
    "vLLM's last word": error(500, "EngineCore encountered an issue. See stack trace (above) for the root cause."),
}


@pytest.mark.parametrize(
    ("in_flight", "addresses", "behind_each", "lost"),
    [
        *((in_flight, addresses, 1, "a reset") for in_flight in (1, 8, 64) for addresses in (1, 2)),
        *((8, 1, 2, lost) for lost in LOST),
        (64, 1, 1, "vLLM's last word"),
    ],
)
@pytest.mark.parametrize("culprits", [1, 2])
def test_only_the_row_that_ends_the_server_is_rejected_though_it_is_back_at_once(
    at_once: None, in_flight: int, addresses: int, behind_each: int, lost: str, culprits: int
) -> None:
    others = rows(in_flight + 6 + culprits)
    to_blame = [others.pop(2) for _ in range(culprits)]
    with ExitStack() as stack:
        fakes = [stack.enter_context(fake_vlm()) for _ in range(addresses)]
        for fake in fakes:
            fake.behave, fake.servers, fake.lost = ends_at_deadly_pictures(fake), behind_each, LOST[lost]
        came = ask([*others[:2], *to_blame, *others[2:]], in_flight, *fakes, deadly=to_blame)
    assert {came[request.key].finish_reason for request in others} == {"stop"}
    assert {came[request.key].finish_reason for request in to_blame} == {ENDED}
    assert all("ended 3 times while it was asked nothing but this" in str(came[c.key].refused) for c in to_blame)
    assert sum(fake.deaths.total() for fake in fakes) <= MOST_DEATHS * culprits


@pytest.mark.parametrize("in_flight", [1, 8, 64])
def test_a_server_that_ends_by_itself_now_and_then_costs_no_row(at_once: None, vlm: FakeVlm, in_flight: int) -> None:
    left, counting = [2], threading.Lock()

    def behave(_: int, body: dict[str, Any]) -> Reply:
        with counting:
            left[0] -= 1
            return Reply(ends=True) if left[0] in (0, 1) else answer_well(body)

    vlm.behave = behave
    came = ask(rows(in_flight + 6), in_flight, vlm)
    assert {answer.finish_reason for answer in came.values()} == {"stop"}


@pytest.mark.parametrize("in_flight", [1, 8])
def test_one_of_two_servers_behind_an_address_that_drops_all_costs_no_row(
    at_once: None, vlm: FakeVlm, in_flight: int
) -> None:
    turns, counting = [0], threading.Lock()

    def gone() -> bool:
        with counting:
            turns[0] += 1
            return turns[0] % 2 == 0

    vlm.gone = gone
    came = ask(rows(in_flight + 20), in_flight, vlm)
    assert {answer.finish_reason for answer in came.values()} == {"stop"}


@pytest.mark.parametrize("in_flight", [1, 8])
def test_a_server_that_ends_at_every_row_from_some_moment_on_ends_the_task_instead_of_the_rows(
    at_once: None, vlm: FakeVlm, in_flight: int
) -> None:
    vlm.behave = lambda number, body: answer_well(body) if number < 12 else Reply(ends=True)
    answers: list[Completion] = []
    with pytest.raises(VlmUnavailableError, match="fails at every request like this one"):
        ask(rows(40), in_flight, vlm, answers=answers)
    assert sum(answer.refused is not None for answer in answers) <= 2
