"""A caption talks about the mark (the frame, its tag, the number on it) instead of what is in the region.

Boxes, frames, labels and numbers are things in pictures too. So every rule asks for more than one such word: a sentence
of nothing else, a wording that fits only a mark, or the region's own number beside it.
"""

import re
from functools import lru_cache

from regioncap.gates.gate import Caption, Gate, each_caption, quote
from regioncap.gates.wording import any_of, sentences
from regioncap.regions.codes import Code

# Captions with none of these are done with.
_HINTS = (
    "box", "fram", "rect", "squar", "border", "outlin", "tag", "label", "mark", "number", "digit", "numer",
    "annot", "highl", "drawn", "region", "subject", "object", "area", "section", "element", "item",
    "框", "标", "号", "区域", "矩形", "数字", "方",
)  # fmt: skip

# ---- English

# The palette's: no frame is black or white.
_COLOUR = (
    r"(?:red|blue|green|yellow|purple|violet|orange|cyan|magenta|brown|pink|teal|turquoise|lime(?: green)?|colou?red)"
    r"(?:[ -]colou?red)?"
)
_LOOK = rf"(?:(?:thin|thick|bold|solid|bright|light|dark|dashed|small|large|{_COLOUR}),? )*"
_NUMBERED = r"(?:labell?ed|numbered|tagged|marked|annotated)"
_SINGLED_OUT = (
    r"(?:marked|framed|outlined|highlighted|enclosed|labell?ed|boxed|bordered|surrounded|indicated|numbered"
    r"|tagged|annotated"
    r"|identified|circled|designated)"
)
_SURELY_MARK = r"(?:bounding|rectangular (?:box|frame|outline|border)|rectangle|square (?:outline|frame)|outline)"
_ANYTHING = (
    r"(?:object|subject|item|element|area|section|portion|part|person|people|man|woman|boy|girl|child|animal"
    r"|dog|cat|car"
    r"|figure|player|thing)s?"
)
# What is not in a box, unless the box is a mark.
_NOT_IN_BOXES = (
    r"(?:man|men|woman|women|person|people|boy|girl|child|children|player|car|cars|bus|truck|building|street"
    r"|tree|trees|horse|bicycle"
    r"|motorcycle|house|boat|sky|area|region|section|part|portion|object|item|subject|contents?)"
)

_TALK = any_of(
    r"\bbounding[- ]?box|\bbbox|\bannotation (?:box|frame|mark|tag|label|line)|\bthe annotation\b|\b(?:box"
    r"|frame|rectangle) overlay\b",
    rf"\b(?:the|this|a|each|every) {_SINGLED_OUT} (?:image )?(?:region|subject)\b",
    r"\b(?:the|this) (?:marked|highlighted|outlined|framed|boxed|annotated|numbered|tagged|bordered|selected"
    r"|indicated) "
    r"(?:area|section|part|portion|object|person|item)\b",
    rf"\bregions?(?: \d+)?,? (?:is |are |was |that is |which is |being )?{_SINGLED_OUT}\b",
    rf"\b{_ANYTHING},? (?:is |are |that is |that's |which is |who is |being )?{_SINGLED_OUT} (?:with|by|in|as"
    rf"|using|inside|within) (?:a |an |the )?{_LOOK}"
    r"(?:box|rectangle|square|bounding|outline|rectangular|frame\b|tag\b|number \d|label\b)",
    rf"\b(?:object|subject|item|element|area|section|portion|part),? (?:is |are |that is "
    rf"|which is )?{_SINGLED_OUT} in (?:\w+ )?{_COLOUR}\b",
    rf"\b{_COLOUR} (?:rectangular box|rectangle|bounding|square outline)(?: that| which)?(?: is)?(?: \w+)? "
    rf"(?:around|surround|enclos|highlight|indicat|mark|{_NUMBERED}|outlin|contain|frames|framing|captur)",
    rf"\b{_COLOUR} (?:box|square) (?:that |which |is )?(?:around|surround|enclos|highlight|indicat|marks"
    rf"|marking|numbered|outlin|framing)",
    rf"\b{_COLOUR} (?:frame|border|outline) (?:that |which |is )?(?:highlight|indicat|marks|marking|{_NUMBERED})",
    rf"\b(?:in|inside|within|by|using) (?:the|a|an) {_LOOK}{_COLOUR} {_SURELY_MARK}\b",
    rf"^(?:inside|in|within) the {_LOOK}{_COLOUR} (?:frame|rectangle|square|border|outline),? (?:is|are|there"
    rf"|we|you|an?)\b",
    rf"^(?:inside|in|within) the {_LOOK}{_COLOUR} box,? (?:is|are|there is|there are|we see)? ?(?:an?|the"
    rf"|two) (?:\w+ )?{_NOT_IN_BOXES}\b",
    rf"\b{_NOT_IN_BOXES} (?:\w+ ){{0,2}}(?:in|inside|within) the {_LOOK}{_COLOUR} (?:box|frame|rectangle|square"
    rf"|border|outline)\b",
    r"\b(?:tag|digit|numeral|marker|number label|label number) (?:on|of|at|in|above|beside"
    r"|attached to) (?:the )?(?:corner of the |top of the |top left of the )?"
    r"(?:frame|region|rectangle|outline|bounding|box|border)\b",
    r"\b(?:numbered|number|numeric|numerical) (?:tag|label|marker|box|frame)s?(?: (?:on|of|in|at|and|with|that"
    r"|which|shows|reads|indicat|attached|\d)|[.,]|$)",
    rf"^(?:the|a|an|this) (?:\w+ )?(?:{_COLOUR} )?(?:box|frame|rectangle|square|border|outline) (?:highlight"
    rf"|indicate|mark|enclose|surround|encircle|outline)s?\b"
    r"(?! (?:\w+ ){1,3}(?:mirror|painting|portrait|picture|photo|photograph|window|door|poster|print|drawing"
    r"|image|screen|sign)\b)",
    rf"^(?:the|a|an|this) (?:\w+ )?{_COLOUR} (?:box|frame|rectangle|square) (?:shows?|contains?|includes?|has"
    rf"|features?|displays?|holds?|captures?|frames?)"
    rf" (?:a|an|the|two|three|some|several|part of) (?:\w+ ){{0,3}}{_NOT_IN_BOXES}\b",
    r"\b(?:tag|mark|marker) (?:shows|reads|says|displays|indicates) (?:the )?(?:number|digit)\b"
    r"|\bregion(?:'s)? (?:number|tag|label|frame|border|box)\b",
    r"\bframe of the region\b|\boverlaid (?:box|number|label|frame|tag|with a)|\b(?:box|frame|rectangle"
    r"|line) (?:is )?drawn around\b",
)

# A sentence of these alone describes a mark, if it has one of the pairs in `_EVIDENCE`.
_MARK_WORDS = frozenset(
    """
    a an the this that these there it its is are was be here of in on at next beside with by and or as to for
    from has have
    having which i see one
    only inside within around along near just simply also called named used likely appears seems s
    box boxes frame frames rectangle rectangles square squares border borders bordered outline outlines outlined
    tag tags tagged label
    labels labeled labelled marker markers mark marks marked marking number numbers numbered numeral digit
    digits bounding rectangular
    framed boxed highlighted highlighting highlights enclosed annotation annotated indicator line lines edge
    edges shape no
    red blue green yellow purple violet orange cyan magenta brown pink teal turquoise lime white black light
    dark bright colored
    coloured color colour large big small tiny little thin thick bold solid empty simple single dashed shaped
    top bottom left right upper lower corner corners side center centre middle above below background hand
    region area section part portion image picture object something thing content contents text
    show shows showing shown display displays displayed displaying read reads reading say says saying contain
    contains containing
    surround surrounds surrounding surrounded enclose encloses enclosing indicate indicates indicating indicated
    identify identifies
    identifying identified place placed located positioned drawn written attached visible featuring bearing
    denoting designated
    represent represents representing two three four five six seven eight nine ten twelve
    """.split()
)
_WORD = re.compile(r"[a-z]+|\d+|[^\x00-\x7f]")
_NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_PART = r"(?:box|frame|rectangle|square|tag|label|marker|mark|border|corner)\w*\b"
_NUMBER = r"(?:\d|\bnumber|\bdigit|\bnumeral)"
_EVIDENCE = any_of(
    # "a red frame", and no more
    rf"^\W*(?:a |an |the |one )?{_LOOK}{_COLOUR} (?:square |rectangular )?frame\W*$",
    rf"\b{_SURELY_MARK}|\b(?:border|outlined?|annotation|highlight\w*)\b",
    rf"\b{_PART}.{{0,80}}{_NUMBER}|{_NUMBER}.{{0,80}}\b(?:{_PART}|region\b)",
    r"\b(?:region|area|section|object|part)\b.{0,80}\b(?:marked|framed|boxed|labell?ed|tagged|numbered|enclosed)\b",
    r"\b(?:marked|framed|boxed|tagged|numbered) (?:region|area|section|object|part|box|frame|tag|label)\b",
)

# What has numbers of its own: in the two words before one; anywhere, where number and mark stand further apart.
_BEARS_NUMBERS = any_of(
    r"\b(?:print|paint|stamp|emboss|engrav|stencil|spray|handwrit|sewn|stitch|carv|wooden|cardboard|metal"
    r"|plastic|door|locker|bib|jersey"
    r"|shirt|uniform|house|building|mailbox|bus|tram|train|sign|crate|container|room|platform|gate|key|button"
    r"|lane|track|seat|ball|plate"
    r"|card|page|bottle|package|parcel|hydrant|buoy|stall|booth|floor|horse|helmet|boat|ship|plane|tile|dice?"
    r"|block|race|racing|shelf"
    r"|shelves|drawer|bin|cage|pen|hive|cabinet|switch|panel|elevator|table|strip|tape|poster|page|map|calendar"
    r"|clock|board|screen)",
)
_PRINTED = any_of(
    r"\b(?:print|paint|stamp|emboss|engrav|stencil|spray|handwrit|sewn|stitch|carv)|\bon (?:its|the) (?:side"
    r"|lid|front|back|hull|top of)\b"
)


@lru_cache
def _own_number(region: int) -> re.Pattern[str]:
    """The number of a region beside a part of its mark."""
    n = rf"{region}\b"
    return any_of(
        r"\b(?:box(?! truck| kite| of)|frame|rectangle|square|tag|marker|outline|annotation|mark)s?,? ?"
        r"(?:(?:with|and|has|that has|is|was|which is|that is|containing|bearing|showing|shows|reads|saying|says) )?"
        rf"(?:{_NUMBERED} )?(?:as |with |by )?(?:the |a |an )?(?:white |black |small |corresponding |{_COLOUR} )?"
        rf"(?:number |label |tag |digit |no\.? ?|numeral |#|: ?)*(?:reading |saying |showing |of )?{n}",
        rf"\b(?:label|mark) (?:number )?{n}",
        rf"\b(?:{_NUMBERED}|identified|designated|indicated|highlighted|denoted),? (?:as |with |by "
        rf"|using )?(?:a |the |its )?"
        rf"(?:object |item |region |number |label |tag |digit |no\.? ?|#)*{n}",
        rf"\b(?:number|digit|numeral|label|tag) {n} (?:on|in|at|of|inside|above) (?:the |a |its |it )?(?:\w+ ){{0,2}}"
        r"(?:corner|frame|box|rectangle|square|tag|label|border|region|background)\b",
        rf"\b{_ANYTHING} (?:number |no\.? ?|#){n}",
    )


@lru_cache
def _own_number_far(region: int) -> re.Pattern[str]:
    """A region's number, a tag and a frame in one sentence."""
    n = rf"{region}\b"
    return any_of(
        rf"\b(?:number |digit ){n}.{{0,60}}\b(?:tag|label|marker)\b.{{0,60}}\b(?:frame|box|rectangle|outline"
        rf"|border|region|corner)\b",
        rf"\b(?:frame|box|rectangle|outline|border|region|corner)\b.{{0,60}}\b(?:tag|label|marker|number"
        rf"|digit)\b.{{0,40}}\b{n}",
    )


# ---- Chinese

_FRAME_ZH = r"(?:边框|方框|矩形框|矩形|长方形框|线框|框线|框)"
_PART_ZH = r"(?:边框|方框|矩形|线框|框|方块|正方形|长方形|标签|标记|编号|标注|角|方形)"
_SINGLE_OUT_ZH = r"(?:标|框|圈|围|包|突|高|勾)"
_COLOUR_ZH = r"(?:红|蓝|绿|黄|紫|橙|青|粉红|粉|品红|洋红|棕|褐|白|黑|蓝绿|浅绿|黄绿|青绿|彩|橘|深\w|浅\w)(?:色)?(?:的)?"
# Taken away from a sentence; if nothing stays, it is about a mark.
_MARK_WORDS_ZH = any_of(
    r"[左右][上下]角|一[个条块种圈道]|带有|标有|标着|写有|写着|印有|显示[为着]?|包含|里面|内部|[上下]方|上面"
    r"|角落|边缘|位于|处于|以及|标记出|标[出示注签记识号]"
    r"|编[号码]|数字|号码|序号|[边方线]框|矩形|长方形|正方形|方形|方块|线条|框线|轮廓|区域|部分|图像|图片|画面"
    r"|图中|出现|物体|对象|目标|阿拉伯|字样|文字|内容"
    r"|周围|围绕|包围|[围框]住|[框圈]出|突出|高亮|其中|旁边|中间|中央|对应|表示|指示|背景|所示|作为|分别|它们"
    r"|这里|有着|[小细粗]{2}",
    _COLOUR_ZH,
    r"[一个这该此是有带写里内中上下左右角处的为和与及并着用由被框号小大细粗了其它在圈围标外侧边画色成即叫做名附加]|\d+|[a-zA-Z#]|[一二三四五六七八九十]|[^\w]",
)
_EVIDENCE_ZH = any_of(
    rf"{_PART_ZH}[^。]{{0,40}}(?:\d|数字|编号)|(?:\d|数字|编号)[^。]{{0,40}}(?:{_PART_ZH}|区域|背景)",
    r"矩形|方框|边框|线框|框线|区域[^。]{0,40}(?:标记|标出|框|圈|标注)|(?:标记|标注|标出)[^。]{0,40}(?:区域"
    r"|物体|部分)|被?框[住出起]|带(?:有)?编号",
)
_TALK_ZH = any_of(
    r"边界框|标注框|标记框|检测框|包围框|锚框|矩形框|被标[记注]|标记(?:的)?区域|标出的(?:区域|部分|物体)"
    r"|(?:数字|编号)标签|标签(?:编号|号码|数字)",
    r"(?:红|蓝|绿|黄|紫|橙|青|粉|品红|棕|白|黑)色?(?:的)?(?:方|矩形|线|边|标记|标注|长方形|细|粗)?框(?:内|中|里"
    r"|标|圈|框|围|出|选|突|高|住)",
    rf"(?:红|蓝|绿|黄|紫|橙|青|粉|品红|棕)色?(?:的)?{_FRAME_ZH.replace('|框)', ')')}(?:内|中|里)(?:的|是|有|可以"
    rf"|能|包含|显示)",
    rf"^(?:在|该|这个|此)?(?:{_COLOUR_ZH})?{_FRAME_ZH}(?:内|中|里|所|包含|标|圈|框|围|突|高|包)",
    rf"(?:被|用|由)[^，。]{{0,12}}(?:{_FRAME_ZH}|数字标签|编号)[^，。]{{0,6}}{_SINGLE_OUT_ZH}"
    rf"|被[框圈][住出选起中在]|[框圈](?:选|起来|出来)",
    r"(?:该|此|这个|被|所有)(?:标记|标注|框选|高亮|标出)(?:的)?(?:区域|部分|物体|对象|目标|人)"
    r"|区域(?:的)?(?:编号|标签|边框|标记)",
)


@lru_cache
def _own_number_zh(region: int) -> re.Pattern[str]:
    n = rf"[“\"]?\s?{region}(?!\d)"
    return any_of(
        rf"(?:标签|标记|框|标注)(?:编号|号码|数字)?(?:上)?(?:的)?(?:数字|编号)?(?:显示为|显示|写着|为|是|："
        rf"|:)?(?:数字|编号)?{n}(?!路|[年月日])",
        rf"(?:编号|标号|序号)(?:为|是)?{n}(?:号)?(?:的)?[^，。]{{0,4}}(?:框|标签|区域|标记|对象|物体|部分|方块|目标)",
        rf"(?:标记|标注|标签|标)(?:为|成|着|有)(?:数字|编号|区域)?{n}(?:号)?(?:的)?(?:区域|物体|对象|部分|人"
        rf"|目标|框|方)",
        rf"(?<!\d){region}\s?号(?:区域|框|标签|标记|方框)|区域{n}[，,]?(?:由|被|用)",
    )


def mark_talk(caption: Caption) -> str | None:
    """A sentence is all mark, has a wording that only fits a mark, or the region's own number beside a part of one."""
    text = caption.own_words.lower()
    if not any(hint in text for hint in _HINTS):
        return None
    for sentence in sentences(caption.own_words):
        if _talks(sentence, caption.region) or _talks_zh(sentence, caption.region):
            return f"is about the mark: {quote(sentence.strip())}"
    return None


def _talks(sentence: str, region: int | None) -> bool:
    if _TALK.search(sentence):
        return True
    words = _WORD.findall(sentence.lower())
    if all(word in _MARK_WORDS or word.isdigit() for word in words) and _is_mark(sentence, words, region):
        return True
    if region is None or str(region) not in sentence:
        return False
    if _PRINTED.search(sentence):
        return False
    found = _own_number(region).search(sentence)
    if found is not None and not _BEARS_NUMBERS.search(" ".join(sentence[: found.start()].split()[-2:])):
        return True
    return _own_number_far(region).search(sentence) is not None and not _BEARS_NUMBERS.search(sentence)


def _is_mark(sentence: str, words: list[str], region: int | None) -> bool:
    if _EVIDENCE.search(sentence):
        return not _PRINTED.search(sentence)
    # "Number 3", and no more: the region's own.
    names = {str(region), *(_NUMBER_WORDS[region : region + 1] if region else ())}
    return not names.isdisjoint(words) and not {"number", "digit", "numeral", "label", "tag"}.isdisjoint(words)


def _talks_zh(sentence: str, region: int | None) -> bool:
    if sentence.isascii():
        return False
    if _TALK_ZH.search(sentence) or (_EVIDENCE_ZH.search(sentence) and not _MARK_WORDS_ZH.sub("", sentence)):
        return True
    if region is None or str(region) not in sentence:
        return False
    return _own_number_zh(region).search(sentence) is not None or (
        re.fullmatch(rf"(?:这是|显示)?(?:白色|黑色)?(?:的)?(?:数字|编号|号码)\s?{region}", sentence.strip(" 。，"))
        is not None
    )


GATE = Gate(Code.MARK_TALK, "reject", each_caption(mark_talk))
