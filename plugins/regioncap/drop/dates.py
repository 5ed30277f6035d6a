"""Which drop date a run builds: resolved here and nowhere else."""

import re
from datetime import date, datetime

from regioncap.errors import DropDateError


def resolve_drop_date(param: str | None, partition_key: str | None, logical_date: datetime | None) -> str:
    """The run's drop date as YYYY-MM-DD: the param, else the partition key, else the logical date.

    Raises DropDateError where none is given, one is no date, or param and partition key differ.
    """
    chosen = _checked(param, "the param drop_date") if param else None
    partition = _checked(partition_key, "the partition key") if partition_key else None
    if chosen and partition and chosen != partition:
        raise DropDateError(
            f"the param drop_date says {chosen}, the run's partition key says {partition}: "
            "give one of them, or the same"
        )
    resolved = chosen or partition or (logical_date.date().isoformat() if logical_date else None)
    if resolved is None:
        raise DropDateError(
            "this run has no drop date: set the param drop_date to a date such as 2026-10-05, "
            "or trigger the run with a partition key"
        )
    return resolved


def _checked(value: str, what: str) -> str:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise DropDateError(f"{what} is {value!r}, which is no date: write it as YYYY-MM-DD, such as 2026-10-05")
