"""Which URIs are places, and which of them a run may use."""

import pytest

from regioncap.storage.local import LocalStore
from regioncap.storage.store import StorageError
from regioncap.storage.uri import check_allowed, open_store


def no_client() -> None:
    raise AssertionError("no S3 client is needed here")


@pytest.mark.parametrize("uri", ["/data/drops", "file:///data/drops"])
def test_a_folder_is_a_local_store(uri: str) -> None:
    store = open_store(uri, no_client)  # type: ignore[arg-type]
    assert isinstance(store, LocalStore)
    assert store.uri == "file:///data/drops"


@pytest.mark.parametrize(
    "uri", ["drops", "./drops", "http://host/drops", "s3:///key", "file://host/share", "", "gs://b"]
)
def test_anything_else_is_refused_with_what_to_write_instead(uri: str) -> None:
    with pytest.raises(StorageError, match="write s3://bucket/prefix or /an/absolute/folder"):
        open_store(uri, no_client)  # type: ignore[arg-type]


@pytest.mark.parametrize("uri", ["s3://drops", "s3://drops/", "s3://drops/a/b", "/data/drops", "file:///data/drops/x"])
def test_places_at_or_below_a_root_are_allowed(uri: str) -> None:
    check_allowed(uri, ["s3://drops", "/data/drops/"])


@pytest.mark.parametrize(
    "uri", ["s3://drops-private", "s3://other", "/data", "/data/drops-2", "/data/drops/../keys", "s3://drops/../x", "/"]
)
def test_places_beside_the_roots_are_refused(uri: str) -> None:
    with pytest.raises(StorageError):
        check_allowed(uri, ["s3://drops", "/data/drops"])


def test_without_roots_nothing_is_allowed() -> None:
    with pytest.raises(StorageError, match="none"):
        check_allowed("s3://drops", [])
