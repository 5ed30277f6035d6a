"""How an answer ended, whatever its server calls that."""

import pytest

from regioncap.captions.endings import ending


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (["stop", "eos", "eos_token", "end_turn", "stop_sequence", "STOP"], "whole"),
        (["length", "max_tokens", "MAX_TOKENS", "model_length", "max_new_tokens"], "no_room"),
        (["content_filter", "SAFETY", "RECITATION"], "filtered"),
        (["tool_calls", "function_call", "tool_use"], "tool"),
        (["abort", "error", "none", "", "cancelled", "moonrise"], "unfinished"),
    ],
)
def test_only_what_is_known_to_be_finished_is(words: list[str], meaning: str) -> None:
    assert {ending(word) for word in words} == {meaning}
