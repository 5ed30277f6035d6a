"""A caption talks about the mark (the frame, its tag, the number on it) instead of what is in the region.

Boxes, frames, labels and numbers are things in pictures too. So most rules ask for more than a word: a sentence of
nothing but such words, or the region's own number, or a wording that only fits a mark.
"""

import re

from regioncap.regions.codes import Code
from regioncap.regions.gates.gate import Caption, Gate, each_caption, quote
from regioncap.regions.gates.wording import QUOTED, sentences

_COLOUR = r"(?:red|blue|green|yellow|purple|violet|orange|cyan|magenta|brown|pink|teal|turquoise|lime(?: green)?|white|black|light|dark|bright|colou?red)"
_BOX = r"(?:box|rectangle|square|frame|border|outline|rectangular (?:box|frame|outline|border|shape|area|region))"
_SHAPED = r"(?:bounding|rectangular (?:box|frame|outline|border)|rectangle|square outline|square frame|outline)"

# A sentence of these alone describes a mark, given it has one of the pairs in `_EVIDENCE`.
_MARK_WORDS = frozenset(
    # little words
    "a an the this that these there it its is are was be here of in on at with by and or as to for from has have having which i see "
    "one only inside within around along near just simply also called named used likely appears seems 's "
    # the mark and its parts
    "box boxes frame frames rectangle rectangles square squares border borders bordered outline outlines outlined tag tags tagged label labels labeled labelled "
    "marker markers mark marks marked marking number numbers numbered numeral digit digits bounding rectangular framed boxed highlighted highlighting highlights "
    "enclosed annotation annotated indicator line lines edge edges shape no "
    # how it looks
    "red blue green yellow purple violet orange cyan magenta brown pink teal turquoise lime white black light dark bright colored coloured color colour "
    "large big small tiny little thin thick bold solid empty simple single dashed square-shaped "
    # where it is
    "top bottom left right upper lower corner corners side center centre middle above below background hand left-hand right-hand top-left top-right upper-left "
    "upper-right bottom-left bottom-right "
    # what it does, and to what
    "region area section part portion image picture object something thing content contents "
    "show shows showing shown display displays displayed displaying read reads reading say says saying contain contains containing surround surrounds surrounding surrounded "
    "enclose encloses enclosing indicate indicates indicating indicated identify identifies identifying identified place placed located positioned drawn written attached visible text featuring "
    "bearing denoting designated marking represent represents representing "
    "two three four five six seven eight nine ten twelve".split()
)
_NUMBER_WORDS = ("zero one two three four five six seven eight nine ten eleven twelve").split()
_EVIDENCE = re.compile(
    rf"\b{_SHAPED}|\b(?:border|outlined?|annotation|highlight\w*)\b"
    r"|\b(?:box|frame|rectangle|square|tag|label|marker|mark|border|corner)\w*\b.{0,80}(?:\d|\bnumber|\bdigit|\bnumeral)"
    r"|(?:\d|\bnumber|\bdigit|\bnumeral).{0,80}\b(?:box|frame|rectangle|square|tag|label|marker|mark|border|corner|region)\w*\b"
    r"|\b(?:region|area|section|object|part)\b.{0,80}\b(?:marked|framed|boxed|labell?ed|tagged|numbered|enclosed)\b"
    r"|\b(?:marked|framed|boxed|tagged|numbered) (?:region|area|section|object|part|box|frame|tag|label)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*|\d+|[^\x00-\x7f]|" + QUOTED)

# Wordings that fit only a mark, whatever else is said.
_TALK = re.compile(
    rf"\bbounding[- ]?box|\bbbox|\bannotation (?:box|frame|mark|tag|label|line)|\bthe annotation\b"
    r"|\b(?:the|this|a|each|every|second|first|third) (?:marked|highlighted|outlined|framed|boxed|annotated|labell?ed|numbered|tagged|circled|designated|bordered|selected|indicated)"
    r" (?:image )?(?:region|object|subject)\b"
    r"|\b(?:the|this) (?:marked|highlighted|outlined|framed|boxed|annotated|numbered|tagged|bordered|selected|indicated) (?:area|section|part|portion|person|item)\b"
    rf"|\bregions?(?: \d+)?,? (?:is |are |was |that is |which is |being )?(?:marked|framed|outlined|highlighted|enclosed|labell?ed|boxed|bordered|surrounded|indicated|numbered|tagged|annotated|identified|circled)\b"
    rf"|\b(?:object|subject|item|element|area|section|portion|part|person|people|man|woman|boy|girl|child|dog|cat|animal|car|figure|player)s?,? (?:is |are |that is |that's |which is |who is |being )?"
    rf"(?:marked|outlined|highlighted|boxed|indicated|annotated|tagged|labell?ed|framed|enclosed|surrounded|circled|bordered|identified) (?:with|by|in|as|using|inside|within) (?:a |an |the )?"
    rf"(?:(?:thin|thick|bold|solid|bright|light|dark|dashed|small|large|{_COLOUR}|,) ?)*(?:box|rectangle|square|bounding|outline|rectangular|frame\b(?!work)|tag\b|number \d|label\b)"
    rf"|\b{_COLOUR} (?:and \w+ )?(?:rectangular box|rectangle|bounding|square outline)(?: that| which)?(?: is)?(?: \w+)? (?:around|surround|enclos|highlight|indicat|mark|labell?ed|tagged|numbered|outlin|contain|frames|framing|captur)"
    rf"|\b{_COLOUR} (?:box|square) (?:that |which |is )?(?:around|surround|enclos|highlight|indicat|marks|marking|numbered|outlin|framing|captur)"
    rf"|\b{_COLOUR} (?:frame|border|outline) (?:that |which |is )?(?:highlight|indicat|marks|marking|numbered|labell?ed)"
    rf"|\b(?:in|inside|within|by|with|using) (?:the|a|an) (?:(?:thin|thick|bold|solid|bright|light|dark|dashed|{_COLOUR}) )*{_COLOUR} (?:rectangle|rectangular (?:box|frame|outline|border)|bounding|square outline|square frame|outline)\b"
    r"|\b(?:tag|digit|numeral|marker|number label|label number|number tag) (?:on|of|at|in|above|beside|attached to) (?:the )?(?:corner of the |top of the |top left of the )?(?:frame|region|rectangle|outline|bounding|box|border)\b"
    r"|\b(?:numbered|number|numeric|numerical) (?:tag|label|marker|box|frame)s?\b(?= (?:on|of|in|at|and|with|that|which|shows|reads|indicat|attached|\d)|[.,]|$)"
    rf"|^(?:the|a|an|this) (?:\w+ )?{_COLOUR} (?:box|frame|rectangle|square|border|outline) (?:highlights?|indicates?|marks?|encloses?|surrounds?|captures?|frames?|outlines?|focuses|points)\b"
    rf"|^(?:the|a|an|this) (?:\w+ )?{_COLOUR} (?:box|frame|rectangle|square) (?:shows?|contains?|includes?|has|features?|displays?|holds?) (?:a|an|the|two|three|some|several|part of)"
    r" (?:\w+ ){0,3}(?:man|men|woman|women|person|people|boy|girl|child|children|car|cars|bus|truck|building|buildings|street|tree|trees|horse|bicycle|motorcycle|house|boat|sky|bird)\b"
    r"|\b(?:tag|mark|marker) (?:shows|reads|says|displays|indicates) (?:the )?(?:number|digit)\b|\bnumber (?:of|for) the region\b|\bregion(?:'s)? (?:number|tag|label|frame|border|box)\b"
    r"|\bframe of the region\b|\boverlaid (?:box|number|label|frame|tag|with a)|\b(?:box|frame|rectangle) overlay\b|\bdrawn around (?:the|a|it)\b",
    re.IGNORECASE,
)
# The region's own number (`N`) beside a part of the mark.
_OWN_NUMBER = (
    r"\b(?:box|frame|rectangle|square|tag|marker|bounding box|outline|annotation|tag number|label number|mark)s?"
    r",? ?(?:with |and |has |that has |is |was |which is |that is |containing |bearing |showing |shows |reads |saying )?(?:marked |labell?ed |tagged |numbered |named )?(?:as |with |by )?"
    r"(?:the |a |an )?(?:white |black |small |corresponding |red |blue |green )?(?:number |numbers |label |tag |digit |no\.? ?|numeral |#|:)? ?(?:reading |saying |showing |of )?N\b"
    r"|\b(?:label|mark) (?:number )?N\b"
    r"|\b(?:marked|labell?ed|tagged|annotated|identified|designated|indicated|highlighted|numbered|denoted)(?:,)? (?:as |with |by |using )?(?:a |the |its )?(?:object |item |region |number |label |tag |digit |no\.? ?|#)?N\b"
    r"|\b(?:number|digit|numeral|label|tag) N (?:on|in|at|of|inside|above) (?:the |a |its |it )?(?:\w+ ){0,2}(?:corner|frame|box|rectangle|square|tag|label|border|region|background)\b"
    r"|\b(?:object|item|element|person|area|section|thing|subject|figure|man|woman|dog|car) (?:number |no\.? ?|#)N\b"
)
# What bears printed numbers of its own, and verbs of printing.
_BEARS_NUMBERS = re.compile(
    r"\b(?:print|paint|stamp|emboss|engrav|stencil|spray|handwrit|sewn|stitch|carv|wooden|cardboard|metal|plastic|door|locker|bib|jersey|shirt|uniform|house|building|mailbox|bus"
    r"|tram|train|sign|crate|container|room|platform|gate|key|button|lane|track|seat|ball|plate|card|page|bottle|package|parcel|hydrant|buoy|stall|booth|floor|horse|helmet|boat|ship|plane"
    r"|tile|dice?|block|race|racing|shelf|shelves|drawer|bin|cage|pen|hive|cabinet|switch|panel|elevator|table|of [a-z]+s\b|on (?:its|the) (?:side|lid|front|door|back|hull|top of))",
    re.IGNORECASE,
)

# Most sentences have none of these, and are done with.
_HINT = re.compile(
    r"box|fram|rect|squar|border|outlin|tag|label|mark|number|digit|numer|annot|highl|drawn|框|标|号|区域|矩形|数字|方",
    re.IGNORECASE,
)
_FRAME_ZH = r"(?:边框|方框|矩形框|矩形|长方形框|线框|框线|框)"
_COLOUR_ZH = r"(?:红|蓝|绿|黄|紫|橙|青|粉|粉红|品红|洋红|棕|褐|白|黑|蓝绿|浅绿|黄绿|青绿|彩|荧光绿|亮绿|橘|深\w|浅\w)(?:色)?(?:的)?"
# Taken away from a sentence; if nothing stays, it is about a mark.
_MARK_WORDS_ZH = re.compile(
    r"左上角|右上角|左下角|右下角|一个|一条|一块|一种|一圈|一道|带有|标有|标着|写有|写着|印有|显示为|显示着|显示|包含|里面|内部|上面|上方|下方|角落|边缘|位于|处于|以及|标出|标记出|标示|标注|标签|标记"
    r"|标识|标号|编号|编码|数字|号码|序号|边框|方框|矩形|长方形|正方形|方形|方块|线框|线条|框线|轮廓|区域|部分|图像|图片|图中|物体|对象|目标|阿拉伯|字样|文字|内容|周围|围绕|包围|围住|框住|框出|圈出|突出|高亮"
    r"|其中|旁边|中间|中央|对应|表示|指示|背景|所示|为了|作为|分别|它们|这里|有着|小小|细细|粗粗|"
    + _COLOUR_ZH
    + r"|[一个这该此是有带写里内中上下左右角处的为和与及并着用由被框号小大细粗了其它在圈围标外侧边画着色成即叫做名附加]|\d+|[a-zA-Z#]|[一二三四五六七八九十]|[^\w]"
)
_EVIDENCE_ZH = re.compile(
    rf"(?:{_FRAME_ZH}|方块|正方形|长方形|标签|标记|编号|标注|角|方形)[^。]{0, 40}(?:\d|数字|编号)|(?:\d|数字|编号)[^。]{0, 40}(?:{_FRAME_ZH}|方块|正方形|长方形|标签|标记|区域|标注|角|方形)"
    r"|矩形|方框|边框|线框|框线|标注框|标记框|区域[^。]{0,40}(?:标记|标出|框|圈|标注)|(?:标记|标注|标出)[^。]{0,40}(?:区域|物体|部分)|被?框(?:住|出|起)"
)
_TALK_ZH = re.compile(
    rf"边界框|标注框|标记框|检测框|包围框|锚框|矩形框|(?:红|蓝|绿|黄|紫|橙|青|粉|品红|棕|白|黑)色?(?:的)?(?:方|矩形|线|边|标记|标注|长方形|细|粗)?框(?:内|中|里|标|圈|框|围|出|选|突|高|住)"
    rf"|^(?:在|该|这个|此)?(?:{_COLOUR_ZH})?(?:边框|方框|矩形|线框|标记|框)(?:内|中|里|所|包含|标出|圈出|框住)"
    rf"|被[^，。]{{0,12}}(?:{_FRAME_ZH})(?:框|圈|标|围|包|突|高|勾|所)|被(?:框|圈)(?:住|出|选|起|中|在)|(?:框|圈)(?:选|起来|出来)|用[^，。]{{0,10}}(?:{_FRAME_ZH}|数字|编号|标签)[^，。]{{0,6}}(?:标|框|圈|围|突|高|勾)"
    rf"|由[^，。]{{0,10}}(?:{_FRAME_ZH})(?:标|框|圈|围|突|高|勾|包)|(?:该|此|这个|被|所有)(?:标记|标注|框选|高亮|标出)(?:的)?(?:区域|部分|物体|对象|目标|人)|被标记|被标注|标记(?:的)?区域|标出的(?:区域|部分|物体)"
    r"|(?:数字|编号|数字编号)标签|标签(?:编号|号码|数字)|区域(?:的)?(?:编号|标签|边框|标记)|标注(?:了|出)(?:一|该|数字)"
)
_OWN_NUMBER_ZH = (
    rf"(?:标签|标记|框|编号标签|标注)(?:编号|号码|数字)?(?:上)?(?:的)?(?:数字|编号)?(?:为|是|显示|写着|：|:)?(?:数字|编号|“|\")?\s?N(?!\d)(?![年月日号]?路)"
    rf"|(?:编号|标号|序号)(?:为|是)?\s?N(?!\d)(?:号)?(?:的)?(?:[^，。]{{0,4}}(?:框|标签|区域|标记|对象|物体|部分|方块|目标))"
    r"|(?:标记|标注|标|标签)(?:为|成|着|有)(?:数字|编号|区域)?\s?N(?!\d)(?:号)?(?:的)?(?:区域|物体|对象|部分|人|目标|框|方)|(?<!\d)N\s?号(?:区域|框|标签|标记|方框)|区域\s?N(?!\d)[，,](?:由|被|用)"
)


def mark_talk(caption: Caption) -> str | None:
    """A sentence that is all mark, has a wording that only fits a mark, or the region's own number beside one."""
    for sentence in sentences(caption.own_words):
        if _talks(sentence, caption.region):
            return f"is described by its mark: {quote(sentence.strip())}"
    return None


def _talks(sentence: str, region: int | None) -> bool:
    if not _HINT.search(sentence):
        return False
    if _TALK.search(sentence) or _is_mark(sentence, region):
        return True
    own = region is not None and str(region) in sentence
    if (
        own
        and re.search(_OWN_NUMBER.replace("N", str(region)), sentence, re.IGNORECASE)
        and not _BEARS_NUMBERS.search(sentence)
    ):
        return True
    if sentence.isascii():
        return False
    if _TALK_ZH.search(sentence) or (_EVIDENCE_ZH.search(sentence) and not _MARK_WORDS_ZH.sub("", sentence)):
        return True
    if own and re.fullmatch(rf"(?:数字|编号|号码)\s?{region}", sentence.strip(" 。，")):
        return True
    return own and re.search(_OWN_NUMBER_ZH.replace("N", str(region)), sentence) is not None


def _is_mark(sentence: str, region: int | None) -> bool:
    words = _WORD.findall(sentence.lower())
    if not all(word in _MARK_WORDS or word.isdigit() for word in words):
        return False
    if _EVIDENCE.search(sentence):
        return True
    # "Number 3", and no more: the region's own.
    names = {str(region), *(_NUMBER_WORDS[region : region + 1] if region else ())}
    return any(word in ("number", "digit", "numeral", "label", "tag") for word in words) and not names.isdisjoint(words)


GATE = Gate(Code.MARK_TALK, "reject", each_caption(mark_talk))
