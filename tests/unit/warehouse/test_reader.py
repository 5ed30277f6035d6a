"""Reading what is published, as a user does."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

import regioncap
from regioncap.errors import BuildGoneError, ManifestError, NothingPublishedError
from regioncap.regions.records import Record
from regioncap.storage.local import LocalStore
from regioncap.warehouse.reader import open_build
from tests.builders import DATE, Place, publish_each
from tests.damage import change


def read(place: Place) -> regioncap.Build:
    return regioncap.read(str(place.folder / "warehouse"), DATE)


def test_a_build_is_read_by_the_warehouses_uri_and_the_date(place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    build = read(place)
    assert build.manifest.build_id == build_id
    (record,) = build.records()
    assert record["regions"][0]["caption"] == "a 0"
    assert build.image(record).startswith(b"\xff\xd8")
    assert [row["code"] for row in build.rejected()] == ["not_json"]
    assert [build.read(entry) for entry in build.files]


def test_the_records_are_a_table_too(place: Place) -> None:
    publish_each(place, "a")
    frame = read(place).frame()
    assert list(frame["answer"]) == ["<region1>: a 0"] and frame["valid_bboxes_num"].sum() == 1


def test_what_is_published_while_one_reads_changes_nothing(place: Place) -> None:
    publish_each(place, "a")
    build = read(place)
    records = build.records()
    publish_each(place, "b", keep_builds=3)
    assert [record["regions"][0]["caption"] for record in records] == ["a 0"]
    assert [record["regions"][0]["caption"] for record in read(place).records()] == ["b 0"]


def test_a_build_that_is_gone_says_so(place: Place) -> None:
    publish_each(place, "a")
    build = read(place)
    (record,) = build.records()
    publish_each(place, "b")
    place.partition.sub(f"{build.manifest.build}/").delete_folder()
    with pytest.raises(BuildGoneError, match="open the current one"):
        list(build.records())
    with pytest.raises(BuildGoneError, match="open the current one"):
        build.image(record)


def test_a_file_that_was_changed_is_never_read_as_published(place: Place) -> None:
    publish_each(place, "a")
    build = read(place)
    place.partition.write(build.manifest.captions[0].path, b'{"regions": []}\n')
    with pytest.raises(BuildGoneError, match="not what was published"):
        list(build.records())


@pytest.mark.parametrize("damaged", [b"", b"junk"])
def test_a_marked_image_that_was_changed_is_never_read_as_published(place: Place, damaged: bytes) -> None:
    publish_each(place, "a")
    build = read(place)
    (record,) = build.records()
    place.partition.write(f"{build.manifest.build}/{record['image_with_bbox']}", damaged)
    with pytest.raises(BuildGoneError, match="not what was published"):
        build.image(record)


def test_a_date_without_a_build_says_so(place: Place) -> None:
    with pytest.raises(NothingPublishedError, match="nothing is published at"):
        read(place)
    with pytest.raises(NothingPublishedError):
        open_build(place.partition)


def test_importing_regioncap_alone_loads_no_s3_client() -> None:
    code = "import sys, regioncap; print('boto3' in sys.modules or 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_build_of_a_newer_kind_is_refused_with_what_to_do(place: Place) -> None:
    publish_each(place, "a")
    change(place.folder / f"warehouse/dt={DATE}/_manifest.json", schema_version="2.0", captions="of another form")
    with pytest.raises(ManifestError, match=r"is of version 2\.0, .* reads 1\.x: use the RegionCap that wrote it"):
        read(place)


def test_a_build_of_a_kind_that_only_says_more_is_read(place: Place) -> None:
    publish_each(place, "a")
    change(place.folder / f"warehouse/dt={DATE}/_manifest.json", schema_version="1.9", signed_by="somebody")
    assert len(list(read(place).records())) == 1


def rewritten(place: Place, which: str, text: str) -> tuple[regioncap.Build, str]:
    """A build one of whose files was written anew by somebody who made the hashes fit; and that file's path."""
    publish_each(place, "a")
    path = place.folder / f"warehouse/dt={DATE}/_manifest.json"
    said = json.loads(path.read_bytes())
    (entry,) = said["captions"] if which == "captions" else [said["rejected"]]
    data = place.partition.read(entry["path"]) + text.encode() + b"\n"
    place.partition.write(entry["path"], data)
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "rows": 2}
    path.write_text(json.dumps(said))
    return read(place), entry["path"]


BAD_LINES = [
    "no JSON", "[1]", "7", "null", '"text"', "{}", '{"regions": []}', "[" * 100_000, '{"a": ' * 100_000, "9" * 5_000,
    "\x00", "{\"id\": 1",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_LINES, ids=lambda text: text[:16])
@pytest.mark.parametrize("which", ["captions", "rejected"])
def test_a_line_that_is_none_of_the_builds_is_told_with_its_file_and_number(
    place: Place, which: str, text: str
) -> None:
    build, path = rewritten(place, which, text)
    said = rf"{re.escape(path)}, line 2, .*build the date anew"
    rows = build.records() if which == "captions" else build.rejected()
    assert next(rows)["id"] != ""
    with pytest.raises(BuildGoneError, match=said) as caught:
        next(rows)
    assert len(str(caught.value)) < 1_000
    if which == "captions":
        with pytest.raises(BuildGoneError, match=said):
            build.frame()


@pytest.mark.parametrize("image", [None, 7, ["x"], {}, True])
def test_a_record_whose_image_is_no_path_is_told_with_its_line(place: Place, image: object) -> None:
    record = dict.fromkeys(Record.model_fields) | {"image_with_bbox": image}
    build, path = rewritten(place, "captions", json.dumps(record))
    with pytest.raises(BuildGoneError, match=rf"{re.escape(path)}, line 2, .*image_with_bbox"):
        list(build.records())


@pytest.mark.parametrize(
    "record",
    [
        {}, [], None, 7, "text", {"image_with_bbox": 7}, {"image_with_bbox": None}, {"image_with_bbox": ["x"]},
        {"image_with_bbox": ""}, {"image_with_bbox": "../../secret.jpg"}, {"image_with_bbox": "/etc/passwd"},
        {"image_with_bbox": "images/\0.jpg"}, {"image_with_bbox": "images/\ud800.jpg"}, {"image_with_bbox": "images"},
        {"image_with_bbox": "x" * 5_000},
    ],
    ids=lambda record: str(record)[:40],
)  # fmt: skip
def test_the_image_of_what_is_no_record_is_refused(place: Place, record: Any) -> None:
    publish_each(place, "a")
    with pytest.raises(BuildGoneError):
        read(place).image(record)


def test_what_a_newer_version_says_more_of_a_record_is_read(place: Place) -> None:
    publish_each(place, "a")
    (record,) = read(place).records()
    build, _ = rewritten(place, "captions", json.dumps(record | {"signed_by": "somebody"}))
    assert [each.get("signed_by") for each in build.records()] == [None, "somebody"]


def test_a_partition_that_was_copied_to_another_date_is_not_read_as_that_dates(place: Place) -> None:
    publish_each(place, "a")
    shutil.copytree(place.folder / f"warehouse/dt={DATE}", place.folder / "warehouse/dt=2026-10-06")
    with pytest.raises(ManifestError, match=rf"dt=2026-10-06/_manifest.json is of dt={DATE}.*copied"):
        regioncap.read(str(place.folder / "warehouse"), "2026-10-06")


def test_a_partition_that_was_copied_to_where_there_are_no_dates_is_read(place: Place) -> None:
    publish_each(place, "a")
    shutil.copytree(place.folder / f"warehouse/dt={DATE}", place.folder / "sample")
    assert len(list(open_build(LocalStore(place.folder / "sample")).records())) == 1


def test_where_the_manifest_was_deleted_the_builds_that_lie_there_are_told(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    (place.folder / f"warehouse/dt={DATE}/_manifest.json").unlink()
    with pytest.raises(NothingPublishedError, match=f"{b}, {a}.*rollback --date {DATE} --build ID"):
        read(place)
