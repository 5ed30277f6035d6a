"""Where descriptions start in plain text.

Each naming of a region is judged by where it stands and by what follows. It starts a description where it opens a line
or a sentence and a colon, a dash or a verb follows; in the middle of a sentence it is a mention, which is a part of a
description. What could be both is doubt.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regioncap.captions.chat import is_opening
from regioncap.captions.namings import Naming, bare_number, named, naming_of_line, namings
from regioncap.captions.reading import DoubtError

Style = Literal["colon", "dash", "sentence", "alone"]

_INTO = r"(?:in|within|inside|for|at|on|as for|regarding|在|对于|关于)"
# Words that may lead to a naming: "The description of the marked", "In the".
_WORDS = (
    rf"(?:the )?(?:(?:description|caption|content)s? (?:of|for|in) )?(?:{_INTO}[ \t]*|图中的?)?(?:the )?"
    r"(?:marked |numbered )?"
)
# What may stand between the start of a line and a naming that opens it: marks of lists, quotations and headings, a
# number of a list, and words.
_MARKS = r"[ \t]*(?:(?:#{1,6}|[^\w\s<>\[\](){}\"'`_#|.,:;!?]{1,3})[ \t]+|>[ \t]*)*"
_LINE_MARKS = re.compile(_MARKS)
_LEAD = re.compile(
    rf"{_MARKS}[*_\"']*(?:(?:\(?(?:\d{{1,3}}|[a-z]|[ivx]{{1,4}})[.):、]|[①-⑳])[ \t]*[*_\"']*(?:[-•][ \t]+)?)?"
    rf"{_WORDS}[*_\"'`]*"
)
_ENDS_INTO = re.compile(rf"{_INTO}[ \t]*(?:the )?(?:marked |numbered )?[*_\"'`]*$")
# What may stand between the end of a sentence and a naming that opens the next.
_SENTENCE_LEAD = re.compile(
    r"(?:(?<=[.!?;。])[\"')*_]*[ \t]*(?:(?:and|but|while|whereas|meanwhile,?|而|并且)[ \t]*)?"
    r"|[,;][ \t]*(?:(?:and|but|while|whereas)[ \t]+|而|并且)|(?<=[一-鿿]),[ \t]*)"
    rf"{_WORDS}$"
)
# A sentence that ends so is not at its end: what follows is a mention.
_DANGLING = re.compile(
    r"(?:(?<![a-z])(?:a|an|the|of|to|than|unlike|like|near|by|with|without|in|on|at|from|and|or|nor|as|into|onto|under"
    r"|over|above|below|beneath|between|beyond|beside|besides|behind|before|after|toward|towards|across|along"
    r"|alongside|against|per|via|versus|vs|vs\.|including|see|sees|called|named|is|are|was|were|be|both|for|around"
    r"|inside|outside|within|opposite|past|through|that|which|this|these|its|not|no|one|if|when|where|while|but"
    r"|labell?ed|marked|facing|touching|so)"
    r"|[与和像比在于到同跟的及或从向对给被把由至是自见看即如将])[ \t]*[\"'(*_]*$|[([{][ \t]*$"
)

# Another region's name behind the first, joined to it: "<region1> and <region2>", "Regions 1-3".
_JOINED = r"[ \t]*(?:,|、|/|&|\+|~|-|和|与|及|以及|到|至|(?:\band|\bto|\bor|through|as well as)[ \t])[ \t]*"
_NAME_BEGINS = r"(?:in |the )*[*_`\"'\\]*(?:[<\[({][ ]?[*_]*)?(?:regions?|区域|第"
_JOINED_TO_TAG = re.compile(_JOINED + _NAME_BEGINS + ")")
_JOINED_TO_WORD = re.compile(_JOINED + _NAME_BEGINS + r"|\d|[一二三四五六七八九十]号?区域)")
_JOINED_TO_NUMBER = re.compile(r"[ \t]*(?:,|、|/|&|and|和|与|到|至)[ \t]*\d")

# Where the region is, or how it is marked, in brackets behind its name.
_PLACE = re.compile(r"[ \t]*[(\[]([^()\[\]\n]{1,80})[)\]](?:,[(\[]([^()\[\]\n]{1,40})[)\]])?")
_PLACE_PART = re.compile(r"[a-z]+|[^\sa-z]")
_PLACE_WORDS = frozenset(
    (
        "the", "at", "in", "on", "of", "and", "to", "top", "bottom", "upper", "lower", "left", "right", "center",
        "centre", "middle", "central", "side", "corner", "far", "near", "front", "back", "foreground", "background",
        "outlined", "marked", "red", "green", "blue", "yellow", "orange", "purple", "pink", "cyan", "magenta", "white",
        "black", "brown", "gray", "grey", "box", "frame", "bounding", "bbox", "rectangle", "border", "mark", "label",
        "tag", "number", "edge", "half", "area", "region", "image", "most", "leftmost", "rightmost", "x", "y", "w", "h",
        "px",
        *"左右上下中间央部侧边角方前后景红绿蓝黄橙紫粉青白黑棕灰色框标记图像的位于在,.;:/%-0123456789",
    )
)  # fmt: skip

# Verbs that join a name to what is there, and those that are a part of what is said.
_SHOWS = (
    r"shows?|is|are|contains?|depicts?|displays?|features?|includes?|has|presents?|portrays?|illustrates?|highlights?"
    r"|captures?|describes?"
)
_SEEMS = (
    r"appears?|seems?|looks?|can|could|may|might|consists?|was|were|holds?|covers?|focuses|there|we|you|one can|i see"
)
_WITHIN_ZH = r"(?:之?[中里内上]|处)?的?(?:内容|描述|物体|主体)?"
_FOLLOW = re.compile(
    rf"""(?P<colon>(?:(?:'s)?[ ](?:description|caption|content)s?|的?(?:描述|内容))?[ \t]*(?::|=>?|->|→|⇒)[ \t]*)
    |(?P<dot>[.)](?=[ \t\n]|$)[ \t]*)
    |(?P<dash>[ \t]+-{{1,3}}[ \t]+|--+[ \t]*|-[ \t]+)
    |(?P<alone>[ \t]*(?=\n|$))
    |(?P<verb>(?:'s)?[ \t]+(?:(?:also|clearly|mainly|simply|only|just)[ ])?
        (?:(?:{_SHOWS})\b(?:[ \t]*:)?[ \t]*|(?=(?:{_SEEMS})\b))
      |{_WITHIN_ZH}主?要?(?:显示|展示|描绘|呈现|包含|包括|是|为)(?:的是|了|着)?(?:[ \t]*:)?
      |{_WITHIN_ZH}(?=有|可以看到|可见|似乎|看起来))
    |(?P<comma>(?:之?[中里内上]|处)?[ \t]*,[ \t]*)""",
    re.VERBOSE,
)

# The signs behind a number of a list, or behind one in brackets.
_AFTER_NUMBER = re.compile(r"[*_]{0,3}[ \t]*(?:[.)、]{1,2}(?!\d)|:(?!\d)|-(?=[ \t]+\D))[*_\"'`]{0,3}[ \t]*")
_AFTER_TAG = re.compile(r"(?:[*_]{0,3}[ \t]*[:.](?!\d)[*_]{0,3})?[ \t]*")
# How the first number of a list is written, and the further ones, if all are in one line.
_IN_LINE = tuple(
    (re.compile(first), re.compile(further + r"[ \t]*"))
    for first, further in (
        (r"[①-⑳]", r"([①-⑳])"),
        (r"\(", r"(?<=[,;.。])[ \t]*\((\d{1,2})\)"),
        (r"\d+\)", r"(?<=[,;.。])[ \t]*(\d{1,2})\)"),
        (r"\d+\.", r"(?<=[;。])[ \t]*(\d{1,2})\.(?!\d)"),
    )
)
# So much before a naming says whether a sentence ends there.
_TAIL = 80


@dataclass(frozen=True)
class Start:
    """Where a description starts: at `lead`, with marks and words before the naming; its own text at `end`.

    `opens_line` says whether it begins a line, `heading` whether the line is a heading. Of the style `alone` are names
    that stand on a line by themselves.
    """

    number: int
    lead: int
    end: int
    style: Style = "colon"
    opens_line: bool = False
    heading: bool = False


def named_starts(small: str) -> tuple[list[Start], list[int]]:
    """The descriptions that begin with a certain name, and the regions that are mentioned after the first of them."""
    starts: list[Start] = []
    mentioned: list[int] = []
    for naming in namings(small):
        line = small.rfind("\n", 0, naming.start) + 1
        same_line = bool(starts) and starts[-1].end > line
        if same_line and naming.start < starts[-1].end:
            continue
        before = small[starts[-1].end if same_line else line : naming.start]
        start = _judged(small, naming, before, line, same_line, bool(starts))
        if start is not None:
            starts.append(start)
        elif starts:
            mentioned.append(naming.number)
    return starts, mentioned


def _judged(small: str, naming: Naming, before: str, line: int, same_line: bool, started: bool) -> Start | None:
    """The start of a description at a naming, or None where it is a mention. Raises DoubtError.

    `before` is what stands before it on its line, from the last start on the same line on if there is one; `started`
    says whether there is any start before it.
    """
    name = small[naming.start : naming.end]
    if naming.closing or name.count("<") > name.count(">") or name.count("[") > name.count("]"):
        raise DoubtError("an element's end, or a bracket that holds more than a region's name")
    tail = before[-_TAIL:]
    opens_line = not same_line and _LEAD.fullmatch(before) is not None
    sentence = None if opens_line else _SENTENCE_LEAD.search(tail)
    announced = not started and before.rstrip().endswith(":") and is_opening(tail)
    joined = (_JOINED_TO_TAG if naming.tag else _JOINED_TO_WORD).match(small, naming.end) is not None
    if joined and (opens_line or sentence):
        raise DoubtError("several regions are described at once")
    at = _behind_place(small, naming)
    found = _FOLLOW.match(small, at)
    follow = found.lastgroup if found else None
    end = found.end() if found else at
    ends_line = small[end : end + 1] in ("\n", "")
    into = _ENDS_INTO.search(tail) is not None

    def start(style: Style) -> Start:
        lead = line if opens_line else naming.start - (len(sentence[0]) if sentence else 0)
        heading = opens_line and "#" in before
        if name.count("(") > name.count(")"):
            raise DoubtError("a bracket that holds more than a region's name")
        return Start(naming.number, lead, _behind_emphasis(small, naming, end), style, opens_line, heading)

    if opens_line:
        if follow == "alone" or (follow in ("colon", "dot") and ends_line):
            return start("alone")
        if follow in ("colon", "dot") or (follow is None and naming.tag and not into and small[at : at + 1] != "'"):
            return start("colon")
        if follow == "dash":
            return start("dash")
        if follow == "verb" or (into and (follow == "comma" or naming.tag)):
            return start("sentence")
        raise DoubtError("a region's name at the start of a line, and no telling whether a description follows")
    if sentence or (announced and not joined):
        if started and not same_line:
            raise DoubtError("words before a region's name on its line")
        if follow in ("colon", "dash"):
            return start("colon" if follow == "colon" else "dash")
        if follow == "verb" or (follow == "comma" and into):
            return start("sentence")
        if announced or (sentence and sentence[0].lstrip()[:1] in (",", ";")):
            return None
        raise DoubtError("a region's name at the start of a sentence, and no telling whether a description follows")
    dangling = _DANGLING.search(tail) is not None
    if follow == "colon" or (follow == "dash" and naming.tag):
        if same_line and not dangling and _is_whole(before):
            return start("colon" if follow == "colon" else "dash")
        if follow == "dash" or (not started and ends_line):
            return None
        raise DoubtError("a colon behind a region that is mentioned")
    if follow == "verb" and naming.tag and same_line and tail.rstrip().endswith(","):
        return start("sentence")
    if follow == "verb" and not dangling:
        raise DoubtError("a statement about another region in the middle of a sentence")
    return None


def numbered_starts(small: str) -> tuple[list[Start], bool]:
    """The descriptions that begin with a word such as "Box 1:", or else with a number, each at the start of a line.

    Also returns whether it is a mere number.
    """
    worded: list[Start] = []
    numbered: list[Start] = []
    line = 0
    while line < len(small):
        marks = _LINE_MARKS.match(small, line)
        at = marks.end() if marks else line
        naming = naming_of_line(small, at)
        if naming is not None and (start := _line_start(small, naming, line)) is not None:
            worded.append(start)
        elif (naming := bare_number(small, at)) is not None:
            start = _line_start(small, naming, line)
            if start is not None:
                numbered.append(start)
        line = small.find("\n", line) + 1 or len(small)
    if len(numbered) == 1 and not worded:
        numbered += _numbered_in_line(small, numbered[0])
    return worded or numbered, not worded


def _numbered_in_line(small: str, first: Start) -> list[Start]:
    """The further items of a list in one line: `1. a red door; 2. a cat`."""
    pattern = next(
        (inner for opening, inner in _IN_LINE if opening.match(small[first.lead : first.end].strip(" \t*_-"))), None
    )
    if pattern is None:
        return []
    items = [
        Start(int(unicodedata.numeric(found[1][0]) if len(found[1]) == 1 else found[1]), found.start(), found.end())
        for found in pattern.finditer(small, first.end)
    ]
    return items if [item.number for item in items] == list(range(2, len(items) + 2)) and first.number == 1 else []


def _line_start(small: str, naming: Naming, line: int) -> Start | None:
    if not naming.tag and _JOINED_TO_NUMBER.match(small, naming.end):
        raise DoubtError("several regions are described at once")
    at = _behind_place(small, naming)
    found = _AFTER_NUMBER.match(small, at) or (_AFTER_TAG.match(small, at) if naming.tag else None)
    if found is None:
        return None
    alone = small[found.end() : found.end() + 1] in ("\n", "")
    heading = "#" in small[line : naming.start].strip()[:1]
    return Start(naming.number, line, found.end(), "alone" if alone else "colon", True, heading)


def _behind_place(small: str, naming: Naming) -> int:
    """Behind brackets after a region's name with a place or another of its names: `Region 1 (top left)`.

    Raises DoubtError where there are other words in the brackets.
    """
    found = _PLACE.match(small, naming.end)
    if found is None:
        return naming.end
    if found[2] is None and named(found[1]) == naming.number:
        return found.end()
    parts = _PLACE_PART.findall(" ".join(group for group in found.groups() if group))
    if not all(part in _PLACE_WORDS for part in parts):
        raise DoubtError("words in brackets between a region's name and its description")
    return found.end()


def _behind_emphasis(small: str, naming: Naming, at: int) -> int:
    """Behind signs that end what began before the name: `**Region 1:** a red door`."""
    name = small[naming.start : naming.end]
    for sign in ("**", "__", "*", "_"):
        if small.startswith(sign, at) and (name.count(sign) % 2 or small.endswith(sign, 0, naming.start)):
            at += len(sign)
            break
    while small[at : at + 1] in (" ", "\t"):
        at += 1
    return at


def _is_whole(before: str) -> bool:
    """Whether brackets and quotation marks that are opened are closed too."""
    return (
        before.count("(") == before.count(")") and before.count("[") == before.count("]") and before.count('"') % 2 == 0
    )


def check_styles(starts: Sequence[Start]) -> None:
    """Descriptions in the middle of lines are sure only where all of an answer's are of one style."""
    if all(start.opens_line for start in starts):
        return
    if sum(start.opens_line for start in starts) > 1 or len({start.style for start in starts}) > 1:
        raise DoubtError("descriptions at the start of lines, and others in the middle")
