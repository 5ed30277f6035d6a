"""Replies of a real S3 server that are cut short or damaged on the way: all bytes come, or an error that may pass."""

import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.local import bucket
from deploy.local.credentials import Credentials
from regioncap.drop.drop import local_copy, read_image
from regioncap.errors import BrokenReadError, PermanentError, StorageUnavailableError
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import S3Store
from tests.fault_proxy import Cut, Decide, FaultProxy, Flip, Request, Shorter, fault_proxy
from tests.hurry import hurried

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Lines, so that a stream can be read by them; larger than what is read at a time.
DATA = b"".join(b'{"id": "%07d", "image": "street/%07d.jpg"}\n' % (row, row) for row in range(40_000))
READS = 25


@pytest.fixture(scope="module")
def proxy(s3_port: int) -> Iterator[FaultProxy]:
    with fault_proxy(s3_port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another try comes without a pause, and there are not many."""
    monkeypatch.setattr("regioncap.storage.patience.PATIENCE_SECONDS", 5.0)
    with hurried():
        yield


@pytest.fixture
def name() -> str:
    return f"tests/{uuid.uuid4().hex}"


@pytest.fixture
def there(s3: "S3Client", name: str) -> S3Store:
    """The store without the proxy, with a file in it."""
    store = S3Store(s3, "drops", name)
    store.write("a.bin", DATA)
    return store


@pytest.fixture
def store(proxy: FaultProxy, credentials: Credentials, there: S3Store, name: str) -> S3Store:
    """The same store behind the proxy."""
    return S3Store(bucket.client(proxy.port, credentials), "drops", name)


def read(store: S3Store, there: S3Store, folder: Path) -> bytes:
    return store.read("a.bin")


def read_at_once(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with store.open("a.bin") as stream:
        return stream.read()


def read_without_with(store: S3Store, there: S3Store, folder: Path) -> bytes:
    return store.open("a.bin").read()


def read_in_pieces(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with store.open("a.bin") as stream:
        return b"".join(iter(lambda: stream.read(100_003), b""))


def read_as_much_as_there_is(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with store.open("a.bin") as stream:
        return stream.read(len(DATA))


def read_by_lines(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with store.open("a.bin") as stream:
        return b"".join(stream)


def read_into_a_file(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with store.open("a.bin") as stream, (folder / "copy").open("wb") as copy:
        shutil.copyfileobj(stream, copy)
    return (folder / "copy").read_bytes()


def read_as_a_manifest(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with local_copy(store, "a.bin") as path:
        return path.read_bytes()


def read_as_an_image(store: S3Store, there: S3Store, folder: Path) -> bytes:
    return read_image(store, "a.bin")


def copy_to_a_folder(store: S3Store, there: S3Store, folder: Path) -> bytes:
    LocalStore(folder).copy(store, "a.bin", "b.bin")
    return (folder / "b.bin").read_bytes()


def copy_to_another_service(store: S3Store, there: S3Store, folder: Path) -> bytes:
    there.copy(store, "a.bin", "b.bin")  # for boto3 another address is another service
    return there.read("b.bin")


def write_on(store: S3Store, there: S3Store, folder: Path) -> bytes:
    with store.open("a.bin") as stream:
        there.write_stream(stream, "c.bin")
    return there.read("c.bin")


WAYS: list[Callable[[S3Store, S3Store, Path], bytes]] = [
    read, read_at_once, read_without_with, read_in_pieces, read_as_much_as_there_is, read_by_lines, read_into_a_file,
    read_as_a_manifest, read_as_an_image, copy_to_a_folder, copy_to_another_service, write_on,
]  # fmt: skip


def spoilt(draw: random.Random, chance: float, kind: type[Cut] | type[Flip]) -> Decide:
    """A fault that befalls this share of objects' bodies, at a random byte."""

    def fault(request: Request, body: bytes | None) -> Cut | Flip | None:
        if not body or not request.reads_an_object or draw.random() >= chance:
            return None
        return kind(draw.randrange(len(body)))

    return fault


@pytest.mark.parametrize("kind", [Cut, Flip])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_read_gives_all_bytes_as_they_are_or_an_error_that_may_pass(
    way: Callable[[S3Store, S3Store, Path], bytes],
    kind: type[Cut] | type[Flip],
    proxy: FaultProxy,
    store: S3Store,
    there: S3Store,
    tmp_path: Path,
) -> None:
    faults = proxy.faults
    for seed in range(READS):
        # Each time, then half of the times: some reads fail for good, others are well the second time.
        proxy.fault = spoilt(random.Random(seed), 1.0 if seed < 3 else 0.5, kind)
        try:
            got = way(store, there, tmp_path)
        except OSError as error:
            assert not isinstance(error, PermanentError)
            assert f"{store.uri}/a.bin" in str(error)
        else:
            assert seed >= 3, "a reply that is always spoilt cannot be read"
            assert got == DATA
    assert proxy.faults > faults + 3
    assert not list((tmp_path).rglob(".regioncap-*"))


@pytest.mark.parametrize("size", [1, 2, 70_000])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_answer_that_says_it_is_whole_and_is_not_is_found_out(
    way: Callable[[S3Store, S3Store, Path], bytes],
    size: int,
    proxy: FaultProxy,
    store: S3Store,
    there: S3Store,
    tmp_path: Path,
) -> None:
    there.write("a.bin", DATA[:size])
    faults = iter([Shorter(size), Shorter(1)])
    proxy.fault = lambda request, body: next(faults, None) if body and request.reads_an_object else None
    try:
        assert way(store, there, tmp_path) == DATA[:size]
    except BrokenReadError:
        assert way in (read_at_once, read_without_with, read_in_pieces, read_as_much_as_there_is, read_by_lines,
                       read_into_a_file, write_on)  # fmt: skip


@pytest.mark.parametrize("after", [0, 1, 1000, len(DATA) - 1])
def test_what_is_copied_on_is_not_there_when_it_was_cut_short(
    after: int, proxy: FaultProxy, store: S3Store, there: S3Store, tmp_path: Path
) -> None:
    proxy.fault = lambda request, body: Cut(after) if request.method == "GET" else None
    local = LocalStore(tmp_path / "local")
    for target in (there, local):
        with pytest.raises(OSError, match=r"a\.bin"):
            target.copy(store, "a.bin", "copy.bin")
    assert [entry.path for entry in there.list()] == ["a.bin"]
    assert list(local.list()) == []


def test_a_large_file_that_is_cut_short_leaves_no_part_behind(
    s3: "S3Client", proxy: FaultProxy, store: S3Store, there: S3Store
) -> None:
    there.write_stream(BytesIO(DATA * 20), "large.bin")
    proxy.fault = lambda request, body: Cut(36 << 20) if "large.bin" in request.target else None
    with pytest.raises(OSError, match=r"large\.bin"):
        there.copy(store, "large.bin", "copy.bin")
    assert [entry.path for entry in there.list()] == ["a.bin", "large.bin"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="drops", Prefix="tests/")


def test_a_passing_fault_of_one_file_is_not_the_end_of_the_task(proxy: FaultProxy, store: S3Store) -> None:
    faults = iter([Cut(100), Cut(0)])
    proxy.fault = lambda request, body: next(faults, None) if body else None
    assert store.read("a.bin") == DATA
    faults = iter([Cut(100), Cut(0)])
    assert read_image(store, "a.bin") == DATA
    faults = iter([Cut(100), Cut(0)])
    with local_copy(store, "a.bin") as path:
        assert path.read_bytes() == DATA


@pytest.mark.parametrize("after", [0, 1, 200])
def test_a_listing_that_is_cut_short_is_no_empty_folder(after: int, proxy: FaultProxy, store: S3Store) -> None:
    proxy.fault = lambda request, body: Cut(after) if "list-type" in request.target else None
    for call in (lambda: list(store.list()), store.folder_exists, store.folders):
        with pytest.raises(StorageUnavailableError, match="s3://drops/tests/"):
            call()


def test_a_copy_that_was_not_confirmed_did_not_succeed(proxy: FaultProxy, store: S3Store) -> None:
    proxy.fault = lambda request, body: Cut(0) if request.method == "PUT" and body else None
    with pytest.raises(OSError, match=r"copy\.bin"):
        store.copy(store, "a.bin", "copy.bin")
