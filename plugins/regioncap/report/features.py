"""The types of a record's fields, as the `datasets` library writes them in a card.

Without them it takes the types of the first file's first rows, and fails at a later one where a list has something in
it for the first time, or a number its first decimals.
"""

from typing import Any

from regioncap.regions.records import Record

_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
# Of any shape, from row to row.
_ANY = {"dtype": "json"}


def features() -> list[dict[str, Any]]:
    """One entry for each field of a record, in their order."""
    schema = Record.model_json_schema(mode="serialization")
    return _fields(schema, schema.get("$defs", {}))


def _fields(schema: dict[str, Any], known: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, **_feature(field, known)} for name, field in schema["properties"].items()]


def _feature(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return _feature(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        found = [_feature(each, known) for each in schema["anyOf"] if each.get("type") != "null"]
        # A number is a float where it may have decimals.
        return {"dtype": "float64"} if {"dtype": "float64"} in found else found[0]
    kind = schema.get("type")
    if kind == "array" and schema.get("items"):
        inner = _feature(schema["items"], known)
        # As `datasets` writes a list: of its items' type, or their fields.
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    if kind == "object" and "properties" in schema:
        return {"struct": _fields(schema, known)}
    return {"dtype": _SCALARS[kind]} if kind in _SCALARS else _ANY
