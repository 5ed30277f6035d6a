"""The dates of a warehouse, and one build of a date, as they are now."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError

from regioncap.errors import BuildGoneError, NotFoundError, NothingPublishedError, RegionCapError
from regioncap.parallel import in_order
from regioncap.report.figures import Report, load_report
from regioncap.storage.readback import parsed, read_at_most, unreadable
from regioncap.storage.store import Store
from regioncap.warehouse.layout import (
    BUILD_MANIFEST,
    PREVIEW_PAGE,
    build_path,
    image_path,
    partition_path,
    preview_path,
)
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.reader import Build

# What a build is to its date: the one that readers see, one before it, one that was rolled back from, or one that was
# never published (it waits for somebody's approval, or was superseded before).
Standing = Literal["current", "earlier", "withdrawn", "unpublished"]

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BUILD_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_IMAGE = re.compile(r"[0-9a-f]{32}")

_READS_AT_ONCE = 16
# No manifest and no page that RegionCap writes is larger by far.
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class PublishedDate:
    """A date's folder: what is published there with its report, if that can be had, or what is wrong with it."""

    date: str
    manifest: Manifest | None
    report: Report | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Preview:
    """What a run made of some rows: the plan that it is known by, and when, as a time in UTC."""

    plan_id: str
    made: str


@dataclass(frozen=True)
class SeenBuild:
    """A build that somebody looks at; `published` is the date's current one."""

    date: str
    manifest: Manifest
    standing: Standing
    published: Manifest | None
    partition: Store

    @property
    def content(self) -> Build:
        """Its files."""
        return Build(self.manifest, self.partition)

    def report(self) -> Report | None:
        """Its report; None where it cannot be had."""
        return load_report(self.partition, self.manifest)


def dates_of(warehouse: Store) -> list[str]:
    """The dates that have a folder in a warehouse, the latest first."""
    names = (name.removeprefix(partition_path("")) for name in warehouse.folders())
    return sorted(filter(_DATE.fullmatch, names), reverse=True)


def published_dates(warehouse: Store, dates: Sequence[str]) -> list[PublishedDate]:
    """What is published at these dates."""
    return list(in_order(lambda date: _published(warehouse, date), dates, _READS_AT_ONCE))


def _published(warehouse: Store, date: str) -> PublishedDate:
    partition = warehouse.sub(partition_path(date))
    try:
        manifest, _ = current(partition)
    except RegionCapError as error:
        return PublishedDate(date, None, problem=str(error))
    return PublishedDate(date, manifest, load_report(partition, manifest) if manifest else None)


def current_build(warehouse: Store, date: str) -> str:
    """The id of a date's current build. Raises NothingPublishedError."""
    published = current(partition_of(warehouse, date))[0]
    if published is None:
        raise NothingPublishedError(f"nothing is published for {date}")
    if not is_build_id(published.build_id):
        raise BuildGoneError(f"the manifest of {date} names no build: regioncap builds says what is there")
    return published.build_id


def is_build_id(text: str) -> bool:
    """Whether a build can have this id. Others, as somebody may have written them, lead nowhere: neither `..` does."""
    return _BUILD_ID.fullmatch(text) is not None


def see_build(warehouse: Store, date: str, build_id: str) -> SeenBuild:
    """A build of a date, also one that is not published. Raises BuildGoneError where there is none of this id."""
    partition = partition_of(warehouse, date)
    published = current(partition)[0]
    if not is_build_id(build_id):
        raise BuildGoneError("there is no such build")
    path = f"{build_path(build_id)}/{BUILD_MANIFEST}"
    try:
        manifest = parsed(Manifest, read_at_most(partition, path, _MOST_BYTES))
    except NotFoundError as error:
        raise BuildGoneError(f"there is no build {build_id} of {date}, or it is not kept any more") from error
    except ValidationError as error:
        raise BuildGoneError(unreadable(f"{partition.uri}/{path}", error, "choose another build")) from error
    if (manifest.build_id, manifest.build) != (build_id, build_path(build_id)):
        raise BuildGoneError(f"{partition.uri}/{path} is another build's manifest: choose another build")
    return SeenBuild(date, manifest, _standing(build_id, published), published, partition)


def marked_image(build: SeenBuild, name: str) -> bytes:
    """A marked image of a build, by the name that its content gives it. Raises BuildGoneError."""
    if not _IMAGE.fullmatch(name):
        raise BuildGoneError("there is no such image")
    return build.content.image({"image_with_bbox": image_path(name)})


def previews_of(warehouse: Store, date: str) -> list[Preview]:
    """A date's previews, the latest first."""
    place = warehouse.sub(preview_path(date, ""))

    def found(name: str) -> tuple[float, str] | None:
        try:
            return place.stat(f"{name}/{PREVIEW_PAGE}").modified, name
        except NotFoundError:
            return None

    names = filter(_IMAGE.fullmatch, place.folders())
    latest = sorted(filter(None, in_order(found, names, _READS_AT_ONCE)), reverse=True)
    return [Preview(name, datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")) for at, name in latest]


def published_page(place: Store, path: str) -> bytes:
    """A page that a run has written into the warehouse. Raises BuildGoneError."""
    try:
        page = read_at_most(place, path, _MOST_BYTES)
    except NotFoundError as error:
        raise BuildGoneError(f"{place.uri}/{path} is gone") from error
    if len(page) > _MOST_BYTES:
        raise BuildGoneError(f"{place.uri}/{path} is larger than any that RegionCap writes")
    return page


def partition_of(warehouse: Store, date: str) -> Store:
    """A date's partition. Raises NothingPublishedError where it is no date."""
    if not _DATE.fullmatch(date):
        raise NothingPublishedError("this is no date")
    return warehouse.sub(partition_path(date))


def _standing(build_id: str, published: Manifest | None) -> Standing:
    if published is not None:
        if published.build_id == build_id:
            return "current"
        for build in published.history:
            if build.build_id == build_id:
                return "withdrawn" if build.withdrawn else "earlier"
    return "unpublished"
