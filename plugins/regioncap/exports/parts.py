"""What of exports that carry images is made shard by shard, on all workers: a shard's *part* of an export.

Where an exporter is called for each shard by itself, a part is files, each named by a hash of it, beside what else is
made of the shard; `write_exports` copies them into the build, under the names that they have there. Where images lie
beside an export's files, a part is what they are called, and they are in the build already.
"""

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from pydantic import BaseModel, ConfigDict

from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import ExtensionError, ForbiddenError, LinkError, NotFoundError
from regioncap.exports.export import (
    MOST_BYTES,
    MOST_IMAGES,
    Export,
    Exporter,
    ExportImages,
    ExportPlan,
    ExportShard,
    MissingImage,
    Row,
    carried_by,
    chunks,
    has_images_beside,
    is_by_shard,
)
from regioncap.storage.store import Store
from regioncap.warehouse.whole import sha256_of


class PartFile(BaseModel):
    """A file of so many `rows`; `path` is relative to what is made of the shard, `checksum` what the service said."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    rows: int
    bytes: int
    sha256: str
    checksum: str | None


class LooseImage(BaseModel):
    """An image beside an export's files, as it was written; `path` is relative to the build."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    bytes: int
    checksum: str | None


class ExportPart(BaseModel):
    """A shard's part of an export: `files`, or for each record the name of its image in `names`, and the images."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    files: list[PartFile] = []
    names: list[str | None] | None = None
    loose: list[LooseImage] = []
    missing: list[MissingImage] = []


@dataclass(kw_only=True)
class _ShardExport(Export):
    """An export of a shard alone. `each` is called for each record."""

    each: Callable[[], None]
    files_made: list[PartFile] = field(default_factory=list)
    missing: list[MissingImage] = field(default_factory=list)

    def files(self, ending: str) -> Iterator[tuple[Path, Iterator[Row]]]:
        """A file is full when it has so many images, or so many bytes of them: nothing is known beforehand."""
        rows = self.rows()
        following = next(rows, None)
        held = 0

        def until_full() -> Iterator[Row]:
            nonlocal following, held
            size = 0
            while following is not None and held < MOST_IMAGES and size < MOST_BYTES:
                held += 1
                size += len(following.line) + (len(following.image.data) if following.image else 0)
                yield following
                following = next(rows, None)

        while following is not None:
            held = 0
            with tempfile.TemporaryDirectory(prefix="regioncap-export-") as folder:
                path = Path(folder, f"part.{ending}")
                taken = until_full()
                yield path, taken
                deque(taken, 0)  # what the exporter has left is not another file's
                self._keep(path, ending, held)

    def file(self, name: str, rows: int) -> NoReturn:
        """Not for a part of an export. Raises ExtensionError."""
        raise ExtensionError(
            f"the exporter {self.name} writes {name} for each shard by itself: have it written by what `by_shard` is "
            "given as `then`"
        )

    def note_missing(self, missing: MissingImage) -> None:
        """Note a record that comes without its image."""
        self.missing.append(missing)

    def _keep(self, path: Path, ending: str, rows: int) -> None:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            # Named by what is in it: whoever comes late, of what was validated before, can put nothing else there.
            place = f"{self.folder}{digest[:32]}.{ending}"
            own = self.shards[0].own
            own.write_stream(stream, place)
        entry = own.stat(place)
        self.files_made.append(
            PartFile(path=place, rows=rows, bytes=entry.size, sha256=digest, checksum=entry.checksum)
        )

    def _key(self, number: int) -> str:
        # How many records the shards before it have, nobody knows yet.
        return super()._key(self.shards[0].before + number)

    def _passed(self, rows: int) -> None:
        self.each()


def in_parts(exporter: Exporter, images: ExportImages) -> bool:
    """Whether an exporter's images are a matter of the shards' own tasks, where a run asks for such `images`."""
    carried = images != "none" and images in carried_by(exporter)
    return carried and (has_images_beside(exporter) or is_by_shard(exporter))


def make_part(
    name: str,
    exporter: Exporter,
    *,
    plan: ExportPlan,
    drop: ImageFiles,
    shard: ExportShard,
    build: Store,
    each: Callable[[], None],
) -> ExportPart:
    """Make a shard's part of an export; what lies beside its files goes into the build.

    `each` is called for each record. An original that is gone is noted, no error. Raises what stores and shards raise.
    """
    loose: list[LooseImage] = []

    def written(path: str, size: int, checksum: str | None) -> None:
        loose.append(LooseImage(path=path, bytes=size, checksum=checksum))

    export = _ShardExport(
        name=name, images=plan.settings.export_images, plan=plan, drop=drop, shards=[shard], records=shard.rows,
        build=build, progress=lambda message: None, written=written, each=each,
    )  # fmt: skip
    names = None
    if has_images_beside(exporter):
        names = _put_beside(export)
    else:
        exporter(export)
    return ExportPart(files=export.files_made, names=names, loose=loose, missing=export.missing)


def _put_beside(export: Export) -> list[str | None]:
    """Put the images of an export beside its files; returns what each record's is called."""
    names: list[str | None] = []
    put: set[str] = set()
    for batch in chunks(export.rows()):
        names += [row.image.name if row.image else None for row in batch]
        # A drop may name an image in several rows.
        new = {row.image.name: row.image for row in batch if row.image is not None and row.image.name not in put}
        put.update(new)
        export.write_images(list(new.values()))
    return names


def is_good(part: ExportPart, shard: ExportShard, drop: ImageFiles) -> bool:
    """Whether a part that was made before can be used: its files are what they were, and no missing image is back."""
    return all(_is_still(file, shard.own) for file in part.files) and not any(
        _is_there(missing.image, drop) for missing in part.missing if not missing.is_there
    )


def _is_still(file: PartFile, own: Store) -> bool:
    try:
        entry = own.stat(file.path)
        if entry.size != file.bytes:
            return False
        # A folder has nothing to say of what is in a file.
        known = entry.checksum is not None and entry.checksum == file.checksum
        return known or sha256_of(own, file.path) == file.sha256
    except NotFoundError:
        return False


def _is_there(image: str, drop: ImageFiles) -> bool:
    try:
        drop.stat(image)
    except (NotFoundError, LinkError, ForbiddenError):
        return False
    return True


class Parts:
    """The parts of an export, in the order of its shards. They lie in a `file`: there can be a name for each image."""

    def __init__(self, shards: Sequence[ExportShard], file: IO[bytes]) -> None:
        self._shards = shards
        self._file = file
        self.files = 0

    def add(self, part: ExportPart) -> None:
        """The next shard's."""
        self._file.write(part.model_dump_json().encode() + b"\n")
        self.files += len(part.files)

    def __iter__(self) -> Iterator[ExportPart]:
        self._file.seek(0)
        return map(ExportPart.model_validate_json, self._file)

    def names(self) -> Iterator[Sequence[str | None]]:
        """What the images of each shard's records are called."""
        return (part.names or [] for part in self)

    def all_files(self) -> Iterator[tuple[int, ExportShard, PartFile]]:
        """All files in order, each with its number and its shard."""
        number = 0
        for shard, part in zip(self._shards, self, strict=True):
            for file in part.files:
                yield number, shard, file
                number += 1
