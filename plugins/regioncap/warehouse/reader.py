"""Reading a published build: whole, checked, and safe against a publish in between."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from regioncap.errors import BuildGoneError, NotFoundError, NothingPublishedError
from regioncap.storage.store import Store
from regioncap.storage.uri import open_store
from regioncap.warehouse.layout import partition_path
from regioncap.warehouse.manifest import FileEntry, Manifest, current

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client


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
        """The records in order, each as docs/fields.md describes it. Raises BuildGoneError."""
        for entry in self.manifest.captions:
            yield from _lines(self.read(entry))

    def rejected(self) -> Iterator[dict[str, Any]]:
        """The rows that did not become records. Raises BuildGoneError."""
        yield from _lines(self.read(self.manifest.rejected))

    def frame(self) -> "pd.DataFrame":
        """The records as a table of pandas, a row each, in order. Raises BuildGoneError."""
        import pandas as pd

        return pd.DataFrame.from_records(list(self.records()))

    def image(self, record: dict[str, Any]) -> bytes:
        """The marked image of a record, a JPEG. Raises BuildGoneError."""
        path = f"{self.manifest.build}/{record['image_with_bbox']}"
        data = self._bytes(path)
        # It is named by the beginning of its own hash.
        if hashlib.sha256(data).hexdigest()[:32] != PurePosixPath(path).stem:
            raise BuildGoneError(f"{self._partition.uri}/{path} is not what was published: build the date anew")
        return data

    def read(self, entry: FileEntry) -> bytes:
        """One of `files`, after its checksum was checked. Raises BuildGoneError."""
        data = self._bytes(entry.path)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BuildGoneError(f"{self._partition.uri}/{entry.path} is not what was published: build the date anew")
        return data

    def _bytes(self, path: str) -> bytes:
        try:
            return self._partition.read(path)
        except NotFoundError as error:
            raise BuildGoneError(
                f"{self._partition.uri}/{path} is gone: the build was superseded long ago, or somebody deleted it; "
                "open the current one"
            ) from error


def open_build(partition: Store) -> Build:
    """The current build of a store that is rooted at one date's partition. Raises NothingPublishedError."""
    manifest, _ = current(partition)
    if manifest is None:
        raise NothingPublishedError(f"nothing is published at {partition.uri}")
    return Build(manifest, partition)


def read(warehouse_uri: str, date: str, s3_client: "S3Client | None" = None) -> Build:
    """The current build of `date` (YYYY-MM-DD) in the warehouse at `s3://bucket/prefix`, `file:///folder` or `/folder`.

    Without `s3_client`, boto3's own settings say how S3 is reached: environment, `~/.aws`, an instance's role.
    Raises NothingPublishedError, and StorageError for a place that cannot be used.

        build = regioncap.read("s3://warehouse/region_captions", "2026-10-05")
        for record in build.records():
            jpeg = build.image(record)
    """

    def client() -> "S3Client":
        import boto3

        return s3_client or boto3.client("s3")

    return open_build(open_store(f"{warehouse_uri.rstrip('/')}/{partition_path(date)}", client))


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    # Bytes, not text: that would be split at more characters than JSON lines end with.
    return (json.loads(line) for line in data.split(b"\n") if line)
