"""Sending requests to a vLLM server, over its OpenAI-compatible chat API.

aiohttp, not the `openai` package: that one spends more of a core on a request than reading, encoding and sending the
image do, and of its features only the bodies of two calls are needed here.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from regioncap.errors import VlmUnavailableError
from regioncap.vlm.dialects import Dialect
from regioncap.vlm.faults import PASSING, BusyError, FailsAtItError, FailureError, RefusedError, answer_in, fault_of
from regioncap.vlm.metrics import read_queue
from regioncap.vlm.protocol import ChatCompletion, Usage, error_message
from regioncap.vlm.requests import GREETING, ChatRequest

# Far more than any answer; a body that never ends must not fill the memory.
_MAX_BODY = 16 * 1024 * 1024
_CHUNK = 64 * 1024
# A server that fails so often at a request, and is there all the while, will fail again: that is about its row.
_FAILURES = 4


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

    `refused` is the server's message where it refused the request itself as malformed (`finish_reason` is `refused`),
    or failed at it each time (`failed`); then there is no text.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str
    text: str
    finish_reason: str
    refused: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
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

    async def ask(self, request: ChatRequest, body: bytes) -> Completion:
        """Send a request as this body; what may pass is tried again. Raises VlmUnavailableError or VlmSetupError."""
        started = time.monotonic()
        failures = 0

        async def attempt() -> ChatCompletion:
            nonlocal failures
            server = self.least_busy()
            try:
                return await self._complete(server, body)
            except BusyError:
                raise
            except PASSING as error:
                # A server that is gone fails at all that is under way; only one that is still there failed at this.
                failures += await self._still_answers(server)
                if failures == _FAILURES:
                    raise FailsAtItError(
                        f"the server failed {failures} times at it, and answered another request each time: "
                        f"{type(error).__name__}: {str(error)[:200]}"
                    ) from error
                raise

        try:
            completion = await self.patiently(attempt)
        except (RefusedError, FailsAtItError) as error:
            reason = "refused" if isinstance(error, RefusedError) else "failed"
            return Completion(key=request.key, text="", finish_reason=reason, refused=str(error)[:500])
        choice = completion.choices[0] if completion.choices else None
        usage = completion.usage or Usage()
        return Completion(
            key=request.key,
            text=choice.message.text if choice else "",
            finish_reason=(choice.finish_reason or "none") if choice else "none",
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            seconds=round(time.monotonic() - started, 3),
        )

    def least_busy(self) -> Server:
        """The server to send the next request to."""
        return min(self.servers, key=lambda server: (server.away, server.ours + server.others))

    async def _complete(self, server: Server, body: bytes) -> ChatCompletion:
        return await self.request(server, "POST", "/chat/completions", ChatCompletion, body)

    async def _still_answers(self, server: Server) -> bool:
        """Whether the server answers a small request right now."""
        body = {**GREETING, "model": self._endpoint.model}
        try:
            await self._complete(server, json.dumps(self.dialect.written(body)).encode())
        except (*PASSING, RefusedError):
            return False
        return True

    async def request(
        self, server: Server, method: str, path: str, form: type[Body], body: bytes | None = None
    ) -> Body:
        """One try; returns the answer in this form. Raises what its status means, and what is in `PASSING`."""
        server.ours += 1
        try:
            read = answer_in(await self._call(server, method, path, body), form)
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
