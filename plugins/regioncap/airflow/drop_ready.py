"""Waits for a drop without holding a worker slot."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from regioncap.airflow.places import DROPS_CONNECTION, briefly, open_drop
from regioncap.drop.drop import Readiness, not_ready
from regioncap.errors import PermanentError


class DropReadyTrigger(BaseTrigger):
    """Fires when the drop is ready, cannot be looked at, or `deadline` (seconds since 1970) has passed.

    The event's payload is {"ready": bool, "reason": str}.
    """

    def __init__(
        self,
        *,
        drops_uri: str,
        date: str,
        readiness: Readiness,
        deadline: float,
        poke_interval: float,
        drops_conn_id: str = DROPS_CONNECTION,
    ) -> None:
        super().__init__()
        self.drops_uri = drops_uri
        self.date = date
        self.readiness = readiness
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.drops_conn_id = drops_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "regioncap.airflow.drop_ready.DropReadyTrigger",
            {
                "drops_uri": self.drops_uri,
                "date": self.date,
                "readiness": self.readiness,
                "deadline": self.deadline,
                "poke_interval": self.poke_interval,
                "drops_conn_id": self.drops_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            try:
                # Storage is read on a thread: one slow bucket must not hold up the triggerer's other triggers.
                reason = await asyncio.to_thread(self._look)
            except PermanentError as error:
                yield TriggerEvent({"ready": False, "reason": str(error)})
                return
            except Exception as error:  # the service may be back before the deadline
                self.log.warning("cannot look at the drop now, trying again: %s", error)
                reason = str(error)
            if reason is None:
                yield TriggerEvent({"ready": True, "reason": ""})
                return
            if time.time() >= self.deadline:
                yield TriggerEvent({"ready": False, "reason": f"the deadline has passed: {reason}"})
                return
            await asyncio.sleep(min(self.poke_interval, max(0.1, self.deadline - time.time())))

    def _look(self) -> str | None:
        # Other triggers wait for the same threads, and there is another look soon.
        with briefly():
            drop = open_drop(self.drops_uri, self.date, self.drops_conn_id)
            return not_ready(drop, self.readiness, drop.now())
