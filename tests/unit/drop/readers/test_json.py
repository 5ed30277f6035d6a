"""Manifests that are one JSON array."""

import json
from pathlib import Path

from regioncap.drop.drop import read_rows
from regioncap.regions.codes import Code


def test_json_is_an_array_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps([{"image": "a", "bbox": [[1, 2, 3, 4]]}, 17]))
    good, bad = read_rows(path, "json", "bbox")
    assert good.value == {"image": "a", "bbox": [[1, 2, 3, 4]]}
    assert bad.fault is not None and bad.fault.code == Code.NOT_AN_OBJECT
