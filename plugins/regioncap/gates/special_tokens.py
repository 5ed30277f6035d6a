"""Tokens that structure what a model reads and writes, and never belong into text: `<|im_end|>`, `</s>`, `<image>`.

What else stands in angle brackets is in pictures too: tags on a screen, `<iostream>`, `git commit -m <message>`, keys.
"""

import re

from regioncap.gates.gate import Answer, Caption, Failure, Gate, Unsure, each_caption
from regioncap.gates.wording import any_of
from regioncap.regions.codes import Code

# The names that families of models give their tokens, within < > or [ ]: sentence and turn, fill, images and what
# stands in for them, places in the image, thought and tools.
_NAMES = (
    r"(?:s|pad|unk|unknown|region|regions|sos|bos|eos|bot|eot|eom|eod|eop|eoa|cls|sep|mask|gmask|smask|sop|blank|null"
    r"|image|images|img|video|audio|speech|vision|visual|pixel|pixels|patch|frame|im_start|im_end|im_patch|im_col"
    r"|im_gen"
    r"|img_context|img_break|img_end|img_start|img_content|image_start|image_end|image_pad|image_soft_token"
    r"|image_newline"
    r"|image_placeholder|imagehere|image_here|start_of_image|end_of_image|boi|eoi|soi|global-img"
    r"|fake_token_around_image"
    r"|vision_start|vision_end|start_of_turn|end_of_turn|end_of_utterance|turn|system|user|assistant|human|gpt|bot"
    r"|observation"
    r"|inst|sys|think|thinking|thought|thoughts|reasoning|reflection|scratchpad|tool_call|tool_calls|tool_response"
    r"|tool_results"
    r"|available_tools|tools|function|function_call|answer|response|output|caption|description|result|final"
    r"|final_answer"
    r"|box|boxes|bbox|bboxes|ref|refs|quad|poly|polygon|point|points|loc|seg|click|det|ground|grounding|phrase"
    r"|object|obj"
    r"|objects|od|ocr|region_cap|cap|dense|delimiter_of_multi_objects|endofchunk|endoftext|end_of_text|begin_of_text"
    r"|startoftext|newline|nl|sep_token|slot|extra_id|unused|reserved|added_token|special|token|row|col|tile|thumbnail"
    r"|patch_index|coord|bin|x|y|box_start|box_end|object_ref_start|object_ref_end|quad_start|quad_end|content"
    r"|text_start"
    r"|text_end|prompt|instruction|context|query|question|end|start|end_of_sentence|begin_of_sentence|endofsentence"
    r"|im_sep"
    r"|fim_prefix|fim_middle|fim_suffix|vis|vit|imgpad|media|image_id|slice|unicode|rating|title_start)"
)
_ANY = r"</?[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*\s?/?>"
_NUMBERED = r"(?:[_-]?(?:token|col|row|id|index|start|end|pad|placeholder|patch|special)?[_-]?[x\d]+)"
_SURELY = any_of(
    # <|im_end|>, its full-width twin, and halves of either
    r"<\s?[|｜][^<>\n]{0,60}",
    r"[\w▁]{2,40}[|｜]>",
    # <image>, </s>, <loc_12>, <row_1_col_1>, <reserved_token_3>
    rf"</?{_NAMES}(?:_tokens?|_start|_end|_pad)?{_NUMBERED}{{0,3}}\s?/?>",
    r"</?[a-z]+(?:_[a-z]+)*_(?:token|start|end|pad|placeholder|patch|id)_?\d*/?>|<(?:image|img|video)\b[^<>\n]{0,60}>",
    r"(?:<\d{1,4}>){2}",
    # bytes of a vocabulary, and how vocabularies write a space or the inside of a word
    r"<0x[0-9a-f]{2}>|<</?sys>>|▁\w|\w▁|[ĠĊ](?=[a-z])|(?<=[a-z,.])[ĠĊ]|(?<=\w )##[a-z]{1,12}\b|^##[a-z]{1,12}\b",
    r"\[/?(?:inst|pad|unk|cls|sep|mask|img|img_break|img_end|tool_calls|available_tools|bos|eos|gmask|sop|eop|eot"
    r"|start|end"
    r"|image|image_token|video|blank|nl|control_\d+|unused\d+|system_prompt|/?think)\]",
    # places in the image, as models that find things write them
    r"[\"']?(?:bbox_2d|point_2d|bbox|bounding_box|box_2d|polygon)[\"']?\s?[:=]\s?[\[(]"
    r"|\[\[\s?\d+(?:\.\d+)?(?:,\s?\d+(?:\.\d+)?){1,3}\s?\]",
    # the turns of a chat, as models of the Alpaca family write them
    r"###\s?(?:assistant|human|user|system|instruction|response|input)\s?[:：]",
    # a glitch token that Qwen2.5-VL writes
    r"addcriterion",
)
_JSON = re.compile(r"\s*[\[{]{1,2}\s?[\"'][\w ]+[\"']\s?:")
# A caption in a tag of its own.
_WRAPPED = re.compile(r"\W{0,3}<([a-z][\w-]*)(?:\s[^<>]{0,80})?>.*</\1>\W{0,3}", re.IGNORECASE | re.DOTALL)
_TAGGED = re.compile(r"<region[_ -]?\d{1,4}>", re.IGNORECASE)
# Points of a chart, the keys of a page, and places in the image look alike; Markdown and tags of HTML are on screens.
_MAYBE = any_of(
    r"\(\s?\d+(?:\.\d+)?\s?,\s?\d+(?:\.\d+)?\s?\)\s?,?\s?\(\s?\d+(?:\.\d+)?\s?,\s?\d+(?:\.\d+)?\s?\)",
    r"[\[({]\s?\d+(?:\.\d+)?(?:\s?,\s?\d+(?:\.\d+)?){3}\s?[\])}]|\b[xy]_?(?:min|max|[12]|[01])\s?[=:]\s?\d",
    rf"^\s*{_ANY}|(?<=\w){_ANY}(?:(?=\w)|\W*$)|</[a-z][\w-]*>\W*$",
    r"^\s*(?:```|#{1,4} |\*\*)|```\s*$|\*\*\w[^*]*\*\*|\$\\[a-z]+\{|\\(?:boxed|text|mathbf)\{",
)

# Of these, those that servers know as what starts and ends a message or stands for an image.
_INPUT = any_of(
    r"<\s?[|｜][^<>\n]{0,60}[|｜]\s?>",
    r"</?(?:s|pad|unk|bos|eos|image|img|video|audio|im_start|im_end|img_context|start_of_turn|end_of_turn"
    r"|end_of_utterance)>",
    r"\[/?INST\]|<</?SYS>>",
)


def input_token(text: str) -> str | None:
    """The first token in a prompt that a server might take for a part of its input format, None where there is none."""
    found = _INPUT.search(text)
    return found[0] if found else None


def special_tokens(answer: Answer) -> Failure | None:
    """There is one of them, and it is none that the prompt asks for."""

    def asked_for(token: str) -> bool:
        return any(token in prompt for prompt in answer.prompts)

    def has_one(caption: Caption) -> str | None:
        text = caption.text
        if not _HINT.search(text):
            return None
        for found in _SURELY.finditer(text):
            if not asked_for(found[0]) and not _ours(found[0]):
                what = f"has the special token {found[0].strip()} in it"
                return Unsure(what) if _is_told_of(text, found) else what
        if caption.region is not None and _JSON.match(text):
            return "is a piece of JSON"
        wrapped = _WRAPPED.fullmatch(text)
        if wrapped and not asked_for(f"<{wrapped[1]}>"):
            return f"is within the tag <{wrapped[1]}>"
        if caption.region is None:
            # Around captions there may be any form.
            return None
        if _OF_CODE.search(text):
            return None
        said = caption.said if "```" not in text else text
        maybe = next((found[0] for found in _MAYBE.finditer(said) if not _ours(found[0])), None)
        return Unsure(f"has {maybe.strip()} in it") if maybe and not asked_for(maybe) else None

    return each_caption(has_one, outside=True)(answer)


# Captions with none of these are done with.
_HINT = re.compile(r"[<>|｜▁ĠĊ\[({#*`=\\]|addcrit|bbox|_2d", re.IGNORECASE)


# What a screen or a slide is about that has tokens, or tags, on it.
_OF_TOKENS = re.compile(
    r"\b(?:special tokens?|tokens|tokeni[sz]ers?|chat templates?|prompt templates?|monospaced?)\b"
    r"|特殊(?:标记|符号|词元)|标记符|词元|模板|等宽|分词",
    re.IGNORECASE,
)
_OF_CODE = re.compile(r"\b(?:html|xml|jsx|svg)\b|源代码|源码", re.IGNORECASE)


def _is_told_of(text: str, token: re.Match[str]) -> bool:
    """Whether a token in the middle of a caption is what the caption is about."""
    within = text[: token.start()].strip() and text[token.end() :].strip(" |>.。")
    return bool(within) and _OF_TOKENS.search(text) is not None


def _ours(token: str) -> bool:
    return _TAGGED.fullmatch(token.strip()) is not None


GATE = Gate(Code.SPECIAL_TOKENS, "reject", special_tokens)
