"""Taking a model's answer apart into one caption per region."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regioncap.captions.prompts import AnswerFormat
from regioncap.regions.names import region_tag

_TAG = re.compile(r"<?\s*(?:region|区域)[\s_]*(\d{1,4})\s*>?", re.IGNORECASE)
# Where a region's description starts in free text: its tag (or "Region 3", or "3.") opens a line, or its tag is
# followed by a colon anywhere. A tag in the middle of a sentence is a mention, not a start.
_START = re.compile(
    r"(?:^[ \t>*#•-]*<\s*region\s*(?P<tag>\d{1,4})\s*>[*\"']*[ \t]*[:：.\-–—]?"
    r"|^[ \t>*#•-]*(?:region|区域)[ \t]*(?P<word>\d{1,4})[*\"']*[ \t]*[:：.\-–—]"
    r"|^[ \t*]*(?P<number>\d{1,4})[ \t]*[.):：、）]"
    r"|<\s*region\s*(?P<inline>\d{1,4})\s*>[*\"']*[ \t]*[:：])",
    re.IGNORECASE | re.MULTILINE,
)

# Without the control characters that Python takes for white space: a gate looks for them.
_WHITE_SPACE = re.compile(r"[^\S\x0b\x0c\x1c-\x1f\x85]+")


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says of each region.

    `captions` maps region numbers (1-based, as the model gave them) to text; `repeated` lists regions described more
    than once (the first description counts); `outside` is what is said beside the captions. Without captions the answer
    cannot be taken apart.
    """

    captions: dict[int, str] = field(default_factory=dict)
    repeated: tuple[int, ...] = ()
    outside: str = ""


def parse_answer(text: str, answer_format: AnswerFormat, regions: Sequence[int]) -> ParsedAnswer:
    """Take the answer to a request about `regions` (their numbers) apart.

    An answer in the wrong form (a server that ignores the schema, a model that answers JSON unasked) is read in the
    form it has.
    """
    structured = _parse_json(text)
    if structured is not None:
        return structured
    # Broken JSON must not be mistaken for prose that happens to contain tags.
    if answer_format == "structured" and text.lstrip().startswith("{"):
        return ParsedAnswer()
    return _parse_text(text, regions)


def answer_lines(captions: Mapping[int, str]) -> str:
    """Captions as one text, a line per region in the order of their numbers."""
    return "\n".join(f"{region_tag(region)}: {caption}" for region, caption in sorted(captions.items()))


def _parse_json(text: str) -> ParsedAnswer | None:
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not body.startswith("{"):
        return None
    try:
        # Raw control characters in strings are let through: a gate judges the captions.
        pairs = json.loads(body, object_pairs_hook=list, strict=False)
    except (ValueError, RecursionError):
        return None
    named = [(_TAG.fullmatch(str(key)), key, value) for key, value in pairs]
    outside = "\n".join(f"{key}: {value}" for match, key, value in named if match is None)
    return _collect([(int(match[1]), value) for match, _, value in named if match is not None], outside)


def _parse_text(text: str, regions: Sequence[int]) -> ParsedAnswer:
    starts = list(_START.finditer(text))
    if not starts:
        return _collect([(regions[0], text)]) if len(regions) == 1 else ParsedAnswer()
    ends = [start.start() for start in starts[1:]] + [len(text)]
    described = [
        (int(next(group for group in start.groups() if group)), text[start.end() : end])
        for start, end in zip(starts, ends, strict=True)
    ]
    return _collect(described, text[: starts[0].start()])


def _collect(described: Iterable[tuple[int, Any]], outside: str = "") -> ParsedAnswer:
    captions: dict[int, str] = {}
    seen: Counter[int] = Counter()
    for region, value in described:
        seen[region] += 1
        # One line per region in the record's `answer`, so white space inside a caption is folded.
        folded = _WHITE_SPACE.sub(" ", value).strip(" *") if isinstance(value, str) else ""
        captions.setdefault(region, folded)
    return ParsedAnswer(captions, tuple(sorted(region for region, times in seen.items() if times > 1)), outside)
