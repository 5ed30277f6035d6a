"""Writes the files in this folder: a few scenes, as other tools lay them out.

    python write.py [NAME ...]

in an environment with the tools in `versions.json`, which it writes: without names, all files whose tools can be
imported are written anew. No format is written by RegionCap's own code. What a tool leaves in its folder is packed as
it is, with the images where the tool puts them; where it carries none, they lie where they were when it was run. Each
image has a size like no other, by which a reader of these files knows it, whatever the tool has called it.
"""

import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
NAMES = ["bicycle", "traffic light", "Bär"]

# One of each part of a data set has no boxes, and both parts have an image of one name.
SCENES: list[dict[str, Any]] = [
    {"part": "train", "image": "street 20.jpg", "width": 200, "height": 150,
     "bbox": [[20, 30, 60, 40], [100, 10, 50, 90]], "labels": ["bicycle", "traffic light"]},
    {"part": "train", "image": "Straße_é.jpg", "width": 150, "height": 202, "bbox": [[0, 0, 75, 101]],
     "labels": ["Bär"]},
    {"part": "train", "image": "a.b.c.png", "width": 204, "height": 160,
     "bbox": [[10, 20, 64, 32], [120, 80, 84, 80], [10, 100, 30, 45]], "labels": ["Bär", "bicycle", "bicycle"]},
    {"part": "train", "image": "empty.jpg", "width": 170, "height": 130, "bbox": [], "labels": []},
    {"part": "val", "image": "street 20.jpg", "width": 180, "height": 140, "bbox": [[45, 35, 90, 70]],
     "labels": ["traffic light"]},
    {"part": "val", "image": "7.jpg", "width": 160, "height": 164, "bbox": [[40, 41, 80, 82], [8, 8, 24, 16]],
     "labels": ["bicycle", "Bär"]},
]  # fmt: skip
PARTS = ("train", "val")

# From the folder with what a tool starts from to the folder that is packed.
Write = Callable[[Path, Path], None]
WRITERS: dict[str, tuple[str, Write]] = {}


def writes(name: str, tool: str) -> Callable[[Write], Write]:
    """Name what a function writes, and the tool that it has write it."""

    def note(write: Write) -> Write:
        WRITERS[name] = tool, write
        return write

    return note


def of_part(part: str) -> list[dict[str, Any]]:
    """The scenes of one part."""
    return [scene for scene in SCENES if scene["part"] == part]


def picture(scene: dict[str, Any]) -> bytes:
    """A small file with as many pixels as the scene says."""
    image = Image.new("RGB", (scene["width"], scene["height"]), (200, 180, 160))
    draw = ImageDraw.Draw(image)
    for x, y, width, height in scene["bbox"]:
        draw.ellipse((x, y, x + width - 1, y + height - 1), fill=(30, 60, 200))
    out = io.BytesIO()
    image.save(out, "PNG" if scene["image"].endswith("png") else "JPEG", quality=30)
    return out.getvalue()


def draw(folder: Path, scenes: Iterable[dict[str, Any]] = SCENES, parts: bool = True) -> None:
    """Draw the images, each part in a folder of its own."""
    for scene in scenes:
        path = folder / scene["part"] / scene["image"] if parts else folder / scene["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(scene))


def coco(scenes: list[dict[str, Any]], first: int) -> dict[str, Any]:
    """The scenes as tools take them that convert: never packed itself. `first` is the number of the first class."""
    images = [
        {"id": number, "file_name": scene["image"], "width": scene["width"], "height": scene["height"]}
        for number, scene in enumerate(scenes, start=1)
    ]
    boxes = [
        (number, box, NAMES.index(label) + first)
        for number, scene in enumerate(scenes, start=1)
        for box, label in zip(scene["bbox"], scene["labels"], strict=True)
    ]
    annotations = [
        {"id": place, "image_id": image, "category_id": name, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for place, (image, box, name) in enumerate(boxes, start=1)
    ]  # fmt: skip
    categories = [{"id": place, "name": name} for place, name in enumerate(NAMES, start=first)]
    return {"images": images, "annotations": annotations, "categories": categories}


def coco_file(source: Path, part: str, first: int = 1) -> Path:
    """The same as a file beside the part's images."""
    path = source / f"{part}.json"
    path.write_text(json.dumps(coco(of_part(part), first)), encoding="utf-8")
    return path


# FiftyOne's own writers, which need no database.


def by_fiftyone(exporter: Callable[[str], Any], source: Path, parts: Iterable[str]) -> None:
    """Write with one of FiftyOne's exporters, made for each part."""
    import fiftyone as fo

    for part in parts:
        with exporter(part) as export:
            for scene in of_part(part):
                sides = scene["width"], scene["height"]
                shares = [[value / sides[place % 2] for place, value in enumerate(box)] for box in scene["bbox"]]
                found = [
                    fo.Detection(label=label, bounding_box=box)
                    for label, box in zip(scene["labels"], shares, strict=True)
                ]
                size = fo.ImageMetadata(width=scene["width"], height=scene["height"])
                label = {"it": fo.Detections(detections=found)} if "CVAT" in type(export).__name__ else None
                export.export_sample(
                    str(source / part / scene["image"]), label or fo.Detections(detections=found), metadata=size
                )


@writes("coco-fiftyone", "fiftyone")
def _(source: Path, out: Path) -> None:
    from fiftyone.utils.coco import COCODetectionDatasetExporter as Exporter

    by_fiftyone(lambda part: Exporter(str(out / part), export_media=True, classes=NAMES), source, PARTS)


@writes("yolo5-fiftyone", "fiftyone")
def _(source: Path, out: Path) -> None:
    from fiftyone.utils.yolo import YOLOv5DatasetExporter as Exporter

    by_fiftyone(lambda part: Exporter(str(out), split=part, export_media=True, classes=NAMES), source, PARTS)


@writes("yolo4-fiftyone", "fiftyone")
def _(source: Path, out: Path) -> None:
    from fiftyone.utils.yolo import YOLOv4DatasetExporter as Exporter

    by_fiftyone(lambda part: Exporter(str(out), export_media=True, classes=NAMES), source, PARTS[:1])


@writes("voc-fiftyone", "fiftyone")
def _(source: Path, out: Path) -> None:
    from fiftyone.utils.voc import VOCDetectionDatasetExporter as Exporter

    by_fiftyone(lambda part: Exporter(str(out / part), export_media=True), source, PARTS)


@writes("cvat-fiftyone", "fiftyone")
def _(source: Path, out: Path) -> None:
    from fiftyone.utils.cvat import CVATImageDatasetExporter as Exporter

    def made(part: str) -> Any:
        export = Exporter(str(out / part), export_media=True)
        export._name, export._task_labels = part, None
        return export

    by_fiftyone(made, source, PARTS)


@writes("kitti-fiftyone", "fiftyone")
def _(source: Path, out: Path) -> None:
    from fiftyone.utils.kitti import KITTIDetectionDatasetExporter as Exporter

    by_fiftyone(lambda part: Exporter(str(out / part), export_media=True), source, PARTS)


# Datumaro, with all parts in one data set.


def by_datumaro(name: str, source: Path, out: Path, *, parts: Iterable[str] = PARTS, **options: Any) -> None:
    """Write with one of Datumaro's exporters."""
    import datumaro as dm
    from datumaro.components.media import Image as Media

    items = [
        dm.DatasetItem(
            id=Path(scene["image"]).stem,
            subset=scene["part"],
            media=Media.from_file(str(source / scene["part"] / scene["image"])),
            annotations=[
                dm.Bbox(*box, label=NAMES.index(label), id=place, group=place)
                for place, (box, label) in enumerate(zip(scene["bbox"], scene["labels"], strict=True), start=1)
            ],
        )
        for scene in SCENES
        if scene["part"] in parts
    ]
    dm.Dataset.from_iterable(items, categories=NAMES).export(str(out), name, save_media=True, **options)


for ours, theirs in (
    ("coco", "coco_instances"), ("yolo", "yolo"), ("yolo8", "yolo_ultralytics"), ("kitti", "kitti_detection"),
    ("open_images", "open_images"), ("labelme-xml", "label_me"),
):  # fmt: skip
    writes(f"{ours}-datumaro", "datumaro")(lambda source, out, name=theirs: by_datumaro(name, source, out))

# These have one folder for the images of all parts.
for ours, theirs in (("voc", "voc_detection"), ("cvat", "cvat")):
    writes(f"{ours}-datumaro", "datumaro")(
        lambda source, out, name=theirs: by_datumaro(name, source, out, parts=["train"])
    )


# supervision: a data set for each part.


def by_supervision(source: Path, part: str) -> Any:
    """The part as supervision has it."""
    import numpy as np
    import supervision as sv

    found = {}
    for scene in of_part(part):
        corners = [[x, y, x + w, y + h] for x, y, w, h in scene["bbox"]]
        found[str(source / part / scene["image"])] = sv.Detections(
            xyxy=np.array(corners, np.float32).reshape(-1, 4),
            class_id=np.array([NAMES.index(label) for label in scene["labels"]], int),
        )
    return sv.DetectionDataset(NAMES, [*found], found)


@writes("coco-supervision", "supervision")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_supervision(source, part).as_coco(str(out / part), str(out / part / "_annotations.coco.json"))


@writes("yolo-supervision", "supervision")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_supervision(source, part).as_yolo(
            str(out / part / "images"), str(out / part / "labels"), str(out / "data.yaml")
        )


@writes("voc-supervision", "supervision")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_supervision(source, part).as_pascal_voc(str(out / part / "images"), str(out / part / "annotations"))


# Label Studio's SDK: what it makes of COCO, and what its converter makes of an export.


def label_studio_tasks(source: Path, part: str, folder: Path, out_type: str = "annotations") -> Path:
    """Tasks, as the SDK makes them of COCO."""
    from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

    path = folder / f"{part}.json"
    convert_coco_to_ls(
        str(coco_file(source, part)), str(path), out_type=out_type, image_root_url=f"/data/local-files/?d=images/{part}"
    )
    for other in folder.glob("*.xml"):
        other.unlink()
    return path


@writes("label_studio-sdk", "label-studio-sdk")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        label_studio_tasks(source, part, out)
    draw(out / "images")


@writes("label_studio_predictions-sdk", "label-studio-sdk")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        label_studio_tasks(source, part, out, "predictions")
    draw(out / "images")


CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label_rectangles" toName="image">'
    + "".join(f'<Label value="{name}"/>' for name in NAMES)
    + "</RectangleLabels></View>"
)


def by_converter(source: Path, out: Path, form: str) -> None:
    """Write with the SDK's converter, one part, as Label Studio's own server does for an export."""
    from label_studio_sdk.converter import Converter

    tasks = source / "tasks"
    tasks.mkdir()
    path = label_studio_tasks(source, "train", tasks)
    found = json.loads(path.read_text("utf-8"))
    for number, task in enumerate(found, start=1):
        # What the server adds to a task when it exports it.
        task["id"] = number
        for annotation in task["annotations"]:
            annotation |= {"id": number, "completed_by": 1, "was_cancelled": False}
        task["annotations"] = task.get("annotations") or [{"id": number, "completed_by": 1, "result": []}]
    path.write_text(json.dumps(found), "utf-8")
    os.environ["LOCAL_FILES_DOCUMENT_ROOT"] = str(source)
    converter = Converter(CONFIG, str(tasks), download_resources=False)
    converter.convert(str(tasks), str(out), form, is_dir=True)
    draw(out / "images", of_part("train"))


for ours, theirs in (("label_studio_min", "JSON_MIN"), ("coco", "COCO"), ("yolo", "YOLO"), ("voc", "VOC")):
    writes(f"{ours}-label-studio", "label-studio-sdk")(lambda source, out, form=theirs: by_converter(source, out, form))


# Tools that convert from COCO.


def by_globox(source: Path, part: str) -> Any:
    """The part as globox has it."""
    from globox import AnnotationSet

    return AnnotationSet.from_coco(coco_file(source, part))


@writes("coco-globox", "globox")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_globox(source, part).save_coco(out / f"{part}.json", auto_ids=True)
    draw(out / "images")


@writes("yolo5-globox", "globox")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        (out / "labels").mkdir(exist_ok=True)
        by_globox(source, part).save_yolo_v5(out / "labels" / part, label_to_id={n: i for i, n in enumerate(NAMES)})
    (out / "classes.txt").write_text("\n".join(NAMES), "utf-8")  # globox writes no names
    draw(out / "images")


@writes("voc-globox", "globox")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_globox(source, part).save_pascal_voc(out / part)
    draw(out)


@writes("labelme-globox", "globox")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_globox(source, part).save_labelme(out / part)
    draw(out)


@writes("cvat-globox", "globox")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_globox(source, part).save_cvat(out / f"{part}.xml")
    draw(out / "images")


@writes("open_images-globox", "globox")
def _(source: Path, out: Path) -> None:
    for part in PARTS:
        by_globox(source, part).save_openimage(out / f"{part}-annotations-bbox.csv")
    draw(out)


def by_labelformat(source: Path, part: str) -> Any:
    """The part as labelformat reads it."""
    from labelformat.formats import COCOObjectDetectionInput

    return COCOObjectDetectionInput(coco_file(source, part))


@writes("coco-labelformat", "labelformat")
def _(source: Path, out: Path) -> None:
    from labelformat.formats import COCOObjectDetectionOutput as Output

    for part in PARTS:
        Output(out / f"{part}.json").save(by_labelformat(source, part))
    draw(out)


@writes("yolo8-labelformat", "labelformat")
def _(source: Path, out: Path) -> None:
    from labelformat.formats import YOLOv8ObjectDetectionOutput as Output

    Output(out / "data.yaml", "train").save(by_labelformat(source, "train"))
    draw(out / "images", of_part("train"), parts=False)


@writes("voc-labelformat", "labelformat")
def _(source: Path, out: Path) -> None:
    from labelformat.formats import PascalVOCObjectDetectionOutput as Output

    for part in PARTS:
        Output(out / part).save(by_labelformat(source, part))
    draw(out)


@writes("kitti-labelformat", "labelformat")
def _(source: Path, out: Path) -> None:
    from labelformat.formats import KittiObjectDetectionOutput as Output

    for part in PARTS:
        Output(out / part / "label_2").save(by_labelformat(source, part))
        draw(out / part / "image_2", of_part(part), parts=False)


@writes("cvat-labelformat", "labelformat")
def _(source: Path, out: Path) -> None:
    from labelformat.formats import CVATObjectDetectionOutput as Output

    for part in PARTS:
        (out / part).mkdir()
        Output(out / part / "annotations.xml").save(by_labelformat(source, part))
        draw(out / part / "images", of_part(part), parts=False)


@writes("coco-sahi", "sahi")
def _(source: Path, out: Path) -> None:
    from sahi.utils.coco import Coco
    from sahi.utils.file import save_json

    for part in PARTS:
        data = Coco.from_coco_dict_or_path(str(coco_file(source, part)), str(source / part))
        save_json(data.json, str(out / f"{part}.json"))
    draw(out)


@writes("yolo-sahi", "sahi")
def _(source: Path, out: Path) -> None:
    from sahi.utils.coco import Coco, export_coco_as_yolo

    # It takes a class's number in COCO for its place among the names.
    parts = [Coco.from_coco_dict_or_path(str(coco_file(source, part, 0)), str(source / part)) for part in PARTS]
    export_coco_as_yolo(str(out), train_coco=parts[0], val_coco=parts[1], disable_symlink=True)


@writes("voc-pylabel", "pylabel")
def _(source: Path, out: Path) -> None:
    from pylabel import importer

    for part in PARTS:
        data = importer.ImportCoco(str(coco_file(source, part)), path_to_images=str(source / part), name=part)
        data.export.ExportToVoc(str(out / part), folder_=True, path_=True)
    draw(out)


@writes("yolo5-pylabel", "pylabel")
def _(source: Path, out: Path) -> None:
    from pylabel import importer

    data = importer.ImportCoco(str(coco_file(source, "train")), path_to_images=str(source / "train"), name="train")
    data.path_to_annotations = str(source)
    data.export.ExportToYoloV5(str(out / "training" / "labels"), copy_images=True, cat_id_index=0)


@writes("yolo-ultralytics", "ultralytics")
def _(source: Path, out: Path) -> None:
    from ultralytics.data.converter import convert_coco

    (source / "annotations").mkdir()
    for part in PARTS:
        coco_file(source, part).rename(source / "annotations" / f"instances_{part}.json")
    convert_coco(str(source / "annotations"), str(out / "made"), cls91to80=False)
    (out / "data.yaml").write_text(
        "train: made/images/train\nval: made/images/val\nnames:\n"
        + "".join(f"  {place}: {name}\n" for place, name in enumerate(NAMES)), "utf-8",
    )  # fmt: skip
    draw(out / "made" / "images")


@writes("voc-pascal-voc-writer", "pascal-voc-writer")
def _(source: Path, out: Path) -> None:
    from pascal_voc_writer import Writer

    draw(out)
    for scene in SCENES:
        image = out / scene["part"] / scene["image"]
        writer = Writer(str(image), scene["width"], scene["height"])
        for (x, y, width, height), label in zip(scene["bbox"], scene["labels"], strict=True):
            writer.addObject(label, x, y, x + width, y + height)
        writer.save(str(image.with_suffix(".xml")))


@writes("labelme", "labelme")
def _(source: Path, out: Path) -> None:
    from labelme._label_file import LabelFile

    draw(out)
    for scene in SCENES:
        image = out / scene["part"] / scene["image"]
        shapes = [
            {"label": label, "points": [[x, y], [x + width, y + height]], "group_id": None, "description": "",
             "shape_type": "rectangle", "flags": {}, "mask": None}
            for (x, y, width, height), label in zip(scene["bbox"], scene["labels"], strict=True)
        ]  # fmt: skip
        LabelFile().save(
            filename=str(image.with_suffix(".json")), shapes=shapes, image_path=image.name,
            image_height=scene["height"], image_width=scene["width"], image_data=None, other_data={}, flags={},
        )  # fmt: skip


# What training reads.


@writes("webdataset", "webdataset")
def _(source: Path, out: Path) -> None:
    import webdataset as wds

    for part in PARTS:
        with wds.ShardWriter(str(out / f"{part}-%06d.tar"), maxcount=2, verbose=0) as sink:
            for scene in of_part(part):
                name = Path(scene["image"])
                about = {"bbox": scene["bbox"], "labels": scene["labels"]}
                sink.write({"__key__": name.stem.replace(".", "_"), name.suffix[1:]: picture(scene), "json": about})


def features(classes: bool) -> Any:
    """The columns of a data set of Hugging Face, with names of classes or their numbers."""
    import datasets

    category = datasets.ClassLabel(names=NAMES) if classes else datasets.Value("string")
    box = datasets.Sequence(datasets.Value("float32"), length=4)
    return datasets.Features({
        "image_id": datasets.Value("int64"), "image": datasets.Image(), "width": datasets.Value("int32"),
        "height": datasets.Value("int32"), "objects": datasets.Sequence({"bbox": box, "category": category}),
    })  # fmt: skip


@writes("image_parquet-datasets", "datasets")
def _(source: Path, out: Path) -> None:
    import datasets

    for part in PARTS:
        rows = [
            {"image_id": number, "image": str(source / part / scene["image"]), "width": scene["width"],
             "height": scene["height"], "objects": {"bbox": scene["bbox"], "category": scene["labels"]}}
            for number, scene in enumerate(of_part(part))
        ]  # fmt: skip
        found = datasets.Dataset.from_list(rows, features=features(classes=True))
        found = datasets.DatasetDict({part: found})[part]
        (out / "data").mkdir(exist_ok=True)
        embedded = found.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)
        embedded.with_format(None).to_parquet(str(out / "data" / f"{part}-00000-of-00001.parquet"))


def packed(folder: Path, name: str) -> None:
    """Pack the files of a folder, the same ones into the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", preset=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                info = tarfile.TarInfo(path.relative_to(folder).as_posix())
                data = path.read_bytes()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    (HERE / f"{name}.tar.xz").write_bytes(out.getvalue())
    print(f"{name}: {len(out.getvalue()):,} bytes")


def main(wanted: list[str]) -> None:
    """Write what is wanted, or all."""
    told = HERE / "versions.json"
    versions: dict[str, str] = json.loads(told.read_text("utf-8")) if told.exists() else {}
    (HERE / "scenes.json").write_text(json.dumps(SCENES, ensure_ascii=False, indent=1) + "\n", "utf-8")
    for name, (tool, write) in WRITERS.items():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as at:
            source, out = Path(at, "source"), Path(at, "out")
            source.mkdir(), out.mkdir()
            draw(source)
            try:
                write(source, out)
            except ModuleNotFoundError as error:
                print(f"{name}: {tool} is not installed ({error})")
                continue
            packed(out, name)
            versions[name] = f"{tool} {version(tool)}"
    told.write_text(json.dumps(dict(sorted(versions.items())), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
