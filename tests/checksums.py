"""A folder that tells checksums, as a bucket does."""

import hashlib
from collections.abc import Iterator

from regioncap.storage.local import LocalStore
from regioncap.storage.store import Entry, Store


class Summing(LocalStore):
    """A folder that tells checksums, as a bucket does; `salt` is what else they depend on."""

    salt = ""

    def sub(self, path: str) -> "Summing":
        return type(self)(self._path(path))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in super().list(prefix):
            yield self._told(entry)

    def stat(self, path: str) -> Entry:
        return self._told(super().stat(path))

    def write(self, path: str, data: bytes) -> str:  # type: ignore[override]
        super().write(path, data)
        return self._sum(path)

    def copy(self, source: Store, source_path: str, path: str) -> str:
        super().copy(source, source_path, path)
        return self._sum(path)

    def _told(self, entry: Entry) -> Entry:
        return Entry(entry.path, entry.size, entry.version, entry.modified, self._sum(entry.path))

    def _sum(self, path: str) -> str:
        return f"{self.salt}{hashlib.md5(LocalStore.read(self, path)).hexdigest()}"


class Resealed(Summing):
    """The same folder, once the service says something else of the same bytes."""

    salt = "another key's"
