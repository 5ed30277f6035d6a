"""A build's folder, opened by `datasets`, pandas and pyarrow."""

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow.json
import pytest

from regioncap.regions.jsonl import line
from regioncap.regions.records import Record
from regioncap.report.features import features
from tests.builders import ROOT, Place, broken_rows, describe, encoded, picture

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


def test_the_example_of_the_documentation_opens_the_files_alone(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    page = (ROOT / "docs/publishing.md").read_text("utf-8").partition("### In tools that guess types")[2]
    example: dict[str, Any] = {"build": str(build)}
    exec(page.partition("```python\n")[2].partition("```")[0], example)
    assert [dict(row) for row in example["records"]] == records_of(build)


def test_each_file_is_opened_by_pyarrow_by_itself(build: Path) -> None:
    for path in sorted(build.glob("captions-*"))[:2]:
        assert pyarrow.json.read_json(path).num_rows == 2


def plain_and_full(build: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record in which nothing is said that need not be, and one in which all is, with numbers that have decimals."""
    plain, *_ = records_of(build)
    plain |= {"perceptual_hash": None, "source": None, "checks": [], "dropped_boxes": []}
    region = {"region": 1, "box_index": 0, "bbox": [9, 10, 40, 30], "caption": "a door", "corrected": False}
    plain["regions"] = [region | {"trust": None, "confused_with": None, "label": None}]
    full = plain | {"perceptual_hash": "0" * 64, "source": {"at": 2.5, "b": None}, "checks": ["x"], "corrected": True}
    full["dropped_boxes"] = [{"box_index": 1, "code": "outside"}]
    full["bbox"] = [[9.5, 10, 40, 30], "no box", {"x": 1}]
    full["regions"] = [
        region | {"bbox": [9.5, 10, 40, 30], "trust": number, "confused_with": 0, "label": "7"}
        for number in (0, 1, 0.25)
    ]
    return plain, full


@pytest.mark.parametrize("plain_first", [True, False])
def test_with_the_types_of_the_card_files_are_opened_by_themselves_too(
    build: Path, tmp_path: Path, plain_first: bool
) -> None:
    plain, full = plain_and_full(build)
    sources = full | {"source": {"at": "x"}}, full | {"source": {"c": True}}
    files = [[plain, plain], [full, *sources]] if plain_first else [[full, *sources], [plain, plain]]
    paths = []
    for number, held in enumerate(files):
        paths.append(str(tmp_path / f"captions-{number:05d}-of-00002.jsonl"))
        Path(paths[-1]).write_bytes(b"".join(map(line, held)))
    types = datasets.load_dataset_builder(str(build), cache_dir=str(tmp_path / "cache")).info.features
    opened = datasets.load_dataset(
        "json", data_files=paths, features=types, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [dict(row) for row in opened] == [record for held in files for record in held]
    frame = pd.concat(pd.read_json(path, lines=True, dtype=False) for path in paths)
    assert frame["regions"].tolist() == [record["regions"] for held in files for record in held]


def test_pyarrow_opens_a_large_file_in_one_block_whatever_its_first_rows_hold(build: Path, tmp_path: Path) -> None:
    plain, full = plain_and_full(build)
    path = tmp_path / "captions-00000-of-00001.jsonl"
    first = line(plain) * (2_000_000 // len(line(plain)))
    path.write_bytes(first + line(full | {"bbox": [[9.5, 10, 40, 30]]}))
    options = pyarrow.json.ReadOptions(block_size=path.stat().st_size)
    table = pyarrow.json.read_json(path, read_options=options)
    assert table.num_rows == first.count(b"\n") + 1
    assert table["regions"][-1].as_py() == full["regions"]


def test_rejected_rows_are_opened_whether_they_are_objects_or_text(place: Place, tmp_path: Path) -> None:
    expected = broken_rows(place)
    done = place.build(describe, shard_size=5).manifest
    path = Path(place.partition.uri.removeprefix("file://"), done.build, "rejected.jsonl")
    opened = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert dict(zip(opened["line"], opened["code"], strict=True)) == expected.codes
    assert len(pd.read_json(path, lines=True, dtype=False)) == len(expected.codes)


def test_every_field_of_a_record_has_a_type() -> None:
    told = features()
    assert [field["name"] for field in told] == list(Record.model_fields)
    types = datasets.Features._from_yaml_list(json.loads(json.dumps(told)))
    assert types["bbox"] == types["source"] == datasets.Json()
    assert types["width"] == datasets.Value("int64") and types["checks"] == datasets.List(datasets.Value("string"))
    assert types["normalized_bbox"] == datasets.List(datasets.List(datasets.Value("float64")))
    assert types["regions"].feature["bbox"] == datasets.List(datasets.Value("float64"))
    assert types["regions"].feature["label"] == datasets.Value("string")
