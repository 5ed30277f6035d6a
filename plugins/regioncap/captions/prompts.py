"""The words that go to the VLM, and the JSON schema its structured answer has to follow."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from regioncap.marks.styles import MarkStyle
from regioncap.regions.names import region_label, region_name

# What a request is about: all regions of an image, or one of them.
RequestMode = Literal["joint", "per_region"]
# What a run asks about: with `auto` it is all regions first, and then some by themselves.
CaptionMode = Literal["joint", "per_region", "auto"]
AnswerFormat = Literal["structured", "free_text"]
PromptLanguage = Literal["en", "zh"]

# The original pipeline's prompt, word for word: people compare and merge datasets by it.
PROMPTS: dict[PromptLanguage, str] = {
    "en": "Describe the content of each marked region in the image. There are {n} regions: <region1> to <region{n}>.",
    "zh": "描述图像中每个标记区域的内容。共有 {n} 个区域：<region1> 到 <region{n}>。",
}

_FORMS: dict[tuple[RequestMode, AnswerFormat], dict[PromptLanguage, str]] = {
    ("joint", "structured"): {
        "en": 'Answer with one JSON object that has one key for each region, "<region1>" to "<region{n}>", '
        "and its description in English as the value.",
        "zh": '请只回答一个 JSON 对象，每个区域一个键，从 "<region1>" 到 "<region{n}>"，值为该区域的中文描述。',
    },
    ("joint", "free_text"): {
        "en": "Answer in English with one line for each region: its name, a colon, and its description.",
        "zh": "请用中文回答，每个区域一行：区域名、冒号、描述。",
    },
    # The same for every region of an image, so that the server can keep what it has computed for the first.
    ("per_region", "structured"): {
        "en": "Answer with one JSON object that has one key, the name of the region you are asked about, "
        "and its description in English as the value.",
        "zh": "请只回答一个 JSON 对象，只有一个键，即所问区域的名称，值为该区域的中文描述。",
    },
    ("per_region", "free_text"): {
        "en": "Answer in English with the name of the region you are asked about, a colon, and its description.",
        "zh": "请用中文回答：所问区域的名称、冒号、描述。",
    },
}
_CROP: dict[PromptLanguage, str] = {
    "en": "This is a close-up of {region}. Describe {region} only.",
    "zh": "这是 {region} 的特写。请只描述 {region}。",
}

_ONLY: dict[PromptLanguage, str] = {
    "en": "Describe only these regions: {regions}.",
    "zh": "请只描述以下区域：{regions}。",
}

# A listener's answer that a caption describes no marked region.
NO_REGION = "none"
_WHICH: dict[PromptLanguage, str] = {
    "en": 'Which marked region does this describe: "{caption}"? '
    f"Answer with its number, or {NO_REGION} if it describes none of them.",
    "zh": f"这句话描述的是哪个标记区域：“{{caption}}”？请只回答其编号；如果都不是，请回答 {NO_REGION}。",
}
_LABELS: dict[PromptLanguage, tuple[str, str, str]] = {
    "en": ("Labels that came with the image, some of which may be wrong: {labels}.", "region {n} is {label}", "; "),
    "zh": ("图像附带的标签，其中一些可能有误：{labels}。", "区域 {n} 是 {label}", "；"),
}


def user_prompt(template: str, regions: int) -> str:
    """Fill `{n}`, the number of regions, into a prompt template.

    Raises ValueError if the template has any other field.
    """
    check_prompt(template)
    return template.format(n=regions)


# As a regular expression, which a form can use too: `{n}` and doubled braces, no other brace.
PROMPT_PATTERN = r"^([^{}]|\{\{|\}\}|\{n\})*$"


def check_prompt(template: str) -> None:
    """Raise ValueError unless `{n}` is the only field in the prompt template."""
    if not re.search(PROMPT_PATTERN, template):
        raise ValueError(
            "prompt: the only field it may have is {n}, the number of regions; write other braces as {{ }}"
        )


def system_message(
    system_prompt: str,
    style: MarkStyle,
    mode: RequestMode,
    answer_format: AnswerFormat,
    regions: int,
    language: PromptLanguage,
) -> str:
    """The system message: the user's system prompt, then what the style's marks mean, then the form of the answer."""
    form = _FORMS[mode, answer_format][language].format(n=regions)
    return "\n".join(part for part in (system_prompt, style.words[language], form) if part)


def crop_prompt(region: int, language: PromptLanguage) -> str:
    """What follows a region's close-up in a request about this region alone."""
    return _CROP[language].format(region=region_name(region))


def only_prompt(regions: Iterable[int], language: PromptLanguage) -> str:
    """What ends a further request: of which regions a description is still wanted."""
    return _ONLY[language].format(regions=", ".join(map(region_name, regions)))


def which_prompt(caption: str, language: PromptLanguage) -> str:
    """The listener's question about a marked image: which region's number a caption describes, or `NO_REGION`."""
    return _WHICH[language].format(caption=caption)


def label_hint(labels: Mapping[int, str], language: PromptLanguage) -> str:
    """What follows the prompt where regions came with labels: region number -> label, as given but for its spaces."""
    sentence, each, between = _LABELS[language]
    words = {region: " ".join(label.split()) for region, label in labels.items()}
    if language == "en":
        words = {region: f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}" for region, word in words.items()}
    told = [each.format(n=region_label(region), label=word) for region, word in words.items()]
    return sentence.format(labels=between.join(told))


def answer_schema(regions: Iterable[int]) -> dict[str, Any]:
    """The JSON schema of a structured answer about `regions`: exactly their names, each with a string.

    Without bounds of its length: with them xgrammar, vLLM's backend, allows no escape in the string, so that no caption
    could hold a quotation mark, and lets raw control characters in (https://github.com/mlc-ai/xgrammar/issues/800).
    """
    names = [region_name(region) for region in regions]
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
