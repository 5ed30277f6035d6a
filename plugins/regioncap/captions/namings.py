"""How models name regions in answers: `<region1>`, `Region 1`, `**[region_1]**`, `the first region`, `区域一`, `1.`

A *naming* is such a place in an answer. They are looked for in the folded text, which has every character at the same
place as the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS_ZH = "零一二三四五六七八九"
_CARDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"
)  # fmt: skip
_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_NUMBER_WORDS = {
    word: number for words in (_CARDINALS, _ORDINALS, _CIRCLED) for number, word in enumerate(words, start=1)
}

# Signs of other widths and shapes as their usual twins.
_TWINS = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **dict(
        zip(
            map(ord, "【】〔〕〈〉《》「」『』\u3000\u00a0“”‘’–—―−區號個標記編"),
            map(ord, '[][]<><>""""  ""\'\'----区号个标记编'),
            strict=True,
        )
    ),
}

_TWIN = re.compile(f"[！-～{re.escape(''.join(map(chr, list(_TWINS)[94:])))}]")

_DIGITS = rf"\d{{1,4}}(?!\d)|[{_CIRCLED}]"
_NUMBER = rf"(?:{_DIGITS}|(?:{'|'.join(_CARDINALS)})\b)"
_NUMBER_ZH = rf"(?:{_DIGITS}|[一二三四五六七八九十]{{1,3}})"
_BEFORE_NUMBER = r"[ _\-#.]{0,3}(?:(?:no\.?|number|id|marked|labell?ed|numbered)[ :=]{0,2}(?:as |with )?)?[#<\[(]{0,2}"
# What is certainly a region's name has one of these words, with the number behind it or before it.
_WORD = re.compile("region|区域")
_NUMBER_BEHIND = re.compile(
    rf"(?<![a-z0-9])regions?(?:{_BEFORE_NUMBER}({_NUMBER})|: ?(\d{{1,4}})(?=[ \t]*(?:[,;\n]|$)))"
    rf"|(?<![该此这个每本整])区域(?:(?:编?号)?[ _\-#]{{0,2}}[<\[(]?({_NUMBER_ZH})号?"
    r"|: ?(\d{1,4})(?=[ \t]*(?:[,;\n]|$)))"
)
_NUMBER_AHEAD = re.compile(
    rf"(?<![a-z0-9])({'|'.join(_ORDINALS)}|\d{{1,2}}(?=st|nd|rd|th))(?:st|nd|rd|th)? (?:marked |numbered )?region"
    rf"|第 ?({_NUMBER_ZH}) ?个?(?:被?标记的?|标注的?)?区域|({_NUMBER_ZH}) ?号(?:标记)?区域"
    rf"|标(?:记|注|号)为? ?({_NUMBER_ZH}) ?的区域"
)
# So far ahead of the word a number is looked for, if one of these stands right before the word.
_BEFORE_WORD = tuple(" 个号的记注第0123456789①②③④⑤⑥⑦⑧⑨⑩一二三四五六七八九十")
_AHEAD = 24
# What is one only where it opens a line and a colon or the like follows.
_NAME_OF_LINE = re.compile(
    rf"(?:marked |numbered )?(?:area|bounding box|box|tag|label|marker|mark|object|item|number|section|no)"
    rf"{_BEFORE_NUMBER}({_NUMBER})"
    rf"|(?:方框|框|标记|标签|编号|物体|对象|目标|标注)[ _\-#:]{{0,2}}[<\[(]?({_NUMBER_ZH})号?"
)
_BARE_NUMBER = re.compile(
    rf"\(({_NUMBER_ZH})\)|\[({_NUMBER_ZH})\]|#({_DIGITS})|([{_CIRCLED}])|(\d{{1,2}})\ufe0f?\u20e3"
    rf"|({_NUMBER_ZH})(?=[ \t]*[*_]{{0,3}}[ \t]*[.):、\-])"
)
_OPENED_BY = {">": "<", "]": "[", ")": "(", "}": "{", '"': '"', "'": "'"}
_EMPHASIS = "*_`\"'\\~"
_OPENING = "<[({" + _EMPHASIS
_CLOSING = ">])}" + _EMPHASIS
_AROUND = " \t\n:.,、#" + _OPENING + _CLOSING


@dataclass(frozen=True)
class Naming:
    """A region's name in a folded text: `text[start:end]`, with the signs round it.

    `tag` says whether it stands in brackets, `closing` whether it ends an element (`</region1>`).
    """

    number: int
    start: int
    end: int
    tag: bool = False
    closing: bool = False


def folded(text: str) -> str:
    """The text in small letters and usual signs, character by character."""
    if text.isascii():
        return text.lower()
    if _TWIN.search(text):
        text = text.translate(_TWINS)
    small = text.lower()
    return small if len(small) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def namings(text: str) -> Iterator[Naming]:
    """Every certain name of a region in a folded text."""
    for word in _WORD.finditer(text):
        found = None
        if text[word.start() - 1 : word.start()] in _BEFORE_WORD:
            ahead = _NUMBER_AHEAD.finditer(text, max(0, word.start() - _AHEAD), word.end())
            found = next((found for found in ahead if found.end() == word.end()), None)
        found = found or _NUMBER_BEHIND.match(text, word.start())
        if found:
            yield _with_signs(text, found)


def naming_of_line(text: str, at: int) -> Naming | None:
    """What names a region with which the content of a line begins, if it is one of the words that do so only there."""
    found = _NAME_OF_LINE.match(text, _behind(text, at, _OPENING))
    return _with_signs(text, found) if found else None


def bare_number(text: str, at: int) -> Naming | None:
    """The number with which a line's content begins: `1.`, `(1)`, `[1]`, `#1`, `一、`, `①`; without what ends it."""
    found = _BARE_NUMBER.match(text, _behind(text, at, _EMPHASIS))
    if found is None:
        return None
    return Naming(_number(found), at, _behind(text, found.end(), _EMPHASIS), tag=found[6] is None)


def named(text: str) -> int | None:
    """The number of the region that the whole text names, as a key or a table's cell does; None if it names none."""
    bare = folded(text).strip(_AROUND)
    found = _NUMBER_BEHIND.fullmatch(bare) or _NUMBER_AHEAD.fullmatch(bare) or _NAME_OF_LINE.fullmatch(bare)
    if found:
        return _number(found)
    return int(bare) if bare.isdecimal() and len(bare) <= 4 else None


def is_name(text: str) -> bool:
    """Whether the whole text is certainly a region's name, and no mere number."""
    bare = folded(text).strip(_AROUND)
    return (_NUMBER_BEHIND.fullmatch(bare) or _NUMBER_AHEAD.fullmatch(bare)) is not None


def _behind(text: str, at: int, signs: str) -> int:
    while at < len(text) and text[at] in signs:
        at += 1
    return at


def _with_signs(text: str, found: re.Match[str]) -> Naming:
    start, end = found.span()
    while start and (text[start - 1] in _OPENING or (text[start - 1] == " " and text[start - 2 : start - 1] in "<[({")):
        start -= 1
    if text[max(start - 2, 0) : start] == "</":
        end += text[end : end + 2].find(">") + 1
        return Naming(_number(found), start - 2, end, tag=True, closing=True)
    opened = text[start : found.end()]
    while end < len(text) and (
        (text[end] in _CLOSING and _OPENED_BY.get(text[end], "") in opened)
        or (text[end] == " " and text[end + 1 : end + 2] in (">", "]"))
    ):
        end += 1
    tag = any(sign in "<[({" for sign in text[start : found.start()])
    if start >= 4 and text[start - 4 : start] == "&lt;" and text.startswith("&gt;", end):
        start, end, tag = start - 4, end + 4, True
    return Naming(_number(found), start, end, tag)


def _number(found: re.Match[str]) -> int:
    said = next(group for group in found.groups() if group is not None)
    if said.isdecimal():
        return int(said)
    return _NUMBER_WORDS[said] if said in _NUMBER_WORDS else _chinese(said)


def _chinese(said: str) -> int:
    """`三`, `十`, `十二`, `二十`, `二十一`; a run that is no number is 0, which no region has."""
    tens, ten, ones = said.rpartition("十")
    if len(tens) > 1 or len(ones) > 1 or "十" in tens:
        return 0
    return (10 * (_DIGITS_ZH.index(tens) if tens else 1) if ten else 0) + (_DIGITS_ZH.index(ones) if ones else 0)
