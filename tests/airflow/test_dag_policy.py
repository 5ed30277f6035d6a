"""What holds for every DAG of RegionCap, whoever writes it."""

import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk import DAG, CronPartitionTimetable
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from regioncap.builds.settings import BuildSettings

ROOT = Path(__file__).resolve().parents[2]


def _bag() -> BundleDagBag:
    return BundleDagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")


@pytest.fixture(scope="module")
def dag() -> DAG:
    bag = _bag()
    assert bag.import_errors == {}
    return bag.dags["region_captions"]


def test_parsing_a_dag_file_twice_gives_the_same_dag(dag: DAG) -> None:
    again = _bag().dags["region_captions"]
    assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(again)


def test_the_dag_says_what_it_is_and_whose(dag: DAG) -> None:
    assert dag.doc_md and dag.description and "regioncap" in dag.tags
    for task in dag.tasks:
        assert task.owner == "regioncap", task.task_id
        assert task.doc_md, task.task_id


def test_every_task_ends_by_itself_and_is_tried_again(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.execution_timeout is not None, task.task_id
        assert task.retries, task.task_id
        assert task.retry_policy is not None, task.task_id


def test_only_tasks_that_ask_the_vlm_take_a_gpu_slot(dag: DAG) -> None:
    on_gpu = {task.task_id for task in dag.tasks if task.pool == "regioncap_gpu" or task.queue == "gpu"}
    assert on_gpu == {"propose", "shard.caption"}
    caption = dag.get_task("shard.caption")
    assert (caption.pool, caption.queue) == ("regioncap_gpu", "gpu")


def test_runs_are_nightly_for_the_day_before_and_nothing_is_caught_up_unasked(dag: DAG) -> None:
    timetable = dag.timetable
    assert isinstance(timetable, CronPartitionTimetable)
    assert (timetable.expression, timetable.run_offset, timetable.key_format) == ("0 0 * * *", -1, "%Y-%m-%d")
    assert dag.catchup is False


def test_the_form_has_a_titled_and_explained_param_for_every_setting(dag: DAG) -> None:
    assert set(dag.params) == {"drop_date", *BuildSettings.model_fields}
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema["title"] and schema["section"], name
        assert schema["description_md"], name


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
    ],
)
def test_the_form_refuses_a_wrong_value(dag: DAG, param: str, value: object) -> None:
    with pytest.raises(ParamValidationError):
        dag.params.get_param(param).resolve(value)


def test_the_form_accepts_its_own_defaults(dag: DAG) -> None:
    dag.params.validate()


def test_airflow_loads_one_plugin_file_and_leaves_the_package_alone() -> None:
    code = (
        "import sys; from airflow.plugins_manager import get_import_errors;"
        "assert not get_import_errors(), get_import_errors(); assert 'records' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
