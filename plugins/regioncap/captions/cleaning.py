"""Descriptions without the markup that they stood in."""

import re
from dataclasses import replace

from regioncap.captions.json_answers import looks_like_json
from regioncap.captions.namings import folded, namings
from regioncap.captions.reading import WHITE_SPACE, DoubtError, Reading

# More or other white space than one space.
_WHITE_SPACE = re.compile(f"[{WHITE_SPACE[1:]}][{WHITE_SPACE}]*| [{WHITE_SPACE}]+")
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)([^*_\n]+?)(?<=\S)\1")
_TITLE = re.compile(
    r"\s*(?:[-*•][ \t]+)?(?:\*\*|__)[^*\n]{1,80}?(?:[:：]\s*(?:\*\*|__)|(?:\*\*|__)\s*(?:[:：]|[-–—]+\s))"
)
_TEXT_KEY = re.compile(
    r"\s*(?:[-*•][ \t]+)?[*_\"']{0,3}(?:caption|description|content|answer|描述|内容|说明|回答|答案)"
    r"[*_\"']{0,3}\s*[:：]\s*[*_]{0,2}\s*",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
# "what is in <region1>": the name is a part of the sentence, not what stands behind a description.
_CALLS_FOR_A_NAME = re.compile(r"(?:^| )(?:in|of|within|inside|at|on|for|from|by|to)$|[在的于]$")
_COMMA = re.compile(r"\s*[中里内]?\s*,\s*")
_COLON = re.compile(r"\s*:\s*")
# What sets descriptions in one line apart.
_SEPARATORS = tuple(",;，；、|/&")
_QUOTED = re.compile(r"\"([^\"]+)\"[,.;]?|“([^“”]+)”[,.;]?|'((?:[^']|(?<=\w)'(?=\w))+)'[,;]?|`([^`]+)`|_([^_]+)_")
# Pieces of JSON, elements, tables and fences, which no description has.
_SCRAP = re.compile(
    r"^\s*[\[{]\s*[\"']|^\s*[\[{][^\]}]*\w[^\]}]*[\]}]\s*$|[\"']\s*:\s*[\"'\[{]|\\u[0-9a-f]{4}"
    r"|</\s*(?:region|caption|description|area|item|box|li|td|tr|p|区域)|<(?:caption|description)>\s*\w"
    r"|<(?:li|td|tr|table|region(?!\s*_?-?\d+\s*>))[^a-z]|<region[ _-]?\d+\s+[a-z]+="
    r"|\|\s*<?region|\|\s*$|```",
    re.IGNORECASE,
)


def cleaned(reading: Reading) -> Reading:
    """The reading of a text with descriptions that are clean. Raises DoubtError where scraps of markup are left."""
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
    text = _BREAK.sub(" ", of_itself(region, text)).rstrip(WHITE_SPACE)
    if text.endswith(_SEPARATORS):
        text = text[:-1].rstrip(WHITE_SPACE)
    if _TITLE.match(text):
        raise DoubtError("a title, and no telling whether it is a part of the description")
    if _SCRAP.search(text) or looks_like_json(text):
        raise DoubtError("a scrap of markup in a description")
    text = in_one_line(without_stars(_EMPHASIS.sub(r"\2", text)))
    if text.count("**") % 2:
        raise DoubtError("a half of a title, or of what is emphasised")
    return text


def of_itself(region: int, text: str) -> str:
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
            if colon:
                raise DoubtError("another region's description within a description")
        elif begins and (colon or naming.tag):
            own_end = colon.end() if colon else naming.end
        elif naming.tag and colon:
            raise DoubtError("words before a region's name and its description")
        elif naming.tag and not small[naming.end :].strip(" .") and not _CALLS_FOR_A_NAME.search(before):
            raise DoubtError("a region's name behind its description")
    return text[own_end:].lstrip(" ") if own_end else text


def without_stars(text: str) -> str:
    """The text without white space round it, and without stars that emphasise all of it, or are left of such a pair."""
    text = text.strip(WHITE_SPACE)
    if text.startswith("*") and text.endswith("*"):
        text = text.strip("*" + WHITE_SPACE)
    return text.strip("* ") if text.count("*") % 2 or text.count("**") % 2 else text


def in_one_line(text: str) -> str:
    """The text with one space for all white space in a row."""
    return _WHITE_SPACE.sub(" ", text)
