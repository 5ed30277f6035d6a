"""The claim: one run at a time builds a date, and whoever was overtaken is told."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from regioncap.errors import ConflictError, PartitionBusyError, SupersededError
from regioncap.storage.local import LocalStore
from regioncap.work.claim import CHECK_SECONDS, Claim, release_of_run, who_holds
from regioncap.work.layout import CLAIM
from tests.damage import DAMAGE, change, damage


@pytest.fixture
def work(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def take(work: LocalStore, run_id: str, *over: str) -> Claim:
    """Take the claim for a run; all other runs are alive, but for those that are `over`."""
    return Claim.take(work, run_id, lambda other: other not in over)


def test_a_second_run_is_told_who_builds_the_date(work: LocalStore) -> None:
    take(work, "first")
    with pytest.raises(PartitionBusyError, match="being built by the run first"):
        take(work, "second")


def test_however_long_its_tasks_are_queued_a_run_that_is_not_over_keeps_its_claim(work: LocalStore) -> None:
    first = take(work, "first")
    path = work.local_path(CLAIM)
    assert path is not None
    # Clocks that differ have no say: not even the file's own time has.
    os.utime(path, (0, 0))
    with pytest.raises(PartitionBusyError):
        take(work, "second")
    first.check()


def test_a_run_that_is_over_or_unknown_keeps_nobody_waiting(work: LocalStore) -> None:
    dead = take(work, "dead")
    second = take(work, "second", "dead")
    assert second.number == dead.number + 1
    with pytest.raises(SupersededError, match=r"the run second has planned .* clear this run's plan task"):
        dead.check()


def test_of_runs_of_one_id_in_two_airflows_the_earlier_one_goes_no_further(work: LocalStore) -> None:
    # Nightly runs are called alike everywhere, and each Airflow knows its own.
    ours = take(work, "region_captions/scheduled__2026-10-06")
    theirs = take(work, "region_captions/scheduled__2026-10-06")
    with pytest.raises(SupersededError, match=r"has planned .* since: clear this run's plan task"):
        ours.check()
    theirs.check()
    ours.release()
    assert who_holds(work) is not None, "it is not ours to give back"


def test_all_tasks_of_one_run_share_its_claim(work: LocalStore) -> None:
    number = take(work, "first").number
    Claim(work, "first", number).check()
    Claim(work, "first", number).keep()


def test_a_run_that_plans_anew_overtakes_its_own_earlier_tasks(work: LocalStore) -> None:
    before = take(work, "first")
    take(work, "first").check()
    with pytest.raises(SupersededError, match="this run has planned"):
        before.check()


def test_a_claim_that_was_given_back_is_free_and_only_its_run_gives_it_back(work: LocalStore) -> None:
    first = take(work, "first")
    Claim(work, "second", first.number).release()
    release_of_run(work, "second")
    assert who_holds(work) == "first"
    first.release()
    assert who_holds(work) is None
    assert take(work, "second").number == first.number + 1
    first.release()
    assert who_holds(work) == "second"


def test_a_failed_run_gives_back_whatever_claim_it_has(work: LocalStore) -> None:
    take(work, "first")
    release_of_run(work, "first")
    assert who_holds(work) is None


def test_a_run_that_goes_on_holds_again_what_it_gave_back(work: LocalStore) -> None:
    """It waited for an approval, or somebody cleared the task that failed."""
    first = take(work, "first")
    first.release()
    first.check()
    with pytest.raises(PartitionBusyError):
        take(work, "second")


def test_it_is_looked_at_now_and_then_while_a_task_works(work: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    first = take(work, "first")
    first.check()
    take(work, "second", "first")
    first.keep()
    now += CHECK_SECONDS
    with pytest.raises(SupersededError):
        first.keep()


def test_a_check_writes_nothing(work: LocalStore) -> None:
    first = take(work, "first")
    version = work.stat(CLAIM).version
    first.check()
    assert work.stat(CLAIM).version == version


def test_of_two_runs_that_take_a_free_claim_at_once_one_waits(
    work: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work.replace

    def late(path: str, data: bytes, version: str | None) -> str:
        monkeypatch.setattr(work, "replace", real)
        take(work, "quicker")
        return real(path, data, version)

    monkeypatch.setattr(work, "replace", late)
    with pytest.raises(PartitionBusyError, match="by the run quicker"):
        take(work, "slower")


def test_a_write_that_arrived_though_its_answer_was_lost_takes_one_number_more(
    work: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work.replace

    def lost(path: str, data: bytes, version: str | None) -> str:
        monkeypatch.setattr(work, "replace", real)
        real(path, data, version)
        raise ConflictError("the second try of the same request")

    monkeypatch.setattr(work, "replace", lost)
    first = take(work, "first")
    first.check()
    assert first.number == 2


def test_who_cannot_write_though_nobody_is_in_the_way_is_tried_again_later(
    work: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> str:
        raise ConflictError("always")

    monkeypatch.setattr(work, "replace", refused)
    with pytest.raises(PartitionBusyError, match="in a row"):
        take(work, "first")


def claim_file(work: LocalStore) -> Path:
    path = work.local_path(CLAIM)
    assert path is not None
    return path


OTHER_VALUES: list[dict[str, object]] = [
    {"number": None}, {"number": "first"}, {"number": 0}, {"number": -1}, {"number": 1.5}, {"number": float("inf")},
    {"run_id": None}, {"run_id": 7}, {"run_id": ["first"]}, {"held": None}, {"held": "perhaps"},
]  # fmt: skip


@pytest.mark.parametrize("kind", [*DAMAGE, *range(len(OTHER_VALUES))])
def test_a_damaged_claim_is_nobodys_and_is_told(
    work: LocalStore, caplog: pytest.LogCaptureFixture, kind: str | int
) -> None:
    first = take(work, "first")
    if isinstance(kind, int):
        change(claim_file(work), **OTHER_VALUES[kind])
    else:
        damage(claim_file(work), kind)
    first.release()
    assert who_holds(work) is None
    assert f"{work.uri}/{CLAIM} cannot be read" in caplog.text
    with pytest.raises(SupersededError, match="cannot be told any more: clear this run's plan task"):
        first.check()
    take(work, "second").check()
    with pytest.raises(SupersededError, match="the run second"):
        first.check()


def test_no_number_is_handed_out_twice_where_the_file_was_damaged_in_between(work: LocalStore) -> None:
    earlier = take(work, "first")
    work.write(CLAIM, b"{")
    take(work, "first")
    with pytest.raises(SupersededError):
        earlier.check()


def test_whoever_deletes_the_work_area_lets_no_earlier_run_go_on(work: LocalStore) -> None:
    first = take(work, "first")
    work.delete(CLAIM)
    with pytest.raises(SupersededError):
        first.check()
    second = take(work, "second")
    assert second.number == first.number
    with pytest.raises(SupersededError, match="the run second"):
        first.check()


def test_a_claim_that_says_more_than_this_version_knows_is_one(work: LocalStore) -> None:
    take(work, "first")
    change(claim_file(work), deployment="another")
    with pytest.raises(PartitionBusyError, match="by the run first"):
        take(work, "second")


RUNS = ("one", "two", "three")


class ThreeRuns(RuleBasedStateMachine):
    """Runs that take, check, give back and die in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="regioncap-claim-")
        self.work = LocalStore(Path(self._folder.name))
        self.alive: set[str] = set()
        # Every claim that was ever handed out, in order.
        self.taken: list[tuple[str, Claim]] = []

    def teardown(self) -> None:
        self._folder.cleanup()

    @rule(run=sampled_from(RUNS))
    def take(self, run: str) -> None:
        self.alive.add(run)
        holder = who_holds(self.work)
        waits = holder is not None and holder != run and holder in self.alive
        try:
            claim = Claim.take(self.work, run, self.alive.__contains__)
        except PartitionBusyError:
            assert waits
        else:
            assert not waits
            assert all(claim.number > earlier.number for _, earlier in self.taken)
            self.taken.append((run, claim))

    @rule(run=sampled_from(RUNS))
    def check(self, run: str) -> None:
        for number, (owner, claim) in enumerate(self.taken, start=1):
            if owner != run:
                continue
            if number == len(self.taken):
                claim.check()
                assert who_holds(self.work) == run
            else:
                with pytest.raises(SupersededError):
                    claim.check()

    @rule(run=sampled_from(RUNS))
    def release(self, run: str) -> None:
        for owner, claim in self.taken:
            if owner == run:
                claim.release()
        assert who_holds(self.work) != run

    @rule(run=sampled_from(RUNS))
    def die(self, run: str) -> None:
        self.alive.discard(run)

    @invariant()
    def numbers_are_handed_out_once(self) -> None:
        numbers = [claim.number for _, claim in self.taken]
        assert numbers == sorted(set(numbers))


TestThreeRuns = ThreeRuns.TestCase
TestThreeRuns.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
