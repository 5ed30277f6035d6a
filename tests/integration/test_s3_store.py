"""The S3 store against a real S3 server: the same contract as the local one, and clear words when set up wrong."""

import hashlib
import io
import threading
import uuid
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.awsrequest import AWSRequest

from deploy.local import bucket
from deploy.local.credentials import Credentials
from deploy.local.drops import fetch_partition, upload_drop
from regioncap.errors import ChangedError, ConflictError, NotFoundError, StorageError, StorageUnavailableError
from regioncap.regions.jsonl import canonical
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import CLIENT_CONFIG, S3Store
from regioncap.storage.store import check_conditional_writes
from tests.hurry import hurried

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client


@pytest.fixture
def store(service: "S3Client") -> S3Store:
    return S3Store(service, "warehouse", f"tests/{uuid.uuid4().hex}")


def test_what_is_written_is_read_back_and_listed(store: S3Store) -> None:
    store.write("a/b.txt", b"one")
    store.write_stream(io.BytesIO(b"two"), "a/c.txt")
    assert store.read("a/b.txt") == b"one"
    assert store.open("a/c.txt").read() == b"two"
    assert [(entry.path, entry.size) for entry in store.list()] == [("a/b.txt", 3), ("a/c.txt", 3)]
    assert [entry.path for entry in store.sub("a").list()] == ["b.txt", "c.txt"]


def test_more_than_one_page_is_listed_in_order(store: S3Store) -> None:
    names = [f"p/{number:04d}" for number in range(1100)]
    for name in names:
        store.write(name, b"")
    assert [entry.path for entry in store.list("p/")] == names


def test_a_store_sees_nothing_beside_its_prefix(service: "S3Client", store: S3Store) -> None:
    store.write("x", b"")
    beside = S3Store(service, "warehouse", store.uri.removeprefix("s3://warehouse/") + "-beside")
    assert list(beside.list()) == []
    assert not beside.folder_exists()


def test_a_missing_object_is_not_found(store: S3Store) -> None:
    for call in (store.read, store.open, store.stat):
        with pytest.raises(NotFoundError):
            call("none.txt")


def test_the_service_tells_the_time_that_its_files_go_by(store: S3Store) -> None:
    store.write("a", b"1")
    # Both are told in whole seconds.
    assert store.now() >= store.stat("a").modified - 1


def test_what_is_said_of_a_file_when_it_is_written_is_what_is_said_of_it_later(store: S3Store) -> None:
    checksum = store.write("a", b"1")
    assert checksum is not None and checksum == next(iter(store.list())).checksum == store.stat("a").checksum


def test_a_version_changes_with_the_content(store: S3Store) -> None:
    store.write("a", b"1")
    first = store.stat("a").version
    assert next(iter(store.list())).version == first
    store.write("a", b"2")
    assert store.stat("a").version != first


def test_a_read_of_a_version_gives_its_bytes_or_says_that_the_object_has_changed(store: S3Store) -> None:
    store.write("a", b"old")
    entry = store.stat("a")
    assert next(iter(store.list())) == entry
    assert entry.checksum == hashlib.md5(b"old").hexdigest()
    assert store.read("a", entry.version) == b"old"
    store.write("a", b"new")
    for read in (store.read, store.open):
        with pytest.raises(ChangedError, match=r"/a was written since"):
            read("a", entry.version)
    assert store.read("a", store.stat("a").version) == b"new"
    store.delete("a")
    with pytest.raises(NotFoundError):
        store.read("a", entry.version)


def test_replace_writes_only_over_the_version_that_was_read(store: S3Store) -> None:
    first = store.replace("m.json", b"1", None)
    with pytest.raises(ConflictError):
        store.replace("m.json", b"2", None)
    store.replace("m.json", b"2", first)
    with pytest.raises(ConflictError):
        store.replace("m.json", b"3", first)
    assert store.read("m.json") == b"2"


def test_replacing_what_was_deleted_is_refused(store: S3Store) -> None:
    first = store.replace("m.json", b"1", None)
    store.delete("m.json")
    with pytest.raises(ConflictError):
        store.replace("m.json", b"2", first)


@pytest.mark.parametrize("already_there", [False, True])
def test_of_twelve_writers_at_once_one_wins(store: S3Store, already_there: bool) -> None:
    version = store.replace("m.json", b"0", None) if already_there else None
    won: list[int] = []
    gate = threading.Barrier(12)

    def write(number: int) -> None:
        gate.wait()
        try:
            store.replace("m.json", b"w%d" % number, version)
            won.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"w%d" % number for number in won] == [store.read("m.json")]


def test_a_large_stream_goes_up_in_parts(store: S3Store) -> None:
    data = bytes(range(256)) * (40 * 4096)
    store.write_stream(io.BytesIO(data), "large.bin")
    assert store.stat("large.bin").size == len(data)
    assert store.read("large.bin") == data


def test_copies_within_the_bucket_and_from_a_folder_have_the_same_bytes(store: S3Store, tmp_path: "Path") -> None:
    local = LocalStore(tmp_path)
    local.write("ä b+c.bin", bytes(range(256)))
    store.copy(local, "ä b+c.bin", "ä b+c.bin")
    checksum = store.sub("deep").copy(store, "ä b+c.bin", "d.bin")
    assert store.read("deep/d.bin") == bytes(range(256))
    # What is said of a copy when it is made is what is said of it later.
    assert checksum is not None and checksum == next(store.list("deep/")).checksum


def test_folders_are_those_directly_below(store: S3Store) -> None:
    for name in ("b/x", "a/y/z", "a/x", "file"):
        store.write(name, b"")
    assert store.folders() == ["a", "b"]
    assert store.sub("a/").folders() == ["y"]
    assert store.sub("none/").folders() == []


def test_a_folder_of_more_than_one_page_is_deleted_and_nothing_beside_it(store: S3Store) -> None:
    store.write("build=12/x", b"")
    for number in range(1100):
        store.write(f"build=1/{number}", b"")
    store.sub("build=1/").delete_folder()
    store.sub("build=1/").delete_folder()
    assert [entry.path for entry in store.list()] == ["build=12/x"]


def test_a_service_that_has_conditional_writes_passes_the_probe_without_a_trace(store: S3Store) -> None:
    check_conditional_writes(store)
    assert list(store.list()) == []


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_service_that_ignores_a_condition_is_found_out(s3_port: int, credentials: Credentials, header: str) -> None:
    ignoring = bucket.client(s3_port, credentials)

    def strip(request: AWSRequest, **_: object) -> None:
        del request.headers[header]

    ignoring.meta.events.register("before-sign.s3.PutObject", strip)
    store = S3Store(ignoring, "warehouse", f"tests/{uuid.uuid4().hex}")
    with pytest.raises(StorageError, match=rf"ignores the condition of a conditional write \({header}\)"):
        check_conditional_writes(store)


def test_deleting_what_is_not_there_is_fine(store: S3Store) -> None:
    store.delete("none")


def test_a_missing_bucket_is_named_with_what_to_do(service: "S3Client") -> None:
    store = S3Store(service, "no-such-bucket", "x")
    for call in (lambda: store.read("a"), lambda: list(store.list())):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/x.*create it, or correct the URI"):
            call()


@pytest.mark.parametrize("wrong", ["access", "secret"])
def test_wrong_keys_say_what_to_correct(s3_port: int, credentials: Credentials, wrong: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{s3_port}",
        aws_access_key_id="x" * 20 if wrong == "access" else credentials.access_key,
        aws_secret_access_key="x" * 40 if wrong == "secret" else credentials.secret_key,
        region_name="us-east-1",
    )
    with pytest.raises(StorageError, match=r"correct the connection's (login|password)"):
        list(S3Store(client, "warehouse").list())


def test_a_service_that_is_not_there_may_come_back() -> None:
    client = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:9", aws_access_key_id="x", aws_secret_access_key="y",
        region_name="us-east-1", config=CLIENT_CONFIG,
    )  # fmt: skip
    with (
        hurried(),
        pytest.raises(StorageUnavailableError, match=r"s3://warehouse/a: .* is it running.*tried \d+ times"),
    ):
        S3Store(client, "warehouse").read("a")


def test_an_uploaded_drop_is_an_exact_copy_without_links_and_ready_last(s3: "S3Client", tmp_path: "Path") -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"a")
    (tmp_path / "manifest.jsonl").write_bytes(canonical({"image": "images/a.jpg"}))
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "images" / "folder").symlink_to("/etc")
    date = f"tests-{uuid.uuid4().hex}"
    assert upload_drop(tmp_path, s3, "drops", date) == 2
    drop = S3Store(s3, "drops", date)
    assert [entry.path for entry in drop.list()] == ["_READY", "images/a.jpg", "manifest.jsonl"]
    ready = drop.stat("_READY").modified
    assert all(entry.modified <= ready for entry in drop.list())
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "b.jpg")
    upload_drop(tmp_path, s3, "drops", date)
    assert [entry.path for entry in drop.list()] == ["_READY", "b.jpg", "manifest.jsonl"]


def test_fetching_what_is_not_published_says_so(store: S3Store, tmp_path: "Path") -> None:
    with pytest.raises(FileNotFoundError, match="nothing is published at"):
        fetch_partition(store, tmp_path)


def test_a_part_of_an_object_is_read_in_its_version(store: S3Store) -> None:
    store.write("a.txt", b"0123456789")
    version = store.stat("a.txt").version
    assert [store.read_part("a.txt", start, size, version) for start, size in ((0, 3), (7, 3), (8, 9))] == [
        b"012", b"789", b"89",
    ]  # fmt: skip
    store.write("a.txt", b"another one")
    assert store.read_part("a.txt", 2, 3) == b"oth"
    with pytest.raises(ChangedError):
        store.read_part("a.txt", 0, 3, version)
    with pytest.raises(NotFoundError):
        store.read_part("none.txt", 0, 3)
