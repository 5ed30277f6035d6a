"""What people have corrected: captions, and which regions and records there are.

A correction is about a content, in a language: a region is known by its image's SHA-256 and its box, a record by its
image's and by all boxes as the drop gives them. So it holds in every later build of these rows, wherever in the drop
they stand by then, and whatever the model says. The journal beside the date's builds has who, when and why; the next
build is made with what *holds* after all of it: see `Corrections`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from regioncap.errors import CorrectionConflictError
from regioncap.regions.jsonl import canonical, line
from regioncap.regions.records import RenderedRow
from regioncap.storage.store import Store
from regioncap.warehouse.journal import MOST_SAID_BYTES, Entered, Journal
from regioncap.warehouse.layout import CORRECTIONS

# `edit` says a caption, `reject` leaves a region or a record out, `restore` takes that back, `revert` takes back what
# was said: the model's caption counts again. `note` only notes something.
Action = Literal["edit", "reject", "restore", "revert", "note"]

LONGEST_NOTE = 1000
# No path in a bucket is longer; whoever wrote the record may have said something else.
_LONGEST_NAME = 1024


def _cut(name: str) -> str:
    return name[:_LONGEST_NAME]


_Name = Annotated[str, AfterValidator(_cut)]


class Correction(Entered):
    """A line of the journal. `region` is None where it is about a record; `about` is the content that it is about.

    `build_id`, `id` and `image` say what the person looked at, for whoever reads the journal.
    """

    action: Action
    about: str
    region: int | None = None
    caption: str | None = None
    note: str = ""
    build_id: str = ""
    id: _Name = ""
    image: _Name = ""


class Holding(BaseModel):
    """What holds about a content after all corrections: another caption, or that it is left out, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    caption: str | None = None
    rejected: bool = False
    reason: str = ""


@dataclass(frozen=True)
class RowCorrections:
    """What holds about a row: captions by region, regions that are left out, and why the row is no record if so."""

    captions: dict[int, str] = field(default_factory=dict)
    rejected: frozenset[int] = frozenset()
    no_record: str | None = None
    regions: frozenset[int] = frozenset()

    @property
    def settled(self) -> frozenset[int]:
        """The regions of which nobody has to be asked."""
        return self.regions if self.no_record is not None else self.rejected | self.captions.keys()


_NOTHING = RowCorrections()


class Corrections:
    """What holds in a language, as a build is made with it."""

    def __init__(self, holding: Iterable[Holding] = ()) -> None:
        self._holding = {held.about: held for held in holding}
        self._images = {about.partition(" ")[0] for about in self._holding}

    def __bool__(self) -> bool:
        return bool(self._holding)

    def holding(self, about: str) -> Holding | None:
        """What holds about a content."""
        return self._holding.get(about)

    def left_out(self, image_sha256: str) -> list[Holding]:
        """The regions of an image that are left out."""
        if image_sha256 not in self._images:
            return []
        start = f"{image_sha256} "
        held = (held for about, held in self._holding.items() if about.startswith(start) and about.endswith("]"))
        return [held for held in held if held.rejected]

    def data(self) -> bytes:
        """As JSON lines, the same for the same corrections in whatever order they came."""
        return b"".join(line(held) for _, held in sorted(self._holding.items()))

    @classmethod
    def of_data(cls, data: bytes) -> "Corrections":
        """Read back what `data` wrote. Raises ValidationError."""
        return cls(Holding.model_validate_json(text) for text in data.splitlines())

    def of_row(self, row: RenderedRow, language: str) -> RowCorrections:
        """What holds about a marked row."""
        if row.image_sha256 not in self._images:
            return _NOTHING
        held = {
            region.region: found
            for region in row.regions
            if (found := self._holding.get(about_region(row.image_sha256, region.bbox, language)))
        }
        record = self._holding.get(about_record(row.image_sha256, row.bbox, language))
        return RowCorrections(
            captions={
                number: found.caption
                for number, found in held.items()
                if found.caption is not None and not found.rejected
            },
            rejected=frozenset(number for number, found in held.items() if found.rejected),
            no_record=record.reason if record and record.rejected else None,
            regions=frozenset(region.region for region in row.regions),
        )


def about_region(image_sha256: str, bbox: Sequence[float], language: str) -> str:
    """What a region is known by: its image's SHA-256, the language, and its box in pixels."""
    return f"{image_sha256} {language} {json.dumps(list(map(whole, bbox)), separators=(',', ':'))}"


def whole(number: Any) -> Any:
    """A number of a box as it is written for comparing: 10 and 10.0 are one."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def about_record(image_sha256: str, boxes: Any, language: str) -> str:
    """What a record is known by: its image's SHA-256, the language, and a hash of the boxes as given or proposed."""
    return f"{image_sha256} {language} {hashlib.sha256(canonical(boxes)).hexdigest()[:32]}"


def corrections_of(partition: Store) -> Journal[Correction]:
    """The journal of a date's corrections."""
    return Journal(partition.sub(CORRECTIONS), Correction, MOST_SAID_BYTES)


def what_holds(journal: Iterable[Correction], language: str) -> Corrections:
    """What holds in a language after all that the journal says."""
    holding: dict[str, Holding] = {}
    for said in journal:
        if said.about.split(" ")[1:2] == [language]:
            holding[said.about] = _after(holding.get(said.about) or Holding(about=said.about), said)
    return Corrections(held for held in holding.values() if held.caption is not None or held.rejected)


def correct(journal: Journal[Correction], corrections: Sequence[Correction], seen: int) -> list[Correction]:
    """Enter corrections, all or none. `seen` is the number of the last line that the person knew of.

    Returns the new lines: none where they are the last that was said of these contents already, by the same person.
    Raises CorrectionConflictError where somebody said something else of them since.
    """

    def make(lines: Sequence[Correction]) -> Sequence[Correction]:
        abouts = {correction.about for correction in corrections}
        since = [said for said in lines if said.about in abouts and said.number > seen and said.action != "note"]
        last = {said.about: said for said in since}
        if since and all(_same(last.get(correction.about), correction) for correction in corrections):
            return []
        if since:
            raise conflict(since[-1])
        return corrections

    return journal.add(make)


def conflict(said: Correction) -> CorrectionConflictError:
    """What whoever says something else is told of this line."""
    return CorrectionConflictError(said.by, said.at, _told(said))


def _after(held: Holding, said: Correction) -> Holding:
    changes: dict[str, dict[str, Any]] = {
        "edit": {"caption": said.caption, "rejected": False, "reason": ""},
        "reject": {"rejected": True, "reason": said.note or "a person rejected it"},
        "restore": {"rejected": False, "reason": ""},
        "revert": {"caption": None},
        "note": {},
    }
    return held.model_copy(update=changes[said.action])


def _same(said: Correction | None, correction: Correction) -> bool:
    what = {"action", "caption", "note", "by"}
    return said is not None and said.model_dump(include=what) == correction.model_dump(include=what)


def _told(said: Correction) -> str:
    told = {
        "edit": f"wrote {said.caption!r}",
        "reject": "rejected it",
        "restore": "restored it",
        "revert": "went back to the model's caption",
        "note": "noted something",
    }
    return told[said.action] + (f" ({said.note})" if said.note else "")
