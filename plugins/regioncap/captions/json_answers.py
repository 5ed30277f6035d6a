"""Answers in JSON, or in what is nearly JSON: fenced, among words, in Python's notation, with faults.

Three readers, the strictest first: JSON itself; Python's literals (single quotation marks, commas at the end); and what
stands between keys that name regions. None of them ends a string that the text does not end, or joins two.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from regioncap.captions.namings import folded, is_name, named
from regioncap.captions.reading import DoubtError, Reading

# Keys of an object that say which region it is about, and those that say what is in it.
_NUMBER_KEYS = frozenset(
    (
        "region", "region_id", "regionid", "region_number", "region_name", "regionname", "region_name", "id", "number",
        "num", "no", "index", "name", "tag", "key", "mark", "box", "label", "区域", "区域编号", "区域名",
        "区域名称", "编号", "序号", "标记",
    )
)  # fmt: skip
_TEXT_KEYS = frozenset(
    (
        "caption", "description", "desc", "text", "content", "contents", "describe", "answer", "value", "details",
        "detail", "region_description", "region_caption", "描述", "内容", "说明", "区域描述", "内容描述",
    )
)  # fmt: skip
_KEY_ENDING = re.compile(r"[ _-](?:description|caption|content|text)$", re.IGNORECASE)
# Longer ones name no region.
_LONGEST_NAME = 40
# More brackets that hold no JSON are not tried, and nothing deeper is read.
_TRIES = 50
_DEPTH = 4

_BRACKET = re.compile(r"[{\[]")
_FENCE = re.compile(r"```[^\S\n]*\w*[^\S\n]*\n?")

_NAME = r"(?:regions?|区域)[ _\-#]{0,2}"
# A key that names a region, in quotation marks or behind a bracket, or two entries that tell which region it is and
# begin to tell what is in it; with the quotation mark that opens the text.
_KEY = re.compile(
    rf"""(?:(?P<around>["'])[<\[(]?{_NAME}(?P<quoted>\d{{1,4}})[>\])]?(?P=around)
    |(?<=[{{,])\s*<?{_NAME}(?P<bare>\d{{1,4}})>?)
    \s*:\s*(?P<opening>["'])
    |["'](?:region|region_id|id|number|区域|编号)["']\s*:\s*["']?<?(?:{_NAME})?(?P<entry>\d{{1,4}})>?["']?\s*,
    \s*["'](?:caption|description|text|content|描述|内容)["']\s*:\s*(?P<entry_opening>["'])""",
    re.VERBOSE,
)
# What may stand between the end of a string and the next key, and behind the end of the last string.
_BETWEEN = re.compile(r"\s*(?:[,;]\s*)?(?:\}\s*(?:,\s*)?)?(?:\{\s*)?")
_LAST_END = re.compile(r"""["'](?=\s*(?:,\s*)?(?:[}\]]|```|$))|["'](?=[ \t]*(?:,[ \t]*)?\n)""")
# A string's end and another key or string, within what should be one string.
_OTHER_STRING = re.compile(
    r"""["']\s+["']|["']\s*(?:[,}\]]\s*)?(?:[{\[]\s*)?["'<]?[<\w][\w <>#\-]{0,40}["'>]?\s*:\s*["'\[{\d]"""
)
_ANY_KEY = re.compile(
    rf"""["'][<\[(]?{_NAME}\d{{1,4}}[>\])]?["']\s*:|["'](?:caption|description|描述)["']\s*:"""
)  # fmt: skip
_LITERAL_STRING = re.compile(rb"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


class _Pairs(list[tuple[str, Any]]):
    """An object's entries in their order, repeated keys too."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, strict=False)  # raw control characters: a gate judges them


def read_json(text: str, asked: Sequence[int]) -> Reading | None:
    """What the JSON in a text says of regions; None where it has none that does. Raises DoubtError.

    Of several values that stand one after the other, all count. What is broken counts only if it tells all of `asked`.
    """
    if not any(sign in text for sign in "{[\"'“"):
        return None
    values, outside, broken = _values(text.strip())
    about = [value for value in values if _names_regions(value)]
    if about:
        rest = [outside] if outside else []
        reading = Reading([entry for value in about for entry in _said(value, rest)], "\n".join(rest), strict=True)
        return _whole(reading, asked) if broken else reading
    if len(values) == 1 and len(asked) == 1 and (only := _only_text(values[0])) is not None:
        return Reading([(asked[0], only)], outside, strict=True)
    if looks_like_json(text) or (_FENCE.sub("", text.strip()).startswith("{") and _KEY.search(folded(text))):
        return _whole(_between_keys(text), asked)
    return None


def looks_like_json(text: str) -> bool:
    """Whether the text has keys of JSON that name regions or their descriptions."""
    return _ANY_KEY.search(folded(text)) is not None


def _whole(reading: Reading, asked: Sequence[int]) -> Reading:
    if not {number for number, _ in reading.said} >= set(asked):
        raise DoubtError("JSON that is broken")
    return reading


def _values(text: str) -> tuple[list[Any], str, bool]:
    """The values in a text that name regions or hold a description, the text beside, and whether brackets hold none."""
    values: list[Any] = []
    outside: list[str] = []
    at, broken = 0, 0
    while broken < _TRIES and (found := _BRACKET.search(text, at)) is not None:
        try:
            value, end = _DECODER.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            end = text.rfind("}" if found[0] == "{" else "]") + 1
            value = None if values or broken else _literal(text[found.start() : end])
            if value is None:
                broken += 1
                outside.append(text[at : found.end()])
                at = found.end()
                continue
        if _names_regions(value) or _only_text(value) is not None:
            values.append(value)
            outside.append(text[at : found.start()])
        else:
            outside.append(text[at:end])
        at = end
    outside.append(text[at:])
    beside = _FENCE.sub("", "\n".join(part for part in outside if part.strip())).strip()
    return values, beside, broken > 0


def _names_regions(value: Any, depth: int = 0) -> bool:
    if depth > _DEPTH or not isinstance(value, list):
        return False
    if not isinstance(value, _Pairs):
        return any(_names_regions(inner, depth + 1) for inner in value)
    return any(
        _key_number(key) is not None or _entry_number(key, inner) is not None or _names_regions(inner, depth + 1)
        for key, inner in value
    )


def _only_text(value: Any) -> str | None:
    """The description in an object that has nothing else, as an answer about one region may: `{"caption": "a cat"}`."""
    if isinstance(value, _Pairs) and len(value) == 1 and _is_text_key(value[0][0]) and isinstance(value[0][1], str):
        return value[0][1]
    return None


def _said(value: Any, rest: list[str], depth: int = 0) -> Iterator[tuple[int, str]]:
    """What a value says of regions; what names none goes to `rest`. Raises DoubtError."""
    if depth > _DEPTH:
        raise DoubtError("JSON within JSON within JSON")
    if not isinstance(value, _Pairs):
        for inner in value:
            if isinstance(inner, list):
                yield from _said(inner, rest, depth + 1)
            else:
                rest.append(str(inner))
        return
    numbers = [_key_number(key) for key, _ in value]
    named_by_key = any(number is not None for number in numbers)
    if not named_by_key and (entry := _entry(value)) is not None:
        yield entry
        return
    for (key, inner), number in zip(value, numbers, strict=True):
        if number is not None:
            yield number, _text_of(inner)
        elif isinstance(inner, list) and not named_by_key:
            yield from _said(inner, rest, depth + 1)
        else:
            rest.append(f"{key}: {inner}")


def _entry(pairs: _Pairs) -> tuple[int, str] | None:
    """An object of its own about a region: `{"region": 1, "caption": "a red door"}`. Raises DoubtError."""
    found = [(number, value) for key, value in pairs if (number := _entry_number(key, value)) is not None]
    names = {number for number, value in found if isinstance(value, str) and is_name(value)}
    numbers = names or {number for number, _ in found}
    if not numbers:
        return None
    texts = [value for key, value in pairs if _is_text_key(key) and isinstance(value, str)]
    texts = texts or [value for _, value in pairs if isinstance(value, str) and named(value) is None]
    if len(numbers) > 1 or len(texts) != 1:
        raise DoubtError("an object that does not say which region it is about, or what is in it")
    return numbers.pop(), texts[0]


def _text_of(value: Any) -> str:
    """The description in a region's value: a string, or an object or a list that holds just one. Raises DoubtError.

    What is no text (a number, null) is none: an empty description.
    """
    if isinstance(value, _Pairs):
        texts = [inner for key, inner in value if _is_text_key(key)]
        # `{"type": "string"}` is the schema's word, sent back.
        texts = texts or [inner for key, inner in value if key != "type"]
        if not texts:
            return ""
        if len(texts) != 1:
            raise DoubtError("an object with several texts about one region")
        return _text_of(texts[0])
    if isinstance(value, list):
        if len(value) > 1:
            raise DoubtError("a list of texts about one region")
        return _text_of(value[0]) if value else ""
    return value if isinstance(value, str) else ""


def _key_number(key: str) -> int | None:
    return named(_KEY_ENDING.sub("", key)) if len(key) <= _LONGEST_NAME else None


def _entry_number(key: str, value: Any) -> int | None:
    if isinstance(value, bool) or key.strip().lower() not in _NUMBER_KEYS:
        return None
    if isinstance(value, str) and len(value) <= _LONGEST_NAME:
        return named(value)
    return value if isinstance(value, int) else None


def _is_text_key(key: str) -> bool:
    return key.strip().lower() in _TEXT_KEYS


def _literal(text: str) -> Any:
    """A value in Python's notation, as `_DECODER` gives it; None where it is none."""
    text = text.replace("\r", "")
    try:
        return _built(ast.parse(text, mode="eval").body, text.encode().split(b"\n"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _built(node: ast.expr, lines: list[bytes]) -> Any:
    """Raises ValueError for what is no literal, and for strings side by side, which Python would join."""
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
        if node.lineno != node.end_lineno or not _LITERAL_STRING.fullmatch(written):
            raise ValueError("strings that would be joined")
        node.value.encode()  # raises for half a character: JSON writes some in two, Python does not
    return node.value


def _between_keys(text: str) -> Reading:
    """What stands between keys that name regions, each of them once. Raises DoubtError.

    For strings with quotation marks that are not escaped, and for commas and brackets that are missing. The text
    between two keys has to end as a string ends; the end of the last string has to be the only one there could be.
    """
    small = folded(text)
    keys = list(_KEY.finditer(small))
    if not keys or not _stands_alone(small, keys[0]):
        raise DoubtError("JSON that is broken")
    said: list[tuple[int, str]] = []
    after = len(text)
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        mark = key["opening"] or key["entry_opening"]
        if following is None:
            ends = [found.start() for found in _LAST_END.finditer(small, key.end()) if found[0] == mark]
        else:
            ends = [small.rfind(mark, key.end(), following.start())]
            if not _BETWEEN.fullmatch(small, ends[0] + 1, following.start()):
                raise DoubtError("JSON whose strings do not end")
        if len(ends) != 1 or ends[0] < 0:
            raise DoubtError("JSON whose last string does not end, or may end at several places")
        if _OTHER_STRING.search(text, key.end(), ends[0]):
            raise DoubtError("broken JSON with other keys in between")
        said.append((int(key["quoted"] or key["bare"] or key["entry"]), _unescaped(text[key.end() : ends[0]])))
        after = ends[0] + 1
    if len({number for number, _ in said}) < len(said):
        raise DoubtError("broken JSON that names a region twice")
    beside = (_FENCE.sub("", text[: keys[0].start()]).strip(" \n{["), _FENCE.sub("", text[after:]).strip(" \n}],;"))
    return Reading(said, "\n".join(part for part in beside if part))


def _stands_alone(small: str, key: re.Match[str]) -> bool:
    """Whether a key begins a text, a line, or what a bracket opens: no key in the middle of words."""
    return key["bare"] is not None or small[: key.start()].rstrip(" \t")[-1:] in ("", "\n", "{", "[")


def _unescaped(written: str) -> str:
    r"""The string that was meant: JSON's escapes, and quotation marks and line breaks that were not escaped."""
    escaped = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', written).replace("\\'", "'")
    try:
        return str(json.loads(f'"{escaped}"', strict=False))
    except ValueError as error:
        raise DoubtError("JSON with an escape that is none") from error
