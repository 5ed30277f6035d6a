"""`cut_off`: the server says whether the model was done."""

import pytest

from regioncap.captions.answers import ParsedAnswer
from regioncap.gates import Answer, run_gates


def _codes(finish_reason: str) -> list[str]:
    answer = Answer("<region1>: a red door and", finish_reason, ParsedAnswer({1: "a red door and"}), [1])
    return [str(finding.gate.code) for finding in run_gates(answer)]


@pytest.mark.parametrize("reason", ["length", "max_tokens", "abort", "content_filter", "error", "tool_calls", "none"])
def test_an_answer_that_did_not_end_of_itself_is_cut_off(reason: str) -> None:
    assert _codes(reason) == ["cut_off"]


@pytest.mark.parametrize("reason", ["stop", "eos", "stop_sequence"])
def test_one_that_ended_of_itself_is_whole(reason: str) -> None:
    assert _codes(reason) == []
