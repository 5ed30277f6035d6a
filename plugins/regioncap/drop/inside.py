"""Images that are inside a file of the drop: members of a tar, and rows of a Parquet file.

Such an image's path is that of the file, `!/`, and where in it the image is: `shards/0001.tar!/000012.jpg`,
`train.parquet!/image/17` (the column and the row, from 1). Nothing of them is unpacked to disk but a tar that is
compressed, which cannot be read from the middle.
"""

import io
import re
import tarfile
import tempfile
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.images import MAX_BYTES
from regioncap.drop.plain import is_packed, plain
from regioncap.errors import RegionCapError, RowError
from regioncap.regions.codes import Code
from regioncap.storage.patience import persist
from regioncap.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TARS = (".tar", ".tgz")
PARQUET = ".parquet"

_INSIDE = re.compile(r"(.+?(?:\.parquet|\.tgz|\.tar(?:\.(?:gz|bz2|xz|zst))?))!/(.+)", re.DOTALL | re.IGNORECASE)
# The version of an image in a tar: that of the tar, and where its bytes are.
_PLACED = re.compile(r"(.*)@(\d+)\+(\d+)", re.DOTALL)

# What is read at a time of a file that is gone through.
_BUFFER_BYTES = 1 << 18
# What says where a tar's members are is short; what is longer was made to fill the memory.
_HEADER_BYTES = 1 << 20
# So many files stay open, each to be gone through from where it was left.
_OPEN = 4
# Images are asked for nearly in the order of the rows: those just passed are kept for threads that come a little late.
_PASSED, _PASSED_BYTES = 256, 64 << 20


def inside(path: str) -> tuple[str, str] | None:
    """The file that an image is inside, and where in it; None where it is a file of its own."""
    found = _INSIDE.fullmatch(path) if "!/" in path else None
    return None if found is None else (found[1], found[2])


def member_path(file: str, member: str) -> str:
    """The path of an image that is inside a file."""
    return f"{file}!/{member}"


def placed(version: str | None, place: tuple[int, int] | None) -> str | None:
    """The version of an image inside a file of this version: it says where its bytes are, if that is known."""
    return version if version is None or place is None else f"{version}@{place[0]}+{place[1]}"


class _Parts(io.RawIOBase):
    """A stored file of one version that can be sought in."""

    def __init__(self, store: Store, path: str, version: str | None) -> None:
        entry = store.stat(path)
        self._store, self._path, self._version = store, path, version or entry.version
        self._size, self._at = entry.size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        size = min(len(view), self._size - self._at)
        if size <= 0:
            return 0
        data = self._store.read_part(self._path, self._at, size, self._version)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def opened(store: Store, path: str, version: str | None) -> Iterator[tuple[IO[bytes], bool]]:
    """A file that can be sought in, and whether it is compressed: then it is the unpacked content, on this disk.

    Raises NotFoundError and ChangedError, and ValueError where it cannot be unpacked.
    """
    with ExitStack() as stack:
        parts = io.BufferedReader(stack.enter_context(_Parts(store, path, version)), _BUFFER_BYTES)
        if not is_packed(parts.peek(_BUFFER_BYTES)[:_HEADER_BYTES]):
            yield parts, False
            return
        with stack.enter_context(tempfile.NamedTemporaryFile(prefix="regioncap-packed-")) as packed:
            persist(lambda: copy_to(packed, store, path, version))
            unpacked = stack.enter_context(plain(Path(packed.name), encoding="utf-8", is_text=False))
            yield stack.enter_context(unpacked.open("rb")), True


def copy_to(out: IO[bytes], store: Store, path: str, version: str | None) -> None:
    """Fill a local file with a stored one."""
    out.seek(0)
    out.truncate()
    with store.open(path, version) as stream:
        while piece := stream.read(1 << 20):
            out.write(piece)
    out.flush()


class _Headers:
    """What a tar's headers are read from: no more at a time than such have."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _HEADER_BYTES
        self.tell, self.seek = stream.tell, stream.seek

    def begin(self) -> None:
        """Begin with another member."""
        self._left = _HEADER_BYTES

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"the name or the notes of a member have more than {_HEADER_BYTES:,} bytes")
        return self._stream.read(size)


def members(stream: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, in order, from its headers alone. Raises ValueError where it is none, or is damaged."""
    stream.seek(0)
    headers = _Headers(stream)
    end = 0
    try:
        with tarfile.open(fileobj=cast(IO[bytes], headers), mode="r:", encoding="utf-8") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps them all
                # The library takes any size that a header says: with one below nothing it goes back, for ever.
                if member.size < 0 or tar.offset <= end:
                    raise _damaged_at(end)
                yield member
                headers.begin()
                end = tar.offset
            end = tar.offset
    except tarfile.TarError as error:
        raise ValueError(f"the tar cannot be read: {error}") from error
    # The library takes a damaged header, and a file that was cut off between two members, for the end.
    stream.seek(end)
    block = stream.read(tarfile.BLOCKSIZE)
    if block != b"\0" * tarfile.BLOCKSIZE:
        raise _damaged_at(end) if block else ValueError(f"the tar is cut off at its byte {end + 1:,}")


def _damaged_at(byte: int) -> ValueError:
    return ValueError(f"the tar is damaged at its byte {byte + 1:,}")


def name_of(member: tarfile.TarInfo) -> str:
    """A member's name without the `./` that stands before it where a folder was packed as a whole."""
    return member.name.removeprefix("./")


def place_of(member: tarfile.TarInfo) -> tuple[int, int]:
    """Where a member's bytes are: from which byte on, and how many."""
    return member.offset_data, member.size


def check_member(member: tarfile.TarInfo) -> None:
    """Raises RowError (image_is_link, image_unreadable) where a member of a tar is no plain file."""
    if member.issym() or member.islnk():
        raise RowError(Code.IMAGE_IS_LINK, f"{member.name!r} is a link; links are not followed")
    if not member.isreg() or member.sparse is not None:
        raise RowError(Code.IMAGE_UNREADABLE, f"{member.name!r} is no plain file of the tar")


class _Tar:
    """A tar whose members are looked for from where the last one was found, and then from the start."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = members(stream)

    def read(self, name: str, most: int) -> bytes:
        for turn in range(2):
            for member in self._rest():
                if name_of(member) == name.removeprefix("./"):
                    check_member(member)
                    self._stream.seek(member.offset_data)
                    return self._stream.read(min(member.size, most))
            if turn == 0:
                self._left = members(self._stream)
        raise _missing(f"member {name!r}")

    def _rest(self) -> Iterator[tarfile.TarInfo]:
        try:
            yield from self._left
        except ValueError as error:
            raise RowError(Code.IMAGE_UNREADABLE, str(error)) from error


class _Rows:
    """A Parquet file whose images are read from where the last one was, a row at a time; a few passed ones are kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        counts = (self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups))
        self._ends = list(accumulate(counts))
        self._column, self._next, self._group_end = "", 0, 0
        self._left: Iterator[pa.RecordBatch] = iter(())
        self._passed: deque[tuple[int, bytes | None]] = deque()
        self._passed_bytes = 0

    def read(self, member: str, most: int) -> bytes:
        column, _, number = member.rpartition("/")
        row = int(number) - 1 if number.isdecimal() and len(number) < 12 else -1
        if column not in self._file.schema_arrow.names or not 0 <= row < (self._ends[-1] if self._ends else 0):
            raise _missing(f"row {number!r} of a column {column!r}")
        try:
            data = self._at(column, row, most)
        except (pa.ArrowException, OSError, OverflowError) as error:
            self._column = ""
            _raise_if_not_about_the_file(error)
            raise RowError(Code.IMAGE_UNREADABLE, f"the Parquet file is damaged there: {error}") from error
        if data is None:
            raise _missing(f"image in row {number} of {column!r}")
        return data

    def _at(self, column: str, row: int, most: int) -> bytes | None:
        if column == self._column:
            for number, data in self._passed:
                if number == row:
                    return data
        if column != self._column or not self._next <= row < self._group_end:
            self._begin(column, row)
        for batch in self._left:
            number, self._next = self._next, self._next + 1
            if number == row or row - number < _PASSED:
                self._keep(number, _image_in(batch.column(0), most))
            if number == row:
                return self._passed[-1][1]
        raise pa.ArrowInvalid(f"its row {row + 1:,} is missing")

    def _begin(self, column: str, row: int) -> None:
        group = next(place for place, end in enumerate(self._ends) if row < end)
        if column != self._column:
            self._passed.clear()
            self._passed_bytes = 0
        self._column, self._group_end = column, self._ends[group]
        self._next = self._ends[group - 1] if group else 0
        # One row at a time, so that no more than one image is made at once of what may be the same one many times.
        self._left = self._file.iter_batches(batch_size=1, row_groups=[group], columns=[column], use_threads=False)

    def _keep(self, number: int, data: bytes | None) -> None:
        self._passed.append((number, data))
        self._passed_bytes += len(data or b"")
        while len(self._passed) > 1 and (len(self._passed) > _PASSED or self._passed_bytes > _PASSED_BYTES):
            self._passed_bytes -= len(self._passed.popleft()[1] or b"")


def _image_in(column: Any, most: int) -> bytes | None:
    """The bytes of an image: the value, or the field `bytes` of it."""
    value = column[0]
    if value.is_valid and pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        value = value["bytes"]
    if not value.is_valid or not is_bytes(value.type):
        return None
    return bytes(value.as_buffer()[:most])


def is_bytes(kind: Any) -> bool:
    """Whether a column of this type holds bytes."""
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _raise_if_not_about_the_file(error: Exception) -> None:
    # Arrow raises OSError for a damaged file; with a number, it is the disk's.
    if isinstance(error, RegionCapError) or (isinstance(error, OSError) and error.errno is not None):
        raise error


def _missing(what: str) -> RowError:
    return RowError(Code.IMAGE_NOT_FOUND, f"the file that the image should be in has no {what}")


@dataclass
class Insides:
    """Reads images that are inside files. A few of these stay open; what was opened goes with this object."""

    _open: "OrderedDict[tuple[str, str, str | None], tuple[_Tar | _Rows, ExitStack]]" = field(
        default_factory=OrderedDict
    )
    _lock: Lock = field(default_factory=Lock)

    def read(self, store: Store, file: str, member: str, version: str | None, most: int = MAX_BYTES + 1) -> bytes:
        """The bytes of an image, at most so many. `version` is what `placed` gives, or None.

        Raises RowError (image_not_found, image_is_link, image_unreadable) for what lies with this image, and as a
        store's `read` does for the file.
        """
        found = _PLACED.fullmatch(version or "")
        version, place = (found[1], (int(found[2]), int(found[3]))) if found else (version, None)
        if place is not None:
            return store.read_part(file, place[0], min(place[1], most), version) if place[1] else b""
        with self._lock:
            return self._held(store, file, version).read(member, most)

    def _held(self, store: Store, file: str, version: str | None) -> _Tar | _Rows:
        key = store.uri, file, version
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key][0]
        while len(self._open) >= _OPEN:
            self._open.popitem(last=False)[1][1].close()
        with ExitStack() as stack:
            try:
                stream, _ = stack.enter_context(opened(store, file, version))
                held = _Rows(stream) if file.lower().endswith(PARQUET) else _Tar(stream)
            except (ValueError, pa.ArrowException, OSError) as error:
                _raise_if_not_about_the_file(error)
                raise RowError(Code.IMAGE_UNREADABLE, f"{file} cannot be read: {error}") from error
            self._open[key] = held, stack.pop_all()
        return held
