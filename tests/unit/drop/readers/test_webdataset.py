import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from regioncap.drop import plain
from regioncap.drop.drop import contents
from regioncap.drop.elsewhere import Images
from regioncap.errors import DropChangedError, DropError
from regioncap.regions.jsonl import line
from regioncap.steps.check import check_drop
from regioncap.storage.local import LocalStore
from regioncap.work.shard import Shard
from tests.builders import Place, settings
from tests.fake_vlm import FakeVlm
from tests.steps import build, records, render
from tests.unit.drop.readers.foreign import faults_of, values_of
from tests.unit.drop.readers.inside import BOXES, member, picture_of, samples, tar_of


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


def test_a_sample_is_a_row_with_its_key_boxes_and_labels(place: Place) -> None:
    place.put("shards/a.tar", tar_of(*samples([1, 2], camera="front")))
    assert values_of(place, "webdataset") == [
        {"bbox": BOXES, "labels": ["dog", None], "camera": "front", "id": f"00000{number}",
         "image": f"shards/a.tar!/00000{number}.jpg"}
        for number in (1, 2)
    ]  # fmt: skip


def test_keys_of_several_tars_and_ids_of_their_own(place: Place) -> None:
    place.put("a.tar", tar_of(*samples([1])))
    place.put("b.tar", tar_of(*samples([1]), *samples([2], id="mine")))
    assert [row["id"] for row in values_of(place, "webdataset")] == ["a.tar#000001", "b.tar#000001", "mine"]


@pytest.mark.parametrize(
    "said",
    [
        {"objects": [{"bbox": [10, 10, 40, 30], "label": "dog"}]},
        {"objects": {"bbox": [[10, 10, 40, 30]], "category": ["dog"]}},
        {"annotations": [{"x": 10, "y": 10, "width": 40, "height": 30, "name": "dog"}]},
        {"bbox": [[10, 10, 40, 30]], "labels": ["dog"]},
    ],
)
def test_boxes_are_read_in_every_form(place: Place, said: dict[str, Any]) -> None:
    place.put("a.tar", tar_of(member("1.jpg", b"x"), member("1.json", json.dumps(said).encode())))
    (row,) = values_of(place, "webdataset")
    assert row["bbox"] == [[10, 10, 40, 30]] and row["labels"] == ["dog"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_what_is_said_of_a_sample_may_be_in_any_encoding(place: Place, encoding: str) -> None:
    said = json.dumps({"bbox": [[10, 10, 40, 30]], "note": "é"}, ensure_ascii=False).encode(encoding)
    place.put("a.tar", tar_of(member("1.jpg", b"x"), member("1.json", said)))
    (row,) = values_of(place, "webdataset", encoding="cp1252" if encoding == "cp1252" else "utf-8")
    assert row["note"] == "é" and row["bbox"] == [[10, 10, 40, 30]]


def test_folders_dots_and_other_members_of_a_sample(place: Place) -> None:
    place.put(
        "a.tar",
        tar_of(
            member("./", type=tarfile.DIRTYPE),
            member("./x", type=tarfile.DIRTYPE),
            member("./x/1.2.jpg", b"x"),
            member("./x/1.json", b'{"bbox": [[1, 2, 3, 4]]}'),
            member("./x/1.txt", b"a dog"),
            member("./x/1.pickle", b"\x80\x04cos\nsystem\n"),
            member("./x/1.seg.json", b"{}"),
            member("./x/._2.jpg", b"x"),
            member("./x/3.PNG", b"x"),
        ),
    )
    assert values_of(place, "webdataset") == [
        {"bbox": [[1, 2, 3, 4]], "id": "x/1", "image": "a.tar!/x/1.2.jpg"},
        {"id": "x/3", "image": "a.tar!/x/3.PNG"},
    ]


def test_what_is_wrong_with_a_sample_costs_itself(place: Place) -> None:
    big = member("big.json", b" " * (4 * 1024 * 1024 + 1))
    place.put(
        "a.tar",
        tar_of(
            *samples([1]),
            member("link.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            member("hard.jpg", type=tarfile.LNKTYPE, linkname="000001.jpg"),
            member("pipe.jpg", type=tarfile.FIFOTYPE),
            member("device.jpg", type=tarfile.CHRTYPE),
            member("../out.jpg", b"x"),
            member("/etc/out.jpg", b"x"),
            member("two.jpg", b"x"),
            member("two.left.png", b"x"),
            member("none.json", b"{}"),
            member("text.jpg", b"x"),
            member("text.json", b"{"),
            member("list.jpg", b"x"),
            member("list.json", b"[]"),
            member("jsonlink.jpg", b"x"),
            member("jsonlink.json", type=tarfile.SYMTYPE, linkname="000001.json"),
            member("big.jpg", b"x"),
            big,
            *samples([1]),
            *samples([2]),
        ),
    )
    assert [(number, code) for _, number, code, _ in faults_of(place, "webdataset")] == [
        (2, "image_is_link"), (3, "image_is_link"), (4, "image_unreadable"), (5, "image_unreadable"),
        (6, "image_outside_drop"), (7, "image_outside_drop"), (8, "image_not_found"), (9, "image_missing"),
        (10, "not_json"), (11, "not_an_object"), (12, "image_is_link"), (13, "line_too_long"), (14, "duplicate_id"),
    ]  # fmt: skip


def damaged(data: bytes) -> bytes:
    at = data.index(b"000002.jpg")
    return data[: at + 100] + b"?" * 60 + data[at + 160 :]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (tar_of(*samples([1, 2]))[:-10_000], "truncated"),
        (tar_of(*samples([1, 2]))[:2000], "damaged at its byte 1,537"),
        (damaged(tar_of(*samples([1, 2, 3]))), "damaged at its byte"),
        (b"no tar" * 200, "the tar cannot be read"),
        (b"", "the tar cannot be read"),
        (tar_of(member("a" * (2 << 20) + ".jpg", b"x")), "more than 1,048,576 bytes"),
        (gzip.compress(tar_of(*samples([1, 2])))[:-100], "cannot be unpacked"),
    ],
)
def test_a_tar_that_is_damaged_stops_the_run_and_is_named(place: Place, data: bytes, told: str) -> None:
    place.put("ok.tar", tar_of(*samples([3])))
    place.put("z.tar", data)
    with pytest.raises(DropError, match=rf"the manifest z\.tar cannot be read as webdataset: .*({told})"):
        place.plan(input_format="webdataset")


def test_what_unpacks_to_far_more_than_it_is_stops_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_MOST_BYTES", 1 << 20)
    place.put("a.tar.gz", gzip.compress(tar_of(member("1.jpg", bytes(10 << 20)))))
    with pytest.raises(DropError, match="unpacks to more than 200 times its size"):
        place.plan(input_format="webdataset")


@pytest.mark.parametrize(
    ("name", "pack"), [("a.tar", bytes), ("a.tar.gz", gzip.compress), ("a.tgz", gzip.compress),
                       ("a.tar.zst", zstd), ("a.tar", gzip.compress)]
)  # fmt: skip
def test_records_are_those_of_files(tmp_path: Path, vlm: FakeVlm, name: str, pack: Any) -> None:
    files, packed = Place(tmp_path / "files"), Place(tmp_path / "packed")
    for number in range(5):
        files.put(f"{number:06d}.jpg", picture_of(number))
    files.put_rows(
        *({"id": f"{number:06d}", "image": f"{number:06d}.jpg", "bbox": BOXES, "labels": ["dog", None]}
          for number in range(5))
    )  # fmt: skip
    packed.put(f"x/{name}", pack(tar_of(*samples(range(5)))))
    build(files, vlm)
    build(packed, vlm, input_format="auto", shard_size=2)
    for ours, theirs in zip(records(files), records(packed), strict=True):
        assert theirs["image"] == f"x/{name}!/{ours['image']}"
        assert theirs["image_uri"] == f"{packed.drop.uri}/{theirs['image']}"
        same = ours.keys() - {"image", "image_uri"}
        assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}


def test_one_bad_image_costs_its_row(place: Place, vlm: FakeVlm) -> None:
    bad = [member("000005.jpg", picture_of(5)[:-300]), member("000006.jpg", b""), member("000007.jpg", b"text")]
    place.put("a.tar", tar_of(*samples([1]), *bad, *samples([2])))
    published = build(place, vlm, input_format="webdataset", max_rejected_ratio=1, when_no_boxes="contours")
    assert [record["id"] for record in records(place)] == ["000001", "000002"]
    assert published.manifest.counts.rejected == 3


def test_exports_and_readers_find_an_image_again_by_its_name(place: Place) -> None:
    place.put("a.tar", tar_of(*samples(range(20))))
    place.put("b.tgz", gzip.compress(tar_of(*samples(range(3)))))
    images = Images(place.drop)
    for number in (0, 1, 2, 19, 3, 18, 0):
        assert images.open(f"a.tar!/{number:06d}.jpg").read() == picture_of(number)
    assert images.open("b.tgz!/000001.jpg").read() == picture_of(1)
    assert images.stat("a.tar!/000001.jpg").path == "a.tar!/000001.jpg"


def test_a_record_that_is_carried_in_an_export_has_its_original(place: Place, vlm: FakeVlm) -> None:
    place.put("a.tar", tar_of(*samples(range(3))))
    published = build(
        place, vlm, input_format="webdataset", export_formats=["webdataset"], export_images="original"
    ).manifest  # fmt: skip
    data = place.partition.read(f"{published.build}/exports/webdataset/{_only_export(place, published.build)}")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        stream = tar.extractfile("000000001.jpg")
        assert stream is not None and stream.read() == picture_of(1)


def _only_export(place: Place, build_folder: str) -> str:
    folder = f"{build_folder}/exports/webdataset/"
    (entry,) = [entry for entry in place.partition.list(folder) if entry.path.endswith(".tar")]
    return entry.path.removeprefix(folder)


def test_rows_of_our_own_may_name_members_of_tars(place: Place) -> None:
    place.put("a.tar", tar_of(*samples([1])))
    place.put_rows(
        {"image": "a.tar!/000001.jpg", "bbox": BOXES},
        {"image": "a.tar!/none.jpg", "bbox": BOXES},
        {"image": "b.tar!/000001.jpg", "bbox": BOXES},
        {"image": "a.tar!/../a.jpg", "bbox": BOXES},
    )
    checked = check_drop(
        place.drop, settings(), "m", show=lambda row, jpeg: None, progress=lambda done, rows: None
    )  # fmt: skip
    assert checked.stops is None and checked.usable == 1
    assert [(row.line, row.code) for row in checked.rejected] == [
        (2, "image_not_found"), (3, "image_not_found"), (4, "image_outside_drop"),
    ]  # fmt: skip


@pytest.mark.parametrize("gone", [True, False])
def test_a_tar_that_changes_while_it_is_built_fails_the_run(place: Place, gone: bool) -> None:
    place.put("a.tar", tar_of(*samples([1, 2])))
    plan = place.plan(input_format="webdataset")
    if gone:
        (place.drop_folder / "a.tar").unlink()
    else:
        place.put("a.tar", tar_of(*samples([2, 1])))
    with pytest.raises(DropChangedError, match=r"a\.tar"):
        render(place, plan)


def test_what_is_put_before_others_changes_nothing_of_these(place: Place, vlm: FakeVlm) -> None:
    place.put("a.tar", tar_of(*samples([1, 2])))
    build(place, vlm, input_format="webdataset")
    before = {record["id"]: record for record in records(place)}
    asked = len(vlm.requests)
    place.put("a.tar", tar_of(*samples([7, 1, 2])))
    build(place, vlm, input_format="webdataset")
    assert len(vlm.requests) == asked + 1
    after = {record["id"]: record for record in records(place)}
    assert {key: after[key] for key in before} == before


def test_an_image_that_changes_is_asked_about_anew_and_alone(place: Place, vlm: FakeVlm) -> None:
    place.put("a.tar", tar_of(*samples([1, 2, 3])))
    build(place, vlm, input_format="webdataset")
    asked = len(vlm.requests)
    other = [member("000002.jpg", picture_of(40)), samples([2])[1]]
    place.put("a.tar", tar_of(*samples([1]), *other, *samples([3])))
    build(place, vlm, input_format="webdataset")
    assert len(vlm.requests) == asked + 1
    digests = [record["image_sha256"] for record in records(place)]
    assert digests == [hashlib.sha256(picture_of(number)).hexdigest() for number in (1, 40, 3)]


def test_images_elsewhere_contradict(place: Place, tmp_path: Path) -> None:
    place.put("a.tar", tar_of(*samples([1])))
    (tmp_path / "images").mkdir()
    checked = check_drop(
        place.drop, settings(input_format="webdataset"), "m", show=lambda row, jpeg: None,
        progress=lambda done, rows: None, images=Images(LocalStore(tmp_path / "images")),
    )  # fmt: skip
    assert checked.stops is not None and "leave images_uri out" in checked.stops


def test_it_is_found_out(place: Place) -> None:
    place.put("a.tar", tar_of(*samples([1])))
    assert contents(place.drop, "auto").input_format == "webdataset"
    place.put("manifest.jsonl", line({"image": "a.jpg"}))
    with pytest.raises(DropError, match="2 formats"):
        contents(place.drop, "auto")


@pytest.mark.parametrize("name", ["A.TAR", "A.Tar.GZ"])
def test_the_letter_case_of_a_tars_ending_does_not_matter(place: Place, name: str) -> None:
    place.put(name, tar_of(*samples([1]), compression="gz" if name.endswith("GZ") else ""))
    plan = place.plan(input_format="auto")
    render(place, plan)
    (row,) = Shard(place.work, plan, plan.shards[0]).rendered().rows
    assert (row.image, row.width, row.labels) == (f"{name}!/000001.jpg", 121, ["dog", None])
