"""The docs' pictures of Airflow's UI: a run that ended green, the form of *Trigger*, a backfill, RegionCap's pages.

python docs/ui_pictures.py FOLDER
"""

import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, expect, sync_playwright

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.paths import INCLUDE
from deploy.local.stack import DAG, Stack
from tests.ui.airflow_pages import AirflowPages, becomes_green, logged_in, stack_with
from tests.ui.browser import launched

_DATE = "2026-10-05"
# With a gap, for a date that is skipped.
_PAST = ("2026-10-01", "2026-10-02", "2026-10-04")
_SKIPPED = "2026-10-03"
_CORRECTED = "a yellow circle with black stripes"
# A dialog is taken whole, and is narrower than its window.
_DIALOG: dict[str, Any] = {"viewport": {"width": 1280, "height": 1400}, "device_scale_factor": 1.5}
_PAGE: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "color_scheme": "dark"}


_ALL_SEEN = "[...document.images].every(i => i.getBoundingClientRect().top > innerHeight || i.complete)"


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
                _pages(ui, stack, folder)
            with logged_in(browser, stack, **_PHONE) as ui:
                _phone(ui, folder)


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


def _pages(ui: AirflowPages, stack: Stack, folder: Path) -> None:
    """From the navigation through all pages: a caption is corrected, and the next build compared with that before."""
    ui.page.get_by_role("link", name="Captions", exact=True).click()
    pages = ui.page.frame_locator("iframe")
    expect(pages.get_by_role("heading", name="From date to date")).to_be_visible()
    _take(ui.page, folder / "ui-datasets.png")
    pages.get_by_role("link", name=_DATE, exact=True).click()
    expect(pages.get_by_role("heading", name=f"Region captions, {_DATE}")).to_be_visible()
    _see_pictures(ui.page)
    _take(ui.page, folder / "ui-build.png")
    pages.get_by_role("link", name="Rejected rows", exact=True).click()
    pages.get_by_text("show", exact=True).first.click()
    _take(ui.page, folder / "ui-rejected.png")
    pages.get_by_role("link", name=_DATE, exact=True).click()
    pages.get_by_role("link", name="A sample", exact=True).click()
    expect(pages.get_by_role("button", name="Right")).to_be_visible()
    _see_pictures(ui.page)
    _take(ui.page, folder / "ui-sample.png")
    pages.get_by_role("link", name=_DATE, exact=True).click()
    pages.get_by_role("link", name="Gallery", exact=True).click()
    card = pages.get_by_role("article").first
    card.get_by_text("correct region 1").click()
    card.get_by_label("Caption").first.fill(_CORRECTED)
    card.get_by_label("Why").first.fill("it is not so large")
    _see_pictures(ui.page)
    _take(ui.page, folder / "ui-gallery.png")
    card.get_by_role("button", name="Save").first.click()
    expect(pages.get_by_role("article").first.locator(".pending")).to_contain_text(_CORRECTED)
    pages.get_by_role("link", name="All corrections of this date").click()
    expect(pages.get_by_role("heading", name="Corrections")).to_be_visible()
    _take(ui.page, folder / "ui-corrections.png")
    run_id = stack.api.trigger(DAG, {"drop_date": _DATE})
    ui.page.goto(f"{ui.url}/dags/{DAG}/runs/{run_id}")
    becomes_green(ui.task("publish"))
    pages = ui.open_captions(_DATE)
    pages.get_by_role("link", name="compare", exact=True).first.click()
    expect(pages.get_by_role("heading", name="Two builds")).to_be_visible()
    _see_pictures(ui.page)
    _take(ui.page, folder / "ui-compare.png")


def _phone(ui: AirflowPages, folder: Path) -> None:
    """The gallery by itself, as on a phone that likes it dark."""
    ui.page.goto(f"{ui.url}/regioncap/dates/{_DATE}")
    ui.page.get_by_role("link", name="Gallery", exact=True).click()
    _see_pictures(ui.page)
    _take(ui.page, folder / "ui-phone.png")


def _see_pictures(page: Page) -> None:
    """Wait for the pictures that are in sight, in whatever frame."""
    # Not `wait_for_function`: it evaluates text in the page, which the pages' policy does not allow.
    for frame in page.frames:
        while not frame.evaluate(_ALL_SEEN):
            page.wait_for_timeout(100)


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
