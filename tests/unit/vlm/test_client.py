"""What comes of a request whose server is not there, without any server."""

import time
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from regioncap.ask.requests import first_requests
from regioncap.vlm import client as client_module
from regioncap.vlm.client import VlmClient
from regioncap.vlm.completion import ENDED, Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.protocol import ChatCompletion, Choice, Message
from regioncap.vlm.replicas import Server
from regioncap.vlm.wire import Wire
from tests.builders import marked_row, planned
from tests.fake_vlm import MODEL

_KEY = ConnectionKey("gpu", 8000, False, True, None, None, None)

# So many failures are more than enough to blame a request that ends servers.
FAILURES = 20


class GoesAndComesBack(Wire):
    """A server that fails at each request with this, is gone for two looks, and then is there; at last it answers."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession, error: Exception) -> None:
        super().__init__(endpoint, http)
        self._error = error
        self._failures = self._looks = 0

    async def exchange(self, server: Server, call: Any) -> Any:
        if self._failures < FAILURES:
            self._failures, self._looks = self._failures + 1, 0
            raise self._error
        return ChatCompletion(choices=[Choice(finish_reason="stop", message=Message(content="a door"))])

    async def answers(self, server: Server, times: int) -> int:
        self._looks += 1
        if self._looks <= 2:
            return 0
        self.heard = time.monotonic()
        return times


async def ask(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Completion:
    monkeypatch.setattr(client_module, "_PAUSE", lambda state: 0.0)
    endpoint = Endpoint(base_urls=("http://gpu:8000/v1",), model=MODEL)
    (request,) = first_requests(marked_row(0), planned(MODEL))
    async with aiohttp.ClientSession() as http:
        client = VlmClient(endpoint, http)
        client.wire = GoesAndComesBack(endpoint, http, error)
        return await client.ask(request, b"{}")


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectorError(_KEY, ConnectionRefusedError(111, "Connection refused")),
        aiohttp.ClientConnectorDNSError(_KEY, OSError(-3, "Temporary failure in name resolution")),
        aiohttp.ConnectionTimeoutError("Connection timeout to host http://gpu:8000/v1/chat/completions"),
    ],
    ids=["refused", "no name", "no answer to the connection"],
)
async def test_a_request_that_could_not_connect_has_not_ended_the_server(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    completion = await ask(error, monkeypatch)
    assert (completion.finish_reason, completion.text) == ("stop", "a door")


@pytest.mark.parametrize(
    "error", [aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError(104, "Connection reset by peer")]
)
async def test_a_request_at_which_the_server_is_gone_each_time_though_it_is_sent_alone_has_ended_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    completion = await ask(error, monkeypatch)
    assert completion.finish_reason == ENDED and "the server ended 3 times" in str(completion.refused)


class SaysTooMuch(Wire):
    """A server whose answer is longer than any that was asked for."""

    async def exchange(self, server: Server, call: Any) -> Any:
        text = "a" * (2 * client_module.MAX_TEXT)
        return ChatCompletion(choices=[Choice(finish_reason="stop", message=Message(content=text))])


async def test_of_an_endless_answer_a_beginning_is_kept_which_counts_as_cut_off() -> None:
    endpoint = Endpoint(base_urls=("http://gpu:8000/v1",), model=MODEL)
    (request,) = first_requests(marked_row(0), planned(MODEL))
    async with aiohttp.ClientSession() as http:
        client = VlmClient(endpoint, http)
        client.wire = SaysTooMuch(endpoint, http)
        completion = await client.ask(request, b"{}")
    assert (len(completion.text), completion.finish_reason) == (client_module.MAX_TEXT, "length")
