"""What all exports share: records as they pass by, and files that are named, hashed and uploaded."""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

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
# A file with images has about so many bytes, and never more than so many of them: local disk holds one at a time.
MOST_BYTES = 512 << 20
MOST_IMAGES = 10_000
_IMAGES_PER_MESSAGE = 500
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
    def before(self) -> int:
        """How many of the plan's rows are in the shards before it, whatever has become of them."""

    @property
    def rows(self) -> int:
        """How many records it has."""

    @property
    def store(self) -> Store:
        """Where its marked images are, by the paths that its records name."""

    @property
    def own(self) -> Store:
        """Where is kept what is made of it for this plan."""

    def read(self) -> bytes:
        """Its records, as JSON lines."""

    def marked(self, path: str) -> bytes:
        """One of its marked images."""


@dataclass(frozen=True)
class Row:
    """A record on its way into an export.

    `number` is its 0-based place among the records that the export is of, `key` nine digits that no other record of the
    build has, in the records' order. `line` is its JSON as the record files have it, without the line's end, and
    `record` what that says. Where the export carries images, unless this one is gone, `image` is there; where they lie
    beside its files instead, `file` is its name in `images/`.
    """

    number: int
    key: str
    line: bytes
    record: dict[str, Any]
    image: CarriedImage | None
    file: str | None


class MissingImage(BaseModel):
    """A line of `missing_images.jsonl`: a record that comes without its image, and why (see `ImageGoneError`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    image: str
    image_uri: str
    reason: str
    is_there: bool = False


@dataclass(kw_only=True)
class Export:
    """One export of a build: where its rows come from, and where its files go.

    `images` says which images it carries, `entries` lists the files written so far, relative to the build. Where images
    lie beside its files, `names` gives for each shard the names that its records' images have there. The other fields
    are those of `write_exports`.
    """

    name: str
    images: ExportImages
    plan: ExportPlan
    drop: ImageFiles
    shards: Sequence[ExportShard]
    records: int
    build: Store
    progress: Callable[[str], None]
    written: Callable[[str, int, str | None], object]
    names: Callable[[], Iterable[Sequence[str | None]]] | None = None
    entries: list[FileEntry] = field(default_factory=list)
    _gone: IO[bytes] | None = None
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
        named: Iterable[Iterable[str | None]] = repeat(repeat(None)) if self.names is None else self.names()
        lines = (
            (shard, text, name)
            for shard, names in zip(self.shards, named, strict=self.names is not None)
            for text, name in zip(io.BytesIO(shard.read()), names, strict=self.names is not None)
        )
        # Without images there is nothing to wait for.
        loaded = (
            in_order(self._load, lines, _THREADS, interrupt=self._decoders.interrupt)
            if self._reads_images
            else map(self._load, lines)
        )
        for number, (text, record, image, name) in enumerate(loaded):
            if isinstance(image, ImageGoneError):
                told = {key: record[key] for key in ("id", "image", "image_uri")}
                self.note_missing(MissingImage(**told, reason=str(image), is_there=image.is_there))
            carried = image if isinstance(image, CarriedImage) else None
            yield Row(number, self._key(number), text, record, carried, name)
            self._passed(number + 1)

    def _key(self, number: int) -> str:
        return f"{number:09d}"

    def _passed(self, rows: int) -> None:
        if rows % (_IMAGES_PER_MESSAGE if self._reads_images else 20_000) == 0:
            self.progress(f"export {self.name}: {rows:,} of {self.records:,} records")

    def write_images(self, images: Sequence[CarriedImage]) -> None:
        """Put images beside the export's files, as `images/<name>`."""

        def write(image: CarriedImage) -> tuple[str, int, str | None]:
            path = f"{self.folder}{IMAGES}{image.name}"
            return path, len(image.data), self.build.write(path, image.data)

        for path, size, checksum in in_order(write, images, _THREADS):
            self.written(path, size, checksum)

    def note_missing(self, missing: MissingImage) -> None:
        """Note a record that comes without its image."""
        if self._gone is None:
            self._gone = tempfile.TemporaryFile(prefix="regioncap-missing-")  # noqa: SIM115 - `finish` closes it
        self._gone_rows += 1
        self._gone.write(line(missing))

    def finish(self) -> list[FileEntry]:
        """Write down which images are missing. Returns all files but loose images."""
        if self._gone is not None:
            with self._gone:
                self._gone.seek(0)
                with self.file(MISSING_IMAGES, self._gone_rows) as path, path.open("wb") as stream:
                    shutil.copyfileobj(self._gone, stream, 1 << 20)
            self.progress(
                f"export {self.name}: {self._gone_rows:,} records come without their image, since it is gone or "
                f"changed after it was marked: {self.folder}{MISSING_IMAGES} lists them"
            )
        return self.entries

    @property
    def _reads_images(self) -> bool:
        return self.images != "none" and self.names is None

    def _load(
        self, item: tuple[ExportShard, bytes, str | None]
    ) -> tuple[bytes, dict[str, Any], CarriedImage | ImageGoneError | None, str | None]:
        shard, text, name = item
        # Not as a model: `validate` has made the line from one, and checking it again would take twice as long.
        record: dict[str, Any] = json.loads(text)
        image: CarriedImage | ImageGoneError | None = None
        try:
            if self._reads_images and self.images == "original":
                image = original_image(self.drop, record["image"], record["image_sha256"], self._decoders)
            elif self._reads_images:
                image = CarriedImage(shard.marked(record["image_with_bbox"]), "jpg")
        except ImageGoneError as error:
            image = error
        return text.rstrip(b"\n"), record, image, name

    def _records_per_file(self) -> int:
        if not self._reads_images:
            return _RECORDS_PER_FILE
        marked = [(shard.store, IMAGES) for shard in self.shards]
        sources = [(self.drop, "")] if self.images == "original" else marked
        files = size = 0
        for store, prefix in sources:
            for entry in store.list(prefix):
                files += 1
                size += entry.size
        return max(100, min(MOST_IMAGES, MOST_BYTES * files // max(1, size)))


Exporter = Callable[[Export], None]


def carries(*images: ExportImages, beside: bool = False) -> Callable[[Exporter], Exporter]:
    """Decorates an exporter with the kinds of images that it can carry; without, it is given what a run asks for.

    Where they lie `beside` its files, they are put there for it, by the tasks of the shards: it gets their names.
    """

    def say(exporter: Exporter) -> Exporter:
        exporter.__dict__["carries"] = images
        exporter.__dict__["beside"] = beside
        return exporter

    return say


def carried_by(exporter: Exporter) -> tuple[ExportImages, ...]:
    """The kinds of images that an exporter can carry."""
    images: tuple[ExportImages, ...] = getattr(exporter, "carries", ("original", "marked"))
    return images


def has_images_beside(exporter: Exporter) -> bool:
    """Whether the images that an exporter carries lie beside its files."""
    return getattr(exporter, "beside", False)


def by_shard(then: Exporter | None = None) -> Callable[[Exporter], Exporter]:
    """Decorates an exporter that, where it carries images, is called for each shard by itself, by the shard's own task.

    It writes by `Export.files` alone; what there is to write about all files, `then` writes when they are there.
    """

    def say(exporter: Exporter) -> Exporter:
        exporter.__dict__["by_shard"] = True
        exporter.__dict__["then"] = then
        return exporter

    return say


def is_by_shard(exporter: Exporter) -> bool:
    """Whether an exporter is called for each shard by itself where it carries images."""
    return getattr(exporter, "by_shard", False)


def follows(exporter: Exporter) -> Exporter | None:
    """What is called when all files of an exporter are there."""
    then: Exporter | None = getattr(exporter, "then", None)
    return then


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
    """Write JSON files, each one array of what `item` makes of each row."""
    for path, rows in export.files("json"):
        with path.open("wb") as stream:
            before = b"[\n"
            for row in rows:
                stream.write(before + item(row).encode())
                before = b",\n"
            stream.write(b"\n]\n" if before != b"[\n" else b"[]\n")
