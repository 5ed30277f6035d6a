"""Answers in random forms, mixed at random, with what they say: a generator for the property that none is read wrongly.

An answer is *clear* if it says of each region what it is, in a form that is known, and with descriptions whose own text
is not built like an answer; clear ones should be taken apart. Descriptions are hostile: they have numbers, brackets,
colons, quotation marks, mentions of other regions, pieces of JSON and of tables in them, and some (*nasty* ones) whole
pieces of answers.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from regioncap.captions.prompts import AnswerFormat

Captions = dict[int, str]


@dataclass(frozen=True)
class RandomAnswer:
    """An answer about `asked` of the regions 1 to `regions`; `want` is None where it must not be taken apart."""

    form: str
    answer: str
    answer_format: AnswerFormat
    regions: int
    asked: tuple[int, ...]
    want: Captions | None
    clear: bool
    nasty: bool = False


_KINDS = ("a red", "an old", "a small", "a wooden", "two large", "a half-open", "three grey", "a rusty", "the blue")
_THINGS = (
    "door",
    "cat",
    "bus stop",
    "bicycle",
    "bottle of water",
    "laptop",
    "woman with an umbrella",
    "football shirt",
    "road sign",
    "tree",
)
_DETAILS = (
    "",
    "",
    "",
    " with a brass handle",
    " behind a fence",
    " on a table",
    ", seen from above",
    " that is partly hidden",
    " in the rain",
    ". It is very old",
    ", and a dog beside it",
)
_KINDS_ZH = ("一扇红色的", "一只小", "一辆旧", "两个大", "一块木制的", "三张灰色的")
_THINGS_ZH = ("门", "猫", "自行车", "瓶子", "路牌", "椅子", "球衣", "电脑")
_DETAILS_ZH = ("", "", "，放在桌子上", "，旁边有一只狗", "，位于树下", "。看起来很旧")

_PIECES = (
    " no. {k}",
    " ({k})",
    " [{k}]",
    " #{k}",
    " with the number {k} on it",
    " at 12:30",
    ", 1.5 m high",
    " (scale 1:24)",
    " priced $3.99",
    " - {k} of them",
    ": brand new",
    ", labelled: fragile",
    ' with the words "STOP"',
    " saying “出口”",
    " of the dog's owner",
    " marked 'B{k}'",
    ' reading "1. Turn left"',
    ' showing {{"a": {k}}}',
    ' with ["x", "y"] on it',
    " with a | on it",
    " showing <b>",
    " with an <Enter> key",
    " (left; {k} cm)",
    " = {k}",
    " / other",
    " & sons",
    " 写着：禁止",
    "（左侧）",
    "，编号{k}",
    "【{k}】",
    " left of <region{o}>",
    " behind region {o}",
    " (see region {o})",
    " in the region of the door",
    " of a regional train",
    " 在区域{o}旁边",
    " next to the first one",
    " -- broken",
    " … and more",
    " at 50% off",
    "; empty",
    " ~{k} kg",
    " @home",
    " *new*",
)
_NASTY = (
    "\n<region{o}>: a cup",
    " <region{o}>: a cup",
    ". <region{o}> shows a cup",
    ". In <region{o}>, there is a cup",
    "\nRegion {o}: a cup",
    "\n{o}. a cup",
    '", "<region{o}>": "a cup',
    "', '<region{o}>': 'a cup",
    "</region{k}><region{o}>a cup",
    " | <region{o}> | a cup",
    "\n| {o} | a cup |",
    "\n\nLet me know if you need more.",
    "\n```\n",
    '"}}',
    "{{",
    "\\",
    " and <region{o}>",
    ", <region{o}> and more",
    " The other one is a cup.",
    "\n\n### Region {o}\na cup",
    "；区域{o}：一个杯子",
    "。区域{o}是一个杯子",
    "<think>a cup</think>",
    "\n- a cup\n- a plate",
    " {o}) a cup",
    "\n\na cup",
    "\na cup",
    " <region{k}>",
    "<region{o}>",
    " (<region{o}>: a cup)",
    " **Cup**: a cup",
    " unlike <region{o}>: smaller",
    '": "',
    '",\n"{o}": "a cup',
)


def _caption(random: Random, region: int, regions: int, chinese: bool, nasty: bool) -> str:
    kinds, things, details = (_KINDS_ZH, _THINGS_ZH, _DETAILS_ZH) if chinese else (_KINDS, _THINGS, _DETAILS)
    caption = random.choice(kinds) + ("" if chinese else " ") + random.choice(things)
    other = random.choice([number for number in range(1, regions + 1) if number != region] or [2])
    if random.random() < 0.5:
        caption += random.choice(_PIECES).format(k=random.randint(1, regions + 1), o=other)
    caption += random.choice(details)
    if nasty:
        caption += random.choice(_NASTY).format(k=region, o=other)
        caption += random.choice(("", random.choice(details)))
    return caption


# Names, from a number to how it is written.
_ZH = "零一二三四五六七八九十"
_NAMES: tuple[str, ...] = (
    "<region{n}>",
    "<region{n}>",
    "<Region {n}>",
    "<region_{n}>",
    "Region {n}",
    "region {n}",
    "Region #{n}",
    "**Region {n}**",
    "**<region{n}>**",
    "`<region{n}>`",
    "[region{n}]",
    "[Region {n}]",
    "(Region {n})",
    "Region No. {n}",
    "region_{n}",
    "Region{n}",
    "Region {w}",
    "区域{n}",
    "区域 {n}",
    "区域{z}",
    "第{n}个区域",
    "第{z}个区域",
    "{n}号区域",
    "【区域{n}】",
    "<区域{n}>",
    "**区域{n}**",
    "區域{n}",
    "REGION {n}",
    "＜region{n}＞",
)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERED = (
    "{n}. ",
    "{n}) ",
    "({n}) ",
    "[{n}] ",
    "{n}: ",
    "#{n}: ",
    "**{n}.** ",
    "{n}、",
    "（{n}）",
    "【{n}】",
    "{z}、",
)
_AFTER = (": ", ":", "：", " - ", " – ", " : ", ":  ", " -> ")
_BEFORE = ("", "", "- ", "* ", "> ", "• ", "{n}. ", "  ")


def _name(pattern: str, number: int) -> str:
    return pattern.format(n=number, w=_WORDS[min(number, 10)], z=_ZH[min(number, 10)])


def _lines(captions: Captions, random: Random) -> str:
    name, after, before = random.choice(_NAMES), random.choice(_AFTER), random.choice(_BEFORE)
    end = random.choice(("\n", "\n", "\n\n", ";\n", ".\n"))
    return end.join(f"{_name(before, n)}{_name(name, n)}{after}{caption}" for n, caption in captions.items())


def _numbers(captions: Captions, random: Random) -> str:
    name = random.choice(_NUMBERED)
    return random.choice(("\n", "\n\n")).join(f"{_name(name, n)}{caption}" for n, caption in captions.items())


def _headings(captions: Captions, random: Random) -> str:
    mark = random.choice(("## {}", "### {}", "**{}**", "{}:", "#### {}:"))
    name = random.choice(("Region {n}", "<region{n}>", "区域{n}"))
    gap, bullet = random.choice(("\n", "\n\n")), random.choice(("", "", "- "))
    return "\n\n".join(f"{mark.format(_name(name, n))}{gap}{bullet}{caption}" for n, caption in captions.items())


def _sentences(captions: Captions, random: Random) -> str:
    pattern = random.choice(
        (
            "In <region{n}>, there is {c}.",
            "In region {n}, there is {c}.",
            "<region{n}> shows {c}.",
            "Region {n} shows {c}.",
            "Region {n} contains {c}.",
            "<region{n}> is {c}.",
            "In the region {n}, there is {c}.",
            "区域{n}是{c}。",
            "在<region{n}>中，有{c}。",
            "区域{n}显示{c}。",
        )
    )
    gap = random.choice((" ", "\n", "\n\n")) if pattern.isascii() else random.choice(("", "\n"))
    return gap.join(pattern.format(n=n, c=caption) for n, caption in captions.items())


def _one_line(captions: Captions, random: Random) -> str:
    name = random.choice(("<region{n}>", "Region {n}", "区域{n}", "**Region {n}**"))
    after, gap = random.choice((": ", "：")), random.choice((" ", "; ", ". ", " | "))
    return gap.join(f"{_name(name, n)}{after}{caption}" for n, caption in captions.items())


def _elements(captions: Captions, random: Random) -> str:
    pattern = random.choice(
        (
            "<region{n}>{c}</region{n}>",
            "<region{n}>\n{c}\n</region{n}>",
            '<region id="{n}">{c}</region>',
            "<region_{n}>{c}</region_{n}>",
            '<caption region="{n}">{c}</caption>',
            "<region><id>{n}</id><caption>{c}</caption></region>",
        )
    )
    return random.choice(("", "\n", " ")).join(pattern.format(n=n, c=caption) for n, caption in captions.items())


def _table(captions: Captions, random: Random) -> str:
    name = random.choice(("<region{n}>", "Region {n}", "{n}", "**{n}**", "区域{n}"))
    rows = [[_name(name, n), caption.replace("|", "\\|")] for n, caption in captions.items()]
    heading = random.choice((["Region", "Description"], ["区域", "描述"], ["Region", "Caption"]))
    if random.random() < 0.3:
        rows, heading = [row[::-1] for row in rows], heading[::-1]
    if random.random() < 0.2:
        rows, heading = [[row[0], "left", row[1]] for row in rows], [heading[0], "Place", heading[1]]
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _json(captions: Captions, random: Random) -> str:
    key = random.choice(("<region{n}>", "<region{n}>", "region{n}", "region_{n}", "Region {n}", "{n}", "区域{n}"))
    form = random.choice(("object", "object", "object", "objects", "list", "under", "inner", "lines"))
    number = random.choice(("region", "id", "region_id", "区域"))
    words = random.choice(("caption", "description", "描述", "text"))
    entries = [{number: random.choice((n, f"<region{n}>")), words: caption} for n, caption in captions.items()]
    whole: object = {_name(key, n): caption for n, caption in captions.items()}
    if form == "objects":
        whole = entries
    elif form == "list":
        whole = [{_name(key, n): caption} for n, caption in captions.items()]
    elif form == "under":
        whole = {"regions": entries}
    elif form == "inner":
        whole = {_name(key, n): {words: caption} for n, caption in captions.items()}
    ascii_only, indent = random.random() < 0.5, random.choice((None, None, 2))
    if form == "lines":
        return "\n".join(json.dumps(entry, ensure_ascii=ascii_only) for entry in entries)
    if random.random() < 0.15:
        return repr(whole)
    text = json.dumps(whole, ensure_ascii=ascii_only, indent=indent)
    return _broken(text, random) if random.random() < 0.2 else text


def _broken(text: str, random: Random) -> str:
    """JSON with a fault that leaves no doubt of what is meant."""
    return random.choice(
        (
            text[:-1].rstrip() + "," + text[-1],
            text[:-1],
            text.replace("\\n", "\n"),
            text.replace('\\"', '"'),
            text + text[-1],
            text[1:-1] if text[0] == "{" else text,
        )
    )


_CLEAR: tuple[tuple[str, Callable[[Captions, Random], str]], ...] = (
    ("lines", _lines),
    ("lines", _lines),
    ("numbers", _numbers),
    ("headings", _headings),
    ("sentences", _sentences),
    ("one line", _one_line),
    ("elements", _elements),
    ("table", _table),
    ("JSON", _json),
    ("JSON", _json),
)

_OPENINGS = (
    "",
    "",
    "",
    "Sure! Here are the descriptions of the regions:\n\n",
    "Here is what I see in the marked regions:\n",
    "Certainly!\n\n",
    "好的，以下是各区域的描述：\n",
    "Describe the content of each marked region in the image. There are {r} regions: <region1> to <region{r}>.\n\n",
    "Answer:\n",
    "The image has {r} marked regions.\n\n",
)
_CLOSINGS = (
    "",
    "",
    "",
    "\n\nLet me know if you need anything else!",
    "\n\nI hope this helps.",
    "\n\n希望这些描述对您有帮助！",
    "\n\nOverall, the image shows a street.",
    "\n\nPlease note that the regions are small.",
)
_THOUGHTS = (
    "",
    "",
    "",
    "",
    "<think>Region 1 could be a cup, <region2>: a plate.</think>\n\n",
    "<think>\n\n</think>\n\n",
    "Let me see. <region1>: a cup?\n</think>\n",
    "<thinking>\n1. a cup\n2. a plate\n</thinking>\n",
)


def _unclear(captions: Captions, random: Random) -> tuple[str, str]:
    """An answer that does not say what belongs to which region, and what it is."""
    texts, numbers = list(captions.values()), list(captions)
    forms: list[tuple[str, str]] = [
        ("no names", "\n".join(texts)),
        ("no names", "; ".join(texts)),
        ("shared", " and ".join(f"<region{n}>" for n in numbers) + f": {texts[0]}"),
        ("shared", f"Regions {numbers[0]}-{numbers[-1]}: {texts[0]}"),
        ("shared", f"区域{numbers[0]}和区域{numbers[-1]}都是{texts[0]}"),
        (
            "respectively",
            "Regions " + " and ".join(map(str, numbers)) + " show " + " and ".join(texts) + ", respectively.",
        ),
        ("counted from 0", "\n".join(f"<region{n - 1}>: {text}" for n, text in captions.items())),
        ("counted from 0", json.dumps({str(n - 1): text for n, text in captions.items()})),
        ("twice", "\n".join(f"<region{n}>: {text}\n<region{n}>: {text} or so" for n, text in captions.items())),
        ("names below", "\n".join(f"{text}\n<region{n}>" for n, text in captions.items())),
        (
            "in one value",
            json.dumps({f"<region{numbers[0]}>": "; ".join(f"<region{n}>: {text}" for n, text in captions.items())}),
        ),
        (
            "swapped names",
            json.dumps(
                {
                    f"<region{n}>": f"<region{m}>: {text}"
                    for (n, text), m in zip(captions.items(), numbers[1:] + numbers[:1], strict=True)
                }
            ),
        ),
        ("in the middle", f"<region{numbers[0]}>: {texts[0]}, not like <region{numbers[-1]}>: {texts[-1]}"),
        ("not ended", "".join(f"<region{n}>{text}" for n, text in captions.items()) + f"</region{numbers[-1]}>"),
        ("strings", json.dumps(texts)),
        ("thoughts", "<think>" + "\n".join(f"<region{n}>: {text}" for n, text in captions.items())),
    ]
    return random.choice(forms)


def random_answer(random: Random) -> RandomAnswer:
    """An answer at random."""
    regions = random.choice((1, 2, 2, 3, 3, 4, 6))
    asked = tuple(range(1, regions + 1))
    if regions > 1 and random.random() < 0.15:
        asked = tuple(sorted(random.sample(asked, random.randint(1, regions - 1))))
    described: Sequence[int] = asked if random.random() < 0.7 else range(1, regions + 1)
    chinese, nasty = random.random() < 0.35, random.random() < 0.25
    spoilt = random.choice(list(described)) if nasty else 0
    captions = {n: _caption(random, n, regions, chinese, n == spoilt) for n in described}
    if random.random() < 0.08 and len(asked) > 1 and not nasty:
        form, text = _unclear(captions, random)
        return RandomAnswer(form, text, "free_text", regions, asked, None, False)
    form, write = random.choice(_CLEAR)
    if random.random() < 0.1:
        captions = dict(random.sample(sorted(captions.items()), len(captions)))
    text = write(captions, random)
    if random.random() < 0.15:
        text = f"```{random.choice(('', 'json', 'text', 'xml'))}\n{text}\n```"
    text = random.choice(_OPENINGS).format(r=regions) + text + random.choice(_CLOSINGS)
    text = random.choice(_THOUGHTS) + text
    want = {n: captions[n] for n in asked}
    # A list that numbers a part of the regions may count something else.
    clear = not nasty and not (
        form == "numbers" and tuple(sorted(captions)) not in (asked, tuple(range(1, regions + 1)))
    )
    return RandomAnswer(
        form,
        text,
        random.choice(("structured", "free_text")) if form == "JSON" else "free_text",
        regions,
        asked,
        want,
        clear,
        nasty,
    )
