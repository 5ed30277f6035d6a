import io
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from regioncap.drop.elsewhere import Images
from regioncap.drop.inside import Insides, inside, members, placed
from regioncap.errors import ChangedError, NotFoundError, RowError
from regioncap.storage.local import LocalStore
from tests.unit.drop.readers.inside import images, member, parquet_of, picture_of, samples, tar_of


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.tar!/1.jpg", ("a.tar", "1.jpg")),
        ("x/a.tar.gz!/y/1.jpg", ("x/a.tar.gz", "y/1.jpg")),
        ("a.tgz!/b.tar!/1.jpg", ("a.tgz", "b.tar!/1.jpg")),
        ("a.parquet!/image/17", ("a.parquet", "image/17")),
        ("a.tar/1.jpg", None),
        ("a.zip!/1.jpg", None),
        ("wow!/1.jpg", None),
        ("a.tar!/", None),
        (".tar!/1.jpg", None),
        ("a.jpg", None),
    ],
)
def test_a_path_says_which_file_an_image_is_inside(path: str, found: tuple[str, str] | None) -> None:
    assert inside(path) == found


def test_a_version_says_where_the_bytes_are_where_that_is_known() -> None:
    assert placed("v", (512, 3)) == "v@512+3"
    assert placed("v", None) == "v" and placed(None, (512, 3)) is None


def header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a tar's member that says this of its size."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[148:156] = size, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "damaged",
    [
        # -512 and -1 bytes: from behind itself, a member would be come to for ever.
        header("a.jpg", b"\xff" * 10 + b"\xfe\x00"),
        header("a.jpg", b"\xff" * 12),
        tar_of(member("a.jpg", pax_headers={"size": "-1536"})),
        tar_of(member("a.jpg", pax_headers={"size": "-512"})),
    ],
)
def test_a_tar_whose_members_lead_back_is_damaged_and_not_read_for_ever(damaged: bytes) -> None:
    first = tar_of(member("0.jpg", b"x" * 512))[:1024]
    with pytest.raises(ValueError, match=r"the tar is damaged at its byte 1,025"):
        list(islice(members(io.BytesIO(first + damaged + tar_of(member("b.jpg", b"x" * 2000)))), 100))


def test_what_says_where_a_member_is_takes_no_more_memory_than_such_takes() -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.jpg"}
    tar = tar_of(member("a.jpg", b"1000000\n" + b"1\n" * (1 << 20), pax_headers=sparse))
    with pytest.raises(ValueError, match="the name or the notes of a member have more than 1,048,576 bytes"):
        list(members(io.BytesIO(tar)))


def test_a_tar_may_have_more_members_than_one_of_them_may_have_notes() -> None:
    names = [f"{number:04d}" for number in range(2500)]
    assert [found.name for found in members(io.BytesIO(tar_of(*map(member, names))))] == names


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.write("a.tar", tar_of(*samples(range(30)), member("empty.jpg")))
    store.write("a.parquet", parquet_of({"image": images(range(30))}, row_group_size=8))
    return store


class Counted(LocalStore):
    """Notes what is read."""

    read = 0

    def read_part(self, path: str, start: int, size: int, version: str | None = None) -> bytes:
        data = super().read_part(path, start, size, version)
        self.read += len(data)
        return data


def test_a_member_whose_place_is_known_is_all_that_is_read(store: LocalStore, tmp_path: Path) -> None:
    data = picture_of(7)
    at = store.read("a.tar").index(data)
    version = placed(store.stat("a.tar").version, (at, len(data)))
    counted = Counted(tmp_path)
    assert Images(counted).open("a.tar!/000007.jpg", version).read() == data
    assert counted.read == len(data)
    assert Images(counted).open("a.tar!/empty.jpg", placed(store.stat("a.tar").version, (at, 0))).read() == b""


def test_images_are_read_by_many_threads_at_once(store: LocalStore) -> None:
    found = Images(store)
    start = threading.Barrier(8)

    def read(number: int) -> bool:
        if number < 8:
            start.wait(60)
        name = f"a.tar!/{number % 30:06d}.jpg" if number % 2 else f"a.parquet!/image/{number % 30 + 1}"
        return found.open(name).read() == picture_of(number % 30)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(120)))


def test_of_many_files_a_few_stay_open(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for number in range(9):
        store.write(f"{number}.tar", tar_of(*samples([number])))
    insides = Insides()
    for number in (*range(9), *range(9)):
        assert insides.read(store, f"{number}.tar", f"{number:06d}.jpg", None) == picture_of(number)
    assert len(insides._open) == 4


def test_no_more_is_read_of_an_image_than_one_can_have(store: LocalStore) -> None:
    at = store.read("a.tar").index(picture_of(7))
    version = placed(store.stat("a.tar").version, (at, 10**9))
    for where, known in (("a.tar", version), ("a.tar", None), ("a.parquet", None)):
        name = "image/8" if where == "a.parquet" else "000007.jpg"
        assert Insides().read(store, where, name, known, most=10) == picture_of(7)[:10]


@pytest.mark.parametrize(
    ("file", "name", "code"),
    [
        ("a.tar", "none.jpg", "image_not_found"),
        ("a.parquet", "image/31", "image_not_found"),
        ("bad.tar", "1.jpg", "image_unreadable"),
        ("bad.parquet", "image/1", "image_unreadable"),
        ("bad.tar.gz", "1.jpg", "image_unreadable"),
    ],
)
def test_what_is_not_in_a_file_costs_a_row(store: LocalStore, file: str, name: str, code: str) -> None:
    for bad in ("bad.tar", "bad.parquet", "bad.tar.gz"):
        store.write(
            bad, b"\x1f\x8b\x08\0\0\0\0\0\0\x03 no more of it" if bad.endswith("gz") else b"nothing of the kind"
        )
    with pytest.raises(RowError) as caught:
        Images(store).open(f"{file}!/{name}")
    assert caught.value.code == code


def test_a_file_that_is_missing_or_another_one_is_no_fault_of_an_image(store: LocalStore) -> None:
    found = Images(store)
    with pytest.raises(NotFoundError):
        found.open("none.tar!/1.jpg")
    for file, name in (("a.tar", "000007.jpg"), ("a.parquet", "image/1")):
        version = store.stat(file).version
        store.write(file, store.read(file))
        for known in (version, placed(version, (512, 10))):
            with pytest.raises(ChangedError):
                found.open(f"{file}!/{name}", known)
