"""What a person corrects in the gallery or among the rejected rows, as lines of the journal."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import ValidationError

from regioncap.captions.answers import ParsedAnswer, parse_answer
from regioncap.captions.prompts import AnswerFormat
from regioncap.errors import CorrectionError
from regioncap.gates import Answer, control_characters, run_gates, special_tokens, too_long
from regioncap.pages.builds import SeenBuild
from regioncap.pages.gallery import Place, line_at
from regioncap.pages.rejects import rejected_at
from regioncap.regions.records import Record, Rejected
from regioncap.report.figures import Report
from regioncap.warehouse.corrections import (
    LONGEST_NOTE,
    Action,
    Correction,
    Corrections,
    Holding,
    about_record,
    about_region,
    what_holds,
)

# Of these a caption may have none, whoever wrote it; what it means is the person's own affair.
_NAMING = re.compile(r"<\s*/?\s*region\s*\d", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FORM = (control_characters.GATE, special_tokens.GATE, too_long.GATE)


@dataclass(frozen=True)
class Seen:
    """What a person sees of corrections: those that hold, and who said what last; `last` is the last line's number."""

    holding: Corrections
    latest: Mapping[str, Correction]
    language: str
    last: int

    @classmethod
    def of(cls, lines: Sequence[Correction], language: str) -> "Seen":
        """What the journal says to somebody who looks at a build in this language."""
        latest = {line.about: line for line in lines}
        return cls(what_holds(lines, language), latest, language, len(lines))

    def region(self, image_sha256: str, bbox: Sequence[float]) -> "Said | None":
        """What was said of a region."""
        return self._said(about_region(image_sha256, bbox, self.language))

    def record(self, image_sha256: str, boxes: Any) -> "Said | None":
        """What was said of a record as a whole."""
        return self._said(about_record(image_sha256, boxes, self.language))

    def left_out(self, image_sha256: str, boxes: Sequence[Sequence[float]]) -> list[Holding]:
        """What is left out of an image, but for regions with these boxes."""
        shown = {about_region(image_sha256, box, self.language) for box in boxes}
        return [held for held in self.holding.left_out(image_sha256) if held.about not in shown]

    def _said(self, about: str) -> "Said | None":
        line = self.latest.get(about)
        return Said(self.holding.holding(about) or Holding(about=about), line) if line is not None else None


@dataclass(frozen=True)
class Said:
    """What holds about a content, and the last line about it."""

    holds: Holding
    line: Correction


@dataclass(frozen=True)
class Wish:
    """What a person asks for. `region` is None for a record; `captions` are those of all regions of a rejected row.

    `about` is what a region that was left out is known by: the record does not have it any more.
    """

    action: str
    region: int | None = None
    about: str = ""
    caption: str = ""
    note: str = ""
    captions: Mapping[int, str] | None = None


def language_of(report: Report | None) -> str:
    """The language that a build's captions are to be in. Raises CorrectionError where it cannot be told."""
    language = report.settings.get("prompt_language", "en") if report else None
    if language not in ("en", "zh"):
        raise CorrectionError("in which language this build's captions are cannot be told: its report cannot be read")
    return str(language)


def of_record(build: SeenBuild, place: Place, wish: Wish, language: str, by: str) -> list[Correction]:
    """The lines that correct a record of a build. Raises CorrectionError, and BuildGoneError."""
    try:
        record = Record.model_validate_json(line_at(build, place))
    except ValidationError as error:
        raise CorrectionError("there is no such record in this build") from error
    if not _SHA256.fullmatch(record.image_sha256):
        raise CorrectionError("this record does not say which image it is about")
    action = _action(wish.action)
    caption = _caption(wish.caption, language) if action == "edit" else None
    if wish.about:
        about = wish.about
        if action != "restore" or not about.startswith(f"{record.image_sha256} {language} ") or len(about) > 500:
            raise CorrectionError("there is no such region in this record")
    elif wish.region is None:
        if action in ("edit", "revert"):
            raise CorrectionError("a caption is of a region: say which")
        about = about_record(record.image_sha256, record.bbox, language)
    else:
        about = about_region(record.image_sha256, _box_of(record, wish.region), language)
    return [_line(build, action, about, wish, caption, by, record.id, record.image)]


def of_rejected(build: SeenBuild, number: int, wish: Wish, language: str, by: str) -> list[Correction]:
    """The lines that make a record of a rejected row: it is restored, or a caption is said of each of its regions.

    Raises CorrectionError, and BuildGoneError.
    """
    row = rejected_at(build, number)
    known = known_row(row) if row is not None else None
    if row is None or known is None:
        raise CorrectionError("this row cannot be restored: its image was not marked. Correct the drop instead")
    image = str(row.row["image"])
    if wish.action == "restore":
        about = about_record(known.image_sha256, known.boxes, language)
        return [_line(build, "restore", about, wish, None, by, row.id or "", image)]
    captions = wish.captions or {}
    if captions.keys() != known.regions.keys():
        raise CorrectionError("a caption is missing: say one of each region")
    return [
        _line(
            build, "edit", about_region(known.image_sha256, box, language),
            Wish("edit", region, note=wish.note), _caption(captions[region], language), by, row.id or "", image,
        )
        for region, box in known.regions.items()
    ]  # fmt: skip


@dataclass(frozen=True)
class KnownRow:
    """What a rejected row says of the content that it was made of: its image, its boxes, its regions' boxes."""

    image_sha256: str
    boxes: Any
    regions: Mapping[int, Sequence[float]]


def known_row(row: Rejected) -> KnownRow | None:
    """The content of a rejected row whose image was marked; None of another."""
    said = row.row
    try:
        regions = {int(item["region"]): [float(number) for number in item["bbox"]] for item in said["regions"]}
        sha256, boxes = str(said["image_sha256"]), said["bbox"]
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    whole = all(len(box) == 4 and all(map(math.isfinite, box)) for box in regions.values())
    return KnownRow(sha256, boxes, regions) if _SHA256.fullmatch(sha256) and regions and whole else None


def captions_in(row: Rejected, report: Report | None) -> dict[int, str]:
    """What a rejected row's answer says of each of its regions, as far as that can be told."""
    known = known_row(row)
    if known is None:
        return {}
    said = row.row.get("answer")
    form: AnswerFormat = "free_text"
    if report is not None and report.settings.get("answer_format") == "structured":
        form = "structured"
    regions = sorted(known.regions)
    captions = parse_answer(said if isinstance(said, str) else "", form, regions, regions).captions
    return {region: captions.get(region, "") for region in regions}


def fault_of(caption: str, language: str) -> str | None:
    """What is wrong with the form of a caption; None where nothing is."""
    if not caption:
        return "the caption is empty: to leave the region out, reject it"
    if _NAMING.search(caption):
        return "it names a region as answers do, and would be read as another's"
    answer = Answer(caption, "stop", ParsedAnswer({1: caption}), [1], "zh" if language == "zh" else "en")
    findings = (finding for finding in run_gates(answer, _FORM) if finding.severity == "reject")
    return next((f"{finding.gate.code}: {finding.failure.reason}" for finding in findings), None)


def _caption(text: str, language: str) -> str:
    caption = " ".join(text.split())
    fault = fault_of(caption, language)
    if fault is not None:
        raise CorrectionError(f"this cannot be a caption: {fault}")
    return caption


def _note(text: str) -> str:
    note = " ".join(text.split())
    if len(note) > LONGEST_NOTE:
        raise CorrectionError(f"the note is longer than {LONGEST_NOTE:,} characters")
    if note and (fault := fault_of(note, "en")):
        raise CorrectionError(f"this cannot be a note: {fault}")
    return note


def _action(text: str) -> Action:
    for action in get_args(Action):
        if action == text:
            return action  # type: ignore[no-any-return]
    raise CorrectionError(f"there is nothing called {text!r} to do")


def _box_of(record: Record, region: int) -> Sequence[float]:
    for item in record.regions:
        if item.region == region:
            return item.bbox
    raise CorrectionError("there is no such region in this record")


def _line(
    build: SeenBuild, action: Action, about: str, wish: Wish, caption: str | None, by: str, row_id: str, image: str
) -> Correction:
    return Correction(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=by,
        action=action,
        about=about,
        region=wish.region,
        caption=caption,
        note=_note(wish.note),
        build_id=build.manifest.build_id,
        id=row_id,
        image=image,
    )
