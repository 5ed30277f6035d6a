"""From a URI to a store, and which URIs a run may name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regioncap.errors import StorageError
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import S3Store
from regioncap.storage.store import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}", re.ASCII)
# What does not mean itself in a URI, or not to every reader of one.
_NOT_TAKEN = {
    "#": "what follows it would be taken for a mark within the place",
    "?": "what follows it would be taken for a query",
    "\\": "write / between folders",
}
_FORM = "write s3://bucket/prefix or /an/absolute/folder"


@dataclass(frozen=True)
class Location:
    """What a URI names: `names` are those of the folders from the top, below `bucket` (None: of this machine)."""

    bucket: str | None
    names: tuple[str, ...]

    def holds(self, other: "Location") -> bool:
        """Whether `other` is this place, or lies below it."""
        return self.bucket == other.bucket and other.names[: len(self.names)] == self.names


def parse_uri(uri: str) -> Location:
    """What `s3://bucket/prefix`, `file:///folder` or `/folder` names, with or without a `/` at the end.

    Names are taken as they are written: nothing is decoded, resolved or left out. Raises StorageError for any other
    URI, and for one that could be read in more than one way.
    """
    refusal = _refusal(uri)
    if refusal is not None:
        raise StorageError(f"{uri!r} is not a place RegionCap can use: {refusal}; {_FORM}")
    bucket, path = _split(uri)
    if bucket is None and not path.startswith("/"):
        raise StorageError(f"{uri!r} is not a place RegionCap can use: {_FORM}")
    if bucket is not None and not _BUCKET.fullmatch(bucket):
        raise StorageError(
            f"{uri!r} is not a place RegionCap can use: {bucket!r} is not a bucket's name (the service's address and "
            f"the login belong in Airflow's connection); {_FORM}"
        )
    # What is left of a place without its last "/" is "", or begins with one.
    names = tuple(path.removesuffix("/").split("/")[1:])
    for name in names:
        if name in ("", ".", ".."):
            fault = f"{name!r} in it" if name else "two / in a row"
            raise StorageError(f"{uri!r} must not have {fault}: name the folder itself; {_FORM}")
    return Location(bucket, names)


def _refusal(uri: str) -> str | None:
    """What is wrong with a character of the URI, and what to do about it."""
    for position, character in enumerate(uri, start=1):
        if not character.isprintable():
            return f"its character {position} is U+{ord(character):04X}, which cannot be seen: remove it"
        if character in _NOT_TAKEN:
            return f"its character {position} is {character!r}, and {_NOT_TAKEN[character]}: use names without it"
    if uri != uri.strip():
        return "it begins or ends with a space: remove it"
    escape = _ESCAPE.search(uri)
    if escape is not None:
        return f"it has {escape[0]!r} in it, and escapes are not decoded: write the character itself"
    return None


def _split(uri: str) -> tuple[str | None, str]:
    """The bucket and the path, with its first "/"; a path without one is nothing that RegionCap can use."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return None, uri
    rest = uri[scheme.end() :]
    if scheme[1].lower() == "file":
        return None, rest
    if scheme[1].lower() == "s3":
        bucket, slash, path = rest.partition("/")
        return bucket, slash + path
    return None, ""


def open_store(uri: str, s3_client: Callable[[], "S3Client"], trusted: Sequence[str] = ()) -> Store:
    """The store at `s3://bucket/prefix`, `file:///folder` or `/folder`; `s3_client` is called only for the first.

    A folder below one of `trusted` must not be reached by a symbolic link below that; the way to any other folder, and
    to those themselves, may be. Raises StorageError for any other URI.
    """
    place = parse_uri(uri)
    if place.bucket is not None:
        return S3Store(s3_client(), place.bucket, "/".join(place.names))
    start = max((len(root.names) for root in map(parse_uri, trusted) if root.holds(place)), default=len(place.names))
    return LocalStore(Path("/", *place.names[:start]), "/".join(place.names[start:]))


def check_allowed(uri: str, roots: Sequence[str]) -> None:
    """Raise StorageError unless `uri` is one of `roots` or lies below one."""
    place = parse_uri(uri)
    try:
        allowed = [parse_uri(root) for root in roots]
    except StorageError as error:
        raise StorageError(
            f"REGIONCAP_ALLOWED_ROOTS (by default REGIONCAP_DROPS_URI and REGIONCAP_WAREHOUSE_URI) is wrong: {error}"
        ) from None
    if not any(root.holds(place) for root in allowed):
        raise StorageError(
            f"{uri} is not below a root that this deployment allows ({', '.join(roots) or 'none'}): "
            "choose a place below one, or add it to REGIONCAP_ALLOWED_ROOTS"
        )
