"""Sending a vLLM server as many requests at once as it can take."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from regioncap.vlm.acceptance import Acceptance
from regioncap.vlm.client import VlmClient
from regioncap.vlm.completion import Completion
from regioncap.vlm.requests import ChatRequest, data_url
from regioncap.vlm.shapes import SentImage, sent_image

Item = TypeVar("Item")


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

    How many there are below the bound is found out, for each server: see `pace`.

    `prepare` makes an item's next request and finds its images, on other threads: it gets the completions that the item
    has had by now, by their requests' keys, and returns None where nothing is left to ask. Each completion is handed
    to `keep` as it comes; `finished` is called at the end of each item with the number of its completions. The first
    error ends all, and is raised as it is; a server that refuses every request, whatever is in it, is one: see
    `Acceptance`.
    """
    waiting = iter(items)
    acceptance = Acceptance(client)

    def encoded(
        item: Item, completions: Mapping[str, Completion]
    ) -> tuple[ChatRequest, bytes, dict[str, SentImage]] | None:
        prepared = prepare(item, completions)
        if prepared is None:
            return None
        readable = client.endpoint.local_media_path
        urls = {name: image_url(image, readable) for name, image in prepared.images.items()}
        sent = {name: sent_image(image, urls[name].startswith("file:")) for name, image in prepared.images.items()}
        return prepared.request, client.wire.written(prepared.request.body(urls)), sent

    async def worker() -> None:
        for item in waiting:
            completions: dict[str, Completion] = {}
            # Read and encoded ahead: while it waits for the limit, the others keep the server busy.
            while (ready := await asyncio.to_thread(encoded, item, completions)) is not None:
                request, body, images = ready
                async with client.replicas.slots:
                    completion = await client.ask(request, body)
                    await acceptance.note(request, images, completion)
                completions[completion.key] = completion
                keep(completion)
            finished(len(completions))
        client.replicas.slots.run_out()

    try:
        async with client.paced(bound), asyncio.TaskGroup() as group:
            for _ in range(bound):
                group.create_task(worker())
    except* Exception as errors:
        # All workers fail for the same reason; one message says it.
        raise first_of(errors) from None


def first_of(error: Exception) -> Exception:
    """The first error of groups in groups: what it says of trying again is its own."""
    return first_of(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def image_url(image: bytes | Path, readable: str) -> str:
    """How an image is sent: as its file's name if that is in `readable`, the folder that the server may read."""
    if isinstance(image, bytes):
        return data_url(image)
    if readable and image.is_relative_to(readable):
        return image.as_uri()
    return data_url(image.read_bytes())
