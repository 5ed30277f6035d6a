"""What may pass is tried again for minutes, and no longer; all else is not."""

import errno
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regioncap.drop.drop import local_copy, read_image
from regioncap.errors import (
    BrokenReadError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PermanentError,
    StorageError,
    StorageUnavailableError,
)
from regioncap.storage import patience
from regioncap.storage.local import LocalStore
from regioncap.storage.patience import PATIENCE_SECONDS, PassingFault, persist
from tests.hurry import Hurry


class Failing:
    """A call that fails so many times."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.left = times
        self.calls = 0
        self._error = error or PassingFault("s3://bucket/a: the service is busy")

    def __call__(self) -> str:
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise self._error
        return "done"


@pytest.mark.parametrize("error", [PassingFault("a: busy"), BrokenReadError("a: cut")])
def test_what_passes_is_waited_for(hurry: Hurry, error: Exception) -> None:
    call = Failing(15, error)
    assert persist(call) == "done"
    assert call.calls == 16 and len(hurry.pauses) == 15


def test_pauses_grow_and_differ_and_end(hurry: Hurry) -> None:
    for _ in range(200):
        with pytest.raises(StorageUnavailableError):
            persist(Failing(10**6))
        tries = len(hurry.pauses)
        assert sum(hurry.pauses) <= PATIENCE_SECONDS
        assert all(
            0 <= pause <= min(patience.LONGEST_PAUSE, patience.FIRST_PAUSE * 2**number)
            for number, pause in enumerate(hurry.pauses)
        )
        assert 20 < tries < 100 and len(set(hurry.pauses)) == tries
        hurry.pauses.clear()


def test_who_gives_up_says_what_it_was_about_and_how_long_it_was_tried(hurry: Hurry) -> None:
    with pytest.raises(
        StorageUnavailableError, match=r"s3://bucket/a: the service is busy \(tried \d+ times"
    ) as caught:
        persist(Failing(10**6))
    assert not isinstance(caught.value, PermanentError | PassingFault)


def test_what_has_given_up_is_not_begun_anew_by_what_it_is_a_part_of(hurry: Hurry) -> None:
    inner = Failing(10**6)
    outer = 0

    def whole() -> str:
        nonlocal outer
        outer += 1
        return persist(inner)

    with pytest.raises(StorageUnavailableError):
        persist(whole)
    assert outer == 1
    assert sum(hurry.pauses) <= PATIENCE_SECONDS


def test_the_service_is_left_alone_for_as_long_as_it_asks(hurry: Hurry) -> None:
    persist(Failing(3, PassingFault("a: busy", wait=30.0)))
    assert all(30.0 <= pause <= 31.0 for pause in hurry.pauses)
    with pytest.raises(StorageUnavailableError, match="tried 1 times"):
        persist(Failing(1, PassingFault("a: busy", wait=PATIENCE_SECONDS + 1)))


@pytest.mark.parametrize(
    "error", [NotFoundError("a"), ForbiddenError("a"), StorageError("a"), KeyError("a"), OSError("a")]
)
def test_what_does_not_pass_is_not_tried_again(hurry: Hurry, error: Exception) -> None:
    call = Failing(1, error)
    with pytest.raises(type(error)):
        persist(call)
    assert call.calls == 1 and not hurry.pauses


def test_a_deployment_says_for_how_long_a_file_is_tried_for(hurry: Hurry) -> None:
    patience.be_patient_for(3000)
    with pytest.raises(StorageUnavailableError):
        persist(Failing(10**6))
    assert 2900 < sum(hurry.pauses) <= 3000


def test_where_somebody_waits_no_deployment_makes_it_take_longer(hurry: Hurry) -> None:
    patience.wait_at_most(15)
    patience.be_patient_for(3000)
    with pytest.raises(StorageUnavailableError):
        persist(Failing(10**6))
    assert sum(hurry.pauses) <= 15


def test_where_others_wait_for_the_answer_it_is_asked_for_once(hurry: Hurry) -> None:
    call = Failing(10**6)
    with patience.brief(0), pytest.raises(StorageUnavailableError, match="tried 1 times"):
        persist(call)
    assert call.calls == 1 and not hurry.pauses
    assert persist(Failing(2)) == "done"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "root")
    store.write("in/a.jsonl", b"a" * 100)
    store.write("in/deep/b", b"b")
    return store


def failing(monkeypatch: pytest.MonkeyPatch, times: int, code: int, *calls: str) -> Callable[[], int]:
    """Let each of these calls of the system fail so many times; returns how many have failed."""
    failed = 0

    def fail(real: Callable[..., Any]) -> Callable[..., Any]:
        left = times

        def call(*args: Any, **options: Any) -> Any:
            nonlocal left, failed
            # Python's own temporary files have whole paths.
            if left > 0 and not str(args[0]).startswith(tempfile.gettempdir() + "/regioncap-"):
                left -= 1
                failed += 1
                raise OSError(code, os.strerror(code))
            return real(*args, **options)

        return call

    for name in calls:
        monkeypatch.setattr(os, name, fail(getattr(os, name)))
    return lambda: failed


READING: list[Callable[[LocalStore], object]] = [
    lambda store: store.read("in/a.jsonl"),
    lambda store: store.open("in/a.jsonl").read(),
    lambda store: store.stat("in/a.jsonl").size,
    lambda store: [entry.path for entry in store.list()],
    lambda store: [entry.path for entry in store.list("in/de")],
    lambda store: store.folders(),
    lambda store: store.folder_exists(),
    lambda store: read_image(store, "in/a.jsonl"),
    lambda store: _manifest(store),
]


def _manifest(store: LocalStore) -> bytes:
    with local_copy(store, "in/a.jsonl") as path:
        return path.read_bytes()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["open", "fstat", "stat", "scandir"])
@pytest.mark.parametrize("read", READING)
def test_a_passing_fault_of_a_folder_costs_nothing_but_time(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, read: Callable[[LocalStore], object], name: str, code: int
) -> None:
    expected = read(store)
    with monkeypatch.context() as patch:
        failing(patch, 3, code, name)
        found = read(store)
    assert found == expected


@pytest.mark.parametrize("name", ["open", "replace", "mkdir", "fchmod"])
@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.write("in/new/c", b"new"),
        lambda store: store.write_stream(io.BytesIO(b"new"), "in/new/c"),
        lambda store: store.replace("in/new/c", b"new", None),
        lambda store: store.copy(store.sub("in"), "deep/b", "in/new/c"),
    ],
)
def test_a_passing_fault_while_a_file_is_written_leaves_the_whole_file_and_nothing_else(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[LocalStore], object], name: str
) -> None:
    failing(monkeypatch, 3, errno.EIO, name)
    write(store)
    monkeypatch.undo()
    assert store.read("in/new/c") in (b"new", b"b")
    assert [path.name for path in (tmp_path / "root" / "in" / "new").iterdir() if "lock" not in path.name] == ["c"]


def test_a_stream_is_written_from_where_it_stood(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO(b"0123456789")
    stream.seek(3)
    failing(monkeypatch, 2, errno.EIO, "replace")
    store.write_stream(stream, "x")
    assert store.read("x") == b"3456789"


def test_a_replacement_that_was_made_before_it_failed_is_no_conflict(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace
    left = 1

    def failing_after(*args: Any, **options: Any) -> None:
        nonlocal left
        real(*args, **options)
        if left:
            left -= 1
            raise OSError(errno.EIO, "the disk is away")

    monkeypatch.setattr(os, "replace", failing_after)
    version = store.replace("m.json", b"1", None)
    assert version == store.stat("m.json").version
    left = 1
    assert store.replace("m.json", b"2", version) == store.stat("m.json").version
    with pytest.raises(ConflictError):
        store.replace("m.json", b"3", version)


def test_a_deletion_goes_on_after_a_passing_fault(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 2, errno.EBUSY, "unlink")
    store.delete("in/a.jsonl")
    failing(monkeypatch, 2, errno.EBUSY, "unlink")
    store.sub("in").delete_folder()
    assert not store.folder_exists()


def test_a_file_that_cannot_be_read_to_its_end_is_named(hurry: Hurry) -> None:
    # A file of Linux whose bytes at the start no process has: reading it is an I/O error.
    for read in (LocalStore(Path("/proc/self")).read, lambda path: read_image(LocalStore(Path("/proc/self")), path)):
        with pytest.raises(StorageUnavailableError, match=r"/mem could not be read to its end: .*tried \d+ times"):
            read("mem")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, StorageUnavailableError, "make room on its disk"),
        (errno.EDQUOT, StorageUnavailableError, "make room on its disk"),
        (errno.EROFS, StorageError, "mount its disk for writing"),
        (errno.EACCES, ForbiddenError, "give this user write access to its folder"),
    ],
)
def test_a_disk_that_somebody_has_to_see_to_is_named_at_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, hurry: Hurry, code: int, kind: type[Exception], words: str
) -> None:
    failing(monkeypatch, 1, code, "replace")
    with pytest.raises(kind, match=rf"root/in/c cannot be written: {words}"):
        store.write("in/c", b"c")
    assert not hurry.pauses
