"""What a person sees of `make demo`, on the running stack."""

from pathlib import Path

import pytest
from datasets import load_dataset

from deploy.local.demo import build, summary
from deploy.local.drops import fetch_partition
from tests.builders import ROOT
from tests.e2e.conftest import Rig

pytestmark = pytest.mark.timeout(1800)


def test_a_build_is_followed_and_summed_up(rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig.upload(ROOT / "include" / "drops" / "2026-10-06", "2026-10-06")
    exports = {"export_formats": ["parquet", "hf"], "export_images": "original"}
    published = build(rig.stack, "2026-10-06", {"temperature": 0, **exports})
    assert published is not None and not published["unchanged"]
    manifest = fetch_partition(rig.store("2026-10-06"), tmp_path)
    summary(manifest, "s3://warehouse/x", tmp_path, unchanged=False)
    shown = capsys.readouterr().out
    assert "images marked" in shown and "questions answered" in shown
    assert "<region1>" in shown
    assert "duplicate_id (1)" in shown
    assert "wrong captions, by estimate: " in shown
    report = tmp_path / manifest.build / "report.html"
    assert report.exists() and str(report) in shown.replace("\n", "")
    assert (tmp_path / manifest.build / "exports/parquet/captions-00000-of-00001.parquet").exists()
    opened = load_dataset(str(tmp_path / manifest.build / "exports/hf"), split="train", cache_dir=str(tmp_path))
    assert [image.size for image in opened["image"]] == list(zip(opened["width"], opened["height"], strict=True))
    assert len(opened) == manifest.counts.captioned


def test_a_failed_build_shows_the_reason(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(rig.stack, "1999-01-01", {}) is None
    shown = capsys.readouterr().out
    assert "wait_for_drop failed" in shown
    assert "there is no drop at s3://drops/1999-01-01: upload it there" in shown.replace("\n", "")
