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
