"""How servers want requests to be written where they do not agree.

All speak OpenAI's chat API, each its own version of it. What a request asks stays the same, so no dialect is part of a
request's key.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from regioncap.vlm.requests import as_schema

Body = dict[str, Any]

# The forms in which an answer that follows a JSON schema is asked for, the most usual first.
FORMS: dict[str, Callable[[Body], Body]] = {
    # OpenAI, vLLM, SGLang, LMDeploy, Ollama, llama.cpp
    "response_format json_schema": as_schema,
    # llama.cpp of 2024, and some hosted APIs
    "response_format json_object with schema": lambda schema: {
        "response_format": {"type": "json_object", "schema": schema}
    },
    # TGI
    "response_format json_object with value": lambda schema: {
        "response_format": {"type": "json_object", "value": schema}
    },
    # vLLM's own since 0.12, and before that
    "structured_outputs": lambda schema: {"structured_outputs": {"json": schema}},
    "guided_json": lambda schema: {"guided_json": schema},
    # llama.cpp's own
    "json_schema": lambda schema: {"json_schema": schema},
}
USUAL_FORM = next(iter(FORMS))

# Fields that a request can do without: what is sampled then is another answer, and no wrong one, or less is told of it.
DISPENSABLE = ("top_k", "repetition_penalty", "seed", "logprobs")
# How servers say that they do not take a field.
_NOT_TAKEN = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|cannot find|cannot be (?:a )?negative|extra (?:inputs|fields)"
    r"|not (?:supported|permitted|allowed|recogni[sz]ed|a valid)|(?:does not|doesn't) support",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Dialect:
    """How a server wants requests to be written.

    `form` is one of `FORMS`, None where the server makes no answer follow a schema; `token_limit` is its name for
    `max_tokens`; `left_out` are the fields that it does not take.
    """

    form: str | None = USUAL_FORM
    token_limit: str = "max_tokens"
    left_out: tuple[str, ...] = ()

    def written(self, body: Body) -> Body:
        """A request's body as this server takes it."""
        written = {
            self.token_limit if name == "max_tokens" else name: value
            for name, value in body.items()
            if name not in self.left_out
        }
        if "response_format" in written and self.form not in (None, USUAL_FORM):
            schema = written.pop("response_format")["json_schema"]["schema"]
            written |= FORMS[str(self.form)](schema)
        return written

    def without(self, refusal: str, sent: Iterable[str]) -> "Dialect | None":
        """The dialect of a server that refuses the fields `sent` in these words; None if none is known."""
        named = [name for name in sent if names(refusal, name)]
        if not _NOT_TAKEN.search(refusal):
            return None
        if "max_tokens" in named:
            return replace(self, token_limit="max_completion_tokens")
        left_out = tuple(name for name in DISPENSABLE if name in named)
        return replace(self, left_out=self.left_out + left_out) if left_out else None


def names(words: str, field: str) -> bool:
    """Whether a server's words name a field of requests."""
    return re.search(rf"(?<![\w-]){re.escape(field)}(?![\w-])", words) is not None
