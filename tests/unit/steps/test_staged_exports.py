"""Exports with images, made shard by shard, and what `publish` makes of them, whatever has happened meanwhile."""

import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from regioncap.errors import BuildIncompleteError, StorageUnavailableError
from regioncap.exports import export
from regioncap.regions.jsonl import line
from regioncap.steps import stage as staging
from regioncap.steps.publish import Published, publish_build
from regioncap.steps.stage import stage_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.store import Entry, Store
from regioncap.warehouse.manifest import current
from regioncap.warehouse.whole import problems
from regioncap.work import layout
from regioncap.work.plan import Plan
from tests.builders import ROOT, Place, describe, encoded, picture, read_whole
from tests.checksums import Resealed, Summing
from tests.damage import damage
from tests.faulty_store import FaultPlan, FaultyStore

BESIDE = ["coco", "cvat", "label_studio", "llava", "llava_pixels"]
WITHIN = ["webdataset", "hf"]
FORMATS = [*BESIDE, *WITHIN]
ROWS = 5
# One of each kind.
HOW: dict[str, Any] = {"export_formats": ["coco", "webdataset"], "export_images": "original", "shard_size": 2}


@dataclass
class Watched:
    """A drop that notes which images are read."""

    store: Store
    read: list[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return self.store.uri

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self.store.list(prefix)

    def stat(self, path: str) -> Entry:
        return self.store.stat(path)

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        self.read.append(path)
        return self.store.open(path, version)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.good_rows(ROWS)
    return place


def ready(place: Place, **changes: Any) -> Plan:
    """Three shards that are validated, with exports that carry the originals."""
    return place.ready(describe, **{**HOW, **changes})


def stage(place: Place, plan: Plan, *shards: int, work: Store | None = None, partition: Store | None = None) -> None:
    """Have shards staged; all of them where none is named."""
    for number in shards or range(len(plan.shards)):
        stage_shard(
            work=work or place.work, shard_id=plan.shards[number], plan=plan, drop=place.drop,
            partition=partition or place.partition, progress=lambda done, images: None,
        )  # fmt: skip


def publish(place: Place, plan: Plan, drop: Any = None, partition: Store | None = None) -> Published:
    return publish_build(
        plan=plan, drop=drop or place.drop, work=place.work, partition=partition or place.partition,
        progress=lambda message: None, grace=timedelta(0),
    )  # fmt: skip


def exported(place: Place, published: Published) -> dict[str, str]:
    """The SHA-256 of every file of the exports, by its path; the build is whole."""
    assert read_whole(place.partition) == published.manifest.build_id
    assert list(problems(place.partition, published.manifest, read=True)) == []
    build = place.partition.sub(f"{published.manifest.build}/")
    files = {entry.path: hashlib.sha256(build.read(entry.path)).hexdigest() for entry in build.list("exports/")}
    listed = {entry.path.partition("/")[2]: entry.sha256 for entry in published.manifest.exports}
    assert listed.items() <= files.items()
    assert all("/images/" in path for path in files.keys() - listed.keys())
    return files


def alone(place: Place, plan: Plan) -> dict[str, str]:
    """What is exported where no shard was staged; nothing is published after it."""
    files = exported(place, publish(place, plan))
    for name in place.partition.folders():
        place.partition.sub(f"{name}/").delete_folder()
    place.partition.delete("_manifest.json")
    return files


def missing(place: Place, published: Published) -> dict[str, list[str]]:
    """Which images each export lacks."""
    found: dict[str, list[str]] = {}
    for entry in published.manifest.exports:
        if entry.path.endswith("/missing_images.jsonl"):
            rows = [json.loads(text) for text in place.partition.read(entry.path).splitlines()]
            found[entry.path.split("/")[-2]] = [row["image"] for row in rows]
    return found


# ---- what shards have made need not be made again


def test_publishing_reads_no_image_of_the_drop_that_shards_have_exported(place: Place) -> None:
    plan = ready(place, export_formats=FORMATS)
    stage(place, plan)
    drop = Watched(place.drop)
    files = exported(place, publish(place, plan, drop))
    assert drop.read == []
    assert {path.split("/")[1] for path in files} == set(FORMATS)
    assert all(sum(path.startswith(f"exports/{name}/images/") for path in files) == ROWS for name in BESIDE)


def test_publishing_reads_no_marked_image_for_exports_that_shards_have_made(place: Place) -> None:
    plan = ready(place, export_formats=WITHIN, export_images="marked")
    stage(place, plan)
    for shard_id in plan.shards:
        for entry in place.work.list(f"{layout.shard_path(shard_id)}images/"):
            place.work.delete(entry.path)
    exported(place, publish(place, plan))


def test_the_images_of_shards_that_are_not_staged_are_exported_when_it_is_published(place: Place) -> None:
    plan = ready(place, export_formats=["coco", "hf"])
    expected = alone(place, plan)
    stage(place, plan, 0, 2)
    drop = Watched(place.drop)
    assert exported(place, publish(place, plan, drop)) == expected
    assert sorted(drop.read) == ["2.jpg", "2.jpg", "3.jpg", "3.jpg"]


@pytest.mark.parametrize("images", ["original", "marked"])
@pytest.mark.parametrize("shards", [[2, 0, 1], [0, 0, 2]], ids=str)
def test_exports_have_the_same_bytes_whichever_shards_are_staged_and_in_which_order(
    place: Place, shards: list[int], images: str
) -> None:
    plan = ready(place, export_formats=FORMATS if images == "original" else WITHIN, export_images=images)
    expected = alone(place, plan)
    stage(place, plan, *shards)
    assert exported(place, publish(place, plan)) == expected


def test_keys_leave_room_for_the_rows_of_earlier_shards_that_are_rejected(place: Place) -> None:
    place.put("1.jpg", b"no picture")
    plan = ready(place, export_formats=["webdataset"])
    stage(place, plan)
    published = publish(place, plan)
    tars = sorted(entry.path for entry in published.manifest.exports)
    names = []
    for path in tars:
        with tarfile.open(place.partition.local_path(path)) as tar:
            names += tar.getnames()
    assert names == [f"{number:09d}.{ending}" for number in (0, 2, 3, 4) for ending in ("jpg", "json")]


def test_a_shard_without_records_has_no_files(place: Place) -> None:
    place.put("2.jpg", b"no picture")
    place.put("3.jpg", b"no picture")
    plan = ready(place)
    expected = alone(place, plan)
    stage(place, plan)
    files = exported(place, publish(place, plan))
    assert files == expected
    assert sorted(path for path in files if path.endswith(".tar")) == [
        f"exports/webdataset/captions-{number:05d}-of-00002.tar" for number in range(2)
    ]


def test_images_that_have_to_be_written_anew_are_so_by_the_shard(place: Place) -> None:
    place.put("0.heic", (ROOT / "tests/data/two_colours.heic").read_bytes())
    place.put("1.tiff", encoded(picture(), "TIFF"))
    boxes = [[2, 2, 20, 20]]
    place.put_rows({"image": "0.heic", "bbox": boxes}, {"image": "1.tiff", "bbox": boxes})
    plan = ready(place, read_heic=True)
    expected = alone(place, plan)
    stage(place, plan)
    drop = Watched(place.drop)
    files = exported(place, publish(place, plan, drop))
    assert files == expected and drop.read == []
    assert sorted(path.rpartition(".")[2] for path in files if "/images/" in path) == ["jpg", "png"]


def test_the_files_of_shards_are_deleted_when_the_build_is_published(place: Place) -> None:
    plan = ready(place)
    stage(place, plan)
    assert [len(part_files(place, plan, shard)) for shard in range(3)] == [1, 1, 1]
    expected = exported(place, publish(place, plan))
    assert [part_files(place, plan, shard) for shard in range(3)] == [[], [], []]
    # Where it has to be published anew, they are made anew; where it has not, they are not needed.
    stage(place, plan)
    assert exported(place, publish(place, plan)) == expected
    assert [part_files(place, plan, shard) for shard in range(3)] == [[], [], []]
    place.partition.delete("_manifest.json")
    assert exported(place, publish(place, plan)) == expected


def test_files_of_shards_that_cannot_be_deleted_fail_no_run(place: Place) -> None:
    plan = ready(place)
    stage(place, plan)
    said: list[str] = []
    faults = FaultPlan(1, 1.0, methods=["delete_folder"], only=lambda call: call.uri.endswith("exports"))
    publish_build(
        plan=plan, drop=place.drop, work=FaultyStore(place.work, faults), partition=place.partition,
        progress=said.append,
    )  # fmt: skip
    assert any("cannot be deleted" in message for message in said) and faults.faults


# ---- what cannot be used is made again


@pytest.mark.parametrize("kind", ["cut", "other-fields", "nested"])
@pytest.mark.parametrize("name", ["stage.json", "exports.json"])
def test_what_was_noted_of_exports_and_cannot_be_read_is_done_again(place: Place, name: str, kind: str) -> None:
    plan = ready(place)
    expected = alone(place, plan)
    stage(place, plan)
    damage(place.work.local_path(layout.plan_shard_path(plan.plan_id, plan.shards[1]) + name), kind)
    drop = Watched(place.drop)
    assert exported(place, publish(place, plan, drop)) == expected
    assert set(drop.read) == {"2.jpg", "3.jpg"}


def part_files(place: Place, plan: Plan, shard: int) -> list[Path]:
    folder = layout.plan_shard_path(plan.plan_id, plan.shards[shard])
    return [place.work.local_path(entry.path) for entry in place.work.list(f"{folder}exports/")]


@pytest.mark.parametrize("harm", ["gone", "cut", "altered"])
def test_a_file_of_a_shard_that_is_not_any_more_what_it_was_is_made_again(place: Place, harm: str) -> None:
    plan = ready(place, export_formats=WITHIN)
    expected = alone(place, plan)
    stage(place, plan)
    for path in part_files(place, plan, 2):
        data = path.read_bytes()
        path.unlink()
        if harm != "gone":
            path.write_bytes(data[:-1] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    assert exported(place, publish(place, plan)) == expected


def test_what_another_version_of_an_exporter_has_made_is_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ready(place, export_formats=WITHIN)
    expected = alone(place, plan)
    with monkeypatch.context() as patch:
        patch.setattr(staging, "_own_exporters", lambda: "another")
        stage(place, plan)
    drop = Watched(place.drop)
    assert exported(place, publish(place, plan, drop)) == expected
    assert len(drop.read) == 2 * ROWS


def test_what_an_earlier_version_has_staged_is_published_with_its_exports(place: Place) -> None:
    plan = ready(place)
    expected = alone(place, plan)
    stage(place, plan)
    for shard_id in plan.shards:
        own = layout.plan_shard_path(plan.plan_id, shard_id)
        place.work.delete(f"{own}exports.json")
        receipt = json.loads(place.work.read(f"{own}stage.json"))
        del receipt["outputs"]["exports.json"]
        place.work.write(f"{own}stage.json", json.dumps(receipt).encode())
    assert exported(place, publish(place, plan)) == expected


def test_a_shard_that_was_validated_again_is_exported_as_it_is_now(place: Place) -> None:
    plan = ready(place)
    stage(place, plan)
    own = place.work.sub(layout.plan_shard_path(plan.plan_id, plan.shards[0]))
    records = [json.loads(text) for text in own.read(layout.RECORDS).splitlines()]
    data = b"".join(line(record | {"answer": "something else"}) for record in records)
    receipt = json.loads(own.read("validate.json"))
    receipt["outputs"][layout.RECORDS] = hashlib.sha256(data).hexdigest()
    own.write(layout.RECORDS, data)
    own.write("validate.json", json.dumps(receipt).encode())
    expected = alone(place, plan)
    stage(place, plan, 1, 2)
    files = exported(place, publish(place, plan))
    assert files == expected
    manifest, _ = current(place.partition)
    assert manifest is not None
    (first, *_) = sorted(entry.path for entry in manifest.exports if entry.path.endswith(".tar"))
    assert b"something else" in place.partition.read(first)


def test_a_shard_that_is_staged_late_changes_no_byte_of_what_is_published(place: Place) -> None:
    plan = ready(place)
    stage(place, plan)
    published = publish(place, plan)
    before = sorted((entry.path, entry.version) for entry in place.partition.list(f"{published.manifest.build}/"))
    (place.drop_folder / "1.jpg").unlink()
    stage(place, plan)
    after = sorted((entry.path, entry.version) for entry in place.partition.list(f"{published.manifest.build}/"))
    assert after == before
    exported(place, published)


# ---- kills and faults


@dataclass
class Ending:
    """Injects the end of a task, once: when it does something for the `nth` time, before or after that is done."""

    nth: int
    after: bool
    seen: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, call: Any) -> Any:
        if call.method not in ("write", "write_stream", "copy", "replace"):
            return None
        with self._lock:
            self.seen += 1
            now = self.seen == self.nth
        return ("after" if self.after else "before") if now else None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 4, 7, 9, 11, 12])
def test_a_shard_whose_staging_ends_anywhere_is_staged_again_and_exports_are_the_same(
    place: Place, nth: int, after: bool
) -> None:
    plan = ready(place, shard_size=ROWS)
    expected = alone(place, plan)
    ending = Ending(nth, after)
    work, partition = FaultyStore(place.work, ending), FaultyStore(place.partition, ending)
    with suppress(StorageUnavailableError):
        stage(place, plan, work=work, partition=partition)
    assert ending.seen >= nth
    # Without another try, `publish` does it; with one, nothing is left to be done.
    if after:
        stage(place, plan)
    assert exported(place, publish(place, plan)) == expected


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("staged", [False, True], ids=["alone", "staged"])
def test_publishing_that_ends_anywhere_is_done_again_and_exports_are_the_same(
    place: Place, staged: bool, after: bool
) -> None:
    plan = ready(place, shard_size=3)
    expected = alone(place, plan)
    for nth in range(1, 100, 5):
        if staged:
            stage(place, plan)
        ending = Ending(nth, after)
        try:
            published = publish(place, plan, partition=FaultyStore(place.partition, ending))
        except StorageUnavailableError:
            published = publish(place, plan)
        assert exported(place, published) == expected
        if ending.seen < nth:
            break
        place.partition.delete("_manifest.json")
    else:
        pytest.fail("publishing comes to no end")


def test_a_second_try_of_publishing_takes_the_files_of_shards_once_more(place: Place) -> None:
    plan = ready(place, export_formats=WITHIN)
    expected = alone(place, plan)
    stage(place, plan)
    for folder in place.partition.folders():
        place.partition.sub(f"{folder}/").delete_folder()
    with pytest.raises(BuildIncompleteError):
        publish(place, plan)
    drop = Watched(place.drop)
    assert exported(place, publish(place, plan, drop)) == expected
    assert drop.read == []


def test_an_image_beside_an_export_that_was_deleted_meanwhile_is_missed_and_the_next_try_publishes(
    place: Place,
) -> None:
    plan = ready(place, export_formats=["coco"])
    expected = alone(place, plan)
    stage(place, plan)
    (folder,) = place.partition.folders()
    image = next(iter(place.partition.list(f"{folder}/exports/coco/images/")))
    place.partition.delete(image.path)
    with pytest.raises(BuildIncompleteError):
        publish(place, plan)
    assert current(place.partition) == (None, None)
    assert exported(place, publish(place, plan)) == expected


class _Full:
    """A disk without room for one more file."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["stage", "publish"])
def test_an_export_that_failed_on_a_full_disk_is_written_by_the_next_try(
    place: Place, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    plan = ready(place)
    expected = alone(place, plan)
    with monkeypatch.context() as patch:
        patch.setattr(export.tempfile, "TemporaryDirectory", _Full())
        with pytest.raises(OSError, match="No space left"):
            stage(place, plan) if where == "stage" else publish(place, plan)
    assert current(place.partition) == (None, None)
    stage(place, plan)
    assert exported(place, publish(place, plan)) == expected


# ---- images that are gone


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_an_image_that_is_gone_when_its_shard_is_staged_is_listed_and_its_record_stays(place: Place, harm: str) -> None:
    plan = ready(place)
    (place.drop_folder / "3.jpg").unlink()
    if harm == "changed":
        place.put("3.jpg", encoded(picture(colour=(1, 2, 3))))
    expected = alone(place, plan)
    stage(place, plan)
    published = publish(place, plan)
    assert missing(place, published) == {name: ["3.jpg"] for name in HOW["export_formats"]}
    assert exported(place, published) == expected
    assert published.manifest.counts.captioned == ROWS


def test_an_image_that_is_back_before_it_is_published_is_carried(place: Place) -> None:
    plan = ready(place)
    expected = alone(place, plan)
    data = (place.drop_folder / "3.jpg").read_bytes()
    (place.drop_folder / "3.jpg").unlink()
    stage(place, plan)
    place.put("3.jpg", data)
    drop = Watched(place.drop)
    published = publish(place, plan, drop)
    assert missing(place, published) == {}
    assert exported(place, published) == expected
    # Of the shard that lacked it, and of no other.
    assert set(drop.read) == {"2.jpg", "3.jpg"}


def test_an_image_that_is_gone_after_its_shard_was_staged_is_in_the_exports(place: Place) -> None:
    plan = ready(place)
    expected = alone(place, plan)
    stage(place, plan)
    (place.drop_folder / "3.jpg").unlink()
    published = publish(place, plan)
    assert missing(place, published) == {} and exported(place, published) == expected


# ---- checksums


@pytest.fixture
def bucket(place: Place) -> Place:
    place.work = Summing(place.folder / "warehouse" / "_work" / f"dt={place.date}")
    place.partition = Summing(place.folder / "warehouse" / f"dt={place.date}")
    return place


def test_an_image_beside_an_export_that_somebody_altered_is_found_by_its_checksum(bucket: Place) -> None:
    plan = ready(bucket, export_formats=["coco"])
    stage(bucket, plan)
    (folder,) = bucket.partition.folders()
    image = next(iter(bucket.partition.list(f"{folder}/exports/coco/images/")))
    path = bucket.partition.local_path(image.path)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BuildIncompleteError, match="is not what was put there"):
        publish(bucket, plan)
    assert exported(bucket, publish(bucket, plan))


def test_files_of_which_the_service_says_something_else_are_read_and_are_right(bucket: Place) -> None:
    plan = ready(bucket)
    expected = alone(bucket, plan)
    stage(bucket, plan)
    bucket.work = Resealed(bucket.folder / "warehouse" / "_work" / f"dt={bucket.date}")
    drop = Watched(bucket.drop)
    partition = Resealed(bucket.folder / "warehouse" / f"dt={bucket.date}")
    assert exported(bucket, publish(bucket, plan, drop, partition)) == expected
    assert drop.read == []


# ---- nothing is asked again


def test_a_run_whose_export_failed_is_finished_by_the_next_without_the_model(place: Place) -> None:
    plan = ready(place)
    faults = FaultPlan(1, 1.0, only=lambda call: "/exports/" in call.uri, kinds=("before",))
    with pytest.raises(StorageUnavailableError):
        stage(place, plan, partition=FaultyStore(place.partition, faults))
    with pytest.raises(StorageUnavailableError):
        publish(place, plan, partition=FaultyStore(place.partition, faults))
    assert current(place.partition) == (None, None)
    # Another run plans the same, and finds every answer: `validate` would fail where one was missing.
    again = place.plan(run_id="run-2", **{"max_attempts": 1, "max_rejected_ratio": 1, **HOW})
    assert again.plan_id == plan.plan_id and not again.unchanged
    for shard_id in again.shards:
        validate_shard(work=place.work, shard_id=shard_id, plan=again)
    stage(place, again)
    exported(place, publish(place, again))
