"""`try.html` in a real browser: hostile text stays text, and rows stand side by side."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from regioncap.regions.codes import Code
from regioncap.report.trial import MarksRead, Tried, TriedRow, render_trial
from tests.builders import encoded, picture, settings
from tests.hostile import HOSTILE
from tests.pages import judged, record, rejected


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial of two sets that has hostile text wherever there is text."""
    folder = tmp_path_factory.mktemp("tried")
    everything = "\n".join(HOSTILE)
    sets = []
    for name in ("A", everything):
        params = {**settings().model_dump(mode="json"), "prompt": f"{name} {everything}"}
        rows = {
            (everything if number else "manifest.jsonl", number + 1): TriedRow(
                record(number, text, f"{text} {name}", image=text, checks=[text[:100]]),
                encoded(picture()),
                (10, 5),
                1.5,
            )
            for number, text in enumerate(HOSTILE)
        }
        rows["x", 1] = TriedRow(rejected(1, Code.CUT_OFF, manifest=everything, reason=everything), encoded(picture()))
        stops = everything if name != "A" else None
        sets.append(Tried(name, params, rows, 3.0, stops, judged(judge=everything), [everything]))
    marks = [MarksRead(style, size, 3, 8) for style in ("box", "corners") for size in ("half size", "as it is")]
    path = folder / "try.html"
    path.write_text(render_trial(everything, everything, sets, marks, 0.4), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_text_runs_nowhere_and_the_rows_stand_side_by_side(browser: Browser, page: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    shown = context.new_page()
    requests: list[str] = []
    errors: list[str] = []
    shown.on("request", lambda made: requests.append(made.url))
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("console", lambda said: errors.append(said.text))
    shown.goto(page.as_uri())
    assert [url for url in requests if not url.startswith("data:image/jpeg;base64,")] == [page.as_uri()]
    assert errors == [] and shown.evaluate("window.ran") is None
    assert shown.locator("script, iframe, object, embed, base, form, input, link, [style], [onclick]").count() == 0
    assert shown.locator(".row").count() == len(HOSTILE) + 1
    assert shown.locator(".row").first.locator(".tried").count() == 2
    assert "38\N{NO-BREAK SPACE}%" in shown.inner_text("#marks")
    assert shown.locator(".row h3", has_text="1 caption differs").count() == len(HOSTILE)
    assert shown.locator(".row .card li", has_text="trust 0.98").count() == 2 * 2 * len(HOSTILE)
    assert "95 % interval" in shown.inner_text("#differs")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    pictures = shown.locator("article img")
    # Those further down are loaded when they are scrolled to.
    load = (
        "image => { image.loading = 'eager'; return image.decode().then(() => image.naturalWidth > 0, () => false); }"
    )
    assert all(pictures.evaluate_all(f"images => Promise.all(images.map({load}))"))
    context.close()
