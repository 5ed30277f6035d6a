"""`make backfill`: which dates it takes, and what it says of them beforehand."""

from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.airflow import backfill_request
from deploy.local.backfill import outlook, past_dates


def test_a_range_has_both_its_ends() -> None:
    assert past_dates("2026-02-27", "2026-03-01") == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert past_dates("2026-03-01", "2026-03-01") == ["2026-03-01"]


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2026-03-02", "2026-03-01", "is after"),
        ("", "2026-03-01", "have to be dates, such as"),
        ("2026-02-30", "2026-03-01", "have to be dates, such as"),
        ("2026-03-01", (datetime.now(UTC) + timedelta(days=1)).date().isoformat(), "is not past"),
    ],
)
def test_a_range_that_cannot_be_built_is_refused_with_the_reason(first: str, last: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        past_dates(first, last)


def test_every_date_is_listed_with_what_was_and_what_will_be() -> None:
    runs = [
        {"partition_key": "2026-03-01", "run_type": "scheduled", "state": "failed"},
        {"partition_key": "2026-03-02", "run_type": "scheduled", "state": "failed"},
        {"partition_key": "2026-03-02", "run_type": "backfill", "state": "success"},
    ]
    # Newest first, and only what failed or has no run.
    planned = ["2026-03-03", "2026-03-01"]
    assert outlook(["2026-03-01", "2026-03-02", "2026-03-03"], planned, runs) == [
        ("2026-03-01", "scheduled, failed", "runs as number 2 of 2"),
        ("2026-03-02", "backfill, success", "left alone"),
        ("2026-03-03", "-", "runs as number 1 of 2"),
    ]


def test_a_date_that_the_schedule_leaves_out_is_told_from_one_that_has_a_run() -> None:
    runs = [{"partition_key": "2026-11-27", "run_type": "scheduled", "state": "success"}]
    assert [now for _, _, now in outlook(["2026-11-27", "2026-11-28", "2026-11-30"], ["2026-11-30"], runs)] == [
        "left alone", "not scheduled", "runs as number 1 of 1",
    ]  # fmt: skip


def test_the_last_day_is_part_of_a_backfill_at_whatever_hour_nights_begin() -> None:
    request = backfill_request("dag", "2026-03-01", "2026-03-02", {}, newest_first=True, again="failed")
    assert (request["from_date"], request["to_date"]) == ("2026-03-01T00:00:00Z", "2026-03-02T23:59:59Z")
    assert (request["run_backwards"], request["reprocess_behavior"]) == (True, "failed")
