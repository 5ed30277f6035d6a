"""What Airflow makes of RegionCap's provider metadata: the form of a VLM connection."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from regioncap.airflow.provider import get_provider_info
from regioncap.airflow.vlm import VlmHook
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.managed import IDLE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
(CONNECTION,) = get_provider_info()["connection-types"]

# Prints what the API gives to the page of connections.
SCRIPT = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager

(meta,) = (each for each in HookMetaService.hook_meta_data() if each.connection_type == "regioncap_vlm")
hook = ProvidersManager().hooks["regioncap_vlm"]
print(json.dumps({"page": meta.model_dump(mode="json"), "testable": hook.connection_testable,
                  "argument": hook.connection_id_attribute_name}))
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The form as Airflow has it where RegionCap is installed."""
    site = tmp_path_factory.mktemp("site-packages")
    info = site / "regioncap-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: regioncap\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[apache_airflow_provider]\nprovider_info = regioncap.airflow.provider:get_provider_info\n"
    )
    path = os.pathsep.join((str(site), str(ROOT / "plugins")))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("schema", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_the_metadata_is_valid_by_airflows_own_schemas(schema: str) -> None:
    rules = json.loads((Path(airflow.__path__[0]) / schema).read_text())
    if schema == "provider.yaml.schema.json":  # the stricter one, of what Airflow's own providers are made from
        rules = rules["properties"]["connection-types"]
        jsonschema.validate([CONNECTION], rules)
    else:
        jsonschema.validate(get_provider_info(), rules)


def test_the_form_has_what_a_connection_takes() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Endpoint)}
    assert set(CONNECTION["conn-fields"]) == fields.keys() - {"base_urls", "api_key"} | {"server", "idle_seconds"}
    fields["idle_seconds"] = IDLE_SECONDS
    for name in ("max_in_flight", "timeout_seconds", "patience_seconds", "idle_seconds"):
        assert f"Empty: {fields[name]:g}." in CONNECTION["conn-fields"][name]["description"]


def test_the_metadata_and_the_hook_are_about_the_same_type() -> None:
    assert CONNECTION["hook-class-name"] == f"{VlmHook.__module__}.{VlmHook.__name__}"
    assert (CONNECTION["connection-type"], CONNECTION["hook-name"]) == (VlmHook.conn_type, VlmHook.hook_name)


def test_airflows_page_of_connections_gets_the_form(shown: Any) -> None:
    page = shown["page"]
    assert page["hook_name"] == "RegionCap VLM"
    assert page["standard_fields"]["host"]["title"] == "Base URLs"
    assert page["standard_fields"]["password"]["title"] == "API key"
    assert all(page["standard_fields"][name]["hidden"] for name in ("login", "port", "url_schema"))
    assert list(page["extra_fields"]) == list(CONNECTION["conn-fields"])
    assert page["extra_fields"]["server"]["schema"] == {"title": "Server", "type": ["object", "null"]}
    assert all(field["value"] is None and field["description"] for field in page["extra_fields"].values())


def test_the_connection_can_be_tested_from_that_page(shown: Any) -> None:
    assert (shown["testable"], shown["argument"]) == (True, "vlm_conn_id")


def test_reading_the_metadata_imports_nothing_else() -> None:
    script = (
        "import sys, regioncap.airflow.provider; print([m for m in sys.modules if m.startswith(('pydantic', 'boto'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "plugins", capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
