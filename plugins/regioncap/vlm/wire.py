"""One exchange with a server over HTTP: nothing is tried again here.

aiohttp, not the `openai` package: that one spends more of a core on a request than reading, encoding and sending the
image do, and of its features only the bodies of two calls are needed here.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
from pydantic import ValidationError

from regioncap.captions.endings import ending
from regioncap.vlm.dialects import Dialect
from regioncap.vlm.doctor import DoctorFigures, read_doctor_figures
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.faults import (
    PASSING,
    BusyError,
    FailureError,
    NotThereError,
    RefusedError,
    UnfinishedError,
    answer_in,
    asked_again_in,
    fault_of,
)
from regioncap.vlm.metrics import read_queue
from regioncap.vlm.protocol import (
    MODELS,
    Body,
    Call,
    ChatCompletion,
    Models,
    Tokenized,
    Version,
    any_answer,
    chat,
    error_message,
)
from regioncap.vlm.replicas import Server
from regioncap.vlm.requests import GREETING

# Far more than any answer, and than what a server tells of itself; a body that never ends must not fill the memory.
_MAX_BODY = 16 * 1024 * 1024
_MAX_TOLD = 4 * 1024 * 1024
_CHUNK = 64 * 1024
# Nobody needs to wait for what is only looked at before the first row.
_BRIEFLY = aiohttp.ClientTimeout(total=30.0)
# For figures that only tell something nobody waits long.
_METRICS_SECONDS = 5.0
# What is no request of a row's is answered so soon, or not at all.
LOOK_SECONDS = 10.0


def finished(completion: ChatCompletion) -> ChatCompletion:
    """The answer, where the server let the model write it to an end. Raises UnfinishedError.

    One without any choice is an empty answer, not one that was stopped.
    """
    for choice in completion.choices[:1]:
        if ending(choice.finish_reason or "none") == "unfinished":
            raise UnfinishedError(f"it ended the answer with finish_reason {choice.finish_reason!r}")
    return completion


class Wire:
    """HTTP to an endpoint's servers, in their dialect; when anything was last `heard`, by the monotonic clock."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._http = http
        # How requests are written for them.
        self.dialect = Dialect()
        self.heard = 0.0

    async def exchange(self, server: Server, call: Call[Body]) -> Body:
        """One try; returns the answer. Raises what its status means, or `PASSING`."""
        server.ours += 1
        try:
            read = call.check(answer_in(await self._received(server, call), call.form))
            self.heard = time.monotonic()
            if call.body:
                server.away = False
            if isinstance(read, ChatCompletion):
                server.answers_as = read.model
            return read
        finally:
            server.ours -= 1

    async def look(self, server: Server, call: Call[Body]) -> Body:
        """One try of what is no row's: it is answered soon, or the server is away."""
        seconds = self._endpoint.timeout_seconds
        try:
            async with asyncio.timeout(seconds if call.body else min(LOOK_SECONDS, seconds)):
                return await self.exchange(server, call)
        except PASSING:
            server.away = True
            raise

    async def _received(self, server: Server, call: Call[Body]) -> bytes:
        """The body of a good answer. Raises what the status means."""
        method = "POST" if call.body else "GET"
        async with self._http.request(
            method, server.url + call.path, data=call.body, allow_redirects=False
        ) as response:
            received = await _at_most(response, _MAX_BODY)
            status = response.status
            if status >= 500:
                # Behind one address there may be several servers: the next request is not to come to the same one.
                response.close()
        if status == 200:
            return received
        fault = fault_of(status, error_message(received), server.url, self._endpoint.model)
        if isinstance(fault, BusyError):
            fault.retry_after = asked_again_in(response.headers, datetime.now(UTC))
        if status == 404 and server.pace.answered:
            # It was the right address: what stands before the server has lost it for now.
            raise FailureError(f"HTTP 404: {fault}")
        raise fault

    def greeting(self, check: Callable[[ChatCompletion], ChatCompletion] = any_answer) -> Call[ChatCompletion]:
        """The smallest request that there is."""
        return chat(self.written({**GREETING, "model": self._endpoint.model}), check)

    def written(self, body: dict[str, Any]) -> bytes:
        """A request's body as it is sent."""
        return json.dumps(self.dialect.written(body)).encode()

    async def answers(self, server: Server, times: int) -> int:
        """How many of so many small requests, sent at once, the server answers right now."""
        asked = (self.look(server, self.greeting(finished)) for _ in range(times))
        results = await asyncio.gather(*asked, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors:
            if not isinstance(error, (*PASSING, RefusedError)):
                raise error
        return times - len(errors)

    async def still_answers(self, server: Server, times: int = 1) -> bool:
        """Whether the server answers so many small requests right now, each time another number.

        Behind one address there may be several servers that take turns, and one of them may be at fault.
        """
        return await self.answers(server, times) == times

    async def is_there(self, server: Server) -> bool:
        """Whether anything is there, however much it has to do."""
        try:
            await self.look(server, MODELS)
        except NotThereError:  # some have no list of models
            return True
        except (*PASSING, RefusedError):
            return False
        return True

    async def tell_queue(self, server: Server) -> bool:
        """Note what the server tells of its queue; returns whether it does."""
        text = await self._metrics(server, LOOK_SECONDS)
        if text is None:
            return False
        queue = read_queue(text)
        if queue is None:
            server.others = 0
            server.pace.tell(None, None)
            return False
        server.others = max(0, queue.waiting + (queue.running or 0) - server.ours)
        server.pace.tell(queue.running, queue.waiting)
        return True

    async def figures(self, server: Server) -> DoctorFigures | None:
        """What the server has counted since it was started; None where it does not tell, or not soon."""
        text = await self._metrics(server, _METRICS_SECONDS)
        return None if text is None else read_doctor_figures(text)

    async def _metrics(self, server: Server, seconds: float) -> str | None:
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.get(server.url.removesuffix("/v1") + "/metrics", allow_redirects=False) as response,
            ):
                return (await _at_most(response, _MAX_TOLD)).decode()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError, FailureError):
            return None

    async def version(self, server: Server) -> str:
        """The server's version; empty where it does not tell, as only vLLM does."""
        url = server.url.removesuffix("/v1") + "/version"
        try:
            async with self._http.get(url, timeout=_BRIEFLY, allow_redirects=False) as response:
                told = await _at_most(response, _MAX_TOLD)
                return Version.model_validate_json(told).version if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, ValidationError, FailureError):
            return ""

    async def listed(self, server: Server) -> Models | None:
        """The server's list of models; None where it does not tell, or not soon. It says nothing of how it answers."""
        told = await self._json(server.url + MODELS.path)
        try:
            return None if told is None else Models.model_validate(told)
        except ValidationError:
            return None

    async def told_at(self, server: Server, path: str) -> Any:
        """What the server tells at a path beside /v1, as JSON; None where there is nothing, or not soon."""
        return await self._json(server.url.removesuffix("/v1") + path)

    async def _json(self, url: str) -> Any:
        try:
            async with (
                asyncio.timeout(min(LOOK_SECONDS, self._endpoint.timeout_seconds)),
                self._http.get(url, allow_redirects=False) as response,
            ):
                told = await _at_most(response, _MAX_TOLD)
                return json.loads(told) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError, FailureError):
            return None

    async def count_tokens(self, server: Server, body: Mapping[str, Any]) -> Tokenized | None:
        """How many tokens a chat request has; None where the server does not tell, as only vLLM does."""
        url = server.url.removesuffix("/v1") + "/tokenize"
        asked = json.dumps({"model": body["model"], "messages": body["messages"]}).encode()
        try:
            async with self._http.post(url, data=asked, timeout=_BRIEFLY, allow_redirects=False) as response:
                told = await _at_most(response, _MAX_BODY)
                return Tokenized.model_validate_json(told) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValidationError, FailureError):
            return None


async def _at_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body. Raises FailureError where it has more than so many bytes, which are counted as they are unpacked."""
    received = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        received += chunk
        if len(received) > most:
            raise FailureError(f"an answer of more than {most:,} bytes")
    return bytes(received)
