"""What the deployment decides, read from the environment."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from regioncap.config.deployment import Deployment, variable

ROOT = Path(__file__).resolve().parents[3]


def test_without_any_variable_there_are_defaults() -> None:
    deployment = Deployment.from_environment({})
    assert (deployment.schedule, deployment.wait, deployment.catch_up_days) == ("0 0 * * *", timedelta(hours=12), 7)
    assert deployment.allowed_roots == ("s3://drops", "s3://warehouse/region_captions")
    assert deployment.notifier is None and deployment.overdue is None


@pytest.mark.parametrize(
    ("environment", "profile"),
    [
        ({}, "generic"),
        ({"REGIONCAP_VLM_MODEL": ""}, "generic"),
        ({"REGIONCAP_VLM_MODEL": "someone/a-finetune"}, "generic"),
        ({"REGIONCAP_VLM_MODEL": "Qwen/Qwen3-VL-8B-Instruct", "REGIONCAP_MODEL_PROFILE": ""}, "qwen3-vl"),
        ({"REGIONCAP_VLM_MODEL": "someone/a-finetune", "REGIONCAP_MODEL_PROFILE": "smolvlm"}, "smolvlm"),
    ],
)
def test_the_model_profile_follows_from_the_models_name_unless_it_is_set(
    environment: dict[str, str], profile: str
) -> None:
    assert Deployment.from_environment(environment).model_profile == profile


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("", ""),
        ("Qwen/Qwen3.5-9B", "This deployment's model, Qwen/Qwen3.5-9B, is by its name of `qwen3-vl`."),
        ("acme/vlm", "This deployment's model, acme/vlm, is of no family that is known here."),
    ],
)
def test_it_is_told_of_which_family_the_deployments_model_is(model: str, told: str) -> None:
    assert Deployment.from_environment({"REGIONCAP_VLM_MODEL": model}).about_model == told


@pytest.mark.parametrize("nothing", ["", "  "])
def test_a_variable_that_is_set_to_nothing_is_not_set(nothing: str) -> None:
    everything = {variable(field): nothing for field in Deployment.model_fields}
    assert Deployment.from_environment(everything) == Deployment.from_environment({})


def test_every_variable_says_what_it_means_and_the_docs_name_it() -> None:
    docs = "".join((ROOT / name).read_text() for name in ("README.md", "docs/operations.md"))
    for field, declared in Deployment.model_fields.items():
        assert declared.description
        assert f"`{variable(field)}" in docs or f"\n{variable(field)}=" in docs, variable(field)


def test_nothing_but_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("REGIONCAP_WAIT_HOURS=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONCAP_CATCH_UP_DAYS", "3")
    deployment = Deployment.from_environment()
    assert (deployment.wait_hours, deployment.catch_up_days) == (12, 3)
    assert Deployment.from_environment({}).catch_up_days == 7


def test_times_are_in_hours() -> None:
    deployment = Deployment.from_environment({"REGIONCAP_WAIT_HOURS": "1.5", "REGIONCAP_OVERDUE_HOURS": "8"})
    assert (deployment.wait, deployment.overdue) == (timedelta(minutes=90), timedelta(hours=8))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGIONCAP_WAIT_HOURS", "25"),
        ("REGIONCAP_WAIT_HOURS", "noon"),
        ("REGIONCAP_WAIT_HOURS", "nan"),
        ("REGIONCAP_WAIT_HOURS", "inf"),
        ("REGIONCAP_CATCH_UP_DAYS", "-1"),
        ("REGIONCAP_CATCH_UP_DAYS", "1.5"),
        ("REGIONCAP_OVERDUE_HOURS", "8h"),
    ],
)
def test_what_is_no_number_in_its_bounds_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is '{value}': it has to be a (whole )?number from 0 to"):
        Deployment.from_environment({name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("REGIONCAP_CAPTION_MODE", "jointly", "it has to be one of joint, per_region"),
        ("REGIONCAP_MODEL_PROFILE", "qwen", "it has to be one of .*qwen2.5-vl, qwen3-vl"),
    ],
)
def test_a_choice_that_there_is_not_is_refused_with_those_that_there_are(name: str, value: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is '{value}': {wanted}"):
        Deployment.from_environment({name: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"REGIONCAP_WAIT_HOURS is .*; REGIONCAP_OVERDUE_HOURS is"):
        Deployment.from_environment({"REGIONCAP_WAIT_HOURS": "x", "REGIONCAP_OVERDUE_HOURS": "x"})


def test_any_param_can_have_a_default_of_the_deployment() -> None:
    assert Deployment.from_environment({"REGIONCAP_PARAMS": '{"shard_size": 256}'}).params == {"shard_size": 256}
    with pytest.raises(
        ValueError, match=r"REGIONCAP_PARAMS has to be JSON such as \{\"shard_size\": 256\}: .*dictionary"
    ):
        Deployment.from_environment({"REGIONCAP_PARAMS": "7"})


def test_a_notifier_is_a_class_its_arguments_and_the_events_it_is_for() -> None:
    text = json.dumps({"class": "slack.Notifier", "text": "{{ message }}", "on": ["success"]})
    notifier = Deployment.from_environment({"REGIONCAP_NOTIFIER": text}).notifier
    assert notifier is not None
    assert (notifier.path, notifier.arguments, notifier.events) == (
        "slack.Notifier",
        {"text": "{{ message }}"},
        {"success"},
    )


def test_a_notifiers_argument_may_be_called_anything() -> None:
    arguments = {"path": "p", "events": "e", "arguments": "a", "model_config": "c"}
    text = json.dumps({"class": "slack.Notifier", **arguments})
    notifier = Deployment.from_environment({"REGIONCAP_NOTIFIER": text}).notifier
    assert notifier is not None and (notifier.path, notifier.arguments) == ("slack.Notifier", arguments)


def test_a_notifiers_key_is_not_in_the_message() -> None:
    with pytest.raises(ValueError, match="REGIONCAP_NOTIFIER") as refused:
        Deployment.from_environment({"REGIONCAP_NOTIFIER": '{"class": 1, "token": "s3cret"}'})
    assert "s3cret" not in str(refused.value)


def test_without_events_a_notifier_is_for_what_went_wrong() -> None:
    notifier = Deployment.from_environment({"REGIONCAP_NOTIFIER": '{"class": "slack.Notifier"}'}).notifier
    assert notifier is not None and notifier.events == {"failure", "overdue"}


@pytest.mark.parametrize(
    "text", ["mail me", "[]", "{}", '{"class": 1}', '{"class": "a.B", "on": "failure"}', '{"class": "B", "on": 1}']
)
def test_a_notifier_that_makes_no_sense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"REGIONCAP_NOTIFIER has to be JSON such as .*SmtpNotifier"):
        Deployment.from_environment({"REGIONCAP_NOTIFIER": text})


def test_prices_are_of_tokens_of_a_servers_hours_or_both() -> None:
    assert Deployment.from_environment({}).prices is None
    prices = Deployment.from_environment(
        {"REGIONCAP_PRICES": '{"currency": "EUR", "prompt_million": 2, "completion_million": 8, "server_hour": 3.6}'}
    ).prices
    assert prices is not None and prices.currency == "EUR"
    assert prices.money(1_000_000, 500_000, 1000) == pytest.approx(2 + 4 + 1)
    hours = Deployment.from_environment({"REGIONCAP_PRICES": '{"currency": "EUR", "server_hour": 3.6}'}).prices
    assert hours is not None and hours.money(1_000_000, 1_000_000, 3600) == pytest.approx(3.6)


@pytest.mark.parametrize(
    "wrong",
    ['{"server_hour": 1}', '{"currency": "EUR", "gpu_hour": 1}', '{"currency": "EUR", "server_hour": -1}', "2.5",
     "much", '{"currency": "<b>", "server_hour": 1}', '{"currency": "EUR", "server_hour": Infinity}'],
)  # fmt: skip
def test_prices_that_make_no_sense_are_said_so(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"REGIONCAP_PRICES has to be JSON such as .*server_hour"):
        Deployment.from_environment({"REGIONCAP_PRICES": wrong})
