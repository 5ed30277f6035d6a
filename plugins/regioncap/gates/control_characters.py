"""Characters that no text has: control characters, broken encodings, invisible and reordering ones."""

import re

from regioncap.gates.gate import Answer, Caption, Failure, Gate, Unsure, each_caption
from regioncap.regions.codes import Code

# Tabs and line ends are fine. Beside the control characters: soft hyphen, fillers, zero width space, word joiner and
# its like, separators of lines and paragraphs, marks that turn the reading direction, lone surrogates, private use, the
# byte order mark, what replaces a character or an object, noncharacters, tags. And marks that are laid over letters to
# strike them through.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u0334-\u0338\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u20d2\u20d3\u20d8-\u20db\u20e5-\u20e6\u20ea-\u20ef\u2800\u3164\ud800-\udfff\ue000-\uf8ff"
    "\ufdd0-\ufdef\ufeff\uffa0\ufff9-\uffff\U0001d173-\U0001d17a\U000f0000-\U0010ffff]"
    # The tags of a flag follow a black flag.
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0001-\U000e007f]"
    # Joiners that emoji and some scripts need, and what chooses a variant, after a Latin letter; letters with a pile of
    # marks.
    "|(?<=[A-Za-z])[\u200c\u200d\ufe00-\ufe0f]|(?<=[\u3400-\u9fff])[\u200c\u200d]|[\u200c\u200d]{2}|[\u0300-\u036f]{3}"
)
# UTF-8 that was read as Windows' code page or as Latin-1, and then written as UTF-8 again; what two wrong readings of
# Chinese leave.
_AS_CP1252 = (
    "\x80-\xbf\u20ac\u201a\u0192\u201e\u2026"
    "\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
_MISREAD = re.compile(
    r"[\xc2\xc3][\x80-\xbf\u20ac\u2122\u0153\u0160\u0161\u017e\u2030\u2039\u203a]"
    r"|[\xc4-\xdf][\x80-\x9f\xa1-\xa9\xac-\xb9\xbb-\xbf]"
    rf"|[\xe0-\xef][{_AS_CP1252}]{{2}}|\xf0\u0178[{_AS_CP1252}]{{2}}|锟斤拷|烫烫烫|屯屯屯"
)
# Written out: control characters as text, or in JSON that cannot be read; other characters, entities of HTML.
_ESCAPED = re.compile(r"\\u00(?:0[0-8bcef]|1[0-9a-f]|7f|[89][0-9a-f])|\\x(?:0[0-8bcef]|1[0-9a-f]|7f)", re.IGNORECASE)
_WRITTEN_OUT = re.compile(
    r"\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|&(?:amp|lt|gt|quot|nbsp|apos|#\d{2,5}|#x[0-9a-f]{2,5});"
    r"|(?<![\w:\\])\\[nrt](?![\w\\])"
    r"|(?<=[a-z.,])\\n(?=[A-Za-z ])|(?:%[0-9a-f]{2}\w+){2}|[\ufffd?？]{4,}",
    re.IGNORECASE,
)


def _gbk(first: range, second: range) -> str:
    """A class of the characters that GBK writes in these two bytes."""
    pairs = (bytes((one, other)) for one in first for other in second)
    return f"[{''.join(pair.decode('gbk', 'ignore') for pair in pairs)}]"


# Chinese in UTF-8, which has bytes of these two kinds (two of the second after each of the first), read as GBK:
# "鐢蜂汉" for 男人. Real text has no such row.
_HEAD, _TAIL = range(0xE4, 0xEA), range(0x80, 0xC0)
_AS_GBK = re.compile(_gbk(_HEAD, _TAIL) + _gbk(_TAIL, _HEAD) + _gbk(_TAIL, _TAIL) + _gbk(_HEAD, _TAIL))
_MAY_BE_WRITTEN_OUT = re.compile(r"[\\&%?？]")
# As they are, or in JSON.
_SEPARATOR = re.compile("[\u2028\u2029\x85]|\\\\u(?:202[89]|0085)")


def control_characters(caption: Caption) -> str | None:
    """There is one of them."""
    text = caption.text
    if not text.isascii():
        found = _FORBIDDEN.search(text)
        if found:
            return f"has the character U+{ord(found[0][0]):04X} in it"
        misread = _MISREAD.search(text)
        if misread:
            return f"has broken encoding in it: {misread[0]}"
        as_gbk = _AS_GBK.search(text)
        if as_gbk:
            return f"has broken encoding in it: {as_gbk[0]}"
    elif not text.isprintable() and (found := _FORBIDDEN.search(text)):
        return f"has the character U+{ord(found[0]):04X} in it"
    if "\\" in text and (escaped := _ESCAPED.search(text)):
        return f"has {escaped[0]} in it"
    # On a screen of code they may be seen.
    written = _WRITTEN_OUT.search(caption.own_words) if _MAY_BE_WRITTEN_OUT.search(text) else None
    return Unsure(f"has {written[0]} in it") if written else None


_each = each_caption(control_characters, outside=True)


def of_answer(answer: Answer) -> Failure | None:
    """One of them is in a caption or beside the captions; or a separator of lines, which is folded in captions."""
    found = _each(answer)
    if found is None and (separator := _SEPARATOR.search(answer.text)):
        return Failure(f"the answer has a separator of lines in it: {separator[0]!a}", sure=False)
    return found


GATE = Gate(Code.CONTROL_CHARACTERS, "reject", of_answer)
