"""The README's pictures of a report: the sample drop with its true captions, in light and dark.

A few answers are spoilt, so that there is something to see: the demo model seldom errs.

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

from regioncap.regions.records import RenderedRow
from regioncap.storage.local import LocalStore
from tests.builders import DATE, ROOT, Place
from tests.ui.browser import launched

_WIDTH, _HEIGHT = 1180, 1770
_SPOILT = {"07.jpg": "cut short", "11.jpg": "one left out"}
_TWICE = "01.jpg"


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
    return folder / "warehouse" / f"dt={DATE}" / done.manifest.build / "report.html"


def _twice(line: str) -> dict[str, Any]:
    """A manifest's row with its first box given twice."""
    row = json.loads(line)
    return {**row, "bbox": [*row["bbox"], row["bbox"][0]]}


def main() -> None:
    """Take both pictures."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="regioncap-report-") as room, sync_playwright() as playwright:
        report = build(Path(room))
        with launched(playwright) as browser:
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme=scheme)
                page.goto(report.as_uri())
                out = folder / f"report-{scheme}.png"
                page.screenshot(path=out)
                page.close()
                with Image.open(out) as picture:
                    picture.convert("RGB").save(out, optimize=True)


if __name__ == "__main__":
    main()
