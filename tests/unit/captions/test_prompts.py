"""The words that go to the VLM."""

from collections.abc import Callable

import pytest

from regioncap.captions.prompts import PromptLanguage, system_message
from regioncap.marks.styles import STYLES, MarkStyle

# The demo model has learned these words: with others it has to be trained anew.
SYSTEM: dict[PromptLanguage, str] = {
    "en": """You are a helpful assistant.
In the image each region is framed, and a tag on the frame shows its number: tag 1 is <region1>. \
Describe what is inside the frame, not the frame or the tag.
Answer with one JSON object that has one key for each region, "<region1>" to "<region3>", \
and its description in English as the value.""",
    "zh": """You are a helpful assistant.
图像中每个区域都有边框，边框上的标签显示其编号：标签 1 即 <region1>。请描述边框内的内容，不要描述边框或标签。
请只回答一个 JSON 对象，每个区域一个键，从 "<region1>" 到 "<region3>"，值为该区域的中文描述。""",
}


@pytest.mark.parametrize("language", SYSTEM)
@pytest.mark.parametrize("style", STYLES.own.values(), ids=lambda style: style.name)
def test_every_style_is_explained_in_the_words_that_the_demo_model_has_learned(
    style: MarkStyle, language: PromptLanguage
) -> None:
    message = system_message("You are a helpful assistant.", style, "joint", "structured", 3, language)
    assert message == SYSTEM[language]


def test_a_style_of_ones_own_is_explained_in_its_own_words(extend: Callable[..., None]) -> None:
    words = {"en": "Each region is circled.", "zh": "每个区域都有圆圈。"}
    extend(
        "regioncap.styles", "circle", f"from regioncap.marks.styles import MarkStyle as S\nit=S('circle',words={words})"
    )
    message = system_message("", STYLES["circle"], "joint", "free_text", 1, "en")
    assert message.startswith("Each region is circled.\nAnswer in English")
