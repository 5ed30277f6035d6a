"""A question to the VLM: what is sent."""

import base64
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """A chat request about one marked image, without the image's bytes.

    `key` is a hash of the marked image's content hash and of everything else that is sent, so the same key means the
    same question: no position, no try number.
    """

    key: str
    marked: str
    system: str
    prompt: str
    options: dict[str, Any]

    def request(self, jpeg: bytes) -> dict[str, Any]:
        """The body of the chat completion request. The image goes before the text, where vLLM can reuse its prefix."""
        image = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        return {
            **self.options,
            "messages": [
                {"role": "system", "content": self.system},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": image}},
                        {"type": "text", "text": self.prompt},
                    ],
                },
            ],
        }
