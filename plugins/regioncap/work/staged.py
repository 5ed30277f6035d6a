"""A build that is written and checked, and waits to be published, mostly for somebody's approval."""

import logging
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from regioncap.errors import NotFoundError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.warehouse.manifest import Manifest
from regioncap.work import layout

_log = logging.getLogger(__name__)


class Staged(BaseModel):
    """A build that is written and checked, and that nobody sees yet.

    `begun_under` is the state of the partition's manifest when it was begun (see `state_of`): while it holds, the build
    can become the current one. `warnings` are what is unusual about the build; `asked` says whether a person is asked
    about it, as was always so in version 1.0.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    manifest: Manifest
    begun_under: str | None
    warnings: list[str]
    asked: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_version_1_0(cls, data: Any) -> Any:
        # It noted the version of the manifest's file instead. Without one, nothing was published yet; with one, the
        # state cannot be told, so the build is written anew.
        return {"begun_under": None} | data if isinstance(data, dict) and data.get("version", "") is None else data

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

    @staticmethod
    def discard(work: Store, plan_id: str) -> None:
        """Nobody has to decide any more."""
        work.delete(layout.staged_path(plan_id))


class _Asked(BaseModel):
    asked: bool = True


def was_somebody_asked(work: Store) -> bool:
    """Whether a build of the date, in whose work area this is, waits for a person's approval or was refused it."""
    return any(is_asked_about(work, plan_id) for plan_id in work.sub("plans/").folders())


def is_asked_about(work: Store, plan_id: str) -> bool:
    """Whether the build of a plan waits for a person's approval or was refused it."""
    try:
        return _Asked.model_validate_json(work.read(layout.staged_path(plan_id))).asked
    except NotFoundError:
        return False
    except ValidationError:
        return True  # by whom, that person may tell
