"""Text is text, whatever it is packed and written in: every reader that reads text makes the same rows of it."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pytest

from regioncap.drop.drop import Manifests, contents
from regioncap.regions.boxes import BoxFormat
from tests.builders import Place

NAMES = ["straße", "Ünal", "c"]
BOXES = [[12, 8, 60, 32], [24, 16, 36, 40]]  # of images of 120 x 80
ENDS = [(x, y, x + w, y + h) for x, y, w, h in BOXES]
CLASS = "dög"


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def lines(values: list[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def coco() -> dict[str, str]:
    boxes = [{"image_id": place, "category_id": 1, "bbox": box} for place in range(3) for box in BOXES]
    images = [{"id": place, "file_name": f"{name}.jpg"} for place, name in enumerate(NAMES)]
    return {"a/a.json": text({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": CLASS}]})}


def yolo() -> dict[str, str]:
    box = "".join(f"0 {(x + w / 2) / 120} {(y + h / 2) / 80} {w / 120} {h / 80}\n" for x, y, w, h in BOXES)
    return {**{f"labels/{name}.txt": box for name in NAMES}, "data.yaml": f"names:\n  0: {CLASS}\n"}


def voc() -> dict[str, str]:
    found = "".join(
        f"<object><name>{CLASS}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>\n"
        for x0, y0, x1, y1 in ENDS
    )
    return {
        f"Annotations/{name}.xml": f"<annotation>\n<filename>{name}.jpg</filename>\n{found}</annotation>\n"
        for name in NAMES
    }


def cvat() -> dict[str, str]:
    found = "".join(f'<box label="{CLASS}" xtl="{a}" ytl="{b}" xbr="{c}" ybr="{d}"/>\n' for a, b, c, d in ENDS)
    images = "".join(f'<image id="{place}" name="{name}.jpg">\n{found}</image>\n' for place, name in enumerate(NAMES))
    return {"annotations.xml": f"<annotations>\n{images}</annotations>\n"}


def label_studio() -> dict[str, str]:
    results = [
        {"type": "rectanglelabels", "value": {"x": x, "y": y, "width": w, "height": h, "rectanglelabels": [CLASS]}}
        for x, y, w, h in BOXES
    ]
    return {
        "p.json": text(
            [{"id": name, "data": {"image": f"{name}.jpg"}, "annotations": [{"result": results}]} for name in NAMES]
        )
    }


def labelme() -> dict[str, str]:
    shapes = [{"label": CLASS, "points": [[a, b], [c, d]], "shape_type": "rectangle"} for a, b, c, d in ENDS]
    return {f"{name}.json": text({"shapes": shapes, "imagePath": f"{name}.jpg"}) for name in NAMES}


def kitti() -> dict[str, str]:
    found = "".join(f"Dog_{CLASS} 0.0 0 -1.5 {a} {b} {c} {d} 1 1 1 1 1 1 1\n" for a, b, c, d in ENDS)
    return {f"label_2/{name}.txt": found for name in NAMES}


def open_images() -> dict[str, str]:
    found = "".join(f"{name},/m/0,0.1,0.5,0.1,0.5\n" for name in NAMES)
    return {
        "a-bbox.csv": f"ImageID,LabelName,XMin,XMax,YMin,YMax\n{found}",
        "class-descriptions.csv": f"/m/0,{CLASS}\n",
    }


def visual_genome() -> dict[str, str]:
    found = [{"object_id": 1, "x": x, "y": y, "w": w, "h": h, "names": [CLASS]} for x, y, w, h in BOXES]
    return {"objects.json": text([{"image_id": name, "objects": found} for name in NAMES])}


def image_folder() -> dict[str, str]:
    found = {"bbox": BOXES, "categories": [CLASS, "x"]}
    return {"metadata.jsonl": lines([{"file_name": f"{name}.jpg", "objects": found} for name in NAMES])}


def jsonl_any() -> dict[str, str]:
    found = [{"xmin": a, "ymin": b, "xmax": c, "ymax": d, "label": CLASS} for a, b, c, d in ENDS]
    return {"m.jsonl": lines([{"image": f"{name}.jpg", "bbox": found} for name in NAMES])}


def rows() -> list[dict[str, Any]]:
    return [{"image": f"{name}.jpg", "bbox": BOXES, "labels": [CLASS, None]} for name in NAMES]


def csv() -> dict[str, str]:
    quoted = (json.dumps(BOXES), json.dumps([CLASS, None], ensure_ascii=False).replace('"', '""'))
    return {"m.csv": "image,bbox,labels\n" + "".join(f'{name}.jpg,"{quoted[0]}","{quoted[1]}"\n' for name in NAMES)}


FORMATS: dict[str, Callable[[], dict[str, str]]] = {
    "coco": coco, "yolo": yolo, "voc": voc, "cvat": cvat, "label_studio": label_studio, "labelme": labelme,
    "kitti": kitti, "open_images": open_images, "visual_genome": visual_genome, "image_folder": image_folder,
    "jsonl_any": jsonl_any, "jsonl": lambda: {"m.jsonl": lines(rows())}, "json": lambda: {"m.json": text(rows())},
    "csv": csv,
}  # fmt: skip


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


# What becomes of the text, what stands behind the names of files, and in which encoding the run says that it is.
WRITTEN: dict[str, tuple[Callable[[str], bytes], str, str]] = {
    "CRLF": (lambda text: text.replace("\n", "\r\n").encode(), "", "utf-8"),
    "a mark before it": (lambda text: text.encode("utf-8-sig"), "", "utf-8"),
    "UTF-16": (lambda text: text.encode("utf-16"), "", "utf-8"),
    "UTF-16 as PowerShell writes it": (lambda text: text.replace("\n", "\r\n").encode("utf-16"), "", "utf-8"),
    "UTF-16 without a mark": (lambda text: text.encode("utf-16-be"), "", "utf-8"),
    "cp1252": (lambda text: text.encode("cp1252"), "", "cp1252"),
    "gb18030": (lambda text: text.encode("gb18030"), "", "gb18030"),
    "gzip": (lambda text: gzip.compress(text.encode()), ".gz", "utf-8"),
    "zstd": (lambda text: zstd(text.encode()), ".zst", "utf-8"),
    "xz": (lambda text: lzma.compress(text.encode()), ".xz", "utf-8"),
    "bzip2": (lambda text: bz2.compress(text.encode()), ".bz2", "utf-8"),
    "gzip of UTF-16": (lambda text: gzip.compress(text.encode("utf-16")), ".gz", "utf-8"),
    "gzip of cp1252": (lambda text: gzip.compress(text.encode("cp1252")), ".gz", "cp1252"),
}


def read(place: Place, input_format: str, encoding: str) -> list[dict[str, Any]]:
    box_format: BoxFormat = "xywh"
    with ExitStack() as stack:
        found = contents(place.drop, input_format)
        manifests = Manifests(place.drop, found, "image", "bbox", box_format, encoding, stack)
        values = [row.value for _, row in manifests.rows() if row.fault is None]
    return [value for value in values if value is not None]


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("input_format", FORMATS)
def test_the_same_rows_whatever_text_is_written_in(place: Place, input_format: str, how: str) -> None:
    write, ending, encoding = WRITTEN[how]
    files = FORMATS[input_format]()
    for name in NAMES:
        place.put(f"{name}.jpg", b"x")
    for name, written in files.items():
        place.put(name, written)
    expected = read(place, input_format, "utf-8")
    assert len(expected) == 3 and CLASS in json.dumps([row["labels"] for row in expected], ensure_ascii=False)
    for name, written in files.items():
        (place.drop_folder / name).unlink()
        place.put(name + ending, write(written))
        folder, slash, file = name.rpartition("/")
        for hidden in (f"{folder}{slash}._{file}", f"__MACOSX/{folder}{slash}._{file}"):
            place.put(hidden + ending, b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    assert read(place, input_format, encoding) == expected
    assert contents(place.drop, "auto").input_format == input_format


@pytest.mark.parametrize("encoding", ["cp1252", "gb18030", "utf-16", "utf-8"])
@pytest.mark.parametrize("input_format", ["voc", "cvat"])
def test_xml_that_says_its_encoding_is_in_that(place: Place, input_format: str, encoding: str) -> None:
    for name in NAMES:
        place.put(f"{name}.jpg", b"x")
    for name, written in FORMATS[input_format]().items():
        place.put(name, f'<?xml version="1.0" encoding="{encoding}"?>\n{written}'.encode(encoding))
    assert [row["labels"] for row in read(place, input_format, "shift_jis")] == [[CLASS, CLASS]] * 3


@pytest.mark.parametrize("input_format", ["yolo", "voc", "labelme", "kitti"])
def test_a_damaged_file_of_one_image_costs_itself(place: Place, input_format: str) -> None:
    for name in NAMES:
        place.put(f"{name}.jpg", b"x")
    for name, written in FORMATS[input_format]().items():
        packed = gzip.compress(written.encode())
        place.put(f"{name}.gz", packed[:-9] if "c." in name else packed)
    assert len(read(place, input_format, "utf-8")) == 2
