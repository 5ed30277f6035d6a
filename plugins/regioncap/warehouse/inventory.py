"""`_files.jsonl`: every file of a build, as the store listed it when all were written.

It is written and read as a stream: a build may have a million images.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from regioncap.regions.jsonl import line
from regioncap.regions.records import EXAMPLE_SHA256
from regioncap.storage.patience import persist
from regioncap.storage.store import Store
from regioncap.warehouse.layout import FILES
from regioncap.warehouse.manifest import FileEntry


class ListedFile(BaseModel):
    """A file of a build; `_files.jsonl` has a line for each but itself and the build's `manifest.json`."""

    # What is written has these fields only; of what is read, others are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})

    path: str = Field(
        description="Where it is, relative to the build's folder.",
        examples=["images/c3fea574f07a574e6f58ade44bc46e7c.jpg"],
    )
    bytes: int = Field(ge=0, description="Its size in bytes.", examples=[61234])
    checksum: str | None = Field(
        default=None,
        description="What the storage service itself says of its content (S3: the ETag), to compare it with what the "
        "service says later; null in a folder.",
        examples=["9b2cf535f27731c974343645a3985328"],
    )
    sha256: str | None = Field(
        default=None,
        description="SHA-256 of its bytes, in hex; null for images, whose names are the first 32 digits of their own.",
        examples=[EXAMPLE_SHA256],
    )


def write_inventory(build: Store, files: Iterable[ListedFile]) -> FileEntry:
    """Write the inventory of a build, whose files these are in the order of the store's listing."""
    with tempfile.TemporaryFile(prefix="regioncap-files-") as local:
        digest = hashlib.sha256()
        rows = 0
        for file in files:
            text = line(file)
            digest.update(text)
            local.write(text)
            rows += 1
        size = local.tell()
        local.seek(0)
        build.write_stream(local, FILES)
    return FileEntry(path=FILES, rows=rows, bytes=size, sha256=digest.hexdigest())


@contextmanager
def read_inventory(build: Store, entry: FileEntry) -> Iterator[Iterator[ListedFile] | None]:
    """The files that a build's inventory lists, in the order of the store's listing; None where it is another one now.

    Raises NotFoundError where it is gone.
    """
    with tempfile.TemporaryFile(prefix="regioncap-files-") as local:

        def fetch() -> None:
            local.seek(0)
            local.truncate()
            with build.open(FILES) as stream:
                shutil.copyfileobj(stream, local, 1 << 20)

        persist(fetch)
        local.seek(0)
        if hashlib.file_digest(local, "sha256").hexdigest() != entry.sha256:
            yield None
            return
        local.seek(0)
        yield _lines(local)


def _lines(local: IO[bytes]) -> Iterator[ListedFile]:
    return (ListedFile.model_validate_json(text) for text in local)
