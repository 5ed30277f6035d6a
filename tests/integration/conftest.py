"""Real servers, started once for all tests here and gone when they are done."""

import secrets
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.local import bucket
from deploy.local.credentials import Credentials, load_or_create
from deploy.local.stack import demo_server
from regioncap.processes import free_ports
from regioncap.vlm import server
from regioncap.vlm.endpoint import Endpoint
from tests import second_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VLM_KEY = secrets.token_urlsafe(32)


@pytest.fixture(scope="session", autouse=True)
def _helpers_of_multiprocessing() -> Iterator[None]:
    """Python's own helper processes end with the tests, not a moment after them."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return load_or_create(tmp_path_factory.mktemp("credentials") / "credentials.json")


@pytest.fixture(scope="session")
def s3_port(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[int]:
    """The port of a SeaweedFS."""
    with bucket.running(tmp_path_factory.mktemp("bucket"), credentials) as port:
        yield port


@pytest.fixture(scope="session")
def s3(s3_port: int, credentials: Credentials) -> "S3Client":
    return bucket.client(s3_port, credentials)


@pytest.fixture(scope="session")
def moto_port(tmp_path_factory: pytest.TempPathFactory, credentials: Credentials) -> Iterator[int]:
    """The port of moto's S3 server."""
    with second_bucket.running(tmp_path_factory.mktemp("moto") / "moto.log", credentials) as port:
        yield port


@pytest.fixture(scope="session", params=["seaweedfs", "moto"])
def service(request: pytest.FixtureRequest, credentials: Credentials) -> "S3Client":
    """Each of the two S3 services in turn."""
    port: int = request.getfixturevalue({"seaweedfs": "s3_port", "moto": "moto_port"}[request.param])
    return bucket.client(port, credentials)


@pytest.fixture(scope="session")
def demo_vlm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """vLLM on the CPU with the demo model; it wants a key."""
    (port,) = free_ports(1)
    config = demo_server()
    log: Path = tmp_path_factory.mktemp("vllm") / "vllm.log"
    with server.start(config, port, log, api_key=VLM_KEY) as service:
        service.wait_ready(lambda: server.is_ready(port), server.READY_SECONDS)
        yield Endpoint(base_urls=(server.base_url(port),), model=config.name, api_key=VLM_KEY, max_in_flight=32)
