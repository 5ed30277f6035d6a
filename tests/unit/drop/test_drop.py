"""A drop as it lies there: ready or not, and its manifests."""

import os
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from regioncap.drop.drop import QUIET_SECONDS, contents, not_ready, others_can_be_read, path_bytes
from regioncap.errors import ArchivedError, DropError, ForbiddenError, NotFoundError, StorageUnavailableError
from regioncap.storage.local import LocalStore
from regioncap.storage.s3 import S3Store
from tests.builders import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_drop_is_ready_when_its_marker_is_there(place: Place) -> None:
    assert "there is no drop" in str(not_ready(place.drop, "marker", 0))
    place.put_rows({"image": "a.jpg"})
    assert "no _READY file yet" in str(not_ready(place.drop, "marker", 0))
    place.put("_READY", "")
    assert not_ready(place.drop, "marker", 0) is None


def test_a_drop_without_a_marker_is_ready_when_it_has_been_quiet(place: Place) -> None:
    now = time.time()
    assert "there is no drop" in str(not_ready(place.drop, "unchanged", now))
    place.put_rows({"image": "a.jpg"})
    assert "it is ready when nothing changes for 600 s" in str(not_ready(place.drop, "unchanged", now + 30))
    assert not_ready(place.drop, "unchanged", now + QUIET_SECONDS + 30) is None


def test_an_old_modification_time_does_not_make_an_upload_quiet(place: Place) -> None:
    place.put("a.jpg", b"x")
    os.utime(place.drop_folder / "a.jpg", (0, 0))
    assert not_ready(place.drop, "unchanged", time.time()) is not None


def test_all_manifests_at_the_top_level_are_read_in_order(place: Place) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl", "d.json", "E.JSONL", "f.Jsonl.GZ"):
        place.put(name, "{}")
    assert contents(place.drop, "jsonl").manifests == ["E.JSONL", "a.jsonl", "b.jsonl", "f.Jsonl.GZ"]
    assert contents(place.drop, "json").manifests == ["d.json"]


@pytest.mark.parametrize("input_format", ["jsonl", "json", "csv", "parquet"])
def test_what_macos_puts_beside_each_file_is_no_manifest(place: Place, input_format: str) -> None:
    place.put(f"._manifest.{input_format}", b"\x00\x05\x16\x07 Mac OS X")
    with pytest.raises(DropError, match="has no manifest"):
        contents(place.drop, input_format)
    place.put(f"manifest.{input_format}", "{}")
    found = contents(place.drop, input_format)
    assert found.manifests == [f"manifest.{input_format}"] and found.hidden == [f"._manifest.{input_format}"]


def test_compressed_manifests_are_manifests_and_hidden_files_are_not(place: Place) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.zst", "c.jsonl.zip", ".d.jsonl", "e.gz", "f.csv.xz"):
        place.put(name, "{}")
    found = contents(place.drop, "jsonl")
    assert (found.manifests, found.hidden) == (["a.jsonl.gz", "b.jsonl.zst"], [".d.jsonl"])


def test_files_are_found_by_nearly_their_names(place: Place) -> None:
    decomposed, composed = unicodedata.normalize("NFD", "é.jpg"), "é.jpg"
    for name in ("Street/A.JPG", "b.jpg", "B.jpg", decomposed, "manifest.jsonl"):
        place.put(name, "{}")
    files = contents(place.drop, "jsonl").files
    assert "b.jpg" in files and "street/a.jpg" not in files and composed not in files
    assert files.near("street/a.jpg") == ["Street/A.JPG"] and files.near(composed) == [decomposed]
    assert sorted(files.near("B.JPG")) == ["B.jpg", "b.jpg"] and files.near("c.jpg") == []
    assert files.version("b.jpg") != files.version("B.jpg") or files.version("b.jpg") is not None


def test_a_row_gets_the_image_that_is_called_nearly_so_and_the_report_says_it(place: Place) -> None:
    place.put("IMG.JPG", "x")
    place.put_rows({"image": "img.jpg"})
    (warning,) = place.plan().warnings
    assert "the images of 1 rows are in the drop under other names" in warning


def test_the_listing_tells_which_files_there_are(place: Place) -> None:
    for name in ("manifest.jsonl", "a.jpg", "deep/ä.jpg", os.fsdecode(b"\xff.jpg")):
        place.put(name, "")
    (place.drop_folder / "link.jpg").symlink_to("a.jpg")
    files = contents(place.drop, "jsonl").files
    assert all(name in files for name in ("manifest.jsonl", "a.jpg", "deep/ä.jpg", os.fsdecode(b"\xff.jpg")))
    assert not any(name in files for name in ("link.jpg", "deep", "b.jpg", "A.jpg", ""))


def test_the_drops_own_path_takes_room_from_the_paths_in_a_bucket(place: Place) -> None:
    client: Any = None
    in_bucket = S3Store(client, "drops", "straße").sub("2026-10-05")
    assert path_bytes(in_bucket) == 1024 - len("straße/2026-10-05/".encode())
    assert path_bytes(S3Store(client, "drops")) == path_bytes(place.drop) == 1024


def test_a_manifest_whose_name_is_not_utf8_is_a_fault_of_the_drop(place: Place) -> None:
    place.put(os.fsdecode(b"caf\xe9.jsonl"), "{}")
    with pytest.raises(DropError, match=r"caf\\xe9\.jsonl.* is not UTF-8: rename it"):
        contents(place.drop, "jsonl")
    # Where it is no manifest, a file may be called anything.
    place.put("m.json", "[]")
    assert contents(place.drop, "json").manifests == ["m.json"]


def test_a_drop_without_a_manifest_says_what_to_do(place: Place) -> None:
    with pytest.raises(DropError, match="there is no drop"):
        contents(place.drop, "jsonl")
    place.put("a.jpg", b"x")
    with pytest.raises(DropError, match=r"put one or more \*\.jsonl files at its top level"):
        contents(place.drop, "jsonl")


def test_the_fingerprint_changes_with_any_file_but_the_marker(place: Place) -> None:
    place.put_rows({"image": "a.jpg"})
    first = contents(place.drop, "jsonl").fingerprint
    place.put("_READY", "")
    assert contents(place.drop, "jsonl").fingerprint == first
    place.put("a.jpg", b"x")
    assert contents(place.drop, "jsonl").fingerprint != first


class Refusing(LocalStore):
    """A store that refuses some of its files."""

    faults: dict[str, Exception]

    def open(self, path: str, version: str | None = None) -> Any:
        if path in self.faults:
            raise self.faults[path]
        return super().open(path, version)


def test_whether_others_can_be_read_is_seen_by_reading_them(place: Place) -> None:
    place.good_rows(4)
    place.put("_READY", "")
    drop = Refusing(place.drop_folder)
    drop.faults = {"0.jpg": ForbiddenError("0.jpg")}
    assert others_can_be_read(drop, {"0.jpg"})
    # Neither what was refused counts, nor a manifest, nor the marker.
    assert not others_can_be_read(drop, {"0.jpg", "1.jpg", "2.jpg", "3.jpg"})
    kinds = (ForbiddenError, ArchivedError, NotFoundError)
    drop.faults |= {f"{number}.jpg": kinds[number - 1]("no") for number in (1, 2, 3)}
    assert not others_can_be_read(drop, {"0.jpg"})
    # Read a moment ago, and refused now.
    assert not others_can_be_read(drop, {"0.jpg"}, ["1.jpg"])
    del drop.faults["3.jpg"]
    assert others_can_be_read(drop, {"0.jpg"}, ["1.jpg"])
    drop.faults["1.jpg"] = StorageUnavailableError("1.jpg")
    with pytest.raises(StorageUnavailableError):
        others_can_be_read(drop, {"0.jpg"})
