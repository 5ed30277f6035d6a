"""The docs' pictures of Airflow's UI: a run that ended green, its pages, the form of *Trigger*, a backfill.

python docs/ui_pictures.py FOLDER
"""

import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, expect, sync_playwright

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.paths import INCLUDE
from tests.ui.airflow_pages import AirflowPages, becomes_green, logged_in, stack_with
from tests.ui.browser import launched

_DATE = "2026-10-05"
# With a gap, for a date that is skipped.
_PAST = ("2026-10-01", "2026-10-02", "2026-10-04")
_SKIPPED = "2026-10-03"
# A dialog is taken whole, and is narrower than its window.
_DIALOG = {"viewport": {"width": 1280, "height": 1400}, "device_scale_factor": 1.5}
_PAGE = {"viewport": {"width": 1280, "height": 800}}


def main() -> None:
    """Take all pictures."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="regioncap-ui-") as room:
        drops = {_DATE: INCLUDE / "drops" / _DATE, **_small_drops(Path(room))}
        with (
            stack_with(drops, Path(room, "stack")) as stack,
            sync_playwright() as playwright,
            launched(playwright) as browser,
        ):
            with logged_in(browser, stack, **_DIALOG) as ui:
                _backfill(ui, folder)
                _form(ui, folder)
            with logged_in(browser, stack, **_PAGE) as ui:
                _run(ui, folder)
                _build(ui, folder)


def _small_drops(room: Path) -> dict[str, Path]:
    """Drops for the backfill, and for last night: Airflow starts its run by itself once the DAG has run."""
    last_night = datetime.now(UTC).date() - timedelta(days=1)
    drops = {date: room / date for date in (*_PAST, last_night.isoformat())}
    for seed, drop in enumerate(drops.values()):
        write_drop(drop, list(evaluation_rows(seed, 8)))
    return drops


def _backfill(ui: AirflowPages, folder: Path) -> None:
    form = ui.open_form()
    form.choose_backfill(_PAST[0], _PAST[-1])
    form.dialog.get_by_text("4 runs will be triggered.").wait_for()
    _take(form.dialog, folder / "ui-backfill.png")
    form.run_backfill.click()
    form.dialog.wait_for(state="hidden")
    ui.open_runs()
    for date in (*_PAST, _SKIPPED):
        becomes_green(ui.run(date))


def _form(ui: AirflowPages, folder: Path) -> None:
    form = ui.open_form()
    form.fill("Drop date", _DATE)
    _take(form.dialog, folder / "ui-trigger.png")
    form.open_group("Boxes")
    _take(form.dialog, folder / "ui-settings.png")
    form.trigger.click()
    form.dialog.wait_for(state="hidden")
    becomes_green(ui.task("publish"))


def _run(ui: AirflowPages, folder: Path) -> None:
    """The manual run's page, with the grid of all runs beside it, once there is none under way."""
    ui.open_dag()
    expect(ui.page.get_by_text(re.compile("^0 of "))).to_be_visible(timeout=300_000)
    ui.open_run("manual")
    ui.page.get_by_role("button", name="Expand all task groups").click()
    _widen(ui.page)
    _take(ui.page, folder / "ui-run.png")


def _build(ui: AirflowPages, folder: Path) -> None:
    """From the navigation to a build's page, to its gallery with a form that is open, and to a person's sample."""
    pages = ui.open_captions(_DATE)
    _take(ui.page, folder / "ui-build.png")
    pages.get_by_role("link", name="Gallery", exact=True).click()
    card = pages.get_by_role("article").first
    card.get_by_text("correct region 1").click()
    card.get_by_label("Why").first.fill("it is not so large")
    _take(ui.page, folder / "ui-gallery.png")
    pages.get_by_role("link", name=_DATE, exact=True).click()
    pages.get_by_role("link", name="A sample", exact=True).click()
    expect(pages.get_by_role("button", name="Right")).to_be_visible()
    _take(ui.page, folder / "ui-sample.png")


def _widen(page: Page) -> None:
    """Give the grid the room that all its runs need."""
    bar = page.get_by_role("separator").bounding_box()
    assert bar is not None
    page.mouse.move(bar["x"] + 1, bar["y"] + 600)
    page.mouse.down()
    page.mouse.move(bar["x"] + 90, bar["y"] + 600, steps=5)
    page.mouse.up()


def _take(shown: Page | Locator, out: Path) -> None:
    shown.screenshot(path=out, animations="disabled")
    with Image.open(out) as picture:
        # A dialog's corners are round, with the page behind them.
        inner = ImageOps.crop(picture.convert("RGB"), 8 if isinstance(shown, Locator) else 0)
        inner.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main()
