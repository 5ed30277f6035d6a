"""Which date a run builds: the param, else the partition key, else the logical date."""

from datetime import UTC, datetime

import pytest

from regioncap.drop.dates import resolve_drop_date
from regioncap.errors import DropDateError

LOGICAL = datetime(2026, 10, 7, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("param", "partition_key", "logical_date", "date"),
    [
        ("2026-10-05", None, LOGICAL, "2026-10-05"),
        (None, "2026-10-06", LOGICAL, "2026-10-06"),
        ("", "2026-10-06", None, "2026-10-06"),
        (None, None, LOGICAL, "2026-10-07"),
        ("2026-10-05", "2026-10-05", None, "2026-10-05"),
        ("2024-02-29", None, None, "2024-02-29"),
    ],
)
def test_the_first_that_is_given_counts(
    param: str | None, partition_key: str | None, logical_date: datetime | None, date: str
) -> None:
    assert resolve_drop_date(param, partition_key, logical_date) == date


@pytest.mark.parametrize(
    "value", ["yesterday", "2026-13-01", "2025-02-29", "2026-1-1", "20261005", "2026-10-05/..", "٢٠٢٦-10-05"]
)
def test_what_is_no_date_is_refused(value: str) -> None:
    with pytest.raises(DropDateError, match="write it as YYYY-MM-DD"):
        resolve_drop_date(value, None, None)
    with pytest.raises(DropDateError, match="the partition key"):
        resolve_drop_date(None, value, None)


def test_two_different_dates_are_refused() -> None:
    with pytest.raises(DropDateError, match=r"says 2026-10-05.*says 2026-10-06"):
        resolve_drop_date("2026-10-05", "2026-10-06", LOGICAL)


def test_no_date_at_all_says_how_to_give_one() -> None:
    with pytest.raises(DropDateError, match="set the param drop_date"):
        resolve_drop_date(None, None, None)
