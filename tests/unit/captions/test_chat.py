"""What is said round descriptions."""

import pytest

from regioncap.captions.chat import behind_opening, closing_remark, is_opening


@pytest.mark.parametrize(
    "remark",
    [
        "Let me know if you need more.",
        "I hope this helps!",
        "Overall, the image shows a street.",
        "Please note that it is dark.",
        "If you have any questions, ask.",
        "Would you like more detail?",
        "Both regions are in the same room.",
        "These are the descriptions.",
        "希望这些描述对您有帮助！",
        "如果您需要更多信息，请告诉我。",
        "以上是各区域的描述。",
        "总的来说，图片展示了一条街道。",
    ],
)
@pytest.mark.parametrize("gap", [" ", "\n", "\n\n"])
def test_a_closing_remark_is_found_where_it_begins(gap: str, remark: str) -> None:
    found = closing_remark(f"a cat.{gap}{remark}")
    assert found is not None and f"a cat.{gap}{remark}"[found:].strip() == remark


@pytest.mark.parametrize(
    "text",
    [
        "a sign that says let me know",
        "a cat, overall grey",
        "a note on a table",
        "一张写着“希望小学”的牌子",
        "a thank-you card",
    ],
)
def test_words_within_a_description_are_no_remark(text: str) -> None:
    assert closing_remark(text) is None


def test_an_opening_is_told_from_a_description() -> None:
    assert all(map(is_opening, ["", "Sure! ", "Here are the descriptions:", "好的，", "各区域如下："]))
    assert not any(map(is_opening, ["a red door", "一扇门", "The shelf holds"]))


@pytest.mark.parametrize(
    "opening",
    [
        "",
        "Sure! ",
        "Certainly! Here is the description:\n\n",
        "Here is the caption of the region:\n",
        "好的，以下是描述：\n",
        "The answer is: ",
        "Sure, here's a description: ",
    ],
)
def test_a_description_without_a_name_begins_behind_the_opening(opening: str) -> None:
    text = f"{opening}A sign: no parking"
    assert text[behind_opening(text) :].strip() == "A sign: no parking"
