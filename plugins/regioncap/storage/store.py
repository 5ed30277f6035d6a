"""The seam: what RegionCap needs of a place to keep files. Paths are relative to the store's root, with `/`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from regioncap.errors import PermanentError


@dataclass(frozen=True)
class Entry:
    """A stored file.

    `version` changes whenever its content does: an ETag, or a size and a time. `modified` is when it was last written,
    in seconds since 1970.
    """

    path: str
    size: int
    version: str
    modified: float


class StorageError(PermanentError):
    """The place cannot be used as it is: the message says what is wrong and what to do."""


class NotFoundError(Exception):
    """There is no such file."""


class LinkError(Exception):
    """The path leads through a symbolic link, which is never followed."""


class ConflictError(Exception):
    """A conditional write was refused: somebody else wrote first."""


class Store(Protocol):
    """Files below one root. Every method may raise StorageError, and what its transport raises when that fails."""

    @property
    def uri(self) -> str:
        """The root, without a trailing slash."""

    def sub(self, path: str) -> "Store":
        """The store rooted at `path`."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All files whose path starts with `prefix`, in the order of their paths' bytes. Links are left out."""

    def folder_exists(self) -> bool:
        """Whether there is at least one file."""

    def stat(self, path: str) -> Entry:
        """Raises NotFoundError or LinkError."""

    def read(self, path: str) -> bytes:
        """A whole file. Raises NotFoundError or LinkError."""

    def open(self, path: str) -> IO[bytes]:
        """A file as a stream. Raises NotFoundError or LinkError."""

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file at once: a reader sees all of it or none."""

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        """Write what is left in `stream`, in parts where it is large; a reader sees all of it or none."""

    def local_path(self, path: str) -> Path | None:
        """Where a file lies on this machine's disk; None in a store that has no files."""

    def copy(self, source: "Store", source_path: str, path: str) -> None:
        """Copy a file from another store, without passing it through here where both are the same service."""

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        """Write `path` only if its version still is `version` (None: only if there is no such file).

        Returns the new version. Raises ConflictError.
        """

    def delete(self, path: str) -> None:
        """Delete a file; no error if there is none."""
