"""The deployment of docker-compose.yaml, booted once for all tests here."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from deploy.docker import dotenv
from deploy.local.stack import DAG
from tests.compose.cluster import Cluster, run_cluster
from tests.e2e.conftest import Rig


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two CPU workers, one GPU worker, vLLM on the CPU with the demo model."""
    state = tmp_path_factory.mktemp("cluster")
    dotenv.write(state / "env", {**dotenv.WITHOUT_GPU, "REGIONCAP_CPU_WORKERS": "2"})
    with run_cluster(state / "env", state) as running:
        running.stack.api.unpause(DAG)
        yield running


@pytest.fixture(scope="session")
def rig(cluster: Cluster) -> Rig:
    return Rig(cluster.stack, night=datetime.now(UTC))
