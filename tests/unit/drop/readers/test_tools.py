"""What other tools leave in their folders: a few scenes in parts, with odd names, written by the tools themselves."""

import io
import json
import tarfile
from typing import Any

import pytest
from PIL import Image

from regioncap.drop.drop import read_image
from regioncap.drop.elsewhere import Images
from regioncap.regions.boxes import to_pixels
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import ROOT, Place

TOOLS = ROOT / "tests/data/tools"
SCENES: list[dict[str, Any]] = json.loads((TOOLS / "scenes.json").read_text("utf-8"))

# Each file, its format, and by how many pixels its boxes may be off: the tool's own precision.
WRITTEN: dict[str, tuple[str, float]] = {
    "coco-datumaro": ("coco", 0),
    "coco-fiftyone": ("coco", 1e-6),
    "coco-globox": ("coco", 1e-6),
    "coco-label-studio": ("coco", 1e-6),
    "coco-labelformat": ("coco", 0),
    "coco-sahi": ("coco", 0),
    "coco-supervision": ("coco", 0),
    "cvat-datumaro": ("cvat", 0),
    "cvat-fiftyone": ("cvat", 0),
    "cvat-globox": ("cvat", 1e-6),
    "cvat-labelformat": ("cvat", 0),
    "image_parquet-datasets": ("image_parquet", 0),
    "kitti-datumaro": ("kitti", 0),
    "kitti-fiftyone": ("kitti", 0),
    "kitti-labelformat": ("kitti", 0),
    "label_studio-sdk": ("label_studio", 1e-6),
    "label_studio_min-label-studio": ("label_studio", 1e-6),
    "label_studio_predictions-sdk": ("label_studio", 1e-6),
    "labelme": ("labelme", 0),
    "labelme-globox": ("labelme", 0),
    "labelme-xml-datumaro": ("voc", 0),
    "open_images-datumaro": ("open_images", 1e-4),
    "open_images-globox": ("open_images", 1e-6),
    "voc-datumaro": ("voc", 0),
    "voc-fiftyone": ("voc", 0),
    "voc-globox": ("voc", 0),
    "voc-label-studio": ("voc", 0),
    "voc-labelformat": ("voc", 0),
    "voc-pascal-voc-writer": ("voc", 0),
    "voc-pylabel": ("voc", 0),
    "voc-supervision": ("voc", 1),  # it counts pixels from 1
    "webdataset": ("webdataset", 0),
    "yolo-datumaro": ("yolo", 1e-3),
    "yolo-label-studio": ("yolo", 1e-6),
    "yolo-sahi": ("yolo", 1e-6),
    "yolo-supervision": ("yolo", 0.01),
    "yolo-ultralytics": ("yolo", 1e-3),
    "yolo4-fiftyone": ("yolo", 1e-3),
    "yolo5-fiftyone": ("yolo", 1e-3),
    "yolo5-globox": ("yolo", 1e-6),
    "yolo5-pylabel": ("yolo", 0.02),
    "yolo8-datumaro": ("yolo", 1e-3),
    "yolo8-labelformat": ("yolo", 1e-6),
}
# FiftyOne writes no spaces into lines of KITTI.
UNDERSCORED = {"kitti-fiftyone"}
# Only the scenes of `train` are in these: their tools have one folder for all parts, or took one part.
TRAIN_ALONE = {
    "coco-label-studio", "cvat-datumaro", "label_studio_min-label-studio", "voc-datumaro", "voc-label-studio",
    "yolo-label-studio", "yolo4-fiftyone", "yolo5-pylabel", "yolo8-labelformat",
}  # fmt: skip


def put(place: Place, name: str) -> None:
    """Put what a tool has written into the drop."""
    with tarfile.open(TOOLS / f"{name}.tar.xz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            place.put(member.name, stream.read())


def regions_of(place: Place, plan: Plan) -> dict[tuple[int, int], list[tuple[str | None, list[float]]]]:
    """The labels and boxes in pixels of each planned row, sorted, by its image's size: each scene has its own."""
    found: dict[tuple[int, int], list[tuple[str | None, list[float]]]] = {}
    for shard in plan.shards:
        for row in Shard(place.work, plan, shard).planned():
            size = Image.open(io.BytesIO(read_image(Images(place.drop), row.image))).size
            assert size not in found, f"{row.image} is in two rows"
            boxes = [list(to_pixels(box, plan.settings.box_format, *size)) for box in row.bbox or []]
            found[size] = sorted(zip(row.labels or [None] * len(boxes), boxes, strict=True))
    return found


def test_every_file_is_tested() -> None:
    written = {path.name.removesuffix(".tar.xz") for path in TOOLS.glob("*.tar.xz")}
    assert written == WRITTEN.keys() == json.loads((TOOLS / "versions.json").read_text("utf-8")).keys()


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_tool_has_written_has_the_same_regions_and_labels(place: Place, name: str) -> None:
    put(place, name)
    input_format, off = WRITTEN[name]
    plan = place.plan(input_format="auto")
    assert (plan.settings.input_format, plan.rejected) == (input_format, 0)
    assert place.plan(input_format=input_format).shards == plan.shards
    found = regions_of(place, plan)
    wanted = [scene for scene in SCENES if scene["part"] == "train" or name not in TRAIN_ALONE]
    # Some tools leave out images without boxes.
    assert {(scene["width"], scene["height"]) for scene in wanted if scene["bbox"]} <= found.keys()
    assert found.keys() <= {(scene["width"], scene["height"]) for scene in wanted}
    for scene in wanted:
        size = scene["width"], scene["height"]
        boxes = [list(to_pixels(box, "xywh", *size)) for box in scene["bbox"]]
        labels = [label.replace(" ", "_") if name in UNDERSCORED else label for label in scene["labels"]]
        expected = sorted(zip(labels, boxes, strict=True))
        regions = found.get(size, [])
        assert [label for label, _ in regions] == [label for label, _ in expected]
        for (_, box), (_, given) in zip(regions, expected, strict=True):
            assert box == pytest.approx(given, abs=off)
