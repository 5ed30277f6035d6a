"""The build that a plan's shards put their marked images into, long before the last of them is done.

Which one it is stands in a file beside the plan, which only conditional writes change: the first shard begins a build,
the others join it, and `publish` takes it. From then on nobody else joins it, and nobody takes it again: whoever has
taken a build is the only one who ever writes anything else into it than images, which are named by what is in them.
"""

import secrets
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap.errors import ConflictError, NotFoundError
from regioncap.storage.store import Store
from regioncap.warehouse.history import Begun
from regioncap.warehouse.layout import BEGUN, build_path
from regioncap.warehouse.manifest import current, state_of
from regioncap.work import layout

# Whoever loses the race for a write reads again; nobody loses so often.
_TRIES = 100


class BegunBuild(BaseModel):
    """A build, by its id, and the state of the partition's manifest (see `state_of`) that it was begun under."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    build_id: str
    begun_under: str | None

    @property
    def note(self) -> bytes:
        """What its folder says first of all."""
        return Begun(begun_under=self.begun_under).model_dump_json().encode()

    def within(self, partition: Store) -> Store:
        """Its folder."""
        return partition.sub(f"{build_path(self.build_id)}/")


class _Noted(BaseModel):
    """What the file says: the build that is to be joined, if there is one. `written` makes each writing another one."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    build: BegunBuild | None
    written: str


def begin_build(partition: Store, begun_under: str | None) -> BegunBuild:
    """Begin a build that nobody else knows of."""
    build_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    begun = BegunBuild(build_id=build_id, begun_under=begun_under)
    # Before any other file is written: `collect` relies on it.
    begun.within(partition).write(BEGUN, begun.note)
    return begun


def join_build(work: Store, plan_id: str, partition: Store) -> BegunBuild:
    """The build that a plan's shards share; a new one where there is none that could still be published.

    `work` and `partition` are rooted at the build's date. Raises ManifestError.
    """
    for _ in range(_TRIES):
        state = state_of(current(partition)[0])
        noted, version = _read(work, plan_id)
        if noted is not None and noted.begun_under == state:
            return noted
        begun = begin_build(partition, state)
        if _write(work, plan_id, begun, version):
            return begun
        with suppress(Exception):  # no reader knows of it; `collect` tries again
            begun.within(partition).delete_folder()
    raise _lost(work, plan_id)


def take_build(work: Store, plan_id: str) -> BegunBuild | None:
    """The build that a plan's shards share, for the caller alone; None where there is none, or it was taken before."""
    for _ in range(_TRIES):
        noted, version = _read(work, plan_id)
        if noted is None or _write(work, plan_id, None, version):
            return noted
    raise _lost(work, plan_id)


def give_up_build(work: Store, plan_id: str, build_id: str) -> None:
    """See to it that nobody joins this build of a plan any more."""
    noted, version = _read(work, plan_id)
    if noted is not None and noted.build_id == build_id:
        # Where somebody wrote meanwhile, it is another one that is noted now, or none.
        _write(work, plan_id, None, version)


def _read(work: Store, plan_id: str) -> tuple[BegunBuild | None, str | None]:
    """The build that is noted, and the version of the file. One that is damaged notes none."""
    path = layout.begun_path(plan_id)
    try:
        # The version is read first: if the file changes in between, `replace` is refused.
        version = work.stat(path).version
        return _Noted.model_validate_json(work.read(path)).build, version
    except NotFoundError:
        return None, None
    except ValidationError:
        return None, version


def _write(work: Store, plan_id: str, build: BegunBuild | None, version: str | None) -> bool:
    """Whether it could be written: not where somebody else wrote meanwhile."""
    noted = _Noted(build=build, written=secrets.token_hex(8))
    try:
        work.replace(layout.begun_path(plan_id), noted.model_dump_json().encode(), version)
    except ConflictError:
        return False
    return True


def _lost(work: Store, plan_id: str) -> ConflictError:
    return ConflictError(f"{work.uri}/{layout.begun_path(plan_id)}: other tasks wrote it {_TRIES} times in a row")
