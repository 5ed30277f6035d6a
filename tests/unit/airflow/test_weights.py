"""Who goes first: nightly runs, then those that somebody waits for, late drops, and backfills."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.airflow.late_dates import run_id
from regioncap.airflow.weights import weight

# As Airflow names runs.
NIGHTLY = "scheduled__2026-11-24T00:00:00+00:00__2026-11-23__aB3xY"
MANUAL = "manual__2026-11-24T09:30:00.123456+00:00_k2Lm"
LATE = run_id("2026-11-20", "2026-11-23")
BACKFILL = "backfill__2026-10-02T00:00:00+00:00__2026-10-01__Zz9"


def test_nightly_runs_go_first_then_manual_ones_then_late_drops_then_backfills() -> None:
    # Whatever task it is: the last one of a backfill comes after the first one of a late drop.
    for first, second in pairwise([NIGHTLY, MANUAL, LATE, BACKFILL]):
        assert weight(first, 0) > weight(second, 12)


def test_a_run_whose_id_the_user_has_chosen_is_a_manual_one() -> None:
    assert weight(NIGHTLY, 0) > weight("for-the-demo", 5) > weight(LATE, 5)
    assert weight("for-the-demo", 5) // 100_000_000 == weight(MANUAL, 5) // 100_000_000


def test_what_is_begun_is_finished_before_another_run_of_its_kind_begins() -> None:
    assert weight(MANUAL, 5) > weight("manual__2026-11-01T09:30:00+00:00", 4)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (NIGHTLY, NIGHTLY.replace("11-2", "11-3")),
        (MANUAL, MANUAL.replace("T09", "T10")),
        (LATE, run_id("2026-11-21", "2026-11-23")),
    ],
)
def test_of_two_runs_of_a_kind_the_one_that_is_due_longer_goes_first(older: str, newer: str) -> None:
    assert weight(older, 3) > weight(newer, 3)


def test_the_order_of_a_backfill_is_that_in_which_its_runs_start() -> None:
    assert weight(BACKFILL, 3) == weight(BACKFILL.replace("10-02", "10-09"), 3)


@given(st.text(), st.integers(0, 10_000))
def test_every_weight_fits_into_32_bits(run: str, depth: int) -> None:
    for name in (
        run,
        f"scheduled__{run}",
        f"scheduled__9999-99-99{run}",
        "scheduled__0001-01-01",
        "manual__9999-12-31",
    ):
        assert 0 <= weight(name, depth) < 2**31
