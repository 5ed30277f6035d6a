"""An image is forgotten in real buckets: images are copied within them, and the manifest is swapped conditionally."""

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from regioncap.cli.app import app
from regioncap.regions.records import RenderedRow
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.manifest import current
from regioncap.warehouse.whole import problems
from tests.builders import DATE, Place, read_whole
from tests.steps import records

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def say(row: RenderedRow) -> str:
    return "\n".join(f"<region{region.region}>: a red door of {row.image}" for region in row.regions)


@pytest.fixture
def place(service: "S3Client", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A drop in a folder, with a work area and a warehouse in a bucket."""
    place = Place(tmp_path)
    root = f"tests/{uuid.uuid4().hex}"

    def opened(uri: str) -> S3Store:
        return S3Store(service, "warehouse", uri.removeprefix("s3://warehouse").strip("/"))

    place.warehouse = opened(root)  # type: ignore[assignment]
    place.work, place.partition = opened(f"{root}/_work/dt={DATE}"), opened(f"{root}/dt={DATE}")  # type: ignore[assignment]
    monkeypatch.setattr("regioncap.cli.forget.open_warehouse", opened)
    return place


def test_in_a_bucket_nothing_is_left_of_it_and_every_build_is_whole(place: Place) -> None:
    place.good_rows(4)
    for seed in range(2):
        place.build(say, answer_format="free_text", shard_size=2, seed=seed, export_formats=["csv"])
    marked = [record["image_with_bbox"] for record in records(place) if record["image"] == "2.jpg"]
    done = CliRunner().invoke(app, ["forget", "2.jpg", "--delete", "--warehouse-uri", place.warehouse.uri])
    assert done.exit_code == 0, done.stderr
    manifest, _ = current(place.partition)
    assert manifest is not None and len(manifest.history) == 1 and read_whole(place.partition) == manifest.build_id
    assert list(problems(place.partition, manifest, read=True)) == []
    assert [record["image"] for record in records(place)] == ["0.jpg", "1.jpg", "3.jpg"]
    for entry in place.warehouse.list():
        assert Path(entry.path).name not in {Path(name).name for name in marked}, entry.path
        assert b"2.jpg" not in place.warehouse.read(entry.path), entry.path
    changed = place.plan(seed=1, answer_format="free_text", max_attempts=1, max_rejected_ratio=1, shard_size=2)
    assert changed.rejected == 1
    assert json.loads(place.work.read(f"plans/{changed.plan_id}/rejected.jsonl"))["code"] == "forgotten"
