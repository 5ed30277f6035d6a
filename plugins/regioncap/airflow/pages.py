"""RegionCap's pages in Airflow's api-server, for whom Airflow lets see the DAG.

The warehouse is the deployment's own, never one that a request names. Airflow leaves the endpoints of plugins open to
everybody, so each route here depends on Airflow's own check; a test walks all of them.
"""

import time
from functools import lru_cache
from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from regioncap.airflow.links import ROOT
from regioncap.airflow.places import open_warehouse
from regioncap.config.deployment import Deployment
from regioncap.errors import BuildGoneError, NotFoundError, NothingPublishedError, RegionCapError
from regioncap.gates import all_gates
from regioncap.pages import render
from regioncap.pages.builds import SeenBuild, current_build, dates_of, marked_image, published_dates, see_build
from regioncap.pages.comparing import compare_builds
from regioncap.pages.gallery import PAGE, Place, Wanted, find
from regioncap.pages.rejects import find_rejected
from regioncap.regions.codes import Code
from regioncap.storage.patience import wait_at_most
from regioncap.storage.store import Store
from regioncap.warehouse.layout import image_path, preview_path

# Whoever may read this DAG may see what it has published.
DAG_ID = "region_captions"

# Somebody waits for the page.
_PATIENCE_SECONDS = 15.0
# A connection that was changed is taken up this soon.
_CONNECTION_SECONDS = 60
# Dates of one page.
_DATES = 100
# Of a build's own page.
_FIRST = 6

# Each page says itself which style it has; who may frame it cannot be said there.
_POLICY = f"default-src 'none'; {render.SOURCES}; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
# The report and images come from the bucket: whoever wrote them has no say in Airflow's pages.
_ALONE = {"Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#6f9fd8" stroke-width="2">'
    '<rect x="3" y="7" width="18" height="14" rx="1"/><rect x="3" y="2" width="8" height="8" fill="#6f9fd8"/></svg>'
)

_Text = Annotated[str, Query(max_length=200)]
_Date = Annotated[str, Path(pattern=r"^\d{4}-\d\d-\d\d$")]
_Hash = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
_Count = Annotated[int | None, Query(ge=1, le=1000)]

router = APIRouter(dependencies=[Depends(requires_access_dag("GET", param_dag_id=DAG_ID))])


def create_app() -> FastAPI:
    """The pages, as an app of its own below `ROOT`."""
    wait_at_most(_PATIENCE_SECONDS)
    # Without pages about itself: these would be open to everybody.
    app = FastAPI(title="RegionCap", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.add_exception_handler(RegionCapError, _problem)
    app.add_exception_handler(ConnectionError, _problem)
    return app


def warehouse() -> Store:
    """The deployment's warehouse."""
    return _warehouse(Deployment.from_environment().warehouse_uri, int(time.monotonic() // _CONNECTION_SECONDS))


@lru_cache(maxsize=1)
def _warehouse(uri: str, minute: int) -> Store:
    return open_warehouse(uri)


Warehouse = Annotated[Store, Depends(warehouse)]


def _build(place: Warehouse, date: str, build_id: str) -> SeenBuild:
    return see_build(place, date, build_id)


Build = Annotated[SeenBuild, Depends(_build)]


def _root(request: Request) -> str:
    """The path of the pages, where Airflow itself is below one too."""
    return str(request.scope.get("root_path", ROOT))


Root = Annotated[str, Depends(_root)]


def _wanted(text: _Text = "", check: _Text = "", least: str = "", most: str = "") -> Wanted:
    return Wanted(
        text.strip(),
        check,
        *(int(number) if number.isdecimal() and len(number) < 5 else None for number in (least, most)),
    )


@router.get("/")
def datasets(place: Warehouse, root: Root, before: _Text = "") -> Response:
    """All dates."""
    dates = dates_of(place)
    shown = [date for date in dates if not before or date < before][: _DATES + 1]
    older = shown[_DATES - 1] if len(shown) > _DATES else None
    return _page(render.datasets_page(root, place.uri, len(dates), published_dates(place, shown[:_DATES]), older))


@router.get("/icon.svg")
def icon() -> Response:
    """What stands beside the name in Airflow's navigation: a marked region."""
    return Response(_ICON, media_type="image/svg+xml", headers=_HEADERS | _ALONE | _FOR_EVER)


@router.get("/dates/{date}")
def date_page(place: Warehouse, root: Root, date: str) -> Response:
    """The way to a date's current build."""
    return RedirectResponse(f"{root}/dates/{date}/builds/{current_build(place, date)}", headers=_HEADERS)


@router.get("/dates/{date}/builds/{build_id}")
def build_page(build: Build, root: Root) -> Response:
    """One build."""
    return _page(render.build_page(root, build, build.report(), find(build, Wanted(), Place(), _FIRST)))


@router.get("/dates/{date}/builds/{build_id}/gallery")
def gallery(build: Build, root: Root, wanted: Annotated[Wanted, Depends(_wanted)], at: _Text = "") -> Response:
    """Its records."""
    start = Place.of(at)
    report = build.report()
    found = find(build, wanted, start, PAGE)
    checks = list(report.gates) if report else [str(gate.code) for gate in all_gates()]
    checks = list(dict.fromkeys([*checks, str(Code.DUPLICATE_BOX), *filter(None, [wanted.check])]))
    return _page(render.gallery_page(root, build, wanted, start, found, checks))


@router.get("/dates/{date}/builds/{build_id}/rejected")
def rejected(build: Build, root: Root, code: _Text = "", at: _Count = None) -> Response:
    """Its rejected rows."""
    report, start = build.report(), at or 0
    codes = report.rejected_by_code if report else {}
    return _page(render.rejected_page(root, build, codes, code, start, find_rejected(build, code, start)))


@router.get("/dates/{date}/builds/{build_id}/compare/{other_id}")
def compare(build: Build, place: Warehouse, root: Root, date: str, other_id: str) -> Response:
    """What differs between another build of its date and it."""
    other = see_build(place, date, other_id)
    return _page(render.compare_page(root, other, build, compare_builds(other, build)))


@router.get("/dates/{date}/builds/{build_id}/report")
def report(build: Build) -> Response:
    """Its report, as it was published."""
    data = build.partition.read(f"{build.manifest.build}/report.html")
    return HTMLResponse(data, headers=_HEADERS | _ALONE)


@router.get("/dates/{date}/builds/{build_id}/images/{name}.jpg")
def image(build: Build, name: str) -> Response:
    """A marked image."""
    return Response(marked_image(build, name), media_type="image/jpeg", headers=_HEADERS | _ALONE | _FOR_EVER)


@router.get("/previews/{date}/{plan_id}/")
def preview(place: Warehouse, date: _Date, plan_id: _Hash) -> Response:
    """What a run that was to try some rows has made of them."""
    return HTMLResponse(place.read(f"{preview_path(date, plan_id)}/try.html"), headers=_HEADERS | _ALONE)


@router.get("/previews/{date}/{plan_id}/images/{name}.jpg")
def preview_image(place: Warehouse, date: _Date, plan_id: _Hash, name: _Hash) -> Response:
    """A marked image of it."""
    data = place.read(f"{preview_path(date, plan_id)}/{image_path(name)}")
    return Response(data, media_type="image/jpeg", headers=_HEADERS | _ALONE)


@router.get("/api/dates")
def api_dates(place: Warehouse) -> Response:
    """The dates, the latest first."""
    return JSONResponse(dates_of(place), headers=_HEADERS)


@router.get("/api/dates/{date}/builds/{build_id}")
def api_build(build: Build) -> Response:
    """A build's manifest, and what it is to its date."""
    return JSONResponse(
        {"standing": build.standing, "manifest": build.manifest.model_dump(mode="json")}, headers=_HEADERS
    )


@router.get("/api/dates/{date}/builds/{build_id}/records")
def api_records(build: Build, wanted: Annotated[Wanted, Depends(_wanted)], at: _Text = "") -> Response:
    """Some of a build's records; `after` is the `at` of the next ones, null at the end."""
    found = find(build, wanted, Place.of(at))
    records = [record.model_dump(mode="json") for record in found.records]
    after = None if found.after is None else str(found.after)
    return JSONResponse({"records": records, "after": after, "looked": found.looked}, headers=_HEADERS)


@router.get("/api/dates/{date}/builds/{build_id}/rejected")
def api_rejected(build: Build, code: _Text = "", at: _Count = None) -> Response:
    """Some of a build's rejected rows; `after` is the `at` of the next ones, null at the end."""
    found = find_rejected(build, code, at or 0)
    return JSONResponse(
        {"rows": [row.model_dump(mode="json") for row in found.rows], "after": found.after}, headers=_HEADERS
    )


def _page(text: str) -> Response:
    return HTMLResponse(text, headers=_HEADERS)


def _problem(request: Request, error: Exception) -> Response:
    gone = isinstance(error, BuildGoneError | NothingPublishedError | NotFoundError)
    status, heading = (404, "There is nothing here") if gone else (503, "The warehouse cannot be read now")
    if "/api/" in request.url.path:
        return JSONResponse({"detail": str(error)}, status, headers=_HEADERS)
    return HTMLResponse(render.problem_page(_root(request), heading, str(error)), status, headers=_HEADERS)
