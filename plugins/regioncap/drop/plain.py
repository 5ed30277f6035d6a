"""A manifest's file as its reader gets it: unpacked, and where it is text, in UTF-8."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from regioncap.drop.unread import IS_LFS_POINTER, LFS_POINTER

# What a name ends in where a file is compressed. What it is, its first bytes say.
ENDINGS = ("", ".gz", ".bz2", ".xz", ".zst")

# Lists of boxes get some 20 times smaller. What unpacks to more than both of these was made to fill the disk.
_MOST_TIMES, _MOST_BYTES = 200, 1 << 30

_CHUNK = 1 << 20
_START_BYTES = 4096

Open = Callable[[Path], Any]


class _Streams:
    """What one stream of bzip2 or xz after the other unpacks to, to the end of a file, which may be filled with zeros.

    Python's own readers take one that is damaged where it begins for the end.
    """

    def __init__(self, path: Path, decompressor: Callable[[], Any]) -> None:
        self._file = path.open("rb")
        self._begun = decompressor
        self._stream = decompressor()

    def read(self, size: int) -> bytes:
        """Some of the next so many bytes; none at the end. Raises EOFError, OSError and LZMAError."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._stream.unused_data.lstrip(b"\0")
                while not packed and (piece := self._file.read(_CHUNK)):
                    packed = piece.lstrip(b"\0")
                if not packed:
                    return b""
                self._stream = self._begun()
            elif self._stream.needs_input:
                packed = self._file.read(_CHUNK)
                if not packed:
                    raise EOFError("it ends before its end")
            if piece := self._stream.decompress(packed, size):
                return bytes(piece)

    def __enter__(self) -> "_Streams":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _bzip2(path: Path) -> Any:
    return _Streams(path, bz2.BZ2Decompressor)


def _xz(path: Path) -> Any:
    return _Streams(path, lzma.LZMADecompressor)


def _zstd(path: Path) -> Any:
    return pa.input_stream(str(path), compression="zstd")


# How files begin that are compressed: more than the few bytes that a damaged line could begin with too.
_PACKED: tuple[tuple[re.Pattern[bytes], Open], ...] = (
    (re.compile(rb"\x1f\x8b\x08[\0-\x1f].{4}[\0\x02\x04][\0-\x0d\xff]", re.DOTALL), gzip.open),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), _bzip2),
    (re.compile(rb"\xfd7zXZ\0\0[\0\x01\x04\x0a]"), _xz),
    # Before the content may be frames of which it is said how long they are, and that they are not of it.
    (re.compile(rb"(\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18).{5}", re.DOTALL), _zstd),
)
_ZIP = re.compile(rb"PK\x03\x04.\0.{2}[\0\x08\x09\x0c\x0e\x5d]\0", re.DOTALL)

# Unicode in other encodings. Characters of ASCII have zeros in them there: the first two characters are such, or a mark
# is before the text, and one of them somewhere in it; a mark alone may be damage.
_UNICODE = {
    "utf-32-le": re.compile(rb"\xff\xfe\0\0(....)*?[\n -~]\0\0\0|([\t\n\r -~]\0\0\0){2}", re.DOTALL),
    "utf-32-be": re.compile(rb"\0\0\xfe\xff(....)*?\0\0\0[\n -~]|(\0\0\0[\t\n\r -~]){2}", re.DOTALL),
    "utf-16-le": re.compile(rb"\xff\xfe(..)*?[\n -~]\0|([\t\n\r -~]\0){2}", re.DOTALL),
    "utf-16-be": re.compile(rb"\xfe\xff(..)*?\0[\n -~]|(\0[\t\n\r -~]){2}", re.DOTALL),
}

# What the libraries raise of what is damaged, or has no end; OSError too, which with a number is the disk's.
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, pa.ArrowException, OSError)

# How XML says in which encoding it is.
_XML = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z][\w.-]{0,40})["']""")

# Encodings in which text can be written that does not read as what it is, or that are none of files.
_NO_ENCODINGS = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf_7"}


def with_compressed(suffixes: Iterable[str]) -> tuple[str, ...]:
    """What the names of files end in that end in one of `suffixes`, or would if they were not compressed."""
    return tuple(suffix + ending for suffix in suffixes for ending in ENDINGS)


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is compressed."""
    return any(pattern.match(start) for pattern, _ in _PACKED)


def shown(path: str) -> str:
    """A path as it can be shown, whatever bytes are in its name."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_utf8(text: str) -> bool:
    """Whether text that was read with `surrogateescape` was UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_text_encoding(name: str) -> bool:
    """Whether files can be in an encoding of this name."""
    try:
        found = codecs.lookup(name)
        io.TextIOWrapper(io.BytesIO(), encoding=name)  # not of those that make bytes of bytes
    except (LookupError, ValueError):
        return False
    return found.name.replace("-", "_") not in _NO_ENCODINGS


@contextmanager
def plain(path: Path, *, encoding: str, is_text: bool) -> Iterator[Path]:
    """The file at `path` unpacked, and text of another encoding in UTF-8: itself where nothing is to be done.

    `encoding` is what text is in that says nothing of it itself; UTF-16, UTF-32 and byte order marks are noticed. What
    is not in the encoding becomes a byte that is not UTF-8, so that it is told of the line that it is in.
    Raises ValueError where the file is an archive or a pointer to a file, is damaged, or unpacks to far more than any
    manifest.
    """
    start = _start(path)
    opened = next((opener for pattern, opener in _PACKED if pattern.match(start)), None)
    if _ZIP.match(start):
        raise ValueError("it is a ZIP archive: unpack it")
    if start.startswith(LFS_POINTER):
        raise ValueError(f"it is {IS_LFS_POINTER}")
    if opened is not None:
        with _temporary() as unpacked:
            _unpack(path, opened, unpacked)
            with plain(Path(unpacked.name), encoding=encoding, is_text=is_text) as inner:
                yield inner
        return
    found = _encoding_of(start, encoding) if is_text else "utf-8"
    if found == "utf-8":
        yield path
        return
    with _temporary() as written:
        _write_utf8(path, found, written)
        yield Path(written.name)


def in_utf8(data: bytes, encoding: str) -> bytes:
    """Text of a small file in UTF-8, without a byte order mark; see `plain`."""
    found = _encoding_of(data[:_START_BYTES], encoding)
    if found == "utf-8":
        return data.removeprefix(codecs.BOM_UTF8)
    mark = "\ufeff".encode(found) if found.startswith(("utf-16", "utf-32")) else b""
    return data.removeprefix(mark).decode(found, _NOT_IN_IT).encode("utf-8", "surrogateescape")


def unpacked(data: bytes, most: int) -> bytes:
    """A small file's content, in at most so many bytes. Raises ValueError where it is damaged."""
    try:
        return b"".join(_pieces(data, most))
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _cannot_be_unpacked(error) from error


def unpacked_start(data: bytes, most: int) -> bytes:
    """How a file begins, in at most so many bytes, given how it begins as it is stored."""
    pieces = []
    with suppress(*_DAMAGED):  # it has no end here
        for piece in _pieces(data, most):
            pieces.append(piece)
    return b"".join(pieces)


def _pieces(data: bytes, most: int) -> Iterator[bytes]:
    """The content of a file in small pieces, at most so many bytes in all."""
    opened = next((opener for pattern, opener in _PACKED if pattern.match(data)), None)
    if opened is None:
        yield data
        return
    with _temporary() as packed:
        packed.write(data)
        packed.flush()
        with opened(Path(packed.name)) as stream:
            while most > 0 and (piece := stream.read(min(most, 1024))):
                most -= len(piece)
                yield piece


def _cannot_be_unpacked(error: Exception) -> ValueError:
    return ValueError(f"it is compressed, and cannot be unpacked: {error}")


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_START_BYTES)


def _temporary() -> Any:
    return tempfile.NamedTemporaryFile(prefix="regioncap-manifest-")


def _unpack(path: Path, opened: Open, into: IO[bytes]) -> None:
    left = max(_MOST_BYTES, _MOST_TIMES * path.stat().st_size)
    try:
        with opened(path) as stream:
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise ValueError(
                        f"it unpacks to more than {_MOST_TIMES} times its size, which no list of boxes does: upload it "
                        "unpacked"
                    )
                into.write(chunk)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _cannot_be_unpacked(error) from error
    into.flush()


def _encoding_of(start: bytes, declared: str) -> str:
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8"
    found = next((name for name, pattern in _UNICODE.items() if pattern.match(start)), None)
    said = _XML.match(start)
    # It is not UTF-16 where that can be read.
    if found is None and said and is_text_encoding(name := said[1].decode()) and not name.lower().startswith("utf"):
        found = codecs.lookup(name).name
    return found or codecs.lookup("utf-8" if said else declared).name


def _write_utf8(path: Path, encoding: str, into: IO[bytes]) -> None:
    decoder = codecs.getincrementaldecoder(encoding)(errors=_NOT_IN_IT)
    with path.open("rb") as stream:
        if encoding.startswith(("utf-16", "utf-32")):
            _skip_mark(stream, encoding)
        while True:
            chunk = stream.read(_CHUNK)
            into.write(decoder.decode(chunk, final=not chunk).encode("utf-8", "surrogateescape"))
            if not chunk:
                break
    into.flush()


def _skip_mark(stream: IO[bytes], encoding: str) -> None:
    mark = "\ufeff".encode(encoding)
    if stream.read(len(mark)) != mark:
        stream.seek(0)


def _as_no_utf8(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    # `surrogateescape` makes the byte FF of it, which stands nowhere in UTF-8.
    return "\udcff", error.end


_NOT_IN_IT = "regioncap.not_in_it"
codecs.register_error(_NOT_IN_IT, _as_no_utf8)
