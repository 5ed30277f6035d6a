"""Whose fault it is where a server refuses a request: its row's, or how server and run are set up."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Mapping

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm.client import VlmClient
from regioncap.vlm.completion import ENDED, Completion
from regioncap.vlm.remedies import remedy
from regioncap.vlm.requests import ChatRequest, data_url, plain_picture
from regioncap.vlm.shapes import SentImage, Shape, sent_image, shape_of, stand_in

# So often it is looked whether what is under way was answered.
_UNDER_WAY_SECONDS = 0.05
_NUMBER = re.compile(r"\d+")


class Acceptance:
    """Tells a refusal that is about one row from one that every request of its shape gets.

    It is about the row if the server answers a request of the same shape (see `Shape`) after it: what else is under
    way is waited for, and if none of that shows it, the same request is sent once more with plain pictures of the same
    sizes in the place of the row's. What is refused then has nothing of the row in it. That is the set-up's fault
    where smaller requests are not answered either, and else from the second row on: a single row that is larger than
    all others is refused alone.
    """

    def __init__(self, client: VlmClient) -> None:
        self._client = client
        # When requests of a shape were last answered.
        self._answered: dict[Shape, float] = {}
        self._ended = 0
        # When a row last ended a server.
        self._ended_server = 0.0
        # By the words of the refusal, when rows were refused whatever is in their pictures; a row is known by its first
        # image.
        self._suspects: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._error: VlmSetupError | VlmUnavailableError | None = None
        self._asking = asyncio.Lock()

    async def note(self, request: ChatRequest, images: Mapping[str, SentImage], completion: Completion) -> None:
        """Take note. Raises VlmSetupError, or VlmUnavailableError where the server fails instead of refusing."""
        shape, now = shape_of(request, images), time.monotonic()
        self._ended += 1
        if completion.refused is None:
            self._answered[shape] = now
            return
        if completion.finish_reason == ENDED:
            # It has been sent alone: more of it would end the server again. Where nothing was answered since another
            # one ended it, any row may.
            proven = any(answered > self._ended_server for answered in self._answered.values())
            self._ended_server = now
            if proven:
                return
        under_way = self._ended + self._client.replicas.in_flight
        async with self._asking:
            if self._error is not None:
                raise self._error
            replicas = self._client.replicas
            while not self._is_answered_since(shape, now) and replicas.in_flight and self._ended < under_way:
                await asyncio.sleep(_UNDER_WAY_SECONDS)
            if self._is_answered_since(shape, now) or not await self._is_refused_whatever_is_in_it(request, images):
                return
            # Until then others may have been answered.
            if self._is_answered_since(shape, now):
                return
            alike = self._suspects[_NUMBER.sub("0", str(completion.refused))]
            if alike and self._is_answered_since(shape, min(alike.values())):
                # Where few are under way, answers come between the refusals instead of beside them.
                alike.clear()
            alike[request.images[0] if request.images else ""] = now
            if len(alike) > 1 or not (self._answered or await self._is_taken_smaller(request, images)):
                self._error = refuses_all(completion, self._client.name)
                raise self._error

    def _is_answered_since(self, shape: Shape, refused: float) -> bool:
        return any(answered > refused and other.covers(shape) for other, answered in self._answered.items())

    async def _is_refused_whatever_is_in_it(self, request: ChatRequest, images: Mapping[str, SentImage]) -> bool:
        plain = {name: stand_in(image) for name, image in images.items()}
        by_name = {name: data_url(image.file.read_bytes()) for name, image in images.items() if image.file}
        # What is taken when it is sent along, and refused when its file is named: the server cannot read the folder.
        if by_name and not await self._is_refused(request, plain | by_name):
            return True
        return await self._is_refused(request, plain)

    async def _is_taken_smaller(self, request: ChatRequest, images: Mapping[str, SentImage]) -> bool:
        """Whether the server takes the same question about small pictures, where these are not small themselves."""
        small = sent_image(plain_picture(), by_name=False)
        if all(small.width * small.height >= image.width * image.height for image in images.values()):
            return False
        return not await self._is_refused(request, dict.fromkeys(images, data_url(plain_picture())))

    async def _is_refused(self, request: ChatRequest, urls: Mapping[str, str]) -> bool:
        again = await self._client.ask(request, self._client.wire.written(request.body(urls)))
        return again.refused is not None


def refuses_all(completion: Completion, servers: str) -> VlmSetupError | VlmUnavailableError:
    """The error where servers treat every request like this one as they did this one: their words, a remedy."""
    words = str(completion.refused).rstrip(".")
    if completion.finish_reason != "refused":
        return VlmUnavailableError(f"the server at {servers} fails at every request like this one: {words}")
    change = remedy(words) or "correct what the server was started with, or the run's params (docs/vlm-servers.md)"
    return VlmSetupError(f"the server at {servers} refuses every request like this one: {words}. To mend it, {change}")
