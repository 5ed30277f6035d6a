"""A request to the VLM: what is sent."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image

# A small question that every model answers, in few tokens or in as many as it is given.
GREETING: dict[str, Any] = {"messages": [{"role": "user", "content": "Good morning!"}], "max_tokens": 64}

# The field by which vLLM has an answer be one of several.
CHOICE = "structured_outputs"


@dataclass(frozen=True)
class Part:
    """A piece of the user's message: a text, or an image, named by the hash of its JPEG."""

    kind: Literal["image", "text"]
    value: str


@dataclass(frozen=True)
class ChatRequest:
    """A chat request, without the images.

    `key` is a hash of everything that is sent, images by their content hash, so the same key means the same request:
    no position, no try number, nor what is only to be told beside the answer. `about` is not sent: it goes with the
    completion.
    """

    key: str
    system: str
    parts: tuple[Part, ...]
    options: dict[str, Any]
    about: str = ""

    @property
    def images(self) -> list[str]:
        """The names of the images that are sent, in order."""
        return [part.value for part in self.parts if part.kind == "image"]

    def body(self, urls: Mapping[str, str]) -> dict[str, Any]:
        """The body of the chat completion request; `urls` maps the images' names to their URLs."""
        return {
            **self.options,
            "messages": [
                {"role": "system", "content": self.system},
                {"role": "user", "content": [_content(part, urls) for part in self.parts]},
            ],
        }


def as_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """What a request has where its answer has to follow a JSON schema, as OpenAI's API has it."""
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "regions", "strict": True, "schema": schema},
        }
    }


def as_choice(choices: Sequence[str]) -> dict[str, Any]:
    """What a request has that is answered with one token, one of the choices, and the probability of each.

    As vLLM has it: there the probabilities are of the choices alone.
    """
    return {
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": True,
        # As many as servers give; there are ten choices at most.
        "top_logprobs": 20,
        CHOICE: {"choice": list(choices)},
    }


def data_url(jpeg: bytes) -> str:
    """A JPEG as a URL that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


@cache
def plain_picture() -> bytes:
    """A grey JPEG of 256 x 256 pixels: a size that every model takes, with nothing in it."""
    stream = io.BytesIO()
    Image.new("RGB", (256, 256), (128, 128, 128)).save(stream, "JPEG")
    return stream.getvalue()


def _content(part: Part, urls: Mapping[str, str]) -> dict[str, Any]:
    if part.kind == "text":
        return {"type": "text", "text": part.value}
    return {"type": "image_url", "image_url": {"url": urls[part.value]}}
