"""What holds for every DAG of RegionCap, whoever writes it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from regioncap.airflow.params import run_settings
from regioncap.airflow.timetable import DayBefore
from regioncap.config.settings import BuildSettings, settings_of
from regioncap.errors import ParamsError

ROOT = Path(__file__).resolve().parents[2]


def _bag() -> BundleDagBag:
    return BundleDagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    bag = _bag()
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture(scope="module")
def dag(dags: dict[str, DAG]) -> DAG:
    return dags["region_captions"]


@pytest.fixture(scope="module")
def late(dags: dict[str, DAG]) -> DAG:
    return dags["region_captions_late"]


def test_parsing_a_dag_file_twice_gives_the_same_dag(dags: dict[str, DAG]) -> None:
    again = _bag().dags
    for dag_id, dag in dags.items():
        assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(again[dag_id])


def test_every_dag_says_what_it_is_and_whose(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert dag.doc_md and dag.description and "regioncap" in dag.tags
        for task in dag.tasks:
            assert task.owner == "regioncap", task.task_id
            assert task.doc_md, task.task_id


def test_every_task_ends_by_itself_and_is_tried_again(dags: dict[str, DAG]) -> None:
    for task in (task for dag in dags.values() for task in dag.tasks):
        assert task.execution_timeout is not None, task.task_id
        assert task.retries, task.task_id
        assert task.retry_policy is not None, task.task_id


def test_only_tasks_that_ask_the_vlm_take_a_gpu_slot(dag: DAG) -> None:
    on_gpu = {task.task_id: task.pool for task in dag.tasks if task.pool != "default_pool" or task.queue == "gpu"}
    assert on_gpu == {"propose": "regioncap_gpu", "shard.caption": "regioncap_gpu", "shard.judge": "regioncap_judge"}
    assert {dag.get_task(task_id).queue for task_id in on_gpu} == {"gpu"}


def test_runs_are_nightly_for_the_day_before_and_nothing_is_caught_up_unasked(dag: DAG) -> None:
    assert isinstance(dag.timetable, DayBefore)
    assert dag.timetable.summary == "0 0 * * *"
    assert dag.catchup is False


def test_every_task_is_weighed_by_the_kind_of_its_run(dags: dict[str, DAG]) -> None:
    # As the scheduler sees them.
    serialized = [DagSerialization.from_dict(DagSerialization.to_dict(dag)) for dag in dags.values()]
    for task in (task for dag in serialized for task in dag.tasks):
        nightly, backfill = (
            TaskInstance(task, None, run_id=f"{kind}__2026-11-24T00:00:00+00:00").priority_weight
            for kind in ("scheduled", "backfill")
        )
        assert nightly > 100_000_000 > backfill, task.task_id


def test_late_drops_are_looked_for_at_the_same_hour_and_built_by_this_dag(dag: DAG, late: DAG) -> None:
    assert late.timetable == dag.timetable
    assert late.get_task("build").partial_kwargs["trigger_dag_id"] == dag.dag_id
    assert late.get_task("late_drops").dag_to_run == dag.dag_id


def test_nobody_is_told_anything_unless_the_deployment_names_a_notifier(
    dag: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not dag.has_on_success_callback and not dag.deadline
    monkeypatch.setenv("REGIONCAP_OVERDUE_HOURS", "8")
    monkeypatch.setenv("REGIONCAP_NOTIFIER", '{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}')
    notifying = _bag().dags["region_captions"]
    assert notifying.has_on_success_callback and len(notifying.deadline) == 1
    DagSerialization.from_dict(DagSerialization.to_dict(notifying))


def test_the_form_has_a_titled_and_explained_param_for_every_setting(dag: DAG) -> None:
    assert set(dag.params) == {"drop_date", *BuildSettings.model_fields}
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema["title"] and schema["description_md"], name
        # Airflow's own group, which it opens by itself, is for the one param that most runs set.
        assert (schema.get("section") is None) == (name == "drop_date"), name


def test_help_has_its_code_in_bold(dag: DAG) -> None:
    """Airflow's form would put it on a ground that hides the line above."""
    assert not any("`" in dag.params.get_param(name).schema["description_md"] for name in dag.params)
    assert r"the file **\_READY** exists" in dag.params.get_param("readiness").schema["description_md"]
    assert r"or **\*** for all" in dag.params.get_param("keep_fields").schema["description_md"]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("temperature", 3.0),
        ("max_boxes", 0),
        ("box_format", "xyzw"),
        ("model_profile", "unknown"),
        ("drop_date", "yesterday"),
        ("file_name_prefix", "../captions"),
        ("shard_size", "many"),
        ("prompt", "There are {k} regions"),
        ("drops_uri", "s3://somewhere-else"),
        ("work_uri", "/etc"),
        ("export_formats", ["xml"]),
    ],
)
def test_the_form_refuses_a_wrong_value(dag: DAG, param: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(param).resolve(value)


def test_a_refusal_names_the_param_and_what_would_do(dag: DAG) -> None:
    with pytest.raises(ParamValidationError, match=r"3\.0 is greater than the maximum of 2"):
        dag.params.get_param("temperature").resolve(3.0)
    with pytest.raises(ParamValidationError, match=r"'xyzw' is not one of \['xywh', 'xyxy'"):
        dag.params.get_param("box_format").resolve("xyzw")
    with pytest.raises(ParamValidationError, match=r"'/etc' does not match .*/drops\|.*/warehouse"):
        dag.params.get_param("work_uri").resolve("/etc")


def test_bounds_of_numbers_are_in_the_help(dag: DAG) -> None:
    assert dag.params.get_param("max_boxes").schema["description_md"].endswith("At least 1, at most 50.")
    assert dag.params.get_param("top_p").schema["description_md"].endswith("Above 0, at most 1.")


def test_a_field_that_may_be_empty_can_be_emptied_in_the_form(dag: DAG) -> None:
    params = dag.params.dump()
    for name in ("system_prompt", "export_formats", "work_uri", "drop_date"):
        # What the form sends then.
        params[name] = dag.params.get_param(name).resolve(None)
    assert settings_of(params).system_prompt == ""
    assert settings_of(params).export_formats == []


def test_a_deployment_fixes_and_bounds_params(monkeypatch: pytest.MonkeyPatch) -> None:
    locks = {
        "approval": "always",
        "max_rejected_ratio": {"maximum": 0.2},
        "keep_builds": {"minimum": 3},
        "caption_mode": {"enum": ["joint", "auto"]},
        "system_prompt": "",
        "max_requests": {"maximum": 1000},
        "request_extras": {"top_k": 1},
    }
    monkeypatch.setenv("REGIONCAP_LOCKED_PARAMS", json.dumps(locks))
    monkeypatch.setenv("REGIONCAP_PARAMS", json.dumps({"max_rejected_ratio": 0.1, "keep_builds": 3, "max_requests": 9}))
    bag = _bag()
    assert not bag.import_errors
    params = bag.dags["region_captions"].params
    # Nightly runs have them too.
    assert params["approval"] == "always" and params["request_extras"] == {"top_k": 1}
    assert params.get_param("approval").schema["description_md"].endswith("**Fixed by this deployment.**")
    assert "Bounded by this deployment." in params.get_param("keep_builds").schema["description_md"]
    for name, value in {"approval": "always", "keep_builds": 4, "caption_mode": "auto", "system_prompt": None}.items():
        params.get_param(name).resolve(value)
    for name, value in {
        "approval": "never", "max_rejected_ratio": 0.3, "keep_builds": 2, "caption_mode": "per_region",
        "system_prompt": "Say yes.", "max_requests": None, "request_extras": {},
    }.items():  # fmt: skip
        with pytest.raises(ParamValidationError):
            params.get_param(name).resolve(value)


@pytest.mark.parametrize(
    ("locks", "told"),
    [
        ({"aproval": "always"}, "REGIONCAP_LOCKED_PARAMS has names that are no params: aproval"),
        ({"drop_date": "2026-10-05"}, "REGIONCAP_LOCKED_PARAMS has names that are no params: drop_date"),
        ({"max_boxes": {"maximum": 3}}, "REGIONCAP_LOCKED_PARAMS does not allow the default of max_boxes, 10"),
        ({"approval": "maybe"}, "REGIONCAP_LOCKED_PARAMS"),
    ],
)
def test_a_lock_that_makes_no_sense_is_an_import_error(
    locks: dict[str, object], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONCAP_LOCKED_PARAMS", json.dumps(locks))
    (error,) = (text for path, text in _bag().import_errors.items() if path.endswith("region_captions.py"))
    assert told in error


def test_a_run_from_before_a_lock_fails_and_names_the_param(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"drops_uri": "/d", "warehouse_uri": "/w", "model_profile": "demo", "approval": "never"}
    context: Any = {"params": params}
    assert run_settings(context).approval == "never"
    monkeypatch.setenv("REGIONCAP_LOCKED_PARAMS", '{"approval": "always"}')
    with pytest.raises(ParamsError, match="LOCKED_PARAMS does not allow the run's value of approval, 'never'"):
        run_settings(context)


def test_the_deployment_gives_defaults_to_params(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONCAP_PARAMS", '{"shard_size": 256}')
    assert _bag().dags["region_captions"].params["shard_size"] == 256
    monkeypatch.setenv("REGIONCAP_PARAMS", '{"shardsize": 256}')
    (error,) = _bag().import_errors.values()
    assert "REGIONCAP_PARAMS has names that are no params: shardsize" in error


def test_the_form_says_of_which_family_the_deployments_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for model, told in (("acme/vlm", "of no family that is known here"), ("Qwen/Qwen3.5-9B", "**qwen3-vl**")):
        monkeypatch.setenv("REGIONCAP_VLM_MODEL", model)
        param = _bag().dags["region_captions"].params.get_param("model_profile")
        assert f"This deployment's model, {model}, is" in param.schema["description_md"]
        assert told in param.schema["description_md"]


def test_a_variable_that_makes_no_sense_is_an_import_error_that_says_what_would_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REGIONCAP_WAIT_HOURS", "noon")
    errors = _bag().import_errors.values()
    assert len(errors) == 4
    assert all("REGIONCAP_WAIT_HOURS is 'noon': it has to be a number from 0 to 24" in error for error in errors)


def test_long_texts_get_a_field_of_several_lines(dag: DAG) -> None:
    for name in ("prompt", "system_prompt"):
        assert dag.params.get_param(name).schema["format"] == "multiline"


def test_the_form_accepts_its_own_defaults(dag: DAG) -> None:
    dag.params.validate()


def test_airflow_loads_the_plugin_of_the_installed_package_once() -> None:
    code = (
        "from airflow.plugins_manager import get_import_errors, get_plugin_info;"
        "assert not get_import_errors(), get_import_errors();"
        "assert [plugin['name'] for plugin in get_plugin_info()].count('regioncap') == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)
