"""A build's folder, opened by `datasets` and by pyarrow."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.json
import pytest

from regioncap.regions.records import Record
from regioncap.report.features import features
from tests.builders import Place, describe, encoded, picture

BOXES = [[10, 10, 40, 30], [60, 20, 50, 50]]


@pytest.fixture
def build(place: Place) -> Path:
    """Three record files: lists that are empty in the first are not in the last, and numbers get decimals."""
    place.put("a.jpg", encoded(picture()))
    plain: list[dict[str, Any]] = [{"id": f"r{number}", "image": "a.jpg", "bbox": BOXES} for number in range(4)]
    odd = [
        {"id": "r4", "image": "a.jpg", "bbox": [BOXES[0], [5000, 5000, 9, 9], "no box"], "at": 1},
        {
            "id": "r5",
            "image": "a.jpg",
            "bbox": [[9.5, 10, 40.25, 30]],
            "labels": ["door"],
            "at": 2.5,
            "camera": {"a": 1},
        },
    ]
    place.put_rows(*plain, *odd)
    done = place.build(describe, shard_size=2, keep_fields=["*"]).manifest
    assert len(done.captions) == 3
    return Path(place.partition.uri.removeprefix("file://"), done.build)


def records_of(build: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for path in sorted(build.glob("captions-*")) for text in path.read_text().splitlines()]


def test_a_build_is_opened_whatever_its_first_rows_hold(build: Path, tmp_path: Path) -> None:
    opened = datasets.load_dataset(str(build), split="train", cache_dir=str(tmp_path / "cache"))
    assert [dict(row) for row in opened] == records_of(build)


def test_each_file_is_opened_by_pyarrow_by_itself(build: Path) -> None:
    for path in sorted(build.glob("captions-*"))[:2]:
        assert pyarrow.json.read_json(path).num_rows == 2


def test_every_field_of_a_record_has_a_type() -> None:
    told = features()
    assert [field["name"] for field in told] == list(Record.model_fields)
    types = datasets.Features._from_yaml_list(json.loads(json.dumps(told)))
    assert types["bbox"] == types["source"] == datasets.Json()
    assert types["width"] == datasets.Value("int64") and types["checks"] == datasets.List(datasets.Value("string"))
    assert types["normalized_bbox"] == datasets.List(datasets.List(datasets.Value("float64")))
    assert types["regions"].feature["bbox"] == datasets.List(datasets.Value("float64"))
    assert types["regions"].feature["label"] == datasets.Value("string")
