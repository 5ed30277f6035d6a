"""The lease: one run at a time on a partition, and none for ever."""

from pathlib import Path

import pytest

from regioncap.builds.layout import LEASE
from regioncap.builds.lease import LEASE_SECONDS, Lease, PartitionBusyError
from regioncap.storage.local import LocalStore
from regioncap.storage.store import ConflictError


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
