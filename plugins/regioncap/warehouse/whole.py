"""Whether a build is whole: every file of it there, as it was when the build was published.

One listing tells it: sizes, and the checksums that the service has of its own. Only a file whose checksum is another
one is read, since a bucket that was copied may have other checksums of the same bytes. Whoever wants to know it byte
for byte has all files read.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from pydantic import BaseModel, ValidationError

from regioncap.errors import ArchivedError, ForbiddenError, LinkError, NotFoundError
from regioncap.parallel import in_order
from regioncap.storage.patience import persist
from regioncap.storage.readback import first_problem
from regioncap.storage.store import Entry, Store
from regioncap.warehouse.inventory import ListedFile, read_inventory
from regioncap.warehouse.layout import BUILD_MANIFEST, FILES, content_of
from regioncap.warehouse.manifest import FileEntry, Manifest, manifest_at

# Files that are read at once; they mostly wait for the store.
_READS_AT_ONCE = 16
_PIECE_BYTES = 1 << 20
# So many files are named in a message; how many more there are is only told.
_NAMED = 3

# What every build has besides what its manifest lists.
_ALWAYS = ("README.md", "report.html", "report.json")

# What is not compared with the manifest that is kept in the build: both may have changed since it was published.
_MAY_CHANGE = {"history", "fingerprint", "forgotten"}

# What the store says that lies with one file alone, and not with the store.
OF_ONE_FILE = (LinkError, ForbiddenError, ArchivedError)


@dataclass(frozen=True)
class Problem:
    """A file that is not as it was published: its path relative to the build, and what is the matter with it."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


class _Marked(BaseModel):
    """Of a record, where its image is."""

    image_with_bbox: str


@dataclass(frozen=True)
class _Expected:
    """What is known of a file of the build; the bytes of a `suspect` are looked at in any case."""

    path: str
    bytes: int | None
    checksum: str | None
    sha256: str | None
    suspect: bool = False


def problems(
    partition: Store, manifest: Manifest, *, read: bool = False, passed: Callable[[], None] = lambda: None
) -> Iterator[Problem]:
    """What is the matter with a build's files, found while it is asked for; nothing where it is whole.

    With `read` every file is read and compared with its hash; `passed` is called for each that was looked at.
    Raises what the store raises, but for what lies with one file alone.
    """
    build = partition.sub(f"{manifest.build}/")
    if manifest.of_another_date(partition.uri):
        yield Problem(BUILD_MANIFEST, f"is of {manifest.partition}, from where somebody has copied it")
    yield from _of_manifest(build, manifest)
    if manifest.files is not None:
        try:
            with read_inventory(build, manifest.files) as files:
                if files is not None:
                    named = _named(manifest)
                    expected = (_by_inventory(file, named) for file in files)
                    yield from _of_files(build, expected, read, passed)
                    yield from (Problem(path, "is not in the list of files") for path in named)
                    return
                yield Problem(FILES, "is not what was published")
        except NotFoundError:
            yield Problem(FILES, "is gone")
        except OF_ONE_FILE as error:
            yield Problem(FILES, f"cannot be read ({error})")
        except ValidationError as error:
            yield Problem(FILES, f"cannot be read ({first_problem(error)})")
    try:
        unlisted = _without_inventory(build, manifest)
    except ValidationError as error:
        yield Problem("the records", f"cannot be read ({first_problem(error)})")
    else:
        yield from _of_files(build, unlisted, read, passed)


def told(found: Iterable[Problem]) -> str | None:
    """A build's problems as a part of a sentence, however many there are; None where there are none."""
    rest = iter(found)
    named = list(islice(rest, _NAMED))
    more = sum(1 for _ in rest)
    if not named:
        return None
    return ", ".join(map(str, named)) + (f", and {more:,} more" if more else "")


def _of_manifest(build: Store, manifest: Manifest) -> Iterator[Problem]:
    try:
        kept = manifest_at(build, BUILD_MANIFEST)
    except NotFoundError:
        yield Problem(BUILD_MANIFEST, "is gone")
    except OF_ONE_FILE as error:
        yield Problem(BUILD_MANIFEST, f"cannot be read ({error})")
    except ValidationError:
        yield Problem(BUILD_MANIFEST, "cannot be read")
    else:
        if kept.model_dump(exclude=_MAY_CHANGE) != manifest.model_dump(exclude=_MAY_CHANGE):
            yield Problem(BUILD_MANIFEST, "does not say what was published")


def _of_files(build: Store, expected: Iterable[_Expected], read: bool, passed: Callable[[], None]) -> Iterator[Problem]:
    def unclear() -> Iterator[tuple[_Expected, Problem | None, bool]]:
        """What the listing does not tell to be right: a file, its problem, and whether its checksum is another one."""
        for file, entry in _beside(expected, build.list()):
            wrong, differs = _by_listing(file, entry), _has_other_checksum(file, entry)
            # What lies in an archive may have been restored.
            archived = entry is not None and entry.archived
            if wrong is not None or differs or archived or read or file.suspect:
                yield file, wrong, differs
            else:
                passed()

    def look(item: tuple[_Expected, Problem | None, bool]) -> Problem | None:
        file, wrong, differs = item
        return wrong or _by_content(build, file, differs)

    for problem in in_order(look, unclear(), _READS_AT_ONCE):
        passed()
        if problem is not None:
            yield problem


def _beside(expected: Iterable[_Expected], listed: Iterator[Entry]) -> Iterator[tuple[_Expected, Entry | None]]:
    """Each expected file with its entry, if there is one; both come in the order of their paths' bytes."""
    entry = next(listed, None)
    for file in expected:
        while entry is not None and _order(entry.path) < _order(file.path):
            entry = next(listed, None)
        yield file, entry if entry is not None and entry.path == file.path else None


def _order(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _by_listing(file: _Expected, entry: Entry | None) -> Problem | None:
    if entry is None:
        return Problem(file.path, "is gone")
    if file.bytes is not None and entry.size != file.bytes:
        return Problem(file.path, f"has {entry.size:,} bytes instead of {file.bytes:,}")
    return Problem(file.path, "is empty") if file.bytes is None and entry.size == 0 else None


def _has_other_checksum(file: _Expected, entry: Entry | None) -> bool:
    return entry is not None and None not in (file.checksum, entry.checksum) and file.checksum != entry.checksum


def _by_content(build: Store, file: _Expected, differs: bool) -> Problem | None:
    """What is wrong with the bytes of a file that is there at its size; `differs` says that its checksum does."""
    begins = file.sha256 or content_of(file.path)
    if begins is None:
        return Problem(file.path, "is not what was published") if differs else None
    try:
        digest = sha256_of(build, file.path)
    except NotFoundError:
        return Problem(file.path, "is gone")
    except OF_ONE_FILE as error:
        return Problem(file.path, f"cannot be read ({error})")
    return None if digest.startswith(begins) else Problem(file.path, "is not what was published")


def sha256_of(store: Store, path: str) -> str:
    """The SHA-256 of a file, in hex, whatever its size. Raises what `Store.open` raises."""

    def read() -> str:
        digest = hashlib.sha256()
        with store.open(path) as stream:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    return persist(read)


def _without_inventory(build: Store, manifest: Manifest) -> Iterator[_Expected]:
    """The files of a build of before there were inventories: what its manifest lists, and the images of its records.

    Record files are read for it. Raises ValidationError where they hold no records.
    """
    found = {name: _Expected(name, None, None, None) for name in _ALWAYS}
    named = _named(manifest)
    for path, entry in named.items():
        found[path] = _Expected(path, entry.bytes, None, entry.sha256)
    for path, entry in list(named.items())[: len(manifest.captions)]:
        data = _bytes(build, path)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            found[path] = _Expected(path, entry.bytes, None, entry.sha256, suspect=True)
            continue
        for name in {_Marked.model_validate_json(text).image_with_bbox for text in data.splitlines()}:
            found.setdefault(name, _Expected(name, None, None, None))
    return iter(sorted(found.values(), key=lambda file: _order(file.path)))


def _by_inventory(file: ListedFile, named: dict[str, FileEntry]) -> _Expected:
    """What is known of a file; what the manifest says of it, which is taken out of `named`, goes first."""
    entry = named.pop(file.path, None)
    if entry is None:
        return _Expected(file.path, file.bytes, file.checksum, file.sha256)
    # Where the two say different things, one of them is damaged: the bytes tell.
    suspect = entry.sha256 != file.sha256
    return _Expected(file.path, entry.bytes, file.checksum, entry.sha256, suspect)


def _named(manifest: Manifest) -> dict[str, FileEntry]:
    """The files that a manifest names, by their path relative to the build."""
    prefix = f"{manifest.build}/"
    entries = (*manifest.captions, manifest.rejected, *manifest.exports)
    return {entry.path.removeprefix(prefix): entry for entry in entries}


def _bytes(build: Store, path: str) -> bytes:
    try:
        return build.read(path)
    except (NotFoundError, *OF_ONE_FILE):  # which is told when it is looked at
        return b""
