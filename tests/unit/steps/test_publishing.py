"""Publishing at its worst: storage that fails, builds that lose, builds that are kept, taken back and collected."""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest

from regioncap.errors import (
    BuildIncompleteError,
    CommitRefusedError,
    ConflictError,
    ManifestError,
    PermanentError,
    RollBackError,
    StepMissingError,
    StorageError,
    TooManyRejectedError,
)
from regioncap.report.figures import Quality, load_report
from regioncap.steps.publish import Published, commit_build, publish_build, stage_build
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Entry, Store
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.manifest import Manifest, commit, current, state_of
from regioncap.work import layout
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged, was_somebody_asked
from tests.builders import Place, kept_builds, publish_each, read_whole, validated
from tests.damage import DAMAGE, change, change_lines, damage, sign_again

NO_TIME = timedelta(0)


@dataclass
class Fault:
    """Which operation fails: number `at`, before it is done, or after (its answer is lost)."""

    at: int
    done: bool = False
    operations: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def due(self) -> bool:
        with self.lock:
            self.operations += 1
            return self.operations == self.at


class FailingStore:
    """A store with a fault, which it shares with all below it."""

    def __init__(self, store: Store, fault: Fault) -> None:
        self._store = store
        self._fault = fault

    def _try(self, operation: Callable[[], object]) -> object:
        due = self._fault.due()
        if due and not self._fault.done:
            raise ConnectionError("the cable was pulled")
        result = operation()
        if due:
            raise ConnectionError("the answer was lost")
        return result

    @property
    def uri(self) -> str:
        return self._store.uri

    def sub(self, path: str) -> "FailingStore":
        return FailingStore(self._store.sub(path), self._fault)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        yield from self._try(lambda: [*self._store.list(prefix)])  # type: ignore[misc]

    def folder_exists(self) -> bool:
        return self._try(self._store.folder_exists)  # type: ignore[return-value]

    def folders(self) -> Sequence[str]:
        return self._try(self._store.folders)  # type: ignore[return-value]

    def stat(self, path: str) -> Entry:
        return self._try(lambda: self._store.stat(path))  # type: ignore[return-value]

    def read(self, path: str) -> bytes:
        return self._try(lambda: self._store.read(path))  # type: ignore[return-value]

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        return self._try(lambda: self._store.open(path, version))  # type: ignore[return-value]

    def write(self, path: str, data: bytes) -> None:
        self._try(lambda: self._store.write(path, data))

    def write_stream(self, stream: IO[bytes], path: str) -> None:
        self._try(lambda: self._store.write_stream(stream, path))

    def copy(self, source: Store, source_path: str, path: str) -> None:
        self._try(lambda: self._store.copy(source, source_path, path))

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        return self._try(lambda: self._store.replace(path, data, version))  # type: ignore[return-value]

    def delete(self, path: str) -> None:
        self._try(lambda: self._store.delete(path))

    def delete_folder(self) -> None:
        self._try(self._store.delete_folder)


class IgnoringStore(LocalStore):
    """A service that takes conditional writes, and ignores their condition."""

    def replace(self, path: str, data: bytes, version: str | None) -> str:
        self.write(path, data)
        return self.stat(path).version


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def publish(place: Place, plan: Plan, partition: Store | None = None, grace: timedelta = NO_TIME) -> Published:
    return publish_build(
        plan=plan,
        drop=place.drop,
        work=place.work,
        partition=partition or place.partition,
        progress=lambda message: None,
        grace=grace,
    )


def folders(place: Place) -> set[str]:
    return {name.removeprefix("build=") for name in place.partition.folders()}


# ---- whatever fails


@pytest.mark.parametrize("done", [False, True], ids=["not-done", "answer-lost"])
def test_whichever_operation_fails_a_reader_sees_the_old_build_or_the_new_one(place: Place, done: bool) -> None:
    changes = {"keep_builds": 2, "export_formats": ["csv"]}
    plans = [validated(place.work, name, rows=1, **changes) for name in ("a", "b")]
    publish(place, plans[0])
    for at in range(1, 10_000):
        before = read_whole(place.partition)
        plan = plans[at % 2]
        fault = Fault(at, done)
        try:
            published = publish(place, plan, FailingStore(place.partition, fault))
        except ConnectionError:
            after = read_whole(place.partition)
            manifest, _ = current(place.partition)
            assert manifest is not None and manifest.plan_id in {one.plan_id for one in plans}
            # Only a commit whose answer was lost has published what failed.
            assert after == before or (done and manifest.plan_id == plan.plan_id)
            published = publish(place, plan)
        assert published.manifest.plan_id == plan.plan_id
        assert read_whole(place.partition) == published.manifest.build_id
        collect(place.partition, NO_TIME)
        assert folders(place) == set(kept_builds(place.partition))
        if fault.operations < at:
            break
    assert at > 20


def test_a_build_that_was_deleted_from_while_it_was_written_is_not_published(place: Place) -> None:
    class Losing(LocalStore):
        def write(self, path: str, data: bytes) -> None:
            if not path.startswith("images/"):  # says that it is done
                super().write(path, data)

        def sub(self, path: str) -> "Losing":
            return Losing(self._path(path))

        def read(self, path: str) -> bytes:
            # For the report's pictures.
            return place.work.read(f"shards/a-0/{path}") if path.startswith("images/") else super().read(path)

    plan = validated(place.work, "a", shards=1)
    with pytest.raises(BuildIncompleteError, match="3 of 9 files are not in"):
        publish(place, plan, Losing(place.folder / "warehouse" / "dt=2026-10-05"))
    assert current(place.partition) == (None, None)
    assert publish(place, plan).manifest.plan_id == plan.plan_id


def test_a_marked_image_that_is_gone_from_the_work_area_is_missed_before_the_commit(place: Place) -> None:
    plan = validated(place.work, "a", shards=1)
    gone = next(iter(place.work.list("shards/a-0/images/")))
    place.work.delete(gone.path)
    with pytest.raises(StepMissingError, match=r"1 marked images .* clear the shard's render task"):
        publish(place, plan)


def test_a_bucket_that_ignores_conditions_is_found_out_before_anything_is_written(place: Place) -> None:
    ignoring = IgnoringStore(place.folder / "warehouse" / "dt=2026-10-05")
    with pytest.raises(StorageError, match=r"ignores the condition .*If-None-Match, If-Match"):
        publish(place, validated(place.work, "a"), ignoring)
    assert list(place.partition.list()) == []


def test_a_bucket_that_cannot_be_published_to_is_found_out_before_anything_is_asked(place: Place) -> None:
    place.good_rows(1)
    place.partition = IgnoringStore(place.folder / "warehouse" / "dt=2026-10-05")
    with pytest.raises(StorageError, match="ignores the condition"):
        place.plan()


def test_a_refusal_that_nobody_won_is_tried_again(place: Place) -> None:
    class Refusing(LocalStore):
        refusals = 2

        def replace(self, path: str, data: bytes, version: str | None) -> str:
            if path == "_manifest.json" and Refusing.refusals:
                Refusing.refusals -= 1
                raise ConflictError("several came at once")
            return super().replace(path, data, version)

    published = publish(place, validated(place.work, "a"), Refusing(place.folder / "warehouse" / "dt=2026-10-05"))
    assert read_whole(place.partition) == published.manifest.build_id


def test_the_retry_of_a_task_that_was_killed_after_its_commit_says_that_it_published(place: Place) -> None:
    plan = validated(place.work, "a", force_rebuild=True)
    first = publish(place, plan)
    again = publish(place, plan)
    assert (again.manifest, again.unchanged) == (first.manifest, False)


def test_old_builds_that_cannot_be_deleted_do_not_fail_the_run(place: Place) -> None:
    class Keeping(LocalStore):
        def folders(self) -> Sequence[str]:
            raise StorageError("no right to list")

    said: list[str] = []
    publish_build(
        plan=validated(place.work, "a"), drop=place.drop, work=place.work, progress=said.append,
        partition=Keeping(place.folder / "warehouse" / "dt=2026-10-05"),
    )  # fmt: skip
    assert said[-1] == "old builds cannot be deleted: no right to list"


# ---- what waits for somebody's approval


def stage(place: Place, plan: Plan, before: Sequence[Quality] = ()) -> Staged:
    staged = stage_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=before,
        max_rejected_ratio=plan.settings.max_rejected_ratio, progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    return staged


def test_a_staged_build_is_whole_and_nobody_sees_it_until_it_is_committed(place: Place) -> None:
    (first,) = publish_each(place, "a")
    plan = validated(place.work, "b")
    staged = stage(place, plan)
    staged.save(place.work)
    assert read_whole(place.partition) == first
    # It is newer than what is published, so nobody takes it for a leftover.
    assert collect(place.partition, NO_TIME) == []
    kept = Staged.load(place.work, plan.plan_id)
    assert kept == staged
    commit_build(staged, plan=plan, work=place.work, partition=place.partition, progress=lambda message: None)
    assert read_whole(place.partition) == staged.manifest.build_id


def test_a_staged_build_is_refused_when_the_date_was_built_anew_meanwhile(place: Place) -> None:
    publish_each(place, "a")
    plan = validated(place.work, "b")
    staged = stage(place, plan)
    (other,) = publish_each(place, "c")
    with pytest.raises(CommitRefusedError, match=other):
        commit_build(staged, plan=plan, work=place.work, partition=place.partition, progress=lambda message: None)
    assert read_whole(place.partition) == other


def test_a_build_unlike_those_before_says_so_in_its_report(place: Place) -> None:
    usual = stage(place, validated(place.work, "a"))
    report = load_report(place.partition, usual.manifest)
    assert report is not None and usual.warnings == report.warnings == []
    before = [report.quality.model_copy(update={"caption_characters": 1000.0})] * 3
    unusual = stage(place, validated(place.work, "b"), before)
    assert "characters per caption" in unusual.warnings[0]


# ---- what is kept


def test_the_last_builds_are_kept_and_older_ones_go(place: Place) -> None:
    builds = publish_each(place, "a", "b", "c", "d", "e", keep_builds=3)
    assert kept_builds(place.partition) == builds[:1:-1]
    collect(place.partition, NO_TIME)
    assert folders(place) == set(builds[2:])


def test_a_build_that_was_current_a_moment_ago_stays_readable(place: Place) -> None:
    plans = [validated(place.work, name, keep_builds=1) for name in ("a", "b", "c")]
    builds = [publish(place, plan, grace=timedelta(hours=1)).manifest.build_id for plan in plans]
    collect(place.partition, NO_TIME)
    assert folders(place) == set(builds)
    (last,) = publish_each(place, "d", keep_builds=1)
    collect(place.partition, NO_TIME)
    assert folders(place) == {last}


def test_an_interrupted_build_is_collected_by_the_next_run_even_if_nothing_changed(place: Place) -> None:
    plan = validated(place.work, "a")
    with suppress(ConnectionError):
        publish(place, plan, FailingStore(place.partition, Fault(20)))
    (interrupted,) = folders(place)
    time.sleep(0.02)
    published = publish(place, plan).manifest.build_id
    assert folders(place) == {interrupted, published}  # it is seconds old: a clock might be wrong
    assert collect(place.partition, NO_TIME) == [f"build={interrupted}"]
    assert read_whole(place.partition) == published


def test_a_build_that_is_being_written_is_left_alone(place: Place) -> None:
    published = publish_each(place, "a")
    time.sleep(0.02)
    place.partition.write("build=20991231T000000Z-00000000/captions-00000-of-00001.jsonl", b"")
    assert collect(place.partition, NO_TIME) == []
    assert folders(place) == {*published, "20991231T000000Z-00000000"}


def test_what_is_not_a_build_is_never_collected(place: Place) -> None:
    for name in ("build=mine/a", "notes/a", "build=20991231T000000Z-0000000g/a"):
        place.partition.write(name, b"")
    time.sleep(0.02)
    publish_each(place, "a")
    assert collect(place.partition, NO_TIME) == []


def test_nothing_is_collected_where_nothing_is_published(place: Place) -> None:
    with suppress(ConnectionError):
        publish(place, validated(place.work, "a"), FailingStore(place.partition, Fault(20)))
    assert len(folders(place)) == 1
    assert collect(place.partition, NO_TIME) == []


def test_a_build_that_loses_while_another_is_published_is_refused_and_collected_later(place: Place) -> None:
    class Overtaken(LocalStore):
        """Another run publishes just before this one's commit."""

        def replace(self, path: str, data: bytes, version: str | None) -> str:
            if path == "_manifest.json":
                publish_each(place, "winner")
            return super().replace(path, data, version)

    with pytest.raises(CommitRefusedError, match="its current build is"):
        publish(place, validated(place.work, "a"), Overtaken(place.folder / "warehouse" / "dt=2026-10-05"))
    (winner,) = kept_builds(place.partition)
    assert len(folders(place)) == 2
    collect(place.partition, NO_TIME)
    assert folders(place) == {winner}


def test_manifests_from_before_there_was_a_history_are_read(place: Place) -> None:
    publish_each(place, "a")
    manifest, _ = current(place.partition)
    assert manifest is not None
    old = Manifest.model_validate_json(manifest.model_dump_json(exclude={"history"}))
    commit(place.partition, old.model_copy(update={"build_id": "other"}), state_of(manifest))
    publish_each(place, "b")
    assert kept_builds(place.partition)[1:] == ["other"]


# ---- the way back


def test_a_roll_back_makes_the_build_before_the_current_one_again(place: Place) -> None:
    a, b, c = publish_each(place, "a", "b", "c")
    restored = roll_back(place.partition, None)
    assert read_whole(place.partition) == restored.build_id == b
    assert kept_builds(place.partition) == [b, c, a]
    # The next step back is not forward again.
    assert roll_back(place.partition, None).build_id == a
    with pytest.raises(RollBackError, match=rf"no build to go back to; kept beside {a}: {b} \(withdrawn\), {c}"):
        roll_back(place.partition, None)
    assert roll_back(place.partition, c).build_id == c
    assert read_whole(place.partition) == c


def test_rolling_back_to_what_is_not_kept_says_what_is(place: Place) -> None:
    with pytest.raises(RollBackError, match="nothing is published at"):
        roll_back(place.partition, None)
    a, b = publish_each(place, "a", "b")
    with pytest.raises(RollBackError, match=f"there is no build x; kept beside {b}: {a}"):
        roll_back(place.partition, "x")
    with pytest.raises(RollBackError, match=f"{b} is the current build already"):
        roll_back(place.partition, b)
    place.partition.sub(f"build={a}").delete_folder()
    with pytest.raises(RollBackError, match="somebody deleted it"):
        roll_back(place.partition, a)


def test_a_roll_back_that_meets_a_publish_is_refused(place: Place) -> None:
    class Overtaken(LocalStore):
        def replace(self, path: str, data: bytes, version: str | None) -> str:
            publish_each(place, "c")
            return super().replace(path, data, version)

    publish_each(place, "a", "b")
    with pytest.raises(CommitRefusedError):
        roll_back(Overtaken(place.folder / "warehouse" / "dt=2026-10-05"), None)
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.fingerprint == "c"


def test_the_next_run_does_not_build_again_what_was_withdrawn(place: Place) -> None:
    place.put_rows("not JSON")
    first = place.plan(max_rejected_ratio=1)
    publish(place, first)
    place.put_rows("not JSON", "nor is this")
    second = place.plan(max_rejected_ratio=1)
    publish(place, second)
    restored = roll_back(place.partition, None)
    said: list[str] = []
    again = place.plan(max_rejected_ratio=1)
    assert again.unchanged
    published = publish_build(
        plan=again, drop=place.drop, work=place.work, partition=place.partition, progress=said.append
    )
    assert (published.manifest.build_id, published.unchanged) == (restored.build_id, True)
    assert any("was withdrawn" in message for message in said)
    # Whoever means it says so, or changes something.
    assert not place.plan(max_rejected_ratio=1, force_rebuild=True).unchanged
    place.put_rows("not JSON", "nor is this", "mended")
    assert not place.plan(max_rejected_ratio=1).unchanged


def test_a_withdrawn_build_is_kept_like_any_other(place: Place) -> None:
    a, _ = publish_each(place, "a", "b", keep_builds=2)
    roll_back(place.partition, None)
    (c,) = publish_each(place, "c", keep_builds=2)
    collect(place.partition, NO_TIME)
    assert folders(place) == {a, c}
    assert roll_back(place.partition, None).build_id == a


# ---- what was written before is damaged, or of another version


def manifest_file(place: Place) -> Path:
    return place.folder / f"warehouse/dt={place.date}/_manifest.json"


def every_file(place: Place) -> dict[str, bytes]:
    return {entry.path: place.partition.read(entry.path) for entry in place.partition.list()}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_manifest_stops_its_date_and_says_what_to_do(place: Place, kind: str) -> None:
    publish_each(place, "a", "b")
    place.put_rows("not JSON")
    plan = validated(place.work, "c")
    damage(manifest_file(place), kind)
    before = every_file(place)
    said = f"{place.partition.uri}/_manifest.json cannot be read .*: restore .*build=<id>/manifest.json.* or delete"
    for step in (
        lambda: place.plan(max_rejected_ratio=1),
        lambda: publish(place, plan),
        lambda: roll_back(place.partition, None),
        lambda: collect(place.partition, NO_TIME),
    ):
        with pytest.raises(ManifestError, match=said) as caught:
            step()
        assert isinstance(caught.value, PermanentError) and "\n" not in str(caught.value)
    # The commit point is never guessed around, and nothing is deleted for it.
    assert every_file(place) == before


def test_a_manifest_of_a_newer_kind_stops_its_date_and_is_not_to_be_deleted(place: Place) -> None:
    publish_each(place, "a")
    plan = validated(place.work, "b")
    change(manifest_file(place), schema_version="2.0", counts="of another form")
    before = every_file(place)
    with pytest.raises(ManifestError, match=r"is of version 2\.0, .* reads 1\.x: use the RegionCap") as said:
        publish(place, plan)
    assert "delete" not in str(said.value)
    with pytest.raises(ManifestError):
        collect(place.partition, NO_TIME)
    assert every_file(place) == before


@pytest.mark.parametrize("version", ["", "one", "1", 1.0, None])
def test_a_manifest_whose_version_is_none_is_damaged_or_read(place: Place, version: object) -> None:
    publish_each(place, "a")
    change(manifest_file(place), schema_version=version)
    if version == "1":
        assert current(place.partition)[0] is not None
        return
    with pytest.raises(ManifestError, match="schema_version"):
        current(place.partition)


def test_a_manifest_with_more_fields_is_read_and_followed(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    text = json.loads(manifest_file(place).read_bytes())
    text |= {"schema_version": "1.9", "signed_by": {"name": "somebody"}}
    for part in (*text["captions"], text["rejected"], text["counts"], *text["history"]):
        part["added"] = [1]
    manifest_file(place).write_text(json.dumps(text))
    (c,) = publish_each(place, "c")
    assert kept_builds(place.partition) == [c, b, a]
    assert roll_back(place.partition, a).build_id == a
    assert read_whole(place.partition) == a


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_build_whose_own_manifest_is_damaged_is_kept_and_the_others_are_gone_back_to(place: Place, kind: str) -> None:
    a, b, c = publish_each(place, "a", "b", "c")
    damage(place.folder / f"warehouse/dt={place.date}/build={b}/manifest.json", kind)
    with pytest.raises(RollBackError, match=rf"build={b}/manifest.json cannot be read .*[Cc]hoose another build.*{a}"):
        roll_back(place.partition, None)
    assert collect(place.partition, NO_TIME) == []
    assert folders(place) == {a, b, c}
    assert roll_back(place.partition, a).build_id == a
    assert collect(place.partition, NO_TIME) == []


def test_a_build_of_a_newer_kind_is_not_gone_back_to(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    change(place.folder / f"warehouse/dt={place.date}/build={a}/manifest.json", schema_version="2.0")
    with pytest.raises(RollBackError, match=r"is of version 2\.0"):
        roll_back(place.partition, a)
    assert read_whole(place.partition) == b


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_staged_build_that_cannot_be_read_is_none_and_is_told(
    place: Place, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    plan = validated(place.work, "a")
    stage(place, plan).save(place.work)
    damage(place.work.local_path(f"plans/{plan.plan_id}/staged.json"), kind)
    assert Staged.load(place.work, plan.plan_id) is None
    assert len(caplog.messages) == 1 and "staged.json" in caplog.messages[0]


@pytest.mark.parametrize("version", ["2.0", "x"])
def test_a_staged_build_of_a_newer_kind_is_none(place: Place, caplog: pytest.LogCaptureFixture, version: str) -> None:
    plan = validated(place.work, "a")
    staged = stage(place, plan)
    staged.save(place.work)
    path = place.work.local_path(f"plans/{plan.plan_id}/staged.json")
    change(path, manifest=json.loads(staged.manifest.model_dump_json()) | {"schema_version": version})
    assert Staged.load(place.work, plan.plan_id) is None
    assert len(caplog.messages) == 1 and "staged.json" in caplog.messages[0]


def test_a_staged_build_with_more_fields_is_read(place: Place) -> None:
    plan = validated(place.work, "a")
    staged = stage(place, plan)
    staged.save(place.work)
    change(place.work.local_path(f"plans/{plan.plan_id}/staged.json"), asked_at="2026-11-25")
    assert Staged.load(place.work, plan.plan_id) == staged


@pytest.mark.parametrize("kind", [*DAMAGE, "missing"])
def test_what_a_shard_took_is_left_out_of_the_report_where_nobody_knows(
    place: Place, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    plan = validated(place.work, "a", shards=2, rows=3)
    path = place.work.local_path(own_file(plan, "caption.json"))
    if kind == "missing":
        path.unlink()
    else:
        damage(path, kind)
    report = load_report(place.partition, publish(place, plan).manifest)
    assert report is not None and report.counts.captioned == 6 and report.timings.questions == 3
    assert len([text for text in caplog.messages if f"{plan.shards[0]}/caption.json" in text]) == 1
    # Whether answers could be structured is a part of what is not known: a person may be asked for that.
    assert report.warnings


@pytest.mark.parametrize("kind", [*DAMAGE, "missing", "of another plan", "of another identity"])
@pytest.mark.parametrize("task", ["render", "validate"])
def test_a_receipt_that_does_not_fit_says_which_task_to_clear(place: Place, task: str, kind: str) -> None:
    plan = validated(place.work, "a", shards=2)
    path = place.work.local_path(own_file(plan, f"{task}.json"))
    if kind == "missing":
        path.unlink()
    elif kind == "of another plan":
        change(path, plan_id="b")
    elif kind == "of another identity":
        change(path, identity="b")
    else:
        damage(path, kind)
    with pytest.raises(StepMissingError, match=rf"clear the shard's {task} task \(map index 0\)") as said:
        publish(place, plan)
    assert "\n" not in str(said.value)
    assert current(place.partition) == (None, None)


def test_all_shards_whose_tasks_are_to_be_cleared_are_named(place: Place) -> None:
    plan = validated(place.work, "a", shards=30, rows=1)
    for number in (3, 5, *range(7, 28)):
        place.work.delete(layout.plan_shard_path(plan.plan_id, plan.shards[number]) + "records.jsonl")
    with pytest.raises(StepMissingError) as said:
        publish(place, plan)
    for number in (3, 5, 7):
        assert f"clear the shard's validate task (map index {number})" in str(said.value)
    assert str(said.value).endswith("and so for 3 more shards")


@pytest.mark.parametrize("change_of", ["size", "content"])
def test_a_marked_image_that_is_damaged_is_never_published(place: Place, change_of: str) -> None:
    plan = validated(place.work, "a", shards=1)
    damaged = next(iter(place.work.list("shards/a-0/images/")))
    data = place.work.read(damaged.path)
    place.work.write(damaged.path, b"" if change_of == "size" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StepMissingError, match=r"images/.*\.jpg is not what was marked: clear the shard's render task"):
        publish(place, plan)
    assert current(place.partition) == (None, None)


def own_file(plan: Plan, name: str) -> str:
    """A file that the plan's steps wrote for its first shard."""
    return layout.plan_shard_path(plan.plan_id, plan.shards[0]) + name


def test_what_a_shard_took_with_more_fields_is_read(place: Place) -> None:
    plan = validated(place.work, "a", shards=1, rows=3)
    for name in ("render.json", "caption.json"):
        change(place.work.local_path(own_file(plan, name)), watts=250)
    report = load_report(place.partition, publish(place, plan).manifest)
    assert report is not None and report.timings.questions == 3 and report.warnings == []


@pytest.mark.parametrize("kind", ["zeros", "cut", "not-utf8", "not-an-object", "other-fields"])
@pytest.mark.parametrize(
    ("name", "task"),
    [("records.jsonl", "shard's validate"), ("validate_rejected.jsonl", "shard's validate"),
     ("render_rejected.jsonl", "shard's render"), ("rejected.jsonl", "run's plan")],
)  # fmt: skip
def test_a_damaged_step_says_which_task_to_clear(place: Place, name: str, task: str, kind: str) -> None:
    plan = validated(place.work, "a", shards=1)
    path = f"plans/{plan.plan_id}/{name}" if name == "rejected.jsonl" else own_file(plan, name)
    if not place.work.read(path):
        place.work.write(path, place.work.read(own_file(plan, "render_rejected.jsonl")))
    damage(place.work.local_path(path), kind)
    with pytest.raises(StepMissingError, match=rf"{path} is not what .*: clear the {task} task") as said:
        publish(place, plan)
    assert "\n" not in str(said.value)
    assert current(place.partition) == (None, None)


def test_rows_with_more_fields_are_published_without_them(place: Place) -> None:
    """Of a newer version that wrote them so, and its receipt too."""
    plan = validated(place.work, "a", shards=1)
    path = place.work.local_path(own_file(plan, "render_rejected.jsonl"))
    change_lines(path, seen="twice")
    sign_again(path)
    manifest = publish(place, plan).manifest
    assert "seen" not in json.loads(place.partition.read(manifest.rejected.path))


class Unreadable(LocalStore):
    """Its reports cannot be read."""

    def sub(self, path: str) -> "Unreadable":
        return Unreadable(self._path(path))

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        if path.endswith("report.json"):
            raise ConnectionError("the bucket is gone")
        return super().open(path, version)


def test_a_report_that_cannot_be_fetched_is_none_and_is_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    published = publish(place, validated(place.work, "a"))
    partition = Unreadable(place.folder / "warehouse" / f"dt={place.date}")
    assert load_report(partition, published.manifest) is None
    assert len(caplog.messages) == 1 and "report.json" in caplog.messages[0] and "gone" in caplog.messages[0]


# ---- what is looked at right before the swap


def build_folder(place: Place, staged: Staged) -> Path:
    return place.folder / "warehouse" / f"dt={place.date}" / staged.manifest.build


def commit_staged(place: Place, staged: Staged, plan: Plan, check: Callable[[], None] = lambda: None) -> Published:
    return commit_build(
        staged, plan=plan, work=place.work, partition=place.partition, progress=lambda message: None, check=check
    )


def nothing_of_it(build: Path) -> None:
    shutil.rmtree(build)


def an_image(build: Path) -> None:
    next((build / "images").iterdir()).unlink()


def an_image_cut_short(build: Path) -> None:
    image = next((build / "images").iterdir())
    image.write_bytes(image.read_bytes()[:-1])


def its_report(build: Path) -> None:
    (build / "report.json").unlink()


def its_manifest(build: Path) -> None:
    (build / "manifest.json").unlink()


def its_inventory(build: Path) -> None:
    (build / "_files.jsonl").write_bytes(b"")


@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize(
    "lose",
    [nothing_of_it, an_image, an_image_cut_short, its_report, its_manifest, its_inventory],
    ids=lambda lose: lose.__name__,
)
@pytest.mark.parametrize("over_another", [False, True])
def test_a_staged_build_that_is_not_whole_any_more_is_not_published_but_staged_anew(
    place: Place, lose: Callable[[Path], None], approved: bool, over_another: bool
) -> None:
    if over_another:
        publish_each(place, "z")
    before = current(place.partition)
    plan = validated(place.work, "a")
    staged = stage(place, plan).model_copy(update={"approved": approved})
    staged.save(place.work)
    lose(build_folder(place, staged))
    with pytest.raises(BuildIncompleteError, match=rf"{staged.manifest.build} is not any more what was written: "):
        commit_staged(place, staged, plan)
    assert current(place.partition) == before
    # It waits for nobody, so what is written anew is asked about anew.
    assert Staged.load(place.work, plan.plan_id) is None
    anew = stage(place, plan)
    assert commit_staged(place, anew, plan).manifest.build_id == anew.manifest.build_id
    assert read_whole(place.partition) == anew.manifest.build_id != staged.manifest.build_id


@pytest.mark.parametrize("over_another", [False, True])
def test_an_approved_build_of_a_partition_that_was_deleted_is_staged_anew(place: Place, over_another: bool) -> None:
    if over_another:
        publish_each(place, "z")
    plan = validated(place.work, "a")
    staged = stage(place, plan).model_copy(update={"approved": True})
    staged.save(place.work)
    shutil.rmtree(place.folder / "warehouse" / f"dt={place.date}")
    with pytest.raises(BuildIncompleteError):
        commit_staged(place, staged, plan)
    assert current(place.partition) == (None, None)
    assert not was_somebody_asked(place.work)
    published = publish(place, plan)
    assert kept_builds(place.partition) == [published.manifest.build_id]
    assert read_whole(place.partition) == published.manifest.build_id


@pytest.mark.parametrize("field", ["counts", "captions", "created_at", "identity"])
def test_a_staged_build_of_which_something_else_is_kept_than_was_written_is_not_published(
    place: Place, field: str
) -> None:
    plan = validated(place.work, "a")
    staged = stage(place, plan)
    staged.save(place.work)
    path = place.work.local_path(f"plans/{plan.plan_id}/staged.json")
    kept = json.loads(path.read_bytes())
    kept["manifest"][field] = {
        "counts": kept["manifest"]["counts"] | {"captioned": 5},
        "captions": kept["manifest"]["captions"][:1],
    }.get(field, "another")
    path.write_text(json.dumps(kept))
    damaged = Staged.load(place.work, plan.plan_id)
    assert damaged is not None
    with pytest.raises(BuildIncompleteError, match=r"manifest\.json does not say what was published"):
        commit_staged(place, damaged, plan)
    assert current(place.partition) == (None, None)


def test_a_staged_build_that_names_a_plan_elsewhere_leads_nowhere(place: Place) -> None:
    plan = validated(place.work, "a")
    staged = stage(place, plan)
    staged.save(place.work)
    elsewhere = staged.model_copy(update={"manifest": staged.manifest.model_copy(update={"plan_id": "../../../x"})})
    with pytest.raises(BuildIncompleteError, match=r"manifest\.json does not say what was published"):
        commit_staged(place, elsewhere, plan)
    assert Staged.load(place.work, plan.plan_id) is None


def test_whoever_commits_is_asked_once_more_after_the_files_were_looked_at(place: Place) -> None:
    plan = validated(place.work, "a")
    staged = stage(place, plan)

    def superseded() -> None:
        raise PermanentError("another run has planned this date")

    with pytest.raises(PermanentError, match="another run"):
        commit_staged(place, staged, plan, superseded)
    assert current(place.partition) == (None, None)


def test_nobody_waits_any_more_for_what_is_published(place: Place) -> None:
    plan = validated(place.work, "a")
    staged = stage(place, plan).model_copy(update={"approved": True})
    staged.save(place.work)
    assert was_somebody_asked(place.work)
    first = commit_staged(place, staged, plan)
    assert not was_somebody_asked(place.work)
    # A later try of the same task.
    assert commit_staged(place, staged, plan) == first
    assert publish(place, plan).manifest == first.manifest


def test_a_staged_build_of_the_first_version_is_taken_where_it_was_the_dates_first(place: Place) -> None:
    plan = validated(place.work, "a")
    stage(place, plan).save(place.work)
    path = place.work.local_path(f"plans/{plan.plan_id}/staged.json")
    written = json.loads(path.read_bytes())
    del written["begun_under"]
    path.write_text(json.dumps(written | {"version": None}))
    staged = Staged.load(place.work, plan.plan_id)
    assert staged is not None and staged.begun_under is None
    # Of a later one, nobody can tell what was published then: it is written anew.
    path.write_text(json.dumps(written | {"version": "1-2-3"}))
    assert Staged.load(place.work, plan.plan_id) is None


# ---- what is marked, and what is rejected


@pytest.mark.parametrize("harm", [b"", b"\xff\xd8 cut"], ids=["empty", "cut"])
def test_an_export_never_carries_a_marked_image_that_is_not_what_was_rendered(place: Place, harm: bytes) -> None:
    plan = validated(place.work, "a", shards=1, export_formats=["webdataset"], export_images="marked")
    image = next(iter(place.work.list("shards/a-0/images/")))

    class Late(LocalStore):
        """Somebody alters an image after the build's own copy was made."""

        def sub(self, path: str) -> "Late":
            return Late(self._path(path))

        def write_stream(self, stream: IO[bytes], path: str) -> None:
            if path == "rejected.jsonl":
                place.work.local_path(image.path).write_bytes(harm)
            super().write_stream(stream, path)

    with pytest.raises(StepMissingError, match=rf"{image.path} is not what was marked: clear the shard's render"):
        publish(place, plan, Late(place.folder / "warehouse" / f"dt={place.date}"))


def test_exports_say_what_the_record_files_say_or_nothing_is_published(place: Place) -> None:
    plan = validated(place.work, "a", shards=1, export_formats=["parquet"])
    path_of_records = f"plans/{plan.plan_id}/shards/a-0/records.jsonl"
    other = place.work.read(path_of_records).replace(b"a 0", b"b 0")

    class Late(LocalStore):
        """A task of another run writes the records anew after they were published."""

        def sub(self, path: str) -> "Late":
            return Late(self._path(path))

        def write_stream(self, stream: IO[bytes], path: str) -> None:
            if path == "rejected.jsonl":
                place.work.write(path_of_records, other)
            super().write_stream(stream, path)

    with pytest.raises(BuildIncompleteError, match="records were written anew while they were published"):
        publish(place, plan, Late(place.folder / "warehouse" / f"dt={place.date}"))
    assert current(place.partition) == (None, None)


def test_the_share_of_rejected_rows_is_the_one_that_publish_is_told(place: Place) -> None:
    plan = validated(place.work, "a", shards=2, rows=1, max_rejected_ratio=0.1)
    with pytest.raises(TooManyRejectedError, match=r"2 of 4 rows .* max_rejected_ratio = 0\.1"):
        stage_with(place, plan, 0.1)
    staged = stage_with(place, plan, 0.5)
    report = load_report(place.partition, staged.manifest)
    assert report is not None and report.settings["max_rejected_ratio"] == 0.5


def stage_with(place: Place, plan: Plan, ratio: float) -> Staged:
    staged = stage_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(), max_rejected_ratio=ratio,
        progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    return staged


# ---- the inventory


def test_the_inventory_lists_every_file_of_a_build_and_its_hash(place: Place) -> None:
    plan = validated(place.work, "a", export_formats=["csv", "webdataset"], export_images="marked", shards=2, rows=2)
    manifest = publish(place, plan).manifest
    build = place.partition.sub(f"{manifest.build}/")
    assert manifest.files is not None
    data = place.partition.read(manifest.files.path)
    files = [json.loads(text) for text in data.splitlines()]
    assert (manifest.files.bytes, manifest.files.rows) == (len(data), len(files))
    assert manifest.files.sha256 == hashlib.sha256(data).hexdigest()
    there = {entry.path: entry.size for entry in build.list() if entry.path not in ("_files.jsonl", "manifest.json")}
    assert {file["path"]: file["bytes"] for file in files} == there
    for file in files:
        digest = hashlib.sha256(build.read(file["path"])).hexdigest()
        named = "images/" in file["path"]
        assert file["sha256"] == (None if named else digest)
        assert not named or Path(file["path"]).stem == digest[:32]
