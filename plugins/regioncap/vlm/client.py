"""Sending requests to a vLLM server, over its OpenAI-compatible chat API.

aiohttp, not the `openai` package: that one spends more of a core on a request than reading, encoding and sending the
image do, and of its features only the bodies of two calls are needed here.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from regioncap.captions.endings import ending
from regioncap.errors import VlmUnavailableError
from regioncap.vlm.dialects import Dialect
from regioncap.vlm.doctor import DoctorFigures, read_doctor_figures
from regioncap.vlm.faults import (
    PASSING,
    BusyError,
    EndsServerError,
    FailsAtItError,
    FailureError,
    RefusedError,
    UnfinishedError,
    answer_in,
    fault_of,
)
from regioncap.vlm.metrics import read_queue
from regioncap.vlm.protocol import ChatCompletion, Tokenized, Usage, Version, error_message
from regioncap.vlm.requests import GREETING, ChatRequest
from regioncap.vlm.solitude import Losses, Solitude

# The `finish_reason` of a completion whose request ended the server each time.
ENDED = "ended"
# Far more than any answer; a body that never ends must not fill the memory.
_MAX_BODY = 16 * 1024 * 1024
_CHUNK = 64 * 1024
# Nobody needs to wait for what is only looked at before the first row.
_BRIEFLY = aiohttp.ClientTimeout(total=30.0)
# A server that fails so often at a request, and is there all the while, will fail again: that is about its row.
_FAILURES = 4
# For figures that only tell something nobody waits long.
_METRICS_SECONDS = 5.0


Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Endpoint:
    """One vLLM server, or several that serve the same model, and how to talk to them.

    `base_urls` end in /v1; `model` is the name that the servers know the model by.
    """

    # A misspelt name in a connection's extra must not pass in silence.
    __pydantic_config__ = ConfigDict(extra="forbid")

    base_urls: tuple[str, ...]
    model: str
    api_key: str = field(default="", repr=False)
    # The bound; how many requests are under way below it follows the servers' queues.
    max_in_flight: int = 256
    # One request, from sending to the last token.
    timeout_seconds: float = 300.0
    # How long servers that are away (restarting, overloaded) are waited for.
    patience_seconds: float = 300.0
    # A folder that the servers may read images from (vLLM's --allowed-local-media-path): images in it are named to
    # them instead of sent.
    local_media_path: str = ""

    @contextmanager
    def open(self) -> Iterator[Self]:
        """It is there already: see `Vlm`."""
        yield self


class Vlm(Protocol):
    """What requests are sent to: an endpoint, or a server that is started when there is something to ask."""

    @property
    def model(self) -> str:
        """The name that requests ask for."""

    def open(self) -> AbstractContextManager[Endpoint]:
        """The endpoint, for as long as the context lasts. Raises VlmSetupError where it cannot be started."""


class Completion(BaseModel):
    """What the server returned for one request, as it is kept in the work area.

    `refused` is the server's message where there is no answer, and `finish_reason` is why: it refused the request
    itself as malformed (`refused`), failed at it each time (`failed`), ended the answer each time before it was whole
    (`unfinished`), or ended itself each time (`ended`); `server` says which one it was, as far as that can be told.
    `context` is how many tokens question and answer may have together, where the server tells; `about` is what the
    request is about, as a hash of the image's path.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    text: str
    finish_reason: str
    refused: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    context: int | None = None
    about: str = ""
    server: str = ""
    seconds: float = 0.0


@dataclass
class Server:
    """One of an endpoint's servers: how many requests of ours and of other clients it has; `away` after a failure."""

    url: str
    ours: int = 0
    others: int = 0
    away: bool = False


class VlmClient:
    """A connection to one endpoint; use it through `connect`."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._http = http
        self.servers = [Server(url.rstrip("/")) for url in endpoint.base_urls]
        self._name = ", ".join(server.url for server in self.servers)
        # How requests are written for them.
        self.dialect = Dialect()
        # When a request was last answered.
        self._heard = 0.0
        # How many tokens question and answer may have together, where the servers tell.
        self.context: int | None = None
        # Which servers these are, as far as that can be told: see `probe.identify`.
        self.identity = ""
        self._solitude = Solitude()

    @property
    def endpoint(self) -> Endpoint:
        """What it is connected to."""
        return self._endpoint

    @property
    def name(self) -> str:
        """The servers' addresses, for messages."""
        return self._name

    @property
    def in_flight(self) -> int:
        """How many requests are under way now."""
        return sum(server.ours for server in self.servers)

    async def poll_metrics(self) -> int | None:
        """Poll the servers' queues: how many requests, of all clients, wait in the shortest; None if none tells.

        Also notes how busy each server is, and that one is back that was away.
        """
        queues = await asyncio.gather(*map(self._poll, self.servers))
        return min((waiting for waiting in queues if waiting is not None), default=None)

    async def _poll(self, server: Server) -> int | None:
        try:
            async with self._http.get(server.url.removesuffix("/v1") + "/metrics", allow_redirects=False) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            return None
        server.away = False
        queue = read_queue(text)
        server.others = max(0, queue.waiting + (queue.running or 0) - server.ours) if queue else 0
        return queue.waiting if queue else None

    async def version(self, server: Server) -> str:
        """The server's version; empty where it does not tell, as only vLLM does."""
        url = server.url.removesuffix("/v1") + "/version"
        try:
            async with self._http.get(url, timeout=_BRIEFLY, allow_redirects=False) as response:
                return Version.model_validate_json(await response.read()).version if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return ""

    async def count_tokens(self, body: Mapping[str, Any]) -> Tokenized | None:
        """How many tokens a chat request has; None where the server does not tell, as only vLLM does."""
        url = self.least_busy().url.removesuffix("/v1") + "/tokenize"
        asked = json.dumps({"model": body["model"], "messages": body["messages"]}).encode()
        try:
            async with self._http.post(url, data=asked, timeout=_BRIEFLY, allow_redirects=False) as response:
                return Tokenized.model_validate_json(await response.read()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return None

    async def read_figures(self) -> DoctorFigures | None:
        """What the servers have counted since they were started; None where one does not tell, or not soon."""
        read = await asyncio.gather(*map(self._figures, self.servers))
        told = [figures for figures in read if figures is not None]
        return reduce(DoctorFigures.and_of, told) if len(told) == len(read) else None

    async def _figures(self, server: Server) -> DoctorFigures | None:
        try:
            async with (
                asyncio.timeout(_METRICS_SECONDS),
                self._http.get(server.url.removesuffix("/v1") + "/metrics", allow_redirects=False) as response,
            ):
                return read_doctor_figures(await response.text())
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            return None

    async def ask(self, request: ChatRequest, body: bytes) -> Completion:
        """Send a request as this body; what may pass is tried again. Raises VlmUnavailableError or VlmSetupError."""
        started = time.monotonic()
        failures = 0
        losses = Losses()

        async def attempt() -> ChatCompletion:
            nonlocal failures
            server = self.least_busy()
            if losses.at > self._heard and not await self._still_answers(server):
                raise FailureError("the server has not come back yet")
            async with self._solitude.turn(losses.is_suspect) as turn:
                try:
                    return await self._complete(server, body)
                except BusyError:
                    raise
                except PASSING as error:
                    caught = error
            # A server that is gone fails at all that is under way; only one that is still there failed at this.
            heard = self._heard
            if not await self._still_answers(server):
                if isinstance(caught, UnfinishedError):
                    raise caught  # it is paused
                losses.note(time.monotonic(), heard, turn.alone)
                if losses.is_to_blame:
                    raise EndsServerError(
                        f"the server ended {losses.alone} times while it was asked nothing but this: "
                        f"{type(caught).__name__}: {str(caught)[:200]}"
                    ) from caught
                raise caught
            failures += 1
            if failures == _FAILURES:
                raise FailsAtItError(
                    f"the server failed {failures} times at it, and answered another request each time: "
                    f"{type(caught).__name__}: {str(caught)[:200]}"
                ) from caught
            raise caught

        try:
            completion = await self.patiently(attempt)
        except (RefusedError, FailsAtItError, EndsServerError) as error:
            return Completion(
                key=request.key,
                text="",
                finish_reason=_reason(error),
                refused=str(error)[:500],
                about=request.about,
                server=self.identity,
            )
        choice = completion.choices[0] if completion.choices else None
        usage = completion.usage or Usage()
        return Completion(
            key=request.key,
            text=choice.message.text if choice else "",
            finish_reason=(choice.finish_reason or "none") if choice else "none",
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            context=self.context,
            about=request.about,
            seconds=round(time.monotonic() - started, 3),
        )

    def least_busy(self) -> Server:
        """The server to send the next request to."""
        return min(self.servers, key=lambda server: (server.away, server.ours + server.others))

    async def _complete(self, server: Server, body: bytes) -> ChatCompletion:
        return await self.request(server, "POST", "/chat/completions", ChatCompletion, body, _finished)

    async def _still_answers(self, server: Server) -> bool:
        """Whether the server answers a small request right now."""
        body = {**GREETING, "model": self._endpoint.model}
        try:
            await self._complete(server, json.dumps(self.dialect.written(body)).encode())
        except (*PASSING, RefusedError):
            return False
        return True

    async def request(
        self,
        server: Server,
        method: str,
        path: str,
        form: type[Body],
        body: bytes | None = None,
        check: Callable[[Body], Body] = lambda answer: answer,
    ) -> Body:
        """One try; returns the answer in this form. Raises what its status means, and what is in `PASSING`.

        What does not pass `check` is no answer: nothing was heard of the server then.
        """
        server.ours += 1
        try:
            read = check(answer_in(await self._call(server, method, path, body), form))
            self._heard = time.monotonic()
            return read
        except PASSING:
            server.away = True
            raise
        finally:
            server.ours -= 1

    async def _call(self, server: Server, method: str, path: str, body: bytes | None) -> bytes:
        """The body of a good answer. Raises what the status means."""
        async with self._http.request(method, server.url + path, data=body, allow_redirects=False) as response:
            received = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                received += chunk
                if len(received) > _MAX_BODY:
                    raise FailureError(f"an answer of more than {_MAX_BODY:,} bytes")
            status = response.status
        if status == 200:
            return bytes(received)
        raise fault_of(status, error_message(received), server.url, self._endpoint.model)

    async def patiently(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Try again, with growing and jittered pauses, what may pass by itself; not if nothing at all is answered."""
        patience, started = self._endpoint.patience_seconds, time.monotonic()
        try:
            async for trial in AsyncRetrying(
                retry=retry_if_exception_type(PASSING),
                wait=wait_random_exponential(multiplier=0.5, max=15),
                stop=lambda _: time.monotonic() - max(started, self._heard) > patience,
                reraise=True,
            ):
                with trial:
                    return await attempt()
        except PASSING as error:
            raise VlmUnavailableError(
                f"the server at {self._name} did not answer for {patience:.0f} s: is vLLM "
                f"running there, and is the connection's host right? ({type(error).__name__}: {str(error)[:200]})"
            ) from error
        raise AssertionError("tenacity returns or raises")


def _reason(error: Exception) -> str:
    """What a completion without a text has for its `finish_reason`."""
    if isinstance(error, RefusedError):
        return "refused"
    if isinstance(error, EndsServerError):
        return ENDED
    return "unfinished" if isinstance(error.__cause__, UnfinishedError) else "failed"


def _finished(completion: ChatCompletion) -> ChatCompletion:
    """The answer, where the server let the model write it to an end. Raises UnfinishedError.

    One without any choice is an empty answer, not one that was stopped.
    """
    for choice in completion.choices[:1]:
        if ending(choice.finish_reason or "none") == "unfinished":
            raise UnfinishedError(f"it ended the answer with finish_reason {choice.finish_reason!r}")
    return completion


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncIterator[VlmClient]:
    """Open a client to `endpoint`."""
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    # aiohttp leaves proxies of the environment alone: they are for the outside world, not for a server of our own.
    async with aiohttp.ClientSession(
        # The concurrency limit bounds the requests under way; beside them the servers' queues are polled.
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout_seconds, sock_connect=10.0),
        headers=headers,
    ) as http:
        yield VlmClient(endpoint, http)
