"""The local store: whole files, no links, conditional writes. The same contract on S3 is in tests/integration."""

import errno
import io
import os
import shutil
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from regioncap.drop.drop import not_ready, read_image
from regioncap.errors import (
    BrokenReadError,
    ChangedError,
    ConflictError,
    ForbiddenError,
    LinkError,
    NotFoundError,
    RowError,
    StorageUnavailableError,
)
from regioncap.regions.codes import Code
from regioncap.storage import local
from regioncap.storage.local import LocalStore

Result = TypeVar("Result")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "root")


def test_what_is_written_is_read_back_and_listed(store: LocalStore) -> None:
    store.write("a/b.txt", b"one")
    store.write_stream(io.BytesIO(b"two"), "a/c.txt")
    assert store.read("a/b.txt") == b"one"
    assert [(entry.path, entry.size) for entry in store.list()] == [("a/b.txt", 3), ("a/c.txt", 3)]
    assert [entry.path for entry in store.sub("a").list()] == ["b.txt", "c.txt"]


def test_files_are_listed_in_the_order_of_a_bucket(store: LocalStore) -> None:
    names = ["a.txt", "a/b.txt", "a0.txt", "a-b/c.txt", "Z.txt", "ä.txt"]
    for name in names:
        store.write(name, b"")
    assert [entry.path for entry in store.list()] == sorted(names, key=str.encode)


def test_a_prefix_may_end_inside_a_name(store: LocalStore) -> None:
    for name in ("shards/ab/1", "shards/ac/1", "other"):
        store.write(name, b"")
    assert [entry.path for entry in store.list("shards/a")] == ["shards/ab/1", "shards/ac/1"]
    assert [entry.path for entry in store.list("shards/ab/")] == ["shards/ab/1"]
    assert list(store.list("nowhere/")) == []


def test_a_missing_file_is_not_found(store: LocalStore) -> None:
    for path in ("none.txt", "none/none.txt", "x" * 300):
        with pytest.raises(NotFoundError):
            store.read(path)
    assert not store.folder_exists()


def test_links_are_neither_listed_nor_followed(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.jpg").write_bytes(b"secret")
    store.write("in/real.jpg", b"real")
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "secret" / "key.jpg")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "secret")
    assert [entry.path for entry in store.list()] == ["in/real.jpg"]
    for path in ("link.jpg", "folder/key.jpg"):
        with pytest.raises(LinkError):
            store.open(path)


def test_a_folder_or_a_pipe_is_not_a_file(store: LocalStore, tmp_path: Path) -> None:
    store.write("folder/a", b"")
    os.mkfifo(tmp_path / "root" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "root")  # an address has to be short
        listening.bind("socket")
    for path in ("folder", "pipe", "socket"):
        for call in (store.open, store.stat):
            with pytest.raises(NotFoundError):
                call(path)
    assert [entry.path for entry in store.list()] == ["folder/a"]


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd"])
def test_no_path_leads_out_of_the_root(store: LocalStore, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        store.write(path, b"")


def test_a_failed_write_leaves_the_old_file_and_no_trace(store: LocalStore, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is full")

    store.write("a.txt", b"old")
    with pytest.raises(OSError, match="full"):
        store.write_stream(Broken(), "a.txt")
    assert store.read("a.txt") == b"old"
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["a.txt"]


def test_replace_writes_only_over_the_version_that_was_read(store: LocalStore) -> None:
    first = store.replace("m.json", b"1", None)
    with pytest.raises(ConflictError):
        store.replace("m.json", b"2", None)
    second = store.replace("m.json", b"2", first)
    assert second != first
    with pytest.raises(ConflictError):
        store.replace("m.json", b"3", first)
    assert store.read("m.json") == b"2"


def test_what_others_go_by_is_there_after_a_power_cut_and_all_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    found: list[tuple[bytes, bytes]] = []

    def settle(handle: int) -> None:
        found.append((store.read("manifest"), store.read("part")))

    version = store.replace("manifest", b"old", None)
    store.write("part", b"of the new one")
    monkeypatch.setattr(local, "_settle", settle)
    store.replace("manifest", b"new", version)
    assert found == [(b"old", b"of the new one"), (b"new", b"of the new one")]


def test_a_disk_that_cannot_say_that_all_is_there_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([OSError(errno.EIO, "Input/output error")])

    def settle(handle: int) -> None:
        for error in errors:
            raise error

    monkeypatch.setattr(local, "_settle", settle)
    store = LocalStore(tmp_path)
    assert store.read("manifest", store.replace("manifest", b"new", None)) == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".regioncap-lock", "manifest"]


def test_of_many_writers_at_once_one_wins(store: LocalStore) -> None:
    won: list[int] = []
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        gate.wait()
        try:
            store.replace("m.json", str(number).encode(), None)
            won.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("m.json") == str(won[0]).encode()
    assert len(won) == 1


def test_deleting_what_is_not_there_is_fine(store: LocalStore) -> None:
    store.write("a", b"")
    store.delete("a")
    store.delete("a")
    assert list(store.list()) == []


def test_folders_are_those_directly_below(store: LocalStore, tmp_path: Path) -> None:
    assert store.folders() == []
    for name in ("b/x", "a/y/z", "file"):
        store.write(name, b"")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root" / "a")
    assert store.folders() == ["a", "b"]


def test_a_deleted_folder_is_gone_and_nothing_beside_it(store: LocalStore) -> None:
    for name in ("build=1/a/b", "build=1/c", "build=12/x"):
        store.write(name, b"")
    store.sub("build=1/").delete_folder()
    store.sub("build=1/").delete_folder()
    assert store.folders() == ["build=12"]


def test_a_copy_between_stores_has_the_same_bytes(store: LocalStore, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    other.write("x/y.bin", bytes(range(256)))
    store.copy(other, "x/y.bin", "z.bin")
    assert store.read("z.bin") == bytes(range(256))


FAULTS_OF_THE_MOMENT = [
    errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.ENOTCONN, errno.EBUSY,
]  # fmt: skip


@pytest.mark.parametrize("code", FAULTS_OF_THE_MOMENT, ids=errno.errorcode.get)
@pytest.mark.parametrize("failing", ["images", "a.jpg"])
def test_what_may_pass_by_itself_is_no_missing_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, failing: str, code: int
) -> None:
    store.write("images/a.jpg", b"a")
    break_the_system(monkeypatch, failing, code)
    for call in (store.read, store.stat, lambda path: read_image(store, path)):
        with pytest.raises(StorageUnavailableError, match=r"images/a\.jpg cannot be read now: .* \(tried \d+ times in"):
            call("images/a.jpg")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("failing", ["images", "a.jpg"])
def test_a_file_that_may_not_be_read_is_forbidden_which_is_no_missing_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, failing: str, code: int
) -> None:
    store.write("images/a.jpg", b"a")
    break_the_system(monkeypatch, failing, code)
    with pytest.raises(ForbiddenError, match=r"images/a\.jpg cannot be read: give this user read access to it"):
        store.read("images/a.jpg")
    with pytest.raises(RowError) as caught:
        read_image(store, "images/a.jpg")
    assert caught.value.code == Code.IMAGE_FORBIDDEN


def break_the_system(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Whatever is asked of the system about a file of this name fails."""
    for call in ("open", "stat"):
        real = getattr(os, call)

        def fail(path: str, *args: int, _real: Callable[..., object] = real, **options: int) -> object:
            if str(path).endswith(name):
                raise OSError(code, os.strerror(code), path)
            return _real(path, *args, **options)

        monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize(
    "path", ["../a", "a/../../b", "/etc/hostname", "nul\0", "\ud800.jpg", "x" * 300, "图" * 100, "", ".", "a.jpg/b.jpg"]
)
def test_a_name_that_no_file_can_have_is_not_found(store: LocalStore, path: str) -> None:
    store.write("a.jpg", b"a")
    for call in (store.read, store.open, store.stat):
        with pytest.raises(NotFoundError):
            call(path)
    with pytest.raises(RowError) as caught:
        read_image(store, path)
    assert caught.value.code == Code.IMAGE_NOT_FOUND


def test_a_file_that_gets_shorter_while_it_is_read_is_an_error(store: LocalStore, tmp_path: Path) -> None:
    store.write("a.bin", bytes(1 << 20))
    with store.open("a.bin") as stream:
        stream.read(1000)
        os.truncate(tmp_path / "root" / "a.bin", 600_000)
        with pytest.raises(BrokenReadError, match=r"file://.*/a\.bin was written while it was read"):
            shutil.copyfileobj(stream, io.BytesIO())


@pytest.mark.parametrize("size", [-1, 1 << 20, 2 << 20])
def test_a_file_that_is_written_while_it_is_read_is_an_error(store: LocalStore, tmp_path: Path, size: int) -> None:
    store.write("a.bin", bytes(1 << 20))
    with store.open("a.bin") as stream:
        with (tmp_path / "root" / "a.bin").open("r+b") as other:
            other.write(b"x")
        os.utime(tmp_path / "root" / "a.bin", (0, 0))  # a clock that is too coarse would not tell
        with pytest.raises(BrokenReadError, match=r"file://.*/a\.bin"):
            stream.read(size)


def test_a_file_that_ends_early_is_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a.bin", bytes(1 << 20))
    status = os.stat_result
    real = os.fstat

    def longer(handle: int) -> os.stat_result:
        found = list(real(handle))
        found[6] += 10
        return status(found)

    monkeypatch.setattr(os, "fstat", longer)
    for read in (lambda stream: stream.read(), lambda stream: stream.read(2 << 20), list):
        with store.open("a.bin") as stream, pytest.raises(BrokenReadError, match="ended after 1,048,576 of 1,048,586"):
            read(stream)


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(store: LocalStore) -> None:
    store.write("a.bin", b"old" * 100_000)
    with store.open("a.bin") as stream:
        stream.read(10)
        store.write("a.bin", b"new")
        assert len(stream.read()) == 299_990


@pytest.fixture
def secret(store: LocalStore, tmp_path: Path) -> Path:
    """A folder beside the root with a file in it; `linked` in the root leads to the one, `link` to the other."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "key").write_bytes(b"secret")
    store.write("a", b"a")
    (tmp_path / "root" / "linked").symlink_to(folder)
    (tmp_path / "root" / "link").symlink_to(folder / "key")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_root_may_be_a_link_but_nothing_below_it(store: LocalStore, secret: Path, tmp_path: Path) -> None:
    assert LocalStore(tmp_path / "root" / "linked").read("key") == b"secret"
    linked = store.sub("linked")
    for call in (linked.read, linked.open, linked.stat, linked.delete):
        with pytest.raises(LinkError, match="leads through a symbolic link, which is never followed"):
            call("key")
    for look in (linked.folder_exists, linked.folders, lambda: list(linked.list()), linked.delete_folder):
        with pytest.raises(LinkError):
            look()
    assert content(secret) == {"key": b"secret"}


def test_below_a_link_nothing_is_listed(store: LocalStore, secret: Path) -> None:
    assert [entry.path for entry in store.list()] == ["a"]
    assert list(store.list("linked/")) == []
    assert store.folders() == []


def test_nothing_is_written_through_a_link(store: LocalStore, secret: Path) -> None:
    writes: list[Callable[[str], object]] = [
        lambda path: store.write(path, b"new"),
        lambda path: store.write_stream(io.BytesIO(b"new"), path),
        lambda path: store.replace(path, b"new", None),
        lambda path: store.copy(store, "a", path),
        store.delete,
    ]
    for write in writes:
        for path in ("linked/key", "linked/new", "linked/deep/new"):
            with pytest.raises(LinkError):
                write(path)
    assert content(secret) == {"key": b"secret"}


def test_a_link_in_the_place_of_a_file_is_replaced_or_refused(store: LocalStore, secret: Path, tmp_path: Path) -> None:
    with pytest.raises(LinkError):
        store.replace("link", b"new", None)
    store.delete("link")
    (tmp_path / "root" / "link").symlink_to(secret / "key")
    store.write("link", b"new")
    assert store.read("link") == b"new"
    assert content(secret) == {"key": b"secret"}


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_that_is_a_link_is_refused(store: LocalStore, secret: Path, tmp_path: Path, there: bool) -> None:
    (tmp_path / "root" / ".regioncap-lock").symlink_to(secret / ("key" if there else "new"))
    with pytest.raises(LinkError):
        store.replace("a", b"new", None)
    assert content(secret) == {"key": b"secret"}


def test_a_link_is_no_marker(store: LocalStore, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "root" / "_READY").symlink_to(secret / "key")
    assert "symbolic link" in (not_ready(store, "marker", 0) or "")


def test_files_can_be_read_by_everybody(store: LocalStore, tmp_path: Path) -> None:
    store.write("a", b"")
    store.write_stream(io.BytesIO(b""), "b")
    store.replace("c", b"", None)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "root").glob("?")} == {0o644}


def test_a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere_else(store: LocalStore, tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"the secret")
    store.write("in/key", b"public")
    (root / "link").symlink_to(secret)
    done = threading.Event()

    def renamed(one: Path, other: Path) -> bool:
        with suppress(OSError):
            one.rename(other)
            return True
        return False

    def swap() -> None:
        while not done.is_set():
            for one, other in (("in", "real"), ("link", "in"), ("in", "link"), ("real", "in")):
                while not renamed(root / one, root / other):  # a writer has made a new folder of this name
                    shutil.rmtree(root / other, ignore_errors=True)

    def attempt(call: Callable[[], Result]) -> Result | None:
        with suppress(NotFoundError, LinkError, OSError):  # it may be away at this moment
            return call()
        return None

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(1500):
            assert attempt(lambda: store.read("in/key")) in (b"public", None)
            listed = attempt(lambda: list(store.list("in/"))) or []
            assert {entry.size for entry in listed} <= {len(b"public"), len(b"new")}
            attempt(lambda: store.delete("in/new"))
            attempt(lambda: store.write("in/new", b"new"))
            attempt(lambda: store.delete("in/key"))
            attempt(lambda: store.write("in/key", b"public"))
    finally:
        done.set()
        thread.join()
    assert content(secret) == {"key": b"the secret"}


def open_below(folder: Path) -> list[str]:
    """What this process has open there: other threads open and close things of their own."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(folder))]


def test_nothing_stays_open(store: LocalStore, secret: Path, tmp_path: Path) -> None:
    store.write("in/deep/a", b"a")
    before = open_below(tmp_path)
    for path in ("in/deep/a", "in/none", "in", "linked/key", "none/a", "link", "../a"):
        for call in (store.read, store.stat):
            with suppress(NotFoundError, LinkError):
                call(path)
    for write in (store.write, lambda path, data: store.replace(path, data, None)):
        for path in ("in/new", "linked/new", "a"):
            with suppress(ConflictError, LinkError):
                write(path, b"new")
    assert store.folder_exists() and store.folders() and list(store.list("in/"))
    store.sub("in").delete_folder()
    assert open_below(tmp_path) == before == []


def test_a_read_of_a_version_gives_its_bytes_or_says_that_the_file_has_changed(store: LocalStore) -> None:
    store.write("a.bin", b"old")
    listed, looked_at = next(iter(store.list())), store.stat("a.bin")
    assert listed == looked_at
    assert looked_at.checksum is None
    assert store.read("a.bin", looked_at.version) == b"old"
    store.write("a.bin", b"new")  # as many bytes
    for read in (store.read, store.open):
        with pytest.raises(ChangedError, match=r"file://.*/root/a\.bin was written since"):
            read("a.bin", looked_at.version)
    assert store.read("a.bin", store.stat("a.bin").version) == b"new"
    store.delete("a.bin")
    with pytest.raises(NotFoundError):
        store.read("a.bin", looked_at.version)


def test_the_version_that_counts_is_that_of_the_file_that_was_opened(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a.bin", b"old")
    version = store.stat("a.bin").version
    real = os.open

    def replaced_before(path: str, *args: int, **options: int) -> int:
        if path == "a.bin":
            monkeypatch.setattr(os, "open", real)
            store.write("a.bin", b"new")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", replaced_before)
    with pytest.raises(ChangedError):
        store.read("a.bin", version)


def test_a_read_that_ends_in_another_version_does_not_start_again_with_that_one(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a.bin", b"old")
    version = store.stat("a.bin").version
    real = os.fstat

    def written_meanwhile(handle: int) -> os.stat_result:
        status = real(handle)
        (tmp_path / "root" / "a.bin").write_bytes(b"longer")
        return status

    monkeypatch.setattr(os, "fstat", written_meanwhile)
    with pytest.raises(ChangedError):
        store.read("a.bin", version)


def test_a_part_of_a_file_is_read_in_its_version(store: LocalStore) -> None:
    store.write("a.txt", b"0123456789")
    version = store.stat("a.txt").version
    assert [store.read_part("a.txt", start, size, version) for start, size in ((0, 3), (7, 3), (8, 9), (12, 1))] == [
        b"012", b"789", b"89", b"",
    ]  # fmt: skip
    store.write("a.txt", b"another one")
    assert store.read_part("a.txt", 2, 3) == b"oth"
    with pytest.raises(ChangedError):
        store.read_part("a.txt", 0, 3, version)
    with pytest.raises(NotFoundError):
        store.read_part("none.txt", 0, 3)
