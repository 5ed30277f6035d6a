"""The faulty store of the tests: it fails as a real one does, and else is the store that it wraps."""

import io
from pathlib import Path

import pytest

from regioncap.errors import BrokenReadError, StorageUnavailableError
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from tests.faulty_store import Fault, FaultPlan, FaultyStore


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    for name in ("a", "b", "c", "d"):
        store.write(f"in/{name}", name.encode() * 100)
    return store


def faulty(store: Store, kind: Fault) -> FaultyStore:
    return FaultyStore(store, FaultPlan(1, 1.0, kinds=[kind]))


def test_without_faults_it_is_the_store_that_it_wraps(local: LocalStore) -> None:
    store = FaultyStore(local, FaultPlan(1, 0.0)).sub("in")
    entry = store.stat("a")
    assert list(store.list()) == list(local.sub("in").list())
    assert store.read("a", entry.version) == store.open("a", entry.version).read() == b"a" * 100
    store.replace("a", b"new", entry.version)
    store.write("e", b"e")
    store.write_stream(io.BytesIO(b"f"), "f")
    store.copy(local, "in/b", "g")
    store.delete("b")
    assert [entry.path for entry in local.list()] == ["in/a", "in/c", "in/d", "in/e", "in/f", "in/g"]
    store.delete_folder()
    assert not local.folder_exists() and not store.folder_exists()


def test_a_write_fails_before_it_is_done_or_only_its_answer_is_lost(local: LocalStore) -> None:
    for kind, expected in (("before", b"a" * 100), ("midway", b"a" * 100), ("after", b"new")):
        with pytest.raises(StorageUnavailableError, match=r"in/a: an injected fault of write"):
            faulty(local, kind).write("in/a", b"new")  # type: ignore[arg-type]
        assert local.read("in/a") == expected


def test_what_is_read_midway_is_a_part_and_then_an_error(local: LocalStore) -> None:
    store = faulty(local, "midway")
    listed = store.list()
    assert [next(listed).path, next(listed).path] == ["in/a", "in/b"]
    with pytest.raises(StorageUnavailableError):
        next(listed)
    for kind, size in (("midway", 50), ("after", 100)):
        stream = faulty(local, kind).open("in/a")  # type: ignore[arg-type]
        assert stream.read(size) == b"a" * size
        with pytest.raises(BrokenReadError):
            stream.read(1)
    with pytest.raises(StorageUnavailableError):
        store.sub("in").delete_folder()
    assert [entry.path for entry in local.list()] == ["in/c", "in/d"]


def test_the_same_seed_injects_the_same_faults(local: LocalStore) -> None:
    def injected(seed: int) -> list[object]:
        plan = FaultPlan(seed, 0.5, methods=["stat"])
        store = FaultyStore(local, plan)
        for _ in range(20):
            assert store.read("in/a") == b"a" * 100
            try:
                store.stat("in/a")
            except StorageUnavailableError:
                continue
        return list(plan.faults)

    assert injected(1) == injected(1) != injected(2)
    assert 0 < len(injected(1)) < 20
