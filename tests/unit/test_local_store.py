"""The local store: whole files, no links, conditional writes. The same contract on S3 is in tests/integration."""

import io
import threading
from pathlib import Path

import pytest

from regioncap.storage.local import LocalStore
from regioncap.storage.store import ConflictError, LinkError, NotFoundError


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
    import os

    store.write("folder/a", b"")
    os.mkfifo(tmp_path / "root" / "pipe")
    for path in ("folder", "pipe"):
        with pytest.raises(NotFoundError):
            store.open(path)
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
