"""What is sent about a row, and what makes two requests the same."""

from regioncap.ask.requests import caption_request, first_requests
from regioncap.vlm.requests import ChatRequest
from tests.builders import marked_row, planned

EXTRAS = {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5}


def first(**changes: object) -> ChatRequest:
    (request,) = first_requests(marked_row(0), planned("a-model", **changes))
    return request


def test_extras_are_sent_beside_the_rest_and_in_the_place_of_sampling_params() -> None:
    plain, more = first().body({}.fromkeys(first().images, "u")), first(request_extras=EXTRAS)
    assert more.body(dict.fromkeys(more.images, "u")) == {**plain, **EXTRAS}


def test_extras_make_another_request_and_none_make_none() -> None:
    keys = {first().key, first(request_extras={}).key}
    assert len(keys) == 1
    others = [first(request_extras=extras).key for extras in (EXTRAS, {**EXTRAS, "top_k": 6}, {"min_p": 0.1})]
    assert len({*keys, *others}) == 4


def test_a_request_without_extras_has_no_field_but_those_it_always_had() -> None:
    assert set(first().options) == {
        "temperature", "top_p", "max_tokens", "seed", "top_k", "repetition_penalty", "model", "response_format",
    }  # fmt: skip


def test_a_ceiling_is_no_part_of_a_request() -> None:
    assert first(max_requests=5, max_tokens_total=5).key == first().key


def test_further_attempts_have_the_extras_too() -> None:
    row, plan = marked_row(0), planned("a-model", request_extras=EXTRAS)
    again = caption_request(row, plan, (1, 2), (2,), attempt=2)
    assert {name: again.options[name] for name in EXTRAS} == EXTRAS
