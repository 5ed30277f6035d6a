"""`report.html` in a real browser: hostile text stays text, and the page can be read everywhere."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from regioncap.marks.palette import luminance
from regioncap.regions.records import RenderedRow
from tests.builders import Place, encoded, picture
from tests.hostile import HOSTILE
from tests.pages import page_of, record, rows_that_say

# A phone, and a laptop's window.
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
# All that stands in each colour, and on what.
_COLOURS = """elements => elements.map(element => {
    const ground = element => element ? getComputedStyle(element).backgroundColor : 'rgb(255, 255, 255)'
    let behind = element
    while (ground(behind) === 'rgba(0, 0, 0, 0)') behind = behind.parentElement
    return [getComputedStyle(element).color, ground(behind), element.innerText]
})"""
_TOUCH = """elements => elements.forEach(element => ['mouseover', 'focus', 'click'].forEach(
    kind => element.dispatchEvent(new MouseEvent(kind, {bubbles: true}))))"""


@dataclass
class Seen:
    """A page, and what happened while it was opened."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="session", params=["a build", "every place"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a build whose model says hostile things; a page that has hostile text wherever there is text."""
    folder = tmp_path_factory.mktemp("hostile")
    return hostile_build(folder) if request.param == "a build" else hostile_page(folder)


def hostile_build(folder: Path) -> Path:
    place = Place(folder)
    evil = '<img src=x onerror="alert(1)">\u202e{{ x }}.jpg'
    place.put(evil, encoded(picture()))
    rows: list[Any] = [{"id": f"{n} {text}", "image": evil, "bbox": [[n, 9, 40, 30]]} for n, text in enumerate(HOSTILE)]
    place.put_rows(*rows, *HOSTILE, *({"image": text} for text in HOSTILE), name="<script>alert(1)<&script>.jsonl")
    said = iter(HOSTILE)

    def say(row: RenderedRow) -> str:
        return json.dumps({"<region1>": next(said)})

    prompt = "<script>alert(1)</script> ``` \u202e " + "unbroken" * 100
    done = place.build(say, model="<b onclick=alert(1)>model</b>", prompt=prompt, system_prompt=prompt)
    return Path(place.partition.uri.removeprefix("file://"), done.manifest.build, "report.html")


def hostile_page(folder: Path) -> Path:
    everything = "\n".join(HOSTILE)
    statistics = rows_that_say(everything)
    for number, text in enumerate(HOSTILE, start=10):
        statistics.add(record(number, *[text] * 13, image=text, checks=[text[:100]] * (number % 2)))
    path = folder / "report.html"
    path.write_text(page_of(statistics, everything), encoding="utf-8")
    return path


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WIDTHS)
def seen(request: pytest.FixtureRequest, browser: Browser, report: Path, scheme: str) -> Iterator[Seen]:
    context = browser.new_context(viewport={"width": request.param, "height": 900}, color_scheme=scheme)
    seen = Seen(context.new_page())
    seen.page.on("request", lambda made: seen.requests.append(made.url))
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("console", lambda said: seen.errors.append(said.text))
    seen.page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    seen.page.goto(report.as_uri())
    yield seen
    context.close()


def test_hostile_text_runs_nowhere_and_fetches_nothing(seen: Seen, report: Path) -> None:
    page = seen.page
    # Whatever waits for a pointer gets one.
    page.locator("img, bdi").evaluate_all(_TOUCH)
    page.wait_for_timeout(200)
    assert [url for url in seen.requests if not url.startswith("data:image/jpeg;base64,")] == [report.as_uri()]
    assert (seen.errors, seen.dialogs) == ([], [])
    assert page.evaluate("window.ran") is None
    assert (
        page.locator("script, iframe, object, embed, base, form, input, link, [style], [onclick], [onerror]").count()
        == 0
    )
    assert page.locator("a:not([href^='#'])").count() == 0
    assert page.locator("style").count() == 1
    assert page.url == report.as_uri()


def test_the_page_says_all_of_it_as_text(seen: Seen) -> None:
    text = seen.page.inner_text("body")
    assert "<script>window.ran = 1; alert(1)</script>" in text
    assert "{{ 7 * 7 }}" in text and "[U+202E]" in text


def test_every_picture_is_there(seen: Seen) -> None:
    pictures = seen.page.locator("article img")
    assert pictures.count() > 0
    assert pictures.evaluate_all("images => images.every(image => image.complete && image.naturalWidth > 0)")


def test_nothing_is_wider_than_its_place(seen: Seen) -> None:
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = "elements => elements.filter(element => element.scrollWidth > element.clientWidth + 1).length"
    assert seen.page.locator("article, .panel, .number, header, .notice").evaluate_all(wide) == 0


def test_text_stands_out_from_what_is_behind_it(seen: Seen) -> None:
    """At least 4.5 to 1, as WCAG 2 asks for."""
    shown = seen.page.locator("h1, h2, p, b, li bdi, td, dd, dt, code, a").evaluate_all(_COLOURS)
    assert shown
    faint = {(ink, paper) for ink, paper, text in shown if text.strip() and contrast(ink, paper) < 4.5}
    assert faint == set()


def test_how_many_captions_are_wrong_is_said_first(seen: Seen) -> None:
    numbers = seen.page.locator(".numbers .number")
    said = numbers.first.inner_text()
    assert "not judged" in said or ("95 % interval" in said and "questions" in said)
    places = numbers.evaluate_all("elements => elements.map(element => element.getBoundingClientRect().top)")
    assert min(places) == places[0]
    # Before what became of the rows, and seen without a look at colours alone.
    assert seen.page.locator("section").first.get_attribute("id") == "trust"


def test_captions_are_in_the_colours_of_their_marks(seen: Seen) -> None:
    chip = seen.page.locator(".captions .m1 b").first
    caption = seen.page.locator(".captions .m1 bdi").first
    assert chip.evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(230, 25, 75)"
    assert caption.evaluate("element => getComputedStyle(element).borderLeftColor") == "rgb(230, 25, 75)"


def test_the_page_prints(seen: Seen) -> None:
    printed = seen.page.pdf(format="A4")
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") > 1
    seen.page.emulate_media(media="print")
    assert not seen.page.locator("nav").is_visible()
    ((ink, paper, _),) = seen.page.locator("h1").evaluate_all(_COLOURS)
    assert paper == "rgb(255, 255, 255)" and contrast(ink, paper) > 4.5


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(rgb(one)), luminance(rgb(other))), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def rgb(colour: str) -> tuple[int, int, int]:
    """`rgb(1, 2, 3)` as numbers."""
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return red, green, blue
