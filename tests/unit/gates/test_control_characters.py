"""`control_characters`: what no text has."""

import pytest

from regioncap.captions.answers import ParsedAnswer
from regioncap.gates import Answer
from tests.judging import judge, judged


@pytest.mark.parametrize(
    "caption",
    [
        "a r\u0336e\u0336d\u0336 car",
        "a\xadred\xadcar",
        "don\xe2\u20ac\u2122t walk sign",
        "a caf\xc3\xa9",
        "\xe7\xba\xa2 car",
        "a \u200ered car",
        "a red car\ufffc",
        "a z\u0300\u0301\u0302a car",
        "a\u200dred car",
        "锟斤拷",
    ],
)
def test_broken_encodings_and_invisible_characters_reject(caption: str) -> None:
    assert judge(caption)["control_characters"] == "reject"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029"])
def test_a_separator_of_lines_is_found(separator: str) -> None:
    assert "control_characters" in judge(f"a red car{separator}on a road")


def test_a_separator_of_lines_is_found_where_captions_are_folded() -> None:
    text = '{"<region1>": "a red car\u2028on a road"}'
    assert judged(Answer(text, "stop", ParsedAnswer({1: "a red car on a road"}), [1])) == {"control_characters": "warn"}


@pytest.mark.parametrize("caption", ["a red &amp; white car", "a red\\u0020car", "a%20red%20car"])
def test_what_is_written_out_is_warned_of(caption: str) -> None:
    assert judge(caption)["control_characters"] == "warn"


@pytest.mark.parametrize(
    "caption",
    [
        "A family emoji 👨\u200d👩\u200d👧 on a phone.",
        "A flag, 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.",
        "A heart ❤\ufe0f on a mug.",
        "A sign reading São Paulo, 21 °C.",
        "À la carte menu, « Chez Léon ».",
        "A sign in Farsi: می\u200cخواهم",
        "A label: Â Ê Î.",
    ],
)
def test_emoji_accents_and_joiners_pass(caption: str) -> None:
    assert "control_characters" not in judge(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "鐢蜂汉绌跨潃钃濊壊澶栧",
        "涓鍙\ue046尗鍧愬湪绐楀彴涓",
        "蹦床\u200d上的小孩",
        "a cat\u200d\u200d on a sofa",
    ],
)
def test_chinese_that_was_read_in_another_encoding_rejects(caption: str) -> None:
    assert judge(caption).get("control_characters") == "reject"
