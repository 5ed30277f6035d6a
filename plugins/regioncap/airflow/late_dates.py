"""Which drops came too late for their own night."""

from collections.abc import Callable
from datetime import date, timedelta


def late_dates(tonight: str, days: int, is_late: Callable[[str], bool]) -> list[str]:
    """Those of the `days` dates before `tonight` that `is_late` says are to be built, oldest first."""
    last = date.fromisoformat(tonight)
    before = [(last - timedelta(days=back)).isoformat() for back in range(days, 0, -1)]
    return [day for day in before if is_late(day)]


def run_id(day: str, tonight: str) -> str:
    """The id of the run that makes up for a late drop: there is one for a date and a night, whoever tries again."""
    return f"late__{day}__{tonight}"
