"""From the connection `regioncap_vlm` to an endpoint.

The connection's host is the base URL (`http://vllm:8000/v1`), its password the API key if the server wants one. Its
extra holds `model` (the name the server serves), and may hold `max_in_flight` (a bound; below it, the server's queue
says how many questions are under way), `timeout_seconds` and `patience_seconds`.
"""

from airflow.sdk import BaseHook
from pydantic import TypeAdapter, ValidationError

from regioncap.vlm.client import Endpoint, VlmSetupError

VLM_CONNECTION = "regioncap_vlm"


def vlm_endpoint() -> Endpoint:
    """The endpoint to ask. Raises VlmSetupError where the connection does not describe one."""
    connection = BaseHook.get_connection(VLM_CONNECTION)
    try:
        return TypeAdapter(Endpoint).validate_python(
            {"base_url": connection.host, "api_key": connection.password or "", **connection.extra_dejson}
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise VlmSetupError(f"the connection {VLM_CONNECTION} does not describe a VLM server: {faults}") from None
