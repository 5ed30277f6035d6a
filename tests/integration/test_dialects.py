"""Whole shards captioned by stand-ins of servers other than vLLM: see `tests.stand_ins` for their sources."""

import asyncio
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.steps.caption import caption_shard
from regioncap.steps.judge import judge_shard
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.vlm.client import connect
from regioncap.vlm.dialects import Dialect
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.greeting import find_dialect
from regioncap.vlm.metrics import Queue, read_queue
from regioncap.work.counts import AskCounts
from regioncap.work.shard import Shard
from tests.builders import Place, records, rejected_rows
from tests.hurry import hurried
from tests.stand_ins import RefusalError, StandIn, has_images, serving, stand_ins

SERVERS = list(stand_ins())
# They take no field that they do not know.
STRICT = ["a hosted API", "vLLM before 0.12 behind a strict gateway"]
ROWS = 3
SWITCH_OFF = {"chat_template_kwargs": {"enable_thinking": False}}
OPTIONS = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.0, "seed": 42, "max_tokens": 512}


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    with hurried():
        yield


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.good_rows(ROWS)
    return place


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    with serving(stand_ins()[request.param]) as stand_in:
        yield stand_in


def endpoint(server: StandIn, patience: float = 60.0) -> Endpoint:
    return Endpoint(base_urls=(server.url,), model=server.model, api_key=server.key, patience_seconds=patience)


def dialect_of(
    server: StandIn, options: dict[str, Any] | None = None, structured: bool = True, patience: float = 60.0
) -> Dialect:
    async def find() -> Dialect:
        async with connect(endpoint(server, patience)) as client:
            return await find_dialect(client, options, structured=structured)

    return asyncio.run(find())


def caption(place: Place, server: StandIn, **changes: Any) -> tuple[Shard, AskCounts]:
    plan = place.plan(model=server.model, **{"max_tokens": 512, **changes})
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    counts = caption_shard(
        work=place.work, shard_id=shard_id, plan=plan, vlm=endpoint(server), progress=lambda at: None
    )
    validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    return Shard(place.work, plan, shard_id), counts


def questions(server: StandIn) -> list[dict[str, Any]]:
    return [body for body in server.requests if has_images(body)]


def test_the_form_of_structured_answers_is_found(server: StandIn) -> None:
    found = dialect_of(server, OPTIONS)
    assert found.form == server.form
    assert (found.token_limit, set(found.left_out)) == (server.token_limit, set(server.left_out))


def test_what_requests_have_is_found_without_schemas_too(server: StandIn) -> None:
    found = dialect_of(server, OPTIONS, structured=False)
    assert (found.token_limit, set(found.left_out)) == (server.token_limit, set(server.left_out))


@pytest.mark.parametrize("answer_format", ["structured", "free_text"])
def test_every_server_captions_every_row(server: StandIn, place: Place, answer_format: str) -> None:
    shard, counts = caption(place, server, answer_format=answer_format)
    captions = [[region.caption for region in record.regions] for record in records(shard)]
    assert captions == [["what is in <region1>", "what is in <region2>"]] * ROWS
    assert counts.asked == ROWS
    assert counts.schema_ignored == (answer_format == "structured" and server.form is None)
    for body in questions(server):
        assert body[server.token_limit] == 512 and not body.keys() & set(server.left_out)


def test_keys_of_requests_are_the_same_whatever_the_server(place: Place) -> None:
    kept = set()
    for name in ("SGLang", "TGI", "a hosted API"):
        with serving(stand_ins()[name]) as server:
            server.model, server.models = "a-model", ["a-model"]
            _, counts = caption(place, server)
            kept.add((counts.kept, counts.asked))
    assert kept == {(0, ROWS), (ROWS, 0)}


def test_its_own_sentence_is_told_where_it_refuses_all(server: StandIn, place: Place) -> None:
    server.refuses_images = "This model takes no pictures at all."
    with pytest.raises(VlmSetupError, match="This model takes no pictures at all"):
        caption(place, server)


def test_it_says_how_busy_it_is_if_it_says_anything(server: StandIn) -> None:
    try:
        with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics") as response:
            page = response.read().decode()
    except urllib.error.HTTPError as error:
        page = error.read().decode()
    assert read_queue(page) == (Queue(*server.says) if server.says else None)


@pytest.mark.parametrize("server", [name for name in SERVERS if name not in STRICT], indirect=True)
def test_extras_are_passed_on(server: StandIn, place: Place) -> None:
    shard, _ = caption(place, server, request_extras={**SWITCH_OFF, "min_p": 0.1})
    assert len(records(shard)) == ROWS
    # When it was greeted too: a model that is to answer without thoughts does so from the beginning.
    assert all(body["chat_template_kwargs"] == SWITCH_OFF["chat_template_kwargs"] for body in server.requests)


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("answer_format", ["structured", "free_text"])
def test_an_extra_that_it_does_not_take_is_named(place: Place, name: str, answer_format: str) -> None:
    with serving(stand_ins()[name]) as server:
        with pytest.raises(
            VlmSetupError, match="does not take chat_template_kwargs: correct it in the param request_extras"
        ):
            caption(place, server, answer_format=answer_format, request_extras=SWITCH_OFF)
        assert not questions(server)


def test_a_field_that_is_left_out_is_told_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with serving(stand_ins()["a hosted API"]) as server, caplog.at_level(logging.INFO):
        caption(place, server)
    told = [record.message for record in caplog.records if "takes no" in record.message]
    assert len(told) == 3 and all("Unrecognized request argument" in message for message in told)
    assert [record.message for record in caplog.records if "follow a schema by" in record.message] == [
        f"the server at {server.url} makes answers follow a schema by response_format json_schema"
    ]


def test_a_sampling_param_of_which_one_value_is_taken_is_told(place: Place) -> None:
    def fixed(body: dict[str, Any]) -> None:
        if body.get("temperature", 1) != 1:
            only = "Only the default (1) value is supported."
            raise RefusalError(
                400, f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. {only}"
            )

    with serving(StandIn(fixed, None)) as server:
        with pytest.raises(VlmSetupError, match=r"does not take the temperature 0\.7: set the param temperature"):
            caption(place, server, temperature=0.7, answer_format="free_text")
        shard, _ = caption(place, server, temperature=1, answer_format="free_text")
        assert len(records(shard)) == ROWS


@pytest.mark.parametrize("answer_format", ["structured", "free_text"])
class TestThinking:
    """A model that thinks, behind a server that tells its thoughts from its answers."""

    def test_one_that_answers_after_its_thoughts_is_not_said_to_ignore_schemas(
        self, place: Place, answer_format: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = stand_ins()["SGLang"]
        server.thinks = 300
        with serving(server):
            shard, counts = caption(place, server, answer_format=answer_format)
        assert records(shard)[0].regions[0].caption == "what is in <region1>"
        assert not counts.schema_ignored
        if answer_format == "structured":
            assert "thinks before it answers" in caplog.text and '"enable_thinking": false' in caplog.text

    def test_one_that_does_not_come_to_an_answer_is_told_before_the_first_row(
        self, place: Place, answer_format: str
    ) -> None:
        server = stand_ins()["SGLang"]
        server.thinks = 9000
        with serving(server):
            with pytest.raises(VlmSetupError, match=r'used up 1,024 tokens .*request_extras to .*"enable_thinking": f'):
                caption(place, server, answer_format=answer_format)
            assert not questions(server)
            shard, counts = caption(place, server, answer_format=answer_format, request_extras=SWITCH_OFF)
        assert (len(records(shard)), counts.schema_ignored) == (ROWS, False)

    def test_one_whose_answers_are_among_its_thoughts_is_told_before_the_first_row(
        self, place: Place, answer_format: str
    ) -> None:
        server = stand_ins()["SGLang"]
        server.message = lambda text: {"role": "assistant", "content": None, "reasoning_content": text}
        with serving(server), pytest.raises(VlmSetupError, match=r"reasoning_content.*without a reasoning parser"):
            caption(place, server, answer_format=answer_format)

    def test_thoughts_about_a_row_that_leave_no_room_reject_it_and_are_no_caption(
        self, place: Place, answer_format: str
    ) -> None:
        server = stand_ins()["SGLang"]

        def message(text: str) -> dict[str, Any]:
            if "region" not in text:
                return {"role": "assistant", "content": text}
            return {"role": "assistant", "content": "", "reasoning": text}

        server.message = message
        with serving(server):
            shard, _ = caption(place, server, answer_format=answer_format)
        assert not records(shard)
        assert {str(row.code) for row in rejected_rows(shard)} == {"empty"}
        assert all('"enable_thinking": false' in row.reason for row in rejected_rows(shard))


@pytest.mark.parametrize("answer", ["<think>Hm.</think>{}", "Hm. I should answer.\n</think>\n{}"])
def test_thoughts_in_the_text_are_told_from_the_answer(place: Place, answer: str) -> None:
    server = stand_ins()["llama.cpp"]
    server.message = lambda text: {"role": "assistant", "content": answer.replace("{}", text)}
    with serving(server):
        shard, counts = caption(place, server)
    assert json.dumps([record.answer for record in records(shard)]).count("Hm.") == 0
    assert (len(records(shard)), counts.schema_ignored) == (ROWS, False)


def test_a_server_without_a_list_of_its_models_is_asked_all_the_same(server: StandIn, place: Place) -> None:
    server.models = None
    shard, _ = caption(place, server)
    assert len(records(shard)) == ROWS


def test_a_model_that_a_hosted_api_does_not_list_is_told_with_the_nearest_ones(place: Place) -> None:
    with serving(stand_ins()["a hosted API"]) as server:
        server.model = "a-mode1"
        with pytest.raises(VlmSetupError, match=r"serves a-model, .* and \d\d more, not 'a-mode1'") as error:
            caption(place, server)
    assert len(str(error.value)) < 400


def test_a_list_that_names_models_with_what_they_are_holds_them_too(place: Place) -> None:
    # https://ai.google.dev/gemini-api/docs/openai lists models/gemini-..., and is asked for gemini-...
    with serving(stand_ins()["SGLang"]) as server:
        server.models = ["models/a-model"]
        shard, _ = caption(place, server)
    assert len(records(shard)) == ROWS


ANSWERED_WITH_ERRORS = [
    '{"object": "error", "message": "The model is being loaded.", "code": 50001}',
    '{"error": {"message": "The model is being loaded."}}',
    'data: {"error": {"message": "The model is being loaded."}}\n\ndata: [DONE]\n\n',
]


@pytest.mark.parametrize("body", ANSWERED_WITH_ERRORS)
def test_an_error_that_comes_with_status_200_is_told_in_its_own_words(body: str) -> None:
    server = stand_ins()["LMDeploy"]
    server.body = body
    with serving(server), pytest.raises(VlmUnavailableError, match=r"The model is being loaded\."):
        dialect_of(server, patience=1.0)


def test_an_answer_whose_end_has_no_room_for_white_space_follows_the_schema() -> None:
    server = stand_ins()["a hosted API"]
    server.message = lambda text: {"role": "assistant", "content": text.removesuffix("}") + "\n" * 50}
    server.finish_reason = "length"
    with serving(server):
        assert dialect_of(server, OPTIONS).form == server.form
        assert all(body.get("max_completion_tokens", 64) == 64 for body in server.requests)


def test_a_model_that_greets_at_length_is_asked_for_more_once() -> None:
    server = stand_ins()["a server that ignores schemas"]
    server.finish_reason = "length"
    with serving(server):
        assert dialect_of(server, OPTIONS).form is None
    assert sorted(body["max_tokens"] for body in server.requests)[-2:] == [64, 1024]


@pytest.mark.parametrize("structured", [True, False])
def test_a_failure_that_passes_is_no_refusal(structured: bool) -> None:
    server = stand_ins()["SGLang"]
    schema_of, failures = server.schema_of, [500]

    def fails_first(body: dict[str, Any]) -> dict[str, Any] | None:
        if failures:
            raise RefusalError(failures.pop(), "Internal server error")
        return schema_of(body)

    server.schema_of = fails_first
    with serving(server):
        assert dialect_of(server, OPTIONS, structured) == Dialect(server.form if structured else None)


def test_a_server_that_does_not_tell_probabilities_judges_nothing_and_the_shard_says_why(
    server: StandIn, place: Place
) -> None:
    plan = place.plan(model=server.model, judge="all", max_tokens=512)
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    asked = {"work": place.work, "shard_id": shard_id, "plan": plan, "vlm": endpoint(server)}
    caption_shard(**asked, progress=lambda at: None)
    judge_shard(**asked, judge=endpoint(server), progress=lambda at: None)
    judged = Shard(place.work, plan, shard_id).judged()
    assert judged is not None and judged.scores == []
    assert "probabilities of tokens" in str(judged.receipt.reason)
    validate_shard(work=place.work, shard_id=shard_id, plan=plan)
    made = records(Shard(place.work, plan, shard_id))
    assert [region.trust for record in made for region in record.regions] == [None] * 2 * ROWS
