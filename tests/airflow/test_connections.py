"""Which of Airflow's connections the operators use."""

import json
import math
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator

from deploy.docker import init
from deploy.local import stack
from deploy.local.credentials import load_or_create
from regioncap.airflow.build import (
    CaptionOperator,
    PlanOperator,
    ProposeOperator,
    RenderOperator,
    ShardsToProposeOperator,
    ValidateOperator,
)
from regioncap.airflow.drop_ready import DropReadyTrigger
from regioncap.airflow.late import LateDropsOperator
from regioncap.airflow.places import briefly, open_drop, open_partition, open_warehouse, open_work
from regioncap.airflow.publish import ApprovalsOperator, ApproveOperator, PublishOperator
from regioncap.airflow.vlm import VlmHook, vlm_from_connection
from regioncap.airflow.wait_for_drop import WaitForDrop
from regioncap.errors import VlmSetupError
from regioncap.storage import patience
from regioncap.vlm.endpoint import Endpoint
from tests import second_bucket

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {"drops_conn_id": "street_drops", "warehouse_conn_id": "street_warehouse", "vlm_conn_id": "street_vlm"}
OURS = {
    "drops_conn_id": "regioncap_drops",
    "warehouse_conn_id": "regioncap_warehouse",
    "vlm_conn_id": "regioncap_vlm",
}
TAKES: list[tuple[Any, set[str]]] = [
    (partial(WaitForDrop, patience=timedelta(0), poke_interval=timedelta(1)), {"drops_conn_id"}),
    (PlanOperator, set(OURS)),
    (partial(ShardsToProposeOperator, plan={}), {"warehouse_conn_id"}),
    (partial(ProposeOperator, plan={}, shard="0"), set(OURS)),
    (partial(RenderOperator, plan={}, shard="0"), {"drops_conn_id", "warehouse_conn_id"}),
    (partial(CaptionOperator, plan={}, shard="0"), {"warehouse_conn_id", "vlm_conn_id"}),
    (partial(ValidateOperator, plan={}, shard="0"), {"drops_conn_id", "warehouse_conn_id"}),
    (partial(ApprovalsOperator, plan={}), {"warehouse_conn_id"}),
    (partial(ApproveOperator, plan={}, asks=True), {"drops_conn_id", "warehouse_conn_id"}),
    (partial(PublishOperator, plan={}, asset=Asset("a")), {"drops_conn_id", "warehouse_conn_id"}),
    (partial(LateDropsOperator, dag_to_run="a", days=1), {"drops_conn_id", "warehouse_conn_id"}),
]


def connections_of(operator: BaseOperator) -> dict[str, str]:
    return {name: getattr(operator, name) for name in OURS if hasattr(operator, name)}


@pytest.mark.parametrize(("make", "takes"), TAKES)
def test_every_operator_takes_the_connections_that_it_uses(make: Any, takes: set[str]) -> None:
    assert connections_of(make(task_id="t")) == {name: OURS[name] for name in takes}
    others = {name: OTHERS[name] for name in takes}
    assert connections_of(make(task_id="t", **others)) == others


@pytest.mark.parametrize(("make", "takes"), TAKES)
def test_a_dag_names_its_connections_once_in_its_default_args(make: Any, takes: set[str]) -> None:
    with DAG("street_captions", default_args=OTHERS):
        assert connections_of(make(task_id="t")) == {name: OTHERS[name] for name in takes}


def test_mapped_steps_get_the_connections_of_the_default_args_too() -> None:
    with DAG("street_captions", default_args=OTHERS):
        mapped = ProposeOperator.partial(task_id="t", plan={}).expand(shard=["0"])
        asking = ApproveOperator.partial(task_id="a", plan={}).expand(asks=[True])
    assert connections_of(mapped.unmap({"shard": "0"})) == OTHERS
    assert connections_of(asking.unmap({"asks": True})) == {
        name: OTHERS[name] for name in ("drops_conn_id", "warehouse_conn_id")
    }


def test_the_trigger_remembers_its_connection() -> None:
    asked = {
        "drops_uri": "s3://d",
        "date": "2026-10-05",
        "readiness": "any_file",
        "deadline": 0.0,
        "poke_interval": 1.0,
    }
    trigger = DropReadyTrigger(**asked, drops_conn_id="street_drops")
    _, kwargs = trigger.serialize()
    assert kwargs == {**asked, "drops_conn_id": "street_drops"}
    assert DropReadyTrigger(**kwargs).serialize() == trigger.serialize()


@pytest.mark.parametrize(
    "opens", [open_drop, open_work, open_partition, lambda uri, date, conn: open_warehouse(uri, conn)]
)
def test_a_place_is_opened_with_the_connection_that_is_named(monkeypatch: pytest.MonkeyPatch, opens: Any) -> None:
    extra = {"endpoint_url": "http://street:1", "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "street", "password": "s", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_STREET", json.dumps(connection))
    store = opens("s3://bucket/prefix", "2026-10-05", "street")
    assert store._client.meta.endpoint_url == "http://street:1"


def test_a_place_whose_connection_assumes_a_role_goes_on_with_new_keys_before_the_old_ones_expire(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys of fifteen minutes, which is when new ones are got, so that nobody has to wait."""
    own = load_or_create(tmp_path / "credentials.json")
    with second_bucket.running(tmp_path / "moto.log", own) as port:
        service = {"endpoint_url": f"http://127.0.0.1:{port}"}
        role = {
            "role_arn": "arn:aws:iam::123456789012:role/datasets",
            "assume_role_kwargs": {"DurationSeconds": 900},
            "region_name": "us-east-1",
            "service_config": {"s3": service, "sts": service},
        }
        connection = {"conn_type": "aws", "login": own.access_key, "password": own.secret_key, "extra": role}
        monkeypatch.setenv("AIRFLOW_CONN_STREET", json.dumps(connection))
        store: Any = open_partition("s3://warehouse/captions", "2026-10-05", "street")
        keys: list[str] = []

        def note(request: Any, **_: Any) -> None:
            signed = request.headers["Authorization"]
            keys.append(re.search(r"Credential=(\w+)/", signed if isinstance(signed, str) else signed.decode())[1])  # type: ignore[index]

        store._client.meta.events.register("before-send.s3", note)
        for number in range(3):
            store.write(f"{number}.txt", b"a record")
            assert store.read(f"{number}.txt") == b"a record"
    assert len(set(keys)) > 1 and own.access_key not in keys


def test_a_place_is_asked_for_as_long_as_the_deployment_says_and_briefly_where_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 300.0)
    monkeypatch.setattr(patience, "_bound", math.inf)
    monkeypatch.setenv("REGIONCAP_STORAGE_PATIENCE_SECONDS", "1800")
    connection = {"conn_type": "aws", "login": "street", "password": "s", "extra": {"region_name": "us-east-1"}}
    monkeypatch.setenv("AIRFLOW_CONN_STREET", json.dumps(connection))
    usual: Any = open_drop("s3://bucket/prefix", "2026-10-05", "street")
    with briefly():
        brief: Any = open_drop("s3://bucket/prefix", "2026-10-05", "street")
    assert patience.PATIENCE_SECONDS == 1800
    assert (usual._client.meta.config.connect_timeout, usual._client.meta.config.read_timeout) == (10, 60)
    assert (brief._client.meta.config.connect_timeout, brief._client.meta.config.read_timeout) == (5, 10)


def written_by(who: str, folder: Path) -> dict[str, Any]:
    """The connections that come with RegionCap: the template's, those of the embedded stack and of the init job."""
    if who == "template":
        template: dict[str, Any] = json.loads((ROOT / "include" / "connections.example.json").read_text())
        return template
    if who == "stack":
        return stack.connections("http://s3", load_or_create(folder / "credentials.json"), stack.demo_server(), 8000)
    place = {f"REGIONCAP_S3_{name}": "s3" for name in ("REGION", "ENDPOINT", "ACCESS_KEY", "SECRET_KEY")}
    server = {"REGIONCAP_VLM_URL": "http://vllm:8000/v1", "REGIONCAP_VLM_API_KEY": "key", "REGIONCAP_VLM_MODEL": "m"}
    return init.connections(place | server)


@pytest.mark.parametrize("who", ["template", "stack", "init"])
def test_the_vlm_connections_that_come_with_regioncap_have_its_form(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = written_by(who, tmp_path)["regioncap_vlm"]
    assert connection["conn_type"] == VlmHook.conn_type
    monkeypatch.setenv("AIRFLOW_CONN_REGIONCAP_VLM", json.dumps(connection))
    assert isinstance(vlm_from_connection(), Endpoint)


def test_a_fault_of_a_connection_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STREET_VLM", json.dumps({"conn_type": "generic"}))
    with pytest.raises(VlmSetupError, match="the connection street_vlm has no host"):
        vlm_from_connection("street_vlm")


def test_the_second_dag_of_the_docs_has_its_own_places_connections_and_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONCAP_ALLOWED_ROOTS", "s3://drops,s3://warehouse,s3://street")
    section = (ROOT / "docs" / "operations.md").read_text().split("## Two datasets in one Airflow")[1]
    source = (ROOT / "dags" / "region_captions.py").read_text()
    for removed, added in re.findall(r"((?:^- .*\n)+)((?:^\+ .*\n)+)", section.split("```")[1], re.MULTILINE):
        old, new = (re.sub(r"^[-+] ", "", lines, flags=re.MULTILINE).rstrip() for lines in (removed, added))
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    module: dict[str, Any] = {"__doc__": "docs"}
    exec(compile(source, "street_captions.py", "exec"), module)
    dag = module["plan"].dag
    assert dag.dag_id == "street_captions" and dag.deadline is None
    assert (dag.params["drops_uri"], dag.params["warehouse_uri"]) == ("s3://street/drops", "s3://street/captions")
    used = [connections_of(task) for task in dag.tasks if not task.is_mapped]
    assert all(each.items() <= OTHERS.items() for each in used) and sum(map(len, used)) > 10
    assert {asset.name for asset in module["publish"].outlets} == {"street_captions"}
