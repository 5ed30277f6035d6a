"""Tokens that structure a model's input and never belong into text: `<|im_end|>`, `</s>`, `[INST]`, `<image>`."""

import re

from regioncap.gates.gate import Answer, Caption, Failure, Gate, each_caption
from regioncap.gates.wording import any_of
from regioncap.regions.codes import Code

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


# Of these, those that servers know as what starts and ends a message or stands for an image.
_INPUT = any_of(
    r"<\s?[|｜][^<>\n]{0,60}[|｜]\s?>",
    r"</?(?:s|pad|unk|bos|eos|image|img|video|audio|im_start|im_end|img_context|start_of_turn|end_of_turn|end_of_utterance)>",
    r"\[/?INST\]|<</?SYS>>",
)


def input_token(text: str) -> str | None:
    """The first token in a prompt that a server might take for a part of its input format, None where there is none."""
    found = _INPUT.search(text)
    return found[0] if found else None


def special_tokens(answer: Answer) -> Failure | None:
    """There is one of them, and it is none that the prompt asks for."""

    def has_one(caption: Caption) -> str | None:
        for found in _SPECIAL.finditer(caption.text):
            token = found[0]
            if not _TEXT.fullmatch(token) and not any(token in prompt for prompt in answer.prompts):
                return f"has the special token {token} in it"
        return None

    return each_caption(has_one, outside=True)(answer)


GATE = Gate(Code.SPECIAL_TOKENS, "reject", special_tokens)
