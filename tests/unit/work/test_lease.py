"""The lease: one run at a time on a partition, and none for ever."""

from pathlib import Path

import pytest

from regioncap.errors import ConflictError, PartitionBusyError
from regioncap.storage.local import LocalStore
from regioncap.work.layout import LEASE
from regioncap.work.lease import LEASE_SECONDS, Lease
from tests.damage import DAMAGE, change, damage


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def work(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_second_run_is_told_who_holds_the_partition(work: LocalStore, clock: Clock) -> None:
    Lease(work, "first", clock).take()
    with pytest.raises(PartitionBusyError, match="by the run first"):
        Lease(work, "second", clock).take()


def test_all_tasks_of_one_run_share_its_lease(work: LocalStore, clock: Clock) -> None:
    Lease(work, "first", clock).take()
    Lease(work, "first", clock).take()


def test_a_lease_that_is_not_renewed_expires(work: LocalStore, clock: Clock) -> None:
    Lease(work, "dead", clock).take()
    clock.now += LEASE_SECONDS + 1
    Lease(work, "second", clock).take()


def test_a_lease_that_is_kept_does_not_expire(work: LocalStore, clock: Clock) -> None:
    lease = Lease(work, "first", clock)
    lease.take()
    for _ in range(10):
        clock.now += LEASE_SECONDS / 4
        lease.keep()
    with pytest.raises(PartitionBusyError):
        Lease(work, "second", clock).take()


def test_keeping_a_fresh_lease_writes_nothing(work: LocalStore, clock: Clock) -> None:
    lease = Lease(work, "first", clock)
    lease.take()
    version = work.stat(LEASE).version
    lease.keep()
    assert work.stat(LEASE).version == version


def test_a_run_that_lost_its_lease_is_told_when_it_wants_to_keep_it(work: LocalStore, clock: Clock) -> None:
    lease = Lease(work, "slow", clock)
    lease.take()
    clock.now += LEASE_SECONDS + 1
    Lease(work, "second", clock).take()
    with pytest.raises(PartitionBusyError):
        lease.keep()


def test_a_released_lease_is_free_and_only_the_holder_releases_it(work: LocalStore, clock: Clock) -> None:
    Lease(work, "first", clock).take()
    Lease(work, "second", clock).release()
    with pytest.raises(PartitionBusyError):
        Lease(work, "second", clock).take()
    Lease(work, "first", clock).release()
    Lease(work, "second", clock).take()


def test_a_lease_is_held_until_it_expires_or_is_released(work: LocalStore, clock: Clock) -> None:
    onlooker = Lease(work, "onlooker", clock)
    assert not onlooker.is_held()
    Lease(work, "holder", clock).take()
    assert onlooker.is_held()
    clock.now += LEASE_SECONDS + 1
    assert not onlooker.is_held()


def test_a_run_that_loses_the_race_for_a_free_lease_is_told(
    work: LocalStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work.replace

    def late(path: str, data: bytes, version: str | None) -> str:
        monkeypatch.setattr(work, "replace", real)
        Lease(work, "quicker", clock).take()
        raise ConflictError("too late")

    monkeypatch.setattr(work, "replace", late)
    with pytest.raises(PartitionBusyError, match="just now"):
        Lease(work, "slower", clock).take()


def lease_file(work: LocalStore) -> Path:
    path = work.local_path(LEASE)
    assert path is not None
    return path


OTHER_VALUES: list[dict[str, object]] = [
    {"expires_at": None}, {"expires_at": "soon"}, {"expires_at": float("inf")}, {"expires_at": float("nan")},
    {"expires_at": 1e300}, {"run_id": None}, {"run_id": 7}, {"run_id": ["first"]},
]  # fmt: skip


@pytest.mark.parametrize("kind", [*DAMAGE, *range(len(OTHER_VALUES))])
def test_a_damaged_lease_is_none_and_is_told(
    work: LocalStore, clock: Clock, caplog: pytest.LogCaptureFixture, kind: str | int
) -> None:
    Lease(work, "first", clock).take()
    if isinstance(kind, int):
        change(lease_file(work), **OTHER_VALUES[kind])
    else:
        damage(lease_file(work), kind)
    second = Lease(work, "second", clock)
    assert not second.is_held()
    caplog.clear()
    second.take()
    assert len(caplog.messages) == 1 and f"{work.uri}/{LEASE}" in caplog.messages[0]
    with pytest.raises(PartitionBusyError, match="by the run second"):
        Lease(work, "third", clock).take()


def test_of_two_that_take_a_damaged_lease_one_gets_it(
    work: LocalStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.write(LEASE, b"")
    real = work.replace

    def late(path: str, data: bytes, version: str | None) -> str:
        monkeypatch.setattr(work, "replace", real)
        Lease(work, "quicker", clock).take()
        return real(path, data, version)

    monkeypatch.setattr(work, "replace", late)
    with pytest.raises(PartitionBusyError, match="just now"):
        Lease(work, "slower", clock).take()


def test_a_damaged_lease_is_nobodys_to_release(work: LocalStore, clock: Clock) -> None:
    work.write(LEASE, b"")
    Lease(work, "first", clock).release()
    assert work.stat(LEASE).size == 0


def test_a_lease_that_says_more_than_this_version_knows_is_one(work: LocalStore, clock: Clock) -> None:
    Lease(work, "first", clock).take()
    change(lease_file(work), deployment="another")
    with pytest.raises(PartitionBusyError, match="by the run first"):
        Lease(work, "second", clock).take()
