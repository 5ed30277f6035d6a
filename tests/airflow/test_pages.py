"""The pages in Airflow's api-server: who sees them, what they say, and what a hostile record can do to them."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.models import DagRun
from airflow.models.asset import AssetEvent, AssetModel
from airflow.sdk import Asset
from airflow.utils.session import create_session
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from regioncap.airflow.links import ROOT, build_page, dataset
from regioncap.airflow.pages import create_app, drop_of, warehouse, work_of
from regioncap.airflow.plugin import RegionCapPlugin
from regioncap.airflow.publish import PublishOperator
from regioncap.config.deployment import Deployment
from regioncap.steps.preview import write_preview
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage import patience
from regioncap.storage.local import LocalStore
from regioncap.warehouse.corrections import Correction, about_record, about_region, correct, corrections_of
from regioncap.warehouse.journal import FILE_LINES
from regioncap.warehouse.layout import PREVIEW_PAGE, image_path, preview_path
from regioncap.warehouse.manifest import current
from regioncap.work.shard import Shard
from tests.builders import DATE, Place, encoded, picture, publish_each

ORIGIN = {"origin": "http://testserver"}
BOTH = "<region1>: a red door\n<region2>: a cat"
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
    app.dependency_overrides[drop_of] = lambda: place.drop
    app.dependency_overrides[work_of] = lambda: place.work
    yield app


def client(app: FastAPI, role: str | None = "viewer", name: str = "somebody") -> TestClient:
    """Somebody with a role of Airflow's, in the browser."""
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=name, role=role)
    return TestClient(app, follow_redirects=False)


def paths(app: FastAPI, build_id: str, method: str = "GET") -> list[str]:
    """A URL of every route that has a method."""
    values = {
        "{date}": DATE,
        "{build_id}": build_id,
        "{name}": "0" * 32,
        "{other_id}": build_id,
        "{place}": "0.0",
        "{line}": "0",
        "{plan_id}": "0" * 32,
    }
    found = [route.path for route in app.routes if isinstance(route, APIRoute) and method in route.methods]
    for name, value in values.items():
        found = [path.replace(name, value) for path in found]
    assert len(found) >= 4 and not any("{" in path for path in found)
    return found


def send(someone: TestClient, path: str, **fields: object) -> object:
    """Send a form as a page of ours would, with the token that it has."""
    return someone.post(path, data={name: str(value) for name, value in fields.items()}, headers=ORIGIN)


def token(someone: TestClient, base: str) -> str:
    """What the gallery's forms bring."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', someone.get(f"{base}/gallery").text)
    assert found is not None
    return found[1]


def with_rows(place: Place, rows: int = 3, **changes: object) -> str:
    """A published build with records of two regions each; returns its path."""
    place.good_rows(rows)
    published = place.build(
        lambda row: "\n".join(f"<region{r.region}>: a red door {row.image}" for r in row.regions),
        **{"answer_format": "free_text", **changes},
    )
    return f"/dates/{DATE}/builds/{published.manifest.build_id}"


def test_nobody_without_a_session_gets_or_changes_anything(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    stranger = TestClient(app, follow_redirects=False)
    for path in paths(app, build_id):
        answer = stranger.get(path)
        assert answer.status_code == 401 and build_id not in answer.text, path
    for path in paths(app, build_id, "POST"):
        assert stranger.post(path, headers=ORIGIN).status_code == 401, path
    assert stranger.get("/openapi.json").status_code == stranger.get("/docs").status_code == 404


def test_nobody_who_may_not_read_the_dag_gets_or_changes_anything(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    someone = client(app, role=None)
    for path in paths(app, build_id):
        assert someone.get(path).status_code == 403, path
    for path in paths(app, build_id, "POST"):
        assert someone.post(path, headers=ORIGIN).status_code == 403, path


def test_a_route_reads_or_writes_and_every_writing_one_is_walked(app: FastAPI) -> None:
    methods = [route.methods for route in app.routes if isinstance(route, APIRoute)]
    assert all(method in ({"GET"}, {"POST"}) for method in methods) and {"POST"} in methods


def test_who_may_only_read_sees_no_form_and_changes_nothing(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    own = token(client(app, "user"), base)
    viewer = client(app, "viewer")
    for path in (f"{base}/gallery", f"{base}/sample", f"{base}/rejected", base):
        page = viewer.get(path).text
        assert 'method="post"' not in page and "<script" not in page, path
    for path in paths(app, base.rpartition("/")[2], "POST"):
        fields = {"token": own, "record": "0.0", "region": "1", "action": "edit", "caption": "mine", "verdict": "right"}
        assert viewer.post(path, data=fields, headers=ORIGIN).status_code == 403, path
        assert viewer.post(path, json=fields, headers=ORIGIN).status_code == 403, path
    assert not corrections_of(place.partition).lines() and not list(place.partition.list("_reviews/"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://testserver.elsewhere.example"}, 403),
        ({"origin": "http://testserver", "content-type": "text/plain"}, 415),
        ({"origin": "http://testserver", "content-type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_a_form_of_another_site_changes_nothing(
    app: FastAPI, place: Place, headers: dict[str, str], status: int
) -> None:
    base = with_rows(place)
    user = client(app, "user")
    form = f"token={token(user, base)}&record=0.0&region=1&action=edit&caption=theirs"
    headers = {"content-type": "application/x-www-form-urlencoded", **headers}
    assert user.post(f"{base}/corrections", content=form, headers=headers).status_code == status
    assert not corrections_of(place.partition).lines()


def test_a_form_needs_the_token_of_whoever_sends_it(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    own = token(client(app, "user", "ben"), base)
    ann = client(app, "user", "ann")
    for wrong in ("", "0" * 64, own):
        fields = {"token": wrong, "record": "0.0", "region": "1", "action": "edit", "caption": "a door"}
        assert ann.post(f"{base}/corrections", data=fields, headers=ORIGIN).status_code == 403
    assert not corrections_of(place.partition).lines()


def test_airflows_own_address_is_known_behind_a_proxy(
    app: FastAPI, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = with_rows(place)
    user = client(app, "user")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/somewhere")
    fields = {"token": token(user, base), "record": "0.0", "region": "1", "action": "edit", "caption": "a door"}
    headers = {"origin": "https://airflow.example.com"}
    assert user.post(f"{base}/corrections", data=fields, headers=headers).status_code == 303


@pytest.mark.parametrize("origin", [{}, ORIGIN])
def test_a_program_corrects_by_json(app: FastAPI, place: Place, origin: dict[str, str]) -> None:
    base = with_rows(place)
    user = client(app, "user", "ann")
    (found, *_) = user.get(f"/api{base}/records").json()["places"]
    asked = {"record": found, "region": 2, "action": "edit", "caption": "a blue door", "note": "look"}
    answer = user.post(f"/api{base}/corrections", json=asked, headers=origin)
    assert answer.status_code == 201, answer.text
    (line,) = user.get(f"/api/dates/{DATE}/corrections").json()
    assert (line["by"], line["caption"], line["note"], line["number"]) == ("ann", "a blue door", "look", 1)
    again = user.post(f"/api{base}/corrections", json=asked | {"caption": "a green door"}, headers=origin)
    assert again.status_code == 409 and "ann wrote 'a blue door'" in again.json()["detail"]
    elsewhere = {"origin": "https://elsewhere.example"}
    assert user.post(f"/api{base}/corrections", json=asked, headers=elsewhere).status_code == 403
    plain = {"content-type": "text/plain"}
    assert user.post(f"/api{base}/corrections", content=json.dumps(asked), headers=plain).status_code == 415
    assert user.post(f"/api{base}/corrections", json={"record": found}, headers=origin).status_code == 400


def test_from_the_gallery_to_the_next_build(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    user = client(app, "user", "ann")
    own = {"token": token(user, base), "seen": 0, "back": "gallery?text=door"}
    edit = send(user, f"{base}/corrections", **own, record="0.1", region=2, action="edit", caption=" a blue\r\ndoor ")
    assert edit.status_code == 303 and edit.headers["location"].endswith(f"{base}/gallery?text=door#r0.1")
    send(user, f"{base}/corrections", **own, record="0.2", region=1, action="reject", note="a shadow")
    send(user, f"{base}/corrections", **own, record="0.0", action="reject", note="not ours")
    page = user.get(f"{base}/gallery").text
    assert "a blue door" in page and "a shadow" in page and "not ours" in page and "ann" in page
    base = with_rows(place)
    page = user.get(f"{base}/gallery").text
    assert "a red door 0.jpg" not in page and page.count('<span class="tag">corrected</span>') == 1
    (two, three) = user.get(f"/api{base}/records").json()["records"]
    assert [item["caption"] for item in two["regions"]] == ["a red door 1.jpg", "a blue door"]
    assert [item["region"] for item in three["regions"]] == [2]
    rejected = user.get(f"{base}/rejected").text
    assert "rejected_by_person" in rejected and "not ours" in rejected
    # Both can be restored, from where they are seen.
    restored = re.search(r'action="[^"]*(/rejected/\d+/corrections)"', rejected)
    assert restored is not None
    send(user, base + restored[1], token=own["token"], seen=9, action="restore", back="rejected")
    about = re.search(r'name="about" value="([^"]+)"', page)
    assert about is not None
    send(user, f"{base}/corrections", **own | {"seen": 9}, record="0.1", about=about[1], action="restore")
    base = with_rows(place)
    found = user.get(f"/api{base}/records").json()["records"]
    assert [len(record["regions"]) for record in found] == [2, 2, 2]
    journal = user.get(f"/dates/{DATE}/corrections").text
    assert journal.count("<td>restore</td>") == 2 and "a shadow" in journal


def test_a_rejected_row_is_made_a_record_by_what_a_person_says(app: FastAPI, place: Place) -> None:
    place.good_rows(2)
    said = "<region1>: a red door\n<region2>: sorry, I cannot help with that"
    place.build(lambda row: said, answer_format="free_text")
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.counts.captioned == 0
    base, user = f"/dates/{DATE}/builds/{manifest.build_id}", client(app, "user")
    page = user.get(f"{base}/rejected").text
    assert ">\na red door</textarea>" in page
    (own,) = set(re.findall(r'name="token" value="([0-9a-f]+)"', page))
    captions = {"caption1": "a red door", "caption2": "a window"}
    path = f"{base}/rejected/0/corrections"
    assert send(user, path, token=own, seen=0, action="edit", caption1="a red door").status_code == 400
    assert send(user, path, token=own, seen=0, action="edit", **captions).status_code == 303
    place.build(lambda row: said, answer_format="free_text")
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.counts.captioned == 1


def test_of_two_people_the_second_is_told_of_the_first(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    fields = {"record": "0.1", "region": 2, "action": "edit", "seen": 0, "back": "gallery"}
    ann = client(app, "user", "ann")
    send(ann, f"{base}/corrections", **fields, token=token(ann, base), caption="a blue door")
    ben = client(app, "user", "ben")
    answer = send(ben, f"{base}/corrections", **fields, token=token(ben, base), caption="a green <b>door</b>")
    assert answer.status_code == 409 and "ann wrote" in answer.text
    assert "a blue door" in answer.text and "a green &lt;b&gt;door&lt;/b&gt;" in answer.text
    assert f'href="{ROOT}{base}/gallery#r0.1"' in answer.text.replace('href="/dates', f'href="{ROOT}/dates')
    assert len(corrections_of(place.partition).lines()) == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"caption": ""}, "is empty"),
        ({"caption": "a \u202e door"}, "control_characters"),
        ({"caption": "a door\x00"}, "control_characters"),
        ({"caption": "a door <|im_end|>"}, "special_tokens"),
        ({"caption": "a long door " * 400}, "too_long"),
        ({"caption": "a door\n<region2>: a window"}, "names a region"),
        ({"action": "reject", "region": "all"}, "no such region"),
        ({"caption": "a door", "note": "x" * 1001}, "note is longer"),
        ({"caption": "a door", "note": "\x1b[2J"}, "cannot be a note"),
        ({"caption": "a door", "region": "3"}, "no such region"),
        ({"caption": "a door", "region": ""}, "say which"),
        ({"caption": "a door", "record": "7.0"}, "no such record"),
        ({"caption": "a door", "record": "0.99"}, "no such record"),
        ({"caption": "a door", "record": "../../x"}, "no such region"),
        ({"action": "paint"}, "nothing called"),
        ({"action": "restore", "about": "0" * 64 + " en [1,2,3,4]"}, "no such region"),
    ],
)
def test_what_cannot_be_a_correction_is_refused(app: FastAPI, place: Place, fields: dict[str, str], why: str) -> None:
    base = with_rows(place)
    user = client(app, "user")
    if fields.get("record") == "../../x":
        fields = fields | {"region": "9"}
    whole = {"token": token(user, base), "record": "0.0", "region": "1", "action": "edit", "seen": "0"} | fields
    answer = user.post(f"{base}/corrections", data=whole, headers=ORIGIN)
    assert answer.status_code == 400 and why in answer.text
    assert not corrections_of(place.partition).lines()


def test_a_line_of_the_journal_is_short_whatever_the_record_says_of_itself(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    base, user = f"/dates/{DATE}/builds/{build_id}", client(app, "user")
    _say(place, "a", build_id, image="x" * 1_000_000, id="y" * 1_000_000)
    own = token(user, base)
    fields = {"record": "0.0", "region": 1, "action": "edit", "caption": "a door", "seen": 0}
    assert send(user, f"{base}/corrections", token=own, **fields).status_code == 303
    (entry,) = place.partition.list("_corrections/")
    assert entry.size < 10_000


def test_what_means_something_odd_is_a_persons_own_affair(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    user = client(app, "user")
    for caption in ("sorry, I cannot see it", "1", "一扇红色的门", "the red frame marked 1"):
        own = {"token": token(user, base), "seen": 99, "record": "0.0", "region": 1, "action": "edit"}
        assert send(user, f"{base}/corrections", **own, caption=caption).status_code == 303


def test_what_goes_back_stays_below_the_build(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    user = client(app, "user")
    for number, back in enumerate(
        ("https://elsewhere.example", "//elsewhere.example", "gallery?\r\nSet-Cookie: a=b", "../../../x", "gallery#x")
    ):
        own = {"token": token(user, base), "seen": 99, "record": "0.0", "region": 1, "action": "edit", "back": back}
        answer = send(user, f"{base}/corrections", **own, caption=f"a door {number}")
        assert answer.headers["location"].endswith(f"{base}/gallery#r0.0") and "set-cookie" not in answer.headers


def test_a_persons_sample_gives_an_estimate(app: FastAPI, place: Place) -> None:
    base = with_rows(place, 30)
    user = client(app, "user", "ann")
    own = token(user, base)
    assert "nothing is judged yet" in user.get(f"{base}/sample").text
    for number in range(50):
        page = user.get(f"{base}/sample").text
        assert f"{number} of 50 looked at" in page
        region = re.search(r'name="region" value="([^"]+)"', page)
        assert region is not None
        answer = send(user, f"{base}/sample", token=own, region=region[1], verdict="wrong" if number < 5 else "right")
        assert answer.status_code == 303
    assert "All 50 drawn regions are looked at" in user.get(f"{base}/sample").text
    assert "5 of 50 wrong: 4.3 to 21 % of the captions" in user.get(base).text
    told = user.get(f"/api{base}/sample").json()
    assert (told["right"], told["wrong"], told["share"]) == (45, 5, 0.1)
    assert len({region["key"] for region in told["regions"]}) == 50
    for wrong in ({"region": "0.99.1", "verdict": "right"}, {"region": region[1], "verdict": "maybe"}):
        assert send(user, f"{base}/sample", token=own, **wrong).status_code == 400


def test_the_original_is_shown_encoded_anew(app: FastAPI, place: Place) -> None:
    base = with_rows(place)
    place_of = f"{base}/originals/0.1.jpg"
    answer = client(app).get(place_of)
    assert answer.status_code == 200 and answer.content.startswith(b"\xff\xd8")
    assert answer.content != place.drop.read("1.jpg") and answer.headers["content-security-policy"].startswith(
        "sandbox"
    )
    for harm in (b"<script>alert(1)</script>", encoded(picture(300, 300))):
        place.put("1.jpg", harm)
        answer = client(app).get(place_of)
        assert answer.status_code == 404 and "another image" in answer.text and "alert" not in answer.text
    (place.drop_folder / "1.jpg").unlink()
    assert client(app).get(place_of).status_code == 404
    assert client(app).get(f"{base}/originals/9.9.jpg").status_code == 404


@pytest.mark.parametrize(
    "path", ["../secret.jpg", "/etc/hostname", "link.jpg", "https://elsewhere.example/a.jpg", "a\x00b"]
)
def test_no_record_leads_out_of_the_drop(app: FastAPI, place: Place, path: str) -> None:
    import hashlib

    (build_id,) = publish_each(place, "a")
    secret = encoded(picture())
    (place.folder / "drops" / "secret.jpg").write_bytes(secret)
    (place.drop_folder / "link.jpg").symlink_to("../secret.jpg")
    _say(place, path, build_id, image_sha256=hashlib.sha256(secret).hexdigest())
    answer = client(app).get(f"/dates/{DATE}/builds/{build_id}/originals/0.0.jpg")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html")


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
        sources = re.findall(r"script-src ([^;]*)", policy)
        assert all(re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", source) for source in sources), path
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'self'" in policy or policy.startswith("sandbox;"), path
        assert answer.headers["x-content-type-options"] == "nosniff"


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def _say(place: Place, text: str, build_id: str, **changes: object) -> None:
    """Write a build's records and rejected rows as somebody would who has got hold of the bucket."""
    import hashlib

    build = place.partition.sub(f"build={build_id}/")
    manifest = json.loads(build.read("manifest.json"))
    (entry,) = manifest["captions"]
    record = json.loads(place.partition.read(entry["path"]))
    record |= {"image": text, "id": text, "checks": [text], "answer": text, "image_with_bbox": f"../../{text}"}
    record |= changes
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
    other, build_id = publish_each(place, "a", "b", keep_builds=3)
    reader, base = client(app, "user"), f"/dates/{DATE}/builds/{build_id}"
    urls = [
        base,
        f"{base}/compare/{other}",
        f"{base}/gallery?text={{}}",
        f"{base}/rejected",
        f"{base}/rejected?code={{}}",
        f"{base}/sample",
        f"/dates/{DATE}/corrections",
    ]
    shapes = []
    for text in ("harmless", HOSTILE):
        _say(place, text, build_id)
        shutil.rmtree(place.folder / "warehouse" / f"dt={DATE}" / "_corrections", ignore_errors=True)
        for about in (about_region("0" * 64, [10, 10, 40, 30], "en"), about_record("0" * 64, [[10, 10, 40, 30]], "en")):
            line = Correction(at=text, by=text, action="reject", about=about, note=text, image=text, caption=text)
            correct(corrections_of(place.partition), [line, line.model_copy(update={"action": "edit"})], 9)
        pages = [reader.get(url.format(quote(text))).text for url in urls]
        assert all(page.count("<script") == page.count("<script>// One key each") <= 1 for page in pages)
        shapes.append([_Elements(page).found for page in pages])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), pytest.param(10**400, id="huge")])
def test_a_number_that_json_has_not_is_told_as_none(app: FastAPI, place: Place, number: float) -> None:
    (build_id,) = publish_each(place, "a")
    base = f"/dates/{DATE}/builds/{build_id}"
    _say(place, "a", build_id, normalized_bbox=[[number, 0.0, 0.0, 1.0]])
    row = {"manifest": "m", "line": 1, "id": "a", "code": "no_boxes", "reason": "none", "row": {"bbox": [number]}}
    place.partition.write(f"build={build_id}/rejected.jsonl", json.dumps(row).encode() + b"\n")
    for path in (f"{base}/gallery", f"{base}/rejected", f"/api{base}/rejected"):
        assert client(app).get(path).status_code == 200, path
    (record,) = client(app).get(f"/api{base}/records").json()["records"]
    assert record["normalized_bbox"] == [[None, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("_manifest.json", {"counts": {"rows": 1, "captioned": 1, "rejected": 10**400, "regions": 10**400}}),
        ("_manifest.json", {"created_at": "9999-12-31T23:59:59-12:00"}),
        ("manifest.json", {"counts": {"rows": 1, "captioned": 1, "rejected": 10**400, "regions": 10**400}}),
        ("manifest.json", {"created_at": "9999-12-31T23:59:59-12:00"}),
        ("manifest.json", {"created_at": "0001-01-01T00:00:00+12:00"}),
        ("manifest.json", {"created_at": ""}),
        ("report.json", {"warned_records": 10**400, "rejected_by_code": {"refusal": 10**400}}),
        ("report.json", {"quality": {"rejection_rate": float("nan"), "warning_rate": float("inf")}}),
        (
            "report.json",
            {"settings": {"prompt": [{}], "images_uri": {"a": 1}, "prompt_language": [], "read_heic": "x"}},
        ),
    ],
)
def test_no_number_or_time_in_the_bucket_breaks_a_page(
    app: FastAPI, place: Place, where: str, changes: dict[str, Any]
) -> None:
    """A date that cannot be shown is told to be so; the others are shown as ever."""
    publish_each(Place(place.folder, "2026-10-01"), "a")
    (build_id,) = publish_each(place, "b")
    path = where if where.startswith("_") else f"build={build_id}/{where}"
    written = json.loads(place.partition.read(path))
    for name, value in changes.items():
        written[name] = {**written[name], **value} if isinstance(value, dict) else value
    place.partition.write(path, json.dumps(written).encode())
    reader = client(app)
    for url in paths(app, build_id):
        assert reader.get(url).status_code in (200, 307, 404, 503), url
    page = reader.get("/")
    assert page.status_code == 200 and "2026-10-01" in page.text and DATE in page.text


def test_a_build_whose_report_is_gone_is_shown_all_the_same(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    place.partition.delete(f"build={build_id}/report.json")
    for path in (f"/dates/{DATE}/builds/{build_id}", f"/dates/{DATE}/builds/{build_id}/gallery", "/"):
        assert client(app).get(path).status_code == 200, path


@pytest.mark.parametrize(
    "build_id", ["../../../../auth/logout", "x/../../../dates/2026-10-01/builds/a", "a?b", "#", ""]
)
def test_no_id_in_a_manifest_leads_out_of_the_builds_of_its_date(app: FastAPI, place: Place, build_id: str) -> None:
    _, second = publish_each(place, "a", "b", keep_builds=3)
    manifest = json.loads(place.partition.read("_manifest.json"))
    manifest["history"][0]["build_id"] = build_id
    place.partition.write("_manifest.json", json.dumps(manifest).encode())
    user, base = client(app, "user"), f"/dates/{DATE}/builds/{second}"
    page = user.get(base).text
    led = [unquote(urlsplit(urljoin(base, to)).path) for to in re.findall(r'(?:href|action|src)="([^"]*)"', page)]
    ours = {f"/dates/{DATE}/builds/{second}", f"/dates/{DATE}/corrections", f"/previews/{DATE}", "/"}
    assert {to for to in led if to not in ours and not to.startswith(f"{base}/")} == set()
    assert "/current" not in page  # nobody can go back to it
    manifest["build_id"] = build_id
    place.partition.write("_manifest.json", json.dumps(manifest).encode())
    assert user.get(f"/dates/{DATE}").status_code == 404
    assert user.get("/").status_code == 200


@pytest.mark.parametrize("path", [f"/dates/{DATE}/corrections", "{base}/rejected", "/api{base}/rejected"])
def test_one_can_leaf_on_as_far_as_there_is_something(app: FastAPI, place: Place, path: str) -> None:
    base = with_rows(place)
    for at in (1, 999, 1001, 250_000):
        assert client(app).get(path.format(base=base), params={"at": at}).status_code == 200, at


def test_the_next_page_of_many_corrections_is_there(app: FastAPI, place: Place) -> None:
    said = [
        Correction(at="2026-11-24T07:00:12+00:00", by="ann", action="note", about=f"{number:064x} en []")
        for number in range(1300)
    ]  # fmt: skip
    publish_each(place, "a")
    for start in range(0, len(said), FILE_LINES):
        correct(corrections_of(place.partition), said[start : start + FILE_LINES], start)
    path, notes = f"/dates/{DATE}/corrections", 0
    while path:
        page = client(app).get(path).text
        notes += page.count("<td>note</td>")
        found = re.search(r'href="([^"]+)" rel="next"', page)
        path = found[1].removeprefix(ROOT) if found else ""
    assert notes == 1300


def test_a_rejected_row_is_shown_with_its_image_and_what_to_do(app: FastAPI, place: Place) -> None:
    place.good_rows(1)
    place.put("2.jpg", b"no image")
    place.put_rows(
        {"image": "0.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": "none.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": "2.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": "0.jpg", "bbox": "all"},
        "no JSON",
    )
    place.build(lambda row: "sorry, I cannot help with that", answer_format="free_text")
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.counts.rejected == 5
    base, reader = f"/dates/{DATE}/builds/{manifest.build_id}", client(app)
    page = reader.get(f"{base}/rejected").text
    by_code = {}
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)[1:]:
        code = re.search(r"<code title[^>]*><bdi>(\w+)", row)
        assert code is not None and "What to do" in row
        by_code[code[1]] = re.findall(r'src="([^"]+)"', row)
    assert {code for code, images in by_code.items() if images} == {"refusal", "bbox_not_a_list"}
    for (image,) in filter(None, by_code.values()):
        answer = reader.get(image.removeprefix(ROOT))
        assert answer.content.startswith(b"\xff\xd8") and answer.headers["content-security-policy"].startswith(
            "sandbox"
        )
    for line in range(6):
        answer = reader.get(f"{base}/rejected/{line}/original.jpg")
        assert answer.status_code == (200 if f"/{line}/original" in str(by_code) else 404), line


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/hostname", "link.jpg", "https://elsewhere.example/a.jpg", 7])
def test_no_rejected_row_leads_out_of_the_drop(app: FastAPI, place: Place, path: object) -> None:
    (build_id,) = publish_each(place, "a")
    (place.folder / "drops" / "secret.jpg").write_bytes(encoded(picture()))
    (place.drop_folder / "link.jpg").symlink_to("../secret.jpg")
    row = {"manifest": "m", "line": 1, "id": "a", "code": "no_boxes", "reason": "none", "row": {"image": path}}
    place.partition.write(f"build={build_id}/rejected.jsonl", json.dumps(row).encode() + b"\n")
    answer = client(app).get(f"/dates/{DATE}/builds/{build_id}/rejected/0/original.jpg")
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html")


def test_a_build_is_made_the_current_one_again(app: FastAPI, place: Place) -> None:
    first, second = publish_each(place, "a", "b", keep_builds=3)
    base = f"/dates/{DATE}/builds/{first}"
    assert "/current" not in client(app, "viewer").get(base).text
    user = client(app, "user", "ann")
    page = user.get(f"/dates/{DATE}/builds/{second}").text
    (action,) = re.findall(r'action="([^"]+/current)"', page)
    assert action.endswith(f"{base}/current")
    (own,) = set(re.findall(r'name="token" value="([0-9a-f]+)"', page))
    assert user.post(f"{base}/current", data={"token": own}).status_code == 403  # from nowhere
    answer = send(user, f"{base}/current", token=own)
    assert answer.status_code == 303 and answer.headers["location"].endswith(base)
    manifest, _ = current(place.partition)
    assert manifest is not None and manifest.build_id == first
    assert [(build.build_id, build.withdrawn) for build in manifest.history] == [(second, True)]
    assert "withdrawn" in user.get(f"/dates/{DATE}/builds/{second}").text
    again = send(user, f"{base}/current", token=own)
    assert again.status_code == 409 and "is the current build already" in again.text


def test_a_build_says_how_it_was_made(app: FastAPI, place: Place) -> None:
    base = with_rows(place, mark_style="corners", temperature=0.25)
    page = client(app).get(base).text
    assert "<bdi>mark_style</bdi>" in page and "corners" in page and "0.25" in page
    assert "Describe" in page  # the prompt


def test_the_datasets_say_how_good_they_are_and_which_dates_are_missing(app: FastAPI, place: Place) -> None:
    for date in ("2026-10-01", "2026-10-04", "2026-10-07"):
        publish_each(Place(place.folder, date), date)
    reader = client(app)
    page = reader.get("/").text
    assert "4 dates between these have nothing" in page and "2026-10-02" in page
    assert page.count('class="missing"') == 4
    assert page.count("not judged") == 3
    trends = re.findall(r'<svg[^>]*aria-label="([^"]+)"', page)
    assert any(told.startswith("Rejected rows") and "2026-10-04: 50" in told for told in trends)
    figures = reader.get("/api/dates/2026-10-04").json()
    assert figures["counts"]["rejected"] == 1 and figures["quality"]["rejection_rate"] == 0.5


def test_dates_of_the_dark_ages_and_far_days_are_only_dates(app: FastAPI, place: Place) -> None:
    """Whoever can write into the bucket can name a folder as they like."""
    for date in ("0001-01-01", "2026-02-30", "9999-12-31"):
        place.warehouse.write(f"dt={date}/x", b"")
    page = client(app).get("/")
    assert page.status_code == 200 and "3,652,057 dates between these" in page.text


def test_a_date_that_is_built_just_now_is_said_to_be(app: FastAPI, place: Place) -> None:
    publish_each(place, "a")
    reader = client(app)
    assert "Under way" not in reader.get("/").text
    with create_session() as session:
        for number, (date, state) in enumerate(
            [("2026-10-09", "running"), ("2026-10-10", "queued"), (None, "success")]
        ):
            run = DagRun(
                dag_id="region_captions", run_id=f"~way-{number}", run_type="manual", state=state,
                conf={"drop_date": date}, run_after=datetime.now(UTC),
            )  # fmt: skip
            session.add(run)
    try:
        page = reader.get("/").text
        assert "Under way" in page and page.count("/dags/region_captions/runs/~way-") == 2
        assert "2026-10-09" in page and "2026-10-10" in page
    finally:
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.run_id.like("~way-%")))


def test_two_previews_are_shown_side_by_side(app: FastAPI, place: Place) -> None:
    place.good_rows(4)
    for style, says in (("box", lambda row: BOTH), ("corners", lambda row: BOTH.replace("red", "blue"))):
        plan = place.plan(sample_rows=2, mark_style=style, answer_format="free_text")
        for shard_id in plan.shards:
            render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda *done: None)
            place._answer(plan, Shard(place.work, plan, shard_id), says)
            validate_shard(work=place.work, shard_id=shard_id, plan=plan)
        write_preview(plan=plan, work=place.work, warehouse=place.warehouse)
    reader = client(app)
    page = reader.get(f"/previews/{DATE}").text
    one, two = re.findall(rf'href="[^"]*/previews/{DATE}/(\w+)/"', page)
    assert f"/previews/{DATE}/{two}/compare/{one}" in page
    assert reader.get(f"/previews/{DATE}/{one}/").status_code == 200
    both = reader.get(f"/previews/{DATE}/{two}/compare/{one}")
    assert "a red door" in both.text and "a blue door" in both.text and "mark_style" in both.text
    assert both.headers["content-security-policy"].startswith("sandbox")
    linked = set(re.findall(r'href="([^"]+\.jpg)"', both.text))
    assert len(linked) == 4
    for image in linked:
        assert reader.get(urljoin(f"/previews/{DATE}/{two}/compare/{one}", image)).content.startswith(b"\xff\xd8")
    for gone in ("0" * 32, place.plan().plan_id):
        assert reader.get(f"/previews/{DATE}/{one}/compare/{gone}").status_code == 404


def test_a_run_leads_to_the_build_that_it_published(app: FastAPI, place: Place) -> None:
    (build_id,) = publish_each(place, "a")
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == "region_captions"))
        assert asset is not None
        session.add(
            AssetEvent(
                asset_id=asset.id, source_dag_id="region_captions", source_run_id="manual__led",
                extra={"build_id": build_id, "uri": f"s3://warehouse/region_captions/dt={DATE}"},
            )
        )  # fmt: skip
    reader = client(app)
    answer = reader.get("/run", params={"dag": "region_captions", "run": "manual__led"})
    assert answer.headers["location"].removeprefix(ROOT) == f"/dates/{DATE}/builds/{build_id}"
    for dag, run in (("region_captions", "manual__other"), ("another", "manual__led"), ("", "")):
        answer = reader.get("/run", params={"dag": dag, "run": run})
        assert answer.status_code == 404 and "published no" in answer.text


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
        "records": [], "places": [], "after": None, "looked": 60,
    }  # fmt: skip
    assert not reader.get(f"/api{base}/records", params={"least": "3"}).json()["records"]
    assert "cannot be read" not in reader.get(f"{base}/gallery").text
    page = reader.get(f"{base}/gallery?text=door").text
    assert "24 records here; " in page and "text=door&amp;at=" in page


def test_the_plugin_has_the_pages_and_a_place_in_the_navigation() -> None:
    plugin = RegionCapPlugin()
    (app,) = plugin.fastapi_apps
    assert app["url_prefix"] == ROOT and isinstance(app["app"], FastAPI)
    navigation, of_run = plugin.external_views
    assert navigation["href"] == f"{ROOT}/" and navigation["destination"] == "nav"
    assert of_run["href"] == f"{ROOT}/run?dag={{DAG_ID}}&run={{RUN_ID}}" and of_run["destination"] == "dag_run"


def test_the_asset_says_where_its_pages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    monkeypatch.setenv("REGIONCAP_WAREHOUSE_URI", "s3://warehouse/region_captions")
    asset = dataset(Deployment(warehouse_uri="s3://warehouse/region_captions"))
    assert (asset.name, asset.uri) == ("region_captions", "s3://warehouse/region_captions")
    assert asset.extra == {"pages": "https://airflow.example.com/regioncap/"}
    # Another dataset has none.
    other = dataset(Deployment(warehouse_uri="s3://street/captions"), "street")
    assert (other.name, other.extra) == ("street", {})


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


def test_a_build_leads_to_the_run_that_published_it(app: FastAPI, place: Place) -> None:
    first, second = publish_each(place, "a", "b", keep_builds=3)
    with create_session() as session:
        asset = session.scalar(select(AssetModel).where(AssetModel.name == "region_captions"))
        assert asset is not None
        for run_id, build_id in (("other", first), ("manual__1", second), ("later", second)):
            event = AssetEvent(
                asset_id=asset.id, source_dag_id="region_captions", source_run_id=run_id, extra={"build_id": build_id}
            )
            event.timestamp = datetime.now(UTC) + timedelta(seconds={"later": 60}.get(run_id, 5))
            session.add(event)
    page = client(app).get(f"/dates/{DATE}/builds/{second}").text
    assert "/dags/region_captions/runs/manual__1" in page and "/runs/later" not in page


def test_a_preview_is_shown_with_its_images(app: FastAPI, place: Place) -> None:
    plan_id, name = "a" * 32, "b" * 32
    preview = place.warehouse.sub(preview_path(DATE, plan_id))
    preview.write(PREVIEW_PAGE, b"<p>a page of its own</p>")
    preview.write(image_path(name), encoded(picture()))
    someone = client(app)
    shown = someone.get(f"/previews/{DATE}/{plan_id}/")
    assert (shown.status_code, shown.text) == (200, "<p>a page of its own</p>")
    image = someone.get(f"/previews/{DATE}/{plan_id}/{image_path(name)}")
    assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
    assert someone.get(f"/previews/{DATE}/{'c' * 32}/").status_code == 404
    assert someone.get(f"/previews/{DATE}/{plan_id}/{image_path('c' * 32)}").status_code == 404
