import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regioncap.drop.drop import contents
from regioncap.drop.elsewhere import Images
from regioncap.errors import DropChangedError, DropError
from regioncap.steps.check import check_drop
from regioncap.storage.local import LocalStore
from regioncap.work.shard import Shard
from tests.builders import Place, settings
from tests.fake_vlm import FakeVlm
from tests.steps import build, records, render
from tests.unit.drop.readers.foreign import values_of
from tests.unit.drop.readers.inside import BOXES, images, parquet_of, picture_of

NAMES = {"names": ["cat", "dog"], "_type": "ClassLabel"}


def test_images_are_named_by_their_file_column_and_row(place: Place) -> None:
    place.put(
        "data/train-00000.parquet", parquet_of({"image": images([1, 2]), "bbox": [BOXES, None], "id": ["a", "7"]})
    )
    assert values_of(place, "image_parquet") == [
        {"image": "data/train-00000.parquet!/image/1", "bbox": BOXES, "id": "a"},
        {"image": "data/train-00000.parquet!/image/2", "bbox": None, "id": "7"},
    ]


OBJECTS: list[tuple[Any, dict[str, Any]]] = [
    # As lists in an object, and as Sequence was written by earlier versions.
    ({"bbox": [[10.0, 10.0, 40.0, 30.0]], "category": [1]},
     {"bbox": {"_type": "List"}, "category": {"feature": NAMES, "_type": "List"}}),
    ({"bbox": [[10.0, 10.0, 40.0, 30.0]], "category": [1]},
     {"feature": {"bbox": {"_type": "Sequence"}, "category": NAMES}, "_type": "Sequence"}),
    # As a list of objects.
    ([{"bbox": [10.0, 10.0, 40.0, 30.0], "category": 1}],
     {"feature": {"bbox": {"_type": "List"}, "category": NAMES}, "_type": "List"}),
    ([{"bbox": [10.0, 10.0, 40.0, 30.0], "category": 1}], [{"bbox": {"_type": "List"}, "category": NAMES}]),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "feature"), OBJECTS)
def test_boxes_have_the_names_of_their_classes(place: Place, objects: Any, feature: Any) -> None:
    features = {"image": {"_type": "Image"}, "objects": feature}
    place.put("a.parquet", parquet_of({"image": images([1]), "objects": [objects]}, features))
    (row,) = values_of(place, "image_parquet")
    assert row["bbox"] == [[10, 10, 40, 30]] and row["labels"] == ["dog"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_a_column_of_files_is_one_of_images_whatever_it_is_called(place: Place, kind: Any) -> None:
    files = pa.array([picture_of(1), picture_of(2)], pa.binary()).cast(kind)
    place.put("a.parquet", parquet_of({"jpg": files, "bbox": [BOXES, BOXES]}))
    assert [row["image"] for row in values_of(place, "image_parquet")] == ["a.parquet!/jpg/1", "a.parquet!/jpg/2"]
    found = [Images(place.drop).open(f"a.parquet!/jpg/{row}").read() for row in (1, 2)]
    assert found == [picture_of(1), picture_of(2)]


def test_rows_whose_images_are_files_are_read_too(place: Place) -> None:
    place.put("x/b.jpg", b"x")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    mixed = pa.array([{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None], kind)
    place.put("x/a.parquet", parquet_of({"image": mixed}))
    assert [row["image"] for row in values_of(place, "image_parquet")] == ["x/a.parquet!/image/1", "x/b.jpg", ""]
    place.put("x/a.parquet", parquet_of({"image": ["b.jpg"]}))
    assert [row["image"] for row in values_of(place, "image_parquet")] == ["x/b.jpg"]


def test_nothing_is_read_of_columns_that_are_not_used(place: Place) -> None:
    columns = {"image": images([1]), "bbox": [BOXES], "mask": [b"x" * 99], "clip": [{"bytes": b"y"}]}
    columns["t"] = pa.array([2**62], pa.timestamp("ms"))  # one that Python cannot hold
    place.put("a.parquet", parquet_of({**columns, "camera": ["front"]}))
    assert [sorted(row) for row in values_of(place, "image_parquet")] == [["bbox", "image"]]
    plan = place.plan(input_format="image_parquet", keep_fields=["camera"])
    assert plan.rejected == 0
    (row,) = [row for shard in plan.shards for row in _planned(place, plan, shard)]
    assert row.source == {"camera": "front"}


def _planned(place: Place, plan: Any, shard_id: str) -> Any:
    from regioncap.work.shard import Shard

    return Shard(place.work, plan, shard_id).planned()


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"bbox": [BOXES]}, "no column with images, and none is called image: set the param image_key"),
        ({"a": [b"x"], "b": [b"x"]}, r"several columns with images \(a, b\), and none is called image"),
    ],
)
def test_a_file_whose_images_are_not_known_stops_the_run(place: Place, columns: Any, told: str) -> None:
    place.put("a.parquet", parquet_of(columns))
    with pytest.raises(DropError, match=f"a.parquet cannot be read as image_parquet: it has {told}"):
        place.plan(input_format="image_parquet")


def test_a_file_that_is_damaged_stops_the_run_and_is_named(place: Place) -> None:
    place.put("a.parquet", parquet_of({"image": images([1])})[:-9])
    with pytest.raises(DropError, match=r"the manifest a\.parquet cannot be read as image_parquet"):
        place.plan(input_format="image_parquet")


def test_a_manifest_of_paths_that_holds_images_says_what_to_do(place: Place) -> None:
    place.put("a.parquet", parquet_of({"image": images([1])}))
    with pytest.raises(DropError, match="its column image holds images, not paths: set input_format to image_parquet"):
        place.plan(input_format="parquet")


@pytest.mark.parametrize(("groups", "compression"), [(100, "snappy"), (2, "zstd"), (1, "none")])
def test_records_are_those_of_files(tmp_path: Path, vlm: FakeVlm, groups: int, compression: str) -> None:
    files, packed = Place(tmp_path / "files"), Place(tmp_path / "packed")
    for number in range(5):
        files.put(f"{number}.jpg", picture_of(number))
    files.put_rows(*({"id": str(number), "image": f"{number}.jpg", "bbox": BOXES} for number in range(5)))
    columns = {"id": [str(number) for number in range(5)], "image": images(range(5)), "bbox": [BOXES] * 5}
    packed.put("data/a.parquet", parquet_of(columns, row_group_size=groups, compression=compression))
    build(files, vlm)
    build(packed, vlm, input_format="auto", shard_size=2)
    for number, (ours, theirs) in enumerate(zip(records(files), records(packed), strict=True), start=1):
        assert theirs["image"] == f"data/a.parquet!/image/{number}"
        same = ours.keys() - {"image", "image_uri", "bbox"}
        assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}
        assert theirs["bbox"] == ours["bbox"]


def test_images_are_read_in_any_order(place: Place) -> None:
    place.put("a.parquet", parquet_of({"image": images(range(40))}, row_group_size=7))
    found = Images(place.drop)
    for row in (1, 3, 2, 40, 39, 7, 8, 9, 1, 20, 21, 19):
        assert found.open(f"a.parquet!/image/{row}").read() == picture_of(row - 1), row


def test_one_bad_image_costs_its_row(place: Place, vlm: FakeVlm) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    bad = [b"", b"text", picture_of(1)[:-300], None]
    column = pa.array([{"bytes": picture_of(0)}, *({"bytes": data} for data in bad), {"bytes": picture_of(2)}], kind)
    place.put("a.parquet", parquet_of({"image": column, "bbox": [BOXES] * 6}))
    published = build(place, vlm, input_format="image_parquet", max_rejected_ratio=1)
    assert [record["image"] for record in records(place)] == ["a.parquet!/image/1", "a.parquet!/image/6"]
    assert published.manifest.counts.rejected == 4


def test_damage_within_costs_the_rows_that_it_is_about(place: Place) -> None:
    data = bytearray(parquet_of({"image": images(range(4)), "bbox": [BOXES] * 4}, row_group_size=2, compression="zstd"))
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0)
    assert chunk.path_in_schema == "image.bytes"
    at = chunk.dictionary_page_offset or chunk.data_page_offset
    data[at : at + 40] = bytes(40)
    place.put("a.parquet", bytes(data))
    checked = check_drop(
        place.drop, settings(input_format="image_parquet"), "m", show=lambda row, jpeg: None,
        progress=lambda done, rows: None,
    )  # fmt: skip
    assert checked.stops is None and checked.usable == 2
    assert [(row.line, row.code) for row in checked.rejected] == [(3, "image_unreadable"), (4, "image_unreadable")]


def test_rows_of_our_own_may_name_rows(place: Place) -> None:
    place.put("x/a.parquet", parquet_of({"image": images([1])}))
    names = ["image/1", "image/2", "image/0", "image/x", "none/1", "1", "image/99999999999999999999"]
    place.put_rows(*({"image": f"x/a.parquet!/{name}", "bbox": BOXES} for name in names))
    checked = check_drop(place.drop, settings(), "m", show=lambda row, jpeg: None, progress=lambda done, rows: None)
    assert checked.stops is None and checked.usable == 1
    assert [(row.line, row.code) for row in checked.rejected] == [(line, "image_not_found") for line in range(2, 8)]


def test_a_file_that_changes_while_it_is_built_fails_the_run(place: Place) -> None:
    place.put("a.parquet", parquet_of({"image": images([1]), "bbox": [BOXES]}))
    plan = place.plan(input_format="image_parquet")
    place.put("a.parquet", parquet_of({"image": images([2]), "bbox": [BOXES]}))
    with pytest.raises(DropChangedError, match=r"a\.parquet"):
        render(place, plan)


def test_an_image_that_changes_is_asked_about_anew_and_alone(place: Place, vlm: FakeVlm) -> None:
    place.put("a.parquet", parquet_of({"image": images([1, 2, 3]), "bbox": [BOXES] * 3}))
    build(place, vlm, input_format="image_parquet")
    asked = len(vlm.requests)
    place.put("a.parquet", parquet_of({"image": images([1, 40, 3, 4]), "bbox": [BOXES] * 4}))
    build(place, vlm, input_format="image_parquet")
    assert len(vlm.requests) == asked + 2
    digests = [record["image_sha256"] for record in records(place)]
    assert digests == [hashlib.sha256(picture_of(number)).hexdigest() for number in (1, 40, 3, 4)]


def test_images_elsewhere_contradict(place: Place, tmp_path: Path) -> None:
    place.put("a.parquet", parquet_of({"image": images([1])}))
    (tmp_path / "images").mkdir()
    checked = check_drop(
        place.drop, settings(input_format="image_parquet"), "m", show=lambda row, jpeg: None,
        progress=lambda done, rows: None, images=Images(LocalStore(tmp_path / "images")),
    )  # fmt: skip
    assert checked.stops is not None and "leave images_uri out" in checked.stops


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"image": images([1])}, "image_parquet"),
        ({"jpg": [b"x"]}, "image_parquet"),
        ({"image": ["a.jpg"], "bbox": [BOXES]}, "parquet"),
    ],
)
def test_it_is_found_out(place: Place, columns: Any, found: str) -> None:
    place.put("a.parquet", parquet_of(columns))
    assert contents(place.drop, "auto").input_format == found


@pytest.mark.parametrize("faces", [[{"bbox": [BOXES[0]]}], [[{"bbox": BOXES[0]}]], [BOXES]])
def test_boxes_under_a_name_that_is_not_known_are_told_of_and_read_by_the_param(place: Place, faces: Any) -> None:
    place.put("a.parquet", parquet_of({"image": images([1]), "faces": pa.array(faces)}))
    with pytest.raises(DropError, match="but boxes under 'faces', which are not read: set the param bbox_key to faces"):
        place.plan(input_format="image_parquet")
    plan = place.plan(input_format="image_parquet", bbox_key="faces")
    (row,) = Shard(place.work, plan, plan.shards[0]).planned()
    assert row.bbox is not None and row.bbox[0] == BOXES[0]
