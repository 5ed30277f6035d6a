"""The seam: what RegionCap needs of a place to keep files. Paths are relative to the store's root, with `/`."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from regioncap.errors import ConflictError, StorageError


@dataclass(frozen=True)
class Entry:
    """A stored file.

    `version` changes whenever its content does: an ETag, or a size and a time. `modified` is when it was last written,
    in seconds since 1970. `checksum` is what the service itself says of the content, so that a file that was damaged or
    written anew is known without reading it: an ETag without its quotes; None in a folder. Equal contents may have
    unequal ones, as where one was written in parts. `archived` says, in a listing, that the file lies where it mostly
    has to be restored before it can be read.
    """

    path: str
    size: int
    version: str
    modified: float
    checksum: str | None = None
    archived: bool = False


class Store(Protocol):
    """Files below one root. Every method may raise StorageError.

    What may pass by itself is tried again, one file at a time, for PATIENCE_SECONDS; then StorageUnavailableError is
    raised, which names the file.
    What reads one file (`stat`, `read`, `read_part`, `open`, and `copy`) raises NotFoundError, LinkError,
    ForbiddenError or ArchivedError where the fault lies with this one file. `read`, `read_part` and `open` take the
    version of the file that is meant: they give its bytes, or raise ChangedError where another one is there now.
    """

    @property
    def uri(self) -> str:
        """The root, without a trailing slash."""

    def sub(self, path: str) -> "Store":
        """The store rooted at `path`."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All files whose path starts with `prefix`, in the order of their paths' bytes. Links are left out."""

    def now(self) -> float:
        """What time it is, in seconds since 1970, by the clock that `modified` goes by: no other tells an age."""

    def folder_exists(self) -> bool:
        """Whether there is at least one file."""

    def folders(self) -> Sequence[str]:
        """The names of the folders directly below the root, sorted."""

    def stat(self, path: str) -> Entry:
        """A file's entry."""

    def read(self, path: str, version: str | None = None) -> bytes:
        """A whole file."""

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        """A file as a stream, which cannot be sought in.

        It ends where the file ends: where bytes are missing, or are not those that were stored, reading raises
        BrokenReadError. Whoever wants to begin anew then reads within `persist`.
        """

    def read_part(self, path: str, start: int, size: int, version: str | None = None) -> bytes:
        """So many bytes of a file from a place in it, and not the rest of it; fewer where the file ends before."""

    def write(self, path: str, data: bytes) -> str | None:
        """Write a whole file at once: a reader sees all of it or none.

        A bucket gets a checksum with it, and refuses what does not arrive as it was sent. Returns what the service says
        of the content (see `Entry.checksum`), where it does.
        """

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        """Like `write`, for what is left in `stream`; in parts where that is large."""

    def local_path(self, path: str) -> Path | None:
        """Where a file lies on this machine's disk; None in a store that has no files."""

    def copy(self, source: "Store", source_path: str, path: str) -> str | None:
        """Copy a file from another store, without passing it through here where both are the same service.

        Returns the copy's checksum where the service tells it. What passes through here is read as by `open`.
        """

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        """Write `path` only if its version still is `version` (None: only if there is no such file).

        Returns the new version. Raises ConflictError; not where an earlier try of its own has written these bytes, and
        only the answer to it was lost.
        """

    def delete(self, path: str) -> None:
        """Delete a file; no error if there is none."""

    def delete_folder(self) -> None:
        """Delete all files; no error if there are none."""


def filled(stream: IO[bytes], size: int) -> bytes:
    """The next `size` bytes of a stream; fewer only at its end."""
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def check_conditional_writes(store: Store) -> None:
    """Raise StorageError where `replace` overwrites what it must not: some services ignore the condition.

    Writes a small file and deletes it.
    """
    path = f"_probe-{secrets.token_hex(8)}"
    try:
        first = store.replace(path, b"1", None)
        store.replace(path, b"22", first)
        conditions = {"If-None-Match": None, "If-Match": first}
        ignored = [name for name, version in conditions.items() if _replaces(store, path, version)]
    finally:
        store.delete(path)
    if ignored:
        raise StorageError(
            f"{store.uri}: the service ignores the condition of a conditional write ({', '.join(ignored)}), so two "
            "builds could overwrite each other: keep the warehouse in a bucket that has conditional writes"
        )


def _replaces(store: Store, path: str, version: str | None) -> bool:
    try:
        store.replace(path, b"333", version)
    except ConflictError:
        return False
    return True
