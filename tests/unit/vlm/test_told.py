"""What servers tell of the model behind a name, each in its own way."""

import asyncio
import json
from typing import Any

import pytest

from regioncap.regions.served import Served, known_by
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.probe import tells
from regioncap.vlm.protocol import Models
from regioncap.vlm.told import of_answers, of_list
from tests.stand_ins import StandIn, serving

# Of vLLM 0.32, with an adapter.
VLLM = [
    {
        "id": "m", "object": "model", "created": 1790000000, "owned_by": "vllm", "root": "/models/m", "parent": None,
        "max_model_len": 4096, "permission": [{"id": "modelperm-1", "created": 1790000000}],
    },
    {"id": "street", "object": "model", "root": "/adapters/street", "parent": "m", "max_model_len": None},
]  # fmt: skip
LLAMA_CPP = [
    {
        "id": "m", "object": "model", "created": 1790000000, "owned_by": "llamacpp",
        "meta": {"vocab_type": 2, "n_vocab": 151936, "n_ctx_train": 32768, "n_embd": 3584, "n_params": 7615616512,
                 "size": 4677120000, "n_ctx": 8192},
    }
]  # fmt: skip


def listed(models: list[dict[str, Any]], name: str) -> Served | None:
    return of_list(Models.model_validate({"data": models}).data, name)


@pytest.mark.parametrize(
    ("models", "name", "told"),
    [
        (VLLM, "m", {"root": "/models/m"}),
        (VLLM, "street", {"root": "/adapters/street", "parent": "m", "parent.root": "/models/m"}),
        (
            LLAMA_CPP, "m",
            {"meta.n_params": "7615616512", "meta.n_vocab": "151936", "meta.n_embd": "3584", "meta.size": "4677120000"},
        ),
        ([{"id": "models/gemini", "object": "model", "owned_by": "google"}], "gemini", {}),
        # What is of another form than is known is not told, and none the worse.
        ([{"id": "m", "root": 7.5, "parent": ["a"], "meta": "large"}], "m", {}),
        ([{"id": "m", "root": "", "parent": None, "meta": {"size": None}}], "m", {}),
    ],
)  # fmt: skip
def test_of_a_list_that_counts_which_stays_the_same_for_a_model(
    models: list[dict[str, Any]], name: str, told: dict[str, str]
) -> None:
    found = listed(models, name)
    assert found is not None and found.model == told


def test_a_list_without_the_model_tells_nothing() -> None:
    assert listed(VLLM, "other") is None


def test_the_context_of_a_server_is_noted_and_makes_no_other_model() -> None:
    small, large = listed(VLLM, "m"), listed([VLLM[0] | {"max_model_len": 8192}], "m")
    assert small is not None and large is not None
    assert (small.server, large.server) == ({"max_model_len": "4096"}, {"max_model_len": "8192"})
    assert small.key == large.key and large.differs(small) is None


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/model_info", {"model_path": "/models/m", "weight_version": "default", "is_generation": True},
         {"model_path": "/models/m", "weight_version": "default"}),
        ("/get_model_info", {"model_path": "/models/m"}, {"model_path": "/models/m"}),
        ("/info", {"model_id": "org/m", "model_sha": "3a5e", "max_concurrent_requests": 128},
         {"model_id": "org/m", "model_sha": "3a5e"}),
        ("/api/tags", {"models": [{"name": "other", "digest": "aa"}, {"name": "m:latest", "digest": "bb", "size": 1}]},
         {"digest": "bb"}),
        ("/api/v0/models", {"data": [{"id": "m", "quantization": "4bit", "state": "loaded", "publisher": "p"}]},
         {"quantization": "4bit", "publisher": "p"}),
        ("/info", ["a", "list"], {}),
        ("/api/tags", {"models": {"m": 1}}, {}),
        ("/api/tags", {"models": [None, {"name": 7}]}, {}),
    ],
)  # fmt: skip
def test_servers_whose_list_tells_nothing_are_asked_where_they_tell(path: str, body: Any, told: dict[str, str]) -> None:
    with serving(StandIn(lambda body: None, None, model="m", models=["m"], elsewhere={path: body})) as server:
        found = asyncio.run(tells(Endpoint(base_urls=(server.url,), model="m")))
    assert found is not None and found.model == told


@pytest.mark.parametrize(
    ("answered_as", "told"),
    [
        ("gpt-4o-2024-08-06", {"answers.model": "gpt-4o-2024-08-06"}),
        ("gpt-4o", {}),
        # A gateway that chooses: it is not the name that has moved.
        ("claude", {}),
        (None, {}),
        ({"name": "gpt-4o"}, {}),
    ],
)
def test_answers_tell_which_snapshot_is_behind_a_name(answered_as: object, told: dict[str, str]) -> None:
    assert of_answers(answered_as, "gpt-4o") == told


def test_what_only_one_of_two_tells_is_no_difference() -> None:
    less, more = Served(model={"root": "/a"}), Served(model={"root": "/a", "digest": "1"})
    assert less.differs(more) is None and more.differs(less) is None
    assert more.differs(Served(model={"root": "/a", "digest": "2"})) == "digest is '1' instead of '2'"
    assert Served().differs(more) is None and Served().key == ""


def test_a_build_of_which_nothing_is_told_is_known_as_before_there_was_anything_to_tell() -> None:
    assert known_by("abc", None, None) == known_by("abc", Served(), None) == "abc"
    known = {
        known_by("abc", *pair) for pair in ((Served(model={"root": "a"}), None), (None, Served(model={"root": "a"})))
    }
    assert len(known) == 2 and "abc" not in known


def test_words_of_a_server_are_shown_in_one_line_and_not_endless() -> None:
    said = Served(model={"root": "a\nb" * 1000}).differs(Served(model={"root": "c"}))
    assert said is not None and "\n" not in said and len(said) < 300
    assert json.dumps(said)
