"""docs/security.md: each promise has a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISES = [
    line for line in (ROOT / "docs/security.md").read_text().splitlines() if line.startswith("| ") and "::" in line
]


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[2:60])
def test_a_promise_is_held_by_tests_that_are_there(row: str) -> None:
    held_by = _TEST.findall(row)
    assert held_by and row.count("`tests/") == len(held_by)
    for path, name in held_by:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_every_kind_of_person_is_promised_something() -> None:
    sections = re.split(r"^## ", (ROOT / "docs/security.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(PROMISES) > 25
    others = ["Attacks that were found", "What it is made of"]
    assert [name.splitlines()[0] for name in sections if "| promise | held by |" not in name] == others
