"""JSON lines, read leniently and written strictly."""

import base64
import json
import math
from typing import Any

from pydantic import BaseModel

# Made once: making one takes as long as writing a short line.
_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)


def clean(value: Any) -> Any:
    """Make any value that a manifest can hold writable as strict JSON in UTF-8.

    NaN and infinities become the strings "NaN", "Infinity" and "-Infinity"; a lone surrogate becomes U+FFFD. Bytes are
    their text, or base64 where they are none in UTF-8.
    """
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        # Most of a manifest is numbers, and a call for each would take a tenth of all the time of `plan`.
        return [
            item if type(item) is int or (type(item) is float and math.isfinite(item)) else clean(item)
            for item in value
        ]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return str(value)  # a Parquet manifest can hold dates, decimals


def line(value: BaseModel | dict[str, Any]) -> bytes:
    """One JSON line, newline included. Keys keep their order, so the same value gives the same bytes."""
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return _LINE.encode(data).encode() + b"\n"


def canonical(value: Any) -> bytes:
    """The bytes that stand for `value` in a content hash: sorted keys, no white space, ASCII."""
    return _CANONICAL.encode(value).encode()
