"""Reads what RegionCap hands out to Label Studio and CVAT with their libraries, changes captions, and writes them back.

    PYTHONPATH=plugins:. python -m tests.unit.exports.handed tests/data/handed_out      (what RegionCap hands out)
    python make.py

the second in an environment of its own with datumaro 1.13 and label-studio-sdk 2.1. What comes back is in
`label_studio-back.json` and `cvat-back.xml`, as these libraries write it.
"""

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import datumaro as dm
import numpy as np
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import TaskValue

HERE = Path(__file__).resolve().parent
# What the annotator writes instead of these captions.
INSTEAD = {
    "a red door": 'a "blue" door & <frame>',
    "1": "一只灰色的猫",
    "=1+1, it's a sum 😀": "two signs",
}


def by_label_studio() -> None:
    """Look at the tasks as Label Studio does, and write them as it exports them."""
    config = (HERE / "interface.xml").read_text("utf-8")
    interface = LabelInterface(config)
    interface.validate()
    tasks: list[dict[str, Any]] = json.loads((HERE / "label_studio.json").read_text("utf-8"))
    read = list(Converter(config, str(HERE)).iter_from_json_file(str(HERE / "label_studio.json")))
    assert [item["id"] for item in read] == [task["id"] for task in tasks]
    for task, item in zip(tasks, read, strict=True):
        for annotation in task["annotations"]:
            assert interface.validate_prediction(annotation, return_errors=True) == []
            assert interface.validate_annotation(annotation)
        results = [result for annotation in task["annotations"] for result in annotation["result"]]
        by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for result in results:
            by_name[result["from_name"]].append(result["value"])
        for name, values in item["output"].items():
            assert [value.items() >= given.items() for value, given in zip(values, by_name[name], strict=True)]
        for result in results:
            if result["type"] == "textarea":
                result["value"]["text"] = [INSTEAD.get(text, text) for text in result["value"]["text"]]
        # As the server does, of whoever imports.
        for annotation in task["annotations"]:
            annotation["completed_by"] = 1
    exported = [
        {"id": task["id"], **TaskValue.model_validate(task).model_dump(exclude={"predictions"})} for task in tasks
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "tasks.json")
        source.write_text(json.dumps(exported, ensure_ascii=False), "utf-8")
        Converter(config, folder).convert_to_json(str(source), folder, is_dir=False)
        (HERE / "label_studio-back.json").write_bytes(Path(folder, "result.json").read_bytes())


def by_datumaro() -> None:
    """Read CVAT's XML, and write it."""
    with tempfile.TemporaryDirectory() as folder:
        source, to = Path(folder, "source"), Path(folder, "to")
        source.mkdir()
        handed_out = (HERE / "cvat.xml").read_bytes()
        (source / "default.xml").write_bytes(handed_out)
        # It wants every image to be there.
        for image in ElementTree.fromstring(handed_out).iter("image"):
            path = source / "images" / image.attrib["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((int(image.attrib["height"]), int(image.attrib["width"]), 3), np.uint8))
        dataset = dm.Dataset.import_from(str(source), "cvat")
        for item in dataset:
            for box in item.annotations:
                caption = str(box.attributes["caption"])
                box.attributes["caption"] = INSTEAD.get(caption, caption)
        dataset.export(str(to), "cvat", save_media=False)
        (written,) = to.rglob("*.xml")
        (HERE / "cvat-back.xml").write_bytes(written.read_bytes())


if __name__ == "__main__":
    by_label_studio()
    by_datumaro()
