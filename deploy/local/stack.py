"""The whole stack as one context manager: bucket, vLLM and Airflow up and ready, or all of it gone."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.local import airflow, bucket
from deploy.local.credentials import Credentials, load_or_create
from deploy.local.paths import DEMO_MODEL, LOGS, POOLS, STATE, VLLM_PYTHON, make_private
from regioncap.errors import ServiceError
from regioncap.processes import Service, free_ports
from regioncap.vlm import server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DAG = "region_captions"
DROPS_URI = "s3://drops"
WAREHOUSE_URI = "s3://warehouse/region_captions"
SERVED_MODEL = "regioncap-demo"
# In the stack's folder while it runs: Airflow's address, for other programs.
ADDRESS = "airflow.url"


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    api: airflow.AirflowApi
    s3: "S3Client"
    s3_url: str
    vlm_url: str
    password_file: Path
    services: dict[str, Service]


def demo_server() -> server.ServerConfig:
    """vLLM on the CPU with the bundled model."""
    return server.ServerConfig(
        python=VLLM_PYTHON,
        model=str(DEMO_MODEL),
        served_model_name=SERVED_MODEL,
        device="cpu",
        # The CPU kernels of bfloat16 need AVX-512; float32 runs everywhere, and this model is tiny.
        dtype="float32",
        max_model_len=1024,
        # On two cores 47 images/s, against 32 with a quarter of it.
        max_num_seqs=128,
    )


@contextmanager
def run_stack(
    say: Callable[[str], None],
    state: Path = STATE,
    airflow_port: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Start everything at once, wait until it is ready, set Airflow up; stop everything at the end.

    `state` is the folder for data, logs and secrets; `settings` are further variables of the deployment.
    Raises ServiceError where a part does not come up, or another stack runs over the same folder.
    """
    # In it are the bucket's files, Airflow's database and logs.
    make_private(state)
    logs = state / LOGS.name
    with ExitStack() as stack:
        _only_one(stack, state)
        credentials = load_or_create(state / "credentials.json")
        s3_port, vlm_port, any_port = free_ports(3)
        ui_port = airflow_port or any_port
        home = state / "airflow"
        vlm = demo_server()
        variables = airflow.environment(
            home,
            ui_port,
            credentials,
            {
                "REGIONCAP_DROPS_URI": DROPS_URI,
                "REGIONCAP_WAREHOUSE_URI": WAREHOUSE_URI,
                "REGIONCAP_ALLOWED_ROOTS": "s3://drops,s3://warehouse",
                "REGIONCAP_MODEL_PROFILE": "demo",
                # What the demo model does better (include/demo_model/README.md has the figures).
                "REGIONCAP_CAPTION_MODE": "per_region",
                **(settings or {}),
            },
        )
        say("starting the bucket (SeaweedFS), vLLM and Airflow")
        services = {
            "bucket": stack.enter_context(bucket.start(state / "bucket", s3_port, credentials, logs / "bucket.log")),
            "vllm": stack.enter_context(server.start(vlm, vlm_port, logs / "vllm.log", api_key=credentials.vlm_key)),
        }
        airflow.set_up(home, variables)
        for part in airflow.PARTS:
            services[part] = stack.enter_context(airflow.start(part, variables, logs))
        services["bucket"].wait_ready(lambda: bucket.is_ready(s3_port), bucket.READY_SECONDS)
        s3 = bucket.client(s3_port, credentials)
        bucket.make_buckets(s3)
        say("the bucket is ready")
        api = airflow.AirflowApi(f"http://127.0.0.1:{ui_port}")

        def airflow_ready() -> bool:
            for part in airflow.PARTS:
                services[part].check()
            return api.is_ready()

        services["api-server"].wait_ready(airflow_ready, airflow.READY_SECONDS)
        api.log_in(airflow.USER, airflow.password(home))
        s3_url = f"http://127.0.0.1:{s3_port}"
        _set_up_airflow(api, s3_url, credentials, vlm, vlm_port)
        api.wait_for_dag(DAG)
        say("Airflow is ready")
        services["vllm"].wait_ready(lambda: server.is_ready(vlm_port), server.READY_SECONDS)
        say("vLLM is ready")
        address = state / ADDRESS
        stack.callback(address.unlink)
        address.write_text(api.url)
        yield Stack(api, s3, s3_url, server.base_url(vlm_port), airflow.password_file(home), services)
        say("stopping everything")


def _only_one(stack: ExitStack, state: Path) -> None:
    lock = stack.enter_context((state / "stack.lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ServiceError(
            f"another stack runs over {state}: stop it (Ctrl-C where `make serve` or `make demo` runs), or wait for it"
        ) from None


def _set_up_airflow(
    api: airflow.AirflowApi, s3_url: str, credentials: Credentials, vlm: server.ServerConfig, vlm_port: int
) -> None:
    """The pools of `include/pools.json`, and the connections that the DAG asks for."""
    for name, pool in json.loads(POOLS.read_text()).items():
        api.put_pool({"name": name, **pool})
    for name, connection in connections(s3_url, credentials, vlm, vlm_port).items():
        api.put_connection({"connection_id": name, **connection})


def connections(
    s3_url: str, credentials: Credentials, vlm: server.ServerConfig, vlm_port: int
) -> dict[str, dict[str, Any]]:
    """The connections that the DAG asks for, by name."""
    bucket = {
        "conn_type": "aws",
        "login": credentials.access_key,
        "password": credentials.secret_key,
        "extra": json.dumps({"endpoint_url": s3_url, "region_name": "us-east-1"}),
    }
    vllm = {
        "conn_type": "regioncap_vlm",
        "host": server.base_url(vlm_port),
        "password": credentials.vlm_key,
        "extra": json.dumps({"model": vlm.name, "max_in_flight": vlm.max_num_seqs}),
    }
    return {"regioncap_drops": bucket, "regioncap_warehouse": bucket, "regioncap_vlm": vllm}
