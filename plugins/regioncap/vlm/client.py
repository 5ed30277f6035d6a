"""Sending a request to an endpoint's servers until it is known what comes of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import reduce
from typing import TypeVar

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from regioncap.errors import VlmUnavailableError
from regioncap.vlm.completion import ENDED, SURE, Completion
from regioncap.vlm.doctor import DoctorFigures
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.faults import (
    LOST,
    NOT_SENT,
    PASSING,
    BusyError,
    EndsServerError,
    FailsAtItError,
    FailureError,
    RefusedError,
    UnfinishedError,
)
from regioncap.vlm.pace import is_of_the_load
from regioncap.vlm.protocol import ChatCompletion, Usage, chat
from regioncap.vlm.replicas import Replicas, Server, UnderWay
from regioncap.vlm.requests import CHOICE, ChatRequest
from regioncap.vlm.solitude import Solitude
from regioncap.vlm.tries import AnsweredAfter, Tries
from regioncap.vlm.watch import follow, poll
from regioncap.vlm.wire import LOOK_SECONDS, Wire, finished

# A server that wants to be left alone for longer than this has no room for this task.
_MOST_REST_SECONDS = 3600.0
# A server that answers nothing is waited for so many time-outs, each twice as long as the one before.
_MOST_UNANSWERED = 3
# Of two servers behind one address that take turns, so many requests in a row hardly come to the same.
_LOOKS = 8
# More than any number of tokens that can be asked for has, in characters.
MAX_TEXT = 256 * 1024
_PAUSE = wait_random_exponential(multiplier=0.5, max=15)

Result = TypeVar("Result")


class MovedError(FailureError):
    """The server answered nothing while others did: another one is asked."""


class LoadError(FailureError):
    """No answer in time, from a server that has much to do, or is slow."""


class VlmClient:
    """A connection to one endpoint; use it through `connect`."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        self.endpoint = endpoint
        self.replicas = Replicas(endpoint)
        self.wire = Wire(endpoint, http)
        # The servers' addresses, for messages.
        self.name = ", ".join(server.url for server in self.replicas.servers)
        # How many tokens question and answer may have together, where the servers tell.
        self.context: int | None = None
        # Which servers these are, as far as that can be told: see `probe.identify`.
        self.identity = ""
        self._answered_after = AnsweredAfter()
        self._refusals = 0
        self._solitude = Solitude()

    @asynccontextmanager
    async def paced(self, bound: int) -> AsyncIterator[None]:
        """Keep the servers busy with at most `bound` requests in all."""
        self.replicas.start(bound)
        servers = self.replicas.servers
        async with asyncio.TaskGroup() as watching:
            tasks = [
                watching.create_task(watch)
                for server in servers
                for watch in (
                    follow(self.replicas, server, self.endpoint.timeout_seconds),
                    poll(self.wire, server, is_one_of_several=len(servers) > 1),
                )
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def read_figures(self) -> DoctorFigures | None:
        """What the servers have counted since they were started; None where one does not tell, not soon, or is away."""
        if any(server.away for server in self.replicas.servers):
            return None
        read = await asyncio.gather(*map(self.wire.figures, self.replicas.servers))
        told = [figures for figures in read if figures is not None]
        return reduce(DoctorFigures.and_of, told) if len(told) == len(read) else None

    async def ask(self, request: ChatRequest, body: bytes) -> Completion:
        """Send a request as this body; what may pass is tried again. Raises VlmUnavailableError or VlmSetupError."""
        tries = Tries(time.monotonic())

        def pause(state: RetryCallState) -> float:
            another = bool(tries.failed_at) and self.replicas.has_another(tries.failed_at)
            return max(tries.pause, 0.0 if another else _PAUSE(state))

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
        text = choice.message.text if choice else ""
        # All answers of a shard are read at once: what is kept of one has a bound, and beyond it the rest is missing.
        reason = (choice.finish_reason or "none") if choice else "none"
        return Completion(
            key=request.key,
            text=text[:MAX_TEXT],
            finish_reason=reason if len(text) <= MAX_TEXT else "length",
            prompt_tokens=usage.prompt_tokens or 0,
            completion_tokens=usage.completion_tokens or 0,
            context=self.context,
            about=request.about,
            seconds=round(time.monotonic() - tries.started, 3),
            probabilities=choice.probabilities if choice and CHOICE in request.options else None,
            unsure=choice.unsure(SURE) if choice and "logprobs" in request.options else None,
            at=round(time.time(), 3),
            took=round(tries.took, 3),
            at_server=tries.at_server,
        )

    async def _try(self, tries: Tries, body: bytes) -> ChatCompletion:
        """Ask one server once. Raises what came instead of an answer; FailsAtItError where it is about the row."""
        await self.replicas.rested()
        server = self.replicas.least_busy(tries.failed_at)
        # Of servers that take turns, the next request is not to come to the same one each time.
        if tries.losses.at > self.wire.heard and not await self.wire.answers(server, 1 + tries.losses.times % 2):
            raise FailureError("the server has not come back yet")
        async with self._solitude.turn(tries.losses.is_suspect) as turn:
            answered = False
            sent = server.pace.sent()
            try:
                async with asyncio.timeout(None) as timer:
                    request = UnderWay(sent, server.pace.answered, tries.moved, timer)
                    server.under_way.add(request)
                    completion = await self.wire.exchange(server, chat(body, finished))
                answered = True
                server.answered_at = time.monotonic()
                tries.took, tries.at_server = server.answered_at - sent, server.address
                return completion
            except PASSING as error:
                caught: Exception = error
            finally:
                server.under_way.discard(request)
                server.pace.ended(sent, answered)
                self.replicas.adjust()
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
        self.replicas.adjust()
        raise caught

    async def _late(self, tries: Tries, server: Server, request: UnderWay, since: int) -> Exception:
        """What it means that a request was not answered in time. Raises FailsAtItError where it is about the row."""
        waited = f"no answer in {time.monotonic() - request.sent:.1f} s"
        if request.outdone:
            tries.moved += 1
            server.pace.overload(request.sent, unanswered=True)
            return MovedError(waited)
        if is_of_the_load(server.pace.answered, since, server.pace.under_way):
            tries.failed_at.discard(server.url)
            server.pace.overload(request.sent, unanswered=not since)
            if server.pace.unanswered <= _MOST_UNANSWERED and await self.wire.is_there(server):
                self.wire.heard = time.monotonic()
            return LoadError(waited)
        late = FailureError(waited)
        await self._failed(tries, server, late, alone=False)
        return late

    async def _refused_for_now(self, tries: Tries, server: Server, sent: float, error: BusyError) -> None:
        """Give a server that has too much to do less. Raises FailsAtItError where it is so for this request alone."""
        now, patience = time.monotonic(), self.endpoint.patience_seconds
        self._refusals += 1
        answered = self.replicas.answered
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
        heard = self.wire.heard
        waited = now - max(tries.started, heard, server.rests_until)
        long_enough = waited > patience or (alone and now - tries.started > 2 * patience)
        if answered and long_enough and tries.busy >= self._answered_after.failures_needed:
            is_there = await self.wire.still_answers(server, tries.busy)
            # Others that are refused are not to wait for longer because this one has looked.
            self.wire.heard = heard
            if not is_there:
                return
            raise FailsAtItError(f"the server refused it {tries.busy} times, and answered others: {error}")

    async def _failed(self, tries: Tries, server: Server, error: Exception, alone: bool) -> None:
        """Note a failure, of a request that was `alone` under way or not.

        Raises FailsAtItError where there were so many, wherever it could be asked, and EndsServerError where it ends
        servers.
        """
        heard = self.wire.heard
        lost = isinstance(error, LOST) and not isinstance(error, NOT_SENT)
        if lost and not alone:
            tries.losses.note(time.monotonic(), heard, alone=False, sure=False)
            return  # what was under way with it is lost as well
        tries.failed += 1
        if isinstance(error, NOT_SENT):
            return  # it has not come to any server, whatever is in it
        # A server that is gone fails at all that is under way; only one that is still there failed at this.
        if not lost and await self.wire.still_answers(server, tries.failures + 1):
            tries.failures += 1
        # A paused one is not gone.
        elif not isinstance(error, UnfinishedError):
            # Of servers that take turns, the next try is not to come to the same one each time: after a loss it is not
            # anyway, by what is asked before it.
            looks = _LOOKS if lost else _LOOKS + tries.failed % 2
            answered = await self.wire.answers(server, looks)
            # One that is there at once has ended only where it was lost. Of several behind one address, some answer.
            if lost or not answered:
                tries.losses.note(time.monotonic(), heard, alone, sure=answered in (0, looks))
            if tries.losses.is_to_blame:
                raise EndsServerError(
                    f"the server ended {tries.losses.alone} times while it was asked nothing but this: "
                    f"{type(error).__name__}: {str(error)[:200]}"
                ) from error
        elsewhere = self.replicas.has_another(tries.failed_at)
        if tries.failures >= self._answered_after.failures_needed and not elsewhere:
            raise FailsAtItError(
                f"the server failed {tries.failures} times at it, and answered another request each time: "
                f"{type(error).__name__}: {str(error)[:200]}"
            ) from error

    async def patiently(
        self,
        attempt: Callable[[], Awaitable[Result]],
        pause: Callable[[RetryCallState], float] = _PAUSE,
    ) -> Result:
        """Try again, with growing and jittered pauses, what may pass by itself; not if nothing at all is answered."""
        patience, started = self.endpoint.patience_seconds, time.monotonic()

        def is_over(_: RetryCallState) -> bool:
            return time.monotonic() - max(started, self.wire.heard, self.replicas.rest_until) > patience

        try:
            async for trial in AsyncRetrying(
                retry=retry_if_exception_type(PASSING), wait=pause, stop=is_over, reraise=True
            ):
                with trial:
                    return await attempt()
        except PASSING as error:
            raise VlmUnavailableError(
                f"the server at {self.name} did not answer for {patience:.0f} s: is vLLM "
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
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=LOOK_SECONDS),
        headers=headers,
    ) as http:
        yield VlmClient(endpoint, http)
