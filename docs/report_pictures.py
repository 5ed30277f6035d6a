"""The docs' pictures of a report: the sample drop with its true captions, in light and dark.

A few answers are spoilt and a few captions mixed up, so that there is something to see: the demo model seldom errs.
What a listener says of them is made up here; what follows from it is not.

python docs/report_pictures.py FOLDER
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from regioncap.regions.records import Record, Rejected, RenderedRow
from regioncap.report.figures import Statistics, load_report
from regioncap.report.judged import to_be_warned_of
from regioncap.report.page import render_page
from regioncap.storage.local import LocalStore
from regioncap.trust.estimate import estimate
from regioncap.trust.questions import Kind
from regioncap.trust.scores import Scored
from regioncap.warehouse.reader import Build
from tests.builders import DATE, ROOT, Place
from tests.ui.browser import launched

_WIDTH, _HEIGHT = 1180, 1770
_SPOILT = {"07.jpg": "cut short", "11.jpg": "one left out"}
_TWICE = "01.jpg"
# Images whose first two regions got each other's captions.
_MIXED_UP = ("13.jpg", "36.jpg")
_KINDS: dict[Kind, int] = {"neighbour": 3, "foreign": 3, "attribute": 3, "generic": 2, "merged": 2}


class _Drop(LocalStore):
    """The drop's folder, named as if it were in the demo's bucket."""

    @property
    def uri(self) -> str:
        return f"s3://drops/{DATE}"


def build(folder: Path) -> Path:
    """Build the sample drop in `folder`; returns the report."""
    place = Place(folder)
    shutil.copytree(ROOT / "include" / "drops" / DATE, place.drop_folder, dirs_exist_ok=True)
    place.drop = _Drop(place.drop_folder)
    manifest = [line.decode() for line in place.drop.read("manifest.jsonl").splitlines()]
    place.put_rows(*(_twice(line) if _TWICE in line else line for line in manifest))
    truth = json.loads((ROOT / "include" / "drops" / "truth" / f"{DATE}.json").read_text(encoding="utf-8"))

    def say(row: RenderedRow) -> str:
        said = {f"<region{box.region}>": truth[row.image][box.box_index % len(truth[row.image])] for box in row.regions}
        if _SPOILT.get(row.image) == "one left out":
            said.popitem()
        text = json.dumps(said)
        return text[:40] if _SPOILT.get(row.image) == "cut short" else text

    done = place.build(say, model="regioncap-demo", drops_uri="s3://drops", warehouse_uri="s3://warehouse")
    page = folder / "warehouse" / f"dt={DATE}" / done.manifest.build / "report.html"
    page.write_text(_judged_page(Build(done.manifest, place.partition)), encoding="utf-8")
    return page


def _judged_page(build: Build) -> str:
    """The build's report as it is where a listener was asked about its captions."""
    statistics, scores = Statistics(), list[Scored]()
    for data in build.records():
        record, told = _heard(Record.model_validate(data))
        statistics.add(record)
        scores += told
    for data in build.rejected():
        statistics.add_rejected(Rejected.model_validate(data))
    report = load_report(LocalStore(Path(build.uri.removeprefix("file://")).parent), build.manifest)
    assert report is not None
    judged = estimate(
        scores, regions=statistics.counts.regions, asked=sum(score.kind != "neighbour" for score in scores), how="all",
        judge=report.model, same_model=True,
    )  # fmt: skip
    told_of = {
        "judged": judged,
        "doubted_captions": statistics.doubted_captions,
        "quality": statistics.quality(judged),
        "warnings": [*to_be_warned_of(judged), *report.warnings],
    }
    return render_page(
        report.model_copy(update=told_of), statistics.samples, lambda path: build.image({"image_with_bbox": path})
    )


def _heard(record: Record) -> tuple[Record, list[Scored]]:
    """A record with what a listener makes of its captions, and of planted ones."""
    regions, scores = [], []
    for region in record.regions:
        mixed_up = record.image in _MIXED_UP and region.region <= 2
        trust, other = (0.03, 3 - region.region) if mixed_up else (0.97, None)
        regions.append(region.model_copy(update={"trust": trust, "confused_with": other}))
        scores.append(Scored(record.id, region.region, "own", region.caption, trust, other))
        for number, (kind, one_in) in enumerate(_KINDS.items()):
            if (region.region + number) % one_in == 0:
                missed = kind in ("attribute", "generic") and region.region % 5 == 0
                taken_for = 1 + region.region % len(record.regions) if kind == "neighbour" else 0
                found = (0.9, None) if missed else (0.02, taken_for)
                scores.append(Scored(record.id, region.region, kind, region.caption, *found))
    return record.model_copy(update={"regions": regions}), scores


def _twice(line: str) -> dict[str, Any]:
    """A manifest's row with its first box given twice."""
    row = json.loads(line)
    return {**row, "bbox": [*row["bbox"], row["bbox"][0]]}


def _smaller(path: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("RGB").save(path, optimize=True)


def main() -> None:
    """Take the pictures."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="regioncap-report-") as room, sync_playwright() as playwright:
        report = build(Path(room))
        with launched(playwright) as browser:
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme=scheme)
                page.goto(report.as_uri())
                out = folder / f"report-{scheme}.png"
                page.screenshot(path=out)
                trust = folder / f"report-trust-{scheme}.png"
                page.locator("#trust").screenshot(path=trust)
                page.close()
                _smaller(trust)
                _smaller(out)


if __name__ == "__main__":
    main()
