"""The shipped schemas say what is published, and strangers' tools can use them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from regioncap.regions.codes import Code
from regioncap.regions.records import Record
from regioncap.report.schemas import SCHEMAS, example, fields_page, schema_text
from regioncap.warehouse.manifest import current
from tests.builders import ORIGINAL_FIELDS, ROOT, Place, describe


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_shipped_schema_is_that_of_the_code(name: str) -> None:
    shipped = (ROOT / "include" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(name), "run `make schemas`"


def test_the_shipped_page_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "fields.md").read_text(encoding="utf-8") == fields_page(), "run `make schemas`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_says_its_version(name: str) -> None:
    schema = json.loads(schema_text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert schema["$id"] == f"urn:regioncap:schema:{name}:{SCHEMAS[name].version}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_explained_and_has_an_example(name: str) -> None:
    for field, declared in _fields(json.loads(schema_text(name))):
        assert declared.get("description"), field
        assert "examples" in declared or "$ref" in json.dumps(declared), field
        assert f"| `{field}` |" in fields_page()


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_examples_make_up_a_valid_whole(name: str) -> None:
    whole = example(SCHEMAS[name].model)
    jsonschema.validate(whole, json.loads(schema_text(name)))
    SCHEMAS[name].model.model_validate(whole)


def test_what_a_build_publishes_follows_the_schemas(place: Place) -> None:
    place.good_rows(2)
    place.put_rows({"image": "0.jpg", "bbox": [[10, 10, 40, 30], [900, 900, 5, 5]]}, {"image": "none.jpg"}, "{")
    place.build(describe)
    manifest, _ = current(place.partition)
    assert manifest is not None
    lines = {
        "record": [line for entry in manifest.captions for line in place.partition.read(entry.path).splitlines()],
        "rejected": place.partition.read(manifest.rejected.path).splitlines(),
        "manifest": [place.partition.read("_manifest.json")],
        "files": place.published("_files.jsonl").encode().splitlines(),
        "report": [place.published("report.json").encode()],
    }
    for name, texts in lines.items():
        assert texts
        for text in texts:
            jsonschema.validate(json.loads(text), json.loads(schema_text(name)))


def test_a_record_begins_with_the_original_nine_fields() -> None:
    assert list(Record.model_fields)[:9] == ORIGINAL_FIELDS
    schema = json.loads(schema_text("record"))
    assert set(ORIGINAL_FIELDS) <= set(schema["required"])


def test_every_code_says_what_it_means() -> None:
    assert all(code.meaning and f"| `{code}` |" in fields_page() for code in Code)


def _fields(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    parts = [schema, *schema["$defs"].values()]
    return [item for part in parts for item in part.get("properties", {}).items()]
