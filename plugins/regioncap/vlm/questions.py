"""A question to the VLM: what is sent, and the hash that it is known by."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from regioncap.builds.settings import BuildSettings
from regioncap.regions.jsonl import canonical
from regioncap.regions.prompts import answer_schema, system_message, user_prompt


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


def question(marked: str, regions: int, settings: BuildSettings, model: str, ask_again: str = "") -> Question:
    """The question about a marked image (named by its content hash) with regions 1..`regions`.

    `ask_again` sets the question apart from equal ones that were asked before.
    """
    system = system_message(settings.system_prompt, settings.answer_format, regions, settings.prompt_language)
    prompt = user_prompt(settings.prompt_template, regions)
    options: dict[str, Any] = {
        "model": model,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
        # vLLM's own sampling parameters, which the OpenAI client passes on as they are.
        "extra_body": {"top_k": settings.top_k, "repetition_penalty": settings.repetition_penalty},
    }
    if settings.answer_format == "structured":
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "regions", "strict": True, "schema": answer_schema(regions)},
        }
    identity = {"marked": marked, "system": system, "prompt": prompt, "options": options, "ask_again": ask_again}
    return Question(hashlib.sha256(canonical(identity)).hexdigest()[:32], marked, system, prompt, options)
