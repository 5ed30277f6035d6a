"""What docker-compose.yaml starts, with users of its own (FAB), in a real browser: what each sees and may do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, FrameLocator, expect

from demo_model.drops import evaluation_rows, write_drop
from deploy.docker import dotenv
from deploy.local.stack import DAG
from regioncap.airflow.links import ROOT
from tests.compose.cluster import run_cluster
from tests.e2e.conftest import Rig
from tests.page_rights import PASSWORD, pages_with_users
from tests.ui.airflow_pages import AirflowPages, signed_in

DATE = "2026-06-01"

# A correction as a program sends it, from a page of Airflow's own: with the session, and no form of ours.
_SEND = """async ([url, body]) => (await fetch(url, {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
})).status"""


@dataclass(frozen=True)
class Published:
    """Where Airflow is, and the build that it has published."""

    airflow: str
    build_id: str

    @property
    def build(self) -> str:
        """The path of the build's page."""
        return f"{ROOT}/dates/{DATE}/builds/{self.build_id}"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A build of two images, and a user of each role."""
    state = tmp_path_factory.mktemp("cluster")
    write_drop(state / "drop", list(evaluation_rows(31, 2)))
    dotenv.write(state / "env", dotenv.WITHOUT_GPU)
    with run_cluster(state / "env", state) as cluster:
        cluster.stack.api.unpause(DAG)
        rig = Rig(cluster.stack, night=datetime.now(UTC))
        rig.upload(state / "drop", DATE)
        assert rig.finish(rig.trigger({"drop_date": DATE}), seconds=1200) == "success"
        build_id = rig.manifest(DATE).build_id
        environment = cluster.instances["api-server-1"].environment
        pages = pages_with_users(cluster.stack.api.url, environment, DATE, build_id)
        yield Published(pages.airflow, build_id)


def gallery(ui: AirflowPages) -> FrameLocator:
    """From the DAG's page to the gallery of its build."""
    ui.open_dag()
    pages = ui.open_captions(DATE)
    pages.get_by_role("link", name="Gallery", exact=True).click()
    expect(pages.get_by_role("article").first.get_by_role("img")).to_be_visible()
    return pages


def corrects(ui: AirflowPages, published: Published) -> int:
    """What Airflow answers to a correction that is sent with this user's session."""
    asked = {"record": "0.0", "region": 1, "action": "edit", "caption": "a caption of a person's own", "seen": 99}
    return int(ui.page.evaluate(_SEND, [f"{ROOT}/api{published.build.removeprefix(ROOT)}/corrections", asked]))


@pytest.mark.parametrize("user", ["viewer", "writer"])
def test_from_the_dag_to_a_picture_in_three_clicks_and_nothing_is_asked_of_elsewhere(
    browser: Browser, published: Published, user: str
) -> None:
    with signed_in(browser, published.airflow, user, PASSWORD) as ui:
        ui.open_dag()
        pages = ui.open_captions(DATE)  # two clicks
        marked = pages.get_by_role("img").first
        expect(marked).to_be_visible()
        assert marked.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        pages.get_by_role("article").first.get_by_role("link").first.click()
        original = pages.locator("body > img")
        expect(original).to_be_visible()
        assert original.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        ours = urlsplit(published.airflow).netloc
        asked = [urlsplit(url) for url in ui.asked]
        assert any(url.path.startswith(f"{ROOT}/") for url in asked)
        assert {url.netloc for url in asked if url.scheme not in ("data", "blob")} == {ours}


def test_a_viewer_sees_nothing_to_write_with_and_is_refused(browser: Browser, published: Published) -> None:
    with signed_in(browser, published.airflow, "viewer", PASSWORD) as ui:
        pages = gallery(ui)
        expect(pages.get_by_text("the whole record")).to_have_count(0)
        expect(pages.locator("form[method=post]")).to_have_count(0)
        assert corrects(ui, published) == 403


def test_who_may_trigger_the_dag_corrects_a_caption(browser: Browser, published: Published) -> None:
    with signed_in(browser, published.airflow, "writer", PASSWORD) as ui:
        pages = gallery(ui)
        card = pages.get_by_role("article").first
        card.get_by_text("correct region 1").click()
        card.get_by_label("Caption").first.fill("a caption of a person's own")
        card.get_by_role("button", name="Save").first.click()
        expect(pages.get_by_role("article").first.locator(".pending")).to_contain_text("a caption of a person's own")
        # What a viewer is refused.
        assert corrects(ui, published) == 201


def test_the_task_that_published_leads_to_its_build(browser: Browser, published: Published) -> None:
    with signed_in(browser, published.airflow, "viewer", PASSWORD) as ui:
        ui.open_run("manual")
        ui.open_task("publish")
        ui.open_details()
        ui.page.get_by_role("link", name="Dataset", exact=True).click()
        expect(ui.page.get_by_role("heading", name=f"Region captions, {DATE}")).to_be_visible()
        assert urlsplit(ui.page.url).path == published.build


@pytest.mark.parametrize("page", ["/gallery", "/originals/0.0.jpg", ""])
def test_nobody_without_a_session_gets_a_byte(browser: Browser, published: Published, page: str) -> None:
    context = browser.new_context()
    answer = context.new_page().goto(f"{published.airflow}{published.build}{page}")
    assert answer is not None and answer.status == 401 and published.build_id not in answer.text()
    context.close()


def test_a_run_that_cannot_be_leads_nowhere(browser: Browser, published: Published) -> None:
    """The database of this deployment is another one than that of the other tests."""
    with signed_in(browser, published.airflow, "viewer", PASSWORD) as ui:
        for run in ("manual__none", "%00", "%FF", "%F0%9F%9A%AA"):
            asked = f"{published.airflow}{ROOT}/run?dag={DAG}&run={run}"
            assert ui.page.request.get(asked, timeout=120_000).status == 404, run


def test_who_may_not_read_the_dag_gets_none_of_it(browser: Browser, published: Published) -> None:
    with signed_in(browser, published.airflow, "neighbour", PASSWORD) as ui:
        answer = ui.page.goto(f"{published.airflow}{published.build}/gallery")
        assert answer is not None and answer.status == 403 and published.build_id not in answer.text()
