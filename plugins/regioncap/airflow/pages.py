"""RegionCap's pages in Airflow's api-server, for whom Airflow lets see the DAG.

The warehouse is the deployment's own, never one that a request names. Airflow leaves the endpoints of plugins open to
everybody, so each route here depends on Airflow's own check; a test walks all of them.
"""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, get_args

from airflow.models import DagRun, TaskInstance
from airflow.models.asset import AssetEvent
from airflow.models.hitl import HITLDetail
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from sqlalchemy import select

from regioncap.airflow.links import ROOT, run_page
from regioncap.airflow.page_rights import DAG_ID, Form, JsonBody, Token, User, may_read, may_trigger
from regioncap.airflow.places import images_of, open_drop, open_warehouse, open_work
from regioncap.config.deployment import Deployment
from regioncap.config.settings import settings_of
from regioncap.drop.dates import resolve_drop_date
from regioncap.drop.decoders import Decoders
from regioncap.drop.elsewhere import Images
from regioncap.errors import (
    BuildGoneError,
    CommitRefusedError,
    CorrectionConflictError,
    CorrectionError,
    DropDateError,
    NotFoundError,
    NothingPublishedError,
    RegionCapError,
    RollBackError,
    StepMissingError,
)
from regioncap.gates import all_gates
from regioncap.pages import render
from regioncap.pages.builds import (
    SeenBuild,
    current_build,
    dates_of,
    marked_image,
    partition_of,
    previews_of,
    published_dates,
    published_page,
    see_build,
)
from regioncap.pages.comparing import SHOWN, compare_builds
from regioncap.pages.correcting import Seen, Wish, language_of, of_record, of_rejected
from regioncap.pages.gallery import PAGE, Place, Wanted, find
from regioncap.pages.originals import original, original_of_rejected
from regioncap.pages.rejects import find_rejected
from regioncap.regions.codes import Code
from regioncap.report.figures import Report
from regioncap.report.trial import differing_rows, render_trial
from regioncap.steps.trial import gather
from regioncap.storage.patience import wait_at_most
from regioncap.storage.store import Store
from regioncap.warehouse.corrections import Correction, correct, corrections_of
from regioncap.warehouse.history import roll_back
from regioncap.warehouse.layout import PREVIEW_PAGE, image_path, partition_path, preview_path
from regioncap.warehouse.manifest import in_utc
from regioncap.warehouse.reviews import (
    DrawnRegion,
    Estimate,
    Review,
    Verdict,
    draw,
    estimate,
    note,
    reviews_of,
    verdicts,
)
from regioncap.work.plan import Plan

_log = logging.getLogger(__name__)

# Somebody waits for the page.
_PATIENCE_SECONDS = 15.0
# A connection that was changed is taken up this soon.
_CONNECTION_SECONDS = 60
# Dates of one page.
_DATES = 100
# Of a build's own page.
_FIRST = 6
# So many events since a build was made are looked through for the run that published it.
_EVENTS = 500
# So many runs that have not ended are told of.
_RUNS = 20
# Lines of one page of corrections.
_LINES = 200
# Samples that are drawn are kept in memory: a build never changes, and to draw one, all of it is read.
_SAMPLES = 16

# Each page says itself which style it has; who may frame it cannot be said there.
_POLICY = (
    f"default-src 'none'; {render.SOURCES}; {render.SCRIPT}; style-src 'unsafe-inline'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
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
_Count = Annotated[int | None, Query(ge=1, le=10**9)]

router = APIRouter(dependencies=[Depends(may_read)])
writing = APIRouter(dependencies=[Depends(may_read), Depends(may_trigger)])


def create_app() -> FastAPI:
    """The pages, as an app of its own below `ROOT`."""
    wait_at_most(_PATIENCE_SECONDS)
    # Without pages about itself: these would be open to everybody.
    app = FastAPI(title="RegionCap", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    app.include_router(writing)
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


def drop_of(date: str) -> Store:
    """A date's drop, in the deployment's place for drops."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date):
        raise NothingPublishedError("this is no date")
    return _drop(Deployment.from_environment().drops_uri, date, int(time.monotonic() // _CONNECTION_SECONDS))


@lru_cache(maxsize=8)
def _drop(uri: str, date: str, minute: int) -> Store:
    return open_drop(uri, date)


Drop = Annotated[Store, Depends(drop_of)]


def work_of(date: _Date) -> Store:
    """A date's work area, where the deployment has it."""
    return open_work(settings_of(Deployment.from_environment().default_params).work_root, date)


Work = Annotated[Store, Depends(work_of)]


def _report(build: Build) -> Report | None:
    return build.report()


ReportOf = Annotated[Report | None, Depends(_report)]


def originals(drop: Drop, report: ReportOf) -> Images:
    """Where the images of a build lie, the drop or else: as for a run, only where the deployment allows it."""
    uri = report.settings.get("images_uri") if report else None
    return images_of(drop, str(uri) if uri else None)


Originals = Annotated[Images, Depends(originals)]


@lru_cache(maxsize=2)
def _decoders(heic: bool) -> Decoders:
    """Those of this process: together they take no more memory than there is, however many look at originals."""
    return Decoders(heic=heic)


def _writing(token: Token) -> render.Writing | None:
    return render.Writing(token) if token is not None else None


MayWrite = Annotated[render.Writing | None, Depends(_writing)]


def run_of(build: Build) -> str | None:
    """The page of the run that published a build; None where Airflow does not know it any more, or it waits."""
    try:
        made = in_utc(build.manifest.created_at).astimezone(UTC)
    except (ValueError, OverflowError):  # where it was written by hand
        return None
    published = select(AssetEvent.source_run_id, AssetEvent.extra).where(
        AssetEvent.source_dag_id == DAG_ID, AssetEvent.timestamp >= made
    )
    with create_session() as session:
        events = session.execute(published.order_by(AssetEvent.timestamp).limit(_EVENTS)).all()
    runs = (run_id for run_id, extra in events if extra.get("build_id") == build.manifest.build_id)
    run_id = next(filter(None, runs), None)
    return run_page(DAG_ID, run_id) if run_id else None


Run = Annotated[str | None, Depends(run_of)]


def runs_under_way() -> Sequence[render.UnderWay]:
    """The DAG's runs that have not ended, and which of them wait for a person."""
    open_ones = select(DagRun).where(DagRun.dag_id == DAG_ID, DagRun.state.in_(("queued", "running")))
    asking = (
        select(TaskInstance.run_id)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(TaskInstance.dag_id == DAG_ID, HITLDetail.responded_at.is_(None))
    )
    with create_session() as session:
        runs = session.scalars(open_ones.order_by(DagRun.run_after.desc()).limit(_RUNS)).all()
        asks = set(session.scalars(asking))
        return [
            render.UnderWay(_date_of(run), run.run_id, run_page(DAG_ID, run.run_id), str(run.state), run.run_id in asks)
            for run in runs
        ]


def _date_of(run: DagRun) -> str | None:
    try:
        return resolve_drop_date((run.conf or {}).get("drop_date"), run.partition_key, run.logical_date)
    except DropDateError:
        return None


RunsUnderWay = Annotated[Sequence[render.UnderWay], Depends(runs_under_way)]


def _root(request: Request) -> str:
    """The path of the pages, where Airflow itself is below one too."""
    return str(request.scope.get("root_path", ROOT))


Root = Annotated[str, Depends(_root)]


def _wanted(
    text: _Text = "",
    label: _Text = "",
    check: _Text = "",
    code: _Text = "",
    least: _Text = "",
    most: _Text = "",
    doubted: _Text = "",
) -> Wanted:
    fewest, highest = (_number(number) if number.isdecimal() else None for number in (least, most))
    return Wanted(text.strip(), label.strip(), check, code, fewest, highest, doubted=bool(doubted))


@router.get("/")
def datasets(place: Warehouse, root: Root, under_way: RunsUnderWay, before: _Text = "") -> Response:
    """All dates."""
    dates = dates_of(place)
    shown = [date for date in dates if not before or date < before][: _DATES + 1]
    older = shown[_DATES - 1] if len(shown) > _DATES else None
    rows = published_dates(place, shown[:_DATES])
    return _page(render.datasets_page(root, place.uri, len(dates), rows, older, under_way))


@router.get("/run")
def build_of_run(place: Warehouse, root: Root, dag: _Text = "", run: _Text = "") -> Response:
    """The way from a run to the build that it published."""
    events = select(AssetEvent.extra).where(AssetEvent.source_dag_id == DAG_ID, AssetEvent.source_run_id == run)
    # PostgreSQL does not take a NUL in a text.
    can_be = dag == DAG_ID and "\0" not in run
    with create_session() as session:
        told = session.scalars(events.order_by(AssetEvent.timestamp.desc())).first() if can_be else None
    if not told:
        raise NothingPublishedError(
            f"this run has published no build, or not yet: its task publish says more. Runs of {DAG_ID} publish them"
        )
    date = str(told.get("uri")).rpartition(partition_path(""))[2]
    return _to(root, see_build(place, date, str(told.get("build_id"))), "", 307)


@router.get("/icon.svg")
def icon() -> Response:
    """What stands beside the name in Airflow's navigation: a marked region."""
    return Response(_ICON, media_type="image/svg+xml", headers=_HEADERS | _ALONE | _FOR_EVER)


@router.get("/dates/{date}")
def date_page(place: Warehouse, root: Root, date: str) -> Response:
    """The way to a date's current build."""
    return RedirectResponse(f"{root}/dates/{date}/builds/{current_build(place, date)}", headers=_HEADERS)


@router.get("/dates/{date}/builds/{build_id}")
def build_page(build: Build, report: ReportOf, root: Root, run: Run, writes: MayWrite) -> Response:
    """One build."""
    doubted = find(build, Wanted(doubted=True), Place(), _FIRST) if build.manifest.judged else None
    found = doubted if doubted and doubted.records else find(build, Wanted(), Place(), _FIRST)
    return _page(render.build_page(root, build, report, found, _estimate(build), run, writes))


@router.get("/dates/{date}/builds/{build_id}/gallery")
def gallery(
    build: Build,
    report: ReportOf,
    root: Root,
    writes: MayWrite,
    wanted: Annotated[Wanted, Depends(_wanted)],
    at: _Text = "",
) -> Response:
    """Its records."""
    start = Place.of(at)
    found = find(build, wanted, start, PAGE)
    checks = list(report.gates) if report else [str(gate.code) for gate in all_gates()]
    checks = list(dict.fromkeys([*checks, str(Code.DUPLICATE_BOX), *filter(None, [wanted.check])]))
    codes = list(dict.fromkeys([*(report.dropped_boxes_by_code if report else ()), *filter(None, [wanted.code])]))
    return _page(render.gallery_page(root, build, wanted, start, found, checks, codes, _seen(build, report), writes))


@router.get("/dates/{date}/builds/{build_id}/rejected")
def rejected(
    build: Build, report: ReportOf, root: Root, writes: MayWrite, code: _Text = "", at: _Count = None
) -> Response:
    """Its rejected rows."""
    start = at or 0
    found = find_rejected(build, code, start)
    return _page(render.rejected_page(root, build, report, code, start, found, _seen(build, report), writes))


@router.get("/dates/{date}/builds/{build_id}/rejected/{line}/original.jpg")
def original_of_rejected_row(build: Build, images: Originals, report: ReportOf, line: int) -> Response:
    """The image of a rejected row, encoded anew."""
    data = original_of_rejected(build, line, images, _decoders_for(report))
    return Response(data, media_type="image/jpeg", headers=_HEADERS | _ALONE)


@router.get("/dates/{date}/builds/{build_id}/compare/{other_id}")
def compare(build: Build, place: Warehouse, root: Root, date: str, other_id: str) -> Response:
    """What differs between another build of its date and it."""
    other = see_build(place, date, other_id)
    return _page(render.compare_page(root, other, build, compare_builds(other, build)))


@router.get("/dates/{date}/builds/{build_id}/report")
def report(build: Build) -> Response:
    """Its report, as it was published."""
    data = published_page(build.partition, f"{build.manifest.build}/report.html")
    return HTMLResponse(data, headers=_HEADERS | _ALONE)


@router.get("/dates/{date}/builds/{build_id}/images/{name}.jpg")
def image(build: Build, name: str) -> Response:
    """A marked image."""
    return Response(marked_image(build, name), media_type="image/jpeg", headers=_HEADERS | _ALONE | _FOR_EVER)


@router.get("/dates/{date}/builds/{build_id}/originals/{place}.jpg")
def original_image(build: Build, images: Originals, report: ReportOf, place: str) -> Response:
    """The original of a record, encoded anew."""
    data = original(build, Place.of(place), images, _decoders_for(report))
    return Response(data, media_type="image/jpeg", headers=_HEADERS | _ALONE)


@router.get("/dates/{date}/builds/{build_id}/sample")
def sample(build: Build, root: Root, writes: MayWrite) -> Response:
    """The next of its drawn regions that nobody has looked at."""
    regions = _drawn(build)
    said = verdicts(reviews_of(build.partition).lines(), build.manifest.build_id)
    left = next((region for region in regions if region.key not in said), None)
    return _page(render.sample_page(root, build, left, len(regions), estimate(said.values()), writes))


@router.get("/dates/{date}/corrections")
def corrections(place: Warehouse, root: Root, date: str, at: _Count = None) -> Response:
    """What people have corrected of a date, the latest first."""
    lines = corrections_of(partition_of(place, date)).lines()
    until = len(lines) if at is None else min(at, len(lines))
    shown = lines[max(0, until - _LINES) : until][::-1]
    older = until - _LINES if until > _LINES else None
    return _page(render.corrections_page(root, date, len(lines), shown, older))


@writing.post("/dates/{date}/builds/{build_id}/corrections")
def correct_record(build: Build, root: Root, user: User, form: Form) -> Response:
    """Correct a record, or a region of it."""
    wish = Wish(
        form.get("action", ""),
        _number(form["region"]) if form.get("region") else None,
        form.get("about", ""),
        form.get("caption", ""),
        form.get("note", ""),
    )
    place = Place.of(form.get("record", ""))

    def lines(language: str) -> Sequence[Correction]:
        return of_record(build, place, wish, language, user.get_name())

    return _corrected(build, root, form, lines, wish.caption, f"#r{place}")


@writing.post("/dates/{date}/builds/{build_id}/rejected/{line}/corrections")
def correct_rejected(build: Build, root: Root, line: int, user: User, form: Form) -> Response:
    """Make a record of a rejected row."""
    captions = {
        _number(name.removeprefix("caption")): caption for name, caption in form.items() if name.startswith("caption")
    }
    wish = Wish(form.get("action", ""), note=form.get("note", ""), captions=captions)

    def lines(language: str) -> Sequence[Correction]:
        return of_rejected(build, line, wish, language, user.get_name())

    return _corrected(build, root, form, lines, " / ".join(captions.values()), "")


@writing.post("/dates/{date}/builds/{build_id}/current")
def make_current(build: Build, root: Root, user: User, form: Form) -> Response:
    """Make an earlier build the date's current one again."""
    roll_back(build.partition, build.manifest.build_id)
    _log.info("%s made %s of %s the current build again", user.get_name(), build.manifest.build_id, build.date)
    return _to(root, build, "")


@writing.post("/dates/{date}/builds/{build_id}/sample")
def judge(build: Build, root: Root, user: User, form: Form) -> Response:
    """Say of a drawn region whether its caption is right."""
    known = {region.key for region in _drawn(build)}
    verdict = next((verdict for verdict in get_args(Verdict) if verdict == form.get("verdict")), None)
    if verdict is None or form.get("region") not in known:
        raise CorrectionError("there is no such region in this sample, or no such answer")
    _note_review(build, form["region"], verdict, user.get_name())
    return _to(root, build, "/sample")


class _Asked(BaseModel):
    """A correction as a program asks for it: `record` is a place, `seen` the number of the last line that it knows."""

    model_config = ConfigDict(extra="forbid")

    record: str = Field(max_length=40)
    action: str = Field(max_length=20)
    region: int | None = Field(None, ge=1)
    about: str = Field("", max_length=500)
    caption: str = Field("", max_length=20_000)
    note: str = Field("", max_length=20_000)
    seen: int = Field(0, ge=0)


@writing.post("/api/dates/{date}/builds/{build_id}/corrections")
def api_correct(build: Build, user: User, body: JsonBody) -> Response:
    """Correct a record, or a region of it."""
    try:
        asked = _Asked.model_validate_json(body)
    except ValidationError as error:
        raise CorrectionError(str(error)) from error
    wish = Wish(asked.action, asked.region, asked.about, asked.caption, asked.note)
    lines = of_record(build, Place.of(asked.record), wish, language_of(build.report()), user.get_name())
    added = correct(corrections_of(build.partition), lines, asked.seen)
    return _json(added, 201)


@router.get("/api/dates/{date}/corrections")
def api_corrections(place: Warehouse, date: str) -> Response:
    """What people have corrected of a date, the first first."""
    lines = corrections_of(partition_of(place, date)).lines()
    return _json(lines)


@router.get("/api/dates/{date}/builds/{build_id}/sample")
def api_sample(build: Build) -> Response:
    """The drawn regions, what people say of them, and the estimate that follows."""
    said = verdicts(reviews_of(build.partition).lines(), build.manifest.build_id)
    regions = [
        {
            "key": one.key,
            "id": one.record.id,
            "region": one.region,
            "caption": one.caption,
            "verdict": said.get(one.key),
        }
        for one in _drawn(build)
    ]
    told = estimate(said.values())
    return _json(
        {"regions": regions, "right": told.right, "wrong": told.wrong, "unsure": told.unsure, "share": told.share,
         "low": told.low, "high": told.high},
    )  # fmt: skip


@router.get("/previews/{date}")
def previews(place: Warehouse, root: Root, date: _Date) -> Response:
    """What runs that were to try some rows of a date have made of them."""
    return _page(render.previews_page(root, date, previews_of(place, date)))


@router.get("/previews/{date}/{plan_id}/compare/{other_id}")
def compare_previews(work: Work, plan_id: _Hash, other_id: str) -> Response:
    """Two previews side by side, and the first rows of which they make different things."""
    if not re.fullmatch("[0-9a-f]{32}", other_id):
        raise NothingPublishedError("there is no such preview")
    plans = [Plan.load(work, one) for one in (plan_id, other_id)]
    first, other = (gather(work, plan, plan.plan_id[:8]) for plan in plans)
    first.folder, other.folder = "../", f"../../{other_id}/"
    shown = differing_rows(first, other)[:SHOWN]
    page = render_trial(plans[0].drop_uri, plans[0].model, [first, other], [], 0.0, shown)
    return HTMLResponse(page, headers=_HEADERS | _ALONE)


@router.get("/previews/{date}/{plan_id}/")
def preview(place: Warehouse, date: _Date, plan_id: _Hash) -> Response:
    """What a run that was to try some rows has made of them."""
    page = published_page(place, f"{preview_path(date, plan_id)}/{PREVIEW_PAGE}")
    return HTMLResponse(page, headers=_HEADERS | _ALONE)


@router.get("/previews/{date}/{plan_id}/images/{name}.jpg")
def preview_image(place: Warehouse, date: _Date, plan_id: _Hash, name: _Hash) -> Response:
    """A marked image of it."""
    data = published_page(place, f"{preview_path(date, plan_id)}/{image_path(name)}")
    return Response(data, media_type="image/jpeg", headers=_HEADERS | _ALONE)


@router.get("/api/dates")
def api_dates(place: Warehouse) -> Response:
    """The dates, the latest first."""
    return _json(dates_of(place))


@router.get("/api/dates/{date}")
def api_date(place: Warehouse, date: _Date) -> Response:
    """A date's current build, its counts, and its figures to compare dates by."""
    (found,) = published_dates(place, [date])
    if found.manifest is None:
        raise NothingPublishedError(found.problem or f"nothing is published for {date}")
    manifest, report = found.manifest, found.report
    return _json(
        {"build_id": manifest.build_id, "created_at": manifest.created_at, "counts": manifest.counts,
         "judged": manifest.judged, "quality": report.quality if report else None},
    )  # fmt: skip


@router.get("/api/dates/{date}/builds/{build_id}")
def api_build(build: Build) -> Response:
    """A build's manifest, and what it is to its date."""
    return _json({"standing": build.standing, "manifest": build.manifest})


@router.get("/api/dates/{date}/builds/{build_id}/records")
def api_records(build: Build, wanted: Annotated[Wanted, Depends(_wanted)], at: _Text = "") -> Response:
    """Some of a build's records; `after` is the `at` of the next ones, null at the end."""
    found = find(build, wanted, Place.of(at))
    places = list(map(str, found.places))
    after = None if found.after is None else str(found.after)
    return _json({"records": found.records, "places": places, "after": after, "looked": found.looked})


@router.get("/api/dates/{date}/builds/{build_id}/rejected")
def api_rejected(build: Build, code: _Text = "", at: _Count = None) -> Response:
    """Some of a build's rejected rows; `after` is the `at` of the next ones, null at the end."""
    found = find_rejected(build, code, at or 0)
    return _json({"rows": found.rows, "after": found.after})


def _json(value: Any, status: int = 200) -> Response:
    """What a program gets; a number that JSON does not have is null, whoever has written it."""
    return Response(to_json(value, inf_nan_mode="null"), status, media_type="application/json", headers=_HEADERS)


def _page(text: str) -> Response:
    return HTMLResponse(text, headers=_HEADERS)


def _seen(build: SeenBuild, report: Report | None) -> Seen | None:
    """What was corrected of a build's date; None where nobody can tell the build's language."""
    try:
        language = language_of(report)
    except CorrectionError:
        return None
    return Seen.of(corrections_of(build.partition).lines(), language)


def _corrected(
    build: SeenBuild,
    root: str,
    form: dict[str, str],
    lines: Callable[[str], Sequence[Correction]],
    caption: str,
    anchor: str,
) -> Response:
    """Enter corrections, and go back to where they were made."""
    back = form.get("back", "")
    if not re.fullmatch(r"(?:gallery|rejected)(?:\?[\x21-\x7e]{0,2000})?", back) or "#" in back:
        back = "gallery"
    try:
        correct(corrections_of(build.partition), lines(language_of(build.report())), _number(form.get("seen", "")))
    except CorrectionConflictError as error:
        page = render.conflict_page(root, str(error), caption, f"{_here(root, build)}/{back}{anchor}")
        return HTMLResponse(page, 409, headers=_HEADERS)
    return _to(root, build, f"/{back}{anchor}")


def _to(root: str, build: SeenBuild, page: str, status: int = 303) -> Response:
    return RedirectResponse(f"{_here(root, build)}{page}", status, headers=_HEADERS)


def _decoders_for(report: Report | None) -> Decoders:
    return _decoders(bool(report and report.settings.get("read_heic")))


def _here(root: str, build: SeenBuild) -> str:
    return f"{root}/dates/{build.date}/builds/{build.manifest.build_id}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _estimate(build: SeenBuild) -> Estimate:
    return estimate(verdicts(reviews_of(build.partition).lines(), build.manifest.build_id).values())


def _note_review(build: SeenBuild, region: str, verdict: Verdict, by: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    note(
        reviews_of(build.partition),
        Review(at=at, by=by, build_id=build.manifest.build_id, region=region, verdict=verdict),
    )


_samples: OrderedDict[str, Sequence[DrawnRegion]] = OrderedDict()


def _drawn(build: SeenBuild) -> Sequence[DrawnRegion]:
    key = f"{build.partition.uri} {build.manifest.build_id} {build.manifest.created_at}"
    if key not in _samples:
        _samples[key] = draw(build.content)
        while len(_samples) > _SAMPLES:
            _samples.popitem(last=False)
    return _samples[key]


def _problem(request: Request, error: Exception) -> Response:
    gone = isinstance(error, BuildGoneError | NothingPublishedError | NotFoundError | StepMissingError)
    status, heading = (404, "There is nothing here") if gone else (503, "The warehouse cannot be read now")
    if isinstance(error, CorrectionError):
        status, heading = 400, "This cannot be entered"
    if isinstance(error, RollBackError | CommitRefusedError):
        status, heading = 409, "This cannot be done"
    if isinstance(error, CorrectionConflictError):
        status, heading = 409, "Somebody was faster"
    if "/api/" in request.url.path:
        return _json({"detail": str(error)}, status)
    return HTMLResponse(render.problem_page(_root(request), heading, str(error)), status, headers=_HEADERS)
