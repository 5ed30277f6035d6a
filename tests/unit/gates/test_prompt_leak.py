"""`prompt_leak`: what to do, or what the images are."""

import pytest

from regioncap.captions.answers import ParsedAnswer
from regioncap.gates import Answer
from tests.judging import an_answer, judge, judged


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        (
            "The images are photos of bottles of wine on the shelves of a supermarket.",
            "bottles of wine on the shelves of a supermarket",
        ),
        ("Each picture shows a red brick house with a white front door.", "A red brick house with a white front door."),
        (
            "These are frames of a football match seen from behind the goal.",
            "A football match seen from behind the goal.",
        ),
        (
            "You see chest X-rays of patients with a suspected fracture of the ribs.",
            "patients with a suspected fracture of the ribs",
        ),
        (
            "The drop has aerial photos of solar panels on the roofs of farm buildings.",
            "Solar panels on the roofs of farm buildings.",
        ),
        ("图像是超市货架上摆放整齐的瓶装葡萄酒。", "超市货架上摆放整齐的瓶装葡萄酒"),
    ],
)
def test_a_caption_may_say_what_the_prompt_says_of_the_images(prompt: str, caption: str) -> None:
    language = "en" if caption.isascii() else "zh"
    assert judged(an_answer({1: caption}, language, (prompt,))) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "caption",
    [
        "<region1>: a red car",
        "<region1> is a dog",
        "Caption: a red car",
        "Answer: a red car",
        "Your task is to describe the region: a red car.",
        "Describe <region1> only.",
        "Answer in English.",
        "<region1>：一辆红色的汽车",
        "描述：一只狗",
        "标签 1 即 <region1>，一辆红色的汽车。",
        "请用中文描述。",
        "值为该区域的中文描述：一辆红色的汽车",
        "You are Qwen, created by Alibaba Cloud.",
    ],
)
def test_echoes_of_names_forms_and_tasks_reject(caption: str) -> None:
    assert judge(caption)["prompt_leak"] == "reject"


def test_an_instruction_of_the_prompt_is_a_leak_as_before() -> None:
    prompt = "Mention the colour of each bottle and never the brand on its label."
    assert (
        judged(an_answer({1: "never the brand on its label, a red bottle"}, "en", (prompt,)))["prompt_leak"] == "reject"
    )


def test_a_regions_name_before_its_caption_is_noted_also_where_parsing_takes_it_off() -> None:
    text = '{"<region1>": "<region1>: a red car"}'
    answer = Answer(text, "stop", ParsedAnswer({1: "a red car"}), [1])
    assert judged(answer) == {"prompt_leak": "warn"}
