"""From the connection `regioncap_vlm` to what questions are put to."""

import json
from pathlib import Path
from typing import Any

import pytest

from regioncap.airflow import vlm as module
from regioncap.airflow.vlm import VlmHook, for_run, told_of, vlm_from_connection
from regioncap.errors import VlmSetupError
from regioncap.processes import free_ports
from regioncap.regions.served import Served
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.managed import ManagedServer
from tests.builders import settings
from tests.fake_vlm import MODEL, FakeVlm, fake_vlm


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the connection."""

    def set_up(host: str, password: str = "", **extra: Any) -> None:
        connection = {"conn_type": "generic", "host": host, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_REGIONCAP_VLM", json.dumps(connection))

    return set_up


def test_a_server_with_its_key_and_bounds(connect: Any) -> None:
    connect("http://gpu:8000/v1", "key", model="m", max_in_flight=64)
    assert vlm_from_connection() == Endpoint(
        base_urls=("http://gpu:8000/v1",), model="m", api_key="key", max_in_flight=64
    )


def test_several_servers_with_commas_between_them(connect: Any) -> None:
    connect("http://a:8000/v1, http://b:8000/v1", model="m")
    endpoint = vlm_from_connection()
    assert isinstance(endpoint, Endpoint)
    assert endpoint.base_urls == ("http://a:8000/v1", "http://b:8000/v1")


def test_a_managed_server_is_called_by_its_model_and_revision(connect: Any) -> None:
    connect("managed", server={"python": "/v/python", "model": "org/model", "revision": "abc"}, idle_seconds=60)
    managed = vlm_from_connection()
    assert isinstance(managed, ManagedServer)
    assert (managed.model, managed.config.python, managed.idle_seconds) == ("org/model@abc", Path("/v/python"), 60)
    assert managed.endpoint.model == "org/model@abc"


def test_of_a_managed_server_it_is_known_without_asking_what_it_is_started_with(connect: Any) -> None:
    more = {"revision": "abc", "served_model_name": "m", "arguments": ["--quantization", "fp8"]}
    connect("managed", server={"python": "/v/python", "model": "org/model", **more})
    told = told_of(for_run(vlm_from_connection(), settings()))
    assert told == Served(model={"root": "org/model", "revision": "abc", "arguments": "--quantization fp8"})


def test_servers_that_cannot_be_reached_or_do_not_agree_tell_nothing_now(connect: Any, vlm: FakeVlm) -> None:
    with fake_vlm() as other:
        vlm.tells, other.tells = {"root": "/models/a"}, {"root": "/models/b"}
        connect(vlm.url, model=MODEL)
        assert told_of(vlm_from_connection()) == Served(model={"root": "/models/a"})
        connect(f"{vlm.url},{other.url}", model=MODEL)
        assert told_of(vlm_from_connection()) is None
        connect(other.url, model=MODEL)
    assert told_of(vlm_from_connection()) is None


def test_a_managed_server_is_told_of_the_runs_budget_of_pixels(connect: Any) -> None:
    connect("managed", server={"python": "/v/python", "model": "org/model"})
    managed = for_run(vlm_from_connection(), settings(model_profile="qwen2.5-vl", max_pixels=501_760))
    assert isinstance(managed, ManagedServer)
    assert managed.config.max_pixels == 501_760
    connect("http://gpu:8000/v1", model="m")
    assert for_run(vlm_from_connection(), settings()) == vlm_from_connection()


def test_airflows_secrets_do_not_get_into_a_managed_servers_environment(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    connect("managed", password="secret", server={"python": "/v/python", "model": "m"})
    managed = vlm_from_connection()
    assert isinstance(managed, ManagedServer)
    assert managed.environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert "secret" not in managed.environment.values()


@pytest.mark.parametrize(
    ("host", "extra", "message"),
    [
        ("", {"model": "m"}, "has no host: set it to"),
        ("http://gpu:8000/v1", {}, "model: "),
        ("http://gpu:8000/v1", {"model": "m", "max_inflight": 3}, "max_inflight: "),
        ("http://gpu:8000/v1", {"model": "m", "patience_seconds": "long"}, "patience_seconds: "),
        ("gpu:8000/v1", {"model": "m"}, "host: 'gpu:8000/v1' is no address"),
        ("http://gpu:8000/v1", {"model": "m", "max_in_flight": 0}, "max_in_flight: it is 0"),
        ("http://gpu:8000/v1", {"model": "m", "timeout_seconds": 0}, "timeout_seconds: it is 0"),
        ("http://gpu:8000/v1", {"model": " "}, "model: it is empty"),
        ("http://gpu:8000/v1", {"model": "m", "api_key": "k"}, "has api_key in its extra.*password"),
        ("managed", {"server": {"python": "/p", "model": "m"}, "api_key": "k"}, "has api_key in its extra"),
        ("managed", {"server": {"model": "m"}}, "python: "),
        ("managed", {"server": {"python": "/p", "model": "m", "dtype": "int3"}}, "dtype: "),
        ("managed", {"server": {"python": "/p", "model": "m"}, "idle_seconds": "long"}, "valid number"),
        ("managed", {"server": {"python": "/p", "model": "m"}, "model": "m"}, "has model beside `server`"),
    ],
)
def test_what_describes_no_server_is_said_with_the_field_at_fault(
    connect: Any, host: str, extra: dict[str, Any], message: str
) -> None:
    connect(host, **extra)
    with pytest.raises(VlmSetupError, match=message):
        vlm_from_connection()


def test_what_is_left_empty_in_the_form_is_not_given(connect: Any) -> None:
    connect("http://gpu:8000/v1", model="m", max_in_flight=None, local_media_path="", server={}, idle_seconds=None)
    assert vlm_from_connection() == Endpoint(base_urls=("http://gpu:8000/v1",), model="m")
    server = {"python": "/v/python", "model": "m"}
    connect("managed", model="", local_media_path=None, server=server)
    assert isinstance(vlm_from_connection(), ManagedServer)


def test_a_connections_test_says_that_the_model_is_served(connect: Any, vlm: FakeVlm) -> None:
    connect(vlm.url, model=MODEL)
    assert VlmHook().test_connection() == (True, f"the server at {vlm.url} serves {MODEL}")


def test_a_connections_test_says_what_is_served_instead(connect: Any, vlm: FakeVlm) -> None:
    connect(vlm.url, model="another")
    good, said = VlmHook().test_connection()
    assert not good and f"serves {MODEL}, not 'another'" in said


def test_a_connections_test_looks_at_every_server(connect: Any, vlm: FakeVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TEST_SECONDS", 2.0)
    connect(f"{vlm.url},http://127.0.0.1:{free_ports(1)[0]}/v1", model=MODEL)
    good, said = VlmHook().test_connection()
    assert not good and f"{vlm.url} serves {MODEL}; the server at " in said and "did not answer" in said


def test_a_connections_test_starts_no_server(connect: Any) -> None:
    connect("managed", server={"python": "/v/python", "model": "org/model"})
    good, said = VlmHook().test_connection()
    assert good and "tasks start a server of org/model" in said


def test_a_connections_test_says_which_field_is_at_fault(connect: Any) -> None:
    connect("http://gpu:8000/v1", model="m", max_in_flight="many")
    good, said = VlmHook().test_connection()
    assert not good and "max_in_flight: " in said
