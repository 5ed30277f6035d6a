"""The pages in Airflow's api-server: who sees them, what they say, and what a hostile record can do to them."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.sdk import Asset
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from regioncap.airflow.links import ROOT, build_page
from regioncap.airflow.pages import create_app, warehouse
from regioncap.airflow.plugin import RegionCapPlugin
from regioncap.airflow.publish import PublishOperator
from regioncap.storage import patience
from regioncap.storage.local import LocalStore
from tests.builders import DATE, Place, publish_each

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}\u202e'


@pytest.fixture(autouse=True)
def _same_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app changes how long this process waits for a bucket."""
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", patience.PATIENCE_SECONDS)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def app(airflow_db: None, place: Place) -> Iterator[FastAPI]:
    create_auth_manager()
    app = create_app()
    app.dependency_overrides[warehouse] = lambda: LocalStore(place.folder / "warehouse")
    yield app


def client(app: FastAPI, role: str | None = "viewer") -> TestClient:
    """Somebody with a role of Airflow's, in the browser."""
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="somebody", role=role)
    return TestClient(app, follow_redirects=False)


def paths(app: FastAPI, build_id: str) -> list[str]:
    """A URL of every route."""
    values = {"{date}": DATE, "{build_id}": build_id, "{name}": "0" * 32, "{other_id}": build_id, "{plan_id}": "0" * 32}
    found = [route.path for route in app.routes if isinstance(route, APIRoute)]
    for name, value in values.items():
        found = [path.replace(name, value) for path in found]
    assert len(found) >= 10 and not any("{" in path for path in found)
    return found


def test_nobody_without_a_session_gets_anything(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    stranger = TestClient(app, follow_redirects=False)
    for path in paths(app, build_id):
        answer = stranger.get(path)
        assert answer.status_code == 401 and build_id not in answer.text, path
    assert stranger.get("/openapi.json").status_code == stranger.get("/docs").status_code == 404


def test_nobody_who_may_not_read_the_dag_gets_anything(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    someone = client(app, role=None)
    for path in paths(app, build_id):
        assert someone.get(path).status_code == 403, path


def test_every_route_only_reads(app: FastAPI) -> None:
    assert all(route.methods == {"GET"} for route in app.routes if isinstance(route, APIRoute))


def test_from_the_datasets_to_a_picture(app: FastAPI, place: Place) -> None:
    first, second = publish_each(place, "a", "b", keep_builds=3)
    reader = client(app)
    assert f'href="/dates/{DATE}"' in reader.get("/").text.replace(ROOT, "")
    (to,) = [reader.get(f"/dates/{DATE}").headers["location"].removeprefix(ROOT)]
    assert to == f"/dates/{DATE}/builds/{second}"
    page = reader.get(to).text
    assert "b 0" in page and "published: the current build" in page and first in page
    (image,) = set(re.findall(r'src="([^"]+)"', page))
    shown = reader.get(image.removeprefix(ROOT))
    assert shown.content.startswith(b"\xff\xd8") and shown.headers["content-type"] == "image/jpeg"
    assert "a 0" in reader.get(f"/dates/{DATE}/builds/{first}").text
    assert "published before" in reader.get(f"/dates/{DATE}/builds/{first}").text
    rejected = reader.get(f"{to}/rejected?code=not_json").text
    assert "not_json" in rejected and "manifest.jsonl" in rejected
    assert reader.get(f"{to}/report").text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "path",
    [
        "/dates/2020-01-01", "/dates/2026-10-05/builds/none", f"/dates/{DATE}/builds/..%2F..",
        f"/dates/{DATE}/builds/%2e%2e/images/{'0' * 32}.jpg",
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(app: FastAPI, place: Place, path: str) -> None:
    publish_each(place, "a")
    assert client(app).get(path).status_code == 404


def test_an_image_is_only_what_was_published_under_its_name(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    (image,) = place.partition.sub(f"build={build_id}/").list("images/")
    place.partition.write(f"build={build_id}/{image.path}", b"<script>alert(1)</script>")
    name = Path(image.path).stem
    answer = client(app).get(f"/dates/{DATE}/builds/{build_id}/images/{name}.jpg")
    assert answer.status_code == 404 and "alert" not in answer.text


def test_each_answer_forbids_scripts_and_being_framed_by_others(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    for path in paths(app, build_id):
        answer = client(app).get(path)
        policy = answer.headers["content-security-policy"]
        assert "script-src" not in policy and "default-src 'none'" in policy, path
        assert "frame-ancestors 'self'" in policy or policy.startswith("sandbox;"), path
        assert answer.headers["x-content-type-options"] == "nosniff"


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def _say(place: Place, text: str, build_id: str) -> None:
    """Write a build's records and rejected rows as somebody would who has got hold of the bucket."""
    import hashlib

    build = place.partition.sub(f"build={build_id}/")
    manifest = json.loads(build.read("manifest.json"))
    (entry,) = manifest["captions"]
    record = json.loads(place.partition.read(entry["path"]))
    record |= {"image": text, "id": text, "checks": [text], "answer": text, "image_with_bbox": f"../../{text}"}
    record["regions"][0]["caption"] = text
    data = json.dumps(record).encode() + b"\n"
    place.partition.write(entry["path"], data)
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["created_at"] = text
    for name in ("manifest.json",):
        build.write(name, json.dumps(manifest).encode())
    row = {"manifest": text, "line": 1, "id": text, "code": "not_json", "reason": text, "row": {"image": text}}
    place.partition.write(manifest["rejected"]["path"], json.dumps(row).encode() + b"\n")


def test_no_text_changes_anything_in_the_pages_but_text(app: FastAPI, place: Place) -> None:
    other, build_id = publish_each(place, "a", "b")
    reader, base = client(app), f"/dates/{DATE}/builds/{build_id}"
    urls = [
        base,
        f"{base}/compare/{other}",
        f"{base}/gallery?text={{}}",
        f"{base}/rejected",
        f"{base}/rejected?code={{}}",
    ]
    shapes = []
    for text in ("harmless", HOSTILE):
        _say(place, text, build_id)
        pages = [reader.get(url.format(quote(text))).text for url in urls]
        assert all("<script" not in page for page in pages)
        shapes.append([_Elements(page).found for page in pages])
    assert shapes[0] == shapes[1]


def test_the_gallery_is_paged_and_finds_what_is_looked_for(app: FastAPI, place: Place) -> None:
    place.good_rows(60)
    build = place.build(lambda row: "\n".join(f"<region{r.region}>: a red door {row.image}" for r in row.regions),
                        answer_format="free_text", shard_size=7).manifest  # fmt: skip
    reader, base = client(app), f"/dates/{DATE}/builds/{build.build_id}"
    seen: list[str] = []
    at = ""
    while at is not None:
        found = reader.get(f"/api{base}/records", params={"at": at}).json()
        assert len(found["records"]) <= 24
        seen += [record["image"] for record in found["records"]]
        at = found["after"]
    assert seen == [f"{number}.jpg" for number in range(60)]
    (one,) = reader.get(f"/api{base}/records", params={"text": "DOOR 17.jpg"}).json()["records"]
    assert one["image"] == "17.jpg"
    assert reader.get(f"/api{base}/records", params={"text": "nothing"}).json() == {
        "records": [], "after": None, "looked": 60,
    }  # fmt: skip
    assert not reader.get(f"/api{base}/records", params={"least": "3"}).json()["records"]
    assert "cannot be read" not in reader.get(f"{base}/gallery").text
    page = reader.get(f"{base}/gallery?text=door").text
    assert "24 records here; " in page and "text=door&amp;at=" in page


def test_the_plugin_has_the_pages_and_a_place_in_the_navigation() -> None:
    plugin = RegionCapPlugin()
    (app,) = plugin.fastapi_apps
    assert app["url_prefix"] == ROOT and isinstance(app["app"], FastAPI)
    (view,) = plugin.external_views
    assert view["href"] == f"{ROOT}/" and view["destination"] == "nav"


def test_a_build_is_led_to_in_the_deployments_warehouse_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    monkeypatch.setenv("REGIONCAP_WAREHOUSE_URI", "s3://warehouse/region_captions")
    page = "https://airflow.example.com/regioncap/dates/2026-10-05/builds/b-1"
    assert build_page("s3://warehouse/region_captions/", DATE, "b-1") == page
    assert build_page("s3://warehouse/experiments", DATE, "b-1") is None
    publish = PublishOperator(task_id="publish", plan={}, asset=Asset(name="a", uri="s3://a/b"))
    (link,) = publish.operator_extra_links
    assert link.get_link(publish, ti_key=None) == ""
    publish.page = page
    assert link.get_link(publish, ti_key=None) == page
