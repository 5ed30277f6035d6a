"""Bodies of chat APIs: answers in each of their shapes, and what servers say of errors."""

import json
import math
from typing import Any

import pytest

from regioncap.captions.thoughts import only_thoughts, without_thoughts
from regioncap.vlm.protocol import ChatCompletion, Choice, error_message


def text_of(message: dict[str, Any]) -> str:
    body = json.dumps({"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "stop"}]})
    return ChatCompletion.model_validate_json(body).choices[0].message.text


@pytest.mark.parametrize(
    "content",
    [
        "a red door",
        [{"type": "text", "text": "a red "}, {"type": "text", "text": "door"}],
        [{"type": "text", "text": "a red door"}, {"type": "text", "text": None}],
        # https://docs.mistral.ai/capabilities/reasoning: thoughts are parts of their own.
        [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "a red door"}],
    ],
)
def test_an_answer_is_read_whatever_form_its_content_has(content: Any) -> None:
    assert text_of({"content": content}) == "a red door"
    assert (
        text_of({"content": content, "reasoning_content": "Let me look.", "reasoning": "Let me look."}) == "a red door"
    )


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", "\n\n", []])
@pytest.mark.parametrize("thoughts", ['{"<region1>": "a door"}', "I see ... </think>\n<region1>: a door", "1. a door"])
def test_what_is_only_thought_is_no_answer(field: str, content: Any, thoughts: str) -> None:
    text = text_of({"content": content, field: thoughts})
    assert "a door" in text
    assert only_thoughts(text) and without_thoughts(text) == ""


def test_thoughts_that_are_parts_of_the_content_are_no_answer() -> None:
    part = {"type": "thinking", "thinking": [{"type": "text", "text": "a door"}]}
    assert only_thoughts(text_of({"content": [part]}))
    assert only_thoughts(text_of({"content": [{"type": "thinking", "thinking": "a door"}]}))


@pytest.mark.parametrize(
    "message", [{}, {"content": None}, {"content": "", "reasoning_content": None, "reasoning": ""}]
)
def test_nothing_is_nothing_and_no_thought(message: dict[str, Any]) -> None:
    assert text_of(message) == "" and not only_thoughts("")


def test_what_a_model_says_instead_of_an_answer_is_read() -> None:
    # https://platform.openai.com/docs/guides/structured-outputs#refusals
    assert text_of({"content": None, "refusal": "I'm sorry, I can't help with that."}).startswith("I'm sorry")


SENTENCE = "At most 1 image(s) may be provided in one prompt."


@pytest.mark.parametrize(
    "body",
    [
        # vLLM, llama.cpp, Ollama, OpenAI
        json.dumps({"error": {"message": SENTENCE, "type": "BadRequestError", "param": None, "code": 400}}),
        # SGLang, LMDeploy, vLLM before 0.11
        json.dumps({"object": "error", "message": SENTENCE, "type": "BadRequest", "param": None, "code": 400}),
        # TGI
        json.dumps({"error": SENTENCE, "error_type": "validation"}),
        # FastAPI's own
        json.dumps({"detail": SENTENCE}),
        json.dumps({"detail": {"error": {"message": SENTENCE}}}),
        # gateways
        json.dumps({"message": SENTENCE}),
        json.dumps({"errors": [{"message": SENTENCE}]}),
        json.dumps([{"error": {"code": 400, "message": SENTENCE, "status": "INVALID_ARGUMENT"}}]),
        json.dumps({"error": {"message": json.dumps({"error": {"message": SENTENCE}})}}),
        SENTENCE,
        json.dumps(SENTENCE),
        # as events, where a stream was begun
        f"data: {json.dumps({'error': {'message': SENTENCE}})}\n\ndata: [DONE]\n\n",
        f"event: error\ndata: {json.dumps({'object': 'error', 'message': SENTENCE})}\n\n",
    ],
)
def test_the_servers_own_sentence_is_told(body: str) -> None:
    assert error_message(body.encode()) == SENTENCE


def test_of_a_list_of_faults_each_is_told_with_its_field() -> None:
    # FastAPI's and pydantic's answer to a body that is not as it has to be
    faults = [
        {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted", "input": 40},
        {"type": "int_parsing", "loc": ["body", "seed"], "msg": "Input should be a valid integer", "input": "x"},
    ]
    told = "body.top_k: Extra inputs are not permitted; body.seed: Input should be a valid integer"
    assert error_message(json.dumps({"detail": faults}).encode()) == told


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"[]", b"\xff\xfe", b'{"error": null}', b'{"detail": []}', b"data:"]
)
def test_a_body_that_says_nothing_is_told_as_it_is(body: bytes) -> None:
    assert error_message(body) == body.decode("utf-8", "replace")


def test_what_is_told_is_one_short_line() -> None:
    told = error_message(json.dumps({"message": "a\nb\x1b[31m\tc" + "x" * 9000}).encode())
    assert told.startswith("a b [31m cx") and len(told) <= 500
    assert len(error_message(b"<html>" + b"y" * 9000)) <= 500


def choice_with(logprobs: object) -> Choice:
    return Choice.model_validate({"message": {"content": "1"}, "finish_reason": "length", "logprobs": logprobs})


def test_an_answer_may_say_how_likely_its_first_token_was_and_others() -> None:
    told = [{"token": "1", "logprob": -0.1054}, {"token": "2", "logprob": -2.3026}, {"token": "3", "logprob": -9999.0}]
    content = [{"token": "1", "logprob": -0.1054, "bytes": [49], "top_logprobs": told}, {"token": "!", "logprob": 0.0}]
    assert choice_with({"content": content}).probabilities == pytest.approx({"1": 0.9, "2": 0.1}, abs=1e-3)


def written(*tokens: tuple[str, float], text: str) -> Choice:
    content = [{"token": token, "bytes": list(token.encode()), "logprob": math.log(likely)} for token, likely in tokens]
    return Choice.model_validate({"message": {"content": text}, "logprobs": {"content": content}})


def test_the_tokens_of_which_the_model_was_not_sure_are_told_by_their_place_in_the_text() -> None:
    said = written(("<think>", 0.5), ("两", 0.4), ("个", 0.99), (" cat", 0.6), ("<end>", 0.3), text="两个 cat")
    assert said.unsure(0.95) == [(0, 0.4), (2, 0.6)]
    assert said.unsure(0.5) == [(0, 0.4)]


def test_parts_of_a_character_are_tokens_too() -> None:
    first, second = "两".encode()[:1], "两".encode()[1:]
    content = [
        {"token": "\ufffd", "bytes": list(piece), "logprob": math.log(likely)}
        for piece, likely in ((b"a", 0.99), (first, 0.99), (second, 0.2))
    ]
    said = Choice.model_validate({"message": {"content": "a两"}, "logprobs": {"content": content}})
    assert said.unsure(0.95) == [(1, 0.2)]


def test_of_other_tokens_than_those_of_the_text_nothing_is_said() -> None:
    assert written(("a", 0.1), text="another text").unsure(0.95) is None
    assert Choice.model_validate({"message": {"content": "a"}}).unsure(0.95) is None


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"content": None},
        {"content": []},
        # As the older API has it, and what nobody knows.
        {"tokens": ["1"], "token_logprobs": [-0.1], "top_logprobs": [{"1": -0.1}]},
        {"content": [{"token": "1", "logprob": None}]},
        [0.5],
        "none",
    ],
)
def test_probabilities_in_another_form_are_none_and_the_answer_stands(logprobs: object) -> None:
    choice = choice_with(logprobs)
    assert choice.probabilities is None and choice.message.text == "1"
