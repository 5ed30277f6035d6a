"""A store in a local folder."""

import ctypes
import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from regioncap.errors import (
    BrokenReadError,
    ChangedError,
    ConflictError,
    ForbiddenError,
    LinkError,
    NotFoundError,
    StorageError,
    StorageUnavailableError,
)
from regioncap.storage.patience import PassingFault, persist
from regioncap.storage.store import Entry, Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LIBC = ctypes.CDLL(None, use_errno=True)

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
# What may be gone the next time: a disk or a file server that is away, too many open files, too little memory.
_PASSING = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EBUSY, errno.EAGAIN,
        errno.EINTR, errno.ENOLCK, errno.EDEADLK, errno.ETIMEDOUT, errno.ETIME, errno.ENOTCONN, errno.ECONNRESET,
        errno.ECONNREFUSED, errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH,
        errno.ENETRESET, errno.EPIPE, errno.ECOMM, errno.EREMOTEIO, errno.ESHUTDOWN, errno.ENODEV, errno.ETXTBSY,
    }
)  # fmt: skip
# A disk that is full is so until somebody makes room.
_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        def walk() -> None:
            with self._walked([], prefix):
                pass

        try:
            persist(walk)
        except NotFoundError:
            return
        for entry in self._below(_parts(prefix.rpartition("/")[0])):
            if entry.path.startswith(prefix):
                yield entry

    def _below(self, folder: Sequence[str]) -> Iterator[Entry]:
        """All files below a folder."""
        try:
            found = persist(lambda: self._scanned(folder))
        except (NotFoundError, LinkError):
            # A link is left out; the folder may be deleted, or swapped for a link, since the one above it was read.
            return
        for name, entry in found:
            if entry is None:
                yield from self._below([*folder, name])
            else:
                yield entry

    def _scanned(self, folder: Sequence[str]) -> Sequence[tuple[str, Entry | None]]:
        """What lies in a folder: its name, and its entry if it is a file.

        In the order of whole paths as in a bucket: a folder sorts as "name/".
        """
        path = "/".join(folder)
        found: list[tuple[str, Entry | None]] = []
        with (
            self._walked(folder, path) as start,
            self._faults(path),
            _closing(os.open(".", _LIST, dir_fd=start)) as handle,
            os.scandir(handle) as items,
        ):
            for item in items:
                # It may be deleted meanwhile.
                with suppress(FileNotFoundError):
                    if item.name.startswith(_TEMPORARY) or item.is_symlink():
                        continue
                    if item.is_dir(follow_symlinks=False):
                        found.append((item.name, None))
                    elif item.is_file(follow_symlinks=False):
                        inner = f"{path}/{item.name}" if path else item.name
                        found.append((item.name, _entry(inner, item.stat(follow_symlinks=False))))
        return sorted(found, key=lambda item: os.fsencode(item[0] + "/" * (item[1] is None)))

    def now(self) -> float:
        return time.time()

    def folder_exists(self) -> bool:
        return next(self.list(), None) is not None

    def folders(self) -> Sequence[str]:
        try:
            return sorted(name for name, entry in persist(lambda: self._scanned([])) if entry is None)
        except NotFoundError:
            return []

    def stat(self, path: str) -> Entry:
        return persist(lambda: self._stat(path))

    def _stat(self, path: str) -> Entry:
        with self._found(path) as (folder, name), self._faults(path):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        self._check_kind(status, path)
        return _entry(path, status)

    def read(self, path: str, version: str | None = None) -> bytes:
        def read() -> bytes:
            with self._open(path, version) as stream:
                return stream.read()

        return persist(read)

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        return persist(lambda: self._open(path, version))

    def read_part(self, path: str, start: int, size: int, version: str | None = None) -> bytes:
        def read() -> bytes:
            with self._open(path, version) as stream, self._faults(path):
                before = os.fstat(stream.fileno())
                data = os.pread(stream.fileno(), size, start)
                while len(data) < min(size, before.st_size - start):
                    if not (piece := os.pread(stream.fileno(), size - len(data), start + len(data))):
                        raise BrokenReadError(f"{self._named(path)} ended before its size")
                    data += piece
                if _entry(path, os.fstat(stream.fileno())).version != _entry(path, before).version:
                    raise BrokenReadError(f"{self._named(path)} was written while it was read")
            return data

        return persist(read)

    def _open(self, path: str, version: str | None = None) -> IO[bytes]:
        with self._found(path) as (folder, name), self._faults(path):
            handle = os.open(name, _READ, dir_fd=folder)
        try:
            with self._faults(path):
                status = os.fstat(handle)
            self._check_kind(status, path)
            if version is not None and _entry(path, status).version != version:
                raise ChangedError(f"{self._named(path)} was written since it was looked at")
        except BaseException:
            os.close(handle)
            raise
        return io.BufferedReader(_Whole(handle, status, f"{self.uri}/{path}"))

    def write(self, path: str, data: bytes) -> None:
        persist(lambda: self._write(path, data))

    def _write(self, path: str, data: bytes, *, settled: bool = False) -> None:
        with self._replacing(path, settled=settled) as outgoing:
            outgoing.write(data)

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        start = stream.tell() if stream.seekable() else None

        def write() -> None:
            if start is not None:
                stream.seek(start)
            with self._replacing(path) as outgoing:
                shutil.copyfileobj(stream, outgoing, 1 << 20)

        # What cannot be sought in, cannot be read from its start again.
        write() if start is None else persist(write)

    def local_path(self, path: str) -> Path:
        return self._path(path)

    def copy(self, source: Store, source_path: str, path: str) -> str | None:
        def copy() -> None:
            with source.open(source_path) as incoming:
                self.write_stream(incoming, path)

        persist(copy)
        return None

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        tries = 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            with self._made(path) as (folder, _), self._locked(folder, path):
                try:
                    current = self._stat(path).version
                except NotFoundError:
                    current = None
                # An earlier try may have put it there, and failed only after that.
                if current is not None and tries > 1 and self._open(path, current).read() == data:
                    return current
                if current != version:
                    raise ConflictError(f"{self.uri}/{path} was written by somebody else")
                # Others go by it: what it speaks of was written before, and has to be there after a power cut too.
                self._write(path, data, settled=True)
                return self._stat(path).version

        return persist(attempt)

    def delete(self, path: str) -> None:
        *folder, name = _parts(path)

        def delete() -> None:
            with self._walked(folder, path) as handle, self._faults(path, "written"):
                os.unlink(name, dir_fd=handle)

        with suppress(NotFoundError):
            persist(delete)

    def delete_folder(self) -> None:
        *above, name = self._folder or [self._root.name]
        parent = LocalStore(self._root) if self._folder else LocalStore(self._root.parent)

        def delete() -> None:
            with parent._walked(above, "") as handle:
                with self._faults(""):
                    status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if self._folder and stat.S_ISLNK(status.st_mode):
                    raise self._link("")
                try:
                    with self._faults("", "written"):
                        shutil.rmtree(name, dir_fd=handle)
                except NotFoundError as error:
                    raise PassingFault(f"{error} any more: somebody else deletes in this folder too") from error

        with suppress(NotFoundError):
            persist(delete)

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
        with self._faults(path, "written"):
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
                with self._faults(path, "written" if make else "read"):
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
    def _faults(self, path: str, what: Literal["read", "written"] = "read") -> Iterator[None]:
        """Tell what lies with this one file from what may pass, as a full table of files or a disk that is away."""
        access = "read access to it" if what == "read" else "write access to its folder"
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(self._named(path)) from error
        except PermissionError as error:
            raise ForbiddenError(f"{self._named(path)} cannot be {what}: give this user {access}") from error
        except (IsADirectoryError, FileExistsError) as error:
            raise StorageError(f"{self._named(path)}: a folder and a file have the same name: rename one") from error
        except OSError as error:
            if error.errno in _NO_FILE:
                raise NotFoundError(f"{self._named(path)}: {error}") from error
            if error.errno == errno.ELOOP:
                raise self._link(path) from error
            if error.errno in _PASSING:
                raise PassingFault(f"{self._named(path)} cannot be {what} now: {error.strerror}") from error
            if error.errno in _FULL:
                raise StorageUnavailableError(
                    f"{self._named(path)} cannot be written: make room on its disk"
                ) from error
            if error.errno == errno.EROFS:
                raise StorageError(f"{self._named(path)} cannot be written: mount its disk for writing") from error
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
        with self._faults(path, "written"):
            handle = os.open(f"{_TEMPORARY}lock", _LOCK, 0o644, dir_fd=folder)
        with _closing(handle):
            with self._faults(path, "written"):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _replacing(self, path: str, *, settled: bool = False) -> Iterator[IO[bytes]]:
        """A new file that takes the place of `path`, whatever is there, when the block ends well.

        If it is `settled`, all that was written to its disk before it is there first, and it itself at the end.
        """
        with self._made(path) as (folder, name), self._faults(path, "written"):
            temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
            handle = os.open(temporary, _NEW, 0o600, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as outgoing:
                    yield outgoing
                    os.fchmod(handle, 0o644)
                    outgoing.flush()
                    if settled:
                        _settle(handle)
                    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                    if settled:
                        _settle(handle)
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
        with self._faults():
            count = super().readinto(buffer) or 0
        self._count(count, ended=count == 0)
        return count

    def readall(self) -> bytes:
        with self._faults():
            data = super().readall() or b""
        self._count(len(data), ended=True)
        return data

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BrokenReadError(f"{self._where} could not be read to its end: {error.strerror}") from error

    def _count(self, count: int, *, ended: bool) -> None:
        self._seen += count
        if not ended and self._seen < self._before.st_size:
            return
        with self._faults():
            now = os.fstat(self.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise BrokenReadError(f"{self._where} was written while it was read")
        if self._seen != now.st_size:
            raise BrokenReadError(f"{self._where} ended after {self._seen:,} of {now.st_size:,} bytes")


def _settle(handle: int) -> None:
    """Return when all that was written to an open file's disk survives a power cut."""
    if _LIBC.syncfs(handle):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _parts(path: str) -> list[str]:
    """A path's names in turn. Raises ValueError where it leads out of the store, or no file can have it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is not a path inside the store")
    os.fsencode(path)
    return parts


def _entry(path: str, status: os.stat_result) -> Entry:
    version = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
    # The change time: a copy may keep an old modification time while it is still being uploaded.
    return Entry(path, status.st_size, version, status.st_ctime)


@contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)
