"""One run at a time works on a partition: a lease in the work area, which expires when its holder is gone."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regioncap.errors import ConflictError, NotFoundError, PartitionBusyError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.work.layout import LEASE

_log = logging.getLogger(__name__)

# Every task of a run renews the lease while it works; a run that says nothing for so long is taken for dead.
LEASE_SECONDS = 15 * 60.0


class _Held(BaseModel):
    """What the lease's file says. `expires_at` is in seconds since 1970."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run_id: str
    # Up to the year 9999: a later one cannot even be told.
    expires_at: float = Field(ge=0, lt=253_402_300_800, allow_inf_nan=False)


class Lease:
    """The lease on one partition's work area, held in the name of a run. Taking it again renews it."""

    def __init__(self, work: Store, run_id: str, clock: Callable[[], float] = time.time) -> None:
        self._work = work
        self._run_id = run_id
        self._clock = clock
        self._renew_at = 0.0

    def take(self) -> None:
        """Take or renew the lease. Raises PartitionBusyError while another run holds it."""
        now = self._clock()
        holder, expires, version = self._read()
        if holder not in (None, self._run_id) and expires > now:
            until = datetime.fromtimestamp(expires, UTC).strftime("%H:%M:%S UTC")
            raise PartitionBusyError(
                f"{self._work.uri} is being built by the run {holder}, whose lease ends at {until} unless it is "
                "renewed: wait for that run, or let this one be retried"
            )
        held = _Held(run_id=self._run_id, expires_at=now + LEASE_SECONDS)
        try:
            self._work.replace(LEASE, held.model_dump_json().encode(), version)
        except ConflictError:
            # Tasks of our own run renew at the same time, and any of them will do.
            if self._read()[0] != self._run_id:
                raise PartitionBusyError(f"{self._work.uri}: another run took the lease just now") from None
        self._renew_at = now + LEASE_SECONDS / 5

    def keep(self) -> None:
        """Renew the lease if it is time to; cheap enough to call after every row."""
        if self._clock() >= self._renew_at:
            self.take()

    def is_held(self) -> bool:
        """Whether any run holds the lease now."""
        holder, expires, _ = self._read()
        return holder is not None and expires > self._clock()

    def release(self) -> None:
        """Give the lease back if this run holds it."""
        if self._read()[0] == self._run_id:
            self._work.delete(LEASE)

    def _read(self) -> tuple[str | None, float, str | None]:
        """Who holds it, until when, and the file's version. One that is damaged is held by nobody."""
        try:
            # The version is read first: if the lease changes in between, `replace` is refused.
            version = self._work.stat(LEASE).version
            held = _Held.model_validate_json(self._work.read(LEASE))
        except NotFoundError:
            return None, 0.0, None
        except ValidationError as error:
            _log.warning("%s", unreadable(f"{self._work.uri}/{LEASE}", error, "it is held by nobody"))
            return None, 0.0, version
        return held.run_id, held.expires_at, version
