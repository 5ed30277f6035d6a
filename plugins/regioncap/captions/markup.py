"""Answers in elements (`<region1>...</region1>`, `<region id="1">...`) and in Markdown tables."""

import re
from collections.abc import Sequence

from regioncap.captions.namings import folded, is_name, named
from regioncap.captions.reading import WHITE_SPACE, DoubtError, Reading

_ELEMENT_NAME = r"(?:region|area|box|object|item|mark|tag|caption|description|区域|标记)"
_ELEMENT = re.compile(
    rf"<(?P<kind>{_ELEMENT_NAME})[ _\-]?(?P<number>\d{{1,4}})?(?P<attributes>(?:[ \t][^<>]{{0,200}})?)>"
)
_END = re.compile(rf"</{_ELEMENT_NAME}")
_ATTRIBUTE = re.compile(
    r"""\b(?:id|number|num|no|n|index|name|region|region_id|key)[ ]?=[ ]?["']?([^"'<>]{1,20}?)["']?(?=[ \t/]|$)"""
)
_NUMBER_WITHIN = re.compile(r"\s*<(id|number|index|name|region_id|region)>([^<>]{1,20})</\1>\s*")
_TEXT_WITHIN = re.compile(r"\s*<(caption|description|desc|text|content|描述)>(.*?)</\1>\s*", re.DOTALL)
_ANY_ELEMENT = re.compile(rf"</?{_ELEMENT_NAME}[ _\-]?\d{{0,4}}[ />]")
# The beginning of an element that is no region's name in words.
_NO_MENTION = re.compile(rf"<{_ELEMENT_NAME}(?![ _\-]?\d{{1,4}}>)[ >]")
_WRAPPER = re.compile(
    r"</?(?:regions|answer|output|response|result|results|captions|descriptions|image|list|root|annotations)>|```\w*|<\?xml[^<>]*>"
)

_SEPARATOR = re.compile(r"[|+]?[ \t]*:?[-=]+:?[ \t]*(?:[|+][ \t]*:?[-=]+:?[ \t]*)*[|+]?")
_COLUMNS = 20
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_NUMBER_HEADING = re.compile(
    r"[\W_]*(?:region|marked region|region (?:name|id|number|no\.?|tag)|tag|mark"
    r"|区域|区域(?:编号|名称|名)|编号|标记)[\W_]*",
    re.IGNORECASE,
)
_TEXT_HEADING = re.compile(
    r"[\W_]*(?:(?:\w+ )?descriptions?|(?:\w+ )?captions?|contents?|what (?:it|is) shown"
    r"|描述|内容|说明|内容描述|描述内容|区域描述|区域内容)[\W_]*",
    re.IGNORECASE,
)


def read_elements(text: str) -> Reading | None:
    """What stands in elements that name regions. None where no such element is ended. Raises DoubtError."""
    if "<" not in text and "＜" not in text:
        return None
    small = folded(text)
    if not _END.search(small):
        return None
    said: list[tuple[int, str]] = []
    outside: list[str] = []
    at = 0
    for found in _ELEMENT.finditer(small):
        if found.start() < at:
            continue
        end = re.compile(rf"</?{found['kind']}[ _\-]?(?P<number>\d{{0,4}})[^<>\n]{{0,200}}>").search(small, found.end())
        if end is not None and small[end.start() + 1] != "/" and not said:
            continue  # a name in the words before the first element
        if end is None or small[end.start() + 1] != "/" or (end["number"] and end["number"] != found["number"]):
            raise DoubtError("an element that is not ended, or by another's end")
        outside.append(text[at : found.start()])
        number, content = _element(found, text[found.end() : end.start()])
        said.append((number, content))
        at = end.end()
    outside.append(text[at:])
    beside = [_WRAPPER.sub("", part).strip(" \t\n-*•;,.|").removeprefix("and").removeprefix("和") for part in outside]
    if _NO_MENTION.search(folded(outside[0])):
        raise DoubtError("an element that is not ended")
    if not said or any(beside[1:-1]) or any(_ANY_ELEMENT.search(folded(part)) for part in outside[1:]):
        raise DoubtError("text between elements, or elements that do not fit together")
    return Reading(said, "\n".join(part for part in beside if part))


def _element(found: re.Match[str], content: str) -> tuple[int, str]:
    """The number and the text of an element."""
    numbers = {int(found["number"])} if found["number"] else set()
    for attribute in _ATTRIBUTE.finditer(found["attributes"]):
        number = named(attribute[1])
        if number is not None:
            numbers.add(number)
    inner = _NUMBER_WITHIN.match(content)
    if inner:
        number = named(inner[2])
        numbers |= {number} if number is not None else set()
        content = content[inner.end() :]
    described = _TEXT_WITHIN.fullmatch(content)
    if described:
        content = described[2]
    if len(numbers) != 1 or _ANY_ELEMENT.search(folded(content)) or _TEXT_WITHIN.search(content):
        raise DoubtError("an element that does not say of which region it is, or that holds others")
    return numbers.pop(), content.strip(WHITE_SPACE).removeprefix(":").removeprefix("：")


def read_table(text: str) -> Reading | None:
    """What stands in the rows of a Markdown table. None where there is none. Raises DoubtError."""
    if "|" not in text:
        return None
    lines = text.split("\n")
    lines = [line for line in lines if not line.startswith("+") or not _SEPARATOR.fullmatch(line.strip())]
    in_table = [line.lstrip().startswith("|") for line in lines]
    separators = [index for index, line in enumerate(lines) if "|" in line and _SEPARATOR.fullmatch(line.strip())]
    if separators:
        # Rows need no border at their ends if the table has a line below its heading.
        first, last = max(separators[0] - 1, 0), separators[0]
        while last + 1 < len(lines) and "|" in lines[last + 1]:
            last += 1
    elif any(in_table):
        first = in_table.index(True)
        last = len(lines) - 1 - in_table[::-1].index(True)
    elif all(is_name(line.partition("|")[0]) for line in lines[1:] or lines) and "|" in lines[0]:
        first, last = 0, len(lines) - 1
    else:
        return None
    if any("|" not in line for line in lines[first : last + 1]):
        raise DoubtError("lines between those of a table")
    rows = [_cells(line) for line in lines[first : last + 1] if not _SEPARATOR.fullmatch(line.strip())]
    outside = "\n".join(lines[:first] + lines[last + 1 :]).strip()
    if len({len(row) for row in rows}) != 1 or len(rows[0]) > _COLUMNS:
        raise DoubtError("a table with rows of several lengths, or with too many columns")
    said, counted = _rows(rows)
    return Reading(said, outside, counted)


def _cells(line: str) -> list[str]:
    line = line.strip()
    cells = _CELL_BORDER.split(line.removeprefix("|"))
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    return [cell.strip(WHITE_SPACE).replace(r"\|", "|") for cell in cells]


def _rows(rows: Sequence[Sequence[str]]) -> tuple[list[tuple[int, str]], bool]:
    """What the rows say of regions, and whether they only number them. Raises DoubtError."""
    if len(rows) == 2 and len(rows[0]) > 1 and all(is_name(cell) for cell in rows[0]):
        return [(_number(name), text) for name, text in zip(rows[0], rows[1], strict=True)], False
    heading, body = (rows[0], rows[1:]) if not any(named(cell) is not None for cell in rows[0]) else ([], rows)
    columns = range(len(rows[0]))
    numbered = [column for column in columns if body and all(named(row[column]) is not None for row in body)]
    certain = [column for column in numbered if all(is_name(row[column]) for row in body)] or [
        column for column in numbered if heading and _NUMBER_HEADING.fullmatch(heading[column])
    ]
    keys = certain or numbered
    texts = [column for column in columns if column not in numbered]
    if len(texts) > 1:
        texts = [column for column in texts if heading and _TEXT_HEADING.fullmatch(heading[column])]
    if len(keys) != 1 or len(texts) != 1:
        raise DoubtError("a table that does not say which column names regions, or which describes them")
    return [(_number(row[keys[0]]), row[texts[0]]) for row in body], not certain


def _number(cell: str) -> int:
    number = named(cell)
    assert number is not None
    return number
