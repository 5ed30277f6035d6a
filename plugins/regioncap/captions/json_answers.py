"""Answers in JSON, or in what is nearly JSON: fenced, among words, in Python's notation, with quotation marks unescaped.

Three readers, the strictest first: JSON itself, Python's literals (single quotation marks, commas at the end), and
what stands between keys that name regions. None of them closes a string, or joins two: that is left to no guess.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from regioncap.captions.namings import folded, is_name, named
from regioncap.captions.reading import DoubtError, Reading

_DECODER = json.JSONDecoder(object_pairs_hook=lambda pairs: _Pairs(pairs), strict=False)
_BRACKET = re.compile(r"[{\[]")
_FENCE = re.compile(r"```[^\S\n]*\w*[^\S\n]*\n?")
# Keys of an object that names one region, and those of what it says of it.
_NUMBER_KEYS = frozenset(
    "region region_id regionid region_number region_name regionname region_tag id number num no index name tag key mark box label"
    " 区域 区域编号 区域名 区域名称 编号 序号 标记".split()
)
_TEXT_KEYS = frozenset(
    "caption description desc text content contents describe answer value details detail region_description region_caption"
    " 描述 内容 说明 区域描述 内容描述".split()
)
_KEY = r"(?:regions?|区域)[ _\-#]{0,2}(?P<number>\d{1,4})"
_KEY_ENDING = re.compile(r"[ _-](?:description|caption|content|text)$", re.IGNORECASE)
# A key that names a region, with the quotation mark that opens its value.
_ANCHOR = re.compile(
    rf"""(?:(?P<q>["'])[<\[(]?{_KEY}[>\])]?(?P=q)|(?<=[{{,])\s*<?{_KEY.replace("number", "bare")}>?)\s*:\s*(?P<open>["'])"""
    r"""|["'](?:region|region_id|id|number|区域|编号)["']\s*:\s*["']?<?(?:region[ _]?)?(?P<nested>\d{1,4})>?["']?\s*,\s*["'](?:caption|description|text|content|描述|内容)["']\s*:\s*(?P<open_nested>["'])"""
)  # fmt: skip
_VALUE_END = re.compile(r"""\s*[,;]?\s*(?:\}\s*,?\s*)?\{?\s*$""")
_LAST_END = re.compile(r"""["'](?=\s*,?\s*(?:[}\]]|```|$))|["'](?=[ \t]*,?[ \t]*\n)""")
# A string's end and another key or string, within what should be one string.
_KEY_WITHIN = re.compile(r"""["']\s+["']|["']\s*[,}\]]?\s*[{\[]?\s*["'<]?[<\w][\w <>#\-]{0,40}["'>]?\s*:\s*["'\[{\d]""")
_REGION_KEY = re.compile(r"""["'][<\[(]?(?:region|区域)[ _\-#]{0,2}\d{1,4}[>\])]?["']\s*:|["'](?:caption|description|描述)["']\s*:""")


class _Pairs(list[tuple[str, Any]]):
    """An object's entries in their order, repeated keys too."""


def read_json(text: str, asked: Sequence[int]) -> Reading | None:
    """What the JSON in a text says of regions; None where it has none that does. Raises DoubtError.

    Of several values that stand one after the other, all count. What is broken counts only if it tells all of `asked`.
    """
    if not ("{" in text or "[" in text or '"' in text or "'" in text):
        return None
    stripped = text.strip()
    if stripped[:1] == "{":
        try:
            pairs = _DECODER.decode(stripped)
        except (ValueError, RecursionError):
            pass
        else:
            if _only_text(pairs) is None or len(asked) != 1:
                return _reading([pairs], "")
    values, outside, broken = _values(stripped, len(asked) == 1)
    if len(values) == 1 and len(asked) == 1 and not _names_regions(values[0]):
        text_of_one = _only_text(values[0])
        assert text_of_one is not None
        return Reading([(asked[0], text_of_one)], outside, loose=False)
    reading = _reading(values, outside) if values else None
    if reading is not None and reading.said:
        if broken and not _tells(reading, asked):
            raise DoubtError("JSON that is broken")
        return reading
    if looks_like_json(text) or (_FENCE.sub("", stripped).startswith("{") and _ANCHOR.search(folded(text))):
        reading = _anchored(text)
        if not _tells(reading, asked):
            raise DoubtError("JSON that is broken")
        return reading
    return None


def _tells(reading: Reading, asked: Sequence[int]) -> bool:
    return {number for number, _ in reading.said} >= set(asked)


def _values(text: str, one: bool) -> tuple[list[Any], str, bool]:
    """The values of JSON in a text that name regions, the text beside them, and whether some brackets hold no JSON."""
    values: list[Any] = []
    outside: list[str] = []
    at, tries, broken = 0, 0, False
    while (found := _BRACKET.search(text, at)) is not None and tries < 50:
        tries += 1
        try:
            value, end = _DECODER.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            end = text.rfind("}" if found[0] == "{" else "]") + 1
            literal = _literal(text[found.start() : end]) if tries == 1 else None
            if literal is None:
                broken = True
                outside.append(text[at : found.end()])
                at = found.end()
                continue
            value = literal
        if not isinstance(value, list) or not (_names_regions(value) or (one and _only_text(value) is not None)):
            outside.append(text[at:end])
        else:
            outside.append(text[at : found.start()])
            values.append(value)
        at = end
    outside.append(text[at:])
    return values, _FENCE.sub("", "\n".join(part for part in outside if part.strip())).strip(), broken


def _names_regions(value: Any, depth: int = 0) -> bool:
    if depth > 4:
        return False
    if isinstance(value, _Pairs):
        return any(
            _key_number(key) is not None or (key.strip().lower() in _NUMBER_KEYS and _entry_number(inner) is not None)
            or _names_regions(inner, depth + 1)
            for key, inner in value
        )  # fmt: skip
    return isinstance(value, list) and any(_names_regions(inner, depth + 1) for inner in value)


def _only_text(value: Any) -> str | None:
    """The description in an object that has nothing else, as an answer about one region may: `{"caption": "a cat"}`."""
    if isinstance(value, _Pairs) and len(value) == 1 and value[0][0].strip().lower() in _TEXT_KEYS:
        return value[0][1] if isinstance(value[0][1], str) else None
    return None


def _literal(text: str) -> Any:
    """A value in Python's notation; None where it is none."""
    try:
        tree = ast.parse(text.replace("\r", ""), mode="eval").body
        return _built(tree, text.replace("\r", "").encode().split(b"\n"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_ONE_STRING = re.compile(rb"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def _built(node: ast.expr, lines: list[bytes]) -> Any:
    """Objects as `_Pairs`, lists, strings, numbers. Raises ValueError for all else, and for strings that would be joined."""
    if isinstance(node, ast.Dict):
        entries = zip(node.keys, node.values, strict=True)
        return _Pairs((str(_built(key, lines)), _built(value, lines)) for key, value in entries if key is not None)
    if isinstance(node, ast.List | ast.Tuple):
        return [_built(inner, lines) for inner in node.elts]
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return None
    if not isinstance(node, ast.Constant):
        raise ValueError("no literal")
    if isinstance(node.value, str):
        written = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
        if node.lineno != node.end_lineno or not _ONE_STRING.fullmatch(written):
            raise ValueError("strings that would be joined")
        node.value.encode()  # a half of a character that JSON writes in two raises UnicodeEncodeError
    return node.value


def _reading(values: list[Any], outside: str) -> Reading:
    said: list[tuple[int, str]] = []
    rest: list[str] = [outside] if outside else []
    for value in values:
        for number, text in _said(value, rest, 0):
            if not isinstance(text, str) and not (isinstance(text, list) and not text):
                text = ""
            said.append((number, text if isinstance(text, str) else ""))
    return Reading(said, "\n".join(rest), loose=False)


def _said(value: Any, rest: list[str], depth: int) -> Iterator[tuple[int, Any]]:
    """What a value says of regions; what names none goes to `rest`. Raises DoubtError."""
    if depth > 4:
        raise DoubtError("JSON within JSON within JSON")
    if isinstance(value, _Pairs):
        numbers = [(_key_number(key), inner) for key, inner in value]
        if any(number is not None for number, _ in numbers):
            for (key, inner), (number, _) in zip(value, numbers, strict=True):
                if number is None:
                    rest.append(f"{key}: {_plain(inner)}")
                else:
                    yield number, _text_of(inner)
        elif (entry := _entry(value)) is not None:
            yield entry
        else:
            for key, inner in value:
                if isinstance(inner, list):
                    yield from _said(inner, rest, depth + 1)
                else:
                    rest.append(f"{key}: {inner}")
    elif isinstance(value, list):
        for inner in value:
            yield from _said(inner, rest, depth + 1)
    else:
        rest.append(str(value))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _key_number(key: str) -> int | None:
    return named(_KEY_ENDING.sub("", key)) if len(key) <= 40 else None


def _entry_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return value if isinstance(value, int) else named(value) if isinstance(value, str) and len(value) <= 40 else None


def _entry(pairs: _Pairs) -> tuple[int, Any] | None:
    """An object of its own about a region: `{"region": 1, "caption": "a red door"}`. Raises DoubtError."""
    numbers = {
        number
        for key, value in pairs
        if key.strip().lower() in _NUMBER_KEYS and (number := _entry_number(value)) is not None
    }
    names = {named(value) for key, value in pairs if isinstance(value, str) and key.strip().lower() in _NUMBER_KEYS and is_name(value)}
    numbers = {number for number in names if number is not None} or numbers
    if not numbers:
        return None
    texts = [value for key, value in pairs if key.strip().lower() in _TEXT_KEYS and isinstance(value, str)]
    if not texts:
        texts = [value for _, value in pairs if isinstance(value, str) and named(value) is None]
    if len(numbers) > 1 or len(texts) != 1:
        raise DoubtError("an object that does not say which region it is about, or what it says of it")
    return numbers.pop(), texts[0]


def _text_of(value: Any) -> Any:
    """The description in a region's value: a string, or an object or a list that holds just one. Raises DoubtError."""
    if isinstance(value, _Pairs):
        texts = [inner for key, inner in value if key.strip().lower() in _TEXT_KEYS] or [inner for _, inner in value]
        if len(texts) != 1:
            raise DoubtError("an object with several texts about one region")
        return _text_of(texts[0])
    if isinstance(value, list):
        if len(value) > 1:
            raise DoubtError("a list of texts about one region")
        return _text_of(value[0]) if value else ""
    return value


def _anchored(text: str) -> Reading:
    """What stands between keys that name regions, each of them once. Raises DoubtError.

    For strings with quotation marks in them that are not escaped, missing commas and brackets. The text between two
    keys has to end as a string ends; of the last one, the end of its string has to be the only one there could be.
    """
    small = folded(text)
    keys = list(_ANCHOR.finditer(small))
    if not keys:
        raise DoubtError("JSON that is broken")
    said: list[tuple[int, str]] = []
    for index, key in enumerate(keys):
        mark = key["open"] or key["open_nested"]
        if index + 1 < len(keys):
            written = text[key.end() : keys[index + 1].start()]
            last = small.rfind(mark, key.end(), keys[index + 1].start()) - key.end()
            if last < 0 or not _VALUE_END.fullmatch(small, key.end() + last + 1, keys[index + 1].start()):
                raise DoubtError("JSON whose strings do not end")
            after = ""
        else:
            written = text[key.end() :]
            ends = [found.start() for found in _LAST_END.finditer(small[key.end() :]) if found[0] == mark]
            if not ends or len(ends) > 1:
                raise DoubtError("JSON whose last string may end at several places, or does not end")
            last, after = ends[0], written[ends[0] + 1 :]
        if _KEY_WITHIN.search(written, 0, last):
            raise DoubtError("broken JSON with other keys in between")
        said.append((int(key["number"] or key["bare"] or key["nested"]), _unescaped(written[:last])))
    if small[: keys[0].start()].rstrip(" \t")[-1:] not in ("", "\n", "{", "[") and keys[0][0][:1] not in "{,":
        raise DoubtError("a key of JSON in the middle of words")
    if len({number for number, _ in said}) < len(said):
        raise DoubtError("broken JSON that names a region twice")
    before = _FENCE.sub("", text[: keys[0].start()]).strip(" \n{[")
    behind = _FENCE.sub("", after).strip(" \n}],;")
    return Reading(said, "\n".join(part for part in (before, behind) if part))


def _unescaped(written: str) -> str:
    r"""The string as JSON means it, with quotation marks and line breaks that should have been escaped."""
    try:
        return str(json.loads('"' + re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', written).replace("\\'", "'") + '"', strict=False))
    except ValueError as error:
        raise DoubtError("JSON with an escape that is none") from error


def looks_like_json(text: str) -> bool:
    """Whether the text has keys of JSON that name regions or their descriptions."""
    return _REGION_KEY.search(folded(text)) is not None

