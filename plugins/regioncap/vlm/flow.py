"""Asking a vLLM server as many questions at once as it can take."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from regioncap.vlm.client import RawAnswer, VlmClient, VlmSetupError, VlmUnavailableError
from regioncap.vlm.questions import Question, data_url

Item = TypeVar("Item")

# So many questions are under way to begin with, and twice as many after each look that finds fewer than one in so many
# of them in the server's queue. A queue costs a server next to nothing, an empty one wastes it.
_FIRST_IN_FLIGHT, _QUEUE, _LOOK_SECONDS = 64, 8, 0.5


@dataclass(frozen=True)
class Prepared:
    """A question, and its images by name, each a JPEG's bytes or its file: all there is to send."""

    question: Question
    images: Mapping[str, bytes | Path]


async def ask_all(
    client: VlmClient,
    items: Iterable[Item],
    prepare: Callable[[Item, Mapping[str, RawAnswer]], Prepared | None],
    keep: Callable[[RawAnswer], None],
    finished: Callable[[int], None],
    bound: int,
) -> None:
    """Ask about each item until there is nothing more to ask, with at most `bound` questions under way.

    How many there are below the bound is found out: more and more, until some wait in the server's queue. Where the
    server does not tell its queue, it is the bound.

    `prepare` makes an item's next question and finds its images, on other threads: it gets the answers that the item
    has had by now, by their questions' keys, and returns None where nothing is left to ask. Each answer is handed to
    `keep` as it comes; `finished` is called at the end of each item with the number of its answers. The first error
    ends all.
    """
    waiting = iter(items)

    def encoded(item: Item, told: Mapping[str, RawAnswer]) -> tuple[Question, bytes] | None:
        prepared = prepare(item, told)
        if prepared is None:
            return None
        readable = client.endpoint.local_media_path
        urls = {name: image_url(image, readable) for name, image in prepared.images.items()}
        return prepared.question, json.dumps(prepared.question.request(urls)).encode()

    async def worker() -> None:
        for item in waiting:
            told: dict[str, RawAnswer] = {}
            # Read and encoded ahead: while it waits for its turn, the others keep the server busy.
            while (ready := await asyncio.to_thread(encoded, item, told)) is not None:
                async with turns:
                    answer = await client.ask(*ready)
                told[answer.key] = answer
                keep(answer)
            finished(len(told))

    first = min(_FIRST_IN_FLIGHT, bound)
    turns = asyncio.Semaphore(first)
    looker = asyncio.create_task(_look_regularly(client, turns, first, bound))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(bound):
                group.create_task(worker())
    except* (VlmSetupError, VlmUnavailableError) as errors:
        # All workers fail for the same reason; one message says it.
        raise errors.exceptions[0] from None
    finally:
        looker.cancel()


def image_url(image: bytes | Path, readable: str) -> str:
    """How an image is sent: as its file's name if that is in `readable`, the folder that the server may read."""
    if isinstance(image, bytes):
        return data_url(image)
    if readable and image.is_relative_to(readable):
        return image.as_uri()
    return data_url(image.read_bytes())


async def _look_regularly(client: VlmClient, turns: asyncio.Semaphore, turns_now: int, bound: int) -> None:
    """Give out more turns while the servers' queues are short; of several servers, notice which is busy or back."""
    servers = len(client.endpoint.base_urls)
    while turns_now < bound or servers > 1:
        await asyncio.sleep(_LOOK_SECONDS)
        waiting = await client.look()
        target = turns_now
        if waiting is None:
            target = bound
        elif waiting * servers * _QUEUE < turns_now:
            target = min(bound, 2 * turns_now)
        for _ in range(target - turns_now):
            turns.release()
        turns_now = target
