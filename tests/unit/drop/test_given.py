"""Labels and other fields of rows."""

import datetime
import decimal
import json
from typing import Any

import pytest

from regioncap.drop.given import MAX_LABEL, given_labels, kept_fields

TWO = [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        (["cat", None], ["cat", None]),
        ([3, "dog"], ["3", "dog"]),
        (["cat\x00\n\tof  Rome", "\u202egod"], ["cat of Rome", "god"]),
        ([{"name": "cat"}, True], None),
        (["x" * 5000, ""], ["x" * (MAX_LABEL - 1) + "…", None]),
        ('["cat", "dog"]', ["cat", "dog"]),
        (["\ud800cat", "dog"], ["���cat", "dog"]),
        (None, None),
        ("", None),
        (float("nan"), None),
    ],
)
def test_a_label_is_short_text_that_can_be_seen(given: Any, labels: list[str | None] | None) -> None:
    assert given_labels({"labels": given}, TWO) == labels


@pytest.mark.parametrize("given", [["cat"], ["a", "b", "c"], "cat", {"1": "cat"}, 7, "[not JSON", [], True])
def test_labels_that_are_not_one_for_each_box_are_none_of_its_labels(given: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON text|each box"):
        given_labels({"labels": given}, TWO)


def test_fields_are_kept_as_they_are_where_tables_have_such_values_and_as_text_elsewhere() -> None:
    row = {
        "image": "a.jpg", "n": 1, "share": 0.5, "good": True, "said": "ü", "none": None, "nan": float("nan"),
        "list": [1, "ü"], "object": {"a": [None]}, "large": 2**70, "half\ud800": "\ud800", "inf": float("inf"),
    }  # fmt: skip
    kept = kept_fields(row, ("*",), {"image"})
    assert kept == {
        "n": 1, "share": 0.5, "good": True, "said": "ü", "none": None, "nan": None,
        "list": '[1, "ü"]', "object": '{"a": [null]}', "large": str(2**70), "half���": "���", "inf": None,
    }  # fmt: skip
    assert type(kept["good"]) is bool
    json.dumps(kept, allow_nan=False).encode()


def test_what_tables_have_beside_is_text_of_what_it_holds() -> None:
    row = {
        "hash": 2**64 - 1, "low": -(2**63), "lower": -(2**63) - 1, "name": "é".encode(), "raw": b"\xff\0",
        "map": [("a", 1), ("b", None)], "names": [b"x", (1, 2)], "day": datetime.date(2026, 10, 5),
        "price": decimal.Decimal("1.50"),
    }  # fmt: skip
    assert kept_fields(row, ("*",), ()) == {
        "hash": 2**64 - 1, "low": -(2**63), "lower": str(-(2**63) - 1), "name": "é", "raw": "/wA=",
        "map": '[["a", 1], ["b", null]]', "names": '["x", [1, 2]]', "day": "2026-10-05", "price": "1.50",
    }  # fmt: skip


def test_named_fields_are_there_in_every_row() -> None:
    assert kept_fields({"a": 1}, ("b", "a"), ()) == {"b": None, "a": 1}
    assert kept_fields({"a": 1}, (), ()) is None
