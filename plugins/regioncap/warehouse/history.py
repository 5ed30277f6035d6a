"""Which builds of a partition are kept: the succession, the way back, and the collection of what nobody needs.

`_manifest.json` lists every build that is kept, and only a conditional write changes it. From that follows what makes
collecting safe, without a lock and whatever crashes:

- A build notes in its folder what it was begun under (`state_of` the manifest), before anything else. While that still
  holds it may become the current one, also after days of waiting for somebody's approval, and is left alone.
- Any other build that the manifest does not list, and whose files are all older than the manifest, will never be
  listed: its commit is refused. One that is newer may have been listed since the manifest was read.
- A build leaves the list only when another is published, and not before it has been superseded for `GRACE`: a reader
  that looked up the current build a moment ago can read it to its end.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from regioncap.errors import ConflictError, NotFoundError, RollBackError
from regioncap.storage.readback import unreadable
from regioncap.storage.store import Store
from regioncap.warehouse import layout
from regioncap.warehouse.manifest import EarlierBuild, Manifest, commit, current, in_utc, manifest_at, state_of
from regioncap.warehouse.whole import OF_ONE_FILE, problems, told

# How long a build stays readable, at least, after another took its place.
GRACE = timedelta(hours=24)
# By so much the clocks of one storage service may differ.
CLOCK_SKEW = timedelta(seconds=5)

# Only folders that can be ours are ever deleted.
_BUILD_FOLDER = re.compile(r"build=\d{8}T\d{6}Z-[0-9a-f]{8}")

_NOTE_TRIES = 3


class Begun(BaseModel):
    """What a build's folder says first of all: the state of the manifest (see `state_of`) that it was begun under."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    begun_under: str | None


def succession(published: Manifest | None, keep_builds: int, grace: timedelta) -> list[EarlierBuild]:
    """The history of a build that takes the place of `published` now.

    `keep_builds` counts the new build; what was current less than `grace` ago stays in any case.
    """
    if published is None:
        return []
    now = datetime.now(UTC)
    builds = [_as_earlier(published, now, withdrawn=False), *published.history]
    return [
        build for place, build in enumerate(builds, start=2) if place <= keep_builds or build.superseded > now - grace
    ]


def roll_back(partition: Store, build_id: str | None) -> Manifest:
    """Make a build of the history the current one again: `build_id`, or the last one that was not withdrawn.

    The build that was current is marked as withdrawn, unless the one that takes its place is newer. Where the manifest
    was deleted, a build that lies there is made the current one by its id, and the others are kept as withdrawn.
    Raises RollBackError where there is no such build, or it is not whole any more; ManifestError; and
    CommitRefusedError where a build was published meanwhile.
    """
    published, _ = current(partition)
    if published is None:
        return _come_back(partition, build_id)
    target = _target(published, build_id)
    restored = earlier_manifest(partition, published, target)
    if missing := told(problems(partition, restored)):
        newest_first = sorted(published.history, key=lambda build: build.created_at, reverse=True)
        others = (build for build in newest_first if build.build_id != target.build_id)
        whole = next((build.build_id for build in others if _is_whole(partition, published, build)), None)
        raise RollBackError(
            f"{partition.uri}/{restored.build} is not whole any more: {missing}. "
            + (f"Go back to {whole}, the newest other one that is" if whole else "Nor is any other that is kept")
            + f"; {published.build_id} stays the current one"
        )
    withdrawn = published.created_at >= target.created_at
    history = [_as_earlier(published, datetime.now(UTC), withdrawn)]
    history += [build for build in published.history if build.build_id != target.build_id]
    # Its drop may have been noted to have another fingerprint since.
    changes = {
        "history": history,
        "fingerprint": target.fingerprint,
        "forgotten": max(published.forgotten, restored.forgotten),
    }
    manifest = restored.model_copy(update=changes)
    commit(partition, manifest, state_of(published))
    return manifest


def _come_back(partition: Store, build_id: str | None) -> Manifest:
    """Make a build the current one again where no manifest says which ones are kept."""
    others = {build.build_id: build for build in complete_builds(partition)}
    restored = others.pop(build_id or "", None)
    if restored is None:
        raise RollBackError(f"nothing is published at {partition.uri}{and_yet(partition)}")
    if missing := told(problems(partition, restored)):
        raise RollBackError(
            f"{partition.uri}/{restored.build} is not whole any more: {missing}. Choose another build: "
            f"{', '.join(others) or 'there is none'}"
        )
    now = datetime.now(UTC)
    # Which of them were published, and which one was the last, nobody knows: none is gone back to but by its id.
    history = [_as_earlier(build, now, withdrawn=True) for build in others.values()]
    manifest = restored.model_copy(update={"history": history})
    commit(partition, manifest, None)
    return manifest


def complete_builds(partition: Store) -> list[Manifest]:
    """What lies in a partition and is complete, newest first, as its own manifest says, whether it is listed or not."""
    found = []
    for folder in filter(_BUILD_FOLDER.fullmatch, partition.folders()):
        with suppress(NotFoundError, ValidationError, *OF_ONE_FILE):
            build = manifest_at(partition, f"{folder}/{layout.BUILD_MANIFEST}")
            its_own = build.build == folder == layout.build_path(build.build_id)
            if its_own and not build.of_another_date(partition.uri):
                found.append(build)
    return sorted(found, key=lambda build: build.created_at, reverse=True)


def and_yet(partition: Store) -> str:
    """How the sentence goes on that says that nothing is published: which builds lie there, and what to do then."""
    builds = complete_builds(partition)
    if not builds:
        return ""
    date = partition.uri.rstrip("/").rpartition(layout.partition_path(""))[2]
    return (
        f", and yet builds lie there: {', '.join(build.build_id for build in builds)}. One may wait for somebody's "
        f"approval. If {layout.MANIFEST} was deleted, regioncap builds rollback --date {date} --build ID makes one the "
        "current one again; the next run publishes the date anew, and deletes them"
    )


def was_deleted(partition: Store) -> bool:
    """Whether there was a manifest for sure, where there is none: a build that lies there was begun under one."""
    folders = filter(_BUILD_FOLDER.fullmatch, partition.folders())
    return any(_begun_under(partition.sub(f"{folder}/")) is not None for folder in folders)


def time_of_build(published: Manifest | None, now: datetime) -> datetime:
    """When a build is made: now, by this machine's clock, but later than all that are kept, by whatever clocks.

    A roll-back tells by it which of two is the newer one.
    """
    times = [published.created_at, *(build.created_at for build in published.history)] if published else []
    for time in times:
        with suppress(ValueError, OverflowError):  # where it was written by hand
            now = max(now, in_utc(time) + timedelta(seconds=1))
    return now


def withdrawn_builds(partition: Store, published: Manifest) -> Iterator[Manifest]:
    """The manifests of builds that were rolled back from, as far as they can be read."""
    for build in published.history:
        if build.withdrawn:
            with suppress(RollBackError):
                yield earlier_manifest(partition, published, build)


def note_fingerprint(partition: Store, build_id: str, fingerprint: str) -> None:
    """Note that a drop with this fingerprint gives just what a build has, the current one or one withdrawn.

    Nothing else of the manifest changes. Where others write it all the time, it is not noted: the next run finds out.
    """
    for _ in range(_NOTE_TRIES):
        published, version = current(partition)
        if published is None:
            return
        # As it stands there, so that fields that a newer version has added stay.
        manifest = json.loads(partition.read(layout.MANIFEST))
        for build in (manifest, *manifest.get("history", ())):
            if build["build_id"] == build_id:
                build["fingerprint"] = fingerprint
        with suppress(ConflictError):
            partition.replace(layout.MANIFEST, json.dumps(manifest, indent=2).encode(), version)
            return


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
    state = state_of(published)
    collected = []
    for folder in partition.folders():
        build = partition.sub(f"{folder}/")
        if not _BUILD_FOLDER.fullmatch(folder) or folder in kept or _begun_under(build) == state:
            continue
        # Some services go on listing a folder when it is empty.
        newest = max((entry.modified for entry in build.list()), default=limit)
        if newest < limit:
            build.delete_folder()
            collected.append(folder)
    return collected


def is_build_folder(name: str) -> bool:
    """Whether a folder of a partition can be a build's."""
    return _BUILD_FOLDER.fullmatch(name) is not None


def _begun_under(build: Store) -> str | None:
    try:
        return Begun.model_validate_json(build.read(layout.BEGUN)).begun_under
    except (NotFoundError, ValidationError):  # of before it was noted, or half deleted
        return None


def earlier_manifest(partition: Store, published: Manifest, build: EarlierBuild) -> Manifest:
    """What an earlier build's folder says of it. Raises RollBackError."""
    path = f"{layout.build_path(build.build_id)}/{layout.BUILD_MANIFEST}"
    remedy = f"choose another build; kept beside {published.build_id}: {_listed(published.history)}"
    try:
        manifest = manifest_at(partition, path)
    except NotFoundError as error:
        raise RollBackError(f"{error} is gone: somebody deleted it. Choose another build") from None
    except OF_ONE_FILE as error:
        raise RollBackError(f"{error}; or {remedy}") from error
    except ValidationError as error:
        raise RollBackError(unreadable(f"{partition.uri}/{path}", error, remedy)) from error
    if (manifest.build_id, manifest.build) != (build.build_id, layout.build_path(build.build_id)):
        raise RollBackError(f"{partition.uri}/{path} is the manifest of {manifest.build_id}: {remedy}")
    if manifest.of_another_date(partition.uri):
        raise RollBackError(
            f"{partition.uri}/{path} is of {manifest.partition}, from where somebody has copied it: {remedy}"
        )
    return manifest


def _is_whole(partition: Store, published: Manifest, build: EarlierBuild) -> bool:
    try:
        return next(problems(partition, earlier_manifest(partition, published, build)), None) is None
    except RollBackError:
        return False


def _as_earlier(manifest: Manifest, now: datetime, withdrawn: bool) -> EarlierBuild:
    return EarlierBuild(
        build_id=manifest.build_id,
        created_at=manifest.created_at,
        current_until=now.isoformat(timespec="seconds"),
        fingerprint=manifest.fingerprint,
        withdrawn=withdrawn,
    )


def _target(published: Manifest, build_id: str | None) -> EarlierBuild:
    others = [build for build in published.history if build.build_id != published.build_id]
    for build in others:
        if build.build_id == build_id or (build_id is None and not build.withdrawn):
            return build
    kept = _listed(others)
    if build_id == published.build_id:
        raise RollBackError(f"{build_id} is the current build already; kept beside it: {kept}")
    raise RollBackError(f"there is no build {build_id or 'to go back to'}; kept beside {published.build_id}: {kept}")


def _listed(builds: Sequence[EarlierBuild]) -> str:
    return ", ".join(f"{build.build_id}{' (withdrawn)' * build.withdrawn}" for build in builds) or "none"
