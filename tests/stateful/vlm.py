"""A VLM within the process: what it says names the request that it answers, so that a caption can be traced back."""

import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from regioncap.marks.view import content_name
from regioncap.vlm.client import VlmClient
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.requests import ChatRequest
from tests.fake_vlm import MODEL

# Where things are, whatever the image: in pixels of the image as the model sees it.
PROPOSED = json.dumps([{"bbox_2d": [8, 8, 24, 24], "label": "something"}])

ENDPOINT = Endpoint(base_urls=("http://vlm.invalid/v1",), model=MODEL, max_in_flight=1, patience_seconds=0.1)

_NUMBER = re.compile(r"a red door with the number (\d+)")


@dataclass
class TracingVlm:
    """`asked` are the bodies of all requests, images by their names; the number of a request is in its captions."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    _heard: set[str] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator["_Client"]:
        """Takes the place of `regioncap.vlm.client.connect`."""
        async with aiohttp.ClientSession() as http:
            yield _Client(self, endpoint, http)

    def answer(self, body: dict[str, Any]) -> str:
        """What it says to a request."""
        self.asked.append(_with_names(body))
        if "top_logprobs" in body:
            self._heard.add(json.dumps(body["messages"][1]["content"][-1]["text"]))
            return "1"
        schema = body["response_format"]["json_schema"]["schema"]
        if schema["type"] == "array":
            return PROPOSED
        return json.dumps({tag: f"a red door with the number {len(self.asked) - 1}" for tag in schema["required"]})

    def has_heard(self, caption: str) -> bool:
        """Whether it was asked whose the caption is."""
        return any(json.dumps(caption)[1:-1] in text for text in self._heard)

    def question(self, caption: str) -> tuple[int, dict[str, Any]] | None:
        """The number and the body of the request that a caption came from."""
        number = _NUMBER.fullmatch(caption)
        return (int(number[1]), self.asked[int(number[1])]) if number else None


class _Client(VlmClient):
    def __init__(self, vlm: TracingVlm, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        super().__init__(endpoint, http)
        self._vlm = vlm

    async def read_figures(self) -> None:
        """It counts nothing."""

    @contextlib.asynccontextmanager
    async def paced(self, bound: int) -> AsyncIterator[None]:
        yield

    async def ask(self, request: ChatRequest, body: bytes) -> Completion:
        text = self._vlm.answer(json.loads(body))
        likely = {"1": 0.9, "none": 0.1} if "top_logprobs" in request.options else None
        return Completion(
            key=request.key, text=text, finish_reason="stop", prompt_tokens=10, completion_tokens=5,
            probabilities=likely,
        )  # fmt: skip


def _with_names(value: Any) -> Any:
    """A request's body with each image's name in the place of its bytes."""
    if isinstance(value, dict):
        return {key: _with_names(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_names(inner) for inner in value]
    if isinstance(value, str) and value.startswith("data:image/jpeg;base64,"):
        return content_name(base64.b64decode(value.partition(",")[2]))
    return value
