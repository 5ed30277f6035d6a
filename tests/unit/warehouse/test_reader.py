"""Reading what is published, as a user does."""

import subprocess
import sys

import pytest

import regioncap
from regioncap.errors import BuildGoneError, ManifestError, NothingPublishedError
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
