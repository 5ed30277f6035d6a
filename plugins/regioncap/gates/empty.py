"""Nothing is said: of all regions, or of one."""

import re
import unicodedata

from regioncap.captions.thoughts import SWITCH_OFF, only_thoughts
from regioncap.gates.gate import Answer, Failure, Gate, Unsure, of_captions
from regioncap.gates.wording import any_of
from regioncap.regions.codes import Code

# Longer captions say something.
_LONGEST = 60

# ---- What stands where a caption should be, and is none; without punctuation, in lower case

# What there is none of, or that is meant by "nothing here".
_HOLLOW = (
    r"(?:content|description|caption|answer|text|data|information|info|detail|object|item|image|picture|region|area"
    r"|subject|thing|value|response|output|result|comment|match|element|feature|label|name|title|summary|entity)s?"
)
_STATE = (
    r"(?:available|applicable|visible|specified|provided|given|found|detected|seen|shown|present|described|known|clear"
    r"|defined|determined|identified|identifiable|discernible|recogni[sz]able|recogni[sz]ed|included|supplied|generated"
    r"|returned|set|possible|captioned|displayed|readable)"
)
_FILLER = (
    rf"(?:{_HOLLOW}|{_STATE}|the|this|that|here|there|in|inside|within|of|for|to|at|all|any|is|are|was|were|be|been|can"
    r"|could|it|describe|display|show|see|report|marked|specific|distinct|particular|and|or|yet|region ?\d+|given|\d+)"
)
_ASKED = (
    r"(?:(?:the|an?|your|this|its|some|my) )?(?:(?:short|brief|english|chinese|detailed|region|image|object|text"
    r"|concise) )*"
    r"(?:description|caption|summary)"
)
_NOTHING = any_of(
    r"n ?/? ?a|nil|null|nan|none|nothing|undefined|unspecified|unavailable|missing|tbd|todo|placeholder|empty|blank"
    r"|unknown|unclear|no|nope",
    r"(?:(?:n a|none|null|nil|empty) )?(?:there (?:is|are|was|were) )?(?:no|not|nothing|none|without|never"
    rf"|zero)(?: {_FILLER})+",
    rf"(?:(?:the|this) )?(?:{_HOLLOW} )+(?:is |are |was |of (?:the|this) {_HOLLOW} is )?"
    rf"(?:not {_STATE}|unavailable|missing|unknown|unspecified|undefined|null|empty|blank)",
    r"(?:empty|unknown|undefined|null|blank|missing|placeholder) (?:string|caption|description|value|text|answer"
    r"|field)",
    # what was asked for, instead of it
    rf"{_ASKED}(?: (?:of|for|in) (?:the |this |each |that )?(?:marked |framed )?(?:content of the )?"
    r"(?:region|area|object|image|box|frame|content|contents)? ?\d*)?(?: goes)?(?: here)?",
    rf"(?:(?:insert|write|enter|add|put|type) )(?:{_ASKED}|text|answer)(?: here)?",
    r"(?:region|tag|description|caption|object|string|value|key)[ _]?\d*|(?:the )?region ?\d+",
    rf"(?:the |this )?(?:{_HOLLOW} )(?:contains|shows|has|depicts|is) (?:nothing|no {_HOLLOW})(?: {_FILLER})*",
    r"(?:region|object|image|area) ?\d* (?:description|caption)|to be (?:described|determined|added|filled(?: in)?"
    r"|completed|defined|announced)|an?|the|lorem ipsum.*",
    # what stands for another caption
    r"ditto|idem|(?:the )?same(?: here)?|(?:(?:the )?same |identical |similar |see |as |like )(?:as |to )?(?:the )?"
    r"(?:above|before|previous|first|last|other|region ?\d+)(?: (?:one|region|object|item|caption|description))?",
    flags=0,
)
_WHAT_ZH = r"(?:内容|描述|文字|信息|数据|说明|标题|答案|物体|目标|对象|文本|东西|图像|图片|结果|字幕|备注|人物)"
_PLACE_ZH = (
    r"(?:(?:此处|这里|该处)|(?:该|此|这个|本|这|所有)?(?:标记)?(?:区域|图像|图片|图|画面|框|部分|位置)\d*"
    r"(?:内|中|里|上)?(?:的)?)"
)
_NOTHING_ZH = any_of(
    rf"{_PLACE_ZH}?(?:的)?{_WHAT_ZH}?(?:是|为|：|:)?(?:无|没有|暂无|并无|未有|没|未|不)(?:任何|可见|明显|具体|可|可供"
    r"|相关|有效|有)*"
    rf"(?:的)?(?:{_WHAT_ZH}|显示|提供|描述|检测到?|发现|识别|出现|可见|知|详|明|明确|适用|存在"
    rf"|看到)*(?:的)?{_WHAT_ZH}?(?:可描述|存在)?",
    rf"{_PLACE_ZH}?(?:的)?{_WHAT_ZH}?(?:是|为)?(?:空|空白|空的|未知|缺失|不详|不明|不可用|未定义|待定|略|待补充"
    rf"|待填写|无效)(?:{_WHAT_ZH})?",
    rf"{_PLACE_ZH}(?:的)?(?:中文|英文|简短|详细|具体|简要)*(?:的)?(?:描述|内容|说明|标题)?|(?:中文|简短|一段"
    r"|一个)*(?:描述|说明|标题|字幕)"
    r"(?:文字|文本)?",
    r"区域[一二三四五六七八九十\d]+|(?:描述|图像|图片|区域|文字)(?:内容|描述|说明)|(?:在)?(?:此|这)(?:处|里)?(?:填写"
    r"|输入|写|是)(?:描述|内容|文字)"
    r"|这|一个|占位符?|同上|同前|同左|同右|同理|如上|见上文?|一样|(?:同|与|和)(?:区域|上|前"
    r"|第)[一二三四五六\d面文个者]*(?:区域)?(?:一样|相同)?",
    flags=0,
)
# A thing may be one of these: a letter on a keycap, a sign of one character, a button, a text.
_MAYBE_A_THING = any_of(
    r"text|string|image|picture|name|title|label|object|item|thing|something|value|element|area|blank|no|nope|空"
    r"|这里?|东西",
    r"(?:the |this )?(?:region|area) is (?:empty|blank)|(?:the|this) (?:region|area|object|item|thing|image|box|frame)",
    r"(?:an? )?(?:unknown|unidentified|unspecified|undefined|generic) (?:object|item|thing|entity|region|element)",
    flags=0,
)

_LETTER = re.compile(r"[^\W_]")
_AROUND = " .'\"()[]"
_BRACKETS = "([{<（【「“《"
_PUNCTUATION = re.compile(r"[\W_]+")


def empty(answer: Answer) -> Failure | None:
    """The answer has no word at all, or a region's caption has none, is a placeholder, or is a single character."""
    if only_thoughts(answer.text):
        return Failure(f"the model has thought, and answered nothing: {SWITCH_OFF}")
    if not answer.parsed.captions:
        bare = answer.text.strip().removeprefix("```json")
        whole = "is empty" if not _LETTER.search(bare) else _says_nothing(answer.text, None)
        return of_captions([(None, whole)] if whole else [])
    return of_captions(
        [
            (region, what)
            for region, caption in sorted(answer.parsed.captions.items())
            if (what := _says_nothing(caption, region))
        ]
    )


def _says_nothing(caption: str, region: int | None) -> str | None:
    if len(caption) > _LONGEST:
        return None
    plain = unicodedata.normalize("NFKC", caption).lower()
    bare = _PUNCTUATION.sub(" ", plain).strip()
    if not bare:
        # Stars, arrows and the like are in pictures too.
        symbol = any(unicodedata.category(character)[0] == "S" and character not in "<>|`^~=+" for character in caption)
        return Unsure("is nothing but a symbol") if symbol else "is empty"
    if len(bare) == 1 and bare.isascii():
        # "B" and "7" may be on a key; a region's own number, a small letter, an article hardly is.
        doubtful = caption.strip(_AROUND).islower() or bare in ("a", str(region))
        return Unsure("is a single character") if doubtful else None
    if _MAYBE_A_THING.fullmatch(bare) and caption.strip()[0] not in _BRACKETS:
        return Unsure("is empty, or no more than a word")
    if _NOTHING.fullmatch(bare) or (not bare.isascii() and _NOTHING_ZH.fullmatch(bare.replace(" ", ""))):
        return "is empty"
    return None


GATE = Gate(Code.EMPTY, "reject", empty)
