"""Asking a vLLM server many questions at once, over its OpenAI-compatible chat API."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from regioncap.errors import PermanentError
from regioncap.vlm.questions import Question

# A connection lost, a time-out, an overload, a server error, or a body that is none of the protocol (a proxy's page,
# half a message): all may pass.
_PASSING = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError, ValidationError)


# What is used of the protocol's bodies. The client library's own models take any JSON for a completion.
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


Body = TypeVar("Body", bound=BaseModel)
Item = TypeVar("Item")


class VlmSetupError(PermanentError):
    """The endpoint cannot answer as it is set up: the message says what to do."""


class VlmUnavailableError(Exception):
    """The endpoint did not answer for as long as it is given. Trying again later may help."""


@dataclass(frozen=True)
class Endpoint:
    """A vLLM server: its base URL (ending in /v1), the name it serves the model under, and how to talk to it."""

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    # As many questions under way as the server's `max_num_seqs` keeps it busy without a queue.
    max_in_flight: int = 32
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


@dataclass(frozen=True)
class Prepared:
    """A question, and the bytes of its images by name: all there is to send."""

    question: Question
    jpegs: Mapping[str, bytes]


class VlmClient:
    """A connection to one endpoint; use it through `connect`."""

    def __init__(self, endpoint: Endpoint, api: openai.AsyncOpenAI) -> None:
        self._endpoint = endpoint
        self._api = api

    async def check(self) -> None:
        """Make sure that the endpoint is there and serves the model.

        Raises VlmUnavailableError or VlmSetupError.
        """
        models = await self._patiently(self._api.models.with_raw_response.list, _Models)
        served = [model.id for model in models.data]
        if self._endpoint.model not in served:
            raise VlmSetupError(
                f"the server at {self._endpoint.base_url} serves {', '.join(served) or 'no model'}, not "
                f"{self._endpoint.model!r}: correct `model` in the connection's extra, or the server's model name"
            )

    async def ask(self, question: Question, jpegs: Mapping[str, bytes]) -> RawAnswer:
        """Ask one question with its images' bytes; what passes is tried again.

        Raises VlmUnavailableError or VlmSetupError.
        """
        started = time.monotonic()
        try:
            create = partial(self._api.chat.completions.with_raw_response.create, **question.request(jpegs))
            completion = await self._patiently(create, _Completion)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            return RawAnswer(key=question.key, text="", finish_reason="refused", refused=error.message[:500])
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

    async def _patiently(self, call: Callable[[], Awaitable[Any]], body: type[Body]) -> Body:
        """Make a call and read its raw answer; try again, with growing and jittered pauses, what may pass by itself."""
        endpoint = self._endpoint
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_PASSING),
                wait=wait_random_exponential(multiplier=0.5, max=15),
                stop=stop_after_delay(endpoint.patience_seconds),
                reraise=True,
            ):
                with attempt:
                    return body.model_validate_json((await call()).content)
        except openai.NotFoundError as error:
            raise VlmSetupError(
                f"the server at {endpoint.base_url} does not know the model {endpoint.model!r} or the path: "
                f"correct the connection's host (it ends in /v1) or `model` in its extra ({error.message[:200]})"
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise VlmSetupError(
                f"the server at {endpoint.base_url} refuses the API key: correct the connection's password"
            ) from error
        except _PASSING as error:
            raise VlmUnavailableError(
                f"the server at {endpoint.base_url} did not answer for {endpoint.patience_seconds:.0f} s: is vLLM "
                f"running there, and is the connection's host right? ({type(error).__name__}: {str(error)[:200]})"
            ) from error
        raise AssertionError("tenacity returns or raises")


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncIterator[VlmClient]:
    """Open a client to `endpoint`."""
    limits = httpx2.Limits(max_connections=endpoint.max_in_flight, max_keepalive_connections=endpoint.max_in_flight)
    timeout = httpx2.Timeout(endpoint.timeout_seconds, connect=10.0)
    # Proxies of the environment are for the outside world, not for a server on our own network.
    async with httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as http:
        api = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key or "none",
            http_client=http,
            max_retries=0,
        )
        yield VlmClient(endpoint, api)


async def ask_all(
    client: VlmClient,
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared | None],
    keep: Callable[[RawAnswer], None],
    in_flight: int,
) -> None:
    """Ask one question for each item, `in_flight` at a time, and hand each answer to `keep` as it comes.

    `prepare` makes an item's question and reads its images, on other threads; None where there is nothing to ask. The
    first error ends all.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            prepared = await asyncio.to_thread(prepare, item)
            if prepared is not None:
                keep(await client.ask(prepared.question, prepared.jpegs))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(worker())
    except* (VlmSetupError, VlmUnavailableError) as errors:
        # All workers fail for the same reason; one message says it.
        raise errors.exceptions[0] from None
