"""A drop goes in, a published dataset comes out: on a real scheduler, in every way a run can start."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import psutil
import pytest

from demo_model.drops import evaluation_rows, write_drop
from demo_model.evaluate import score
from deploy.local.stack import DAG, demo_server
from regioncap.storage.s3 import S3Store
from regioncap.vlm.completion import Completion
from regioncap.warehouse.manifest import current
from regioncap.work.completions import load_completions
from regioncap.work.layout import ANSWERS
from tests import processes
from tests.builders import ORIGINAL_FIELDS, ROOT, Place, broken_rows, encoded, picture
from tests.e2e.conftest import Rig

pytestmark = pytest.mark.timeout(1800)

SAMPLE = ROOT / "include" / "drops" / "2026-10-05"
GUARD = "regioncap.vlm.managed"
TRUTH = json.loads((ROOT / "include" / "drops" / "truth" / "2026-10-05.json").read_text())


def small_drop(folder: Path, seed: int, images: int = 6) -> Path:
    """A drop of synthetic scenes."""
    write_drop(folder, list(evaluation_rows(seed, images)))
    return folder


@pytest.fixture(scope="session")
def sample(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """The sample drop, built by a run with the param `drop_date`: its records, and a copy of the partition."""
    rig.upload(SAMPLE, "2026-10-05")
    run_id = rig.trigger({"drop_date": "2026-10-05", "shard_size": 20})
    assert rig.finish(run_id) == "success"
    assert len(rig.tasks(run_id)["shard.caption"]) > 1
    folder = tmp_path_factory.mktemp("published")
    return rig.published("2026-10-05", folder), folder


def test_every_service_listens_on_loopback_only(rig: Rig) -> None:
    listening = processes.addresses_listened_on()
    assert len(listening) > 4
    assert set(listening) == {"127.0.0.1"}


def test_every_row_is_captioned_or_rejected(rig: Rig, sample: tuple[list[dict[str, Any]], Path]) -> None:
    records, folder = sample
    counts = rig.manifest("2026-10-05").counts
    assert counts.rows == counts.captioned + counts.rejected == 52
    assert len(records) == counts.captioned == len(TRUTH)
    rejected = [json.loads(line) for line in next(folder.glob("build=*/rejected.jsonl")).read_bytes().splitlines()]
    assert Counter(row["code"] for row in rejected) == Counter(
        [
            "image_not_found",
            "wrong_length",
            "not_finite",
            "outside",
            "not_json",
            "image_outside_drop",
            "image_truncated",
        ]
    )


def test_the_captions_are_true(sample: tuple[list[dict[str, Any]], Path]) -> None:
    scores = score(TRUTH, sample[0])
    regions = sum(result.regions for result in scores.values())
    assert regions > 100
    assert sum(result.all_right for result in scores.values()) / regions > 0.95
    assert sum(result.bound for result in scores.values()) / regions > 0.98


def test_the_records_are_read_by_pandas_and_fit_the_shipped_schema(sample: tuple[list[dict[str, Any]], Path]) -> None:
    records, folder = sample
    schema = json.loads((ROOT / "include" / "schemas" / "record.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for record in records:
        validator.validate(record)
        assert list(record)[:9] == ORIGINAL_FIELDS
    files = sorted(folder.glob("build=*/captions-*.jsonl"))
    frame = pd.concat([pd.read_json(path, lines=True) for path in files])
    assert frame["id"].tolist() == [record["id"] for record in records]
    assert frame["answer"].str.startswith("<region1>: ").all()


def test_the_nine_fields_mean_what_they_always_meant(sample: tuple[list[dict[str, Any]], Path]) -> None:
    rows = {}
    for line in (SAMPLE / "manifest.jsonl").read_bytes().splitlines():
        if line.endswith(b"}"):
            row = json.loads(line)
            rows[row["image"]] = row
    for record in sample[0]:
        row, width, height = rows[record["image"]], record["width"], record["height"]
        assert record["type"] == ("with_bbox" if "bbox" in row else "without_bbox")
        boxes = row.get("bbox") or record["bbox"]
        assert record["bbox"] == boxes
        used = [
            [round(x / width, 3), round(y / height, 3), round((x + w) / width, 3), round((y + h) / height, 3)]
            for x, y, w, h in boxes
        ]
        assert record["normalized_bbox"] == used + [[0.0] * 4] * (10 - len(used))
        count = record["valid_bboxes_num"]
        assert count == len(used) == len(record["regions"])
        assert record["prompt"] == (
            f"Describe the content of each marked region in the image. There are {count} regions: "
            f"<region1> to <region{count}>."
        )


def test_the_asset_event_has_the_date_and_the_counts(rig: Rig, sample: tuple[list[dict[str, Any]], Path]) -> None:
    event = rig.events("2026-10-05")[0]
    manifest = rig.manifest("2026-10-05")
    assert event["extra"]["build_id"] == manifest.build_id
    assert event["extra"]["captioned"] == manifest.counts.captioned
    assert event["extra"]["uri"] == "s3://warehouse/region_captions/dt=2026-10-05"


def test_a_second_run_publishes_nothing_new_and_asks_nothing(
    rig: Rig, sample: tuple[list[dict[str, Any]], Path]
) -> None:
    before = rig.manifest("2026-10-05")
    run_id = rig.trigger({"shard_size": 20}, partition_key="2026-10-05")
    assert rig.finish(run_id) == "success"
    assert rig.manifest("2026-10-05") == before
    # Not counted at the server: the runs of the night may ask it meanwhile.
    assert {*rig.tasks(run_id)["shard.caption"]} == {"skipped"}
    last = rig.events("2026-10-05")[-1]
    assert last["extra"]["unchanged"] is True


def test_a_run_with_a_partition_key_builds_that_date(rig: Rig, tmp_path: Path) -> None:
    rig.upload(small_drop(tmp_path / "drop", seed=21), "2026-09-01")
    assert rig.finish(rig.trigger({}, partition_key="2026-09-01")) == "success"
    assert rig.manifest("2026-09-01").counts.captioned == 6
    assert len(rig.events("2026-09-01")) == 1


def test_a_run_that_says_two_dates_fails_and_says_so(rig: Rig) -> None:
    run_id = rig.trigger({"drop_date": "2026-10-05"}, partition_key="2026-09-01")
    assert rig.finish(run_id) == "failed"
    assert rig.tasks(run_id)["wait_for_drop"] == ["failed"]


def test_a_backfill_builds_what_is_there_and_skips_what_is_not(rig: Rig, tmp_path: Path) -> None:
    rig.upload(small_drop(tmp_path / "drop", seed=22), "2026-08-02")
    rig.upload(small_drop(tmp_path / "again", seed=23), "2026-08-01")
    assert rig.finish(rig.trigger({"drop_date": "2026-08-01"})) == "success"
    before = rig.manifest("2026-08-01")
    said = backfill(rig, "2026-08-01", "2026-08-03", "--order", "newest")
    assert re.findall(r"^(2026\S+)  (\w+)", said, re.MULTILINE)[0] == ("2026-08-03", "skipped")
    assert "2026-08-01  unchanged" in said and "2026-08-02  built  6 captioned, 0 rejected" in said
    assert "2026-08-03  skipped  there is no drop at s3://drops/2026-08-03" in said
    runs = {run["partition_key"]: run["dag_run_id"] for run in rig.api.runs(DAG) if run["run_type"] == "backfill"}
    assert set(runs) == {"2026-08-01", "2026-08-02", "2026-08-03"}
    # The same date as a manual run: the same partition, and nothing to do.
    assert rig.manifest("2026-08-01") == before
    assert rig.manifest("2026-08-02").counts.captioned == 6
    assert rig.tasks(runs["2026-08-03"])["wait_for_drop"] == ["skipped"]
    assert rig.tasks(runs["2026-08-03"])["publish"] == ["skipped"]
    # What has a run is left alone, unless it is asked for.
    assert backfill(rig, "2026-08-01", "2026-08-03").count("left alone") == 3
    assert backfill(rig, "2026-08-01", "2026-08-03", "--again", "completed", "--dry-run").count("runs as number") == 3


def backfill(rig: Rig, first: str, last: str, *options: str) -> str:
    """`make backfill`, at temperature 0; returns what it prints."""
    command = [sys.executable, "-m", "deploy.local.backfill", "--from", first, "--to", last, *options]
    password = json.loads(rig.stack.password_file.read_text())["admin"]
    done = subprocess.run(
        [*command, "--params", '{"temperature": 0}'],
        env={
            **os.environ,
            "AIRFLOW_URL": rig.api.url,
            "AIRFLOW_PASSWORD": password,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_broken_rows_of_every_kind_cost_no_good_row(rig: Rig, tmp_path: Path) -> None:
    place = Place(tmp_path)
    expected = broken_rows(place)
    rig.upload(place.drop_folder, "2026-07-01")
    run_id = rig.trigger({"drop_date": "2026-07-01", "max_rejected_ratio": 1, "when_no_boxes": "contours"})
    assert rig.finish(run_id) == "success"
    folder = tmp_path / "published"
    records = rig.published("2026-07-01", folder)
    assert [record["id"] for record in records] == expected.good
    rejected = [json.loads(line) for line in next(folder.glob("build=*/rejected.jsonl")).read_bytes().splitlines()]
    assert {row["line"]: row["code"] for row in rejected} == expected.codes
    assert all(row["reason"] for row in rejected)


def test_a_killed_caption_task_loses_and_repeats_next_to_nothing(rig: Rig, tmp_path: Path) -> None:
    images = 480
    rig.upload(small_drop(tmp_path / "drop", seed=24, images=images), "2026-06-01")
    asked = rig.questions_asked()
    # One question an image and none of a judge, so that questions can be counted by images.
    joint = {"drop_date": "2026-06-01", "caption_mode": "joint", "judge": "none"}
    run_id = rig.trigger(joint)
    shards = S3Store(rig.stack.s3, "warehouse", "region_captions/_work/dt=2026-06-01/shards")

    def answers() -> list[Completion]:
        ids = {entry.path.split("/")[0] for entry in shards.list()}
        return [answer for shard in ids for answer in load_completions(shards.sub(shard), ANSWERS).values()]

    rig.wait(answers)
    kill_task(rig, run_id, "shard.caption")
    before = answers()
    assert len(before) < images
    assert rig.finish(run_id) == "success"
    again = rig.questions_asked() - asked - images
    # What was answered but not yet flushed when the task died, which a slow disk makes more, and what was under way.
    assert again <= images / 2
    interrupted = rig.published("2026-06-01", tmp_path / "interrupted")
    told = Counter(tuple(json.loads(answer.text).values()) for answer in before)
    assert not told - Counter(captions(record) for record in interrupted), "what was answered before is what counts"

    assert rig.finish(rig.trigger({**joint, "force_rebuild": True})) == "success"
    undisturbed = rig.published("2026-06-01", tmp_path / "undisturbed")
    assert [unworded(record) for record in interrupted] == [unworded(record) for record in undisturbed]
    # vLLM promises the same words for another batch only in its batch-invariant mode, which is for GPUs. Where the VLM
    # is not in question, tests/integration/test_resume.py holds every byte.
    others = [(a["image"], a["answer"], b["answer"]) for a, b in zip(interrupted, undisturbed, strict=True) if a != b]
    assert len(others) <= images * 0.05, others


def captions(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(region["caption"] for region in record["regions"])


def unworded(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the model's words."""
    regions = [{**region, "caption": ""} for region in record["regions"]]
    return {**record, "answer": "", "regions": regions}


def kill_task(rig: Rig, run_id: str, task_id: str) -> None:
    """`kill -9` the process that runs the task, as the kernel would when memory runs out."""
    (task,) = [task for task in rig.api.task_instances(DAG, run_id) if task["task_id"] == task_id]
    title = f"airflow worker -- {task['id']}"
    (worker,) = [process for process in processes.below() if " ".join(processes.command(process)).strip() == title]
    worker.kill()


def test_a_build_waits_for_a_person_where_the_run_asks_for_that(rig: Rig, tmp_path: Path) -> None:
    # Side by side, since both wait for the same seconds.
    approved, rejected = "2026-03-01", "2026-03-02"
    runs, reports = {}, {}
    for date in (approved, rejected):
        rig.upload(small_drop(tmp_path / date, seed=27), date)
        runs[date] = rig.trigger({"drop_date": date, "approval": "always"})
    for date, run_id in runs.items():
        rig.wait(lambda run_id=run_id: rig.tasks(run_id).get("approve") == ["awaiting_input"])
        assert current(rig.store(date)) == (None, None)
        (reports[date],) = (entry.path for entry in rig.store(date).list() if entry.path.endswith("report.html"))
        question = rig.api.request(DAG, run_id, "approve", 0)
        assert reports[date] in question["body"] and date in question["subject"]
    # As long as a person takes at least: Airflow notices up to five seconds late that the task that asked has ended,
    # and takes an answer before that for a task gone astray, which is tried again and asks anew.
    time.sleep(10)
    assert rig.decide(runs[approved], "Approve") == "success"
    assert f"{rig.manifest(approved).build}/report.html" == reports[approved]
    rig.wait(lambda: rig.events(approved))
    assert rig.events(approved)[0]["extra"]["quality"]["rejection_rate"] == 0
    assert rig.decide(runs[rejected], "Reject") == "failed"
    assert current(rig.store(rejected)) == (None, None)


@pytest.fixture
def managed_vlm(rig: Rig) -> Iterator[None]:
    """The connection as it is where caption tasks start a server of their own. No other run asks the stack's one."""
    if time.time() > rig.night.timestamp():
        rig.wait(lambda: any(run["state"] in ("success", "failed") for run in rig.late_runs()))
    given = rig.api.get("/api/v2/connections/regioncap_vlm")
    before = {name: given[name] for name in ("connection_id", "conn_type", "host", "extra")}
    extra = {"server": demo_server().model_dump(mode="json"), "idle_seconds": 5, "max_in_flight": 32}
    rig.api.put_connection({**before, "host": "managed", "extra": json.dumps(extra)})
    yield
    rig.api.put_connection(before)


@pytest.mark.usefixtures("managed_vlm")
def test_caption_tasks_share_a_server_that_they_start_and_that_ends_after_them(rig: Rig, tmp_path: Path) -> None:
    rig.upload(small_drop(tmp_path / "drop", seed=26), "2026-04-01")
    asked = rig.questions_asked()
    run_id = rig.trigger({"drop_date": "2026-04-01", "shard_size": 2})
    assert rig.finish(run_id) == "success"
    assert rig.manifest("2026-04-01").counts.captioned == 6
    assert rig.questions_asked() == asked, "the other server was not asked"
    tasks = [task for task in rig.api.task_instances(DAG, run_id) if task["task_id"] == "shard.caption"]
    logs = ["\n".join(rig.api.task_log(DAG, run_id, task)) for task in tasks]
    assert len(logs) == 3
    assert any("vLLM: " in log for log in logs), "what is waited for is shown"
    rig.wait(lambda: not guards())


def guards() -> list[psutil.Process]:
    """The processes that run shared servers."""
    return [process for process in processes.below() if GUARD in processes.command(process)]


def test_text_in_a_drop_is_shown_as_text_and_runs_nowhere(rig: Rig, tmp_path: Path) -> None:
    place = Place(tmp_path)
    evil = "<script>alert(1){{ macros }}.jpg"
    place.put(evil, encoded(picture()))
    place.put_rows({"id": evil, "image": evil, "bbox": [[10, 10, 40, 30]]}, evil)
    rig.upload(place.drop_folder, "2026-05-01")
    assert rig.finish(rig.trigger({"drop_date": "2026-05-01", "max_rejected_ratio": 1})) == "success"
    folder = tmp_path / "published"
    assert rig.published("2026-05-01", folder)[0]["id"] == evil
    page = next(folder.glob("build=*/report.html")).read_text()
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_the_nightly_run_waits_for_the_drop_of_the_day_before_and_builds_it(rig: Rig, tmp_path: Path) -> None:
    """Late in this file: the scheduler's own run comes at a minute that was set when the stack started."""
    date = (rig.night - timedelta(days=1)).date().isoformat()

    def nightly() -> list[dict[str, Any]]:
        # A backfill makes Airflow start the run of the night before too, if there was none.
        runs = rig.api.runs(DAG)
        return [run for run in runs if run["run_type"] == "scheduled" and run["partition_key"] == date]

    rig.wait(nightly, max(0.0, rig.night.timestamp() - time.time()) + 600)
    (run,) = nightly()
    # The triggerer looks at the bucket while no worker is held.
    rig.wait(lambda: rig.tasks(run["dag_run_id"]).get("wait_for_drop") == ["deferred"])
    rig.upload(small_drop(tmp_path / "drop", seed=25), date)
    assert rig.finish(run["dag_run_id"]) == "success"
    assert rig.manifest(date).counts.captioned == 6
    # A nightly run of the same date as a manual run: the same partition.
    before = rig.manifest(date)
    assert rig.finish(rig.trigger({"drop_date": date, "temperature": 0.7})) == "success"
    assert rig.manifest(date) == before


def test_a_drop_that_came_late_is_built_by_the_next_night(rig: Rig) -> None:
    rig.wait(rig.late_runs, max(0.0, rig.night.timestamp() - time.time()) + 600)
    (run,) = rig.late_runs()
    assert rig.finish(run["dag_run_id"]) == "success"
    assert rig.manifest(rig.late).counts.captioned == 4
    assert len(rig.events(rig.late)) == 1


def test_the_scheduler_weighs_tasks_by_the_kind_of_their_run(rig: Rig) -> None:
    weights: dict[str, list[int]] = {}
    for run in rig.api.runs(DAG):
        weights.setdefault(run["run_type"], []).extend(
            task["priority_weight"] for task in rig.api.task_instances(DAG, run["dag_run_id"])
        )
    there = [kind for kind in ("scheduled", "manual", "operator_triggered", "backfill") if kind in weights]
    for first, second in pairwise(there):
        assert min(weights[first]) > max(weights[second])


def test_the_example_dag_follows_each_published_partition(rig: Rig, tmp_path: Path) -> None:
    """Last in this file: Airflow 3.3.2 answers 500 to a question about events while a run that one caused is queued."""
    digest = "region_captions_digest"
    rig.api.unpause(digest)
    rig.upload(small_drop(tmp_path / "drop", seed=28), "2026-02-01")
    assert rig.finish(rig.trigger({"drop_date": "2026-02-01"})) == "success"

    def followed() -> list[str]:
        runs = rig.api.runs(digest)
        return [run["dag_run_id"] for run in runs if (run["partition_key"], run["state"]) == ("2026-02-01", "success")]

    rig.wait(followed)
    counted = rig.api.xcom(digest, followed()[0], "digest")
    assert counted["captions"] == rig.manifest("2026-02-01").counts.regions
