"""Reading a published build: whole, checked, and safe against a publish in between."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from regioncap.errors import BuildGoneError, ManifestError, NotFoundError, NothingPublishedError
from regioncap.regions.records import Record, Rejected
from regioncap.storage.readback import read_at_most
from regioncap.storage.store import Store
from regioncap.storage.uri import open_store
from regioncap.warehouse.history import and_yet
from regioncap.warehouse.layout import MANIFEST, partition_path
from regioncap.warehouse.manifest import FileEntry, Manifest, current

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client

# No marked image is larger by far.
MOST_IMAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Build:
    """The current build of a partition, as it was when it was opened: what is published later changes nothing of it.

    A build that another one supersedes is kept for a day at least, so reading it may take that long.
    """

    manifest: Manifest
    _partition: Store

    @property
    def uri(self) -> str:
        """The build's folder."""
        return f"{self._partition.uri}/{self.manifest.build}"

    @property
    def files(self) -> Sequence[FileEntry]:
        """Record files, rejected rows and exports, each with size and SHA-256; paths are relative to the partition."""
        return (*self.manifest.captions, self.manifest.rejected, *self.manifest.exports)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records in order, each as docs/fields.md describes it.

        Raises BuildGoneError, also where a line is no record, whatever the hashes say.
        """
        for entry in self.manifest.captions:
            for number, record in self._objects(entry, Record):
                if not isinstance(record["image_with_bbox"], str):
                    raise self._no_object(entry, number, "image_with_bbox is no path")
                yield record

    def rejected(self) -> Iterator[dict[str, Any]]:
        """The rows that did not become records. Raises BuildGoneError."""
        for _, row in self._objects(self.manifest.rejected, Rejected):
            yield row

    def frame(self) -> "pd.DataFrame":
        """The records as a table of pandas, a row each, in order. Raises BuildGoneError."""
        import pandas as pd

        return pd.DataFrame.from_records(list(self.records()))

    def image(self, record: dict[str, Any]) -> bytes:
        """The marked image of a record, a JPEG. Raises BuildGoneError."""
        name = record.get("image_with_bbox") if isinstance(record, dict) else None
        if not isinstance(name, str):
            raise BuildGoneError(f"what is to be a record of {self.uri} names no image (image_with_bbox)")
        path = f"{self.manifest.build}/{name}"
        data = self._bytes(path, MOST_IMAGE_BYTES)
        # It is named by the beginning of its own hash.
        if hashlib.sha256(data).hexdigest()[:32] != PurePosixPath(path).stem:
            raise BuildGoneError(f"{self._partition.uri}/{path} is not what was published: build the date anew")
        return data

    def read(self, entry: FileEntry) -> bytes:
        """One of `files`, after its checksum was checked. Raises BuildGoneError."""
        data = self._bytes(entry.path, entry.bytes)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BuildGoneError(f"{self._partition.uri}/{entry.path} is not what was published: build the date anew")
        return data

    def _objects(self, entry: FileEntry, model: type[Record | Rejected]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of a JSONL file, each with the number of its line. Raises BuildGoneError."""
        # Bytes, not text: that would be split at more characters than JSON lines end with.
        for number, line in enumerate(self.read(entry).split(b"\n"), start=1):
            if not line:
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise self._no_object(entry, number, f"it is no JSON ({error})") from error
            if not isinstance(value, dict):
                raise self._no_object(entry, number, "it is no object")
            needed = {name for name, field in model.model_fields.items() if field.is_required()}
            if missing := needed - value.keys():
                raise self._no_object(entry, number, f"it has no {', '.join(sorted(missing))}")
            yield number, value

    def _no_object(self, entry: FileEntry, number: int, why: str) -> BuildGoneError:
        where = f"{self._partition.uri}/{entry.path}, line {number}, "
        return BuildGoneError(f"{where}is not what RegionCap writes: {why}; build the date anew")

    def _bytes(self, path: str, most: int) -> bytes:
        """A file's bytes, but no more than its hash needs to be another one where it is larger than it may be."""
        try:
            return read_at_most(self._partition, path, most)
        except NotFoundError as error:
            raise BuildGoneError(
                f"{self._partition.uri}/{path} is gone: the build was superseded long ago, or somebody deleted it; "
                "open the current one"
            ) from error


def open_build(partition: Store) -> Build:
    """The current build of a store that is rooted at one date's partition.

    Raises NothingPublishedError, and ManifestError, also where it is another date's partition that was copied.
    """
    manifest, _ = current(partition)
    if manifest is None:
        raise NothingPublishedError(f"nothing is published at {partition.uri}{and_yet(partition)}")
    if manifest.of_another_date(partition.uri):
        raise ManifestError(
            f"{partition.uri}/{MANIFEST} is of {manifest.partition}, from where somebody has copied it: read that "
            "date, or run this one, which is built anew then"
        )
    return Build(manifest, partition)


def read(warehouse_uri: str, date: str, s3_client: "S3Client | None" = None) -> Build:
    """The current build of `date` (YYYY-MM-DD) in the warehouse at `s3://bucket/prefix`, `file:///folder` or `/folder`.

    Without `s3_client`, boto3's own settings say how S3 is reached: environment, `~/.aws`, an instance's role.
    Raises NothingPublishedError, ManifestError, and StorageError for a place that cannot be used.

        build = regioncap.read("s3://warehouse/region_captions", "2026-10-05")
        for record in build.records():
            jpeg = build.image(record)
    """

    def client() -> "S3Client":
        import boto3

        return s3_client or boto3.client("s3")

    return open_build(open_store(f"{warehouse_uri.rstrip('/')}/{partition_path(date)}", client))
