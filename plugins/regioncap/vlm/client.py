"""Asking a vLLM server a question, over its OpenAI-compatible chat API.

aiohttp, not the `openai` package: that one spends more of a core on a request than reading, encoding and sending the
image do, and of its features only the bodies of two calls are needed here.
"""

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from regioncap.errors import PermanentError
from regioncap.vlm.questions import Question

# Far more than any answer; a body that never ends must not fill the memory.
_MAX_BODY = 16 * 1024 * 1024
_CHUNK = 64 * 1024


# What no model says of itself when it is greeted.
_PROBED = {"probe": "structured"}
_PROBE = {
    "messages": [{"role": "user", "content": "Good morning!"}],
    "temperature": 0,
    "max_tokens": 64,
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "probe",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"probe": {"type": "string", "enum": ["structured"]}},
                "required": ["probe"],
                "additionalProperties": False,
            },
        },
    },
}
# One line for each engine of the server, in Prometheus' text format.
_WAITING = re.compile(r"^vllm:num_requests_waiting(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


# What is used of the protocol's bodies (https://platform.openai.com/docs/api-reference/chat).
class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


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


class VlmSetupError(PermanentError):
    """The endpoint cannot answer as it is set up: the message says what to do."""


class VlmUnavailableError(Exception):
    """The endpoint did not answer for as long as it is given. Trying again later may help."""


class _RefusedError(Exception):
    """The server takes the request itself for malformed: that is about its row."""


class _OverloadError(Exception):
    """The server says that it cannot answer now, or what answers is not the server."""


# A connection lost, a time-out, an overload, a server error, or a body that is none of the protocol (a proxy's page,
# half a message): all may pass.
_PASSING = (aiohttp.ClientError, TimeoutError, _OverloadError, ValidationError)


@dataclass(frozen=True)
class Endpoint:
    """A vLLM server: its base URL (ending in /v1), the name it serves the model under, and how to talk to it."""

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    # The bound; how many questions are under way below it follows the server's queue.
    max_in_flight: int = 256
    # One question, from sending to the last token.
    timeout_seconds: float = 300.0
    # How long a server that is away (restarting, overloaded) is waited for.
    patience_seconds: float = 300.0


class RawAnswer(BaseModel):
    """What the server said to one question, as it is kept in the work area.

    `refused` is the server's message where it refused the request itself as malformed; then there is no text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    text: str
    finish_reason: str
    refused: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class VlmClient:
    """A connection to one endpoint; use it through `connect`."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._http = http

    async def check(self) -> None:
        """Make sure that the endpoint is there and serves the model.

        Raises VlmUnavailableError or VlmSetupError.
        """
        try:
            models = await self._patiently(lambda: self._call("GET", "/models"), _Models)
        except _RefusedError as error:
            raise VlmSetupError(
                f"what listens at {self._endpoint.base_url} is no vLLM server: correct the connection's host ({error})"
            ) from error
        served = [model.id for model in models.data]
        if self._endpoint.model not in served:
            raise VlmSetupError(
                f"the server at {self._endpoint.base_url} serves {', '.join(served) or 'no model'}, not "
                f"{self._endpoint.model!r}: correct `model` in the connection's extra, or the server's model name"
            )

    async def honours_schema(self) -> bool:
        """Whether the server makes an answer follow a JSON schema: one that ignores it answers as if nothing was amiss.

        Raises VlmUnavailableError, or VlmSetupError where the server refuses to be asked so.
        """
        body = json.dumps({**_PROBE, "model": self._endpoint.model}).encode()
        try:
            completion = await self._patiently(lambda: self._call("POST", "/chat/completions", body), _Completion)
        except _RefusedError as error:
            raise VlmSetupError(
                f"the server at {self._endpoint.base_url} refuses structured output: set the param answer_format to "
                f"free_text, or serve the model with a vLLM that has it ({error})"
            ) from error
        said = completion.choices[0].message.content if completion.choices else None
        try:
            return bool(json.loads(said or "") == _PROBED)
        except ValueError:
            return False

    async def waiting(self) -> int | None:
        """How many questions, of all clients, wait in the server's queue; None where it does not tell."""
        url = self._endpoint.base_url.rstrip("/").removesuffix("/v1") + "/metrics"
        try:
            async with self._http.get(url, allow_redirects=False) as response:
                found = _WAITING.findall(await response.text())
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            return None
        return round(sum(map(float, found))) if found else None

    async def ask(self, question: Question, body: bytes) -> RawAnswer:
        """Send a question's request body; what passes is tried again. Raises VlmUnavailableError or VlmSetupError."""
        started = time.monotonic()
        try:
            completion = await self._patiently(lambda: self._call("POST", "/chat/completions", body), _Completion)
        except _RefusedError as error:
            return RawAnswer(key=question.key, text="", finish_reason="refused", refused=str(error)[:500])
        choice = completion.choices[0] if completion.choices else None
        usage = completion.usage or _Usage()
        return RawAnswer(
            key=question.key,
            text=(choice.message.content or "") if choice else "",
            finish_reason=(choice.finish_reason or "none") if choice else "none",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=round(time.monotonic() - started, 3),
        )

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The body of a good answer. Raises what the status means."""
        endpoint = self._endpoint
        async with self._http.request(method, endpoint.base_url + path, data=body, allow_redirects=False) as response:
            received = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                received += chunk
                if len(received) > _MAX_BODY:
                    raise _OverloadError(f"an answer of more than {_MAX_BODY:,} bytes")
            status = response.status
        if status == 200:
            return bytes(received)
        message = _message(received)
        if status in (400, 413, 422):
            raise _RefusedError(message)
        if status in (401, 403):
            raise VlmSetupError(
                f"the server at {endpoint.base_url} refuses the API key: correct the connection's password"
            )
        if status == 404:
            raise VlmSetupError(
                f"the server at {endpoint.base_url} does not know the model {endpoint.model!r} or the path: "
                f"correct the connection's host (it ends in /v1) or `model` in its extra ({message})"
            )
        raise _OverloadError(f"HTTP {status}: {message}")

    async def _patiently(self, call: Callable[[], Awaitable[bytes]], body: type[Body]) -> Body:
        """Make a call and read its answer; try again, with growing and jittered pauses, what may pass by itself."""
        endpoint = self._endpoint
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_PASSING),
                wait=wait_random_exponential(multiplier=0.5, max=15),
                stop=stop_after_delay(endpoint.patience_seconds),
                reraise=True,
            ):
                with attempt:
                    return body.model_validate_json(await call())
        except _PASSING as error:
            raise VlmUnavailableError(
                f"the server at {endpoint.base_url} did not answer for {endpoint.patience_seconds:.0f} s: is vLLM "
                f"running there, and is the connection's host right? ({type(error).__name__}: {str(error)[:200]})"
            ) from error
        raise AssertionError("tenacity returns or raises")


def _message(body: bytes | bytearray) -> str:
    """What the server says of an error, as far as it can be told."""
    try:
        return _Error.model_validate_json(body).error.message[:500]
    except ValidationError:
        return bytes(body[:200]).decode("utf-8", "replace")


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncIterator[VlmClient]:
    """Open a client to `endpoint`."""
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    # aiohttp leaves proxies of the environment alone: they are for the outside world, not for a server of our own.
    async with aiohttp.ClientSession(
        # Turns are what bounds the questions under way; beside them goes a look at the server's queue.
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout_seconds, sock_connect=10.0),
        headers=headers,
    ) as http:
        yield VlmClient(endpoint, http)
