"""RegionCap's pages in a real browser, served by themselves: what a person does in them, and who can use them."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from regioncap.airflow import page_rights
from regioncap.airflow.links import ROOT
from regioncap.airflow.page_rights import may_read, may_trigger, token_of
from regioncap.airflow.pages import create_app, drop_of, run_of, runs_under_way, warehouse
from regioncap.pages.render import UnderWay
from regioncap.storage import patience
from regioncap.storage.local import LocalStore
from regioncap.warehouse.corrections import corrections_of
from tests.builders import DATE, Place, encoded, picture, publish_each
from tests.ui.browser import AXE

# The machine may have much else to do.
_PAGE_SECONDS = 240

HOSTILE = '<script>document.title="mine"</script>"><img src="https://elsewhere.example/x" onerror=alert(1)>'
# As far as it can be entered: what no caption may have is refused.
ENTERED = "\" onfocus=alert(1) autofocus ' {{ 7*7 }} &lt;script&gt; </textarea"


@dataclass
class Served:
    """Pages that are served, and the place that they show."""

    place: Place
    url: str
    build: str
    earlier: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = Place(tmp_path_factory.mktemp("pages"))
    rows: list[Any] = []
    for number in range(8):
        place.put(f"{number}.jpg", encoded(picture(480, 320, colour=(number * 37 % 256, 120, 90))))
        boxes = [[10, 10, 160, 120], [240, 80, 200, 200]]
        row = {"image": f"{number}.jpg", "bbox": boxes, "id": f"{HOSTILE}{number}", "labels": [HOSTILE, "door"]}
        rows.append(row)
    no_box = {"image": "0.jpg", "bbox": HOSTILE, "id": "no box"}
    place.put_rows(*rows, "no JSON at all", {"image": HOSTILE, "bbox": [[1, 2, 3, 4]]}, no_box)
    # Other dates, for what is seen of many.
    for date in ("2026-10-01", "2026-10-03"):
        publish_each(Place(place.folder, date), date)
    for settings in ({"seed": 1}, {"seed": 2}):
        said = place.build(
            lambda row: "\n".join(f"<region{r.region}>: a red door {row.image}" for r in row.regions),
            answer_format="free_text", keep_builds=3, **settings,
        )  # fmt: skip
    plant(place, said.manifest.build_id)
    expect.set_options(timeout=_PAGE_SECONDS * 1000)
    kept, patience.PATIENCE_SECONDS = patience.PATIENCE_SECONDS, patience.PATIENCE_SECONDS
    user = SimpleAuthManagerUser(username="ann", role="user")
    app = create_app()
    app.dependency_overrides = {
        warehouse: lambda: LocalStore(place.folder / "warehouse"),
        drop_of: lambda: place.drop,
        run_of: lambda: None,
        runs_under_way: lambda: [UnderWay("2026-10-09", HOSTILE, f"{ROOT}/nothing", "running", asks=True)],
        get_user: lambda: user,
        may_read: lambda: None,
        may_trigger: lambda: None,
        token_of: lambda: page_rights._token(user),
    }
    whole = FastAPI()
    whole.mount(ROOT, app)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(whole, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        earlier = said.manifest.history[0].build_id
        yield Served(place, url, f"{url}{ROOT}/dates/{DATE}/builds/{said.manifest.build_id}", earlier)
        server.should_exit = True
        thread.join(60)
    patience.PATIENCE_SECONDS = kept


def plant(place: Place, build_id: str) -> None:
    """Write a record as somebody would who has got hold of the bucket."""
    build = place.partition.sub(f"build={build_id}/")
    manifest = json.loads(build.read("manifest.json"))
    (entry,) = manifest["captions"]
    lines = place.partition.read(entry["path"]).decode().splitlines()
    record = json.loads(lines[6])
    record |= {"image": HOSTILE, "checks": [HOSTILE], "answer": HOSTILE, "prompt": HOSTILE}
    record["regions"][0] |= {"caption": HOSTILE}
    lines[6] = json.dumps(record)
    data = "".join(f"{line}\n" for line in lines).encode()
    place.partition.write(entry["path"], data)
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    build.write("manifest.json", json.dumps(manifest).encode())


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A page; whatever it asks for elsewhere fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(_PAGE_SECONDS * 1000)
    elsewhere: list[str] = []
    faults: list[str] = []
    page.on("request", lambda asked: None if asked.url.startswith(served.url) else elsewhere.append(asked.url))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    yield page
    assert not elsewhere and not faults
    assert page.title() != "mine"
    context.close()


def last(served: Served) -> Any:
    return corrections_of(served.place.partition).lines()[-1]


def test_a_caption_is_corrected_with_the_mouse(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/gallery")
    card = page.get_by_role("article").nth(2)
    card.get_by_text("correct region 1").click()
    form = card.locator("details[data-region='1']")
    expect(form.get_by_label("Caption")).to_have_value("a red door 2.jpg")
    form.get_by_label("Caption").fill("a blue door\non its left")
    form.get_by_label("Why").fill("it is blue")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("article").nth(2).locator(".pending")).to_contain_text("a blue door on its left")
    assert page.url.endswith("#r0.2")
    said = last(served)
    assert (said.by, said.action, said.caption, said.note) == ("ann", "edit", "a blue door on its left", "it is blue")


def test_a_caption_is_corrected_with_keys_alone(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/gallery")
    for key in ("j", "j", "k", "j", "2"):
        page.keyboard.press(key)
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("a just door")  # j, too, is a letter in a field
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article").nth(1).locator(".pending")).to_contain_text("a just door")
    assert (last(served).region, last(served).caption) == (2, "a just door")


def test_a_record_is_left_out_and_restored(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/gallery")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.type("too dark")
    card = page.get_by_role("article").first
    card.locator("[data-record]").get_by_role("button", name="Leave out").click()
    expect(page.get_by_role("article").first.get_by_text("too dark")).to_be_visible()
    assert (last(served).action, last(served).region) == ("reject", None)
    card.get_by_text("the whole record").click()
    card.locator("[data-record]").get_by_role("button", name="Restore").click()
    expect(page.get_by_role("article").first.get_by_text("too dark")).to_have_count(0)
    assert last(served).action == "restore"


def test_who_comes_second_sees_what_the_first_said(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/gallery")
    other = page.context.new_page()
    other.goto(f"{served.build}/gallery")
    for window, caption in ((other, "a first door"), (page, "a second door")):
        card = window.get_by_role("article").nth(5)
        card.get_by_text("correct region 1").click()
        card.get_by_label("Caption").first.fill(caption)
        card.get_by_role("button", name="Save").first.click()
    expect(page.get_by_role("heading", name="Somebody was faster")).to_be_visible()
    expect(page.get_by_text("a first door")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_role("article").nth(5).get_by_text("a first door").first).to_be_visible()


def test_no_text_of_a_drop_or_a_person_is_more_than_text(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/gallery?text={quote(HOSTILE)}&label={quote(HOSTILE)}")
    expect(page.get_by_role("article")).to_have_count(8)
    card = page.get_by_role("article").nth(7)
    card.get_by_text("correct region 2").click()
    card.locator("details[data-region='2']").get_by_label("Caption").fill(ENTERED)
    card.locator("details[data-region='2']").get_by_label("Why").fill(ENTERED)
    card.locator("details[data-region='2']").get_by_role("button", name="Save").click()
    expect(page.get_by_role("article").nth(7).locator(".pending")).to_contain_text(ENTERED)
    assert last(served).caption == last(served).note == ENTERED
    expect(page.get_by_role("article").nth(6).locator("li bdi").first).to_have_text(HOSTILE)
    for place in ("/gallery", "/rejected", f"/rejected?code={quote(HOSTILE)}", "/sample", f"/compare/{served.earlier}"):
        page.goto(served.build + place)
        for details in page.locator("details").all():
            details.evaluate("details => { details.open = true; }")
        assert page.locator("script").count() <= 1
        harm = "[onerror], [onfocus], [autofocus], [src*='elsewhere'], [href*='elsewhere']"
        assert page.locator(harm).count() == 0, place
    page.goto(f"{served.url}{ROOT}/dates/{DATE}/corrections")
    expect(page.get_by_text(ENTERED).first).to_be_visible()


def test_a_rejected_row_is_shown_with_its_image(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/rejected?code=bbox_not_a_list")
    page.get_by_text("show", exact=True).click()
    shown = page.locator("td img")
    expect(shown).to_be_visible()
    expect(page.get_by_text("What to do").last).to_be_visible()
    page.wait_for_function("document.querySelector('td img').naturalWidth === 480")


def test_one_goes_back_to_an_earlier_build_and_forth(page: Page, served: Served) -> None:
    page.goto(served.build)
    page.get_by_text("go back to it").click()
    page.get_by_role("button", name="Make it the current one").click()
    expect(page.locator(".standing")).to_have_text("published: the current build")
    assert page.url.endswith(served.earlier)
    page.get_by_text("go back to it").click()
    page.get_by_role("button", name="Make it the current one").click()
    expect(page.locator(".standing")).to_have_text("published: the current build")
    assert page.url == served.build


def test_a_sample_is_judged_with_one_key_each(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/sample")
    for number, key in enumerate("yynyu"):
        expect(page.get_by_text(f"{number} of 16 looked at")).to_be_visible()
        page.keyboard.press(key)
    expect(page.get_by_text("5 of 16 looked at")).to_be_visible()
    expect(page.get_by_text("1 of 4 wrong")).to_be_visible()


def test_the_original_is_a_click_away(page: Page, served: Served) -> None:
    page.goto(f"{served.build}/gallery")
    page.get_by_role("article").first.get_by_role("link").click()
    shown = page.locator("img")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 480


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_every_page_can_be_used_by_everybody(browser: Browser, served: Served, scheme: Any, width: int) -> None:
    """Axe finds no serious fault, and no page is wider than a phone's screen."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(_PAGE_SECONDS * 1000)
    places = ("", "/gallery", "/gallery?text=nothing", "/rejected", "/sample", f"/compare/{served.earlier}")
    urls = [served.build + place for place in places]
    urls += [f"{served.url}{ROOT}/", f"{served.url}{ROOT}/dates/{DATE}/corrections"]
    urls += [f"{served.url}{ROOT}/dates/2020-01-01"]
    for url in urls:
        page.goto(url)
        for details in page.locator("details").all()[:3]:
            details.evaluate("details => { details.open = true; }")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
        serious = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
        told = [(fault["id"], [node["html"][:200] for node in fault["nodes"][:3]]) for fault in serious]
        assert not told, (url, told)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, url
    context.close()
