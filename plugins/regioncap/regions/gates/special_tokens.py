"""Tokens that structure a model's input and never belong into text: `<|im_end|>`, `</s>`, `[INST]`, `<image>`."""

import re

from regioncap.regions.codes import Code
from regioncap.regions.gates.gate import Caption, Gate, each_caption

# Tags that some model family uses; other words in angle brackets (`<div>` on a screen) are text.
_NAMES = (
    "s|unk|pad|eos|bos|cls|sep|mask|image|img|images|video|audio|frame_?placeholder|box|ref|quad|point|points|poly|polygon|loc|seg|obj|object"
    "|phrase|grounding|delimiter_of_multi_objects|bbox|patch|imagehere|think|thinking|answer|tool_call|tool_response|fim_prefix|fim_suffix"
    "|fim_middle|assistant|user|system|human|gpt|bot|inst|eot|sot|start|end|caption|ocr|od"
)
_SPECIAL = re.compile(
    # <|im_end|>, its full-width twin, and halves of either
    r"<\s?[|｜][^<>\n]{0,60}|[\w▁]{2,40}[|｜]>"
    rf"|</?(?:{_NAMES})(?:[_-]?\d{{1,5}})?/?>"
    # <IMG_CONTEXT>, <end_of_turn>, <row_1_col_2>, <global-img>, <|region|>-like names: but not <region1>
    r"|</?[a-z]+\d*(?:_[a-z0-9]+)+/?>|<(?:global|sub)-img>"
    # bytes and reserved places of vocabularies
    r"|<0x[0-9a-f]{2}>|<(?:unused|extra_id_|reserved_special_token_?)\d{0,4}>"
    r"|\[/?(?:inst|pad|unk|cls|sep|mask|img|img_break|img_end|image|tool_calls|available_tools|bos|eos|gmask|sop|system_prompt)\]|<</?sys>>"
    # a glitch token that Qwen2.5-VL writes
    r"|addcriterion",
    re.IGNORECASE,
)


def special_token(text: str) -> str | None:
    """The first special token in a text, None where there is none."""
    found = _SPECIAL.search(text)
    return found[0] if found else None


def special_tokens(caption: Caption) -> str | None:
    """There is one of them."""
    found = special_token(caption.text)
    return f"has the special token {found} in it" if found else None


GATE = Gate(Code.SPECIAL_TOKENS, "reject", each_caption(special_tokens, outside=True))
