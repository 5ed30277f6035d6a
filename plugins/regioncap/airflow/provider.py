"""What Airflow is told of RegionCap as a provider: the connection type of a VLM, with a form of its own in the UI.

Every process of Airflow reads this when it starts, so nothing else is imported here.
"""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Called by Airflow, through the entry point `apache_airflow_provider`."""
    return {
        "package-name": "regioncap",
        "name": "RegionCap",
        "description": "Region-caption datasets from image drops.",
        "connection-types": [
            {
                "connection-type": "regioncap_vlm",
                "hook-class-name": "regioncap.airflow.vlm.VlmHook",
                "hook-name": "RegionCap VLM",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"host": "Base URLs", "password": "API key"},
                    "placeholders": {
                        "host": "http://vllm:8000/v1, several with commas between them, or: managed",
                        "password": "if the servers want one",
                    },
                },
                # None has a default: what the form shows, it writes into the connection.
                "conn-fields": {
                    "model": _field(
                        "Model", "string", "The name that the servers serve. Empty with managed servers: see Server."
                    ),
                    "max_in_flight": _field(
                        "Requests under way", "integer", "The most that a task has under way at once. Empty: 256."
                    ),
                    "timeout_seconds": _field(
                        "Timeout",
                        "number",
                        "Seconds for one request, from sending to the last token; longer where a server is slow. "
                        "Empty: 300.",
                    ),
                    "patience_seconds": _field(
                        "Patience",
                        "number",
                        "Seconds that servers which answer nobody (restarting, overloaded) are waited for before the "
                        "task fails, to be tried again. Empty: 300.",
                    ),
                    "local_media_path": _field(
                        "Local media path",
                        "string",
                        "Where the work area is a folder that the servers see too: the folder given to vLLM as "
                        "--allowed-local-media-path. Images in it are named, not sent.",
                    ),
                    "server": _field(
                        "Server",
                        "object",
                        "With managed as base URL: how tasks start vLLM on their own host, as JSON such as "
                        '{"python": "/opt/vllm/bin/python", "model": "Qwen/Qwen2.5-VL-7B-Instruct"}. Else empty.',
                    ),
                    "idle_seconds": _field(
                        "Idle time",
                        "number",
                        "With managed as base URL: for how many seconds a server that nobody uses stays. Empty: 300.",
                    ),
                },
            }
        ],
    }


def _field(label: str, kind: str, description: str) -> dict[str, Any]:
    # None has to be filled in.
    return {"label": label, "description": description, "schema": {"type": [kind, "null"]}}
