"""Sending requests to a vLLM server, over its OpenAI-compatible chat API.

aiohttp, not the `openai` package: that one spends more of a core on a request than reading, encoding and sending the
image do, and of its features only the bodies of two calls are needed here.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from regioncap.captions.endings import ending
from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm.dialects import Dialect
from regioncap.vlm.doctor import DoctorFigures, read_doctor_figures
from regioncap.vlm.faults import (
    PASSING,
    BusyError,
    EndsServerError,
    FailsAtItError,
    FailureError,
    NotThereError,
    RefusedError,
    UnfinishedError,
    answer_in,
    fault_of,
    retry_after_seconds,
)
from regioncap.vlm.metrics import read_queue
from regioncap.vlm.pace import ConcurrencyLimit, Pace, PaceFigures, is_of_the_load, silent_seconds
from regioncap.vlm.protocol import ChatCompletion, Models, Tokenized, Usage, Version, error_message
from regioncap.vlm.requests import GREETING, ChatRequest
from regioncap.vlm.solitude import Solitude
from regioncap.vlm.tries import AnsweredAfter, Tries

# The `finish_reason` of a completion whose request ended the server each time.
ENDED = "ended"
# Far more than any answer; a body that never ends must not fill the memory.
_MAX_BODY = 16 * 1024 * 1024
_CHUNK = 64 * 1024
# Nobody needs to wait for what is only looked at before the first row.
_BRIEFLY = aiohttp.ClientTimeout(total=30.0)
# For figures that only tell something nobody waits long.
_METRICS_SECONDS = 5.0
# The queues are polled this often, that of a single server less often while nothing changes: each poll costs it some
# milliseconds. One that tells nothing is asked for its figures seldom.
_POLL_SECONDS, _MAX_POLL_SECONDS, _NO_FIGURES_SECONDS = 0.5, 2.0, 30.0
# What is no request of a row's is answered so soon, or not at all.
_LOOK_SECONDS = 10.0
# A server that wants to be left alone for longer than this has no room for this task.
_MOST_REST_SECONDS = 3600.0
# A server that answers nothing is waited for so many time-outs, each twice as long as the one before.
_MOST_UNANSWERED = 3
# Of two servers behind one address that take turns, so many requests in a row hardly come to the same.
_LOOKS = 8
_PAUSE = wait_random_exponential(multiplier=0.5, max=15)


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
    # The bound; how many requests are under way below it is found out: see `pace`.
    max_in_flight: int = 256
    # One request, from sending to the last token; longer where a server turns out to be slow.
    timeout_seconds: float = 300.0
    # How long servers that are away (restarting, overloaded) are waited for.
    patience_seconds: float = 300.0
    # A folder that the servers may read images from (vLLM's --allowed-local-media-path): images in it are named to
    # them instead of sent.
    local_media_path: str = ""

    def __post_init__(self) -> None:
        """Raises VlmSetupError where nothing could be asked so."""
        if not self.model.strip():
            raise VlmSetupError("model: it is empty; give the name that the servers serve")
        for url in self.base_urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise VlmSetupError(f"host: {url!r} is no address of a server; write it as http://<server>:8000/v1")
        if self.max_in_flight < 1:
            raise VlmSetupError(f"max_in_flight: it is {self.max_in_flight}, and has to be at least 1")
        for name, least in (("timeout_seconds", 0.001), ("patience_seconds", 0.0)):
            seconds = getattr(self, name)
            if not least <= seconds < math.inf:
                raise VlmSetupError(f"{name}: it is {seconds:g}, and has to be a number of seconds above 0")

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
    request is about, as a hash of the image's path. `probabilities` are those of the answer's first token, by token,
    where these were asked for.
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
    probabilities: dict[str, float] | None = None


@dataclass(eq=False)
class Server:
    """One of an endpoint's servers: how many requests of ours and of other clients it has, and at what pace.

    `away` after it failed, or answered nothing, until it answers again. `rests_until` is when it wants to be asked
    again, by the monotonic clock.
    """

    url: str
    pace: Pace
    ours: int = 0
    others: int = 0
    away: bool = False
    rests_until: float = 0.0
    # When it last answered a request of a row's.
    answered_at: float = 0.0
    # How many it had answered when it last said that it has too much to do.
    answered_before_refusal: int = -1
    under_way: set["_UnderWay"] = field(default_factory=set)


@dataclass(eq=False)
class _UnderWay:
    """A request of a row's at a server, sent then; how many the server had answered, and what ends the waiting."""

    sent: float
    answered: int
    moved: int
    timer: asyncio.Timeout
    # Ended because another server answers meanwhile.
    outdone: bool = False


class MovedError(FailureError):
    """The server answered nothing while others did: another one is asked."""


class LoadError(FailureError):
    """No answer in time, from a server that has much to do, or is slow."""


class VlmClient:
    """A connection to one endpoint; use it through `connect`."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._http = http
        self._bound = endpoint.max_in_flight
        self.servers = [
            Server(url.rstrip("/"), Pace(self._bound, endpoint.timeout_seconds)) for url in endpoint.base_urls
        ]
        self.slots = ConcurrencyLimit(1)
        self._name = ", ".join(server.url for server in self.servers)
        # How requests are written for them.
        self.dialect = Dialect()
        self._answered_after = AnsweredAfter()
        self._refusals = 0
        # When anything was last answered.
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

    @property
    def figures(self) -> PaceFigures:
        """What was seen of the servers' pace."""
        paces = [server.pace for server in self.servers]
        running = [pace.running for pace in paces if pace.running is not None]
        waiting = [pace.waiting for pace in paces if pace.waiting is not None]
        seconds = [pace.seconds for pace in paces if pace.seconds is not None]
        return PaceFigures(
            limit=self.slots.number,
            under_way=self.in_flight,
            running=sum(running) if running else None,
            waiting=sum(waiting) if waiting else None,
            answers_per_second=sum(pace.answers_per_second for pace in paces),
            seconds_per_answer=max(seconds, default=None),
            client_seconds_share=self.slots.idle_share,
        )

    @asynccontextmanager
    async def paced(self, bound: int) -> AsyncIterator[None]:
        """Keep the servers busy with at most `bound` requests in all: each who sends some takes a place of `slots`."""
        self._bound = bound
        for server in self.servers:
            server.pace.bound, server.pace.limit = bound, min(server.pace.limit, bound)
        # The time before counts for nothing.
        self.slots = ConcurrencyLimit(1)
        self._adjust()
        async with asyncio.TaskGroup() as watching:
            tasks = [
                watching.create_task(watch(server))
                for server in self.servers
                for watch in (self._follow, self._poll_regularly)
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def _adjust(self) -> None:
        """Let as many requests be under way as the servers that are there are given."""
        now = time.monotonic()
        there = [server for server in self.servers if not server.away and server.rests_until <= now] or self.servers
        number = min(self._bound, sum(server.pace.limit for server in there))
        if number != self.slots.number:
            self.slots.set(number)

    async def _follow(self, server: Server) -> None:
        """End what takes too long; change how many requests it gets."""
        while True:
            await asyncio.sleep(min(_POLL_SECONDS, self._endpoint.timeout_seconds / 4))
            for request in list(server.under_way):
                late = time.monotonic() - request.sent >= server.pace.allowed
                if late or self._is_outdone(server, request):
                    server.under_way.discard(request)
                    request.outdone = not late
                    request.timer.reschedule(0.0)
            server.pace.decide()
            self._adjust()

    def _is_outdone(self, server: Server, request: _UnderWay) -> bool:
        """Whether the server has said nothing for so long that another one would have answered this meanwhile."""
        took = [
            other.pace.seconds
            for other in self.servers
            if other is not server and not other.away and other.pace.seconds is not None
        ]
        silent = time.monotonic() - max(request.sent, server.answered_at)
        return bool(took) and silent >= silent_seconds(max(took), request.moved)

    async def _poll_regularly(self, server: Server) -> None:
        """Follow its queue; where it is one of several and away, notice that it is back."""
        pause = _POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            if server.rests_until > time.monotonic():
                continue
            if server.away and len(self.servers) > 1:
                await self._look(server)
                continue
            before = server.pace.limit
            told = await self._poll(server)
            steady = abs(server.pace.limit - before) <= before / 8
            longest = _MAX_POLL_SECONDS if told else _NO_FIGURES_SECONDS
            pause = min(2 * pause, longest) if steady and (len(self.servers) == 1 or not told) else _POLL_SECONDS

    async def _look(self, server: Server) -> None:
        """Ask a server that is away something small: once it answers, it is back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(_LOOK_SECONDS, 4 * (server.pace.seconds or 0.0))):
                server.away = not await self._still_answers(server)

    async def _poll(self, server: Server) -> bool:
        """Note what it tells of its queue; returns whether it does."""
        try:
            async with (
                asyncio.timeout(_LOOK_SECONDS),
                self._http.get(server.url.removesuffix("/v1") + "/metrics", allow_redirects=False) as response,
            ):
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            return False
        queue = read_queue(text)
        if queue is None:
            server.others = 0
            server.pace.tell(None, None)
            return False
        server.others = max(0, queue.waiting + (queue.running or 0) - server.ours)
        server.pace.tell(queue.running, queue.waiting)
        return True

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
        tries = Tries(time.monotonic())

        def pause(state: RetryCallState) -> float:
            return max(tries.pause, 0.0 if self._another(tries) else _PAUSE(state))

        try:
            completion = await self.patiently(lambda: self._try(tries, body), pause)
        except (RefusedError, FailsAtItError, EndsServerError) as error:
            return Completion(
                key=request.key,
                text="",
                finish_reason=_reason(error),
                refused=str(error)[:500],
                about=request.about,
                server=self.identity,
            )
        self._answered_after.note(tries.failed)
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
            seconds=round(time.monotonic() - tries.started, 3),
            probabilities=choice.probabilities if choice else None,
        )

    async def _try(self, tries: Tries, body: bytes) -> ChatCompletion:
        """Ask one server once. Raises what came instead of an answer; FailsAtItError where it is about the row."""
        await self._rested()
        server = self.least_busy(tries)
        if tries.losses.at > self._heard and not await self._still_answers(server):
            raise FailureError("the server has not come back yet")
        async with self._solitude.turn(tries.losses.is_suspect) as turn:
            answered = False
            sent = server.pace.sent()
            try:
                async with asyncio.timeout(None) as timer:
                    request = _UnderWay(sent, server.pace.answered, tries.moved, timer)
                    server.under_way.add(request)
                    completion = await self._complete(server, body)
                answered = True
                server.answered_at = time.monotonic()
                return completion
            except PASSING as error:
                caught: Exception = error
            finally:
                server.under_way.discard(request)
                server.pace.ended(sent, answered)
                self._adjust()
        since = server.pace.answered - request.answered
        tries.pause = 0.0
        tries.failed_at.add(server.url)
        # One that answers others is not away, nor one that says when it will be there.
        server.away = not since and not (isinstance(caught, BusyError) and caught.retry_after is not None)
        if timer.expired():
            caught = await self._late(tries, server, request, since)
        elif isinstance(caught, BusyError):
            await self._refused_for_now(tries, server, request.sent, caught)
        else:
            await self._failed(tries, server, caught, turn.alone)
        self._adjust()
        raise caught

    async def _late(self, tries: Tries, server: Server, request: _UnderWay, since: int) -> Exception:
        """What it means that a request was not answered in time. Raises FailsAtItError where it is about the row."""
        waited = f"no answer in {time.monotonic() - request.sent:.1f} s"
        if request.outdone:
            tries.moved += 1
            server.pace.overload(request.sent, unanswered=True)
            return MovedError(waited)
        if is_of_the_load(server.pace.answered, since, server.pace.under_way):
            tries.failed_at.discard(server.url)
            server.pace.overload(request.sent, unanswered=not since)
            if server.pace.unanswered <= _MOST_UNANSWERED and await self._is_there(server):
                self._heard = time.monotonic()
            return LoadError(waited)
        late = FailureError(waited)
        await self._failed(tries, server, late, alone=False)
        return late

    async def _refused_for_now(self, tries: Tries, server: Server, sent: float, error: BusyError) -> None:
        """Give a server that has too much to do less. Raises FailsAtItError where it is so for this request alone."""
        now, patience = time.monotonic(), self._endpoint.patience_seconds
        self._refusals += 1
        answered = sum(server.pace.answered for server in self.servers)
        alone = tries.is_refused_alone(answered, self._refusals)
        if error.retry_after is not None and error.retry_after > _MOST_REST_SECONDS:
            raise VlmUnavailableError(
                f"the server at {server.url} wants to be asked again in {error.retry_after:.0f} s ({error})"
            )
        if alone:
            tries.pause = error.retry_after or 0.0
        else:
            # One that answers nobody has not too much to do.
            if error.retry_after is not None or server.pace.answered > server.answered_before_refusal:
                server.pace.overload(sent)
            server.answered_before_refusal = server.pace.answered
            if error.retry_after is not None:
                server.rests_until = max(server.rests_until, now + error.retry_after)
        heard = self._heard
        waited = now - max(tries.started, heard, server.rests_until)
        long_enough = waited > patience or (alone and now - tries.started > 2 * patience)
        if answered and long_enough and tries.busy >= self._answered_after.failures_needed:
            is_there = await self._still_answers(server, tries.busy)
            # Others that are refused are not to wait for longer because this one has looked.
            self._heard = heard
            if not is_there:
                return
            raise FailsAtItError(f"the server refused it {tries.busy} times, and answered others: {error}")

    async def _failed(self, tries: Tries, server: Server, error: Exception, alone: bool) -> None:
        """Note a failure, of a request that was `alone` under way or not.

        Raises FailsAtItError where there were so many, wherever it could be asked, and EndsServerError where it ends
        servers.
        """
        tries.failed += 1
        if isinstance(error, aiohttp.ClientConnectorError):
            return  # it has not come to any server, whatever is in it
        heard = self._heard
        # A server that is gone fails at all that is under way; only one that is still there failed at this.
        if await self._still_answers(server, tries.failures + 1):
            tries.failures += 1
        elif not isinstance(error, UnfinishedError) and await self._is_gone(server):  # a paused one is not
            tries.losses.note(time.monotonic(), heard, alone)
            if tries.losses.is_to_blame:
                raise EndsServerError(
                    f"the server ended {tries.losses.alone} times while it was asked nothing but this: "
                    f"{type(error).__name__}: {str(error)[:200]}"
                ) from error
        elsewhere = any(not server.away and server.url not in tries.failed_at for server in self.servers)
        if tries.failures >= self._answered_after.failures_needed and not elsewhere:
            raise FailsAtItError(
                f"the server failed {tries.failures} times at it, and answered another request each time: "
                f"{type(error).__name__}: {str(error)[:200]}"
            ) from error

    def _another(self, tries: Tries) -> bool:
        """Whether it failed at a server, and another one is there."""
        others = any(not server.away and server.url not in tries.failed_at for server in self.servers)
        return bool(tries.failed_at) and others

    async def _rested(self) -> None:
        """Wait until one of the servers may be asked."""
        while (seconds := min(server.rests_until for server in self.servers) - time.monotonic()) > 0:
            await asyncio.sleep(seconds)

    def least_busy(self, tries: Tries | None = None) -> Server:
        """The server to send the next request to: where it did not fail, if there is one."""
        failed_at = tries.failed_at if tries else ()
        now = time.monotonic()
        return min(
            self.servers,
            key=lambda server: (
                server.away,
                server.rests_until > now,
                server.url in failed_at,
                server.pace.under_way >= server.pace.limit,
                server.ours + server.others,
            ),
        )

    async def _complete(self, server: Server, body: bytes) -> ChatCompletion:
        return await self._request(server, "POST", "/chat/completions", ChatCompletion, body, _finished)

    async def _is_there(self, server: Server) -> bool:
        """Whether anything is there, however much it has to do."""
        try:
            await self.request(server, "GET", "/models", Models)
        except NotThereError:  # some have no list of models
            return True
        except (*PASSING, RefusedError):
            return False
        return True

    async def _still_answers(self, server: Server, times: int = 1) -> bool:
        """Whether the server answers so many small requests right now, each time another number.

        Behind one address there may be several servers that take turns, and one of them may be at fault.
        """
        return await self._answers(server, times) == times

    async def _is_gone(self, server: Server) -> bool:
        """Whether nothing at all answers there: of several servers behind one address, one may be at fault."""
        return not await self._answers(server, _LOOKS)

    async def _answers(self, server: Server, times: int) -> int:
        """How many of so many small requests the server answers right now."""
        body = json.dumps(self.dialect.written({**GREETING, "model": self._endpoint.model})).encode()
        asked = (
            self.request(server, "POST", "/chat/completions", ChatCompletion, body, _finished) for _ in range(times)
        )
        results = await asyncio.gather(*asked, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors:
            if not isinstance(error, (*PASSING, RefusedError)):
                raise error
        return times - len(errors)

    async def request(
        self,
        server: Server,
        method: str,
        path: str,
        form: type[Body],
        body: bytes | None = None,
        check: Callable[[Body], Body] = lambda answer: answer,
    ) -> Body:
        """One try of what is no row's; returns the answer in this form. Raises what its status means, or `PASSING`."""
        seconds = self._endpoint.timeout_seconds
        try:
            async with asyncio.timeout(seconds if body else min(_LOOK_SECONDS, seconds)):
                return await self._request(server, method, path, form, body, check)
        except PASSING:
            server.away = True
            raise

    async def _request(
        self,
        server: Server,
        method: str,
        path: str,
        form: type[Body],
        body: bytes | None = None,
        check: Callable[[Body], Body] = lambda answer: answer,
    ) -> Body:
        """What does not pass `check` is no answer: nothing was heard of the server then."""
        server.ours += 1
        try:
            read = check(answer_in(await self._call(server, method, path, body), form))
            self._heard = time.monotonic()
            if body:
                server.away = False
            return read
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
            if status >= 500:
                # Behind one address there may be several servers: the next request is not to come to the same one.
                response.close()
        if status == 200:
            return bytes(received)
        fault = fault_of(status, error_message(received), server.url, self._endpoint.model)
        if isinstance(fault, BusyError):
            fault.retry_after = retry_after_seconds(response.headers.get("Retry-After", ""), datetime.now(UTC))
        if status == 404 and server.pace.answered:
            # It was the right address: what stands before the server has lost it for now.
            raise FailureError(f"HTTP 404: {fault}")
        raise fault

    async def patiently(
        self,
        attempt: Callable[[], Awaitable[Result]],
        pause: Callable[[RetryCallState], float] = _PAUSE,
    ) -> Result:
        """Try again, with growing and jittered pauses, what may pass by itself; not if nothing at all is answered."""
        patience, started = self._endpoint.patience_seconds, time.monotonic()

        def is_over(_: RetryCallState) -> bool:
            rested = min(server.rests_until for server in self.servers)
            return time.monotonic() - max(started, self._heard, rested) > patience

        try:
            async for trial in AsyncRetrying(
                retry=retry_if_exception_type(PASSING), wait=pause, stop=is_over, reraise=True
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
        # How long a request may take depends on its server: the client ends it.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_LOOK_SECONDS),
        headers=headers,
    ) as http:
        yield VlmClient(endpoint, http)
