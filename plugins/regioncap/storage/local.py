"""A store in a local folder."""

import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from regioncap.errors import (
    BrokenReadError,
    ChangedError,
    ConflictError,
    ForbiddenError,
    LinkError,
    NotFoundError,
    StorageError,
)
from regioncap.storage.store import Entry, Store, read_again

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Files that are being written; never listed.
_TEMPORARY = ".regioncap-"

# How things are opened. A folder on the way to a file: to go on from there, which needs no right to list it.
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that nobody writes to must not be waited for; for a file it makes no difference.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

# What the system says of a name that no file here can have, and of a socket.
_NO_FILE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.ENXIO)


class LocalStore:
    """Files below `folder` in `root`. See `Store` for the methods' meaning.

    The way to `root`, and `root` itself, may lead through symbolic links, since whoever sets the store up chooses it.
    None below it is followed: each part of a path is opened from the one before it, so that even a folder that is
    swapped for a link meanwhile leads nowhere else.
    """

    def __init__(self, root: Path, folder: str = "") -> None:
        self._root = root
        self._folder = _parts(folder)

    @property
    def uri(self) -> str:
        return f"file://{self._path('')}"

    def sub(self, path: str) -> "LocalStore":
        return LocalStore(self._root, "/".join([*self._folder, *_parts(path)]))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder = _parts(prefix.rpartition("/")[0])
        with suppress(NotFoundError), self._walked([], prefix) as own:
            try:
                inner = self._descended(own, folder, prefix)
            except LinkError:  # left out, as it is where everything is listed
                return
            with _closing(inner), self._readable(inner, ".", prefix) as readable:
                for entry in self._entries(readable, "/".join(folder)):
                    if entry.path.startswith(prefix):
                        yield entry

    def _entries(self, folder: int, path: str) -> Iterator[Entry]:
        """All files below an open folder, whose path in the store is `path`."""
        for item in _scanned(folder):
            inner = f"{path}/{item.name}" if path else item.name
            # It may be deleted, or swapped for a link, since its folder was read.
            with suppress(FileNotFoundError, NotADirectoryError):
                if item.is_dir(follow_symlinks=False):
                    with self._readable(folder, item.name, inner) as handle:
                        yield from self._entries(handle, inner)
                elif item.is_file(follow_symlinks=False):
                    yield _entry(inner, item.stat(follow_symlinks=False))

    @contextmanager
    def _readable(self, folder: int, name: str, path: str) -> Iterator[int]:
        """A folder in an open one, opened so that it can be listed."""
        try:
            handle = os.open(name, _LIST, dir_fd=folder)
        except PermissionError as error:
            raise StorageError(f"{self._path(path)} cannot be read: give this user read access to it") from error
        with _closing(handle):
            yield handle

    def folder_exists(self) -> bool:
        return next(self.list(), None) is not None

    def folders(self) -> Sequence[str]:
        try:
            with self._walked([], "") as own, self._readable(own, ".", "") as handle:
                return sorted(item.name for item in _scanned(handle) if item.is_dir(follow_symlinks=False))
        except NotFoundError:
            return []

    def stat(self, path: str) -> Entry:
        with self._found(path) as (folder, name), self._faults(path):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        self._check_kind(status, path)
        return _entry(path, status)

    def read(self, path: str, version: str | None = None) -> bytes:
        def read() -> bytes:
            with self.open(path, version) as stream:
                return stream.read()

        return read_again(read)

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        with self._found(path) as (folder, name), self._faults(path):
            handle = os.open(name, _READ, dir_fd=folder)
        try:
            status = os.fstat(handle)
            self._check_kind(status, path)
            if version is not None and _entry(path, status).version != version:
                raise ChangedError(f"{self._named(path)} was written since it was looked at")
        except BaseException:
            os.close(handle)
            raise
        return io.BufferedReader(_Whole(handle, status, f"{self.uri}/{path}"))

    def write(self, path: str, data: bytes) -> None:
        with self._replacing(path) as outgoing:
            outgoing.write(data)

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        with self._replacing(path) as outgoing:
            shutil.copyfileobj(stream, outgoing, 1 << 20)

    def local_path(self, path: str) -> Path:
        return self._path(path)

    def copy(self, source: Store, source_path: str, path: str) -> None:
        def copy() -> None:
            with source.open(source_path) as incoming:
                self.write_stream(incoming, path)

        read_again(copy)

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        with self._made(path) as (folder, _), self._locked(folder, path):
            try:
                current = self.stat(path).version
            except NotFoundError:
                current = None
            if current != version:
                raise ConflictError(f"{self.uri}/{path} was written by somebody else")
            self.write(path, data)
            return self.stat(path).version

    def delete(self, path: str) -> None:
        *folder, name = _parts(path)
        with suppress(NotFoundError), self._walked(folder, path) as handle, suppress(FileNotFoundError):
            os.unlink(name, dir_fd=handle)

    def delete_folder(self) -> None:
        if not self._folder:
            if self._root.exists():
                shutil.rmtree(self._root)
            return
        *above, name = self._folder
        with suppress(NotFoundError), LocalStore(self._root)._walked(above, "") as handle:
            with self._faults(""):
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                raise self._link("")
            shutil.rmtree(name, dir_fd=handle)

    def _path(self, path: str) -> Path:
        return self._root.joinpath(*self._folder, *_parts(path))

    @contextmanager
    def _found(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder that a file lies in, and its name there. Raises NotFoundError for a path that is none."""
        try:
            *folder, name = _parts(path)
        except ValueError as error:
            raise NotFoundError(f"{self.uri}/{path!r} cannot be a file's path here: {error}") from error
        with self._walked(folder, path) as handle:
            yield handle, name

    @contextmanager
    def _made(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder that a file is to lie in, made where it is missing, and its name there."""
        *folder, name = _parts(path)
        self._root.mkdir(parents=True, exist_ok=True)
        with self._walked(folder, path, make=True) as handle:
            yield handle, name

    @contextmanager
    def _walked(self, folder: Sequence[str], path: str, *, make: bool = False) -> Iterator[int]:
        """A folder in the store, opened; `path` is what it is opened for."""
        with self._faults(path):
            root = os.open(self._root, _STEP)
        with _closing(root):
            handle = self._descended(root, [*self._folder, *folder], path, make=make)
        with _closing(handle):
            yield handle

    def _descended(self, start: int, folder: Sequence[str], path: str, *, make: bool = False) -> int:
        """A folder below an open one, opened part by part."""
        handle = os.dup(start)
        try:
            for part in folder:
                with self._faults(path):
                    inner = self._step(handle, part, path, make=make)
                os.close(handle)
                handle = inner
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _step(self, folder: int, name: str, path: str, *, make: bool) -> int:
        try:
            return os.open(name, _STEP | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
            return self._step(folder, name, path, make=False)
        except NotADirectoryError:
            # Linux says the same of a link as of a file.
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise self._link(path) from None
            raise

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        """Tell what lies with this one file from what may pass, as a full table of files or a disk that is away."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(self._named(path)) from error
        except PermissionError as error:
            raise ForbiddenError(f"{self._named(path)} cannot be read: give this user read access to it") from error
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotFoundError(f"{self._named(path)}: {error}") from error
            if error.errno == errno.ELOOP:
                raise self._link(path) from error
            raise

    def _named(self, path: str) -> str:
        return f"{self.uri}/{path}".rstrip("/")

    def _link(self, path: str) -> LinkError:
        return LinkError(
            f"{self._named(path)} leads through a symbolic link, which is never followed: "
            "put the file or folder itself there"
        )

    def _check_kind(self, status: os.stat_result, path: str) -> None:
        if stat.S_ISLNK(status.st_mode):
            raise self._link(path)
        if not stat.S_ISREG(status.st_mode):
            raise NotFoundError(f"{self.uri}/{path} is not a file")

    @contextmanager
    def _locked(self, folder: int, path: str) -> Iterator[None]:
        """Hold an open folder's lock: a file of its own, which is never written to."""
        with self._faults(path):
            handle = os.open(f"{_TEMPORARY}lock", _LOCK, 0o644, dir_fd=folder)
        with _closing(handle):
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _replacing(self, path: str) -> Iterator[IO[bytes]]:
        """A new file that takes the place of `path`, whatever is there, when the block ends well."""
        with self._made(path) as (folder, name):
            temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
            handle = os.open(temporary, _NEW, 0o600, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as outgoing:
                    yield outgoing
                    os.fchmod(handle, 0o644)
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)


class _Whole(io.FileIO):
    """An open file, which was `before` when it was opened: reading ends at its end, or raises BrokenReadError."""

    def __init__(self, handle: int, before: os.stat_result, where: str) -> None:
        super().__init__(handle, "rb")
        self._before = before
        self._where = where
        self._seen = 0

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = super().readinto(buffer) or 0
        self._count(count, ended=count == 0)
        return count

    def readall(self) -> bytes:
        data = super().readall() or b""
        self._count(len(data), ended=True)
        return data

    def _count(self, count: int, *, ended: bool) -> None:
        self._seen += count
        if not ended and self._seen < self._before.st_size:
            return
        now = os.fstat(self.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise BrokenReadError(f"{self._where} was written while it was read")
        if self._seen != now.st_size:
            raise BrokenReadError(f"{self._where} ended after {self._seen:,} of {now.st_size:,} bytes")


def _parts(path: str) -> list[str]:
    """A path's names in turn. Raises ValueError where it leads out of the store, or no file can have it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is not a path inside the store")
    os.fsencode(path)
    return parts


def _scanned(folder: int) -> list[os.DirEntry[str]]:
    """What lies in an open folder, in the order of whole paths as in a bucket: a folder sorts as "name/"."""
    with os.scandir(folder) as found:
        kept = [item for item in found if not item.is_symlink() and not item.name.startswith(_TEMPORARY)]
    return sorted(kept, key=lambda item: os.fsencode(item.name + "/" * item.is_dir(follow_symlinks=False)))


def _entry(path: str, status: os.stat_result) -> Entry:
    version = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
    # The change time: a copy may keep an old modification time while it is still being uploaded.
    return Entry(path, status.st_size, version, status.st_ctime)


@contextmanager
def _closing(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)
