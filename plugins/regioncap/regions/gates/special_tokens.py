"""Tokens that structure a model's input and never belong into text: `<|im_end|>`, `</s>`, `[INST]`, `<image>`."""

import re

from regioncap.regions.codes import Code
from regioncap.regions.gates.gate import Caption, Gate, each_caption
from regioncap.regions.gates.wording import any_of

_SPECIAL = any_of(
    # <|im_end|>, its full-width twin, and halves of either
    r"<\s?[|｜][^<>\n]{0,60}",
    r"[\w▁]{2,40}[|｜]>",
    # <image>, </s>, <end_of_turn>, <loc_12>: any word in angle brackets that is not listed below
    r"</?[a-z][a-z0-9]{0,30}(?:[_-][a-z0-9]{1,30}){0,6}/?>",
    # bytes of a vocabulary, and what stands in square brackets
    r"<0x[0-9a-f]{2}>|<</?sys>>",
    r"\[/?(?:inst|pad|unk|cls|sep|mask|img|img_break|img_end|image|tool_calls|available_tools|bos|eos|gmask|sop)\]",
    # a glitch token that Qwen2.5-VL writes
    r"addcriterion",
)
# Words in angle brackets that a picture may show: names of regions, tags on a screen, keys.
_TEXT = re.compile(
    r"</?(?:region[_ -]?\d{1,4}|html|head|body|div|span|p|a|b|i|u|h[1-6]|ul|ol|li|table|tr|td|th|br|hr|script"
    r"|style|title|meta|link"
    r"|form|input|button|nav|header|footer|main|section|article|em|strong|code|pre|svg|path|canvas|label|option"
    r"|select|template"
    r"|string|int|t|k|v|enter|esc|shift|ctrl|alt|tab|space|del|delete|return|name|address|date)/?>",
    re.IGNORECASE,
)


def special_token(text: str) -> str | None:
    """The first special token in a text, None where there is none."""
    return next((found[0] for found in _SPECIAL.finditer(text) if not _TEXT.fullmatch(found[0])), None)


def special_tokens(caption: Caption) -> str | None:
    """There is one of them."""
    found = special_token(caption.text)
    return f"has the special token {found} in it" if found else None


GATE = Gate(Code.SPECIAL_TOKENS, "reject", each_caption(special_tokens, outside=True))
