"""`forget`: take images out of all that was published of the dates, and out of all that is kept to publish it again.

What is to be forgotten is entered into a list first of all (`warehouse/forgotten.py`), so that no later run brings it
back, and whoever is interrupted goes on from there. Then each date that has it is rid of it: every build that is kept
and has it is made anew without it; one conditional write puts the new ones in the places of the old ones; only then
these are deleted, and what lies in the work area. What tells where it is goes last.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from regioncap.drop.rows import paths_in
from regioncap.errors import (
    BuildIncompleteError,
    CommitRefusedError,
    ConflictError,
    NotFoundError,
    PartitionBusyError,
    RollBackError,
    RunError,
)
from regioncap.steps.without import OpenImages, build_without
from regioncap.storage.readback import is_newer
from regioncap.storage.store import Store
from regioncap.warehouse.corrections import Correction, corrections_of
from regioncap.warehouse.forgotten import Forgotten
from regioncap.warehouse.history import earlier_manifest, is_build_folder
from regioncap.warehouse.layout import MANIFEST, PREVIEWS, build_path, partition_path
from regioncap.warehouse.manifest import Manifest, current, state_of
from regioncap.warehouse.reviews import Review, reviews_of
from regioncap.work import layout
from regioncap.work.begun import begin_build
from regioncap.work.claim import Claim
from regioncap.work.completions import write_lines
from regioncap.work.row_index import image_digest, image_key, leave_rows_out
from regioncap.work.staged import Staged

# Who holds the claim on a date while it is rid of something: a run is never called so.
CLAIMANT = "regioncap forget"

_ANSWERS = tuple(f"/{folder}" for folder in (layout.ANSWERS, layout.JUDGED, layout.PROPOSALS))
_TRIES = 10


@dataclass(frozen=True)
class Date:
    """A date of a warehouse, with its partition and its work area."""

    date: str
    warehouse: Store
    partition: Store
    work: Store


class Named(NamedTuple):
    """What was found under a name: contents, by their SHA-256, and images, by their keys."""

    contents: set[str]
    images: set[str]


@dataclass
class HeldBuild:
    """A build that is kept and has something that is to be forgotten: in these lines of these files of it."""

    manifest: Manifest
    lines: dict[str, set[int]]

    @property
    def rows(self) -> int:
        """How many lines these are."""
        return sum(map(len, self.lines.values()))


@dataclass
class Held:
    """All of a date that has something that is to be forgotten.

    `unreadable` are earlier builds of which nobody can tell, and `unlisted` the folders of builds that the manifest
    does not list. Of the work area: `shards`, the files of plans with `rejected` rows, and `parts` of answers; `ids`
    are those of rows, and `about` what answers name their images by.
    """

    published: Manifest | None
    builds: list[HeldBuild] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    shards: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    parts: list[str] = field(default_factory=list)
    corrections: int = 0
    previews: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    about: set[str] = field(default_factory=set)
    in_unlisted: bool = False

    def __bool__(self) -> bool:
        return self.in_unlisted or bool(self.builds or self.shards or self.rejected or self.parts or self.corrections)

    def told(self) -> Iterator[str]:
        """What there is, a line each."""
        for build in self.builds:
            which = "current" if self.published and self.published.build_id == build.manifest.build_id else "earlier"
            yield f"{build.manifest.build}  {which}, {build.rows:,} row{'s' * (build.rows != 1)}"
        for build_id in self.unreadable:
            yield f"{build_path(build_id)}  earlier, cannot be read: it is deleted"
        for folder in self.unlisted:
            yield f"{folder}  not published: it is deleted"
        for count, what in (
            (self.corrections, "corrections"),
            (len(self.shards), "shards of the work area, with what plans have made of them"),
            (len(self.rejected), "files of rejected rows in the work area"),
            (len(self.parts), "files of answers in the work area"),
            (len(self.previews), "previews"),
        ):
            if count:
                yield f"{what}: {count:,}"


def named(names: Collection[str], day: str | None, dates: Sequence[Date]) -> dict[str, Named]:
    """What each name stands for: a SHA-256 of an image file; an image's URI; a path, or a row's id, of the date `day`.

    Nothing where it was not found. Raises RunError where a path or an id is of several contents on several dates.
    """
    found: dict[str, dict[str, Named]] = {name: {} for name in names}
    wanted = set(names)
    written = [_as_written(name) for name in names]
    having = [text for text in written if text is not None]
    for date in dates:
        for row in _all_rows(date, having if len(having) == len(written) else None):
            # What a URI names is one thing on all dates; so is a content.
            here = {row.row_id, *row.paths} if day in (None, date.date) else set()
            for name in wanted & {row.uri, row.content, *here}:
                under = found[name].setdefault(date.date, Named(set(), set()))
                if row.content:
                    under.contents.add(row.content)
                if name != row.content and (image := row.image or (name if name in row.paths else "")):
                    under.images.add(image_key(date.date, image))
    for name, by_date in found.items():
        contents = {frozenset(under.contents) for under in by_date.values()}
        if len(by_date) > 1 and (len(contents) > 1 or len(next(iter(contents))) != 1):
            raise RunError(
                f"{name} stands for different images on {', '.join(sorted(by_date))}: say which --date is meant"
            )
    return {
        name: Named(
            {content for under in by_date.values() for content in under.contents},
            {image for under in by_date.values() for image in under.images},
        )
        for name, by_date in found.items()
    }


def places_of(contents: Collection[str], date: Date) -> set[str]:
    """The images of a date's drop that had such a content, by their keys; not where the current build has another."""
    rows = _all_rows(date, [content.encode() for content in contents])
    found = {row.image for row in rows if row.image and row.content in contents}
    published, _ = current(date.partition)
    if found and published is not None:
        for row in _rows_of_build(date.partition, published):
            if row.content and row.content not in contents:
                found.discard(row.image)
    return {image_key(date.date, image) for image in found}


def look(date: Date, forgotten: Forgotten) -> Held:
    """What of a date has something that is to be forgotten. Nothing is changed.

    Raises ManifestError, and RollBackError where a newer version has written an earlier build.
    """
    published, _ = current(date.partition)
    held = Held(published)
    prefix = f"{partition_path(date.date)} "
    held.about = {key.removeprefix(prefix) for key in forgotten.images if key.startswith(prefix)}

    # Where no path is forgotten, a row that has it says the content.
    having = None if held.about else [content.encode() for content in forgotten.contents]

    def has(row: _Row) -> bool:
        if row.content in forgotten.contents:
            return True
        return any(image_key(date.date, path) in forgotten.images for path in row.paths)

    def note(row: _Row) -> None:
        if row.image:
            held.about.add(f"{image_digest(row.image):016x}")
        if row.row_id:
            held.ids.add(row.row_id)

    for manifest in _kept(date.partition, held):
        lines: dict[str, set[int]] = {}
        for row in filter(has, _rows_of_build(date.partition, manifest, having)):
            lines.setdefault(row.file, set()).add(row.line)
            note(row)
        if lines:
            held.builds.append(HeldBuild(manifest, lines))
    listed = _listed(published)
    held.unlisted = [name for name in date.partition.folders() if is_build_folder(name) and name not in listed]
    for folder in held.unlisted:
        for row in filter(has, _rows_of_folder(date.partition, folder, having)):
            note(row)
            held.in_unlisted = True
    parts: list[str] = []
    for path in _work_files(date.work):
        if any(folder in path for folder in _ANSWERS):
            parts.append(path)
            continue
        for row in filter(has, _rows(date.work, path, having=having)):
            note(row)
            if shard := _shard_of(path):
                held.shards.add(shard)
            else:
                held.rejected.add(path)
    if held.about:
        held.parts = [path for path in parts if _answers_kept(date.work, path, held) is not None]
    journal = corrections_of(date.partition)
    held.corrections = sum(_blank(said, forgotten, date) != said for said in journal.lines())
    held.previews = [*date.warehouse.sub(_previews(date)).folders()] if held else []
    if not held:
        held.unlisted, held.unreadable = [], []
    return held


def forget(
    date: Date,
    forgotten: Forgotten,
    *,
    lines: int,
    is_alive: Callable[[str], bool],
    open_images: OpenImages,
    progress: Callable[[str], None],
) -> dict[str, str]:
    """Rid a date of what is to be forgotten; returns the builds that went, and which took their places, if any.

    `lines` is how many lines the list of forgotten images has. `is_alive` tells whether a run is not over yet. Raises
    PartitionBusyError while one that is alive builds the date, SupersededError where one plans it meanwhile,
    CommitRefusedError where a build is published meanwhile, BuildIncompleteError where the current build is not whole,
    and RunError where a newer version has written some of it. In each case, and where it was killed, it can be done
    again.
    """
    try:
        claim = Claim.take(date.work, CLAIMANT, is_alive)
    except PartitionBusyError as busy:
        over = f"if it is over, and its Airflow is gone, delete {date.work.uri}/{layout.CLAIM}"
        raise PartitionBusyError(f"{busy}; {over}. Then forget again") from busy
    try:
        held = look(date, forgotten)
        _forget_what_people_said(date, held, forgotten)
        went = _forget_builds(date, held, lines, claim, open_images, progress)
        claim.check()
        _forget_work(date, held, forgotten)
        date.warehouse.sub(_previews(date)).delete_folder()
    finally:
        claim.release()
    return went


# What is searched


class _Row(NamedTuple):
    """A row, as a record or another file's line says it: in which file, and its image's path, id, URI and content.

    Empty is what it does not say; where it does not say for sure what the path is, it is one of `paths`.
    """

    folder: str
    file: str
    line: int
    image: str
    paths: set[str]
    content: str
    row_id: str
    uri: str


# What a line has to have one of, as it is written, if it is to be looked at; None stands for no matter what.
_Having = Sequence[bytes] | None


def _as_written(name: str) -> bytes | None:
    """What of a name is in each line that has it, however a path is written there; None where that is not known."""
    last = re.split(r"[\\/]", name)[-1]
    # All else can be written in more than one way.
    plain = last.isascii() and last.isprintable() and '"' not in last
    return last.encode() if plain and last not in ("", ".", "..") else None


def _rows(store: Store, path: str, folder: str = "", having: _Having = None) -> Iterator[_Row]:
    """The rows of a file of JSON lines, as far as they can be read."""
    try:
        data = store.read(path)
    except NotFoundError:  # deleted since it was listed
        return
    if having is not None and not any(text in data for text in having):
        return
    for number, text in enumerate(data.split(b"\n")):
        # To read all as JSON takes twenty times as long.
        if having is not None and not any(name in text for name in having):
            continue
        try:
            value = json.loads(text) if text else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            # What a row was rejected for is told of the row as it was given.
            given = value.get("row")
            told = {**given, **value} if isinstance(given, dict) else value
            image, content = _text(told, "image"), _text(told, "image_sha256")
            # Also where a row was rejected for what another one is called.
            paths = {image, *paths_in(given), *paths_in(value.get("reason"))} - {""}
            yield _Row(folder, path, number, image, paths, content, _text(value, "id"), _text(value, "image_uri"))


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _all_rows(date: Date, having: _Having = None) -> Iterator[_Row]:
    """All rows of a date, wherever they are."""
    published, _ = current(date.partition)
    for manifest in _kept(date.partition, Held(published)):
        yield from _rows_of_build(date.partition, manifest, having)
    listed = _listed(published)
    for folder in date.partition.folders():
        if is_build_folder(folder) and folder not in listed:
            yield from _rows_of_folder(date.partition, folder, having)
    for path in _work_files(date.work):
        if not any(folder in path for folder in _ANSWERS):
            yield from _rows(date.work, path, having=having)


def _kept(partition: Store, held: Held) -> Iterator[Manifest]:
    """The builds that the manifest lists; those that are damaged are noted. Raises RollBackError for a newer one."""
    if held.published is None:
        return
    yield held.published
    for build in held.published.history:
        try:
            yield earlier_manifest(partition, held.published, build)
        except RollBackError as error:
            if isinstance(error.__cause__, ValidationError) and is_newer(error.__cause__):
                raise
            held.unreadable.append(build.build_id)


def _listed(published: Manifest | None) -> set[str]:
    if published is None:
        return set()
    return {published.build, *(build_path(build.build_id) for build in published.history)}


def _rows_of_build(partition: Store, manifest: Manifest, having: _Having = None) -> Iterator[_Row]:
    for entry in (*manifest.captions, manifest.rejected):
        yield from _rows(partition, entry.path, manifest.build, having)


def _rows_of_folder(partition: Store, folder: str, having: _Having) -> Iterator[_Row]:
    """The rows of a build that nothing lists, as far as they were written."""
    for entry in partition.list(f"{folder}/"):
        name = entry.path.removeprefix(f"{folder}/")
        if "/" not in name and name.endswith(".jsonl") and not name.startswith("_"):
            yield from _rows(partition, entry.path, folder, having)


def _work_files(work: Store) -> Iterator[str]:
    for place in ("plans/", "shards/"):
        for entry in work.list(place):
            if entry.path.endswith(".jsonl"):
                yield entry.path


def _shard_of(path: str) -> str | None:
    """The shard that a file of the work area is about; None where it is a whole plan's."""
    parts = PurePosixPath(path).parts
    place = parts.index("shards") if "shards" in parts else len(parts)
    return parts[place + 1] if place + 2 < len(parts) else None


def _previews(date: Date) -> str:
    return f"{PREVIEWS}{partition_path(date.date)}/"


def _answers_kept(work: Store, path: str, held: Held) -> bytes | None:
    """What stays of a part of answers; None where that is all of it."""
    try:
        data = work.read(path)
    except NotFoundError:
        return None
    # Those of earlier versions do not say what they are about.
    unknown = _shard_of(path) in held.shards
    kept = [text + b"\n" for text in data.split(b"\n") if text and not _is_about(text, held, unknown)]
    return b"".join(kept) if len(kept) < sum(map(bool, data.split(b"\n"))) else None


def _is_about(text: bytes, held: Held, unknown: bool) -> bool:
    try:
        about = json.loads(text).get("about")
    except (ValueError, RecursionError, AttributeError):
        return unknown
    return about in held.about if about else unknown


# What is changed


def _forget_what_people_said(date: Date, held: Held, forgotten: Forgotten) -> None:
    if held.corrections:
        corrections_of(date.partition).rewrite(lambda said: _blank(said, forgotten, date))
    places = {
        f"{build.manifest.build_id} {number}.{line}."
        for build in held.builds
        for number, entry in enumerate(build.manifest.captions)
        for line in build.lines.get(entry.path, ())
    }

    def without_note(said: Review) -> Review:
        where = f"{said.build_id} {said.region.rpartition('.')[0]}."
        return said.model_copy(update={"note": ""}) if where in places else said

    if places:
        reviews_of(date.partition).rewrite(without_note)


def _blank(said: Correction, forgotten: Forgotten, date: Date) -> Correction:
    """A line about a forgotten image without what it says; who said something, and when, stays."""
    content = said.about.partition(" ")[0]
    if content not in forgotten.contents and image_key(date.date, said.image) not in forgotten.images:
        return said
    return Correction(number=said.number, at=said.at, by=said.by, action="note", about="")


def _forget_builds(
    date: Date,
    held: Held,
    lines: int,
    claim: Claim,
    open_images: OpenImages,
    progress: Callable[[str], None],
) -> dict[str, str]:
    """Put builds without what is forgotten in the places of those with it, and delete these."""
    partition, published = date.partition, held.published
    scratch = date.work.sub(layout.FORGETTING)
    scratch.delete_folder()  # of whoever was interrupted
    went: dict[str, str] = {}
    current_one: Manifest | None = None
    if published is not None and (held.builds or held.unreadable or published.forgotten < lines):
        state = state_of(published)
        for build in held.builds:
            claim.check()
            is_current = build.manifest.build_id == published.build_id
            try:
                made = build_without(
                    {path: frozenset(gone) for path, gone in build.lines.items()},
                    old=build.manifest,
                    begun=begin_build(partition, state),
                    partition=partition,
                    scratch=scratch,
                    open_images=open_images,
                    progress=progress,
                )
            except BuildIncompleteError as error:
                if is_current:
                    raise BuildIncompleteError(
                        f"{error}. Run the date again, which builds it anew without what is forgotten, and then forget "
                        "again; or go back to a build that is whole"
                    ) from error
                progress(f"{error}: it is deleted, and cannot be gone back to")
                went[build.manifest.build_id] = ""
                continue
            went[build.manifest.build_id] = made.build_id
            current_one = made if is_current else current_one
        went |= dict.fromkeys(held.unreadable, "")
        claim.check()
        _put_in_place(partition, state, current_one, went, lines)
    listed = _listed(current(partition)[0])
    leftover = [folder for folder in partition.folders() if is_build_folder(folder) and folder not in listed]
    # What was begun after this would be another run's.
    claim.check()
    for folder in leftover:
        partition.sub(f"{folder}/").delete_folder()
    return went


def _put_in_place(
    partition: Store, state: str | None, made: Manifest | None, instead: dict[str, str], lines: int
) -> None:
    """Swap the manifest. Raises CommitRefusedError where another build was published, or gone back to, meanwhile."""
    for _ in range(_TRIES):
        published, version = current(partition)
        if published is None or state_of(published) != state:
            raise CommitRefusedError(
                f"{partition.uri} was published by another run meanwhile: forget again, the new build is looked at then"
            )
        history = [
            build.model_copy(update={"build_id": instead.get(build.build_id, build.build_id)})
            for build in published.history
            if instead.get(build.build_id) != ""
        ]
        # The drop may have been noted to have another fingerprint since it was looked at.
        changes: dict[str, Any] = {"history": history, "forgotten": lines, "fingerprint": published.fingerprint}
        manifest = (made or published).model_copy(update=changes)
        try:
            partition.replace(MANIFEST, manifest.model_dump_json(indent=2).encode(), version)
        except ConflictError:
            continue
        return
    raise ConflictError(f"{partition.uri}/{MANIFEST} cannot be written: others write it all the time; try again")


def _forget_work(date: Date, held: Held, forgotten: Forgotten) -> None:
    """What tells where something is, rows and what was made of them, goes last."""
    work = date.work
    plans = work.sub("plans/").folders()
    leave_rows_out(work, plans, held.ids)
    for plan_id in plans:
        # The build may be deleted by now. Whoever goes on with the plan begins another.
        work.delete(layout.begun_path(plan_id))
        staged = Staged.load(work, plan_id)
        if staged is not None and not date.partition.sub(f"{staged.manifest.build}/").folder_exists():
            Staged.discard(work, plan_id)
    for entry in list(work.list("corrections/")):
        if any(content in text for text in [work.read(entry.path).decode()] for content in forgotten.contents):
            work.delete(entry.path)
    for path in held.parts:
        kept = _answers_kept(work, path, held)
        if kept:
            folder, _, _ = path.rpartition("/")
            write_lines(work, f"{folder}/", kept)
        if kept is not None:
            work.delete(path)
    for path in held.rejected:
        work.delete(path)
    for shard_id in held.shards:
        for plan_id in plans:
            _clear(work, layout.plan_shard_path(plan_id, shard_id))
        _clear(work, layout.shard_path(shard_id))


def _clear(work: Store, folder: str) -> None:
    """Delete all of a folder but answers, which were looked at one by one; rows last."""
    entries = [entry.path for entry in work.list(folder)]
    for path in sorted(entries, key=lambda path: path.endswith(".jsonl")):
        if not any(answers in path for answers in _ANSWERS):
            work.delete(path)
