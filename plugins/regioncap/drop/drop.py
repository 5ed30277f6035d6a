"""A drop as it lies there: is it ready, which manifests has it, what are their rows?"""

import hashlib
import mmap
import os
import posixpath
import re
import tempfile
import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import IO, Literal
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.elsewhere import ImageFiles, Images, is_uri
from regioncap.drop.images import MAX_BYTES
from regioncap.drop.inside import copy_to, inside, opened
from regioncap.drop.not_read import begins_as_not_read, is_looked_into, named_as_not_read, plainly_not_read
from regioncap.drop.plain import in_utf8, is_utf8, plain, shown, unpacked, unpacked_start, with_compressed
from regioncap.drop.readers import AUTO, READERS, ByLine, DropReader, Reader, Row
from regioncap.drop.readers.reader import IMAGE_ENDINGS, is_hidden, stem_of
from regioncap.drop.rows import MAX_LINE_BYTES, MAX_PATH_BYTES
from regioncap.drop.seen import SeenIds
from regioncap.drop.unforeseen import internal_error
from regioncap.errors import (
    ArchivedError,
    ChangedError,
    DropChangedError,
    DropError,
    ForbiddenError,
    LinkError,
    NotFoundError,
    RegionCapError,
    RowError,
    UnforeseenError,
)
from regioncap.parallel import in_order
from regioncap.regions.boxes import BoxFormat
from regioncap.regions.codes import Code
from regioncap.storage.patience import persist
from regioncap.storage.readback import read_at_most
from regioncap.storage.store import Entry, Store

Readiness = Literal["marker", "unchanged"]

# Without a marker, a drop that nobody has touched for so long is taken for complete.
QUIET_SECONDS = 600.0

# Of files with nearly the same name, so many are looked at.
_NEAR = 4

# How a path begins that leads out of where it stands.
_WAY_UP = re.compile(r"^(?:\.\./)+")
# How a path begins that is one of another machine.
_ABSOLUTE = re.compile(r"^(?:[/\\]|[A-Za-z]:[/\\]|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
# Where an address has the path of a file that lies on the server's own disk, as Label Studio's local files have.
_LOCAL = re.compile(r"[?&]d=([^&]+)")
# What parts of a data set are called, by the words that stand for them.
_PARTS = {
    "train": {"train"}, "training": {"train"}, "val": {"val"}, "valid": {"val"}, "validation": {"val"},
    "test": {"test"}, "testing": {"test"}, "trainval": {"train", "val"},
}  # fmt: skip
# Of images with the same name in other folders, so many are looked at.
_NAMESAKES = 1_000
# Small manifests are read so many at a time: each is a request. Twice as many as are read wait to be used.
_AT_ONCE, _UNDER_WAY_BYTES = 16, 128 << 20
# So many files of each ending are looked at to find out what they are, and so much of each.
_LOOKED_INTO, _START_BYTES = 8, 1 << 16

# Where images are refused, so many others are looked at before it is said that none can be read.
_LOOKED_AT = 20


def not_ready(drop: Store, readiness: Readiness, now: float) -> str | None:
    """Why the drop is not ready to be built, as a sentence; None if it is. `now` is in seconds since 1970."""
    if readiness == "marker":
        try:
            drop.stat(READY_MARKER)
        except NotFoundError:
            if drop.folder_exists():
                return f"the drop at {drop.uri} has no {READY_MARKER} file yet: upload it when all else is there"
            return f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date"
        except LinkError as error:
            return f"a link is no marker: {error}"
        return None
    latest = max((entry.modified for entry in drop.list()), default=None)
    if latest is None:
        return f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date"
    if now - latest < QUIET_SECONDS:
        return (
            f"the drop at {drop.uri} changed {max(0.0, now - latest):.0f} s ago; it is ready when nothing changes for "
            f"{QUIET_SECONDS:.0f} s"
        )
    return None


class Files:
    """The files of a drop: where each is in the listing, by hashes; their paths and versions are in a temporary file.

    A million take 20 MB of memory, and 12 MB more once a name was asked for that none of them has.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        hashes, ends = array("Q"), array("Q")
        notes = tempfile.TemporaryFile(prefix="regioncap-files-")  # noqa: SIM115 (it goes with this object)
        self._notes: IO[bytes] = notes
        for entry in entries:
            hashes.append(_path_hash(entry.path))
            note = f"{entry.version}\0{entry.path}".encode("utf-8", "surrogateescape")
            self._notes.write(note)
            ends.append((ends[-1] if ends else 0) + len(note))
        self._notes.flush()
        self._ends: Sequence[int] = ends
        self._exact = _sorted(hashes)

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, path: object) -> bool:
        return any(True for _ in self._exact.of(_path_hash(_file_of(str(path)))))

    @contextmanager
    def shared(self) -> Iterator[tuple[int, int]]:
        """Two open files, by their numbers, from which a process that inherits them has the same files: see `of`."""
        with tempfile.TemporaryFile(prefix="regioncap-files-") as numbers:
            for column in (self._ends, self._exact.hashes, self._exact.places):
                numbers.write(memoryview(column))  # type: ignore[arg-type]
            # What is empty cannot be mapped.
            numbers.write(b"\0")
            numbers.flush()
            yield self._notes.fileno(), numbers.fileno()

    @classmethod
    def of(cls, notes: int, numbers: int, count: int) -> "Files":
        """The `count` files that another process has `shared`. What takes memory is there once for all of them."""
        files = cls(())
        files._notes = os.fdopen(notes, "rb")
        mapped = memoryview(mmap.mmap(numbers, 0, prot=mmap.PROT_READ))
        files._ends = mapped[: 8 * count].cast("Q")
        files._exact = _Places(mapped[8 * count : 16 * count].cast("Q"), mapped[16 * count : 20 * count].cast("I"))
        return files

    def version(self, path: str) -> str | None:
        """The version of the file of this path, or that the image of this path is inside; None where there is none."""
        return next((self._note(place)[0] for place in self._exact.of(_path_hash(_file_of(path)))), None)

    def near(self, path: str) -> list[str]:
        """The paths of a few files that are called so but for capital letters, or for how accents are written."""
        return [self._note(place)[1] for place in islice(self._folded.of(_path_hash(_folded(path))), _NEAR)]

    def images_called(self, stem: str) -> Iterator[str]:
        """The paths of the images whose names are this but for their endings, wherever they lie."""
        for place in self._stems.of(_path_hash(stem)):
            path = self._note(place)[1]
            if _stem(path) == stem and path.lower().endswith(IMAGE_ENDINGS):
                yield path

    @cached_property
    def _folded(self) -> "_Places":
        return _sorted(array("Q", (_path_hash(_folded(path)) for path in self.paths())))

    @cached_property
    def _stems(self) -> "_Places":
        return _sorted(array("Q", (_path_hash(_stem(path)) for path in self.paths())))

    def paths(self) -> Iterator[str]:
        """All paths, in the order of the listing."""
        return (self._note(place)[1] for place in range(len(self._ends)))

    def _note(self, place: int) -> list[str]:
        """The version and the path of a file."""
        start = self._ends[place - 1] if place else 0
        note = os.pread(self._notes.fileno(), self._ends[place] - start, start)
        return note.decode("utf-8", "surrogateescape").split("\0", 1)


@dataclass(frozen=True)
class _Places:
    """Where in a list each of its hashes is: these, sorted, and the places of them."""

    hashes: Sequence[int]
    places: Sequence[int]

    def of(self, wanted: int) -> Iterator[int]:
        """All places of a hash, in order."""
        for found in range(bisect_left(self.hashes, wanted), len(self.hashes)):
            if self.hashes[found] != wanted:
                return
            yield self.places[found]


def _sorted(hashes: "array[int]") -> _Places:
    order = np.argsort(np.frombuffer(hashes, np.uint64), kind="stable")
    in_order = np.frombuffer(hashes, np.uint64)[order]
    return _Places(array("Q", in_order.tobytes()), array("I", order.astype(np.uint32).tobytes()))


def _path_hash(path: str) -> int:
    # In a folder, a name can be bytes that are not UTF-8.
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest())


def _file_of(path: str) -> str:
    """The file that an image is, or is inside."""
    held = inside(path)
    return path if held is None else held[0]


def _stem(path: str) -> str:
    """A file's name without its folders and its ending."""
    return posixpath.splitext(posixpath.basename(path))[0]


def _folded(path: str) -> str:
    """A path without what file systems and archives change of it: letter case, and how accents are written."""
    # Folding can undo the form.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@dataclass(frozen=True)
class Contents:
    """What lies in a drop.

    `manifests` are the manifests' paths, sorted, `hidden` those that are left out since they are hidden; `files` are
    all files, and `images` those where the images are, in the drop or elsewhere. `input_format` names their reader.
    `fingerprint` is a hash over the paths and versions of everything but the marker: it changes when the drop or its
    images do.
    """

    manifests: list[str]
    hidden: list[str]
    files: Files
    images: Files
    fingerprint: str
    input_format: str


def contents(drop: Store, input_format: str, images: Images | None = None) -> Contents:
    """List the drop, once: a large one takes thousands of requests. So are `images` listed where they lie elsewhere.

    `auto` stands for the format that is found.

    Raises DropError where it has no manifest, one whose name cannot be written down, or, for `auto`, manifests of
    several formats.
    """
    wanted = {name: READERS[name] for name in (READERS if input_format == AUTO else (input_format,))}
    # Of the readers that take it, for each reader; a path is the same text in all lists.
    manifests: dict[str, list[str]] = {name: [] for name in wanted}
    hidden: list[str] = []
    digest = hashlib.sha256()

    def counted(entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.path != READY_MARKER:
                digest.update(f"{entry.path}\0{entry.version}\n".encode("utf-8", "surrogateescape"))
            yield entry

    def noted() -> Iterator[Entry]:
        for entry in counted(drop.list()):
            if entry.path != READY_MARKER:
                takers = [name for name, reader in wanted.items() if reader.takes(entry.path)]
                if takers and is_hidden(entry.path):
                    hidden.append(entry.path)
                else:
                    for name in takers:
                        manifests[name].append(entry.path)
            yield entry

    files = Files(noted())
    for name in {path for paths in manifests.values() for path in paths if not is_utf8(path)}:
        raise DropError(f"the drop at {drop.uri} has a manifest whose name ({shown(name)}) is not UTF-8: rename it")
    found = _found_format(drop, manifests) if input_format == AUTO else input_format
    if found is not None and manifests[found]:
        elsewhere = files if images is None or images.uri == drop.uri else Files(counted(images.list()))
        if images is not None and not len(elsewhere):
            raise DropError(
                f"there are no files at {images.uri}, where the param images_uri says that the images are: correct it, "
                "upload them there, or leave images_uri out"
            )
        return Contents(manifests[found], hidden, files, elsewhere, digest.hexdigest(), found)
    if not drop.folder_exists():
        raise DropError(f"there is no drop at {drop.uri}: upload it there, or correct drops_uri or the date")
    others = _not_read(drop, files)
    if input_format == AUTO:
        raise DropError(
            f"the drop at {drop.uri} has no file that is a manifest by its name and its beginning: upload one, or set "
            f"the param input_format to the format that it has{others}"
        )
    names = " or ".join(f"*{suffix}" for suffix in wanted[input_format].suffixes)
    reader = wanted[input_format]
    where = "" if isinstance(reader, DropReader) and reader.nested else " at its top level"
    raise DropError(
        f"the drop at {drop.uri} has no manifest: put one or more {names} files{where}, "
        f"or set the param input_format to the format they have{others}"
    )


def _not_read(drop: Store, files: Files) -> str:
    """What is said of files of formats that are not read, if there are some: one example of each."""
    found: dict[str, str] = {}
    plainly: dict[str, str] = {}
    lists = []
    for path in files.paths():
        if is_hidden(path) or not is_utf8(path):
            continue
        if what := named_as_not_read(path):
            found.setdefault(what, path)
            continue
        if is_looked_into(path):
            lists.append(path)
        if what := plainly_not_read(path):
            plainly.setdefault(what, path)
    for path in _looked_into(lists):
        if what := begins_as_not_read(path, _beginning(drop, path)):
            found.setdefault(what, path)
    return "".join(f". Not read is {path}, which is {what}" for what, path in list((found or plainly).items())[:_NEAR])


def _found_format(drop: Store, manifests: dict[str, list[str]]) -> str | None:
    """Of which format the manifests are, by how some of them begin; None where none is known.

    `manifests` are the paths by each reader that takes them. Raises DropError where they are of several formats.
    """
    readers = {name: READERS[name] for name, paths in manifests.items() if paths}
    examples: dict[str, str] = {}
    for path in _looked_into({path for paths in manifests.values() for path in paths}):
        start = _beginning(drop, path)
        recognised = [
            name
            for name, reader in readers.items()
            if isinstance(reader, DropReader) and reader.takes(path) and reader.recognises(path, start)
        ]
        plainly = [
            name
            for name, reader in readers.items()
            if isinstance(reader, Reader)
            and reader.takes(path)
            and (reader.begins is None or reader.begins(start))
            and begins_as_not_read(path, start) is None
        ]
        for name in recognised or plainly:
            examples.setdefault(name, path)
    if len(examples) > 1:
        listed = ", ".join(f"{name} ({path})" for name, path in sorted(examples.items()))
        raise DropError(
            f"the drop at {drop.uri} has manifests of {len(examples)} formats: {listed}. Set the param input_format to "
            "the one that is to be read, or take the others out"
        )
    return next(iter(examples), None)


def _looked_into(paths: Iterable[str]) -> Iterator[str]:
    """Some of the paths of each ending in each folder at the top, evenly from all of them."""
    alike: dict[tuple[str, str], list[str]] = {}
    for path in sorted(paths):
        alike.setdefault((path.rpartition("/")[0].partition("/")[0], posixpath.splitext(path)[1]), []).append(path)
    for group in alike.values():
        yield from group[:: -(-len(group) // _LOOKED_INTO)]


def _beginning(drop: Store, path: str) -> bytes:
    """How a file begins, unpacked, in UTF-8 where it is text in Unicode; of Parquet, its columns and their types."""

    def read() -> bytes:
        with drop.open(path) as stream:
            return stream.read(_START_BYTES)

    start = persist(read)
    if start.startswith(b"PAR1"):
        # What is in it is said at its end.
        with suppress(ValueError, pa.ArrowException), opened(drop, path, None) as (stream, _):
            return str(pq.read_schema(stream).remove_metadata()).encode("utf-8", "surrogateescape")
    return in_utf8(unpacked_start(start, _START_BYTES), "utf-8")


def path_bytes(drop: ImageFiles) -> int:
    """How many bytes a path in the drop can have: a bucket counts the drop's own path in it too."""
    folder = drop.uri.removeprefix("s3://").partition("/")[2] if drop.uri.startswith("s3://") else ""
    return MAX_PATH_BYTES - (len(folder.encode()) + 1 if folder else 0)


@contextmanager
def manifest_copy(drop: Store, manifest: str, version: str | None, input_format: str, encoding: str) -> Iterator[Path]:
    """The manifest, in the version that was listed, as its reader gets it: see `plain`.

    Raises DropChangedError, and DropError where it cannot be unpacked.
    """
    with ExitStack() as stack:
        copy = stack.enter_context(local_copy(drop, manifest, version))
        try:
            path = stack.enter_context(plain(copy, encoding=encoding, is_text=READERS[input_format].is_text))
        except ValueError as error:
            raise unreadable(manifest, input_format, error) from error
        yield path


@contextmanager
def local_copy(drop: Store, manifest: str, version: str | None = None) -> Iterator[Path]:
    """The manifest, in the version that was listed, as a temporary local file: it is read twice, and Parquet seeks.

    Raises DropChangedError.
    """
    with tempfile.NamedTemporaryFile(prefix="regioncap-manifest-") as copy:
        try:
            persist(lambda: copy_to(copy, drop, manifest, version))
        except (ChangedError, NotFoundError) as error:
            raise changed(manifest, error) from error
        yield Path(copy.name)


def read_rows(
    manifest: Path,
    input_format: str,
    bbox_key: str,
    image_key: str = "image",
    name: str | None = None,
    keep: tuple[str, ...] = (),
) -> Iterator[Row]:
    """The rows of one manifest as a stream; blank lines are not rows.

    `input_format` is a name in `READERS`, of a `Reader`; `name` is what the drop calls the file, and `keep` names the
    fields that are carried along.
    Raises DropError where the file as a whole is not of its format, and UnforeseenError: where a reader has ended, its
    other rows are not known.
    """
    reader = READERS[input_format]
    assert isinstance(reader, Reader), "others read a drop"
    with _told_of(name or manifest.name, input_format):
        if keep and reader.keeping is not None:
            yield from reader.keeping(manifest, image_key, bbox_key, keep)
        else:
            yield from reader.rows(manifest, image_key, bbox_key)


@contextmanager
def _told_of(manifest: str, input_format: str) -> Iterator[None]:
    """Makes of a reader's errors those of this manifest."""
    try:
        yield
    except (ValueError, RecursionError, OverflowError, OSError) as error:
        # With a number, it is the disk's; Arrow raises OSError for a damaged file too.
        if isinstance(error, RegionCapError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise unreadable(manifest, input_format, error) from error
    except (RegionCapError, MemoryError):
        raise
    except Exception as error:
        raise UnforeseenError(
            f"the reader of {input_format} ended at the manifest {manifest} with an error that nobody "
            f"foresaw: {internal_error(error).reason}. Mend the reader, if it is of a package of your own; else please "
            "report it to RegionCap's developers with this message"
        ) from error


@dataclass
class Manifests:
    """The manifests of a drop, as they were when it was listed, to be read more than once.

    What is copied for that goes when `stack` closes; `keep` names the fields that are carried along. It is what a
    `DropReader` is given.
    """

    drop: Store
    contents: Contents
    image_key: str
    bbox_key: str
    box_format: BoxFormat
    encoding: str
    stack: ExitStack
    keep: tuple[str, ...] = ()
    # What their readers have to say of the rows that were read last, with how often.
    noted: Counter[str] = field(default_factory=Counter)
    _copies: dict[str, Path] = field(default_factory=dict)
    # Images that were found by their names alone, and by which names, since the rows are read.
    _by_name_alone: tuple[SeenIds, SeenIds] = field(default_factory=lambda: (SeenIds(), SeenIds()))

    @property
    def manifests(self) -> Sequence[str]:
        """Their paths, sorted."""
        return self.contents.manifests

    def __contains__(self, path: object) -> bool:
        return path in self.contents.images

    def __post_init__(self) -> None:
        # What is copied is one state of the drop.
        if isinstance(READERS[self._format], Reader):
            for name in self.manifests:
                self.copy(name)

    def copy(self, path: str) -> Path:
        """A manifest as its reader gets it: a local file. Raises DropChangedError and DropError."""
        if path not in self._copies:
            version = self.contents.files.version(path)
            self._copies[path] = self.stack.enter_context(
                manifest_copy(self.drop, path, version, self._format, self.encoding)
            )
        return self._copies[path]

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Each row, with the path of its manifest. Raises DropError, DropChangedError and UnforeseenError."""
        reader = READERS[self._format]
        self.noted.clear()
        self._by_name_alone = SeenIds(), SeenIds()
        if isinstance(reader, DropReader):
            with _told_of(f"{self.manifests[0]} or one after it", self._format):
                for row in reader.rows(self):
                    yield row.manifest or self.manifests[0], row
            return
        for name in self.manifests:
            for row in read_rows(self.copy(name), self._format, self.bbox_key, self.image_key, name, self.keep):
                yield name, row

    @property
    def by_line(self) -> ByLine | None:
        """How their lines are read by themselves, where that can be."""
        reader = READERS[self._format]
        return reader.by_line if isinstance(reader, Reader) else None

    def lines(self, by_line: ByLine) -> Iterator[tuple[str, int, bytes]]:
        """Each line that is a row, with the path of its manifest and its number. Raises as `rows` does."""
        for name in self.manifests:
            with _told_of(name, self._format):
                for number, text in by_line.lines(self.copy(name)):
                    yield name, number, text

    @contextmanager
    def _opened(self, path: str) -> Iterator[Path]:
        with _told_of(path, self._format):
            yield self.copy(path)

    def local(self, path: str) -> AbstractContextManager[Path]:
        """See `Given`."""
        return self._opened(path)

    @contextmanager
    def opened(self, path: str) -> Iterator[tuple[IO[bytes], bool]]:
        """See `Given`."""
        with _told_of(path, self._format):
            try:
                with opened(self.drop, path, self.contents.files.version(path)) as found:
                    yield found
            except (ChangedError, NotFoundError) as error:
                raise changed(path, error) from error

    def small(self, paths: Iterable[str], most: int = MAX_LINE_BYTES) -> Iterator[tuple[str, bytes | RowError]]:
        """See `Given`."""
        threads = max(1, min(_AT_ONCE, _UNDER_WAY_BYTES // most))
        return in_order(lambda path: (path, self._small(path, most)), paths, threads)

    def ending_in(self, ending: str) -> Sequence[str]:
        """See `Given`."""
        endings = with_compressed((ending,))
        return sorted(path for path in self.contents.files.paths() if path.endswith(endings) and not is_hidden(path))

    def note(self, what: str, number: int = 1) -> None:
        """See `Given`."""
        self.noted[what] += number

    def image(self, name: str, beside: str) -> str:
        """See `Given`."""
        if not isinstance(name, str) or not name:
            return name  # the row is rejected for it
        path = self._called(name, beside)
        if path in self.contents.images or (plainly := unquote(name)) == name:
            return path
        # Some tools write a name as a part of an address: `a%20b.jpg` is `a b.jpg`.
        other = self._called(plainly, beside)
        return other if other in self.contents.images else path

    def _called(self, name: str, beside: str) -> str:
        """The path of the image of this name; the name, or nearly that path, where there is none."""
        plain_name = posixpath.normpath(name.replace("\\", "/"))
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(beside), plain_name))
        # Where a manifest was moved, its way to the images is another one.
        tail = _WAY_UP.sub("", plain_name)
        files = self.contents.images
        for path in (joined, name, plain_name, tail):
            if path in files:
                return path
        found = _ending_in(tail, self._namesakes(posixpath.splitext(tail)[0], beside))
        return _only(found, name, beside) or self._moved(name, beside) or (joined if files.near(joined) else name)

    def _moved(self, name: str, beside: str) -> str | None:
        """The image that was called so where it lay before, on another machine or a server.

        By as many of its last folders as it lies in here too: by its name alone only beside the manifest, or at the top
        of the drop, since images of other folders may be called so as well.
        """
        if not _ABSOLUTE.match(name):
            return None
        parts = posixpath.normpath(_path_in(name)).split("/")
        for start in range(1, len(parts)):
            tail = "/".join(parts[start:])
            for path in (posixpath.join(posixpath.dirname(beside), tail), tail):
                if path in self.contents.images:
                    return self._not_of_another_path(path, name) if "/" not in tail else path
            named = _ending_in(tail, self._namesakes(posixpath.splitext(tail)[0], beside)) if "/" in tail else []
            if named:
                return _only(named, name, beside)
        return None

    def _not_of_another_path(self, path: str, name: str) -> str:
        """The path of an image that was found by its name alone.

        Raises RowError (image_not_found) where one of another path was found so before: images of several folders were
        put into one, where those of one name took each other's place.
        """
        seen_paths, seen_names = self._by_name_alone
        is_new = seen_paths.add(path)
        if seen_names.add(f"{path} {name!r}") and not is_new:
            raise RowError(
                Code.IMAGE_NOT_FOUND,
                f"{path!r} was taken for another image already, which lay in another folder before: it is not known "
                f"whether it is {name!r}; put images into the folders in which they were",
            )
        return path

    def image_of(self, stem: str, beside: str, folders: tuple[str, str] | None = None) -> str:
        """See `Given`."""
        for written in dict.fromkeys((stem, unquote(stem))):
            if path := self._called_but_for_its_ending(written, beside, folders):
                return path
        name = posixpath.basename(stem)
        raise RowError(Code.IMAGE_NOT_FOUND, f"there is no image in the drop that is called {name} but for its ending")

    def _called_but_for_its_ending(self, stem: str, beside: str, folders: tuple[str, str] | None) -> str | None:
        """The path of the image of this name without its ending; None where there is none. Raises RowError."""
        folder = posixpath.dirname(beside)
        there = [posixpath.join(folder, posixpath.dirname(stem))]
        parts = folder.split("/")
        if folders and folders[0] in parts:
            place = len(parts) - 1 - parts[::-1].index(folders[0])
            there.insert(0, "/".join([*parts[:place], folders[1], *parts[place + 1 :]]))
        name = posixpath.basename(stem)
        found = self._namesakes(stem, beside)
        for place_of_it in there:
            if beside_it := [path for path in found if posixpath.dirname(path) == place_of_it.rstrip("/")]:
                return _only(beside_it, name, beside)
        return _only(found, name, beside)

    @property
    def _format(self) -> str:
        return self.contents.input_format

    def _namesakes(self, name: str, beside: str) -> list[str]:
        """The images that a manifest may mean by a name without its ending: those of another part of a data set not.

        The part is that in the name's folders, if there is one, else in the manifest's path.
        """
        stem = posixpath.basename(name)
        # A manifest that is called as its image says no part by that.
        about = posixpath.dirname(beside) if stem_of(beside) == stem else beside
        parts = _parts_in(posixpath.dirname(name)) or _parts_in(about)
        named = ((path, _parts_in(posixpath.dirname(path))) for path in self.contents.images.images_called(stem))
        return [path for path, of in islice(named, _NAMESAKES) if not parts or not of or parts & of]

    def _small(self, path: str, most: int) -> bytes | RowError:
        try:
            data = read_at_most(self.drop, path, most, self.contents.files.version(path))
        except (ChangedError, NotFoundError) as error:
            raise changed(path, error) from error
        try:
            data = unpacked(data, most + 1) if len(data) <= most else data
        except ValueError as error:
            return RowError(Code.NOT_UTF8, f"the file cannot be read: {error}")
        if len(data) > most:
            return RowError(Code.LINE_TOO_LONG, f"the file has more than {most:,} bytes")
        return in_utf8(data, self.encoding) if READERS[self._format].is_text else data


def _path_in(name: str) -> str:
    """The path that is in the address of an image, or is its name on another machine."""
    if local := _LOCAL.search(name):
        return "/" + unquote(local[1]).lstrip("/")
    return unquote(urlsplit(name).path) if "://" in name else name.replace("\\", "/")


def _ending_in(tail: str, paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path.endswith("/" + tail)]


def _parts_in(path: str) -> set[str]:
    """Which parts of a data set are named in a path."""
    return {part for word in re.findall("[a-z]+", path.casefold()) for part in _PARTS.get(word, ())}


def _of_its_folder(paths: Sequence[str], beside: str) -> Sequence[str]:
    """Of images whose folders differ in one name, those of the name that stands in the manifest's path, if any.

    So `a/labels.json` means `a/data/1.jpg`, where there is a `b/data/1.jpg` too.
    """
    folders = [posixpath.dirname(path).split("/") for path in paths]
    differing = [names for names in zip(*folders, strict=False) if len(set(names)) > 1]
    if len(differing) != 1 or len({len(folder) for folder in folders}) > 1:
        return paths
    words = {*beside.split("/"), *re.split(r"[\W_]+", beside)}
    return [path for path, name in zip(paths, differing[0], strict=True) if name in words] or paths


def _only(paths: Sequence[str], name: str, beside: str) -> str | None:
    """The only one of some paths, None where there is none. Raises RowError (image_not_found) where there are more."""
    paths = _of_its_folder(paths, beside)
    if len(paths) > 1:
        listed = ", ".join(map(repr, paths[:_NEAR]))
        raise RowError(
            Code.IMAGE_NOT_FOUND,
            f"several images of the drop can be the one that is called {name!r}: {listed}; put each manifest beside "
            "its images, or give the image's folder in it",
        )
    return paths[0] if paths else None


def unreadable(manifest: str, input_format: str, error: Exception) -> DropError:
    """The error where a manifest as a whole is not of its format."""
    return DropError(
        f"the manifest {manifest} cannot be read as {input_format}: {error}; correct the file, or the param "
        "input_format"
    )


def changed(path: str, error: Exception) -> DropChangedError:
    """The error where a file of the drop is not any more what `plan` has listed."""
    return DropChangedError(
        f"the drop changed while it was built: {path} is not as it was when plan listed it ({error}). Put it back as "
        "it was, or clear the run's plan task and those after it"
    )


def others_can_be_read(drop: ImageFiles, refused: Collection[str], read: Iterable[str] = ()) -> bool:
    """Whether there are images in the drop that can be read now, beside those that were `refused`.

    Those that were `read` a moment ago are looked at first: the right to them may be gone meanwhile.
    """
    others = (entry.path for entry in drop.list() if not _is_no_image(entry.path) and entry.path not in refused)
    return any(_can_be_read(drop, path) for path in islice(chain(islice(read, _LOOKED_AT), others), _LOOKED_AT))


def _is_no_image(path: str) -> bool:
    return path == READY_MARKER or any(reader.takes(path) for reader in READERS.values())


def _can_be_read(drop: ImageFiles, path: str) -> bool:
    try:
        drop.open(path).close()
    except (NotFoundError, LinkError, ForbiddenError, ArchivedError):
        return False
    return True


def read_image(drop: ImageFiles, path: str, version: str | None = None) -> bytes:
    """An image's bytes, in this version where one is given.

    Raises RowError (image_not_found, image_is_link, image_forbidden, image_archived, image_too_large), and
    DropChangedError. What may pass by itself goes up as it is.
    """

    try:
        data = read_at_most(drop, path, MAX_BYTES, version)
    except ChangedError as error:
        raise changed(path, error) from error
    except NotFoundError:
        where = "" if is_uri(path) else " in the drop"
        raise RowError(Code.IMAGE_NOT_FOUND, f"there is no such file{where}") from None
    except LinkError:
        raise RowError(Code.IMAGE_IS_LINK, "the path leads through a symbolic link; links are not followed") from None
    except ForbiddenError:
        raise RowError(
            Code.IMAGE_FORBIDDEN,
            "the store does not allow this file to be read (of a missing one it may say the same: is it there?)",
        ) from None
    except ArchivedError:
        raise RowError(
            Code.IMAGE_ARCHIVED, "the file is archived in a storage class that cannot be read; restore it first"
        ) from None
    if len(data) > MAX_BYTES:
        raise RowError(Code.IMAGE_TOO_LARGE, f"the file has more than {MAX_BYTES:,} bytes")
    return data


def read_listed(drop: ImageFiles, path: str, version: str | None) -> bytes:
    """An image's bytes as they were when the drop was listed; `version` is None where it was not there, or not listed.

    Raises RowError as `read_image` does, and DropChangedError.
    """
    try:
        data = read_image(drop, path, version)
    except RowError as error:
        held = inside(path)
        # What is missing in a file of this version was never in it.
        there = held is not None and any(entry.path == held[0] for entry in drop.list(held[0]))
        if version is not None and error.code in (Code.IMAGE_NOT_FOUND, Code.IMAGE_IS_LINK) and not there:
            raise changed(path, error) from error
        raise
    if version is not None or is_uri(path):
        return data
    if any(entry.path == path for entry in drop.list(path)):
        raise changed(path, NotFoundError("it was not there"))
    # Some folders take one name for another.
    raise RowError(
        Code.IMAGE_NOT_FOUND,
        "the drop has no file that is called exactly so: look at capital letters, and at how accents are written",
    )


READY_MARKER = "_READY"
