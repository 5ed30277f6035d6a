"""From a URI to a store, and which URIs a run may name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import S3Store
from regioncap.storage.store import StorageError, Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def open_store(uri: str, s3_client: Callable[[], "S3Client"]) -> Store:
    """The store at `s3://bucket/prefix`, `file:///folder` or `/folder`; `s3_client` is called only for the first.

    Raises StorageError for any other URI.
    """
    parts = urlsplit(uri)
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(s3_client(), parts.netloc, parts.path)
    if parts.scheme in ("", "file") and not parts.netloc and parts.path.startswith("/"):
        return LocalStore(Path(parts.path))
    raise StorageError(f"{uri!r} is not a place RegionCap can use: write s3://bucket/prefix or /an/absolute/folder")


def check_allowed(uri: str, roots: Sequence[str]) -> None:
    """Raise StorageError unless `uri` is one of `roots` or lies below one."""
    if ".." in uri.split("/"):
        raise StorageError(f"{uri!r} must not have '..' in it")
    plain = _plain(uri)
    if not any(plain == root or plain.startswith(f"{root}/") for root in map(_plain, roots)):
        raise StorageError(
            f"{uri} is not below a root that this deployment allows ({', '.join(roots) or 'none'}): "
            "choose a place below one, or add it to REGIONCAP_ALLOWED_ROOTS"
        )


def _plain(uri: str) -> str:
    return uri.removeprefix("file://").rstrip("/")
