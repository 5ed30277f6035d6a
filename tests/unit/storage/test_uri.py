"""Which URIs are places, and which of them a run may use."""

from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from regioncap.errors import LinkError, StorageError
from regioncap.storage.local import LocalStore
from regioncap.storage.uri import check_allowed, open_store, parse_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOTS = ["s3://drops", "s3://warehouse/captions", "/data/drops"]


def no_client() -> None:
    raise AssertionError("no S3 client is needed here")


def some_client() -> "S3Client":
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")


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


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("s3://drops/a\tb", "character 13 is U\\+0009"),
        ("s3://drops/.\t./x", r"U\+0009"),
        ("/data/drops/.\n./x", r"U\+000A"),
        ("/data/drops/x\r", r"U\+000D"),
        ("\x00/data/drops", r"U\+0000"),
        ("\x1fs3://drops", r"U\+001F"),
        ("s3://drops/\x7f", r"U\+007F"),
        ("s3://drops/\x85", r"U\+0085"),
        ("s3://drops/\u200b", r"U\+200B"),
        ("s3://drops/\u202e", r"U\+202E"),
        ("s3://drops/\u2028", r"U\+2028"),
        ("s3://drops/\ud800", r"U\+D800"),
        ("s3://drops/a#2", "character 13 is '#'"),
        ("s3://drops#", "'#'"),
        ("/data/drops/a#b/c", "'#'"),
        ("s3://drops/a?b", "'\\?'"),
        ("/data/drops?", "'\\?'"),
        ("s3://drops\\x", r"write / between folders"),
        ("/data/drops\\..\\x", r"write / between folders"),
        ("s3://drops/%2e%2e/x", "'%2e'.*escapes are not decoded"),
        ("/data/drops/a%20b", "'%20'"),
        (" s3://drops", "begins or ends with a space"),
        ("/data/drops ", "begins or ends with a space"),
        ("s3://drops/../x", r"'\.\.' in it"),
        ("s3://drops/..", r"'\.\.' in it"),
        ("/data/drops/./x", r"'\.' in it"),
        ("/data/drops//x", "two / in a row"),
        ("s3://drops//", "two / in a row"),
        ("file:////data/drops", "two / in a row"),
        ("s3://key:secret@drops/x", "'key:secret@drops' is not a bucket's name"),
        ("s3://drops:9000/x", "'drops:9000' is not a bucket's name"),
        ("s3://../drops", "'..' is not a bucket's name"),
        ("s3://dröps", "'dröps' is not a bucket's name"),
        ("s3://", "not a bucket's name"),
        ("//host/drops", "two / in a row"),
        ("file:/data/drops", "write s3"),
        ("file://localhost/data/drops", "write s3"),
        ("https://s3.amazonaws.com/drops", "write s3"),
        ("s3:/drops", "write s3"),
        ("s3:drops", "write s3"),
    ],
)
def test_what_could_be_read_in_more_than_one_way_is_refused_before_anything_is_opened(uri: str, named: str) -> None:
    for refused in (
        lambda: check_allowed(uri, [*ROOTS, "/"]),
        lambda: open_store(uri, no_client),  # type: ignore[arg-type]
    ):
        with pytest.raises(StorageError, match=named) as caught:
            refused()
        assert "write s3://bucket/prefix or /an/absolute/folder" in str(caught.value)


@pytest.mark.parametrize("root", ["s3://drops#x", "/data/../etc", "data", "s3://"])
def test_a_root_that_is_no_place_is_refused_with_where_it_comes_from(root: str) -> None:
    with pytest.raises(StorageError, match="REGIONCAP_ALLOWED_ROOTS"):
        check_allowed("s3://drops", ["s3://drops", root])


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("s3://drops", "s3://drops"),
        ("s3://drops/", "s3://drops"),
        ("S3://drops/a b/", "s3://drops/a b"),
        ("s3://drops/50%/ü+&=/x", "s3://drops/50%/ü+&=/x"),
        ("/data/drops/a b/~x", "file:///data/drops/a b/~x"),
        ("file:///data/drops/", "file:///data/drops"),
        ("FILE:///data/drops", "file:///data/drops"),
    ],
)
def test_a_name_is_taken_as_it_is_written(uri: str, opened: str) -> None:
    check_allowed(uri, ROOTS)
    store = open_store(uri, some_client)
    assert store.uri == opened
    assert store.sub("2026-11-02").uri == f"{opened}/2026-11-02"
    assert parse_uri(store.uri) == parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    ["/data", "/database", "/data/drops2", "/", "s3://warehouse", "s3://warehouse/captions2", "s3://DROPS", "/drops"],
)
def test_a_root_allows_what_lies_below_it_and_no_other_name_that_begins_like_it(uri: str) -> None:
    with pytest.raises(StorageError, match="not below a root that this deployment allows"):
        check_allowed(uri, ROOTS)


def test_the_root_of_the_file_system_allows_all_folders_and_no_bucket() -> None:
    check_allowed("/data", ["/"])
    with pytest.raises(StorageError, match="not below"):
        check_allowed("s3://data", ["/"])


def test_below_a_trusted_place_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "2026-11-02").mkdir(parents=True)
    (tmp_path / "elsewhere" / "2026-11-02" / "a").write_bytes(b"a")
    (tmp_path / "drops").symlink_to(tmp_path / "elsewhere")
    drops = f"{tmp_path}/drops"
    for trusted in ([], [drops], [str(tmp_path), drops], ["s3://drops"]):
        assert open_store(drops, no_client, trusted).sub("2026-11-02").read("a") == b"a"  # type: ignore[arg-type]
    for trusted in ([str(tmp_path)], ["/"]):
        with pytest.raises(LinkError):
            open_store(drops, no_client, trusted).sub("2026-11-02").read("a")  # type: ignore[arg-type]
    (tmp_path / "elsewhere" / "2026-11-03").symlink_to("2026-11-02")
    with pytest.raises(LinkError):
        open_store(drops, no_client).sub("2026-11-03").read("a")  # type: ignore[arg-type]
