"""Publishing without end, in a process of its own that a test kills."""

import os
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deploy.local import bucket
from deploy.local.credentials import Credentials
from regioncap.errors import CommitRefusedError
from regioncap.steps.publish import publish_build
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.manifest import current
from regioncap.work.plan import Plan

REFUSED = "refused"


@dataclass(frozen=True)
class Task:
    """What to publish, in turn: `plans` of the work area at the prefix `work`, to `partition`."""

    port: int
    credentials: Credentials
    work: str
    partition: str
    plans: list[str]
    grace: timedelta


def publish_forever(task: Task, log: Path) -> None:
    """Appends to `log` the id of each build that it published, REFUSED, or what went wrong."""
    s3 = bucket.client(task.port, task.credentials)
    work, partition = S3Store(s3, "warehouse", task.work), S3Store(s3, "warehouse", task.partition)
    plans = [Plan.load(work, name) for name in task.plans]
    with log.open("a", buffering=1) as said:
        # The process that it was forked from goes with the test's own, and no loop is left behind.
        parent = os.getppid()
        while os.getppid() == parent:
            published, _ = current(partition)
            at = task.plans.index(published.plan_id) if published else -1
            try:
                done = publish_build(
                    plan=plans[(at + 1) % len(plans)], drop=work, work=work, partition=partition, grace=task.grace,
                    progress=lambda message: None,
                )  # fmt: skip
                said.write(done.manifest.build_id + "\n")
            except CommitRefusedError:
                said.write(REFUSED + "\n")
            except Exception:
                said.write(traceback.format_exc())
