"""What docker-compose.yaml promises, read by Docker Compose itself."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from deploy.docker import dotenv
from deploy.docker.init import buckets, connections, make_buckets, pools
from deploy.local.paths import ROOT
from deploy.local.stack import demo_server
from regioncap.config.deployment import Deployment, variable
from regioncap.errors import ServiceError
from regioncap.vlm.server import ServerConfig, command
from tests.compose.cluster import read


def composed(folder: Path, **settings: str) -> dict[str, Any]:
    """The file with these settings."""
    dotenv.write(folder / "env", settings)
    return read(folder / "env")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All services, those of every profile."""
    return dict(composed(tmp_path_factory.mktemp("all"), COMPOSE_PROFILES="*")["services"])


def test_docker_compose_accepts_the_file_in_each_profile(tmp_path: Path) -> None:
    for profiles, vllm in (("gpu,bucket", {"vllm"}), ("cpu,bucket", {"vllm-cpu"}), ("bucket", set())):
        folder = tmp_path / profiles
        folder.mkdir()
        running = composed(folder, COMPOSE_PROFILES=profiles)["services"]
        assert {name for name in running if name.startswith("vllm")} == vllm
        assert {"postgres", "valkey", "bucket", "init", "api-server", "scheduler", "worker-cpu", "worker-gpu"} <= set(
            running
        )


def test_without_secrets_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(dotenv.EXAMPLE.read_text())
    with pytest.raises(ServiceError, match="run make up"):
        read(tmp_path / "env")


def test_every_service_has_a_health_check_a_limit_a_restart_policy_and_a_pinned_image(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        if name in ("init", "bucket-keys"):  # they run to their end
            assert service["restart"] == "no"
        else:
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"], name
        # vLLM takes what the GPU's machine has.
        assert name == "vllm" or "memory" in service["deploy"]["resources"]["limits"]
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    published = {name: [port["host_ip"] for port in service.get("ports", [])] for name, service in services.items()}
    assert {name for name, ports in published.items() if ports} == {"api-server", "bucket"}
    assert {address for ports in published.values() for address in ports} == {"127.0.0.1"}


def test_what_publishes_no_port_and_downloads_no_model_has_no_way_out(tmp_path: Path, services: dict[str, Any]) -> None:
    assert composed(tmp_path)["networks"]["inside"]["internal"] is True
    outside = {name for name, service in services.items() if "outside" in service["networks"]}
    assert outside == {"api-server", "bucket", "vllm"}


def test_workers_get_the_secrets_that_they_need_and_no_other(tmp_path: Path) -> None:
    services = composed(tmp_path)["services"]
    written = dict(re.findall(r"^(\w+)=(.+)$", (tmp_path / "env").read_text(), re.MULTILINE))
    for name in ("worker-cpu", "worker-gpu"):
        given = " ".join(services[name]["environment"].values())
        known = {secret for secret in dotenv.fresh_secrets() if written[secret] in given}
        assert known == {"REGIONCAP_VALKEY_PASSWORD", "REGIONCAP_API_SECRET"}
    assert written["REGIONCAP_VLM_API_KEY"] not in " ".join(services["scheduler"]["environment"].values())


def variables_of_the_deployment() -> set[str]:
    """What config/deployment.py reads."""
    return {variable(field) for field in Deployment.model_fields}


def test_every_setting_of_the_deployment_gets_to_every_part_of_airflow(services: dict[str, Any]) -> None:
    assert len(variables_of_the_deployment()) >= 12
    for name, service in services.items():
        if service["image"].startswith("regioncap-airflow") and name != "bucket-keys":
            assert variables_of_the_deployment() <= service["environment"].keys(), name
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text())
    assert variables_of_the_deployment() <= {variable["name"] for variable in values["env"]}
    example = set(re.findall(r"^(\w+)=", dotenv.EXAMPLE.read_text(), re.MULTILINE))
    assert variables_of_the_deployment() <= example


def test_as_shipped_the_settings_are_the_defaults(services: dict[str, Any]) -> None:
    plain = Deployment.from_environment({"REGIONCAP_VLM_MODEL": "Qwen/Qwen2.5-VL-3B-Instruct"})
    assert Deployment.from_environment(services["worker-cpu"]["environment"]) == plain
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text())
    assert Deployment.from_environment({each["name"]: each["value"] for each in values["env"]}) == plain


def test_the_uis_address_gets_to_every_part_of_airflow_where_it_is_set_and_is_not_there_where_not(
    tmp_path: Path,
) -> None:
    dotenv.write(tmp_path / "env", {})
    assert "AIRFLOW__API__BASE_URL" not in read(tmp_path / "env")["services"]["api-server"]["environment"]
    example = (tmp_path / "env").read_text()
    (tmp_path / "env").write_text(
        example.replace("# AIRFLOW__API__BASE_URL=", "AIRFLOW__API__BASE_URL=https://a.example")
    )
    told = read(tmp_path / "env")["services"]
    for name in ("api-server", "scheduler", "worker-cpu", "worker-gpu"):
        assert told[name]["environment"]["AIRFLOW__API__BASE_URL"] == "https://a.example", name


@pytest.mark.parametrize("quote", ["", "'"])
def test_settings_arrive_as_they_are_written(tmp_path: Path, quote: str) -> None:
    notifier = {
        "class": "a.Notifier",
        "json": {"text": "{{ message }}"},
        "to": 'a@b.c, "d"',
        "on": ["failure", "success"],
    }
    params = {"export_formats": ["parquet", "csv"], "prompt_prefix": 'a "quoted" # word\n', "max_rejected_ratio": 0.1}
    settings = {
        "REGIONCAP_ALLOWED_ROOTS": "s3://drops, s3://warehouse/a b",
        "REGIONCAP_PARAMS": json.dumps(params),
        "REGIONCAP_NOTIFIER": json.dumps(notifier),
        "REGIONCAP_WAIT_HOURS": "1.5",
        "REGIONCAP_CATCH_UP_DAYS": "0",
        "REGIONCAP_OVERDUE_HOURS": "8",
        "REGIONCAP_SCHEDULE": "30 2 * * 1-5",
        "REGIONCAP_CAPTION_MODE": "per_region",
    }
    if not quote:  # a hash after a space begins a comment there, as .env.example says
        settings["REGIONCAP_PARAMS"] = settings["REGIONCAP_PARAMS"].replace(" # ", " ")
    written = {name: f"{quote}{value}{quote}" for name, value in settings.items()}
    services = composed(tmp_path, **written)["services"]
    for name in ("worker-gpu", "dag-processor", "triggerer"):
        assert {setting: services[name]["environment"][setting] for setting in settings} == settings
    wanted = Deployment.from_environment({**settings, "REGIONCAP_VLM_MODEL": "Qwen/Qwen2.5-VL-3B-Instruct"})
    assert Deployment.from_environment(services["worker-gpu"]["environment"]) == wanted


def test_one_setting_names_the_model_everywhere(tmp_path: Path) -> None:
    model = "Qwen/Qwen3-VL-8B-Instruct"
    services = composed(tmp_path, REGIONCAP_VLM_MODEL=model)["services"]
    words = services["vllm"]["command"]
    assert words[words.index("--model") + 1] == words[words.index("--served-model-name") + 1] == model
    assert f'"model": "{model}"' in connections(services["init"]["environment"])["regioncap_vlm"]["extra"]
    assert Deployment.from_environment(services["worker-gpu"]["environment"]).model_profile == "qwen3-vl"


def test_vllm_gets_the_flags_that_the_launcher_gives(services: dict[str, Any]) -> None:
    gpu = ServerConfig(python=Path("python3"), model="m", served_model_name="m", max_num_seqs=128)
    for name, config in (("vllm", gpu), ("vllm-cpu", demo_server())):
        launched, composed_words = command(config, 8000)[3:], services[name]["command"]
        # What the settings say, and that a container has a network of its own.
        own = {"--model", "--served-model-name", "--host", "--tensor-parallel-size", "--data-parallel-size"}
        assert flags(launched, own).items() <= flags(composed_words, own).items()
    vllm, _ = yaml.safe_load_all((ROOT / "deploy" / "helm" / "vllm.yaml").read_text())
    words = [part for word in vllm["spec"]["template"]["spec"]["containers"][0]["args"] for part in word.split("=", 1)]
    assert flags(command(gpu, 8000)[3:], own).items() <= flags(words, own).items()


def test_vllm_wants_a_key_that_the_connection_has_and_its_command_line_has_not(tmp_path: Path) -> None:
    both = composed(tmp_path, COMPOSE_PROFILES="*")["services"]
    key = secrets_by_name(tmp_path / "env")["REGIONCAP_VLM_API_KEY"]
    assert len(key) > 20
    assert connections(both["init"]["environment"])["regioncap_vlm"]["password"] == key
    for name in ("vllm", "vllm-cpu"):
        assert both[name]["environment"]["VLLM_API_KEY"] == key
        assert both[name]["environment"]["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
        assert key not in " ".join(both[name]["command"])
    pod, _ = yaml.safe_load_all((ROOT / "deploy" / "helm" / "vllm.yaml").read_text())
    given = {each["name"]: each for each in pod["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert given["VLLM_MEDIA_URL_ALLOW_REDIRECTS"]["value"] == "0"
    assert given["VLLM_API_KEY"]["valueFrom"]["secretKeyRef"]["name"]


def test_the_buckets_inner_ports_want_a_certificate(services: dict[str, Any]) -> None:
    weed, keys = services["bucket"], services["bucket-keys"]
    assert weed["depends_on"]["bucket-keys"]["condition"] == "service_completed_successfully"
    folder = weed["entrypoint"][-1]
    assert keys["command"][1:] == [folder, "127.0.0.1"] and "-ip=127.0.0.1" in weed["command"]
    mounted = {
        name: {each["target"]: each for each in service["volumes"]}
        for name, service in services.items()
        if "volumes" in service
    }
    assert mounted["bucket"][folder]["source"] == mounted["bucket-keys"][folder]["source"]
    assert mounted["bucket"][folder]["read_only"]
    # Nobody else has it.
    assert [name for name, places in mounted.items() if folder in places] == ["bucket", "bucket-keys"]
    assert "-master.telemetry=false" in weed["command"]


def flags(words: list[str], without: set[str]) -> dict[str, str]:
    """A command line's options with their values."""
    starts = [at for at, word in enumerate(words) if word.startswith("--")]
    options = {words[at]: " ".join(words[at + 1 : end]) for at, end in zip(starts, [*starts[1:], None], strict=True)}
    return {name: value for name, value in options.items() if name not in without}


def test_pools_have_as_many_slots_as_workers_have_places(tmp_path: Path) -> None:
    settings = {"REGIONCAP_CPU_WORKERS": "3", "REGIONCAP_CPU_TASKS": "4", "REGIONCAP_GPU_TASKS": "5"}
    services = composed(tmp_path, **settings)["services"]
    declared = {"regioncap_gpu": {"slots": 2}, "regioncap_judge": {"slots": 2}}
    made = pools(services["init"]["environment"], declared)
    assert made["default_pool"]["slots"] == 12
    assert made["regioncap_gpu"]["slots"] == made["regioncap_judge"]["slots"] == 5
    assert services["worker-cpu"]["deploy"]["replicas"] == 3
    assert services["worker-gpu"]["command"][-1] == "5"


class Buckets:
    """An S3 server on which some buckets can only be read; writes down what is written and created."""

    def __init__(self, there: set[str], region: str = "us-east-1", read_only: frozenset[str] = frozenset()) -> None:
        self.there, self.read_only = there, read_only
        self.written: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.meta = SimpleNamespace(region_name=region)

    def head_bucket(self, Bucket: str) -> None:
        if Bucket not in self.there:
            raise refused(404, "HeadBucket")

    def create_bucket(self, **request: Any) -> None:
        self.created.append(request)
        self.there.add(request["Bucket"])

    def put_object(self, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "") -> None:
        if Bucket in self.read_only:
            raise refused(403, "PutObject")
        if IfNoneMatch:
            raise refused(412, "PutObject")
        self.written.append(Bucket)

    def delete_object(self, **_: Any) -> None: ...


def refused(status: int, operation: str) -> ClientError:
    return ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]


PLACES = {
    "REGIONCAP_DROPS_URI": "s3://drops", "REGIONCAP_WAREHOUSE_URI": "s3://warehouse/region_captions",
    "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "s3://logs",
}  # fmt: skip


def test_the_init_job_writes_into_the_warehouse_only() -> None:
    s3 = Buckets({"drops", "warehouse", "logs"}, read_only=frozenset({"drops", "logs"}))
    make_buckets(s3, buckets(PLACES), warehouse=buckets(PLACES, "WAREHOUSE"))
    assert set(s3.written) == {"warehouse"}


@pytest.mark.parametrize(
    ("region", "where"),
    [("us-east-1", None), ("eu-central-1", {"LocationConstraint": "eu-central-1"})],
)
def test_the_init_job_makes_buckets_in_their_region(region: str, where: dict[str, str] | None) -> None:
    s3 = Buckets(set(), region)
    make_buckets(s3, ["drops", "warehouse"])
    assert [request.get("CreateBucketConfiguration") for request in s3.created] == [where, where]


class CarelessBucket:
    """An S3 server that takes a conditional write for a plain one."""

    def head_bucket(self, **_: Any) -> None: ...

    def put_object(self, **_: Any) -> None: ...

    def delete_object(self, **_: Any) -> None: ...


def test_the_init_job_refuses_a_bucket_that_ignores_conditions() -> None:
    with pytest.raises(SystemExit, match="ignores If-None-Match"):
        make_buckets(CarelessBucket(), ["warehouse"])


def test_the_example_documents_every_variable_of_the_file() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yaml").read_text()))
    named = set(re.findall(r"^(\w+)=", dotenv.EXAMPLE.read_text(), re.MULTILINE))
    assert used | {"COMPOSE_PROFILES"} == named


def test_the_example_holds_no_secret_and_the_written_file_only_new_ones(tmp_path: Path) -> None:
    for name in dotenv.fresh_secrets():
        assert re.search(rf"^{name}=$", dotenv.EXAMPLE.read_text(), re.MULTILINE)
    dotenv.write(tmp_path / "one", {})
    dotenv.write(tmp_path / "two", {})
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600
    assert not secrets_of(tmp_path / "one") & secrets_of(tmp_path / "two")
    with pytest.raises(FileExistsError):
        dotenv.write(tmp_path / "one", {})


def test_a_written_file_gets_the_secrets_that_it_lacks_and_keeps_all_else(tmp_path: Path) -> None:
    path = tmp_path / "env"
    dotenv.write(path, {"REGIONCAP_VLM_API_KEY": "", "REGIONCAP_PARAMS": r"""'{"x": "\d"}'"""})
    lines = [line for line in path.read_text().splitlines() if not line.startswith("REGIONCAP_JWT_SECRET")]
    path.write_text("\n".join(lines))
    path.chmod(0o644)
    assert dotenv.complete(path) == ["REGIONCAP_JWT_SECRET", "REGIONCAP_VLM_API_KEY"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(secrets_by_name(path).values())
    kept = [line for line in lines if line != "REGIONCAP_VLM_API_KEY="]
    assert set(kept) <= set(path.read_text().splitlines())
    assert dotenv.complete(path) == []


def secrets_by_name(path: Path) -> dict[str, str]:
    written = dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))
    return {name: written[name] for name in dotenv.fresh_secrets()}


def secrets_of(path: Path) -> set[str]:
    return {
        line.split("=", 1)[1] for line in path.read_text().splitlines() if line.split("=")[0] in dotenv.fresh_secrets()
    }


def test_the_image_holds_the_versions_that_are_tested() -> None:
    image, tested = (pinned(ROOT / "requirements" / f"{name}.txt") for name in ("image", "airflow"))
    assert all(tested.get(name, version) == version for name, version in image.items())
    assert "celery" in image and "pytest" not in image


def pinned(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", path.read_text(), re.MULTILINE))


def test_the_helm_values_and_the_compose_file_name_the_same_versions(services: dict[str, Any]) -> None:
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text())
    airflow = values["images"]["airflow"]
    assert services["worker-cpu"]["image"].endswith(f"{airflow['repository'].split('/')[-1]}:{airflow['tag']}")
    assert f"apache-airflow=={values['airflowVersion']}" in (ROOT / "requirements" / "image.txt").read_text()
    assert (
        f"FROM apache/airflow:slim-{values['airflowVersion']}-python3.11"
        in (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    )
    vllm, _ = yaml.safe_load_all((ROOT / "deploy" / "helm" / "vllm.yaml").read_text())
    assert vllm["spec"]["template"]["spec"]["containers"][0]["image"] == services["vllm"]["image"]
