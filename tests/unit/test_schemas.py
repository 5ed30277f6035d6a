"""The shipped schemas say what is published, and strangers' tools can use them."""

import json

import jsonschema
import pytest

from regioncap.builds.schemas import SCHEMAS, schema_text
from regioncap.regions.records import Record
from tests.builders import ORIGINAL_FIELDS, ROOT


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_shipped_schema_is_that_of_the_code(name: str) -> None:
    shipped = (ROOT / "include" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text(name), "run `make schemas`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_explains_its_fields(name: str) -> None:
    schema = json.loads(schema_text(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


def test_a_record_begins_with_the_original_nine_fields() -> None:
    assert list(Record.model_fields)[:9] == ORIGINAL_FIELDS
    schema = json.loads(schema_text("record"))
    assert set(ORIGINAL_FIELDS) <= set(schema["required"])
