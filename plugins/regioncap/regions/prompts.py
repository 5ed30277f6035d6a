"""The words that go to the VLM, and the JSON schema its structured answer has to follow."""

from string import Formatter
from typing import Any, Literal

AnswerFormat = Literal["structured", "free_text"]
PromptLanguage = Literal["en", "zh"]

# The original pipeline's prompt, word for word: people compare and merge datasets by it.
PROMPTS: dict[PromptLanguage, str] = {
    "en": "Describe the content of each marked region in the image. There are {n} regions: <region1> to <region{n}>.",
    "zh": "描述图像中每个标记区域的内容。共有 {n} 个区域：<region1> 到 <region{n}>。",
}

# What the prompt alone does not say: how a number in the picture and a region's name belong together.
_MARKS: dict[PromptLanguage, str] = {
    "en": "In the image each region is framed, and a tag on the frame shows its number: tag 1 is <region1>. "
    "Describe what is inside the frame, not the frame or the tag.",
    "zh": "图像中每个区域都有边框，边框上的标签显示其编号：标签 1 即 <region1>。"
    "请描述边框内的内容，不要描述边框或标签。",
}
_FORMS: dict[AnswerFormat, dict[PromptLanguage, str]] = {
    "structured": {
        "en": 'Answer with one JSON object that has one key for each region, "<region1>" to "<region{n}>", '
        "and its description in English as the value.",
        "zh": '请只回答一个 JSON 对象，每个区域一个键，从 "<region1>" 到 "<region{n}>"，值为该区域的中文描述。',
    },
    "free_text": {
        "en": "Answer in English with one line for each region: its name, a colon, and its description.",
        "zh": "请用中文回答，每个区域一行：区域名、冒号、描述。",
    },
}

# Longest caption the schema lets a model write: room for a paragraph, an end to a runaway.
MAX_CAPTION_CHARACTERS = 1000


def region_tag(region: int) -> str:
    """The name of region `region` (1-based) in prompts and answers."""
    return f"<region{region}>"


def user_prompt(template: str, regions: int) -> str:
    """Fill `{n}`, the number of regions, into a prompt template.

    Raises ValueError if the template has any other field.
    """
    check_prompt(template)
    return template.format(n=regions)


def check_prompt(template: str) -> None:
    """Raise ValueError unless `{n}` is the only field in the prompt template."""
    fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None]
    if any(field != ("n", "", None) for field in fields):
        raise ValueError(
            "prompt: the only field it may have is {n}, the number of regions; write other braces as {{ }}"
        )


def system_message(system_prompt: str, answer_format: AnswerFormat, regions: int, language: PromptLanguage) -> str:
    """The system message: the user's system prompt, then what marks mean, then the form of the answer."""
    form = _FORMS[answer_format][language].format(n=regions)
    return "\n".join(part for part in (system_prompt, _MARKS[language], form) if part)


def answer_schema(regions: int) -> dict[str, Any]:
    """The JSON schema of a structured answer: exactly `<region1>`..`<regionN>`, each a non-empty string."""
    tags = [region_tag(region) for region in range(1, regions + 1)]
    caption = {"type": "string", "minLength": 1, "maxLength": MAX_CAPTION_CHARACTERS}
    return {
        "type": "object",
        "properties": dict.fromkeys(tags, caption),
        "required": tags,
        "additionalProperties": False,
    }
