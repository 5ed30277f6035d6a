"""Which builds of a partition are kept: the succession, the way back, and the collection of what nobody needs.

`_manifest.json` lists every build that is kept, and only a conditional write changes it. From that follows what makes
collecting safe, without a lock and whatever crashes:

- A build that the manifest does not list, and whose files are all older than the manifest, will never be listed: it was
  begun under an earlier manifest, so its commit is refused. A build that may still win is newer than the manifest.
- A build leaves the list only when another is published, and not before it has been superseded for `GRACE`: a reader
  that looked up the current build a moment ago can read it to its end.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from regioncap.errors import NotFoundError, RollBackError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.warehouse import layout
from regioncap.warehouse.manifest import EarlierBuild, Manifest, commit, current

# How long a build stays readable, at least, after another took its place.
GRACE = timedelta(hours=24)
# By so much the clocks of one storage service may differ.
CLOCK_SKEW = timedelta(seconds=5)

# Only folders that can be ours are ever deleted.
_BUILD_FOLDER = re.compile(r"build=\d{8}T\d{6}Z-[0-9a-f]{8}")


def succession(published: Manifest | None, keep_builds: int, grace: timedelta) -> list[EarlierBuild]:
    """The history of a build that takes the place of `published` now.

    `keep_builds` counts the new build; what was current less than `grace` ago stays in any case.
    """
    if published is None:
        return []
    now = datetime.now(UTC)
    builds = [_as_earlier(published, now, withdrawn=False), *published.history]
    return [
        build
        for place, build in enumerate(builds, start=2)
        if place <= keep_builds or datetime.fromisoformat(build.current_until) > now - grace
    ]


def roll_back(partition: Store, build_id: str | None) -> Manifest:
    """Make a build of the history the current one again: `build_id`, or the last one that was not withdrawn.

    The build that was current is marked as withdrawn, unless the one that takes its place is newer.
    Raises RollBackError, ManifestError, and CommitRefusedError where a build was published meanwhile.
    """
    published, version = current(partition)
    if published is None:
        raise RollBackError(f"nothing is published at {partition.uri}")
    target = _target(published, build_id)
    path = f"{layout.build_path(target.build_id)}/{layout.BUILD_MANIFEST}"
    try:
        restored = Manifest.model_validate_json(partition.read(path))
    except NotFoundError as error:
        raise RollBackError(f"{error} is gone: somebody deleted it. Choose another build") from None
    except ValidationError as error:
        remedy = f"choose another build; kept beside {published.build_id}: {_listed(published.history)}"
        raise RollBackError(unreadable(f"{partition.uri}/{path}", error, remedy)) from error
    withdrawn = published.created_at >= target.created_at
    history = [_as_earlier(published, datetime.now(UTC), withdrawn)]
    history += [build for build in published.history if build.build_id != target.build_id]
    manifest = restored.model_copy(update={"history": history})
    commit(partition, manifest, version)
    return manifest


def collect(partition: Store, skew: timedelta = CLOCK_SKEW) -> list[str]:
    """Delete the builds that are not kept any more, or were never published; returns their folders.

    Raises ManifestError, and deletes nothing, where nobody can tell which are kept.
    """
    try:
        # Before the manifest is read: a build that is published in between is then listed, or newer than this.
        limit = partition.stat(layout.MANIFEST).modified - skew.total_seconds()
    except NotFoundError:
        return []
    published, _ = current(partition)
    if published is None:
        return []
    kept = {published.build, *(layout.build_path(build.build_id) for build in published.history)}
    collected = []
    for folder in partition.folders():
        build = partition.sub(f"{folder}/")
        if not _BUILD_FOLDER.fullmatch(folder) or folder in kept:
            continue
        # Some services go on listing a folder when it is empty.
        newest = max((entry.modified for entry in build.list()), default=limit)
        if newest < limit:
            build.delete_folder()
            collected.append(folder)
    return collected


def _as_earlier(manifest: Manifest, now: datetime, withdrawn: bool) -> EarlierBuild:
    return EarlierBuild(
        build_id=manifest.build_id,
        created_at=manifest.created_at,
        current_until=now.isoformat(timespec="seconds"),
        fingerprint=manifest.fingerprint,
        withdrawn=withdrawn,
    )


def _target(published: Manifest, build_id: str | None) -> EarlierBuild:
    for build in published.history:
        if build.build_id == build_id or (build_id is None and not build.withdrawn):
            return build
    kept = _listed(published.history)
    if build_id == published.build_id:
        raise RollBackError(f"{build_id} is the current build already; kept beside it: {kept}")
    raise RollBackError(f"there is no build {build_id or 'to go back to'}; kept beside {published.build_id}: {kept}")


def _listed(builds: Sequence[EarlierBuild]) -> str:
    return ", ".join(f"{build.build_id}{' (withdrawn)' * build.withdrawn}" for build in builds) or "none"
