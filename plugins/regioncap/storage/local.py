"""A store in a local folder."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from regioncap.storage.store import ConflictError, Entry, LinkError, NotFoundError, StorageError, Store

# Files that are being written; never listed.
_TEMPORARY = ".regioncap-"


class LocalStore:
    """Files below `root`. See `Store` for the methods' meaning."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        return f"file://{self._root}"

    def sub(self, path: str) -> "LocalStore":
        return LocalStore(self._path(path))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self._root
        for entry in self._walk(start):
            if entry.path.startswith(prefix):
                yield entry

    def _walk(self, folder: Path) -> Iterator[Entry]:
        try:
            # A folder sorts as "name/", so that the order is that of whole paths, as in a bucket.
            found = sorted(os.scandir(folder), key=lambda item: os.fsencode(item.name + "/" * item.is_dir()))
        except (FileNotFoundError, NotADirectoryError):
            return
        except PermissionError as error:
            raise StorageError(f"{folder} cannot be read: give this user read access to it") from error
        for item in found:
            if item.is_symlink() or item.name.startswith(_TEMPORARY):
                continue
            if item.is_dir():
                yield from self._walk(Path(item.path))
            elif item.is_file():
                yield self._entry(Path(item.path), item.stat())

    def folder_exists(self) -> bool:
        return next(self._walk(self._root), None) is not None

    def folders(self) -> Sequence[str]:
        try:
            return sorted(item.name for item in os.scandir(self._root) if item.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def stat(self, path: str) -> Entry:
        real = self._checked(path)
        return self._entry(real, real.stat())

    def read(self, path: str) -> bytes:
        with self.open(path) as stream:
            return stream.read()

    def open(self, path: str) -> IO[bytes]:
        real = self._checked(path)
        # The check above is for the message; O_NOFOLLOW holds even if the file is swapped for a link meanwhile.
        return os.fdopen(os.open(real, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    def write(self, path: str, data: bytes) -> None:
        with self._temporary(path) as temporary:
            temporary.write_bytes(data)

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        with self._temporary(path) as temporary, temporary.open("wb") as outgoing:
            shutil.copyfileobj(stream, outgoing, 1 << 20)

    def local_path(self, path: str) -> Path:
        return self._path(path)

    def copy(self, source: Store, source_path: str, path: str) -> None:
        with source.open(source_path) as incoming:
            self.write_stream(incoming, path)

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / f"{_TEMPORARY}lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                current = self.stat(path).version
            except NotFoundError:
                current = None
            if current != version:
                raise ConflictError(f"{self.uri}/{path} was written by somebody else")
            self.write(path, data)
            return self.stat(path).version

    def delete(self, path: str) -> None:
        self._path(path).unlink(missing_ok=True)

    def delete_folder(self) -> None:
        if self._root.exists():
            shutil.rmtree(self._root)

    def _path(self, path: str) -> Path:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not a path inside {self._root}")
        return self._root / path

    def _checked(self, path: str) -> Path:
        """The file's path, after making sure that it is a file and no part of the way to it is a link."""
        current = self._root
        for part in Path(path).parts:
            current = current / part
            try:
                mode = os.lstat(current).st_mode
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(f"{self.uri}/{path}") from None
            except OSError as error:  # a name too long for the file system cannot be there
                raise NotFoundError(f"{self.uri}/{path}: {error}") from error
            if stat.S_ISLNK(mode):
                raise LinkError(f"{self.uri}/{path}")
        if not stat.S_ISREG(os.lstat(current).st_mode):
            raise NotFoundError(f"{self.uri}/{path} is not a file")
        return current

    def _entry(self, path: Path, status: os.stat_result) -> Entry:
        version = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
        # The change time: a copy may keep an old modification time while it is still being uploaded.
        return Entry(path.relative_to(self._root).as_posix(), status.st_size, version, status.st_ctime)

    @contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        """A file beside `path` that takes its place when the block ends well."""
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
