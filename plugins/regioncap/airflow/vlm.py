"""From an Airflow connection, by default `regioncap_vlm`, to what requests are sent to.

The connection's host is the servers' base URL (`http://vllm:8000/v1`), or several with commas between them; its
password the API key if they want one. Its extra holds `model` (the name that the servers serve), and may hold
`max_in_flight` (a bound; how many requests are under way below it is found out), `timeout_seconds`,
`patience_seconds` and `local_media_path` (see `Endpoint`).

With the host `managed`, caption tasks start a server on their own host and share it. The extra then holds `server` (how
vLLM is started: see `ServerConfig`) instead of `model`, and may hold `idle_seconds` too: for how long a server that
nobody uses stays. What is left empty in the connection's form counts as not given.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from pydantic import TypeAdapter, ValidationError

from regioncap.config.settings import BuildSettings
from regioncap.errors import VlmSetupError, VlmUnavailableError
from regioncap.regions.served import Served
from regioncap.vlm.client import connect
from regioncap.vlm.endpoint import Endpoint, Vlm
from regioncap.vlm.managed import IDLE_SECONDS, ManagedServer
from regioncap.vlm.probe import check, tells
from regioncap.vlm.server import ServerConfig

_log = logging.getLogger(__name__)

VLM_CONNECTION = "regioncap_vlm"
# What judges captions, if it is another one.
JUDGE_CONNECTION = "regioncap_judge"
MANAGED = "managed"

# Who tests a connection looks at the form meanwhile.
_TEST_SECONDS = 5.0


class VlmHook(BaseHook):
    """The connection type of a VLM in Airflow's UI. Its form is in `provider`; *Test* calls `test_connection`."""

    conn_name_attr = "vlm_conn_id"
    default_conn_name = VLM_CONNECTION
    conn_type = "regioncap_vlm"
    hook_name = "RegionCap VLM"

    def __init__(self, vlm_conn_id: str = VLM_CONNECTION) -> None:
        super().__init__()
        self.vlm_conn_id = vlm_conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Whether every server answers and serves the model, and what there is to say of each."""
        try:
            vlm = vlm_from_connection(self.vlm_conn_id)
        except VlmSetupError as error:
            return False, str(error)
        if not isinstance(vlm, Endpoint):
            return True, f"tasks start a server of {vlm.model} on their own host, when there is something to ask"
        return asyncio.run(_looks(vlm))


async def _looks(endpoint: Endpoint) -> tuple[bool, str]:
    looks = await asyncio.gather(*(_look(endpoint, url) for url in endpoint.base_urls))
    return all(good for good, _ in looks), "; ".join(said for _, said in looks)


async def _look(endpoint: Endpoint, url: str) -> tuple[bool, str]:
    one = replace(endpoint, base_urls=(url,), timeout_seconds=_TEST_SECONDS, patience_seconds=_TEST_SECONDS)
    try:
        async with connect(one) as client:
            await check(client)
    except (VlmSetupError, VlmUnavailableError) as error:
        return False, str(error)
    return True, f"the server at {url} serves {endpoint.model}"


def vlm_from_connection(
    conn_id: str = VLM_CONNECTION, waiting: Callable[[Sequence[str]], None] = lambda lines: None
) -> Vlm:
    """What the connection describes; `waiting` gets the log of a server that is being started.

    Raises VlmSetupError where the connection describes nothing.
    """
    connection = BaseHook.get_connection(conn_id)
    host = connection.host or ""
    extra = {name: value for name, value in connection.extra_dejson.items() if value not in (None, "", {})}
    for name, field in (("api_key", "password"), ("base_urls", "host")):
        if name in extra:
            raise VlmSetupError(f"the connection {conn_id} has {name} in its extra: it is the connection's {field}")
    try:
        if host.strip() == MANAGED:
            if twice := sorted(extra.keys() & {"model", "local_media_path"}):
                raise VlmSetupError(
                    f"the connection {conn_id} has {' and '.join(twice)} beside `server`: with the host managed, "
                    "they belong into `server`"
                )
            return _managed(extra, waiting)
        base_urls = tuple(url.strip() for url in host.split(",") if url.strip())
        if not base_urls:
            raise VlmSetupError(f"the connection {conn_id} has no host: set it to http://<server>:8000/v1")
        try:
            return _endpoint(base_urls=base_urls, api_key=connection.password or "", **extra)
        except VlmSetupError as error:
            raise VlmSetupError(f"the connection {conn_id} does not describe a VLM server: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise VlmSetupError(f"the connection {conn_id} does not describe a VLM server: {wrong}") from None


def judge_from_connection(conn_id: str = JUDGE_CONNECTION) -> Vlm | None:
    """What the connection of the judge describes; None where there is no such connection: the VLM itself judges then.

    Raises VlmSetupError where the connection describes nothing.
    """
    try:
        return vlm_from_connection(conn_id)
    except AirflowNotFoundException:
        return None


def told_of(vlm: Vlm) -> Served | None:
    """What is told now of the model behind its name; None where no server can be reached at once."""
    if vlm.served is not None or not isinstance(vlm, Endpoint):
        return vlm.served
    try:
        return asyncio.run(tells(vlm))
    except VlmSetupError as error:
        # Who asks it comes upon the same.
        _log.warning("which model is served cannot be told: %s", error)
        return None


def for_run(vlm: Vlm, settings: BuildSettings) -> Vlm:
    """What a run's questions are put to: a server of our own takes its marked images as they are.

    Raises VlmSetupError where the connection has it resize them.
    """
    if isinstance(vlm, ManagedServer):
        return replace(vlm, config=vlm.config.for_images(settings.profile, settings.max_pixels))
    return vlm


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
