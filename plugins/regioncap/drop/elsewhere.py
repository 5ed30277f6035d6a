"""Images that lie elsewhere than the drop: below the run's `images_uri`, or named by a whole URI.

Whoever may write a drop can name any file of any bucket in it, and gets to see what is published of it. So a URI counts
only below the places that the run and the deployment have named, and no link is followed below these.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Protocol

from regioncap.drop.inside import Insides, inside
from regioncap.errors import NotFoundError, StorageError
from regioncap.storage.store import Entry, Store
from regioncap.storage.uri import Location, parse_uri

_URI = re.compile(r"(?:s3|file)://", re.IGNORECASE)


def is_uri(image: str) -> bool:
    """Whether an image is named by a whole URI, of a kind that RegionCap has stores for."""
    return _URI.match(image) is not None


def image_uri(base: str, image: str) -> str:
    """The URI of an image; `base` is that of the place by which the others are named."""
    return image if is_uri(image) else f"{base}/{image}"


class ImageFiles(Protocol):
    """What images are read from: a `Store`, with the methods that it has for that, or `Images`."""

    @property
    def uri(self) -> str:
        """That of the place by which files are named."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The files there."""

    def stat(self, path: str) -> Entry:
        """A file's entry."""

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        """A file as a stream."""


def image_roots(roots: Sequence[str]) -> Sequence[str]:
    """The places that the deployment names. Raises StorageError where one of them is none: no row is at fault."""
    for root in roots:
        try:
            parse_uri(root)
        except StorageError as error:
            raise StorageError(f"REGIONCAP_IMAGE_ROOTS is wrong: {error}") from None
    return roots


def _no_root(uri: str) -> Store:
    raise NotFoundError(uri)


@dataclass
class Images:
    """Where the images of a drop are read: files below `base` by their path there, files below `roots` by their URI.

    `base` is the drop, or the run's images_uri; `open_root` opens one of `roots`. Its methods are those of a `Store`,
    for which an image that is inside a file (see `inside`) is a file as well.
    """

    base: Store
    roots: Sequence[str] = ()
    open_root: Callable[[str], Store] = _no_root
    _opened: dict[str, Store] = field(default_factory=dict, init=False)
    _insides: Insides = field(default_factory=Insides, init=False)

    @property
    def uri(self) -> str:
        """That of `base`."""
        return self.base.uri

    def path_of(self, uri: str) -> str:
        """By which path the image of a URI is read: relative to `base` where it lies there, else a URI, as it is known.

        Raises StorageError where it is none that may be read, or could be read in more than one way.
        """
        place = parse_uri(uri)
        base = _location(self.uri)
        if base is not None and base.holds(place):
            return "/".join(place.names[len(base.names) :])
        self._root_of(place, uri)
        return f"{'file://' if place.bucket is None else f's3://{place.bucket}'}/{'/'.join(place.names)}"

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The files below `base`; what lies below the other places is not listed."""
        return self.base.list(prefix)

    def stat(self, path: str) -> Entry:
        """A file's entry."""
        store, inner = self._at(path)
        held = inside(inner)
        return store.stat(inner) if held is None else replace(store.stat(held[0]), path=path)

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        """A file as a stream. Raises RowError for what lies with an image that is inside a file."""
        store, inner = self._at(path)
        held = inside(inner)
        return store.open(inner, version) if held is None else io.BytesIO(self._insides.read(store, *held, version))

    def _at(self, path: str) -> tuple[Store, str]:
        if not is_uri(path):
            return self.base, path
        # Looked at again: what `plan` has written may be older than what the deployment allows now.
        place = parse_uri(path)
        root, names = self._root_of(place, path)
        if root not in self._opened:
            self._opened[root] = self.open_root(root)
        return self._opened[root], "/".join(place.names[names:])

    def _root_of(self, place: Location, uri: str) -> tuple[str, int]:
        """The place below which a file lies, and how many names it has."""
        found = [(len(at.names), root) for root in self.roots if (at := parse_uri(root)).holds(place)]
        names, root = max(found, default=(0, ""))
        if not root or len(place.names) == names:
            raise StorageError(
                f"{uri} is not below the drop, images_uri, or a place that the deployment names in "
                "REGIONCAP_IMAGE_ROOTS"
            )
        return root, names


def _location(uri: str) -> Location | None:
    try:
        return parse_uri(uri)
    except StorageError:  # a folder can have a name that no URI has
        return None
