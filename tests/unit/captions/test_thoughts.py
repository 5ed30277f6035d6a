"""Thoughts before an answer."""

import pytest

from regioncap.captions.thoughts import without_thoughts

ANSWER = "<region1>: a red door\n<region2>: a cat"


@pytest.mark.parametrize(
    "before",
    [
        "",
        "<think>The first is a <region1>: cup?</think>\n\n",
        "<think>\n\n</think>\n\n",
        "<think>One.</think><think>Two.</think>",
        "<thinking>Hm.</thinking>\n",
        "<THINK>Hm.</THINK>\n",
        "<reasoning>\n1. a cup\n2. a plate\n</reasoning>\n",
        "<seed:think>Hm.</seed:think>",
        "Hm, region 1 is a cup.\n</think>\n\n",
        "◁think▷Hm.◁/think▷",
        "[THINK]Hm.[/THINK]",
        "<|begin_of_thought|>Hm.<|end_of_thought|>",
        "<unused94>thought\nHm.<unused95>",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>",
        "Thought: region 1 is a cup, I think.\n\nAnswer:\n",
        "**Reasoning:** a cup?\n\n**Final answer:**\n",
        "### Thinking\nA cup?\n\n### Answer\n",
        "It could be a cup.\n\nFinal answer:\n",
        "思考过程：可能是杯子。\n\n最终答案：\n",
        "分析：可能是杯子。\n回答：\n",
    ],
)
def test_what_is_thought_before_an_answer_is_left_out(before: str) -> None:
    assert without_thoughts(f"{before}{ANSWER}") == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "<think>Hm, <region1>: a cup",
        "<think>One.</think><think>Two",
        "Thought: a cup",
        "推理：可能是杯子",
        "<think></think>",
    ],
)
def test_thoughts_without_an_answer_leave_nothing(text: str) -> None:
    assert without_thoughts(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "<region1>: a screen with </think> on it\n<region2>: a cat",
        "Analysis:\n<region1>: a red door",
        "A sign: final sale",
        "A book, 'Thinking, Fast and Slow'",
        "a red door\x1f",
    ],
)
def test_what_is_no_thought_stays(text: str) -> None:
    assert without_thoughts(f" {text}\n") == text


def test_a_tag_of_thoughts_within_an_answer_ends_none() -> None:
    text = "<region1>: a screen with <think>hm</think>\n<region2>: a cat"
    assert without_thoughts(text) == text
