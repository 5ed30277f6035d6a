"""Airflow's own parts are killed and started again while a build is under way."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from demo_model.drops import evaluation_rows, write_drop
from deploy.local import airflow
from deploy.local.stack import DAG, run_stack
from regioncap.processes import Service
from tests import processes
from tests.e2e.conftest import Rig

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

DATE = "2026-06-02"
IMAGES = 120


def test_a_build_goes_on_whichever_part_of_airflow_is_killed(tmp_path: Path) -> None:
    write_drop(tmp_path / "drop", list(evaluation_rows(41, IMAGES)))
    start, again = airflow.start, dict[str, Callable[[], Service]]()

    def noted(part: str, variables: dict[str, str], logs: Path) -> Service:
        again[part] = lambda: start(part, variables, logs)
        return start(part, variables, logs)

    restarted: list[Service] = []
    with mock.patch.object(airflow, "start", noted), run_stack(print, tmp_path / "stack") as stack:
        rig = Rig(stack, datetime.now(UTC))
        stack.api.unpause(DAG)
        rig.upload(tmp_path / "drop", DATE)
        run_id = rig.trigger({"drop_date": DATE, "shard_size": IMAGES // 4})
        try:
            for part in airflow.PARTS:
                asked = rig.questions_asked()
                rig.wait(
                    lambda asked=asked: (
                        rig.questions_asked() > asked + 5 or stack.api.run_state(DAG, run_id) in ("success", "failed")
                    )
                )
                for process in processes.below(stack.services[part].pid):
                    processes.kill(process)
                stack.services[part].stop()
                print(f"{part} was killed after {rig.questions_asked()} answers")
                restarted.append(again[part]())
            rig.wait(stack.api.is_ready)
            rig.wait(lambda: stack.api.run_state(DAG, run_id) in ("success", "failed"), 1800)
            assert stack.api.run_state(DAG, run_id) == "success"
            counts = rig.manifest(DATE).counts
            print(counts, {task["task_id"]: task["try_number"] for task in stack.api.task_instances(DAG, run_id)})
            assert counts.rows == IMAGES == counts.captioned + counts.rejected
        finally:
            for service in restarted:
                service.stop()
