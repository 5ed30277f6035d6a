"""What RegionCap has published and exported, as a drop again."""

from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import DropError
from regioncap.regions.records import RenderedRow
from regioncap.work.shard import Shard
from tests.builders import Place, describe, encoded, picture
from tests.steps import render

# In a drop of another layout, so that boxes as given are not those of the regions.
ROWS: list[dict[str, Any]] = [
    {"id": "one", "image": "street/1.jpg", "bbox": [[10, 10, 40, 30], [60, 20, 50, 50]], "labels": ["dog", None]},
    {"id": "two", "image": "2.png", "bbox": [[500, 500, 9, 9], [5.5, 6.25, 70, 40]], "labels": ["far", "cat"]},
    {"image": "3.jpg", "bbox": [[100, 60, 90, 90]]},
    {"id": "again", "image": "street/1.jpg", "bbox": [[20, 20, 30, 30]], "labels": ["a second look"]},
]
EXPORTS = ["coco", "csv", "cvat", "hf", "json", "label_studio", "llava", "llava_pixels", "parquet", "webdataset"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("published"))
    place.put("street/1.jpg", encoded(picture()))
    place.put("2.png", encoded(picture(130, 90), "PNG"))
    place.put("3.jpg", encoded(picture(140, 80)))
    place.put_rows(*ROWS)
    place.build(describe, export_formats=EXPORTS, export_images="original")
    return place


def build_folder(place: Place) -> Path:
    (folder,) = Path(place.partition.uri.removeprefix("file://")).glob("build=*")
    return folder


def regions(place: Place, **changes: Any) -> list[tuple[str, list[list[float]], list[str | None] | None]]:
    """Each row's id, the boxes of its regions, and their labels."""
    plan = place.plan(**changes)
    render(place, plan)
    found: list[RenderedRow] = [
        row for shard in plan.shards for row in Shard(place.work, plan, shard).rendered().rows
    ]  # fmt: skip
    return [
        (row.id, [list(region.bbox) for region in row.regions],
         [(row.labels or [None] * 99)[region.box_index] for region in row.regions])
        for row in found
    ]  # fmt: skip


def as_drop(published: Place, tmp_path: Path, files: str, *, with_images: bool) -> Place:
    """A drop of the files of a build that match; with the images of the first drop where the export has none."""
    again = Place(tmp_path / "again")
    folder = (build_folder(published) / files).parent
    for path in [
        *filter(Path.is_file, folder.glob(Path(files).name)),
        *(folder.glob("images/*") if "exports/" in files else ()),
    ]:
        again.put(str(path.relative_to(folder)), path.read_bytes())
    if not with_images:
        for name in ("street/1.jpg", "2.png", "3.jpg"):
            again.put(name, (published.drop_folder / name).read_bytes())
    return again


@pytest.mark.parametrize(
    ("files", "input_format", "with_images"),
    [
        ("captions-*.jsonl", "jsonl", False),
        ("captions-*.jsonl", "jsonl_any", False),
        ("exports/json/*.json", "json", False),
        ("exports/csv/*.csv", "csv", False),
        ("exports/parquet/*.parquet", "parquet", False),
        ("exports/hf/*.parquet", "image_parquet", True),
        ("exports/webdataset/*.tar", "webdataset", True),
        ("exports/coco/*.json", "coco", True),
        ("exports/label_studio/*.json", "label_studio", True),
        ("exports/cvat/*.xml", "cvat", True),
    ],
)
def test_what_was_published_has_the_same_rows_regions_and_labels(
    published: Place, tmp_path: Path, files: str, input_format: str, with_images: bool
) -> None:
    again = as_drop(published, tmp_path, files, with_images=with_images)
    # An image of COCO or CVAT has the boxes of all its rows.
    found = sorted if input_format in ("coco", "cvat") else list
    assert found(regions(again, input_format=input_format)) == found(regions(published))


@pytest.mark.parametrize(
    "files",
    [
        "exports/hf/*", "exports/webdataset/*", "exports/coco/*", "exports/label_studio/*", "exports/cvat/*",
    ],
)  # fmt: skip
def test_exports_are_found_out(published: Place, tmp_path: Path, files: str) -> None:
    again = as_drop(published, tmp_path, files, with_images=True)
    assert {row[0] for row in regions(again, input_format="auto")} == {row[0] for row in regions(published)}


@pytest.mark.parametrize("name", ["llava", "llava_pixels"])
def test_conversations_are_not_taken_for_rows_without_boxes(published: Place, tmp_path: Path, name: str) -> None:
    again = as_drop(published, tmp_path, f"exports/{name}/*.json", with_images=True)
    with pytest.raises(DropError, match="has no file that is a manifest by its name and its beginning"):
        again.plan(input_format="auto")
