"""What all exports share: records as they pass by, and files that are named, hashed and uploaded."""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from regioncap.captions.prompts import PromptLanguage
from regioncap.drop.decoders import Decoders
from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import BuildGoneError, NotFoundError
from regioncap.exports.images import CarriedImage, ImageGoneError, original_image
from regioncap.parallel import in_order
from regioncap.regions.jsonl import line
from regioncap.storage.store import Store
from regioncap.warehouse.layout import IMAGES
from regioncap.warehouse.manifest import FileEntry, Manifest

# A file without images has so many records at most: a hundred megabytes or two.
_RECORDS_PER_FILE = 100_000
# A file with images has about so many bytes: local disk holds one at a time.
_BYTES_PER_FILE = 512 << 20
# What is taken at a time: enough for a row group that is worth reading, and no strain on memory.
_CHUNK_RECORDS = 5_000
_CHUNK_BYTES = 16 << 20
# Threads that read and write images; they mostly wait for storage.
_THREADS = 8

MISSING_IMAGES = "missing_images.jsonl"

ExportImages = Literal["none", "original", "marked"]


class ExportSettings(Protocol):
    """What exports go by of a run's settings, which are in a room above."""

    @property
    def export_formats(self) -> list[str]:
        """The formats to write."""

    @property
    def export_images(self) -> ExportImages:
        """The images that go into the formats that can carry them."""

    @property
    def prompt_language(self) -> PromptLanguage:
        """The language of the captions."""

    @property
    def file_name_prefix(self) -> str:
        """How the names of data files start."""


class ExportPlan(Protocol):
    """What exports go by of a build's plan, which is in a room above."""

    @property
    def date(self) -> str:
        """The drop date."""

    @property
    def drop_uri(self) -> str:
        """Where the drop is."""

    @property
    def model(self) -> str:
        """The VLM's name."""

    @property
    def settings(self) -> ExportSettings:
        """The run's settings."""


class ExportShard(Protocol):
    """A validated shard, which is in a room above."""

    @property
    def store(self) -> Store:
        """Where its marked images are, by the paths that its records name."""

    def read(self) -> bytes:
        """Its records, as JSON lines."""

    def marked(self, path: str) -> bytes:
        """One of its marked images."""


@dataclass(frozen=True)
class Row:
    """A record on its way into an export.

    `number` is its 0-based place in the build; `line` is its JSON as the record files have it, without the line's end,
    and `record` what that says. `image` is there where the export carries images, unless this one is gone.
    """

    number: int
    line: bytes
    record: dict[str, Any]
    image: CarriedImage | None


@dataclass(kw_only=True)
class Export:
    """One export of a build: where its rows come from, and where its files go.

    `images` says which images it carries, `entries` lists the files written so far, relative to the build; the other
    fields are those of `write_exports`.
    """

    name: str
    images: ExportImages
    plan: ExportPlan
    drop: ImageFiles
    shards: Sequence[ExportShard]
    records: int
    build: Store
    progress: Callable[[str], None]
    written: Callable[[str, int], object]
    entries: list[FileEntry] = field(default_factory=list)
    _gone: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _gone_rows: int = 0
    # Of images with records: where one is HEIC, this was read before.
    _decoders: Decoders = field(default_factory=lambda: Decoders(heic=True))

    @property
    def folder(self) -> str:
        """Where the export's files go, relative to the build."""
        return f"exports/{self.name}/"

    @property
    def prefix(self) -> str:
        """How the names of its data files start."""
        return self.plan.settings.file_name_prefix

    def files(self, ending: str) -> Iterator[tuple[Path, Iterator[Row]]]:
        """The export's files in turn, one at least: a local path to write at, and the rows that belong there.

        A file is uploaded, and gone from the path, when the next one is asked for: close it before.
        """
        each = self._records_per_file()
        count = max(1, -(-self.records // each))
        rows = self.rows()
        for number in range(count):
            held = min(each, self.records - number * each)
            with self.file(f"{self.prefix}-{number:05d}-of-{count:05d}.{ending}", held) as path:
                yield path, islice(rows, held)

    @contextmanager
    def file(self, name: str, rows: int) -> Iterator[Path]:
        """A local path to write a file of so many rows at; it is uploaded as `name` when the block ends well."""
        with tempfile.TemporaryDirectory(prefix="regioncap-export-") as folder:
            path = Path(folder, name)
            yield path
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                stream.seek(0)
                self.build.write_stream(stream, self.folder + name)
            size = path.stat().st_size
        self.entries.append(FileEntry(path=self.folder + name, rows=rows, bytes=size, sha256=digest))

    def rows(self) -> Iterator[Row]:
        """All records in order, with their images where the export carries them."""
        lines = ((shard, text) for shard in self.shards for text in io.BytesIO(shard.read()))
        # Without images there is nothing to wait for.
        loaded: Iterator[tuple[bytes, dict[str, Any], CarriedImage | ImageGoneError | None]] = (
            map(self._load, lines)
            if self.images == "none"
            else in_order(self._load, lines, _THREADS, interrupt=self._decoders.interrupt)
        )
        for number, (text, record, image) in enumerate(loaded):
            if isinstance(image, ImageGoneError):
                self._note_gone(record, image)
            yield Row(number, text, record, image if isinstance(image, CarriedImage) else None)
            if (number + 1) % (20_000 if self.images == "none" else 500) == 0:
                self.progress(f"export {self.name}: {number + 1:,} of {self.records:,} records")

    def write_images(self, images: Sequence[CarriedImage]) -> None:
        """Put images beside the export's files, as `images/<name>`."""

        def write(image: CarriedImage) -> tuple[str, int]:
            path = f"{self.folder}images/{image.name}"
            self.build.write(path, image.data)
            return path, len(image.data)

        for path, size in in_order(write, images, _THREADS):
            self.written(path, size)

    def finish(self) -> list[FileEntry]:
        """Write down which images are missing. Returns all files but loose images."""
        with self._gone:
            if self._gone_rows:
                self._gone.seek(0)
                with self.file(MISSING_IMAGES, self._gone_rows) as path, path.open("wb") as stream:
                    shutil.copyfileobj(self._gone, stream, 1 << 20)
                self.progress(
                    f"export {self.name}: {self._gone_rows:,} records come without their image, since it is gone or "
                    f"changed after it was marked: {self.folder}{MISSING_IMAGES} lists them"
                )
        return self.entries

    def _load(
        self, item: tuple[ExportShard, bytes]
    ) -> tuple[bytes, dict[str, Any], CarriedImage | ImageGoneError | None]:
        shard, text = item
        # Not as a model: `validate` has made the line from one, and checking it again would take twice as long.
        record: dict[str, Any] = json.loads(text)
        image: CarriedImage | ImageGoneError | None = None
        try:
            if self.images == "original":
                image = original_image(self.drop, record["image"], record["image_sha256"], self._decoders)
            elif self.images == "marked":
                image = CarriedImage(shard.marked(record["image_with_bbox"]), "jpg")
        except ImageGoneError as error:
            image = error
        return text.rstrip(b"\n"), record, image

    def _note_gone(self, record: dict[str, Any], error: ImageGoneError) -> None:
        self._gone_rows += 1
        told = {"reason": str(error), "is_there": error.is_there}
        self._gone.write(line({key: record[key] for key in ("id", "image", "image_uri")} | told))

    def _records_per_file(self) -> int:
        if self.images == "none":
            return _RECORDS_PER_FILE
        marked = [(shard.store, IMAGES) for shard in self.shards]
        sources = [(self.drop, "")] if self.images == "original" else marked
        files = size = 0
        for store, prefix in sources:
            for entry in store.list(prefix):
                files += 1
                size += entry.size
        return max(100, min(10_000, _BYTES_PER_FILE * files // max(1, size)))


Exporter = Callable[[Export], None]


def carries(*images: ExportImages) -> Callable[[Exporter], Exporter]:
    """Decorates an exporter with the kinds of images that it can carry; without, it is given what a run asks for."""

    def say(exporter: Exporter) -> Exporter:
        exporter.__dict__["carries"] = images
        return exporter

    return say


def carried_by(exporter: Exporter) -> tuple[ExportImages, ...]:
    """The kinds of images that an exporter can carry."""
    images: tuple[ExportImages, ...] = getattr(exporter, "carries", ("original", "marked"))
    return images


def back_again(partition: Store, published: Manifest, is_there: Callable[[str], bool]) -> list[str]:
    """Images that a build's exports come without, and that are in the drop again; `is_there` gets an image's path.

    Raises BuildGoneError where a list of them is not what was published: in a folder, a listing does not tell.
    """
    images: set[str] = set()
    for entry in published.exports:
        if entry.path.endswith(f"/{MISSING_IMAGES}"):
            with suppress(NotFoundError):  # then the build is not whole, which is told elsewhere
                data = partition.read(entry.path)
                if hashlib.sha256(data).hexdigest() != entry.sha256:
                    raise BuildGoneError(f"{entry.path} is not what was published")
                rows = [json.loads(text) for text in data.split(b"\n") if text]
                images.update(row["image"] for row in rows if not row.get("is_there"))
    return sorted(filter(is_there, images))


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in batches that memory holds easily."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.line) + (len(row.image.data) if row.image else 0)
        if len(batch) == _CHUNK_RECORDS or size >= _CHUNK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def write_arrays(export: Export, item: Callable[[Row], str]) -> None:
    """Write JSON files, each one array of what `item` makes of each row, and each image that rows carry once."""
    written: set[int] = set()
    for path, rows in export.files("json"):
        with path.open("wb") as stream:
            before = b"[\n"
            for batch in chunks(rows):
                # A drop may name an image in several rows.
                new = {row.image.name: row.image for row in batch if row.image is not None}
                new = {name: image for name, image in new.items() if int(name[:16], 16) not in written}
                written.update(int(name[:16], 16) for name in new)
                export.write_images(list(new.values()))
                for row in batch:
                    stream.write(before + item(row).encode())
                    before = b",\n"
            stream.write(b"\n]\n" if before != b"[\n" else b"[]\n")
