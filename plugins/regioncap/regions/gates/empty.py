"""Nothing is said: of all regions, or of one."""

import re

from regioncap.regions.codes import Code
from regioncap.regions.gates.gate import Answer, Failure, Gate, about

# A caption of one letter or digit is too short to say anything; "TV" is a caption, and so is 猫.
MIN_CHARACTERS = 2

# What stands where a caption should be, and is none.
_PLACEHOLDER = re.compile(
    r"(?:n/?a|none|nil|null|nothing|unknown|undefined|empty|blank|tbd|todo|nan|string|text|caption|description|\W*"
    r"|no (?:content|description|caption|answer|text)|(?:the |a |your )?description(?: (?:of|for))?(?: (?:the )?<?region ?\d*>?)?"
    r"|<?region ?\d+>?|无|空|没有|未知|暂无|暂无描述|无描述|无内容|描述|an?|the|这|一个)",
    re.IGNORECASE,
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
    bare = caption.strip(" \t\"'“”.,:;…。，[](){}*-–—")
    if len(bare) < MIN_CHARACTERS and not (_NO_LATIN.search(bare) and _LETTER.search(bare)):
        return True
    return len(bare) < 40 and _PLACEHOLDER.fullmatch(bare) is not None


GATE = Gate(Code.EMPTY, "reject", empty)
