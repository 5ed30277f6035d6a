"""What models say round their descriptions: openings and closing remarks, which belong to no region."""

import re

# Sentences that no description begins with.
_CLOSING_WORDS = (
    r"(?:please )?(?:let me know|feel free)\b",
    r"i hope\b|hope (?:this|that|it)\b",
    r"if (?:you|there(?:'s| is| are)) (?:(?:would|\w+ ){0,2})"
    r"(?:like|need|needs|want|have|any|anything|more|require|wish)\b",
    r"(?:would|do|did) you (?:like|need|want|have)\b",
    r"is there (?:anything|something) else\b",
    r"please (?:note|let|feel|tell|ask)\b",
    r"(?:note|notes|disclaimer|summary|explanation)\s*[:：]|note that\b",
    r"(?:overall|in summary|in conclusion|to summari[sz]e|in short|in total|together)\s*,",
    r"(?:these|the above|those) (?:are|were|descriptions|captions)\b",
    r"(?:both|all|the two|the three|the four) (?:of (?:the|these) )?(?:marked )?regions?\b",
    r"that(?:'s| is) (?:all|it)\b|thank(?:s| you)\b|(?:i am |i'm )?happy to\b|(?:i am |i'm )?glad to\b",
    r"希望|如果(?:您|你|还|有|需)|如需|如有|请(?:告诉|随时|注意|问)|还有(?:什么|其他)|需要我|您(?:还|是否)|你还",
    r"以上(?:是|就是|为|描述|内容)|总之|总的来说|总体(?:来说|而言|来看)|综上|注[:：]|注意[:：]|有什么|谢谢|感谢|这些区域|两个区域|所有区域",
)
_CLOSING = re.compile(rf"(?:^|(?<=[.!?。！？])|\n)[ \t>*_(（\"]*(?:{'|'.join(_CLOSING_WORDS)})", re.IGNORECASE)
_OPENING = re.compile(
    r"^(?:sure|certainly|of course|absolutely|ok|okay|great|alright|yes|好的?|当然(?:可以)?|没问题|可以)\s*[!,.，。！]",
    re.IGNORECASE,
)
_ANNOUNCING = re.compile(
    r"\s*(?:here(?:'s| is)|(?:the|my) (?:answer|description|caption)(?: of [^:\n]{1,30})? is|以下是|这是|描述如下)"
    r"[^:：\n]{0,60}[:：][*_ \t]*",
    re.IGNORECASE,
)
# Words in which an answer announces its descriptions.
_ANNOUNCED = re.compile(
    r"\b(?:describ\w*|descri?ptions?|captions?|regions?|contents?|answers?|output|results?|below|following|json)(?![a-z])"
    r"|描述|说明|区域|内容|如下|以下|答案|回答|结果",
    re.IGNORECASE,
)


def closing_remark(text: str) -> int | None:
    """Where the first sentence begins that closes an answer; None if there is none."""
    found = _CLOSING.search(text)
    return found.start() if found else None


def is_opening(text: str) -> bool:
    """Whether the text, which stands before all descriptions, is one that opens an answer, or none at all."""
    return not text.strip() or _OPENING.match(text.strip()) is not None or _ANNOUNCED.search(text) is not None


def behind_opening(text: str) -> int:
    """Where a description without a name begins, behind words that open the answer."""
    opening = _OPENING.match(text)
    at = opening.end() if opening else 0
    announced = _ANNOUNCING.match(text, at)
    at = announced.end() if announced else at
    line = re.compile(r"[ \t]*[^\n]{0,200}[:：][*_ \t]*(?:\n|$)").match(text, at)
    return line.end() if line and is_opening(line[0]) else at
