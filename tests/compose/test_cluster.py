"""A build on the cluster of docker-compose.yaml, while workers die.

IMAGES says how large the build is (200).
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from demo_model.drops import Row, evaluation_rows, write_drop
from deploy.local.stack import DAG
from regioncap.ask.asking import FLUSH_ROWS
from tests import processes
from tests.compose.cluster import Cluster
from tests.e2e.conftest import Rig
from tests.page_rights import check_rights, pages_with_users

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

IMAGES = int(os.environ.get("IMAGES", "200"))
MISSING = 5
DATE = "2026-06-01"
SHARDS = 4


@dataclass(frozen=True)
class Run:
    """What became of the build: its tasks, and how many questions vLLM answered."""

    id: str
    state: str
    tasks: list[dict[str, Any]]
    asked: int

    @property
    def caption_tries(self) -> list[int]:
        """How often each caption task was tried."""
        return [task["try_number"] for task in self.tasks if task["task_id"] == "shard.caption"]


@pytest.fixture(scope="session")
def run(cluster: Cluster, rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A build during which a CPU worker dies for good, and the GPU worker dies and is started again."""
    folder = tmp_path_factory.mktemp("drop")
    missing = (Row({"image": f"missing-{number}.jpg", "bbox": [[1, 1, 20, 20]]}, {}) for number in range(MISSING))
    write_drop(folder, [*evaluation_rows(31, IMAGES), *missing])
    rig.upload(folder, DATE)
    asked = rig.questions_asked()
    run_id = rig.trigger({"drop_date": DATE, "shard_size": -(-IMAGES // SHARDS)})

    def running(task_id: str, instance: str) -> list[dict[str, Any]]:
        address = cluster.instances[instance].address
        return [
            task
            for task in cluster.stack.api.task_instances(DAG, run_id)
            if task["state"] == "running" and task["task_id"] == task_id and task["hostname"] == address
        ]

    rig.wait(lambda: running("shard.render", "worker-cpu-2"), 300)
    cluster.instances["worker-cpu-2"].kill()
    print("a CPU worker was killed")
    rig.wait(lambda: rig.questions_asked() - asked > IMAGES / 4 and running("shard.caption", "worker-gpu-1"), 300)
    cluster.instances["worker-gpu-1"].kill()
    print(f"the GPU worker was killed after {rig.questions_asked() - asked} answers")
    # As its restart policy asks for.
    assert cluster.instances["worker-gpu-1"].declared["restart"] == "unless-stopped"
    cluster.instances["worker-gpu-1"].start()
    state = rig.finish(run_id, seconds=1800)
    tasks = cluster.stack.api.task_instances(DAG, run_id)
    print(Counter((task["task_id"], cluster.instance_at(task["hostname"])) for task in tasks if task["hostname"]))
    return Run(run_id, state, tasks, rig.questions_asked() - asked)


def test_the_run_completes_and_every_row_is_in_one_place(run: Run, rig: Rig, tmp_path: Path) -> None:
    assert run.state == "success"
    counts = rig.manifest(DATE).counts
    print(counts)
    assert counts.rows == IMAGES + MISSING == counts.captioned + counts.rejected
    assert counts.captioned >= IMAGES * 0.98
    records = rig.published(DATE, tmp_path)
    assert len(records) == len({record["id"] for record in records}) == counts.captioned


def test_a_caption_task_died_and_next_to_nothing_is_asked_twice(run: Run) -> None:
    tries, died = sum(run.caption_tries), sum(run.caption_tries) - len(run.caption_tries)
    print(f"{run.asked} questions for {IMAGES} images, {died} caption tasks died")
    assert died > 0
    # Each try begins with a question that tells whether the server keeps to schemas; and of each task that died: what
    # was answered and not yet flushed, and what was under way.
    assert 0 <= run.asked - IMAGES <= tries + died * (FLUSH_ROWS + 64)


def test_caption_tasks_run_on_the_gpu_worker_and_others_do_not(run: Run, cluster: Cluster) -> None:
    for task in run.tasks:
        if task["hostname"]:
            on_gpu = cluster.instance_at(task["hostname"]) == "worker-gpu-1"
            assert on_gpu == (task["task_id"] in ("shard.caption", "propose")), task["task_id"]
            assert task["queue"] == ("gpu" if on_gpu else "default")


def test_logs_are_in_the_bucket_and_come_back_through_the_api(run: Run, rig: Rig, cluster: Cluster) -> None:
    # Those of the worker that lived: one that dies takes the log of what it has just done with it.
    alive = cluster.instances["worker-cpu-1"].address
    validated = [task for task in run.tasks if task["task_id"] == "shard.validate" and task["hostname"] == alive]
    assert validated
    for task in validated:
        rig.wait(lambda task=task: "records" in " ".join(rig.api.task_log(DAG, run.id, task)), 60)
    kept = cluster.stack.s3.list_objects_v2(Bucket="logs", Prefix="dag_id=region_captions/")["KeyCount"]
    assert kept >= len(validated)


def test_the_pages_keep_to_the_roles_of_fabs_users(run: Run, rig: Rig, cluster: Cluster) -> None:
    server = cluster.instances["api-server-1"]
    build_id = rig.manifest(DATE).build_id
    pages = pages_with_users(f"http://{server.address}:8080", server.environment, DATE, build_id)
    check_rights(pages, DATE, build_id)


def test_every_service_listens_on_loopback_only(cluster: Cluster) -> None:
    listening = processes.addresses_listened_on()
    assert len(listening) > 4
    assert all(address.startswith("127.") for address in listening)


def test_the_bucket_and_vllm_answer_nobody_without_credentials(cluster: Cluster) -> None:
    bucket, vllm = (cluster.instances[name].address for name in ("bucket-1", "vllm-cpu-1"))
    ports = {
        at.laddr.port
        for process in processes.below()
        for at in process.net_connections("inet")
        if at.status == psutil.CONN_LISTEN and at.laddr.ip == bucket
    }
    assert 8333 in ports and len(ports) > 4
    assert {status(f"http://{bucket}:{port}/") for port in ports - {8333}} <= {None, 400}
    assert status(f"http://{bucket}:8333/") == 403
    assert status(f"http://{vllm}:8000/v1/models") == 401


def status(url: str) -> int | None:
    """The status of an answer; None where there is none."""
    try:
        return int(httpx2.get(url, trust_env=False).status_code)
    except httpx2.HTTPError:
        return None
