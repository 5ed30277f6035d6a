"""What shards' own tasks put into a build, and what `publish` makes of it, whatever has happened to it meanwhile."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from regioncap.errors import BuildIncompleteError, StepMissingError
from regioncap.marks.view import content_name
from regioncap.report.figures import load_report
from regioncap.steps.publish import Published, publish_build, stage_build
from regioncap.steps.stage import stage_shard
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.manifest import current
from regioncap.warehouse.whole import problems
from regioncap.work import layout
from regioncap.work.begun import begin_build, join_build, take_build
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from regioncap.work.staged import Staged
from tests.builders import Place, encoded, kept_builds, picture, publish_each, read_whole, record, validated
from tests.checksums import Resealed, Summing
from tests.damage import DAMAGE, change, damage

NO_TIME = timedelta(0)


class Counting(LocalStore):
    """A folder that counts what is done in it, by the method and the folder of the file."""

    done: ClassVar[Counter[tuple[str, str]]] = Counter()
    lock = threading.Lock()

    def sub(self, path: str) -> "Counting":
        return Counting(self._path(path))

    def read(self, path: str, version: str | None = None) -> bytes:
        self._count("read", path)
        return super().read(path, version)

    def write(self, path: str, data: bytes) -> None:
        self._count("write", path)
        super().write(path, data)

    def _count(self, method: str, path: str) -> None:
        with self.lock:
            Counting.done[method, path.rpartition("/")[0].rpartition("/")[2]] += 1


@pytest.fixture
def place(tmp_path: Path) -> Place:
    Counting.done = Counter()
    return Place(tmp_path)


def stage(place: Place, plan: Plan, *shards: int, partition: Store | None = None) -> None:
    """Have shards staged; all of them where none is named."""
    for number in shards or range(len(plan.shards)):
        stage_shard(
            work=place.work, shard_id=plan.shards[number], plan=plan, drop=place.drop,
            partition=partition or place.partition, progress=lambda done, images: None,
        )  # fmt: skip


def publish(
    place: Place, plan: Plan, partition: Store | None = None, say: Callable[[str], None] = lambda message: None
) -> Published:
    return publish_build(
        plan=plan, drop=place.drop, work=place.work, partition=partition or place.partition, progress=say, grace=NO_TIME
    )


def counting(place: Place) -> Counting:
    return Counting(place.folder / "warehouse" / f"dt={place.date}")


def folders(place: Place) -> set[str]:
    return {name.removeprefix("build=") for name in place.partition.folders()}


def begun_folder(place: Place) -> Path:
    """The folder of the only build that is there."""
    (build,) = folders(place)
    return place.folder / "warehouse" / f"dt={place.date}" / f"build={build}"


def is_right(place: Place, published: Published) -> None:
    """The build is the current one, has all of its files, and no other images."""
    assert read_whole(place.partition) == published.manifest.build_id
    assert list(problems(place.partition, published.manifest, read=True)) == []
    build = place.partition.sub(f"{published.manifest.build}/")
    named = {
        json.loads(text)["image_with_bbox"]
        for entry in published.manifest.captions
        for text in place.partition.read(entry.path).splitlines()
    }
    assert {entry.path for entry in build.list("images/")} == named


def written_anew(place: Place, plan: Plan, *captions: str, images: int | None = None) -> None:
    """The first shard is validated again, with other records, about its first `images` images."""
    shard = Shard(place.work, plan, plan.shards[0])
    names = [content_name(encoded(picture(colour=(0, row, 90)))) for row in range(len(captions))]
    made = [record(row, names[row % (images or len(names))], caption) for row, caption in enumerate(captions)]
    shard.write_validated(made, [], inputs=shard.rendered().inputs, seconds=0.0)


# ---- what is staged need not be done again


def test_what_is_staged_is_published_in_the_build_that_was_begun(place: Place) -> None:
    plan = validated(place.work, "a")
    stage(place, plan)
    begun = folders(place)
    assert current(place.partition) == (None, None) and len(begun) == 1
    published = publish(place, plan)
    assert {published.manifest.build_id} == begun == folders(place)
    is_right(place, published)


def test_publishing_neither_reads_nor_writes_the_marked_images_that_are_staged(place: Place) -> None:
    plan = validated(place.work, "a", shards=2, rows=60)
    stage(place, plan)
    publish(place, plan, counting(place))
    assert Counting.done["write", "images"] == 0
    # The report shows some of them, however many there are.
    assert Counting.done["read", "images"] == 48


def test_the_images_of_shards_that_are_not_staged_are_put_there_when_it_is_published(place: Place) -> None:
    plan = validated(place.work, "a", shards=3)
    stage(place, plan, 0, 2)
    published = publish(place, plan, counting(place))
    assert Counting.done["write", "images"] == 3
    is_right(place, published)


def test_the_report_says_the_same_whether_shards_are_staged_or_not(place: Place) -> None:
    plan = validated(place.work, "a", shards=3, rows=40)

    def reported(published: Published) -> dict[str, Any]:
        report = load_report(place.partition, published.manifest)
        assert report is not None
        return report.model_dump(exclude={"build_id", "created_at", "timings"})

    alone = publish(place, plan)
    page = place.published("report.html")
    place.partition.delete("_manifest.json")
    stage(place, plan)
    staged = publish(place, plan)
    assert staged.manifest.build_id != alone.manifest.build_id
    assert reported(staged) == reported(alone)
    assert place.published("report.html").count("<img") == page.count("<img") == 48


def test_an_image_of_several_shards_is_in_the_build_once(place: Place) -> None:
    plan = validated(place.work, "a", shards=2, rows=2)
    first, second = (Shard(place.work, plan, shard_id) for shard_id in plan.shards)
    for entry in first.shared.list("images/"):
        second.shared.write(entry.path, first.shared.read(entry.path))
    names = [entry.path.removeprefix("images/").removesuffix(".jpg") for entry in first.shared.list("images/")]
    made = [record(row, name, f"b {row}") for row, name in enumerate(names)]
    second.write_validated(made, [], inputs=second.rendered().inputs, seconds=0.0)
    stage(place, plan)
    is_right(place, publish(place, plan))


def test_a_marked_image_that_is_gone_or_damaged_is_missed_when_it_is_staged(place: Place) -> None:
    plan = validated(place.work, "a", shards=2)
    gone = next(iter(place.work.list("shards/a-0/images/")))
    place.work.delete(gone.path)
    with pytest.raises(StepMissingError, match=r"1 marked images .* clear the shard's render task"):
        stage(place, plan, 0)
    damaged = next(iter(place.work.list("shards/a-1/images/")))
    place.work.write(damaged.path, place.work.read(damaged.path)[:-1])
    with pytest.raises(StepMissingError, match=r"is not what was marked: clear the shard's render task"):
        stage(place, plan, 1)


# ---- what is published is what the shards hold now


def test_a_shard_that_was_validated_again_after_it_was_staged_is_published_as_it_is_now(place: Place) -> None:
    plan = validated(place.work, "a", shards=2)
    stage(place, plan)
    written_anew(place, plan, *["now it is this"] * 3, images=2)
    published = publish(place, plan)
    is_right(place, published)
    report = load_report(place.partition, published.manifest)
    assert report is not None and report.quality.caption_characters == (14 + 3) / 2
    assert b"now it is this" in place.partition.read(published.manifest.captions[0].path)


def test_images_that_no_record_names_any_more_are_not_left_in_the_build(place: Place) -> None:
    plan = validated(place.work, "a", shards=2)
    stage(place, plan)
    written_anew(place, plan, "now", "now", "now", images=1)
    stage(place, plan, 0)
    published = publish(place, plan)
    is_right(place, published)
    assert len(list(place.partition.list(f"{published.manifest.build}/images/"))) == 4


def test_records_that_were_damaged_after_they_were_staged_say_which_task_to_clear(place: Place) -> None:
    plan = validated(place.work, "a", shards=2)
    stage(place, plan)
    path = place.work.local_path(layout.plan_shard_path(plan.plan_id, plan.shards[1]) + layout.RECORDS)
    path.write_bytes(path.read_bytes().replace(b"a 0", b"b 0"))
    with pytest.raises(StepMissingError, match=r"clear the shard's validate task \(map index 1\)"):
        publish(place, plan)
    path.unlink()
    with pytest.raises(StepMissingError, match=r"clear the shard's validate task \(map index 1\)"):
        publish(place, plan)
    assert current(place.partition) == (None, None)


@pytest.mark.parametrize("kind", [*DAMAGE, "of another plan", "of other counts"])
@pytest.mark.parametrize("name", ["stage.json", "statistics.json", "begun.json"])
def test_what_was_staged_and_cannot_be_read_is_done_again(place: Place, name: str, kind: str) -> None:
    plan = validated(place.work, "a", shards=2)
    stage(place, plan)
    folder = f"plans/{plan.plan_id}/" if name == "begun.json" else layout.plan_shard_path(plan.plan_id, plan.shards[0])
    path = place.work.local_path(folder + name)
    if kind == "of another plan":
        change(path, plan_id="b")
    elif kind == "of other counts":
        path.write_text("{}")
    else:
        damage(path, kind)
    is_right(place, publish(place, plan))


# ---- whatever happens to the build that was begun


def test_a_build_that_was_begun_before_another_was_published_is_given_up(place: Place) -> None:
    plan = validated(place.work, "a")
    stage(place, plan)
    (begun,) = folders(place)
    (other,) = publish_each(place, "b")
    said: list[str] = []
    published = publish(place, plan, say=said.append)
    assert published.manifest.build_id not in (begun, other)
    assert begun not in folders(place)
    is_right(place, published)


def test_a_build_that_was_begun_before_a_roll_back_is_given_up(place: Place) -> None:
    publish_each(place, "y", "z")
    plan = validated(place.work, "a")
    stage(place, plan, 0)
    roll_back(place.partition, None)
    stage(place, plan, 1)
    published = publish(place, plan)
    is_right(place, published)
    collect(place.partition, NO_TIME)
    assert folders(place) == set(kept_builds(place.partition))


def test_a_build_that_is_begun_is_not_collected_until_another_is_published(place: Place) -> None:
    (first,) = publish_each(place, "z")
    plan = validated(place.work, "a")
    stage(place, plan, 0)
    assert collect(place.partition, NO_TIME) == [] and len(folders(place)) == 2
    (other,) = publish_each(place, "b")
    collect(place.partition, NO_TIME)
    assert folders(place) == {first, other}
    # Whoever comes late begins another one.
    stage(place, plan, 1)
    is_right(place, publish(place, plan))


def test_a_build_that_is_begun_and_not_needed_is_deleted(place: Place) -> None:
    (published,) = publish_each(place, "a")
    plan = validated(place.work, "a", shards=1, rows=1)
    stage(place, plan)
    assert len(folders(place)) == 2
    assert publish(place, plan).manifest.build_id == published
    assert folders(place) == {published}


def test_what_cannot_be_deleted_of_a_build_that_is_not_needed_fails_no_run(place: Place) -> None:
    class Keeping(LocalStore):
        def sub(self, path: str) -> "Keeping":
            return Keeping(self._path(path))

        def delete_folder(self) -> None:
            raise PermissionError("no right to delete")

    (published,) = publish_each(place, "a")
    plan = validated(place.work, "a", shards=1, rows=1)
    stage(place, plan)
    said: list[str] = []
    keeping = Keeping(place.folder / "warehouse" / f"dt={place.date}")
    assert publish(place, plan, keeping, said.append).manifest.build_id == published
    assert any("no right to delete" in message for message in said)


@pytest.mark.parametrize("which", ["an image", "all images", "all of it"])
def test_what_is_deleted_from_a_build_that_is_begun_is_missed_and_the_next_try_publishes(
    place: Place, which: str
) -> None:
    plan = validated(place.work, "a")
    stage(place, plan)
    images = sorted((begun_folder(place) / "images").iterdir())
    for image in images[:1] if which == "an image" else images:
        image.unlink()
    if which == "all of it":
        place.partition.sub(f"{begun_folder(place).name}/").delete_folder()
    with pytest.raises(BuildIncompleteError):
        publish(place, plan)
    assert current(place.partition) == (None, None)
    is_right(place, publish(place, plan))


def test_an_image_that_was_cut_short_in_a_build_that_is_begun_is_missed(place: Place) -> None:
    plan = validated(place.work, "a")
    stage(place, plan)
    image = next((begun_folder(place) / "images").iterdir())
    image.write_bytes(image.read_bytes()[:-1])
    with pytest.raises(BuildIncompleteError, match="is not what was put there"):
        publish(place, plan)
    assert current(place.partition) == (None, None)
    is_right(place, publish(place, plan))


@pytest.fixture
def bucket(place: Place) -> Place:
    place.work = Summing(place.folder / "warehouse" / "_work" / f"dt={place.date}")
    place.partition = Summing(place.folder / "warehouse" / f"dt={place.date}")
    return place


def test_a_bucket_tells_by_checksums_that_all_is_there_and_no_image_is_read(bucket: Place) -> None:
    plan = validated(bucket.work, "a", rows=60)
    stage(bucket, plan)
    read: list[str] = []

    class Reading(Summing):
        def read(self, path: str, version: str | None = None) -> bytes:
            read.append(path)
            return super().read(path, version)

    published = publish(bucket, plan, Reading(bucket.folder / "warehouse" / f"dt={bucket.date}"))
    is_right(bucket, published)
    # For the report.
    assert sum("images/" in path for path in read) == 48


def test_an_image_that_was_altered_in_a_build_that_is_begun_is_seen_by_its_checksum(bucket: Place) -> None:
    plan = validated(bucket.work, "a", rows=60)
    stage(bucket, plan)
    for image in (begun_folder(bucket) / "images").iterdir():
        data = image.read_bytes()
        image.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BuildIncompleteError, match="is not what was put there"):
        publish(bucket, plan)
    assert current(bucket.partition) == (None, None)
    is_right(bucket, publish(bucket, plan))


def test_images_of_which_the_bucket_says_something_else_by_now_are_compared_with_their_names(bucket: Place) -> None:
    plan = validated(bucket.work, "a")
    stage(bucket, plan)
    published = publish(bucket, plan, Resealed(bucket.folder / "warehouse" / f"dt={bucket.date}"))
    is_right(bucket, published)


def test_whoever_publishes_again_after_being_interrupted_writes_into_a_build_of_its_own(place: Place) -> None:
    class Killed(LocalStore):
        def sub(self, path: str) -> "Killed":
            return Killed(self._path(path))

        def write(self, path: str, data: bytes) -> None:
            if path == "report.json":
                raise KeyboardInterrupt
            super().write(path, data)

    plan = validated(place.work, "a")
    stage(place, plan)
    (begun,) = folders(place)
    with pytest.raises(KeyboardInterrupt):
        publish(place, plan, Killed(place.folder / "warehouse" / f"dt={place.date}"))
    published = publish(place, plan)
    assert published.manifest.build_id != begun
    is_right(place, published)


def test_a_shard_that_is_staged_late_puts_nothing_into_what_is_published(place: Place) -> None:
    plan = validated(place.work, "a")
    stage(place, plan)
    published = publish(place, plan)
    before = sorted((entry.path, entry.version) for entry in place.partition.list(f"{published.manifest.build}/"))
    stage(place, plan)
    after = sorted((entry.path, entry.version) for entry in place.partition.list(f"{published.manifest.build}/"))
    assert after == before


def test_a_shard_that_is_staged_again_while_somebody_is_asked_does_not_touch_what_is_asked_about(place: Place) -> None:
    plan = validated(place.work, "a")
    stage(place, plan)

    def staged(kept: Staged | None) -> Staged:
        waits = stage_build(
            plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(), max_rejected_ratio=1.0,
            progress=lambda message: None, kept=kept,
        )  # fmt: skip
        assert isinstance(waits, Staged)
        return waits

    waits = staged(None)
    stage(place, plan, 0)
    assert len(folders(place)) == 2
    # It is the same still, so it goes on waiting, and the other one is not needed.
    assert staged(waits) == waits
    assert folders(place) == {waits.manifest.build_id}


# ---- who joins which build


def test_all_shards_of_a_plan_join_one_build_whoever_comes_first(place: Place) -> None:
    gate = threading.Barrier(8)
    joined: list[str] = []

    def join() -> None:
        gate.wait()
        joined.append(join_build(place.work, "plan", place.partition).build_id)

    threads = [threading.Thread(target=join) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 8 and set(joined) == folders(place)


def test_a_build_is_taken_by_one_alone_and_joined_by_nobody_after_that(place: Place) -> None:
    begun = join_build(place.work, "plan", place.partition)
    gate = threading.Barrier(8)
    taken: list[str] = []

    def take() -> None:
        gate.wait()
        build = take_build(place.work, "plan")
        taken.extend([build.build_id] if build else [])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [begun.build_id]
    assert join_build(place.work, "plan", place.partition).build_id != begun.build_id


def test_builds_of_other_plans_are_other_ones(place: Place) -> None:
    assert join_build(place.work, "a", place.partition) != join_build(place.work, "b", place.partition)
    assert take_build(place.work, "c") is None


def test_a_build_says_what_it_was_begun_under_before_anything_else(place: Place) -> None:
    publish_each(place, "z")
    manifest, _ = current(place.partition)
    assert manifest is not None
    begun = begin_build(place.partition, "a state")
    assert json.loads(begun.within(place.partition).read("_begun.json")) == {"begun_under": "a state"}
    assert [entry.path for entry in begun.within(place.partition).list()] == ["_begun.json"]
