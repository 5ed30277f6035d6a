"""Sending a vLLM server as many requests at once as it can take."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm.client import Completion, VlmClient
from regioncap.vlm.remedies import remedy
from regioncap.vlm.requests import ChatRequest, data_url, plain_picture

Item = TypeVar("Item")

# So many requests are under way to begin with, and at least. The queues are polled this often, that of a single
# server less often while nothing changes: each poll costs it some milliseconds.
_FIRST_IN_FLIGHT = 64
_POLL_SECONDS, _MAX_POLL_SECONDS = 0.5, 2.0


@dataclass(frozen=True)
class PreparedRequest:
    """A request, and its images by name, each a JPEG's bytes or its file: all there is to send."""

    request: ChatRequest
    images: Mapping[str, bytes | Path]


async def ask_all(
    client: VlmClient,
    items: Iterable[Item],
    prepare: Callable[[Item, Mapping[str, Completion]], PreparedRequest | None],
    keep: Callable[[Completion], None],
    finished: Callable[[int], None],
    bound: int,
) -> None:
    """Ask about each item until there is nothing more to ask, with at most `bound` requests under way.

    How many there are below the bound is found out: a few more than the servers work on at once, so that their queues
    are never empty, and never long: what others ask would wait behind it. Where a server does not tell its queue, it is
    the bound.

    `prepare` makes an item's next request and finds its images, on other threads: it gets the completions that the item
    has had by now, by their requests' keys, and returns None where nothing is left to ask. Each completion is handed
    to `keep` as it comes; `finished` is called at the end of each item with the number of its completions. The first
    error ends all, and so does a server that refuses every request, whatever is in it: see `Acceptance`.
    """
    waiting = iter(items)
    acceptance = Acceptance(client)

    def encoded(item: Item, completions: Mapping[str, Completion]) -> tuple[ChatRequest, bytes] | None:
        prepared = prepare(item, completions)
        if prepared is None:
            return None
        readable = client.endpoint.local_media_path
        urls = {name: image_url(image, readable) for name, image in prepared.images.items()}
        return prepared.request, json.dumps(prepared.request.body(urls)).encode()

    async def worker() -> None:
        for item in waiting:
            completions: dict[str, Completion] = {}
            # Read and encoded ahead: while it waits for the limit, the others keep the server busy.
            while (ready := await asyncio.to_thread(encoded, item, completions)) is not None:
                async with limit:
                    completion = await client.ask(*ready)
                    await acceptance.note(ready[0], completion)
                completions[completion.key] = completion
                keep(completion)
            finished(len(completions))

    limit = _ConcurrencyLimit(min(_FIRST_IN_FLIGHT, bound))
    poller = asyncio.create_task(_poll_regularly(client, limit, bound))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(bound):
                group.create_task(worker())
    except* (VlmSetupError, VlmUnavailableError) as errors:
        # All workers fail for the same reason; one message says it.
        raise errors.exceptions[0] from None
    finally:
        poller.cancel()


def image_url(image: bytes | Path, readable: str) -> str:
    """How an image is sent: as its file's name if that is in `readable`, the folder that the server may read."""
    if isinstance(image, bytes):
        return data_url(image)
    if readable and image.is_relative_to(readable):
        return image.as_uri()
    return data_url(image.read_bytes())


# So often it is looked whether what is under way was answered.
_UNDER_WAY_SECONDS = 0.05


class Acceptance:
    """Whether the server takes requests like ours at all: only then a refusal is about what is in one of them.

    Known from the first completion. Where a refusal comes before any, what else is under way is waited for; if nothing
    of it is answered, the same request is sent once more with plain pictures in the place of the row's: what is refused
    then is what all requests have in common.
    """

    def __init__(self, client: VlmClient) -> None:
        self._client = client
        self._known = False
        self._error: VlmSetupError | VlmUnavailableError | None = None
        self._asking = asyncio.Lock()

    async def note(self, request: ChatRequest, completion: Completion) -> None:
        """Take note. Raises VlmSetupError, or VlmUnavailableError where the server fails instead of refusing."""
        self._known = self._known or completion.refused is None
        if self._known:
            return
        async with self._asking:
            while not self._known and self._error is None and self._client.in_flight:
                await asyncio.sleep(_UNDER_WAY_SECONDS)
            if not self._known and self._error is None:
                body = request.body(dict.fromkeys(request.images, data_url(plain_picture())))
                again = await self._client.ask(request, json.dumps(body).encode())
                self._known = again.refused is None
                self._error = None if self._known else refuses_all(again, self._client.name)
        if self._error is not None:
            raise self._error


def refuses_all(completion: Completion, servers: str) -> VlmSetupError | VlmUnavailableError:
    """The error where servers treat every request with images as they did this one: their words, a remedy."""
    words = str(completion.refused).rstrip(".")
    if completion.finish_reason == "failed":
        return VlmUnavailableError(f"the server at {servers} fails at every request with images: {words}")
    change = remedy(words) or "correct what the server was started with, or the run's params (docs/vlm-servers.md)"
    return VlmSetupError(f"the server at {servers} refuses every request with images: {words}. To mend it, {change}")


async def _poll_regularly(client: VlmClient, limit: "_ConcurrencyLimit", bound: int) -> None:
    """Keep the servers' queues short but not empty; of several servers, notice which is busy or back."""
    pause, servers = _POLL_SECONDS, len(client.endpoint.base_urls)
    # A server that is back is asked again after a poll.
    longest = _MAX_POLL_SECONDS if servers == 1 else _POLL_SECONDS
    while True:
        await asyncio.sleep(pause)
        waiting = await client.poll_metrics()
        before = limit.number
        limit.set(concurrency_wanted(client.in_flight, None if waiting is None else waiting * servers, bound))
        steady = abs(limit.number - before) <= before / 8
        pause = min(2 * pause, longest) if steady else _POLL_SECONDS


def concurrency_wanted(under_way: int, waiting: int | None, bound: int) -> int:
    """How many requests should be under way, where so many are and so many of them wait in the servers' queues.

    Twice as many until there is a queue, then a quarter more than what is being worked on, so that it stays short.
    `waiting` is None where the queues are not known; then it is `bound`.
    """
    if waiting is None:
        return bound
    more = 1.25 if waiting else 2
    return min(bound, max(_FIRST_IN_FLIGHT, round(more * (under_way - waiting))))


class _ConcurrencyLimit:
    """Bounds how many requests are under way at once. To be used from one event loop."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._free = asyncio.Semaphore(number)
        # So many are taken back when they are next returned.
        self._surplus = 0

    def set(self, number: int) -> None:
        """Change how many there may be."""
        self._surplus -= number - self.number
        self.number = number
        while self._surplus < 0:
            self._free.release()
            self._surplus += 1

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *error: object) -> None:
        if self._surplus > 0:
            self._surplus -= 1
        else:
            self._free.release()
