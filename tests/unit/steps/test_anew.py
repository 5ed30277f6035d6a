"""A date that has not changed: what is not whole is mended, what was touched is noted, and nothing is asked again."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from regioncap.drop import decoding
from regioncap.drop.decoder import Job
from regioncap.drop.decoder import Result as Decoded
from regioncap.drop.decoders import Decoders
from regioncap.errors import RowError, RunError
from regioncap.regions.codes import Code
from regioncap.warehouse.history import roll_back
from regioncap.warehouse.manifest import Manifest, current
from tests.builders import Place, encoded, kept_builds, picture, read_whole
from tests.fake_vlm import FakeVlm
from tests.steps import build


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.good_rows(3)
    return place


def folder(place: Place, manifest: Manifest) -> Path:
    return place.folder / "warehouse" / f"dt={place.date}" / manifest.build


def manifest_of(place: Place) -> Manifest:
    manifest, _ = current(place.partition)
    assert manifest is not None
    return manifest


def touch(place: Place) -> None:
    """As after an upload of the same bytes: a folder says that files are others."""
    for path in place.drop_folder.iterdir():
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


# ---- a published build that is not whole


def all_of_it(build: Path) -> None:
    shutil.rmtree(build)


def an_image(build: Path) -> None:
    next((build / "images").iterdir()).unlink()


def bytes_of_an_image(build: Path) -> None:
    next((build / "images").iterdir()).write_bytes(b"")


def the_records(build: Path) -> None:
    next(build.glob("captions-*.jsonl")).unlink()


def a_line_of_the_records(build: Path) -> None:
    records = next(build.glob("captions-*.jsonl"))
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))


def the_rejected_rows(build: Path) -> None:
    (build / "rejected.jsonl").unlink()


def the_report(build: Path) -> None:
    (build / "report.html").unlink()


def its_own_manifest(build: Path) -> None:
    (build / "manifest.json").unlink()


def what_its_manifest_says(build: Path) -> None:
    manifest = json.loads((build / "manifest.json").read_bytes())
    (build / "manifest.json").write_text(json.dumps(manifest | {"created_at": "2020-01-01T00:00:00+00:00"}))


def the_inventory(build: Path) -> None:
    (build / "_files.jsonl").unlink()


def a_line_of_the_inventory(build: Path) -> None:
    inventory = build / "_files.jsonl"
    inventory.write_bytes(b"".join(inventory.read_bytes().splitlines(keepends=True)[1:]))


def put_elsewhere(path: Path) -> None:
    """The same bytes, but where the link leads somebody may write others."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def a_link_for_its_own_manifest(build: Path) -> None:
    put_elsewhere(build / "manifest.json")


def a_link_for_the_inventory(build: Path) -> None:
    put_elsewhere(build / "_files.jsonl")


def an_export(build: Path) -> None:
    next((build / "exports" / "parquet").iterdir()).unlink()


def a_loose_image_of_an_export(build: Path) -> None:
    next((build / "exports" / "coco" / "images").iterdir()).unlink()


LOSSES: list[Callable[[Path], None]] = [
    all_of_it, an_image, bytes_of_an_image, the_records, a_line_of_the_records, the_rejected_rows, the_report,
    its_own_manifest, what_its_manifest_says, the_inventory, a_line_of_the_inventory, an_export,
    a_loose_image_of_an_export, a_link_for_its_own_manifest, a_link_for_the_inventory,
]  # fmt: skip
EXPORTS = {"export_formats": ["parquet", "coco"], "export_images": "original"}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_build_that_is_not_whole_is_built_anew_and_nothing_is_asked_again(
    place: Place, vlm: FakeVlm, lose: Callable[[Path], None]
) -> None:
    first = build(place, vlm, **EXPORTS).manifest
    asked = len(vlm.requests)
    lose(folder(place, first))
    again = build(place, vlm, run_id="run-2", **EXPORTS)
    assert not again.unchanged and again.manifest.build_id != first.build_id
    assert read_whole(place.partition) == again.manifest.build_id
    assert [entry.sha256 for entry in again.manifest.captions] == [entry.sha256 for entry in first.captions]
    assert len(vlm.requests) == asked
    assert build(place, vlm, run_id="run-3", **EXPORTS).unchanged


def test_a_build_of_before_there_were_inventories_is_looked_at_too(place: Place, vlm: FakeVlm) -> None:
    first = build(place, vlm).manifest
    (folder(place, first) / "_files.jsonl").unlink()
    for path in (folder(place, first) / "manifest.json", folder(place, first).parent / "_manifest.json"):
        old = json.loads(path.read_bytes())
        old.pop("files", None)
        path.write_text(json.dumps(old | {"schema_version": "1.0"}))
    assert build(place, vlm, run_id="run-2").unchanged
    an_image(folder(place, first))
    again = build(place, vlm, run_id="run-3")
    assert not again.unchanged
    assert read_whole(place.partition) == again.manifest.build_id


def test_a_file_that_somebody_put_into_a_build_changes_nothing(place: Place, vlm: FakeVlm) -> None:
    first = build(place, vlm).manifest
    (folder(place, first) / "notes.txt").write_text("seen")
    assert build(place, vlm, run_id="run-2").unchanged


def test_a_date_whose_whole_partition_was_deleted_starts_anew(place: Place, vlm: FakeVlm) -> None:
    build(place, vlm)
    shutil.rmtree(place.folder / "warehouse" / f"dt={place.date}")
    again = build(place, vlm, run_id="run-2")
    assert kept_builds(place.partition) == [again.manifest.build_id]
    assert read_whole(place.partition) == again.manifest.build_id
    assert len(vlm.requests) == 3


def test_a_partition_that_was_copied_from_another_date_is_built_anew(place: Place, vlm: FakeVlm) -> None:
    first = build(place, vlm).manifest
    for path in folder(place, first).parent.rglob("*manifest.json"):
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"partition": "dt=2026-10-04"}))
    again = build(place, vlm, run_id="run-2")
    assert not again.unchanged and again.manifest.partition == f"dt={place.date}"
    assert len(vlm.requests) == 3
    assert build(place, vlm, run_id="run-3").unchanged


# ---- a drop that was touched


def test_a_drop_that_was_touched_is_rendered_once_and_then_there_is_nothing_to_do(place: Place, vlm: FakeVlm) -> None:
    first = build(place, vlm).manifest
    touch(place)
    plan = place.plan(run_id="run-2")
    assert not plan.unchanged
    again = build(place, vlm, run_id="run-2")
    assert again.unchanged and again.manifest.build_id == first.build_id
    assert again.manifest == manifest_of(place) == first.model_copy(update={"fingerprint": plan.fingerprint})
    assert place.plan(run_id="run-3").unchanged
    assert len(vlm.requests) == 3


def test_what_a_newer_version_wrote_into_the_manifest_stays_when_a_fingerprint_is_noted(
    place: Place, vlm: FakeVlm
) -> None:
    build(place, vlm)
    path = place.folder / "warehouse" / f"dt={place.date}" / "_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_version": "1.9", "signed_by": "somebody"}))
    shutil.copy(path, folder(place, manifest_of(place)) / "manifest.json")
    touch(place)
    assert build(place, vlm, run_id="run-2").unchanged
    written = json.loads(path.read_bytes())
    assert (written["schema_version"], written["signed_by"]) == ("1.9", "somebody")


# ---- a roll-back


def two_builds(place: Place, vlm: FakeVlm) -> tuple[Manifest, Manifest]:
    first = build(place, vlm).manifest
    place.good_rows(4)
    return first, build(place, vlm, run_id="run-2").manifest


def test_a_byte_identical_upload_does_not_undo_a_roll_back(place: Place, vlm: FakeVlm) -> None:
    first, second = two_builds(place, vlm)
    roll_back(place.partition, None)
    touch(place)
    again = build(place, vlm, run_id="run-3")
    assert (again.manifest.build_id, again.unchanged) == (first.build_id, True)
    assert [(earlier.build_id, earlier.withdrawn) for earlier in manifest_of(place).history] == [
        (second.build_id, True)
    ]
    assert place.plan(run_id="run-4").unchanged
    # Whoever means it says so.
    assert build(place, vlm, run_id="run-5", force_rebuild=True).manifest.counts.rows == 4


def test_a_changed_drop_is_published_after_a_roll_back(place: Place, vlm: FakeVlm) -> None:
    two_builds(place, vlm)
    roll_back(place.partition, None)
    place.good_rows(5)
    assert build(place, vlm, run_id="run-3").manifest.counts.rows == 5


def test_a_build_that_was_gone_back_to_after_a_touch_has_nothing_to_do(place: Place, vlm: FakeVlm) -> None:
    first = build(place, vlm).manifest
    touch(place)
    build(place, vlm, run_id="run-2")
    with_three = place.drop.read("manifest.jsonl")
    status = (place.drop_folder / "manifest.jsonl").stat()
    place.put("manifest.jsonl", with_three.splitlines()[0])
    assert build(place, vlm, run_id="run-3").manifest.counts.rows == 1
    assert roll_back(place.partition, None).build_id == first.build_id
    with (place.drop_folder / "manifest.jsonl").open("r+b") as file:
        file.write(with_three)
    os.utime(place.drop_folder / "manifest.jsonl", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert place.plan(run_id="run-4").unchanged


# ---- exports whose images come back


def without_an_image(place: Place, vlm: FakeVlm) -> tuple[Manifest, Path]:
    """A build whose exports lack an image that was away while it was published, and where that image was put."""
    away = place.folder / "away.jpg"

    def take_away(_: int, body: dict[str, object]) -> object:
        # Requests come at once.
        with suppress(FileNotFoundError):
            if not away.exists():
                (place.drop_folder / "1.jpg").rename(away)
        return answer(_, body)

    answer, vlm.behave = vlm.behave, take_away  # type: ignore[assignment]
    manifest = build(place, vlm, **EXPORTS).manifest
    vlm.behave = answer
    return manifest, away


def missing(place: Place) -> list[str]:
    entries = [entry for entry in manifest_of(place).exports if entry.path.endswith("missing_images.jsonl")]
    return [json.loads(text)["image"] for entry in entries for text in place.partition.read(entry.path).splitlines()]


@pytest.mark.parametrize("other_version", [False, True], ids=["the-same-version", "another-version"])
def test_exports_are_published_anew_when_an_image_that_they_lack_is_back(
    place: Place, vlm: FakeVlm, other_version: bool
) -> None:
    first, away = without_an_image(place, vlm)
    assert missing(place) == ["1.jpg"]
    if other_version:
        shutil.copyfile(away, place.drop_folder / "1.jpg")
    else:
        away.rename(place.drop_folder / "1.jpg")
    again = build(place, vlm, run_id="run-2", **EXPORTS)
    assert not again.unchanged and again.manifest.build_id != first.build_id
    assert missing(place) == []
    assert read_whole(place.partition) == again.manifest.build_id
    assert [entry.sha256 for entry in again.manifest.captions] == [entry.sha256 for entry in first.captions]
    assert len(vlm.requests) == 3
    assert build(place, vlm, run_id="run-3", **EXPORTS).unchanged


def test_an_image_that_comes_back_as_another_one_gets_captions_of_its_own(place: Place, vlm: FakeVlm) -> None:
    without_an_image(place, vlm)
    place.put("1.jpg", encoded(picture(colour=(1, 2, 3))))
    again = build(place, vlm, run_id="run-2", **EXPORTS)
    assert not again.unchanged and missing(place) == []
    assert len(vlm.requests) == 4


def test_a_build_that_was_gone_back_to_and_is_not_whole_fails_the_run_that_finds_it(place: Place, vlm: FakeVlm) -> None:
    first, second = two_builds(place, vlm)
    roll_back(place.partition, None)
    an_image(folder(place, first))
    with pytest.raises(RunError, match=rf"build={first.build_id} is not whole any more .*rollback.*force_rebuild"):
        build(place, vlm, run_id="run-3")
    roll_back(place.partition, second.build_id)
    assert build(place, vlm, run_id="run-4").unchanged


def test_an_image_that_is_there_and_cannot_be_carried_is_not_waited_for(
    place: Place, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Decoders.run

    def too_large(decoders: Decoders, data: bytes, job: Job, *arguments: Any) -> Decoded:
        if job is decoding.portable:
            raise RowError(Code.IMAGE_TOO_LARGE, "too large to be written anew")
        return run(decoders, data, job, *arguments)

    monkeypatch.setattr(Decoders, "run", too_large)
    build(place, vlm, **EXPORTS)
    assert missing(place) == ["0.jpg", "1.jpg", "2.jpg"]
    assert place.plan(run_id="run-2", **EXPORTS).unchanged


def test_a_damaged_list_of_missing_images_has_the_build_made_anew(place: Place, vlm: FakeVlm) -> None:
    first, away = without_an_image(place, vlm)
    away.rename(place.drop_folder / "1.jpg")
    (path,) = folder(place, first).glob("exports/*/missing_images.jsonl")
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    again = build(place, vlm, run_id="run-2", **EXPORTS)
    assert not again.unchanged and missing(place) == []
