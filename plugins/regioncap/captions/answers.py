"""Taking a model's answer apart into one caption per region, without guessing.

A caption is a region's only where the text leaves no doubt that it is about it. An answer in the wrong form (a server
that ignores the schema, a model that answers JSON unasked) is read in the form it has: JSON, elements, a table, plain
text. Where two readings of a text differ, none of them is taken.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from regioncap.captions.chat import behind_opening, closing_remark
from regioncap.captions.json_answers import looks_like_json, read_json
from regioncap.captions.markup import read_elements, read_table
from regioncap.captions.namings import folded, namings
from regioncap.captions.prompts import AnswerFormat
from regioncap.captions.prose import BULLET, read_prose, without_rules
from regioncap.captions.reading import WHITE_SPACE, DoubtError, Reading
from regioncap.captions.thoughts import without_thoughts
from regioncap.regions.names import region_tag

# More or other white space than one space.
_WHITE_SPACE = re.compile(f"[{WHITE_SPACE[1:]}][{WHITE_SPACE}]*| [{WHITE_SPACE}]+")
# What holds an answer and is no part of it.
_WRAPPER = re.compile(
    r"\s*(?:<(answer|output|response|final_answer)>(.*)</\1>|<\|begin_of_box\|>(.*)<\|end_of_box\|>)\s*",
    re.IGNORECASE | re.DOTALL,
)

_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)([^*_\n]+?)(?<=\S)\1")
_TITLE = re.compile(
    r"\s*(?:[-*•][ \t]+)?(?:\*\*|__)[^*\n]{1,80}?(?:[:：]\s*(?:\*\*|__)|(?:\*\*|__)\s*(?:[:：]|[-–—]+\s))"
)
_TEXT_KEY = re.compile(
    r"\s*(?:[-*•][ \t]+)?[*_\"']{0,3}(?:caption|description|content|描述|内容|说明)[*_\"']{0,3}\s*[:：]\s*[*_]{0,2}\s*",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_NESTED = re.compile(r"\s*[\[{]\s*[\"']")
# "what is in <region1>": the name is a part of the sentence, not what stands behind a description.
_CALLS_FOR_A_NAME = re.compile(r"(?:^| )(?:in|of|within|inside|at|on|for|from|by|to)$|[在的于]$")
_COMMA = re.compile(r"\s*[中里内]?\s*,\s*")
_COLON = re.compile(r"\s*:\s*")
# What sets descriptions in one line apart.
_SEPARATOR = re.compile(r"[ \t\n]*[,;，；、|/&][ \t\n]*$")
_QUOTED = re.compile(r"\"([^\"]+)\"[,.;]?|“([^“”]+)”[,.;]?|'((?:[^']|(?<=\w)'(?=\w))+)'[,;]?")
# Pieces of markup that no description has.
_SCRAP = re.compile(
    r"^\s*[\[{]\s*[\"']|[\"']\s*:\s*[\"'\[{]|\\u[0-9a-f]{4}|</\s*(?:region|caption|description|area|item|box|li|td|tr|p|区域)|<(?:caption|description)>\s*\w|<(?:li|td|tr|table|region(?!\s*_?-?\d+\s*>))[^a-z]|```"
    r"|<region[ _-]?\d+\s+[a-z]+=|\|\s*<?region|\|\s*$",
    re.IGNORECASE,
)


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
    body = without_thoughts(text)
    wrapped = _WRAPPER.fullmatch(body)
    if wrapped:
        body = (wrapped[2] or wrapped[3] or "").strip(WHITE_SPACE)
    try:
        reading = _read(body, answer_format, regions)
        captions, repeated = _captions(reading)
        if reading.counted and set(regions) < captions.keys() < set(marked or regions):
            raise DoubtError("a list that may count something else than all marked regions")
    except DoubtError:
        return ParsedAnswer()
    if captions.keys() >= set(regions):
        also = set(marked or ()) - set(regions)
        captions = {region: caption for region, caption in captions.items() if region not in also}
        repeated = tuple(region for region in repeated if region not in also)
    return ParsedAnswer(captions, repeated, reading.outside)


def answer_lines(captions: Mapping[int, str]) -> str:
    """Captions as one text, a line per region in the order of their numbers."""
    return "\n".join(f"{region_tag(region)}: {caption}" for region, caption in sorted(captions.items()))


def _read(body: str, answer_format: AnswerFormat, regions: Sequence[int]) -> Reading:
    """What the answer says, in the form it has. Raises DoubtError."""
    reading = read_json(body, regions)
    if reading is not None:
        if reading.outside:
            _check_beside(reading, regions)
        if any(_NESTED.match(text) for _, text in reading.said):
            raise DoubtError("JSON in a string of JSON")
        return Reading([(region, _of_itself(region, text)) for region, text in reading.said], reading.outside)
    # Broken JSON must not be mistaken for prose that happens to contain names.
    if answer_format == "structured" and body.startswith("{"):
        raise DoubtError("JSON that is broken")
    reading = read_elements(body) or read_table(body)
    if reading is not None:
        _check_beside(reading, regions)
        return _cleaned(reading)
    reading = read_prose(body, regions)
    if reading is None:
        if len(regions) != 1:
            raise DoubtError("no region is named")
        reading = _about_the_one(body, regions[0])
    return _cleaned(reading)


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
        if any(captions.get(region) != _bare(text) for region, text in _cleaned(beside).said):
            raise DoubtError("descriptions of two forms that say different things")


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


def _cleaned(reading: Reading) -> Reading:
    """The descriptions of a reading of text without its markup. Raises DoubtError where scraps of it are left."""
    quoted = [_QUOTED.fullmatch(text.strip(WHITE_SPACE)) for _, text in reading.said]
    unquote = bool(quoted) and all(quoted)
    said: list[tuple[int, str]] = []
    for (region, text), match in zip(reading.said, quoted, strict=True):
        if unquote and match:
            text = next(group for group in match.groups() if group)
        said.append((region, _clean(region, text)))
    return replace(reading, said=said)


def _clean(region: int, text: str) -> str:
    key = _TEXT_KEY.match(text)
    if key:
        text = text[key.end() :]
    text = _SEPARATOR.sub("", _BREAK.sub(" ", _of_itself(region, text)))
    if _TITLE.match(text):
        raise DoubtError("a title, and no telling whether it is a part of the description")
    if _SCRAP.search(text) or looks_like_json(text):
        raise DoubtError("a scrap of markup in a description")
    return _folded(_without_stars(_EMPHASIS.sub(r"\2", text)))


def _of_itself(region: int, text: str) -> str:
    """The description without the region's own name before it. Raises DoubtError where another's follows."""
    small = folded(text)
    own_end = 0
    for naming in namings(small):
        before = small[own_end : naming.start].strip(" :")
        into = before in ("in", "within", "在")
        begins = into or not before
        colon = (_COMMA if into else _COLON).match(small, naming.end)
        if naming.closing:
            if naming.number != region or small[naming.end :].strip(" .") or not own_end:
                raise DoubtError("the end of an element in a description")
            return text[own_end : naming.start].strip(WHITE_SPACE)
        if naming.number != region:
            if colon and (naming.tag or begins):
                raise DoubtError("another region's description within a description")
        elif begins and (colon or naming.tag):
            own_end = colon.end() if colon else naming.end
        elif naming.tag and not small[naming.end :].strip(" .") and not _CALLS_FOR_A_NAME.search(before):
            raise DoubtError("a region's name behind its description")
    return text[own_end:].lstrip(" ") if own_end else text


def _captions(reading: Reading) -> tuple[dict[int, str], tuple[int, ...]]:
    captions: dict[int, str] = {}
    repeated: set[int] = set()
    for region, text in reading.said:
        # One line per region in the record's `answer`, so white space inside a caption is folded.
        caption = _folded(_without_stars(text))
        if captions.setdefault(region, caption) != caption:
            repeated.add(region)
    return captions, tuple(sorted(repeated))


def _without_stars(text: str) -> str:
    """The text without white space round it, and without stars that emphasise all of it, or are left of such a pair."""
    text = text.strip(WHITE_SPACE)
    if text.startswith("*") and text.endswith("*"):
        text = text.strip("*" + WHITE_SPACE)
    return text.strip("* ") if text.count("*") % 2 or text.count("**") % 2 else text


def _bare(text: str) -> str:
    return _folded(text).strip(" *.。")


def _folded(text: str) -> str:
    return _WHITE_SPACE.sub(" ", text)
