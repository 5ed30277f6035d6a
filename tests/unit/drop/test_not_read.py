"""Where a drop has nothing that is read, what else lies there is named, with what can be done."""

import json
from typing import Any

import pytest

from regioncap.drop.drop import contents
from regioncap.errors import DropError
from tests.builders import Place

SIDES = {"x": 1, "y": 2, "width": 30, "height": 40}
FILES: list[tuple[str, Any, str]] = [
    ("a/export.ZIP", "PK", "an archive: unpack it"),
    ("train/data-00000-of-00001.arrow", "x", "of Hugging Face's save_to_disk: "),
    ("train/metadata.csv", "file_name,text\n", "of an image folder: "),
    ("_annotations.createml.json", [{"image": "a.jpg", "annotations": [{"coordinates": SIDES}]}], "of CreateML: "),
    ("annotations/default.json", {"dm_format_version": "1.0", "items": []}, "of Datumaro: "),
    ("via.json", {"a.jpg1": {"filename": "a.jpg", "regions": [{"shape_attributes": SIDES}]}}, "of VIA: "),
    ("via.csv", "filename,region_shape_attributes\n", "of VIA: "),
    ("p.csv", 'id,image,label\n1,a.jpg,"[{""x"":1,""rectanglelabels"":[""dog""]}]"\n', "of Label Studio: "),
    ("train.json", {"metainfo": {}, "data_list": []}, "of MMDetection: "),
    ("ds/ann/a.jpg.json", {"objects": [{"geometryType": "rectangle"}]}, "of Supervisely: "),
    ("a.json", {"annotations": [{"bounding_box": {"h": 40, "w": 30, "x": 1, "y": 2}}]}, "of V7 Darwin: "),
    ("det.json", [{"name": "a.jpg", "labels": [{"box2d": {"x1": 1}}]}], "of BDD100K or Scalabel: "),
    ("export.ndjson", {"data_row": {"id": 1}}, "of Labelbox: "),
    ("d.ndjson", {"type": "dataset", "class_names": {}}, "of Ultralytics: "),
    ("train/_annotations.csv", "filename,width,xmin\n", "a table in a folder: "),
    (
        "annotations/a.txt",
        "684,8,273,116,0,0,0,0\n",
        "text, and does not begin as the labels of a format that is read do",
    ),
    ("stats.json", {"mean": 1}, "JSON, and does not begin as "),
    ("a/b.xml", "<dataset/>", "XML, and does not begin as "),
    ("lines.ndjson", {"image": "a.jpg"}, "JSON lines: call them .jsonl"),
    ("output.manifest", {"source-ref": "s3://b/a.jpg"}, "of SageMaker: "),
]


@pytest.mark.parametrize(("name", "content", "told"), FILES)
def test_what_is_not_read_is_named(place: Place, name: str, content: Any, told: str) -> None:
    place.put("a.jpg", b"x")
    place.put(name, content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DropError) as error:
        contents(place.drop, "auto")
    assert f". Not read is {name}, which is {told}" in str(error.value)


def test_an_archive_is_named_where_a_format_was_given(place: Place) -> None:
    place.put("annotations.zip", b"PK")
    with pytest.raises(DropError, match=r"Not read is annotations\.zip, which is an archive: unpack it"):
        contents(place.drop, "cvat")


def test_nothing_is_said_of_what_lies_beside_manifests(place: Place) -> None:
    place.put("a.zip", b"PK")
    place.put_rows({"image": "a.jpg", "coordinates": {"lat": 1, "lon": 2}})
    assert contents(place.drop, "auto").input_format == "jsonl"
