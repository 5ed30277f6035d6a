"""Answers that are nothing but thoughts: no caption, and the reason says what helps."""

import pytest

from regioncap.captions.answers import parse_answer
from regioncap.captions.thoughts import as_thoughts
from regioncap.gates import Answer, run_gates
from regioncap.regions.codes import Code

THOUGHTS = [
    "<think>\nThe first region shows a red door",
    as_thoughts('{"<region1>": "a red door"}'),
    "<think>a red door</think>",
]


@pytest.mark.parametrize("text", THOUGHTS)
@pytest.mark.parametrize(
    ("finish_reason", "code", "told"),
    [
        ("length", Code.CUT_OFF, "raise max_tokens"),
        ("max_tokens", Code.CUT_OFF, "max_tokens"),
        ("stop", Code.EMPTY, "thought"),
    ],
)
def test_an_answer_of_thoughts_alone_is_told_as_such(text: str, finish_reason: str, code: Code, told: str) -> None:
    parsed = parse_answer(text, "structured", (1,))
    assert not any(parsed.captions.values())
    findings = run_gates(Answer(text, finish_reason, parsed, (1,), "en", (), ()))
    first = next(finding for finding in findings if finding.severity == "reject")
    assert first.gate.code == code
    assert told in first.failure.reason and "thought" in first.failure.reason
    assert '"enable_thinking": false' in first.failure.reason
