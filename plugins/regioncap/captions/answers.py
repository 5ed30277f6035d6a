"""Taking a model's answer apart into one caption per region, without guessing.

A caption is a region's only where the text leaves no doubt that it is about it. An answer in the wrong form (a server
that ignores the schema, a model that answers JSON unasked) is read in the form it has: JSON, elements, a table, plain
text. Where two readings of a text differ, none of them is taken.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from regioncap.captions.chat import behind_opening, closing_remark
from regioncap.captions.cleaning import cleaned, in_one_line, of_itself, without_stars
from regioncap.captions.json_answers import read_json
from regioncap.captions.markup import read_elements, read_table
from regioncap.captions.namings import folded, namings
from regioncap.captions.prompts import AnswerFormat
from regioncap.captions.prose import BULLET, read_prose, without_rules
from regioncap.captions.reading import WHITE_SPACE, DoubtError, Reading
from regioncap.captions.thoughts import without_thoughts
from regioncap.regions.names import region_name

# What holds an answer and is no part of it.
_WRAPPER = re.compile(
    r"\s*(?:<(answer|output|response|final_answer)>(.*)</\1>|<\|begin_of_box\|>(.*)<\|end_of_box\|>)\s*",
    re.IGNORECASE | re.DOTALL,
)
# A key of JSON and its value.
_ENTRY = re.compile(r"[\"']\s*:\s*[\"'\[{]")
# A line break that was written as JSON writes it, before what may begin a line.
_WRITTEN_BREAK = re.compile(r"\\n(?=[ \t]*(?:\\n|[<\[*#\-•\d【]|region|区域))", re.IGNORECASE)
# A number within a text that may be the next of a list.
_LISTED = re.compile(r"(?<![\w.])(\d{1,4})[ \t]*[:.)\]、]")
# What begins as JSON does.
_NESTED = re.compile(r"\s*[\[{]\s*[\"'][^\"']*[\"']")


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says of each region.

    `captions` maps region numbers (1-based, as the model gave them) to text; `repeated` lists regions that are
    described more than once, and differently; `outside` is what is said beside the captions. Without captions the
    answer cannot be taken apart.
    """

    captions: dict[int, str] = field(default_factory=dict)
    repeated: tuple[int, ...] = ()
    outside: str = ""


def parse_answer(
    text: str, answer_format: AnswerFormat, regions: Sequence[int], marked: Sequence[int] | None = None
) -> ParsedAnswer:
    """Take the answer to a request about `regions` (their numbers) apart; `marked` are all that the image shows.

    Where all of `regions` are described, what is said of other marked ones is left out. Where not, it stays, since
    such numbers may be counted otherwise than the marks.
    """
    body = without_thoughts(text.replace("\r\n", "\n"))
    wrapped = _WRAPPER.fullmatch(body)
    if wrapped:
        body = (wrapped[2] or wrapped[3] or "").strip(WHITE_SPACE)
    try:
        reading = _read(body, answer_format, regions)
        captions, repeated = _captions(reading)
        if reading.counted and set(regions) < captions.keys() < set(marked or regions):
            raise DoubtError("a list that may count something else than all marked regions")
        missing = set(regions) - captions.keys()
        if missing and any(_tells_of(missing, folded(text)) for text in captions.values()):
            raise DoubtError("a region that is only told of in another's description")
    except DoubtError:
        return ParsedAnswer()
    if captions.keys() >= set(regions):
        also = set(marked or ()) - set(regions)
        captions = {region: caption for region, caption in captions.items() if region not in also}
        repeated = tuple(region for region in repeated if region not in also)
    return ParsedAnswer(captions, repeated, reading.outside)


def answer_lines(captions: Mapping[int, str]) -> str:
    """Captions as one text, a line per region in the order of their numbers."""
    return "\n".join(f"{region_name(region)}: {caption}" for region, caption in sorted(captions.items()))


def _read(body: str, answer_format: AnswerFormat, regions: Sequence[int]) -> Reading:
    """What the answer says, in the form it has. Raises DoubtError."""
    reading = read_json(body, regions)
    if reading is not None:
        if reading.outside:
            _check_beside(reading, regions)
        if any(_NESTED.match(text) and text.rstrip().endswith(("]", "}")) for _, text in reading.said):
            raise DoubtError("JSON in a string of JSON")
        return Reading([(region, of_itself(region, text)) for region, text in reading.said], reading.outside)
    # Broken JSON must not be mistaken for prose that happens to contain names.
    if (answer_format == "structured" and body.startswith("{")) or _ENTRY.search(body):
        raise DoubtError("JSON that is broken")
    body = _WRITTEN_BREAK.sub("\n", body)
    reading = read_elements(body) or read_table(body)
    if reading is not None:
        _check_beside(reading, regions)
        return cleaned(reading)
    reading = read_prose(body, regions)
    if reading is None:
        if len(regions) != 1:
            raise DoubtError("no region is named")
        reading = _about_the_one(body, regions[0])
    return cleaned(reading)


def _check_beside(reading: Reading, regions: Sequence[int]) -> None:
    """Raises DoubtError if what stands beside JSON, elements or a table describes regions too, and otherwise."""
    try:
        beside = read_elements(reading.outside) or read_table(reading.outside) or read_prose(reading.outside, regions)
    except DoubtError:
        if {region for region, _ in reading.said} >= set(regions) and reading.strict:
            return
        raise
    if beside is not None:
        captions = {region: _bare(text) for region, text in reading.said}
        if any(captions.get(region) != _bare(text) for region, text in cleaned(beside).said):
            raise DoubtError("descriptions of two forms that say different things")


def _tells_of(missing: set[int], small: str) -> bool:
    """Whether a description names one of the regions that have none, or has its number as a list would."""
    return any(naming.number in missing for naming in namings(small)) or any(
        int(number) in missing for number in _LISTED.findall(small)
    )


def _about_the_one(body: str, region: int) -> Reading:
    """The answer to a question about one region that names none."""
    body = without_rules(body).strip(WHITE_SPACE)
    start = behind_opening(body)
    remark = closing_remark(body[start:])
    end = start + remark if remark else len(body)
    said = body[start:end].strip(WHITE_SPACE)
    if any(map(BULLET.match, said.split("\n")[1:])):
        raise DoubtError("a list, of which each item may be something else")
    return Reading(
        [(region, said)],
        "\n".join(part for part in (body[:start].strip(WHITE_SPACE), body[end:].strip(WHITE_SPACE)) if part),
    )


def _captions(reading: Reading) -> tuple[dict[int, str], tuple[int, ...]]:
    captions: dict[int, str] = {}
    repeated: set[int] = set()
    for region, text in reading.said:
        # One line per region in the record's `answer`, so white space inside a caption is folded.
        caption = in_one_line(without_stars(text))
        if captions.setdefault(region, caption) != caption:
            repeated.add(region)
    return captions, tuple(sorted(repeated))


def _bare(text: str) -> str:
    return in_one_line(text).strip(" *.。")
