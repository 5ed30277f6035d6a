"""From an Airflow connection, by default `regioncap_vlm`, to what questions are put to.

The connection's host is the servers' base URL (`http://vllm:8000/v1`), or several with commas between them; its
password the API key if they want one. Its extra holds `model` (the name that the servers serve), and may hold
`max_in_flight` (a bound; below it, the servers' queues say how many questions are under way), `timeout_seconds`,
`patience_seconds` and `local_media_path` (see `Endpoint`).

With the host `managed`, caption tasks start a server on their own host and share it. The extra then holds `server` (how
vLLM is started: see `ServerConfig`) instead of `model`, and may hold `idle_seconds` too: for how long a server that
nobody uses stays.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from airflow.sdk import BaseHook
from pydantic import TypeAdapter, ValidationError

from regioncap.errors import VlmSetupError
from regioncap.vlm.client import Endpoint, Vlm
from regioncap.vlm.managed import IDLE_SECONDS, ManagedServer
from regioncap.vlm.server import ServerConfig

VLM_CONNECTION = "regioncap_vlm"
MANAGED = "managed"


def vlm_from_connection(
    conn_id: str = VLM_CONNECTION, waiting: Callable[[Sequence[str]], None] = lambda lines: None
) -> Vlm:
    """What the connection describes; `waiting` gets the log of a server that is being started.

    Raises VlmSetupError where the connection describes nothing.
    """
    connection = BaseHook.get_connection(conn_id)
    host, extra = connection.host or "", dict(connection.extra_dejson)
    try:
        if host.strip() == MANAGED:
            return _managed(extra, waiting)
        base_urls = tuple(url.strip() for url in host.split(",") if url.strip())
        if not base_urls:
            raise VlmSetupError(f"the connection {conn_id} has no host: set it to http://<server>:8000/v1")
        return _endpoint(base_urls=base_urls, api_key=connection.password or "", **extra)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise VlmSetupError(f"the connection {conn_id} does not describe a VLM server: {faults}") from None


def _managed(extra: dict[str, Any], waiting: Callable[[Sequence[str]], None]) -> ManagedServer:
    config = ServerConfig.model_validate(extra.pop("server", {}))
    idle_seconds = TypeAdapter(float).validate_python(extra.pop("idle_seconds", IDLE_SECONDS))
    # vLLM has no business with the secrets in the environment of Airflow's processes.
    environment = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    return ManagedServer(
        config=config,
        endpoint=_endpoint(base_urls=(), model=config.name, local_media_path=config.local_media_path, **extra),
        environment=environment,
        idle_seconds=idle_seconds,
        waiting=waiting,
    )


def _endpoint(**fields: Any) -> Endpoint:
    return TypeAdapter(Endpoint).validate_python(fields)
