"""What is read of a server's answers has a bound, whatever it sends."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.pace import Pace
from regioncap.vlm.replicas import Server
from regioncap.vlm.wire import Wire

PIECE = b"vllm:num_requests_waiting 1.0\n" * 4096
# Some of what is sent lies in the buffers of sockets; a server that is read without a bound sends far more.
MOST_SENT = 64 << 20


class Endless:
    """A server whose every answer goes on until nobody reads it any more, or until it has sent far too much."""

    def __init__(self, packed: bool) -> None:
        self.sent = 0
        self.packed = packed

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"} if self.packed else {})
        await response.prepare(request)
        packer = zlib.compressobj(wbits=31)
        while self.sent < 2 * MOST_SENT:
            piece = packer.compress(PIECE) + packer.flush(zlib.Z_SYNC_FLUSH) if self.packed else PIECE
            await response.write(piece)
            self.sent += len(PIECE)
        await response.write_eof()
        return response


Ask = Callable[[Wire, Server], Awaitable[Any]]


@pytest.fixture(params=["plain", "packed"])
async def endless(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Endless, Wire, Server]]:
    endless = Endless(request.param == "packed")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endless.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        url = str(server.make_url("/v1"))
        yield endless, Wire(Endpoint(base_urls=(url,), model="m"), http), Server(url, Pace(1, 60.0))


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda wire, server: wire.tell_queue(server), False),
        (lambda wire, server: wire.figures(server), None),
        (lambda wire, server: wire.version(server), ""),
        (lambda wire, server: wire.count_tokens(server, {"model": "m", "messages": []}), None),
        (lambda wire, server: wire.is_there(server), False),
    ],
    ids=["queue", "figures", "version", "tokens", "models"],
)
async def test_an_answer_that_never_ends_is_given_up(
    endless: tuple[Endless, Wire, Server], ask: Ask, answer: object
) -> None:
    service, wire, server = endless
    assert await ask(wire, server) == answer
    # Packed, all of it would fit into the buffers.
    assert service.packed or service.sent < MOST_SENT
