"""Nothing is said: of all regions, or of one."""

import re

from regioncap.gates.gate import Answer, Failure, Gate, about
from regioncap.gates.wording import any_of
from regioncap.regions.codes import Code

# A caption of one letter or digit is too short to say anything; "TV" is a caption, and so is 猫.
MIN_CHARACTERS = 2

# What stands where a caption should be, and is none.
_PLACEHOLDER = any_of(
    r"n/?a|none|nil|null|nan|nothing|unknown|undefined|empty|blank|tbd|todo|string|text|caption|description|an?|the",
    r"no (?:content|description|caption|answer|text|data)",
    r"(?:the |a |your )?description(?: (?:of|for))?(?: (?:the )?<?region ?\d*>?)?|<?region ?\d+>?",
    r"(?:无|没有|暂无|未知|空|空白)(?:任何)?(?:内容|描述|文字|信息|数据)?|描述|这|一个",
)
_LETTER = re.compile(r"[^\W_]")
_NO_LATIN = re.compile(r"[^\x00-\x7f]")


def empty(answer: Answer) -> Failure | None:
    """The answer has no word at all, or a region's caption has none, is a placeholder, or is too short."""
    if not _LETTER.search(answer.text.strip().removeprefix("```json")) or (
        not answer.parsed.captions and _says_nothing(answer.text)
    ):
        return Failure("the answer is empty")
    return about(
        [region for region, caption in sorted(answer.parsed.captions.items()) if _says_nothing(caption)], "is empty"
    )


def _says_nothing(caption: str) -> bool:
    bare = caption.strip(" \t\"'“”.,:;…。，[](){}<>*-–—")
    if len(bare) < MIN_CHARACTERS and not (_NO_LATIN.search(bare) and _LETTER.search(bare)):
        return True
    return len(bare) < 40 and _PLACEHOLDER.fullmatch(bare) is not None


GATE = Gate(Code.EMPTY, "reject", empty)
