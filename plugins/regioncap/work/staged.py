"""A build that is written and checked, and waits for somebody's approval."""

import logging

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap.errors import NotFoundError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import Manifest
from regioncap.work import layout

_log = logging.getLogger(__name__)


class Staged(BaseModel):
    """A build that is written and checked, and that nobody sees yet.

    `version` is that of the partition's manifest when it was begun; `warnings` are what is unusual about the build.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    manifest: Manifest
    version: str | None
    warnings: list[str]
    approved: bool = False

    def save(self, work: Store) -> None:
        """Keep it in the work area, rooted at the build's date, until somebody has decided."""
        work.write(layout.staged_path(self.manifest.plan_id), self.model_dump_json(indent=2).encode())

    @classmethod
    def load(cls, work: Store, plan_id: str) -> "Staged | None":
        """What was kept of a plan; None where nothing was, or nothing that can be read: then nobody has approved it."""
        path = layout.staged_path(plan_id)
        try:
            return cls.model_validate_json(work.read(path))
        except NotFoundError:
            return None
        except ValidationError as error:
            _log.warning("%s", unreadable(f"{work.uri}/{path}", error, "the build is written and asked about anew"))
            return None


def was_somebody_asked(work: Store) -> bool:
    """Whether a build of the date, in whose work area this is, waits for a person's approval or was refused it."""
    return any(entry.path.endswith("/staged.json") for entry in work.list("plans/"))
