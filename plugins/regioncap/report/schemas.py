"""JSON schemas of what a build publishes, and the page that explains it, made from the models that write it.

python -m regioncap.report.schemas include/schemas docs/fields.md
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from regioncap.regions.codes import Code
from regioncap.regions.records import Record, Rejected
from regioncap.report.advice import ADVICE
from regioncap.report.figures import REPORT_VERSION, Report
from regioncap.warehouse.inventory import ListedFile
from regioncap.warehouse.manifest import SCHEMA_VERSION, Manifest


@dataclass(frozen=True)
class PublishedFile:
    """A thing that a build publishes: which file holds it, its model, and the version of its form."""

    file: str
    model: type[BaseModel]
    version: str


SCHEMAS = {
    "record": PublishedFile("captions-*.jsonl", Record, SCHEMA_VERSION),
    "rejected": PublishedFile("rejected.jsonl", Rejected, SCHEMA_VERSION),
    "manifest": PublishedFile("_manifest.json", Manifest, SCHEMA_VERSION),
    "files": PublishedFile("_files.jsonl", ListedFile, SCHEMA_VERSION),
    "report": PublishedFile("report.json", Report, REPORT_VERSION),
}

_HEAD = """\
# What every field means

Made by `make schemas` from the code that writes these files; change it there. The same as JSON Schemas:
[include/schemas](../include/schemas). `schema_version` is the version of a file's form; records, rejected rows and the
list of files have that of `_manifest.json`. Its first number changes when a field is renamed, removed or means
something else, its second when one is added. Files are UTF-8; each line of a `.jsonl` file is one object.
"""


def schema_text(name: str) -> str:
    """The schema of a published thing, as the file `<name>.schema.json` holds it."""
    published = SCHEMAS[name]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:regioncap:schema:{name}:{published.version}",
    }
    return json.dumps(head | _schema(published.model), indent=2, ensure_ascii=False) + "\n"


def fields_page() -> str:
    """The page that explains every field, as `docs/fields.md` holds it."""
    return "\n".join([_HEAD, *(part for name in SCHEMAS for part in _section(name)), *_codes()])


def example(model: type[BaseModel]) -> dict[str, Any]:
    """A whole published thing, put together from the examples of its fields."""
    schema = _schema(model)
    return {name: _example(field, schema["$defs"]) for name, field in schema["properties"].items()}


class _InOrder(GenerateJsonSchema):
    """Keys stay in the order in which the models declare them."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        """No sorting."""
        return value


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$defs": {}} | model.model_json_schema(mode="serialization", schema_generator=_InOrder)


def _section(name: str) -> list[str]:
    published = SCHEMAS[name]
    schema = _schema(published.model)
    parts = [
        f"## `{published.file}`\n",
        f"{schema['description']} Version {published.version}.\n",
        *_table(schema),
    ]
    for title, inner in schema["$defs"].items():
        if "properties" in inner:
            parts += [f"### {title}\n", f"{inner['description']}\n", *_table(inner)]
    lines = ",\n ".join(
        f"{json.dumps(field)}: {json.dumps(value, ensure_ascii=False)}"
        for field, value in example(published.model).items()
    )
    return [*parts, "### As a whole\n", f"```json\n{{{lines}}}\n```\n"]


def _table(part: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{name}` | {_kind(field)} | {_cell(field['description'])} | {_shown(field)} |"
        for name, field in part["properties"].items()
    ]
    return ["| field | type | meaning | example |", "| --- | --- | --- | --- |", *rows, ""]


def _shown(field: dict[str, Any]) -> str:
    """A field's example; where it holds another model, that model's table has them."""
    if "examples" not in field:
        return "see below"
    return f"`{_cell(json.dumps(field['examples'][0], ensure_ascii=False))}`"


def _codes() -> list[str]:
    rows = [f"| `{code}` | {_cell(code.meaning)} | {_cell(ADVICE[code])} |" for code in Code]
    return [
        "## Codes\n",
        "Why a row is in `rejected.jsonl` (`code`), why a box is not a region (`dropped_boxes`), what was warned of "
        "(`checks`). Codes are added, never renamed.\n",
        "| code | meaning | what to do |",
        "| --- | --- | --- |",
        *rows,
        "",
    ]


def _example(field: dict[str, Any], defs: dict[str, Any]) -> Any:
    """A value of a field: the one that it declares, else one of what it refers to."""
    if "examples" in field:
        return field["examples"][0]
    if "items" in field:
        return [_example(field["items"], defs)]
    if "anyOf" in field:
        return _example(field["anyOf"][0], defs)
    inner = defs[_referred(field)]
    return {name: _example(of, defs) for name, of in inner["properties"].items()}


def _kind(field: dict[str, Any]) -> str:
    """A field's type, in words."""
    if "$ref" in field:
        return "[code](#codes)" if _referred(field) == Code.__name__ else _referred(field)
    if "anyOf" in field:
        return " or ".join(_kind(option) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    kind = str(field.get("type", "anything"))
    if kind == "array":
        return f"list of {_kind(field['items'])}" if field["items"] else "list"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"object of {_kind(inner)}" if isinstance(inner, dict) else "object"
    return kind


def _referred(field: dict[str, Any]) -> str:
    return str(field["$ref"]).rpartition("/")[2]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write all schemas into the folder, and the page into the file, that are named on the command line."""
    folder, page = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (folder / f"{name}.schema.json").write_text(schema_text(name), encoding="utf-8")
    page.write_text(fields_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
