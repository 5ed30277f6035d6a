"""Which builds are gone back to, and which are deleted: what may still become the current one is never touched."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import IO

import pytest

from regioncap.errors import ArchivedError, CommitRefusedError, ManifestError, RollBackError
from regioncap.steps.publish import Published, commit_build, stage_build
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Entry
from regioncap.warehouse.history import collect, note_fingerprint, roll_back
from regioncap.warehouse.manifest import Manifest, current
from regioncap.work.plan import Plan
from regioncap.work.staged import Staged
from tests.builders import Place, kept_builds, publish_each, read_whole, validated
from tests.damage import change

NO_TIME = timedelta(0)


def partition_folder(place: Place) -> Path:
    return place.folder / "warehouse" / f"dt={place.date}"


def stage(place: Place, plan: Plan) -> Staged:
    staged = stage_build(
        plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(), max_rejected_ratio=1,
        progress=lambda message: None,
    )  # fmt: skip
    assert isinstance(staged, Staged)
    return staged


def commit_staged(place: Place, staged: Staged, plan: Plan) -> Published:
    return commit_build(
        staged, plan=plan, work=place.work, partition=place.partition, progress=lambda message: None, grace=NO_TIME
    )


def touch_manifest(place: Place, how: str) -> None:
    """Write the manifest anew in ways that change nothing of what is published."""
    time.sleep(0.02)
    path = partition_folder(place) / "_manifest.json"
    if how == "touched":
        os.utime(path)
    elif how == "written again":
        path.write_bytes(path.read_bytes())
    elif how == "put back from a copy":
        shutil.copy(path, path.with_name("copy"))
        path.unlink()
        path.with_name("copy").rename(path)
    else:
        manifest, _ = current(place.partition)
        assert manifest is not None
        note_fingerprint(place.partition, manifest.build_id, "another")


WAYS = ["touched", "written again", "put back from a copy", "another fingerprint noted"]


# ---- what waits


@pytest.mark.parametrize("how", WAYS)
def test_a_build_that_waits_is_kept_and_published_though_the_manifest_was_written_again(place: Place, how: str) -> None:
    (first,) = publish_each(place, "a")
    plan = validated(place.work, "b")
    staged = stage(place, plan)
    staged.save(place.work)
    touch_manifest(place, how)
    assert collect(place.partition, NO_TIME) == []
    waiting = Staged.load(place.work, plan.plan_id)
    assert waiting == staged
    assert commit_staged(place, staged, plan).manifest.build_id == staged.manifest.build_id
    assert read_whole(place.partition) == staged.manifest.build_id
    assert kept_builds(place.partition) == [staged.manifest.build_id, first]


def test_a_manifest_that_would_not_fit_the_memory_is_not_read(place: Place) -> None:
    place.partition.write("_manifest.json", b"")
    os.truncate(place.folder / "warehouse" / f"dt={place.date}" / "_manifest.json", 1 << 40)
    with pytest.raises(ManifestError, match=r"_manifest\.json has 1,099,511,627,776 bytes, .*restore it from"):
        current(place.partition)


def test_a_build_that_waits_is_deleted_once_another_was_published(place: Place) -> None:
    publish_each(place, "a")
    staged = stage(place, validated(place.work, "b"))
    time.sleep(0.02)
    publish_each(place, "c")
    assert collect(place.partition, NO_TIME) == [staged.manifest.build]


def test_a_build_that_waits_is_deleted_once_a_build_was_gone_back_to(place: Place) -> None:
    publish_each(place, "a", "b")
    staged = stage(place, validated(place.work, "c"))
    time.sleep(0.02)
    roll_back(place.partition, None)
    assert collect(place.partition, NO_TIME) == [staged.manifest.build]


def test_what_is_published_while_leftovers_are_looked_for_is_not_deleted(place: Place) -> None:
    """A build that was begun after the manifest was looked at is known by its files: they are newer."""

    class Slow(LocalStore):
        def folders(self) -> list[str]:
            publish_each(place, "c")
            plan = validated(place.work, "d", keep_builds=1)
            commit_staged(place, stage(place, plan), plan)
            return [*super().folders()]

    publish_each(place, "a")
    assert collect(Slow(partition_folder(place)), NO_TIME) == []
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.fingerprint == "d"
    assert read_whole(place.partition) == manifest.build_id


# ---- what is gone back to


def damage(build: Path, how: str) -> None:
    image = next((build / "images").iterdir())
    if how == "all but its manifest":
        for path in build.iterdir():
            if path.name != "manifest.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif how == "an image":
        image.unlink()
    elif how == "an empty image":
        image.write_bytes(b"")
    else:
        next(build.glob("captions-*")).unlink()


@pytest.mark.parametrize("how", ["all but its manifest", "an image", "an empty image", "its records"])
def test_a_build_that_is_not_whole_is_not_gone_back_to_and_the_newest_whole_one_is_named(
    place: Place, how: str
) -> None:
    a, b, c, d = publish_each(place, "a", "b", "c", "d", keep_builds=4)
    for build in (b, c):
        damage(partition_folder(place) / f"build={build}", how)
    said = rf"build={c} is not whole any more: \S+ (is gone|has 0 bytes instead of \d+).*[Gg]o back to {a}.*{d} stays"
    for wanted in (None, c):
        with pytest.raises(RollBackError, match=said):
            roll_back(place.partition, wanted)
    assert kept_builds(place.partition) == [d, c, b, a]
    assert roll_back(place.partition, a).build_id == a
    assert read_whole(place.partition) == a


def test_where_no_earlier_build_is_whole_that_is_said(place: Place) -> None:
    a, b, c = publish_each(place, "a", "b", "c")
    damage(partition_folder(place) / f"build={b}", "an image")
    shutil.rmtree(partition_folder(place) / f"build={a}")
    with pytest.raises(RollBackError, match=f"Nor is any other that is kept; {c} stays the current one"):
        roll_back(place.partition, b)


def test_bytes_that_were_copied_to_another_service_are_whole_though_its_checksums_are_others(place: Place) -> None:
    """Parts of another size or other keys of encryption make another ETag of the same bytes."""

    class Service(LocalStore):
        kind = "first"

        def sub(self, path: str) -> "Service":
            return Service(self._path(path))

        def list(self, prefix: str = "") -> Iterator[Entry]:
            for entry in super().list(prefix):
                checksum = f"{Service.kind} {hash(self._path(entry.path).read_bytes())}"
                yield Entry(entry.path, entry.size, entry.version, entry.modified, checksum)

        def copy(self, source: object, source_path: str, path: str) -> None:
            raise AssertionError("nothing is copied")

    place.partition = Service(partition_folder(place))
    a, b, _ = publish_each(place, "a", "b", "c")
    Service.kind = "second"
    assert roll_back(place.partition, b).build_id == b
    (image,) = (partition_folder(place) / f"build={a}" / "images").iterdir()
    image.write_bytes(bytes(image.stat().st_size))
    with pytest.raises(RollBackError, match=rf"images/{image.name} is not what was published"):
        roll_back(place.partition, a)


@pytest.mark.parametrize("restored", [False, True])
def test_a_build_of_which_a_file_was_moved_to_an_archive_is_not_gone_back_to(place: Place, restored: bool) -> None:
    """A rule of the bucket's that moves large files only leaves the build's manifest readable."""

    class Service(LocalStore):
        """What was moved to an archive is listed as such, also after it was restored."""

        def sub(self, path: str) -> "Service":
            return Service(self._path(path))

        def list(self, prefix: str = "") -> Iterator[Entry]:
            for entry in super().list(prefix):
                yield replace(entry, archived=entry.path.startswith("images/"))

        def open(self, path: str, version: str | None = None) -> IO[bytes]:
            if path.startswith("images/") and not restored:
                raise ArchivedError(f"{path}: restore it first")
            return super().open(path, version)

    a, b = publish_each(place, "a", "b")
    place.partition = Service(partition_folder(place))
    if restored:
        assert roll_back(place.partition, None).build_id == a
        return
    with pytest.raises(RollBackError, match=r"images/\w+\.jpg cannot be read \(.*restore it first"):
        roll_back(place.partition, None)
    assert kept_builds(place.partition) == [b, a]


def test_a_noted_fingerprint_is_that_of_the_build_wherever_it_stands(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    note_fingerprint(place.partition, a, "of a")
    note_fingerprint(place.partition, b, "of b")

    def noted() -> dict[str, str]:
        manifest, _ = current(place.partition)
        assert isinstance(manifest, Manifest)
        return {build.build_id: build.fingerprint for build in (manifest, *manifest.history)}

    assert noted() == {a: "of a", b: "of b"}
    roll_back(place.partition, None)
    assert noted() == {a: "of a", b: "of b"}


@pytest.mark.parametrize("field", ["sha256", "bytes", "path"])
@pytest.mark.parametrize("file", ["captions", "rejected"])
def test_a_build_whose_own_manifest_says_something_else_of_a_file_is_not_gone_back_to(
    place: Place, file: str, field: str
) -> None:
    """A digit that was flipped on a disk: it can be read all the same."""
    a, b = publish_each(place, "a", "b")
    path = partition_folder(place) / f"build={a}" / "manifest.json"
    kept = json.loads(path.read_bytes())
    entry = kept[file][0] if file == "captions" else kept[file]
    entry[field] = entry[field] + 1 if field == "bytes" else entry[field][:-1] + "x"
    path.write_text(json.dumps(kept))
    with pytest.raises(RollBackError, match="is not whole any more"):
        roll_back(place.partition, None)
    assert read_whole(place.partition) == b


@pytest.mark.parametrize("what", ["a commit", "a roll-back"])
def test_what_meets_a_fingerprint_that_is_being_noted_is_tried_again(place: Place, what: str) -> None:
    a, b = publish_each(place, "a", "b")
    noted: list[str] = []

    class Noting(LocalStore):
        """Another run notes a fingerprint just before the manifest is written."""

        def replace(self, path: str, data: bytes, version: str | None) -> str:
            if path == "_manifest.json" and not noted:
                noted.append(b)
                time.sleep(0.02)
                note_fingerprint(place.partition, b, "another")
            return super().replace(path, data, version)

    plan = validated(place.work, "c")
    staged = stage(place, plan)
    place.partition = Noting(partition_folder(place))
    if what == "a commit":
        commit_staged(place, staged, plan)
        assert kept_builds(place.partition) == [staged.manifest.build_id, b, a]
    else:
        roll_back(place.partition, None)
        assert kept_builds(place.partition) == [a, b]
    assert noted


def test_a_build_in_whose_place_another_ones_manifest_lies_is_not_gone_back_to(place: Place) -> None:
    """As a copy by hand may leave it: what that says of the other build is true."""
    a, b, c = publish_each(place, "a", "b", "c")
    folder = partition_folder(place)
    shutil.copyfile(folder / f"build={c}/manifest.json", folder / f"build={b}/manifest.json")
    with pytest.raises(RollBackError, match=rf"build={b}/manifest.json .* of {c}"):
        roll_back(place.partition, None)
    assert kept_builds(place.partition) == [c, b, a]
    assert roll_back(place.partition, a).build_id == a


def test_a_build_whose_manifest_is_a_link_is_not_gone_back_to(place: Place) -> None:
    a, b, c = publish_each(place, "a", "b", "c")
    path = partition_folder(place) / f"build={b}" / "manifest.json"
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.raises(RollBackError, match="symbolic link"):
        roll_back(place.partition, b)
    assert kept_builds(place.partition) == [c, b, a]


def test_the_current_build_is_not_gone_back_to_though_the_history_names_it(place: Place) -> None:
    """Whoever has put the history together by hand may have listed it too."""
    a, b = publish_each(place, "a", "b")
    path = partition_folder(place) / "_manifest.json"
    said = json.loads(path.read_bytes())
    change(path, history=[said["history"][0] | {"build_id": b}, *said["history"]])
    with pytest.raises(RollBackError, match=f"{b} is the current build already"):
        roll_back(place.partition, b)
    assert roll_back(place.partition, None).build_id == a


def with_times(place: Place, current_until: str) -> None:
    """Write into the history, by hand, when its builds were the current ones."""
    path = partition_folder(place) / "_manifest.json"
    said = json.loads(path.read_bytes())
    change(path, history=[build | {"current_until": current_until} for build in said["history"]])


@pytest.mark.parametrize("written", ["2020-11-23T16:15:43", "2020-11-23", "2020-11-23T16:15:43Z"])
def test_a_time_that_was_written_by_hand_is_in_utc(place: Place, written: str) -> None:
    *_, c = publish_each(place, "a", "b", "c")
    with_times(place, written)
    (d,) = publish_each(place, "d", keep_builds=2)
    assert kept_builds(place.partition) == [d, c]


def test_a_history_without_a_time_is_damaged_before_anything_is_paid_for(place: Place) -> None:
    publish_each(place, "a", "b")
    with_times(place, "yesterday")
    with pytest.raises(ManifestError, match=r"_manifest.json cannot be read \(history.0.current_until: .*yesterday"):
        current(place.partition)


# ---- what was copied, what was deleted by hand, and clocks


def test_a_build_that_was_copied_from_another_date_is_not_gone_back_to(place: Place) -> None:
    a, _ = publish_each(place, "a", "b")
    other = Place(place.folder, "2026-10-06")
    shutil.copytree(partition_folder(place), partition_folder(other))
    with pytest.raises(RollBackError, match=f"build={a}/manifest.json is of dt={place.date}, .*copied"):
        roll_back(other.partition, None)
    (c,) = publish_each(other, "c")
    assert read_whole(other.partition) == c
    with pytest.raises(RollBackError, match=f"is of dt={place.date}"):
        roll_back(other.partition, a)


def test_what_is_not_whole_is_not_come_back_to_where_the_manifest_is_gone(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    (partition_folder(place) / "_manifest.json").unlink()
    damage(partition_folder(place) / f"build={b}", "an image")
    with pytest.raises(RollBackError, match=rf"build={b} is not whole any more: images/\S+ is gone.*{a}"):
        roll_back(place.partition, b)
    assert current(place.partition) == (None, None)
    assert roll_back(place.partition, a).build_id == a


def test_coming_back_where_the_manifest_is_gone_is_refused_when_a_run_was_faster(place: Place) -> None:
    a, _ = publish_each(place, "a", "b")
    (partition_folder(place) / "_manifest.json").unlink()

    class Overtaken(LocalStore):
        def replace(self, path: str, data: bytes, version: str | None) -> str:
            publish_each(place, "c")
            return super().replace(path, data, version)

    with pytest.raises(CommitRefusedError):
        roll_back(Overtaken(partition_folder(place)), a)
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.fingerprint == "c"


def test_a_run_publishes_where_the_manifest_was_deleted_and_the_builds_before_go(place: Place) -> None:
    publish_each(place, "a", "b")
    (partition_folder(place) / "_manifest.json").unlink()
    (c,) = publish_each(place, "c")
    collect(place.partition, NO_TIME)
    assert kept_builds(place.partition) == [c] and read_whole(place.partition) == c
    assert [path.name for path in partition_folder(place).glob("build=*")] == [f"build={c}"]


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(seconds=1), NO_TIME], ids=str)
def test_what_was_gone_back_from_is_withdrawn_though_it_was_built_by_a_slower_clock(
    place: Place, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Ahead":
            return cls.fromtimestamp((datetime.now(tz) + ahead).timestamp(), tz)

    with monkeypatch.context() as patched:
        patched.setattr("regioncap.steps.publish.datetime", Ahead)
        publish_each(place, "a")
    publish_each(place, "b", "c")
    times = [build.created_at for build in published(place).history]
    assert [published(place).created_at, *times] == sorted({*times, published(place).created_at}, reverse=True)
    roll_back(place.partition, None)
    roll_back(place.partition, None)
    assert [build.withdrawn for build in published(place).history] == [True, True]


@pytest.mark.parametrize("written", ["", "yesterday", "2020-11-23T16:15:43"])
def test_a_time_that_was_written_by_hand_keeps_nobody_from_publishing(place: Place, written: str) -> None:
    publish_each(place, "a")
    for path in partition_folder(place).rglob("*manifest.json"):
        change(path, created_at=written)
    (b,) = publish_each(place, "b")
    assert read_whole(place.partition) == b


def published(place: Place) -> Manifest:
    manifest, _ = current(place.partition)
    assert manifest is not None
    return manifest
