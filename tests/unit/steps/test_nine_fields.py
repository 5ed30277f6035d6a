"""The original pipeline's nine fields are the same, whatever the format of the drop's manifests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.builders import ORIGINAL_FIELDS, Place, describe, encoded, picture

SIZE = 120, 80
ROWS: dict[str, list[list[int]]] = {"a.jpg": [[10, 10, 40, 30], [60, 20, 50, 50]], "b.jpg": [[5, 5, 70, 60]]}


def rows() -> list[dict[str, Any]]:
    return [{"image": image, "bbox": boxes} for image, boxes in ROWS.items()]


def corners(box: list[int]) -> list[int]:
    x, y, width, height = box
    return [x, y, x + width, y + height]


def put_json(place: Place) -> None:
    place.put("manifest.json", json.dumps(rows()))


def put_csv(place: Place) -> None:
    pd.DataFrame({"image": list(ROWS), "bbox": [json.dumps(boxes) for boxes in ROWS.values()]}).to_csv(
        place.drop_folder / "manifest.csv", index=False
    )


def put_parquet(place: Place) -> None:
    pd.DataFrame(rows()).to_parquet(place.drop_folder / "manifest.parquet")


def put_text(place: Place) -> None:
    place.put_rows(*({"image": image, "bbox": json.dumps(boxes)} for image, boxes in ROWS.items()))


def put_a_box_a_line(place: Place) -> None:
    place.put_rows(*({"image": image, "bbox": box} for image, boxes in ROWS.items() for box in boxes))


def put_objects(place: Place) -> None:
    place.put_rows(*(
        {"image": image, "bbox": [{"bbox": box, "label": "thing"} for box in boxes]} for image, boxes in ROWS.items()
    ))  # fmt: skip


def put_coco(place: Place) -> None:
    numbers = {image: number for number, image in enumerate(ROWS, start=1)}
    boxes = [(numbers[image], box) for image, boxes in ROWS.items() for box in boxes]
    place.put("coco.json", json.dumps({
        "images": [{"id": k, "file_name": image, "width": SIZE[0], "height": SIZE[1]} for image, k in numbers.items()],
        "annotations": [
            {"id": k, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for k, (image, box) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }))  # fmt: skip


def put_labelme(place: Place) -> None:
    for image, boxes in ROWS.items():
        shapes = [
            {"label": "thing", "shape_type": "rectangle", "points": [corners(box)[:2], corners(box)[2:]]}
            for box in boxes
        ]
        said = {"imagePath": image, "imageWidth": SIZE[0], "imageHeight": SIZE[1], "imageData": None, "shapes": shapes}
        place.put(f"{Path(image).stem}.json", json.dumps({"version": "5.4.1", "flags": {}, **said}))


def put_cvat(place: Place) -> None:
    images = []
    for number, (image, boxes) in enumerate(ROWS.items()):
        drawn = [
            '<box label="thing" source="manual" occluded="0" xtl="{}" ytl="{}" xbr="{}" ybr="{}" z_order="0"/>'.format(
                *corners(box)
            )
            for box in boxes
        ]
        size = f'width="{SIZE[0]}" height="{SIZE[1]}"'
        images.append(f'<image id="{number}" name="{image}" {size}>{"".join(drawn)}</image>')
    place.put("annotations.xml", f"<annotations><version>1.1</version>{''.join(images)}</annotations>")


FORMATS: dict[str, tuple[str, Callable[[Place], None]]] = {
    "json": ("json", put_json),
    "csv": ("csv", put_csv),
    "parquet": ("parquet", put_parquet),
    "boxes as text": ("jsonl_any", put_text),
    "a box a line": ("jsonl_any", put_a_box_a_line),
    "boxes as objects": ("jsonl_any", put_objects),
    "coco": ("coco", put_coco),
    "labelme": ("labelme", put_labelme),
    "cvat": ("cvat", put_cvat),
}


def records_of(place: Place, **changes: Any) -> list[dict[str, Any]]:
    for image in ROWS:
        place.put(image, encoded(picture(*SIZE)))
    place.build(describe, **changes)
    return [json.loads(text) for text in place.published("captions-00000-of-00001.jsonl").splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_the_nine_fields_are_those_of_rows_of_our_own(tmp_path: Path, name: str) -> None:
    input_format, put = FORMATS[name]
    ours, theirs = Place(tmp_path / "ours"), Place(tmp_path / "theirs")
    ours.put_rows(*rows())
    put(theirs)
    expected, found = records_of(ours), records_of(theirs, input_format=input_format)
    assert len(found) == len(ROWS)
    for record, other in zip(expected, found, strict=True):
        assert list(other)[:9] == ORIGINAL_FIELDS
        assert [other[name] for name in ORIGINAL_FIELDS if name != "bbox"] == [
            record[name] for name in ORIGINAL_FIELDS if name != "bbox"
        ]
        # As given: in the format's own numbers, which are corners in some. What is marked is the same.
        assert [region["bbox"] for region in other["regions"]] == [region["bbox"] for region in record["regions"]]
        assert len(other["bbox"]) == len(record["bbox"])
