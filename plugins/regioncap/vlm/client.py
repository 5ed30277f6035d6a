"""Sending requests to a vLLM server, over its OpenAI-compatible chat API.

aiohttp, not the `openai` package: that one spends more of a core on a request than reading, encoding and sending the
image do, and of its features only the bodies of two calls are needed here.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm.requests import ChatRequest

# Far more than any answer; a body that never ends must not fill the memory.
_MAX_BODY = 16 * 1024 * 1024
_CHUNK = 64 * 1024


# What no model says when it is greeted. A string by itself: between the parts of an object JSON allows white space, and
# some models go on with it until they are stopped.
_PROBED = '"structured"'
_PROBE = {
    "messages": [{"role": "user", "content": "Good morning!"}],
    "temperature": 0,
    "max_tokens": 64,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "probe", "strict": True, "schema": {"type": "string", "enum": ["structured"]}},
    },
}
# One line for each engine of the server, in Prometheus' text format.
_WAITING = re.compile(r"^vllm:num_requests_waiting(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_RUNNING = re.compile(r"^vllm:num_requests_running(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


# What is used of the protocol's bodies (https://platform.openai.com/docs/api-reference/chat).
class _Text(BaseModel):
    text: str = ""


class _Message(BaseModel):
    # Some servers answer in parts.
    content: str | list[_Text] | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


class _ServedModel(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_ServedModel]


class _ErrorDetail(BaseModel):
    message: str


class _Error(BaseModel):
    error: _ErrorDetail


Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")


class _RefusedError(Exception):
    """The server takes the request itself for malformed."""


class _FailsAtItError(Exception):
    """The server failed at the request again and again, and answered another one each time."""


class _FailureError(Exception):
    """The server failed at the request, or what answers is not the server."""


class _BusyError(_FailureError):
    """The server says that it cannot answer now."""


# A connection lost, a time-out, an overload, a server error, or a body that is none of the protocol (a proxy's page,
# half a message): all may pass.
_PASSING = (aiohttp.ClientError, TimeoutError, _FailureError, ValidationError)
# A server that fails so often at a request, and is there all the while, will fail again: that is about its row.
_FAILURES = 4


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
class _Server:
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
        self._servers = [_Server(url.rstrip("/")) for url in endpoint.base_urls]
        self._name = ", ".join(server.url for server in self._servers)
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
        return sum(server.ours for server in self._servers)

    async def check(self) -> None:
        """Make sure that at least one server is there, and that those that are serve the model.

        Raises VlmUnavailableError or VlmSetupError.
        """
        await self._patiently(self._check_all)

    async def _check_all(self) -> None:
        results = await asyncio.gather(*map(self._check_one, self._servers), return_exceptions=True)
        errors = [error for error in results if error is not None]
        for error in errors:
            if not isinstance(error, _PASSING):
                raise error
        if len(errors) == len(self._servers):
            raise errors[0]

    async def _check_one(self, server: _Server) -> None:
        try:
            models = await self._request(server, "GET", "/models", _Models)
        except _RefusedError as error:
            raise VlmSetupError(
                f"what listens at {server.url} is no vLLM server: correct the connection's host ({error})"
            ) from error
        served = [model.id for model in models.data]
        if self._endpoint.model not in served:
            raise VlmSetupError(
                f"the server at {server.url} serves {', '.join(served) or 'no model'}, not "
                f"{self._endpoint.model!r}: correct `model` in the connection's extra, or the server's model name"
            )

    async def honours_schema(self) -> bool:
        """Whether the server makes an answer follow a JSON schema: one that ignores it answers as if nothing was amiss.

        Raises VlmUnavailableError, or VlmSetupError where the server refuses to be asked so.
        """
        try:
            completion = await self._patiently(lambda: self._probe(self._least_busy()))
        except _RefusedError as error:
            raise VlmSetupError(
                f"the server at {self._name} refuses structured output: set the param answer_format to "
                f"free_text, or serve the model with a vLLM that has it ({error})"
            ) from error
        return bool(completion.choices) and completion.choices[0].message.text.strip() == _PROBED

    async def _probe(self, server: _Server) -> _Completion:
        return await self._complete(server, json.dumps({**_PROBE, "model": self._endpoint.model}).encode())

    async def poll_metrics(self) -> int | None:
        """Poll the servers' queues: how many requests, of all clients, wait in the shortest; None if none tells.

        Also notes how busy each server is, and that one is back that was away.
        """
        queues = await asyncio.gather(*map(self._poll, self._servers))
        return min((waiting for waiting in queues if waiting is not None), default=None)

    async def _poll(self, server: _Server) -> int | None:
        try:
            async with self._http.get(server.url.removesuffix("/v1") + "/metrics", allow_redirects=False) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            return None
        server.away = False
        waiting, running = (round(sum(map(float, pattern.findall(text)))) for pattern in (_WAITING, _RUNNING))
        server.others = max(0, waiting + running - server.ours)
        return waiting if _WAITING.search(text) else None

    async def ask(self, request: ChatRequest, body: bytes) -> Completion:
        """Send a request as this body; what may pass is tried again. Raises VlmUnavailableError or VlmSetupError."""
        started = time.monotonic()
        failures = 0

        async def attempt() -> _Completion:
            nonlocal failures
            server = self._least_busy()
            try:
                return await self._complete(server, body)
            except _BusyError:
                raise
            except _PASSING as error:
                # A server that is gone fails at all that is under way; only one that is still there failed at this.
                failures += await self._still_answers(server)
                if failures == _FAILURES:
                    raise _FailsAtItError(
                        f"the server failed {failures} times at it, and answered another request each time: "
                        f"{type(error).__name__}: {str(error)[:200]}"
                    ) from error
                raise

        try:
            completion = await self._patiently(attempt)
        except (_RefusedError, _FailsAtItError) as error:
            reason = "refused" if isinstance(error, _RefusedError) else "failed"
            return Completion(key=request.key, text="", finish_reason=reason, refused=str(error)[:500])
        choice = completion.choices[0] if completion.choices else None
        usage = completion.usage or _Usage()
        return Completion(
            key=request.key,
            text=choice.message.text if choice else "",
            finish_reason=(choice.finish_reason or "none") if choice else "none",
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            seconds=round(time.monotonic() - started, 3),
        )

    def _least_busy(self) -> _Server:
        return min(self._servers, key=lambda server: (server.away, server.ours + server.others))

    async def _complete(self, server: _Server, body: bytes) -> _Completion:
        return await self._request(server, "POST", "/chat/completions", _Completion, body)

    async def _still_answers(self, server: _Server) -> bool:
        """Whether the server answers a small request right now."""
        try:
            await self._probe(server)
        except (*_PASSING, _RefusedError):
            return False
        return True

    async def _request(
        self, server: _Server, method: str, path: str, form: type[Body], body: bytes | None = None
    ) -> Body:
        """One try. Raises what the status means, and what is in `_PASSING`."""
        server.ours += 1
        try:
            read = form.model_validate_json(await self._call(server, method, path, body))
            self._heard = time.monotonic()
            return read
        except _PASSING:
            server.away = True
            raise
        finally:
            server.ours -= 1

    async def _call(self, server: _Server, method: str, path: str, body: bytes | None) -> bytes:
        """The body of a good answer. Raises what the status means."""
        async with self._http.request(method, server.url + path, data=body, allow_redirects=False) as response:
            received = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                received += chunk
                if len(received) > _MAX_BODY:
                    raise _FailureError(f"an answer of more than {_MAX_BODY:,} bytes")
            status = response.status
        if status == 200:
            return bytes(received)
        message = _message(received)
        if status in (400, 413, 422):
            raise _RefusedError(message or f"HTTP {status}, without a word")
        if status in (401, 403):
            raise VlmSetupError(f"the server at {server.url} refuses the API key: correct the connection's password")
        if status == 404:
            raise VlmSetupError(
                f"the server at {server.url} does not know the model {self._endpoint.model!r} or the path: "
                f"correct the connection's host (it ends in /v1) or `model` in its extra ({message})"
            )
        raise (_BusyError if status in (429, 503) else _FailureError)(f"HTTP {status}: {message}")

    async def _patiently(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Try again, with growing and jittered pauses, what may pass by itself; not if nothing at all is answered."""
        patience, started = self._endpoint.patience_seconds, time.monotonic()
        try:
            async for trial in AsyncRetrying(
                retry=retry_if_exception_type(_PASSING),
                wait=wait_random_exponential(multiplier=0.5, max=15),
                stop=lambda _: time.monotonic() - max(started, self._heard) > patience,
                reraise=True,
            ):
                with trial:
                    return await attempt()
        except _PASSING as error:
            raise VlmUnavailableError(
                f"the server at {self._name} did not answer for {patience:.0f} s: is vLLM "
                f"running there, and is the connection's host right? ({type(error).__name__}: {str(error)[:200]})"
            ) from error
        raise AssertionError("tenacity returns or raises")


def _message(body: bytes | bytearray) -> str:
    """What the server says of an error, as far as it can be told, in a line: it goes into logs."""
    try:
        said = _Error.model_validate_json(body).error.message[:500]
    except ValidationError:
        said = bytes(body[:200]).decode("utf-8", "replace")
    return " ".join("".join(character if character.isprintable() else " " for character in said).split())


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
