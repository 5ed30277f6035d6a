"""A build made of another one without some of its rows: nothing is asked, marked or judged for it."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from pydantic import ValidationError

from regioncap.captions.prompts import PromptLanguage
from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import BuildIncompleteError, NotFoundError, RunError
from regioncap.exports import write_exports
from regioncap.exports.export import ExportImages
from regioncap.parallel import in_order
from regioncap.regions.jsonl import line
from regioncap.regions.records import Record, Rejected
from regioncap.report.card import render_card
from regioncap.report.figures import Report, Statistics, recounted
from regioncap.report.page import render_page
from regioncap.steps.stage import COPIES_AT_ONCE
from regioncap.storage.readback import is_newer, unreadable
from regioncap.storage.store import Store
from regioncap.warehouse.inventory import ListedFile, write_inventory
from regioncap.warehouse.layout import BEGUN, BUILD_MANIFEST, IMAGES, build_path, content_of
from regioncap.warehouse.manifest import SCHEMA_VERSION, FileEntry, Manifest
from regioncap.warehouse.whole import problems, told
from regioncap.work.begun import BegunBuild

# By the file's path, relative to the partition: which of its lines, from 0.
Lines = Mapping[str, frozenset[int]]

# Opens where originals are, given a drop's URI and the run's images_uri.
OpenImages = Callable[[str, str | None], ImageFiles]


@dataclass(frozen=True)
class _ExportSettings:
    export_formats: list[str]
    export_images: ExportImages
    prompt_language: PromptLanguage
    file_name_prefix: str


@dataclass(frozen=True)
class _ExportPlan:
    """What exports go by of the plan of a build, as its report has it: the plan itself may be gone."""

    date: str
    drop_uri: str
    model: str
    settings: _ExportSettings


@dataclass(frozen=True)
class _RecordFile:
    """A record file of the new build, in place of a shard; `before` are the records of the files before it."""

    store: Store
    entry: FileEntry
    before: int
    own: Store

    @property
    def rows(self) -> int:
        """How many records it has."""
        return self.entry.rows

    def read(self) -> bytes:
        """Its records, as JSON lines."""
        return self.store.read(self.entry.path)

    def marked(self, path: str) -> bytes:
        """One of its marked images."""
        return self.store.read(path)


def build_without(
    left_out: Lines,
    *,
    old: Manifest,
    begun: BegunBuild,
    partition: Store,
    scratch: Store,
    open_images: OpenImages,
    progress: Callable[[str], None],
) -> Manifest:
    """Write the build that is `begun`: `old` without these lines. Returns its manifest, without a history.

    In `scratch`, a folder of its own in the work area, there are parts of exports until it is written.

    What the old build's report says of the making stays, as do its fingerprint and the time of its making: to a run it
    is the same build. Raises BuildIncompleteError where the old one is not whole, and RunError where
    it is a newer version's.
    """
    if wrong := told(problems(partition, old)):
        raise BuildIncompleteError(f"{partition.uri}/{old.build} is not whole any more: {wrong}")
    before = _report(partition, old)
    build = begun.within(partition)
    statistics = Statistics()
    written: dict[str, tuple[int, str | None]] = {BEGUN: (len(begun.note), _sha256(begun.note))}

    def write(path: str, data: bytes, rows: int = 0) -> FileEntry:
        build.write(path, data)
        entry = FileEntry(path=path, rows=rows, bytes=len(data), sha256=_sha256(data))
        written[path] = entry.bytes, entry.sha256
        return entry

    prefix = str(before.settings.get("file_name_prefix", "captions"))
    files = [entry for entry in old.captions if entry.rows > len(left_out.get(entry.path, ()))]
    images: set[str] = set()
    captions: list[FileEntry] = []
    for number, entry in enumerate(files):
        lines: list[bytes] = []
        for text in _kept(partition, entry, left_out):
            record = Record.model_validate_json(text)
            statistics.add(record)
            images.add(record.image_with_bbox)
            # Records of earlier versions get the fields that there are by now: exports have them.
            lines.append(line(record))
        name = f"{prefix}-{number:05d}-of-{len(files):05d}.jsonl"
        captions.append(write(name, b"".join(lines), len(lines)))
    rejects: list[bytes] = []
    for text in _kept(partition, old.rejected, left_out):
        row = Rejected.model_validate_json(text)
        statistics.add_rejected(row)
        rejects.append(line(row))
    rejected = write("rejected.jsonl", b"".join(rejects), len(rejects))
    for path, size in _copied(partition.sub(f"{old.build}/"), build, images):
        written[path] = size, None
    progress(f"{statistics.counts.captioned:,} records, {statistics.rejected:,} rejected rows: {build.uri}")

    plan = _plan_of(before, old)
    originals = plan.settings.export_images == "original" and bool(plan.settings.export_formats)
    drop = open_images(before.drop_uri, before.settings.get("images_uri")) if originals else build
    before_each = accumulate((entry.rows for entry in captions), initial=0)
    exports = write_exports(
        plan=plan,
        drop=drop,
        shards=[
            _RecordFile(build, entry, rows, scratch.sub(f"{number}/"))
            for number, (entry, rows) in enumerate(zip(captions, before_each, strict=False))
        ],
        records=statistics.counts.captioned,
        build=build,
        progress=progress,
        written=lambda path, size, checksum: written.update({path: (size, None)}),
    )
    scratch.delete_folder()
    written |= {entry.path: (entry.bytes, entry.sha256) for entry in exports}

    report = recounted(before, statistics, read=_reader(build, captions), build_id=begun.build_id, judged=old.judged)
    write("report.json", report.model_dump_json(indent=2).encode())
    write("report.html", render_page(report, statistics.samples, build.read).encode())
    write("README.md", render_card(report).encode())
    inventory = write_inventory(build, _listed(build, written))

    def within(entry: FileEntry) -> FileEntry:
        return entry.model_copy(update={"path": f"{build_path(begun.build_id)}/{entry.path}"})

    manifest = old.model_copy(
        update={
            "schema_version": SCHEMA_VERSION,
            "build_id": begun.build_id,
            "build": build_path(begun.build_id),
            "captions": [within(entry) for entry in captions],
            "rejected": within(rejected),
            "exports": [within(entry) for entry in exports],
            "files": within(inventory),
            "counts": statistics.counts,
            # The rows that are left out shaped it.
            "made_from": None,
            "history": [],
        }
    )
    build.write(BUILD_MANIFEST, manifest.model_dump_json(indent=2).encode())
    if wrong := told(problems(partition, manifest)):
        raise BuildIncompleteError(f"{build.uri} is not what was written: {wrong}")
    return manifest


def _report(partition: Store, old: Manifest) -> Report:
    """Raises BuildIncompleteError where it is damaged, and RunError where it is a newer version's."""
    path = f"{old.build}/report.json"
    try:
        return Report.model_validate_json(partition.read(path))
    except ValidationError as error:
        message = unreadable(f"{partition.uri}/{path}", error, "the build is not whole")
        raise (RunError if is_newer(error) else BuildIncompleteError)(message) from error


def _kept(partition: Store, entry: FileEntry, left_out: Lines) -> Iterator[bytes]:
    """The lines of a file that stay. Raises BuildIncompleteError."""
    data = partition.read(entry.path)
    if _sha256(data) != entry.sha256:
        raise BuildIncompleteError(f"{partition.uri}/{entry.path} is not what was published")
    gone = left_out.get(entry.path, frozenset())
    for number, text in enumerate(data.split(b"\n")):
        if text and number not in gone:
            yield text


def _copied(old: Store, build: Store, images: set[str]) -> Iterator[tuple[str, int]]:
    """Copy marked images; path and size of each that is there. Raises BuildIncompleteError."""

    def copy(item: tuple[str, int]) -> tuple[str, int]:
        path, size = item
        try:
            if build.copy(old, path, path) is None:
                # Of what a folder holds, nobody else looks at the bytes.
                _check_named(build, path)
        except NotFoundError as error:
            raise BuildIncompleteError(f"{old.uri}/{path} is gone") from error
        return path, size

    there = ((entry.path, entry.size) for entry in old.list(IMAGES) if entry.path in images)
    yield from in_order(copy, there, COPIES_AT_ONCE)


def _check_named(build: Store, path: str) -> None:
    if not _sha256(build.read(path)).startswith(content_of(path) or ""):
        raise BuildIncompleteError(f"{build.uri}/{path} is not what was published")


def _plan_of(report: Report, manifest: Manifest) -> _ExportPlan:
    said: Mapping[str, Any] = report.settings
    return _ExportPlan(
        date=manifest.partition.partition("=")[2],
        drop_uri=report.drop_uri,
        model=report.model,
        settings=_ExportSettings(
            export_formats=list(said.get("export_formats", ())),
            export_images=said.get("export_images", "none"),
            prompt_language=said.get("prompt_language", "en"),
            file_name_prefix=str(said.get("file_name_prefix", "captions")),
        ),
    )


def _listed(build: Store, written: Mapping[str, tuple[int, str | None]]) -> Iterator[ListedFile]:
    """The files of the build, from one listing. Raises BuildIncompleteError where one is not as it was written."""
    there = 0
    for entry in build.list():
        size, sha256 = written.get(entry.path, (-1, None))
        if size == entry.size:
            there += 1
            yield ListedFile(path=entry.path, bytes=size, checksum=entry.checksum, sha256=sha256)
    if there != len(written):
        raise BuildIncompleteError(
            f"{len(written) - there} of {len(written)} files are not in {build.uri} as they were sent"
        )


def _reader(build: Store, captions: Sequence[FileEntry]) -> Callable[[int], Record]:
    """What reads the record at a place of the build, from 0; for the few that the report names."""
    ends = list(accumulate(entry.rows for entry in captions))
    read = lru_cache(1)(lambda number: build.read(captions[number].path).split(b"\n"))

    def record(place: int) -> Record:
        number = bisect_right(ends, place)
        return Record.model_validate(json.loads(read(number)[place - ends[number] + captions[number].rows]))

    return record


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
