"""Makes the files in this folder: one set of 300 scenes, written in each format by a tool that is not RegionCap.

    python make.py

in an environment of its own with datumaro 1.13, supervision 0.31, label-studio-sdk 2.1, datasets 5, webdataset 1.0 and
pyarrow. No format is written by RegionCap's own code. The images are not kept: whoever reads these files makes pictures
of the sizes in scenes.json.
"""

import io
import json
import random
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import datumaro as dm
import numpy as np
import supervision as sv
from datumaro.components.media import Image
from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

HERE = Path(__file__).resolve().parent
NAMES = ["bicycle", "traffic light", "dog", "Bär", "自行车", "cup & saucer"]
SIZES = [(320, 240), (240, 320), (400, 300), (256, 256), (500, 333)]


def scenes() -> list[dict[str, Any]]:
    """Images with sizes, boxes in whole pixels (x, y, w, h), and labels."""
    dice = random.Random(34)
    made = []
    for number in range(300):
        width, height = dice.choice(SIZES)
        boxes, labels = [], []
        for _ in range(dice.randint(1, 4)):
            w, h = dice.randint(12, width // 2), dice.randint(12, height // 2)
            boxes.append([dice.randint(1, width - w - 1), dice.randint(1, height - h - 1), w, h])
            labels.append(dice.choice(NAMES))
        made.append({"image": f"{number:06d}.jpg", "width": width, "height": height, "bbox": boxes, "labels": labels})
    return made


def by_datumaro(made: list[dict[str, Any]], name: str, folder: Path) -> None:
    """Write them with datumaro."""
    items = [
        dm.DatasetItem(
            id=Path(scene["image"]).stem,
            subset="train",
            media=Image.from_numpy(np.zeros((scene["height"], scene["width"], 3), np.uint8), ext=".jpg"),
            annotations=[
                dm.Bbox(*box, label=NAMES.index(label), id=place, group=place)
                for place, (box, label) in enumerate(zip(scene["bbox"], scene["labels"], strict=True), start=1)
            ],
        )
        for scene in made
    ]
    dataset = dm.Dataset.from_iterable(items, categories=NAMES)
    dataset.export(str(folder), name, save_media=False)


def by_supervision(made: list[dict[str, Any]], name: str, folder: Path) -> None:
    """Write them with supervision, which reads the images."""
    pictures = folder / "pictures"
    pictures.mkdir()
    annotations = {}
    for scene in made:
        path = str(pictures / scene["image"])
        cv2.imwrite(path, np.zeros((scene["height"], scene["width"], 3), np.uint8))
        corners = [[x, y, x + w, y + h] for x, y, w, h in scene["bbox"]]
        annotations[path] = sv.Detections(
            xyxy=np.array(corners, np.float32), class_id=np.array([NAMES.index(label) for label in scene["labels"]])
        )
    dataset = sv.DetectionDataset(NAMES, [*annotations], annotations)
    if name == "coco":
        dataset.as_coco(annotations_path=str(folder / "_annotations.coco.json"))
    elif name == "yolo":
        dataset.as_yolo(annotations_directory_path=str(folder / "labels"), data_yaml_path=str(folder / "data.yaml"))
    else:
        dataset.as_pascal_voc(annotations_directory_path=str(folder))
    for path in pictures.iterdir():
        path.unlink()
    pictures.rmdir()


def by_label_studio(made: list[dict[str, Any]], folder: Path) -> None:
    """Write them with Label Studio's SDK."""
    source = folder / "coco.json"
    images = [
        {"id": number, "file_name": scene["image"], "width": scene["width"], "height": scene["height"]}
        for number, scene in enumerate(made)
    ]
    annotations = [
        {"id": 10 * number + place, "image_id": number, "category_id": NAMES.index(label), "bbox": box}
        for number, scene in enumerate(made)
        for place, (box, label) in enumerate(zip(scene["bbox"], scene["labels"], strict=True))
    ]
    categories = [{"id": place, "name": name} for place, name in enumerate(NAMES)]
    source.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    convert_coco_to_ls(str(source), str(folder / "tasks.json"))
    source.unlink()
    for path in folder.glob("*.xml"):
        path.unlink()


def packed(folder: Path, name: str) -> None:
    """Pack the files of a folder, the same ones into the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", preset=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(path.relative_to(folder).as_posix())
                data = path.read_bytes()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    (HERE / f"{name}.tar.xz").write_bytes(out.getvalue())
    print(f"{name}: {len(out.getvalue()):,} bytes")


def jobs(made: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each file to make, and how."""
    for name, ours in (
        ("coco_instances", "coco-datumaro"), ("yolo", "yolo-datumaro"), ("voc_detection", "voc-datumaro"),
        ("cvat", "cvat-datumaro"), ("kitti_detection", "kitti-datumaro"), ("open_images", "open-images-datumaro"),
    ):  # fmt: skip
        yield ours, lambda folder, name=name: by_datumaro(made, name, folder)
    for name in ("coco", "yolo", "voc"):
        yield f"{name}-supervision", lambda folder, name=name: by_supervision(made, name, folder)
    yield "label-studio-sdk", lambda folder: by_label_studio(made, folder)


def main() -> None:
    """Make all of them."""
    made = scenes()
    lines = ",\n".join(json.dumps(scene, ensure_ascii=False) for scene in made)
    (HERE / "scenes.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    for name, write in jobs(made):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder))
            packed(Path(folder), name)


if __name__ == "__main__":
    main()
