"""What a build is made from: rows, images and all that shapes it, but not the model's answers.

Two builds of the same are one to a person who has taken back one of them, whatever the model said each time.
"""

import hashlib
from collections.abc import Sequence

from regioncap.regions.jsonl import canonical
from regioncap.regions.records import PlannedRow
from regioncap.work.plan import Plan

# Where in the drop a row stands makes no other record of it.
_PLACE = {"manifest", "line"}


class MadeFrom:
    """A hash over a shard's rows, in order, and what decides what becomes of each."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, row: PlannedRow, decided_by: str) -> None:
        """Note a row with the SHA-256 of its image, or with why it is rejected, whatever the model says."""
        self._digest.update(canonical([row.model_dump(exclude=_PLACE), decided_by]))

    def hexdigest(self) -> str:
        """The hash so far."""
        return self._digest.hexdigest()


def made_from(identity: str, plan: Plan, shards: Sequence[str | None]) -> str | None:
    """The hash of what a plan's build, of this identity, is made from; `shards` are those of its shards, in order.

    None where one of them was rendered before this was noted.
    """
    if None in shards:
        return None
    return hashlib.sha256(canonical([identity, plan.drop_uri, plan.rejected_rows, shards])).hexdigest()
