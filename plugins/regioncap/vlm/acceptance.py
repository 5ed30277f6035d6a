"""Whether a server takes requests like ours at all."""

import asyncio
import json

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.vlm.client import Completion, VlmClient
from regioncap.vlm.remedies import remedy
from regioncap.vlm.requests import ChatRequest, data_url, plain_picture

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
                again = await self._client.ask(request, json.dumps(self._client.dialect.written(body)).encode())
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
