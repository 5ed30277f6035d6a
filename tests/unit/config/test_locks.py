"""What of a param a deployment fixes or bounds."""

from typing import Any

import pytest

from regioncap.config.locks import is_fixed, locked

NUMBER = {"type": ["integer", "null"], "minimum": 1, "maximum": 50}


@pytest.mark.parametrize(
    ("lock", "fixed"),
    [("always", True), (None, True), ({}, True), ({"top_k": 1}, True), ({"maximum": 3}, False), ({"enum": []}, False)],
)
def test_a_value_fixes_and_an_object_of_bounds_bounds(lock: Any, fixed: bool) -> None:
    assert is_fixed(lock) is fixed


@pytest.mark.parametrize(
    ("schema", "lock", "changed"),
    [
        (NUMBER, {"maximum": 9}, {"type": ["integer"], "minimum": 1, "maximum": 9}),
        (NUMBER, {"minimum": 0, "maximum": 99}, {"type": ["integer"], "minimum": 1, "maximum": 50}),
        (NUMBER, 7, {**NUMBER, "enum": [7]}),
        ({"type": "string", "enum": ["a", "b"]}, {"enum": ["b", "c"]}, {"type": "string", "enum": ["b"]}),
        ({"type": "string", "enum": ["a", "b"]}, "c", {"type": "string", "enum": []}),
        ({"type": ["string", "null"]}, "", {"type": ["string", "null"], "enum": ["", None]}),
    ],
)
def test_a_lock_allows_nothing_that_the_param_does_not(schema: Any, lock: Any, changed: Any) -> None:
    assert locked(schema, lock) == changed
