"""Answers in plain text: lines, headings, lists and sentences that begin with a region's name, or with a number."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from regioncap.captions.chat import closing_remark, is_opening
from regioncap.captions.namings import folded
from regioncap.captions.reading import WHITE_SPACE, DoubtError, Reading
from regioncap.captions.starts import Start, check_styles, named_starts, numbered_starts

_RULE = re.compile(r"^[ \t]*(?:[-*_=][ \t]?){3,}[ \t]*$\n?|^[ \t]*```[^\n`]*$\n?", re.MULTILINE)
BULLET = re.compile(r"[ \t]*(?:[-*+•·●▪◦‣][ \t]+|>[ \t]*|\(?\d{1,3}[.)、][ \t]+|#{1,6}[ \t]+|\|)")
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
# Words by which a text speaks of another region without its name.
_ANOTHER = re.compile(
    r"\b(?:the (?:other|second|third|fourth|last|next|latter|former|remaining|rest)|others|both|respectively"
    r"|another (?:region|one))\b"
    r"|另一|其他|其余|第二|后者|两者|分别",
    re.IGNORECASE,
)
# A sentence that may be about the thing described last, or about all.
_OF_ALL = re.compile(
    r"[.!?;]\s+(?:both|all|they all|all of them|each)\b|[，。；！,](?:两者|它们|都|全部|所有)", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?。！？;；][\"'”’)）]*\s+\S|[。！？；](?=.)")


def without_rules(text: str) -> str:
    """The text without lines that only set its parts off: rules and fences."""
    return _RULE.sub("", text)


def read_prose(text: str, asked: Sequence[int]) -> Reading | None:
    """What a text says of regions that it names. None where it names none. Raises DoubtError."""
    text = without_rules(text)
    small = folded(text)
    starts, mentioned = named_starts(small)
    counted = False
    if starts and numbered_starts(small[: starts[0].lead])[0]:
        raise DoubtError("a list with numbers, and names of regions behind it")
    if not starts:
        starts, counted = numbered_starts(small)
        mentioned = mentioned if starts else []
        if not starts:
            return None
        said = {start.number for start in starts}
        if (counted and not said >= set(asked)) or not is_opening(text[: starts[0].lead]):
            raise DoubtError("numbers of a list that may count something else")
    check_styles(starts)
    said = {start.number for start in starts}
    if any(number in asked and number not in said for number in mentioned):
        raise DoubtError("a region is only mentioned, in another's description")
    return replace(_descriptions(text, starts, asked), counted=counted)


def _descriptions(text: str, starts: Sequence[Start], asked: Sequence[int]) -> Reading:
    ends = [start.lead for start in starts[1:]] + [len(text)]
    outside = [text[: starts[0].lead].strip(WHITE_SPACE)]
    blocks = [text[start.end : end].strip(WHITE_SPACE) for start, end in zip(starts, ends, strict=True)]
    remark = closing_remark(blocks[-1])
    if remark:
        outside.append(blocks[-1][remark:].strip(WHITE_SPACE))
        blocks[-1] = blocks[-1][:remark].rstrip(WHITE_SPACE)
    if len(blocks) > 1 and _OF_ALL.search(blocks[-1]):
        raise DoubtError("a sentence that may be about all regions")
    alone = [start.style == "alone" for start in starts]
    if any(alone) and (not is_opening(outside[0]) or (all(alone) and not all(blocks))):
        # What stands before the first name may be the first description, if names stand below them.
        raise DoubtError("names that stand by themselves, above or below their descriptions")
    paragraphs = [_BLANK_LINES.split(block) for block in blocks]
    if any(len(others) > 1 for others in paragraphs[:-1]):
        raise DoubtError("several paragraphs between two names, of which the last may announce the next")
    if len(blocks) > 1 and len(paragraphs[-1]) > 1:
        outside += paragraphs[-1][1:]
        paragraphs[-1] = paragraphs[-1][:1]
    several_lines = any("\n" in paragraph for others in paragraphs[:-1] for paragraph in others)
    said: list[tuple[int, str]] = []
    for index, (start, parts) in enumerate(zip(starts, paragraphs, strict=True)):
        last = index == len(starts) - 1 and len(starts) > 1
        said.append((start.number, " ".join(_one_line(part, start, last and not several_lines) for part in parts)))
    in_lines = all(start.opens_line for start in starts)
    missing = set(asked) - {number for number, _ in said}
    # What is said of a region that is not named would be in another's description.
    if missing and not (in_lines and all(_is_of_one(description) for _, description in said)):
        raise DoubtError("regions are missing, and may be described within another's description")
    return Reading(said, "\n".join(part for part in outside if part))


def _is_of_one(description: str) -> bool:
    """Whether nothing in a description may speak of another region without its name."""
    return _ANOTHER.search(description) is None and _SENTENCE_END.search(description) is None


def _one_line(paragraph: str, start: Start, last: bool) -> str:
    """A paragraph of a description as one line. Raises DoubtError where its lines may be of different things."""
    lines = [line for line in paragraph.split("\n") if line.strip(WHITE_SPACE)]
    if len(lines) > 1 and (start.heading and start.style != "alone"):
        raise DoubtError("a heading that has a title of its own")
    if start.style == "alone" and lines:
        lines[0] = lines[0][_first_bullet(lines[0]) :]
    for before, line in pairwise(lines):
        if BULLET.match(line):
            raise DoubtError("a list within a description")
        if line.rstrip()[-1:] in ":：":
            raise DoubtError("a line that announces what follows, within a description")
        goes_on = line.lstrip()[:1].islower() or before.rstrip()[-1:] in ",;，；、"
        if not goes_on and (last or (before.rstrip()[-1:] not in '.!?。！？”"…' and line.isascii())):
            raise DoubtError("a line that may not belong to the description above it")
    return " ".join(line.strip(WHITE_SPACE) for line in lines)


def _first_bullet(line: str) -> int:
    found = BULLET.match(line)
    return found.end() if found else 0
