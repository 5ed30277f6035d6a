"""`publish`: from validated shards to a published build, all at once or not at all."""

import hashlib
import json
import logging
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from regioncap.errors import BuildIncompleteError, StepMissingError, TooManyRejectedError
from regioncap.exports import write_exports
from regioncap.parallel import in_order
from regioncap.regions.jsonl import line
from regioncap.regions.records import Record, Rejected
from regioncap.report.card import render_card
from regioncap.report.drift import drift
from regioncap.report.figures import Quality, Statistics, make_report
from regioncap.report.page import render_page
from regioncap.storage.store import Entry, Store, check_conditional_writes
from regioncap.warehouse.history import GRACE, collect, succession
from regioncap.warehouse.layout import BUILD_MANIFEST, IMAGES, build_path, partition_path
from regioncap.warehouse.manifest import FileEntry, Manifest, commit, current
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard, Validated, ValidatedShard, parse_lines, plan_rejected, read_marked
from regioncap.work.staged import Staged

_log = logging.getLogger(__name__)

# Copies within a bucket wait for the service, not for us.
COPIES_AT_ONCE = 32
# Each holds a shard's records as text.
_READS_AT_ONCE = 4

# Each message is also a sign of life.
_COPIES_PER_MESSAGE = 2_000
_SHARDS_PER_MESSAGE = 100

# So many shards whose tasks are to be cleared are named.
_TOLD = 20
_CLEAR_ALL = "clear the run's tasks from render on"


@dataclass(frozen=True)
class Published:
    """The partition's current build; `unchanged` where it was that before the run's plan was made."""

    manifest: Manifest
    unchanged: bool


def publish_build(
    *,
    plan: Plan,
    drop: Store,
    work: Store,
    partition: Store,
    progress: Callable[[str], None],
    grace: timedelta = GRACE,
) -> Published:
    """Stage a build and publish it at once: see `stage_build` and `commit_build`."""
    staged = stage_build(plan=plan, drop=drop, work=work, partition=partition, before=(), progress=progress)
    if isinstance(staged, Published):
        return staged
    return commit_build(staged, plan=plan, partition=partition, progress=progress, grace=grace)


def stage_build(
    *,
    plan: Plan,
    drop: Store,
    work: Store,
    partition: Store,
    before: Sequence[Quality],
    progress: Callable[[str], None],
) -> Staged | Published:
    """Write all of a build but the manifest that makes it the current one; what the plan's shards hold is its content.

    `drop`, `work` and `partition` are rooted at the build's date; `before` are the figures of earlier dates' builds.
    Where nothing changed, nothing is written, and the build that is published is returned.
    Raises StepMissingError where a shard is not done, TooManyRejectedError, StorageError where the warehouse has no
    conditional writes, and BuildIncompleteError.
    """
    # Before the first file is written: `collect` relies on it.
    published, version = current(partition)
    if plan.unchanged:
        if published is None or not published.is_up_to_date(plan.fingerprint):
            raise StepMissingError("the partition changed after the plan was made: clear the run's plan task")
        if published.fingerprint != plan.fingerprint:
            progress(
                f"the build of this drop with these settings was withdrawn, and {published.build_id} stays: change the "
                "drop or a setting, or set force_rebuild"
            )
        _collect(partition, progress)
        return Published(published, unchanged=True)

    with tempfile.TemporaryDirectory(prefix="regioncap-publish-") as folder:
        rejected_file = Path(folder, "rejected.jsonl")
        statistics, shards = _gather(plan, work, rejected_file, progress)
        _check_rejected(plan, statistics)
        rejected = _entry(rejected_file, "rejected.jsonl", statistics.rejected)
        if published is not None and _same_content(plan, published, shards, rejected):
            _collect(partition, progress)
            # Where the same plan made it later, an earlier try of this task published it, and could not say so.
            earlier = published.plan_id != plan.plan_id or published.build_id == plan.current_build
            return Published(published, unchanged=earlier)

        check_conditional_writes(partition)
        now = datetime.now(UTC)
        build_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        build = partition.sub(f"{build_path(build_id)}/")
        progress(f"{statistics.counts.captioned:,} records, {statistics.rejected:,} rejected rows: writing {build.uri}")
        captions, sent = _upload(build, shards, plan.settings.file_name_prefix, progress)
        _write_file(build, rejected_file, "rejected.jsonl")
        exports = write_exports(
            plan=plan,
            drop=drop,
            shards=shards,
            records=statistics.counts.captioned,
            build=build,
            progress=progress,
        )
        unusual = drift(statistics.quality(), before)
        report = make_report(plan, work, statistics, build_id=build_id, started=now, unusual=unusual)
        build.write("report.json", report.model_dump_json(indent=2).encode())
        build.write("report.html", render_page(report, statistics.samples, build.read).encode())
        build.write("README.md", render_card(report).encode())

    prefix = f"{build_path(build_id)}/"
    manifest = Manifest(
        partition=partition_path(plan.date),
        build_id=build_id,
        build=build_path(build_id),
        captions=[entry.model_copy(update={"path": prefix + entry.path}) for entry in captions],
        rejected=rejected.model_copy(update={"path": prefix + rejected.path}),
        exports=[entry.model_copy(update={"path": prefix + entry.path}) for entry in exports],
        counts=statistics.counts,
        created_at=now.isoformat(timespec="seconds"),
        plan_id=plan.plan_id,
        fingerprint=plan.fingerprint,
        identity=plan.identity,
    )
    build.write(BUILD_MANIFEST, manifest.model_dump_json(indent=2).encode())
    _check_arrived(build, sent | {_file_key(entry.path, entry.bytes) for entry in (rejected, *exports)})
    return Staged(manifest=manifest, version=version, warnings=report.warnings)


def commit_build(
    staged: Staged, *, plan: Plan, partition: Store, progress: Callable[[str], None], grace: timedelta = GRACE
) -> Published:
    """Make a staged build the current one; one that it supersedes stays for `grace` in any case.

    Raises CommitRefusedError where another build of the partition was published since this one was begun.
    """
    published, _ = current(partition)
    history = succession(published, plan.settings.keep_builds, grace)
    manifest = staged.manifest.model_copy(update={"history": history})
    commit(partition, manifest, staged.version)
    _collect(partition, progress)
    return Published(manifest, unchanged=False)


def _collect(partition: Store, progress: Callable[[str], None]) -> None:
    try:
        collected = collect(partition)
    except Exception as error:  # the build is published, whatever becomes of old ones; the next run tries again
        progress(f"old builds cannot be deleted: {error}")
    else:
        if collected:
            progress(f"deleted {', '.join(collected)}: not kept any more, or never published")


def _gather(
    plan: Plan, work: Store, rejected_file: Path, progress: Callable[[str], None]
) -> tuple[Statistics, list[ValidatedShard]]:
    """Count everything once, shard by shard, and write all rejected rows into one file."""
    statistics = Statistics()
    shards: list[ValidatedShard] = []

    def load(shard_id: str) -> Validated | StepMissingError:
        try:
            return Shard(work, plan, shard_id).validated()
        except StepMissingError as error:
            return error

    missing: list[StepMissingError] = []
    with rejected_file.open("wb") as rejects:

        def note(data: bytes, where: str) -> None:
            for row in parse_lines(data, Rejected, where, _CLEAR_ALL):
                statistics.add_rejected(row)
                rejects.write(line(row))

        note(plan_rejected(work, plan), layout.plan_rejected_path(plan.plan_id))
        for done, loaded in enumerate(in_order(load, plan.shards, _READS_AT_ONCE), start=1):
            if isinstance(loaded, StepMissingError):
                missing.append(loaded)
                continue
            for record in parse_lines(
                loaded.records, Record, f"{loaded.held.shard.own.uri}/{layout.RECORDS}", _CLEAR_ALL
            ):
                statistics.add(record)
            shards.append(loaded.held)
            for path, rejected in loaded.rejected.items():
                note(rejected, path)
            if done % _SHARDS_PER_MESSAGE == 0:
                progress(f"{done:,} of {len(plan.shards):,} shards counted")
    if missing:
        more = f"; and so for {len(missing) - _TOLD} more shards" if len(missing) > _TOLD else ""
        raise StepMissingError("; ".join(map(str, missing[:_TOLD])) + more)
    if statistics.counts.rows != plan.rows:
        raise StepMissingError(
            f"the shards account for {statistics.counts.rows} rows, the plan for {plan.rows}: {_CLEAR_ALL}"
        )
    return statistics, [item for item in shards if item.rows]


def _check_rejected(plan: Plan, statistics: Statistics) -> None:
    counts, limit = statistics.counts, plan.settings.max_rejected_ratio
    if counts.rejected > limit * counts.rows:
        leading = ", ".join(f"{code} ({rows})" for code, rows in statistics.rejected_by_code.most_common(5))
        raise TooManyRejectedError(
            f"{counts.rejected} of {counts.rows} rows are rejected, more than max_rejected_ratio = {limit} allows; "
            f"most often: {leading}. Mend the drop, or raise max_rejected_ratio and clear this task: nothing is asked "
            "again"
        )


def _same_content(plan: Plan, published: Manifest, shards: Sequence[ValidatedShard], rejected: FileEntry) -> bool:
    """Whether the current build already says just this (its drop may have been uploaded once more, say)."""
    return (
        (published.plan_id == plan.plan_id or not plan.settings.force_rebuild)
        and published.identity == plan.identity
        and [entry.sha256 for entry in published.captions] == [item.sha256 for item in shards]
        and published.rejected.sha256 == rejected.sha256
    )


def _upload(
    build: Store, shards: Sequence[ValidatedShard], prefix: str, progress: Callable[[str], None]
) -> tuple[list[FileEntry], set[int]]:
    """Write the records and copy their images; returns the record files, and the keys of all files that it sent."""
    entries: list[FileEntry] = []
    keys: set[int] = set()

    def write_records(numbered: tuple[int, ValidatedShard]) -> tuple[FileEntry, Store, list[Entry]]:
        number, item = numbered
        data = item.read()
        name = f"{prefix}-{number:05d}-of-{len(shards):05d}.jsonl"
        build.write(name, data)
        noted = item.shard.render_receipt().images
        wanted = {json.loads(text)["image_with_bbox"] for text in data.splitlines()}
        images = [entry for entry in item.store.list(IMAGES) if entry.path in wanted]
        if missing := len(wanted) - len(images):
            raise StepMissingError(
                f"{missing} marked images of {item.store.uri} are missing: {item.shard.clear('render')}"
            )
        for image in images:
            written = noted.get(image.path)
            if written is None or not written.is_still(image):
                read_marked(item.store, image.path)
        return FileEntry(path=name, rows=item.rows, bytes=item.size, sha256=item.sha256), item.store, images

    def images() -> Iterator[tuple[Store, str]]:
        for entry, store, found in in_order(write_records, enumerate(shards), _READS_AT_ONCE):
            entries.append(entry)
            keys.add(_file_key(entry.path, entry.bytes))
            for image in found:
                key = _file_key(image.path, image.size)
                if key not in keys:
                    keys.add(key)
                    yield store, image.path

    def copy(image: tuple[Store, str]) -> None:
        store, path = image
        build.copy(store, path, path)

    for copied, _ in enumerate(in_order(copy, images(), COPIES_AT_ONCE), start=1):
        if copied % _COPIES_PER_MESSAGE == 0:
            progress(f"{copied:,} marked images copied")
    return entries, keys


def _check_arrived(build: Store, sent: set[int]) -> None:
    """Every file must be there, at its size. What is in it was checked when it was uploaded or copied."""
    missing = sent.difference(_file_key(entry.path, entry.size) for entry in build.list())
    if missing:
        raise BuildIncompleteError(
            f"{len(missing)} of {len(sent)} files are not in {build.uri} as they were sent: was something deleted?"
        )


def _file_key(path: str, size: int) -> int:
    """Stands for a file of a build; a fraction of the memory that its path takes."""
    return hash((path, size))


def _write_file(build: Store, local: Path, path: str) -> None:
    with local.open("rb") as stream:
        build.write_stream(stream, path)


def _entry(local: Path, path: str, rows: int) -> FileEntry:
    with local.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(path=path, rows=rows, bytes=local.stat().st_size, sha256=digest)
