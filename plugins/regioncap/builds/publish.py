"""`publish`: from validated shards to a published build, all at once or not at all."""

import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from regioncap.builds import layout, shard
from regioncap.builds.card import render_card
from regioncap.builds.exports import EXPORTERS
from regioncap.builds.manifest import FileEntry, Manifest, commit, current
from regioncap.builds.page import render_page
from regioncap.builds.plan import Plan
from regioncap.builds.report import Statistics, make_report
from regioncap.errors import PermanentError
from regioncap.regions.jsonl import line
from regioncap.regions.records import Record, Rejected
from regioncap.storage.store import Store

# Copies within a bucket wait for the service, not for us.
_COPIES_AT_ONCE = 16


class TooManyRejectedError(PermanentError):
    """More rows are rejected than the run allows. The message says which codes lead."""


@dataclass(frozen=True)
class Published:
    """The partition's current build, and whether this run made it."""

    manifest: Manifest
    unchanged: bool


@dataclass(frozen=True)
class _Shard:
    """A validated shard: its work area, and what its records file is."""

    place: Store
    rows: int
    bytes: int
    sha256: str


def publish_build(*, plan: Plan, work: Store, partition: Store, progress: Callable[[str], None]) -> Published:
    """Publish what the plan's shards hold; `work` and `partition` are rooted at the build's date.

    Publishes nothing where nothing changed. Raises StepMissingError where a shard is not done, TooManyRejectedError,
    and CommitRefusedError where another build of the partition won.
    """
    published, version = current(partition)
    if plan.unchanged:
        if published is None or published.fingerprint != plan.fingerprint:
            raise shard.StepMissingError("the partition changed after the plan was made: clear the run's plan task")
        return Published(published, unchanged=True)

    with tempfile.TemporaryDirectory(prefix="regioncap-publish-") as folder:
        rejected_file = Path(folder, "rejected.jsonl")
        statistics, shards = _gather(plan, work, rejected_file)
        _check_rejected(plan, statistics)
        rejected = _entry(rejected_file, "rejected.jsonl", statistics.rejected)
        if published is not None and _same_content(plan, published, shards, rejected):
            return Published(published, unchanged=True)

        now = datetime.now(UTC)
        build_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        build = partition.sub(f"{layout.build_path(build_id)}/")
        progress(f"{statistics.counts.captioned:,} records, {statistics.rejected:,} rejected rows: writing {build.uri}")
        captions = _copy_records(build, shards, plan.settings.file_name_prefix)
        _copy_images(build, shards, progress)
        _write_file(build, rejected_file, "rejected.jsonl")
        _write_exports(build, plan, shards, Path(folder))
        report = make_report(plan, work, statistics, build_id=build_id, started=now)
        build.write("report.json", report.model_dump_json(indent=2).encode())
        build.write("report.html", render_page(report, statistics.samples, build.read).encode())
        build.write("README.md", render_card(report).encode())

    prefix = f"{layout.build_path(build_id)}/"
    manifest = Manifest(
        partition=layout.partition(plan.date),
        build_id=build_id,
        build=layout.build_path(build_id),
        captions=[entry.model_copy(update={"path": prefix + entry.path}) for entry in captions],
        rejected=rejected.model_copy(update={"path": prefix + rejected.path}),
        counts=statistics.counts,
        created_at=now.isoformat(timespec="seconds"),
        plan_id=plan.plan_id,
        fingerprint=plan.fingerprint,
        identity=plan.identity,
    )
    commit(partition, manifest, version)
    return Published(manifest, unchanged=False)


def _gather(plan: Plan, work: Store, rejected_file: Path) -> tuple[Statistics, list[_Shard]]:
    """Count everything once, shard by shard, and write all rejected rows into one file."""
    statistics = Statistics()
    shards: list[_Shard] = []
    with rejected_file.open("wb") as rejects:

        def note(row: Rejected) -> None:
            statistics.add_rejected(row)
            rejects.write(line(row))

        for row in shard.read_lines(work, layout.plan_rejected_path(plan.plan_id), Rejected):
            note(row)
        for shard_id in plan.shards:
            place = work.sub(layout.shard_path(shard_id))
            records = shard.records(place)
            data = b"".join(map(line, records))
            shards.append(_Shard(place, len(records), len(data), hashlib.sha256(data).hexdigest()))
            for record in records:
                statistics.add(record)
            for row in shard.rejected_rows(place):
                note(row)
    if statistics.counts.rows != plan.rows:
        raise shard.StepMissingError(
            f"the shards account for {statistics.counts.rows} rows, the plan for {plan.rows}: clear the run's tasks "
            "from render on"
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


def _same_content(plan: Plan, published: Manifest, shards: Sequence[_Shard], rejected: FileEntry) -> bool:
    """Whether the current build already says just this (its drop may have been uploaded once more, say)."""
    return (
        not plan.settings.force_rebuild
        and published.identity == plan.identity
        and [entry.sha256 for entry in published.captions] == [item.sha256 for item in shards]
        and published.rejected.sha256 == rejected.sha256
    )


def _copy_records(build: Store, shards: Sequence[_Shard], prefix: str) -> list[FileEntry]:
    entries = []
    for number, item in enumerate(shards):
        name = f"{prefix}-{number:05d}-of-{len(shards):05d}.jsonl"
        build.copy(item.place, layout.RECORDS, name)
        entries.append(FileEntry(path=name, rows=item.rows, bytes=item.bytes, sha256=item.sha256))
    return entries


def _copy_images(build: Store, shards: Sequence[_Shard], progress: Callable[[str], None]) -> None:
    copied = 0
    with ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="publish") as pool:
        for item in shards:
            images = sorted({record.image_with_bbox for record in shard.records(item.place)})
            copied += sum(1 for _ in pool.map(lambda path, place=item.place: build.copy(place, path, path), images))
            progress(f"{copied:,} marked images copied")


def _write_exports(build: Store, plan: Plan, shards: Sequence[_Shard], folder: Path) -> None:
    for name in plan.settings.export_formats:
        ending, export = EXPORTERS[name]
        path = folder / f"{plan.settings.file_name_prefix}.{ending}"
        export(_records(shards), path)
        _write_file(build, path, f"exports/{path.name}")


def _records(shards: Sequence[_Shard]) -> Iterator[list[Record]]:
    for item in shards:
        yield shard.records(item.place)


def _write_file(build: Store, local: Path, path: str) -> None:
    with local.open("rb") as stream:
        build.write_stream(stream, path)


def _entry(local: Path, path: str, rows: int) -> FileEntry:
    with local.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(path=path, rows=rows, bytes=local.stat().st_size, sha256=digest)
