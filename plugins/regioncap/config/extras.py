"""What a run may add to every request: fields of a server's own, and nothing that has a param already."""

import json
import re
from collections.abc import Iterator
from typing import Any

_SCHEMA = "the form of answers is set by answer_format"
_ONE_ANSWER = "each request gets one answer, at once"
_SIZE = "images have the size that they are marked at: set max_pixels"
# Fields that RegionCap sets, and what to set instead.
_TAKEN = {
    "messages": "what is asked is set by prompt and system_prompt",
    "model": "the model is set in the connection",
    "max_tokens": "set the param max_tokens",
    "max_completion_tokens": "set the param max_tokens",
    "temperature": "set the param temperature",
    "seed": "set the param seed",
    "response_format": _SCHEMA,
    "structured_outputs": _SCHEMA,
    "json_schema": _SCHEMA,
    "grammar": _SCHEMA,
    "ebnf": _SCHEMA,
    "regex": _SCHEMA,
    "tools": _SCHEMA,
    "n": _ONE_ANSWER,
    "stream": _ONE_ANSWER,
    "mm_processor_kwargs": _SIZE,
    "media_io_kwargs": _SIZE,
}
_GUIDED = re.compile(r"guided_\w+")
_SECRET = re.compile(r"api[_-]?key|secret|passw|authorization|(access|auth|bearer)[_-]?token", re.IGNORECASE)


def check_extras(extras: dict[str, Any]) -> None:
    """Raises ValueError where these are no extras of a request: the message says what to set instead."""
    for name in extras:
        instead = _SCHEMA if _GUIDED.fullmatch(name) else _TAKEN.get(name)
        if instead:
            raise ValueError(f"{name!r} is no extra: {instead}")
        if not name:
            raise ValueError("a field has no name")
    if any(map(_SECRET.search, _names(extras))):
        raise ValueError(
            "something in it is named as a secret is: params are shown to everybody who sees the run, so put the API "
            "key into the password of the connection"
        )
    try:
        json.dumps(extras, allow_nan=False)
    except ValueError:
        raise ValueError("a number in it is not finite") from None


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(item)
