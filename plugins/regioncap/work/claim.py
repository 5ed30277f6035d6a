"""Who builds a date: one run at a time, decided by a number that conditional writes hand out, never by a clock.

A run's `plan` takes the claim, and the number goes up by one each time. Later tasks have the number with them, and
check that it is still the latest one: whoever was overtaken is told so, however late it comes. `held` only says
whether somebody has to wait: not for a run that has given the claim back, nor for one that is over.
"""

import logging
import secrets
import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regioncap.errors import ConflictError, NotFoundError, PartitionBusyError, SupersededError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.work.layout import CLAIM

_log = logging.getLogger(__name__)

# A task that works looks so often whether its run was overtaken.
CHECK_SECONDS = 60.0

# Whoever loses the race for a write reads again; nobody loses so often.
_TRIES = 10


class _Claimed(BaseModel):
    """What the claim's file says. It is never deleted: then numbers would be handed out again."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    number: int = Field(ge=1)
    run_id: str
    held: bool


class Claim:
    """A run's claim on a date, in whose work area it is kept. `number` is what the run's `plan` was handed out."""

    def __init__(self, work: Store, run_id: str, number: int) -> None:
        self.number = number
        self._work = work
        self._run_id = run_id
        self._check_at = 0.0

    @classmethod
    def take(cls, work: Store, run_id: str, is_alive: Callable[[str], bool]) -> "Claim":
        """Claim the date under a new number. `is_alive` tells whether the run of an id is not over yet.

        Raises PartitionBusyError while another run that is alive holds it.
        """
        for _ in range(_TRIES):
            claimed, version = _read(work)
            if claimed is not None and claimed.held and claimed.run_id != run_id and is_alive(claimed.run_id):
                raise PartitionBusyError(
                    f"{work.uri} is being built by the run {claimed.run_id}: wait until it is over, or end it"
                )
            mine = _Claimed(number=_next_number(claimed, version), run_id=run_id, held=True)
            if _write(work, mine, version):
                return cls(work, run_id, mine.number)
        raise PartitionBusyError(f"{work.uri}: other runs took the claim {_TRIES} times in a row")

    def check(self) -> None:
        """Make sure that no run has planned the date since, and hold the claim if it was given back.

        Raises SupersededError.
        """
        for _ in range(_TRIES):
            claimed, version = _read(self._work)
            if claimed is None or not self._is_mine(claimed):
                raise SupersededError(self._who_came_after(claimed))
            if claimed.held or _write(self._work, claimed.model_copy(update={"held": True}), version):
                self._check_at = time.monotonic() + CHECK_SECONDS
                return
        raise PartitionBusyError(f"{self._work.uri}: other runs wrote the claim {_TRIES} times in a row")

    def keep(self) -> None:
        """Check if it is time to; cheap enough to call after every row."""
        if time.monotonic() >= self._check_at:
            self.check()

    def release(self) -> None:
        """Let others claim the date, unless one has."""
        claimed, version = _read(self._work)
        if claimed is not None and self._is_mine(claimed) and claimed.held:
            # Where somebody wrote meanwhile, it is claimed anew.
            _write(self._work, claimed.model_copy(update={"held": False}), version)

    def _is_mine(self, claimed: _Claimed) -> bool:
        # Where the file was deleted by hand, numbers begin anew: then the run tells them apart.
        return claimed.number == self.number and claimed.run_id == self._run_id

    def _who_came_after(self, claimed: _Claimed | None) -> str:
        remedy = "clear this run's plan task to build it with these settings"
        if claimed is None:
            return f"who builds {self._work.uri} cannot be told any more: {remedy}"
        who = "this run" if claimed.run_id == self._run_id else f"the run {claimed.run_id}"
        return f"{who} has planned {self._work.uri} since: {remedy}"


def release_of_run(work: Store, run_id: str) -> None:
    """Give back whatever claim the run `run_id` holds."""
    claimed, _ = _read(work)
    if claimed is not None:
        Claim(work, run_id, claimed.number).release()


def who_holds(work: Store) -> str | None:
    """The id of the run that holds the claim, which may be over; None where nobody does."""
    claimed, _ = _read(work)
    return claimed.run_id if claimed is not None and claimed.held else None


def latest_number(work: Store) -> int:
    """The number of the latest claim, 0 where there is none: it goes up whenever a run plans the date."""
    claimed, _ = _read(work)
    return claimed.number if claimed is not None else 0


def _read(work: Store) -> tuple[_Claimed | None, str | None]:
    """What the file says, and its version. One that is damaged is nobody's claim."""
    try:
        # The version is read first: if the file changes in between, `replace` is refused.
        version = work.stat(CLAIM).version
        return _Claimed.model_validate_json(work.read(CLAIM)), version
    except NotFoundError:
        return None, None
    except ValidationError as error:
        _log.warning("%s", unreadable(f"{work.uri}/{CLAIM}", error, "it is nobody's claim"))
        return None, version


def _next_number(claimed: _Claimed | None, version: str | None) -> int:
    """The number after the latest one; where a damaged file no longer says which that was, one that nobody had."""
    if claimed is not None:
        return claimed.number + 1
    return 1 if version is None else secrets.randbits(40) + 2


def _write(work: Store, claimed: _Claimed, version: str | None) -> bool:
    """Whether it could be written: not where somebody else wrote meanwhile."""
    try:
        work.replace(CLAIM, claimed.model_dump_json().encode(), version)
    except ConflictError:
        return False
    return True
