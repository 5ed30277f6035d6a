"""`special_tokens`: the input format, or what a screen shows."""

import pytest

from tests.judging import judge


@pytest.mark.parametrize(
    "caption",
    [
        "A screen with C++ code that includes <iostream> and <vector>.",
        "A terminal with the usage line: git commit -m <message>.",
        "A browser's inspector with an <iframe> selected.",
        "A keyboard with the keys <Ctrl> and <Fn>.",
        "HTML page source with a <title> tag.",
        "一个显示 <config> 标签的编辑器窗口。",
    ],
)
def test_what_is_on_screens_passes(caption: str) -> None:
    assert "special_tokens" not in judge(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "(10,20),(30,40) a red car",
        "a red car <box>[[10,20,30,40]]</box>",
        '{"bbox_2d": [10, 20, 30, 40], "label": "car"}',
        "▁the ▁red ▁car",
        "Ġa Ġred Ġcar",
        "a red car ##s",
        "<p>a red car</p>",
        "a red car [EOS]",
        "a car<image_token>",
        "<loc0512> a car",
        "<|begin_of_text|>a car",
        "a car</answer>",
        "一辆汽车<sos>",
    ],
)
def test_tokens_places_and_pieces_of_vocabularies_are_found(caption: str) -> None:
    assert "special_tokens" in judge(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "A slide about chat templates with <|im_start|> and <|im_end|> on it.",
        "幻灯片上的特殊标记<|endoftext|>，用等宽字体印出。",
    ],
)
def test_tokens_that_a_caption_is_about_are_only_warned_of(caption: str) -> None:
    assert judge(caption).get("special_tokens") == "warn"


def test_tokens_at_an_end_reject_whatever_the_caption_is_about() -> None:
    assert judge("A slide about special tokens<|im_end|>").get("special_tokens") == "reject"
    assert judge("a cat ### Assistant: a dog").get("special_tokens") == "reject"
    assert "special_tokens" not in judge("A screen with some html: <ul><li>Home</li></ul>")
