"""Which dates a nightly run builds after all, beside its own."""

from regioncap.airflow.late_dates import late_dates, run_id


def test_late_dates_are_those_of_the_days_before_oldest_first() -> None:
    assert late_dates("2026-03-02", 3, lambda date: True) == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert late_dates("2026-03-02", 3, lambda date: date == "2026-02-28") == ["2026-02-28"]


def test_with_no_days_nothing_is_looked_at() -> None:
    looked_at: list[str] = []
    assert late_dates("2026-03-02", 0, lambda date: bool(looked_at.append(date))) == []
    assert looked_at == []


def test_a_date_gets_one_run_a_night_whoever_tries_again() -> None:
    assert run_id("2026-02-28", "2026-03-02") == run_id("2026-02-28", "2026-03-02")
    assert run_id("2026-02-28", "2026-03-02") != run_id("2026-02-28", "2026-03-03")
