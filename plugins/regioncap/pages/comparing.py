"""What differs between two builds of a date, as far as a page shows it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from regioncap.pages.builds import SeenBuild
from regioncap.warehouse.compare import Comparison, Difference, differences

SHOWN = 48
_SECONDS = 5.0


@dataclass(frozen=True)
class Compared:
    """The first differences; `whole` says that all records were compared, and that these are all."""

    differences: Sequence[Difference]
    counts: Comparison
    whole: bool


def compare_builds(first: SeenBuild, second: SeenBuild, seconds: float = _SECONDS) -> Compared:
    """Compare two builds for so long, or until there is a page of differences. Raises BuildGoneError."""
    deadline = time.monotonic() + seconds
    counts = Comparison()
    found: list[Difference] = []
    for difference in differences(first.content, second.content, counts):
        if len(found) == SHOWN or time.monotonic() > deadline:
            return Compared(found, counts, whole=False)
        found.append(difference)
    return Compared(found, counts, whole=True)
