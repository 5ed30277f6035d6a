"""A request to the VLM: what is sent."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image

# What no model says when it is greeted. A string by itself: between the parts of an object JSON allows white space, and
# some models go on with it until they are stopped.
PROBED = '"structured"'
_PROBE = {
    "messages": [{"role": "user", "content": "Good morning!"}],
    "temperature": 0,
    "max_tokens": 64,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "probe", "strict": True, "schema": {"type": "string", "enum": ["structured"]}},
    },
}


@dataclass(frozen=True)
class Part:
    """A piece of the user's message: a text, or an image, named by the hash of its JPEG."""

    kind: Literal["image", "text"]
    value: str


@dataclass(frozen=True)
class ChatRequest:
    """A chat request, without the images.

    `key` is a hash of everything that is sent, images by their content hash, so the same key means the same request:
    no position, no try number. `about` is not sent: it goes with the completion.
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


def schema_probe(model: str) -> bytes:
    """The body of a small request that a server which goes by JSON schemas answers with `PROBED`."""
    return json.dumps({**_PROBE, "model": model}).encode()


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
