"""What the deployment decides, read from the environment."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from regioncap.config import deployment as module
from regioncap.config.deployment import Deployment


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


@pytest.mark.parametrize("nothing", ["", "  "])
def test_a_variable_that_is_set_to_nothing_is_not_set(nothing: str) -> None:
    everything = dict.fromkeys(re.findall(r"^REGIONCAP_\w+", str(module.__doc__), re.MULTILINE), nothing)
    assert len(everything) > 10
    assert Deployment.from_environment(everything) == Deployment.from_environment({})


def test_the_docstring_names_every_variable_that_is_read() -> None:
    read = set(re.findall(r'"(REGIONCAP_\w+)"', Path(str(module.__file__)).read_text()))
    assert read == set(re.findall(r"^REGIONCAP_\w+", str(module.__doc__), re.MULTILINE))


def test_times_are_in_hours() -> None:
    deployment = Deployment.from_environment({"REGIONCAP_WAIT_HOURS": "1.5", "REGIONCAP_OVERDUE_HOURS": "8"})
    assert (deployment.wait, deployment.overdue) == (timedelta(minutes=90), timedelta(hours=8))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGIONCAP_WAIT_HOURS", "25"),
        ("REGIONCAP_WAIT_HOURS", "noon"),
        ("REGIONCAP_WAIT_HOURS", "nan"),
        ("REGIONCAP_CATCH_UP_DAYS", "-1"),
        ("REGIONCAP_OVERDUE_HOURS", "8h"),
    ],
)
def test_what_is_no_number_in_its_bounds_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is '{value}': it has to be a number from 0 to"):
        Deployment.from_environment({name: value})


def test_any_param_can_have_a_default_of_the_deployment() -> None:
    assert Deployment.from_environment({"REGIONCAP_PARAMS": '{"shard_size": 256}'}).params == {"shard_size": 256}
    with pytest.raises(ValueError, match="REGIONCAP_PARAMS is '7': it has to be a JSON object"):
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


def test_without_events_a_notifier_is_for_what_went_wrong() -> None:
    notifier = Deployment.from_environment({"REGIONCAP_NOTIFIER": '{"class": "slack.Notifier"}'}).notifier
    assert notifier is not None and notifier.events == {"failure", "overdue"}


@pytest.mark.parametrize(
    "text", ["mail me", "[]", "{}", '{"class": 1}', '{"class": "a.B", "on": "failure"}', '{"class": "B", "on": 1}']
)
def test_a_notifier_that_makes_no_sense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"REGIONCAP_NOTIFIER has to be JSON such as .*SmtpNotifier"):
        Deployment.from_environment({"REGIONCAP_NOTIFIER": text})
