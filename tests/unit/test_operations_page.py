"""docs/operations.md: what can go wrong in a year was tried, by tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SECTION = re.search(
    r"^## What can go wrong in a year\n(.*?)^##", (ROOT / "docs/operations.md").read_text(), re.MULTILINE | re.DOTALL
)
FAILURES = [line for line in (_SECTION[1] if _SECTION else "").splitlines() if line.startswith("| ")][2:]


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.split("|")[1].strip())
def test_each_failure_says_what_one_sees_and_which_tests_tried_it(row: str) -> None:
    what, becomes, seen, tried = (cell.strip() for cell in row.strip("|").split("|"))
    assert what and becomes and seen
    tests = re.findall(r"`(\w+/[\w/]+\.py)`", tried)
    assert tests
    for test in tests:
        assert (ROOT / "tests" / test).is_file(), test


def test_all_of_a_year_is_there() -> None:
    assert len(FAILURES) == 19
