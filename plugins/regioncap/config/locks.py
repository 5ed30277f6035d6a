"""Params that a deployment does not leave to whoever starts a run: fixed values, and bounds.

A lock is a value, which is then the param's only one, or an object of bounds in the words of JSON schema.
"""

from collections.abc import Mapping
from typing import Any

BOUNDS = ("minimum", "maximum", "enum")


def is_fixed(lock: Any) -> bool:
    """Whether the lock is the param's value, and no object of bounds."""
    return not (isinstance(lock, Mapping) and lock and lock.keys() <= {*BOUNDS})


def locked(schema: Mapping[str, Any], lock: Any) -> dict[str, Any]:
    """A param's JSON schema with the lock in it: what the param could not be before, it cannot be now."""
    if is_fixed(lock):
        # An emptied field of the form is sent as null.
        empty = [None] if not lock and "null" in schema.get("type", ()) else []
        return {**schema, "enum": [*_allowed([lock], schema), *empty]}
    changed = dict(schema)
    if "minimum" in lock:
        changed["minimum"] = max(lock["minimum"], schema.get("minimum", lock["minimum"]))
    if "maximum" in lock:
        changed["maximum"] = min(lock["maximum"], schema.get("maximum", lock["maximum"]))
    if "enum" in lock:
        changed["enum"] = _allowed(lock["enum"], schema)
    if isinstance(schema.get("type"), list):
        # No number at all is no number within bounds.
        changed["type"] = [name for name in schema["type"] if name != "null"]
    return changed


def _allowed(values: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    return [value for value in values if value in schema.get("enum", values)]


def told(lock: Any) -> str:
    """What the form says of it."""
    if is_fixed(lock):
        return "Fixed by this deployment."
    return "Bounded by this deployment."
