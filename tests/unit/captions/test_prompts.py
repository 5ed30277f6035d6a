"""The words that go to the VLM."""

from collections.abc import Callable

import pytest

from regioncap.captions.prompts import NO_REGION, PromptLanguage, label_hint, system_message, which_prompt
from regioncap.marks.styles import STYLES

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
def test_marks_are_explained_between_the_users_words_and_the_form_of_the_answer(language: PromptLanguage) -> None:
    message = system_message("You are a helpful assistant.", STYLES["box"], "joint", "structured", 3, language)
    assert message == SYSTEM[language]


@pytest.mark.parametrize(
    ("style", "seen", "unseen"),
    [
        ("box", ["framed", "边框"], ["corner", "dark", "角", "暗"]),
        ("corners", ["corners", "四角"], ["frame", "dark", "边框", "暗"]),
        ("spotlight", ["framed", "darkened", "边框", "变暗"], ["corner", "角"]),
    ],
)
def test_what_is_said_of_marks_is_what_their_style_draws(style: str, seen: list[str], unseen: list[str]) -> None:
    words = STYLES[style].words["en"] + STYLES[style].words["zh"]
    assert all(word in words for word in seen) and not any(word in words for word in unseen)
    # Each says what ties a number in the picture to a region's name.
    assert all("<region1>" in said for said in STYLES[style].words.values())


def test_a_style_of_ones_own_is_explained_in_its_own_words(extend: Callable[..., None]) -> None:
    words = {"en": "Each region is circled.", "zh": "每个区域都有圆圈。"}
    extend(
        "regioncap.styles", "circle", f"from regioncap.marks.styles import MarkStyle as S\nit=S('circle',words={words})"
    )
    message = system_message("", STYLES["circle"], "joint", "free_text", 1, "en")
    assert message.startswith("Each region is circled.\nAnswer in English")


# The demo model has learned these words: with others it has to be trained anew.
def test_labels_are_said_region_by_region_and_may_be_wrong() -> None:
    assert label_hint({2: "star", 5: "ring"}, "en") == (
        "Labels that came with the image, some of which may be wrong: region 2 is a star; region 5 is a ring."
    )
    assert label_hint({2: "star", 5: "圆环"}, "zh") == (
        "图像附带的标签，其中一些可能有误：区域 2 是 star；区域 5 是 圆环。"
    )


@pytest.mark.parametrize(
    ("label", "said"),
    [("apple", "an apple"), ("Umbrella", "an Umbrella"), ("hot\n dog ", "a hot dog"), ("{n} {label}", "a {n} {label}")],
)
def test_a_label_is_said_as_it_is_given_but_for_its_spaces(label: str, said: str) -> None:
    assert label_hint({1: label}, "en").endswith(f"wrong: region 1 is {said}.")


@pytest.mark.parametrize("caption", ["a small striped blue star", 'a sign that says "{n}" and {caption}'])
def test_a_listener_is_asked_for_a_number_or_none(caption: str) -> None:
    assert which_prompt(caption, "en") == (
        f'Which marked region does this describe: "{caption}"? '
        "Answer with its number, or none if it describes none of them."
    )
    assert caption in which_prompt(caption, "zh") and NO_REGION in which_prompt(caption, "zh")
