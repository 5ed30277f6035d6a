"""What comes back from an annotation tool, as lines of the journal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError

from regioncap.errors import CorrectionConflictError
from regioncap.exports.handed_out import Key, Returned
from regioncap.pages.correcting import fault_of, known_row
from regioncap.regions.records import Rejected
from regioncap.warehouse.corrections import Correction, about_region, conflict, correct, what_holds
from regioncap.warehouse.journal import Journal
from regioncap.warehouse.reader import Build

# Entered at once, or not at all. Whoever corrects on the pages meanwhile waits for no longer than for such a write.
_AT_ONCE = 200

# Whoever has more than so many faults in a file has one cause for most.
_TOLD = 1_000


@dataclass(frozen=True)
class Known:
    """A region of a build: of which row it is, and its number there."""

    id: str
    image: str
    region: int


@dataclass
class Faults:
    """What is not taken: so many things, of which the `first` say why."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Count one more."""
        self.count += 1
        if self.count <= _TOLD:
            self.first.append(text)


@dataclass
class Back:
    """What came back: `changed` has of each content what is said of it there, and `faults` say what is not taken."""

    unchanged: int = 0
    changed: dict[str, "Change"] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)


@dataclass(frozen=True)
class Change:
    """Another caption for a content; `where` it stands in the file."""

    where: str
    key: Key
    caption: str


@dataclass
class Settled:
    """What becomes of changes: those `to_enter`, those that are entered already, and what is said against others."""

    to_enter: list[Change] = field(default_factory=list)
    already: int = 0
    faults: list[str] = field(default_factory=list)


def come_back(returned: Iterable[Returned], build: Build) -> tuple[Back, Mapping[str, Known]]:
    """What came back, and the regions of it that the build has. Raises BuildGoneError, and what reading raises."""
    back = Back()
    whole: set[str] = set()
    contrary: set[str] = set()
    for region in returned:
        if region.key is not None:
            whole.add(region.key.about)
        if region.fault or region.key is None:
            back.faults.add(f"{region.where}: {region.fault}")
            continue
        key, caption = region.key, " ".join(region.caption.split())
        if key.says(caption):
            back.unchanged += 1
        elif fault := fault_of(caption, key.language):
            back.faults.add(f"{region.where}: this cannot be a caption: {fault}")
        elif (first := back.changed.setdefault(key.about, Change(region.where, key, caption))).caption != caption:
            back.faults.add(f"{region.where}: it has another caption than at {first.where}: none is taken")
            contrary.add(key.about)
    for about in contrary:
        del back.changed[about]
    known: dict[str, Known] = {}
    for regions in _rows(build, whole):
        found = {about: one for about, one in regions.items() if about in whole}
        known |= found
        for about, one in regions.items() if found else ():
            if about not in whole:
                where = f"{one.image} ({one.id}), region {one.region}"
                back.faults.add(f"{where}: it is not in the file: to leave it out, reject it on the page Gallery")
    if foreign := len(whole - known.keys() - back.changed.keys()):
        back.faults.add(f"{foreign:,} regions without another caption are of no row of this date: is it another's?")
    return back, known


def settle(changes: Iterable[Change], known: Mapping[str, Known], said: Sequence[Correction]) -> Settled:
    """What becomes of changed captions after all that the journal says.

    A person's word since the region was handed out is not overruled by it.
    """
    settled = Settled()
    holding = {language: what_holds(said, language) for language in ("en", "zh")}
    lines: dict[str, list[Correction]] = {}
    for line in said:
        if line.action != "note":
            lines.setdefault(line.about, []).append(line)
    for change in changes:
        about = change.key.about
        held, before = holding[change.key.language].holding(about), lines.get(about, [])
        holds = held.caption if held is not None and not held.rejected else None
        entered = [line.caption for line in before if line.action == "edit" and line.caption is not None]
        if holds == change.caption:
            settled.already += 1
        elif not before:
            if about in known:
                settled.to_enter.append(change)
            else:
                settled.faults.append(f"{change.where}: no row of this date has such a region: is it of another date?")
        elif (
            (held is not None and held.rejected)
            or change.caption in entered
            or (holds is not None and not change.key.says(holds))
            or (holds is None and any(map(change.key.says, entered)))
        ):
            settled.faults.append(f"{change.where}: {conflict(before[-1])}")
        else:
            settled.to_enter.append(change)
    return settled


def enter(
    journal: Journal[Correction],
    changes: Sequence[Change],
    known: Mapping[str, Known],
    by: str,
    note: str,
    build_id: str,
) -> tuple[int, Settled]:
    """Enter changed captions, a few hundred at a time; returns how many, and what became of the others.

    What is entered stays where a later write fails, and is known as entered the next time. Raises ManifestError.
    """  # fmt: skip
    taken = 0
    while True:
        said = journal.lines()
        settled = settle(changes, known, said)
        if not settled.to_enter:
            return taken, Settled(already=settled.already - taken, faults=settled.faults)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        lines = [
            _line(change, known.get(change.key.about), at, by, note, build_id) for change in settled.to_enter[:_AT_ONCE]
        ]
        # Where somebody has written meanwhile, the next round sees it.
        with suppress(CorrectionConflictError):
            taken += len(correct(journal, lines, len(said)))


def _line(change: Change, known: Known | None, at: str, by: str, note: str, build_id: str) -> Correction:
    return Correction(
        at=at,
        by=by,
        action="edit",
        about=change.key.about,
        region=known.region if known else None,
        caption=change.caption,
        note=note,
        build_id=build_id,
        id=known.id if known else "",
        image=known.image if known else "",
    )


def _rows(build: Build, wanted: set[str]) -> Iterator[dict[str, Known]]:
    """The regions of each row of a build of which there are some, by what corrections know them by."""
    images = {tuple(about.split(" ")[:2]) for about in wanted}
    languages = {language for _, language in images}
    for record in build.records():
        for language in languages:
            if (record["image_sha256"], language) in images:
                yield {
                    about_region(record["image_sha256"], region["bbox"], language): Known(
                        str(record["id"]), str(record["image"]), region["region"]
                    )
                    for region in record["regions"]
                }
    for told in build.rejected():
        try:
            row = Rejected.model_validate(told)
        except ValidationError:
            continue
        if (content := known_row(row)) is not None:
            for language in languages:
                if (content.image_sha256, language) in images:
                    yield {
                        about_region(content.image_sha256, box, language): Known(
                            str(row.id or ""), str(row.row["image"]), number
                        )
                        for number, box in content.regions.items()
                    }
