"""Airflow's UI in a real browser, over the whole stack: what a user sees of RegionCap, and what comes of it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from demo_model.drops import evaluation_rows, write_drop
from deploy.local import airflow
from deploy.local.credentials import load_or_create
from deploy.local.stack import DAG, SERVED_MODEL, Stack
from regioncap.airflow.provider import get_provider_info
from regioncap.config.settings import BuildSettings
from tests.ui.airflow_pages import VIEWER, AirflowPages, becomes_green, logged_in, stack_with

ON_DEMAND = "2026-08-10"
FIRST, MISSING, LAST = "2026-08-01", "2026-08-02", "2026-08-03"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("ui")
    drops = {date: folder / date for date in (ON_DEMAND, FIRST, LAST)}
    for seed, drop in enumerate(drops.values()):
        write_drop(drop, list(evaluation_rows(seed, 2)))
    with stack_with(drops, folder / "stack") as running:
        yield running


@pytest.fixture
def ui(browser: Browser, stack: Stack) -> Iterator[AirflowPages]:
    with logged_in(browser, stack, viewport={"width": 1280, "height": 900}) as pages:
        yield pages


def run_ids(stack: Stack, run_type: str = "manual") -> list[str]:
    return [run["dag_run_id"] for run in stack.api.runs(DAG, run_type=run_type)]


def test_the_dag_is_there_and_nothing_fails_to_import(ui: AirflowPages) -> None:
    ui.open_dag()
    # The home page shows import errors as soon as it knows of them.
    with ui.page.expect_response(lambda answer: "/importErrors" in answer.url and answer.ok):
        ui.page.get_by_role("link", name="Home").first.click()
    expect(ui.page.get_by_text("Active Dags")).to_be_visible()
    expect(ui.page.get_by_text("Dag Import Error")).to_have_count(0)


def test_the_dag_says_what_it_does(ui: AirflowPages) -> None:
    ui.open_dag()
    docs = ui.docs()
    expect(
        docs.get_by_role("heading", name="Region captions: from an image drop to a published dataset")
    ).to_be_visible()
    expect(docs.get_by_role("row", name="one date, now Trigger, and set Drop date")).to_be_visible()


def test_a_task_says_what_it_does(ui: AirflowPages) -> None:
    ui.open_dag()
    ui.page.get_by_role("link", name="plan", exact=True).click()
    expect(ui.docs("Documentation")).to_contain_text("Checks every row of the drop's manifests")


def test_the_form_opens_with_the_drop_date(ui: AirflowPages) -> None:
    form = ui.open_form()
    expect(form.field("Drop date")).to_contain_text("Which drop to build.")


def test_every_setting_is_in_the_form_in_its_group_with_its_help(ui: AirflowPages) -> None:
    form = ui.open_form()
    for name, schema in BuildSettings.model_json_schema()["properties"].items():
        form.open_group(schema["section"])
        field = form.field(schema["title"])
        expect(field, name).to_be_visible()
        expect(field, name).to_contain_text(re.sub(r"`([^`]*)`|\*", r"\1", schema["description"]))


@pytest.mark.parametrize(
    ("group", "title", "typed", "becomes", "bounds"),
    [
        ("Caption", "Temperature", "3", "2", "At least 0, at most 2."),
        ("Boxes", "Regions per image, at most", "0", "1", "At least 1, at most 50."),
    ],
)
def test_a_number_out_of_its_bounds_does_not_stay_and_the_help_has_the_bounds(
    ui: AirflowPages, group: str, title: str, typed: str, becomes: str, bounds: str
) -> None:
    form = ui.open_form()
    form.open_group(group)
    expect(form.fill(title, typed)).to_have_value(becomes)
    expect(form.field(title)).to_contain_text(bounds)


def test_a_field_that_has_to_be_filled_in_says_so_and_stops_the_run(ui: AirflowPages) -> None:
    form = ui.open_form()
    form.open_group("Build")
    form.fill("File name prefix", "")
    expect(form.field("File name prefix")).to_contain_text("This field is required")
    expect(form.trigger).to_be_disabled()


@pytest.mark.parametrize(
    ("group", "title", "value", "refusal"),
    [
        ("Build", "File name prefix", "a/b", "Invalid input for param file_name_prefix: 'a/b' does not match"),
        ("Drop", "Drops", "s3://elsewhere", "Invalid input for param drops_uri: 's3://elsewhere' does not match"),
    ],
)
def test_a_wrong_text_is_refused_with_its_param_and_no_run_comes_of_it(
    ui: AirflowPages, stack: Stack, group: str, title: str, value: str, refusal: str
) -> None:
    before = run_ids(stack)
    form = ui.open_form()
    form.open_group(group)
    form.fill(title, value)
    form.trigger.click()
    expect(form.dialog.get_by_text(refusal)).to_be_visible()
    assert run_ids(stack) == before


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"drop_date": "2026-13-40"}, "Invalid input for param drop_date: '2026-13-40' is not a 'date'"),
        ({"temperature": 3}, "Invalid input for param temperature: 3 is greater than the maximum of 2"),
    ],
)
def test_wrong_params_in_json_are_refused_too(
    ui: AirflowPages, stack: Stack, params: dict[str, object], refusal: str
) -> None:
    before = run_ids(stack)
    form = ui.open_form()
    form.write_json(params)
    form.trigger.click()
    expect(form.dialog.get_by_text(refusal)).to_be_visible()
    assert run_ids(stack) == before


(VLM,) = get_provider_info()["connection-types"]
# Prints what the connection of this id describes.
READ_BACK = """
import dataclasses, json, sys
from regioncap.airflow.vlm import vlm_from_connection
vlm = vlm_from_connection(sys.argv[1])
fields = dataclasses.asdict(vlm)
if "config" in fields:
    fields["config"] = vlm.config.model_dump(mode="json")
print(json.dumps([type(vlm).__name__, fields], default=str))
"""


def read_back(stack: Stack, conn_id: str) -> tuple[str, dict[str, Any]]:
    """What a task gets of a connection: the kind of VLM, and its fields."""
    home = stack.password_file.parent
    variables = airflow.environment(home, 0, load_or_create(home.parent / "credentials.json"), {})
    # Outside of a task, connections are looked for in Airflow's database only by who says that it is a server.
    variables |= {"_AIRFLOW_PROCESS_CONTEXT": "server", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", READ_BACK, conn_id], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kind, fields = json.loads(done.stdout.splitlines()[-1])
    return kind, fields


def test_every_field_of_a_vlm_connection_is_in_its_form_with_its_help(ui: AirflowPages) -> None:
    form = ui.add_connection()
    form.choose_type(VLM["hook-name"])
    form.open_group("Standard Fields")
    behaviour = VLM["ui-field-behaviour"]
    for name, title in behaviour["relabeling"].items():
        expect(form.input(title)).to_have_attribute("placeholder", behaviour["placeholders"][name])
    for title in ("Host", "Login", "Password", "Port", "Schema"):
        expect(form.field(title)).to_have_count(0)
    form.open_group("Extra Fields")
    for field in VLM["conn-fields"].values():
        expect(form.field(field["label"])).to_contain_text(field["description"])


def test_a_vlm_connection_made_with_the_form_is_what_tasks_get(ui: AirflowPages, stack: Stack) -> None:
    form = ui.add_connection()
    form.choose_type(VLM["hook-name"])
    form.dialog.get_by_label("Connection ID").fill("street_vlm")
    form.open_group("Standard Fields")
    form.fill(Base_URLs="http://gpu-1:8000/v1, http://gpu-2:8000/v1", API_key="a key: #1")
    form.open_group("Extra Fields")
    form.fill(Model="org/street-vl", Requests_under_way="64", Timeout="12.5")
    form.save()

    kind, fields = read_back(stack, "street_vlm")
    assert kind == "Endpoint" and fields["base_urls"] == ["http://gpu-1:8000/v1", "http://gpu-2:8000/v1"]
    assert (fields["model"], fields["api_key"]) == ("org/street-vl", "a key: #1")
    assert (fields["max_in_flight"], fields["timeout_seconds"], fields["patience_seconds"]) == (64, 12.5, 300)


def test_a_connection_of_managed_servers_made_with_the_form_is_what_tasks_get(ui: AirflowPages, stack: Stack) -> None:
    form = ui.add_connection()
    form.choose_type(VLM["hook-name"])
    form.dialog.get_by_label("Connection ID").fill("managed_vlm")
    form.open_group("Standard Fields")
    form.fill(Base_URLs="managed")
    form.open_group("Extra Fields")
    form.write_json("Server", {"python": "/opt/vllm/bin/python", "model": "org/street-vl"})
    form.fill(Idle_time="60")
    form.save()

    kind, fields = read_back(stack, "managed_vlm")
    assert kind == "ManagedServer" and fields["idle_seconds"] == 60
    assert (fields["config"]["python"], fields["config"]["model"]) == ("/opt/vllm/bin/python", "org/street-vl")


def test_the_stacks_own_vlm_connection_is_shown_in_its_form(ui: AirflowPages) -> None:
    form = ui.edit_connection("regioncap_vlm")
    form.open_group("Extra Fields")
    expect(form.input("Model")).to_have_value(SERVED_MODEL)


def test_a_run_started_with_the_form_ends_green(ui: AirflowPages, stack: Stack) -> None:
    before = run_ids(stack)
    form = ui.open_form()
    form.fill("Drop date", ON_DEMAND)
    form.open_group("Caption")
    form.fill("Temperature", "0")
    form.trigger.click()

    # Airflow opens the page of the run.
    expect(form.dialog).to_be_hidden()
    (run_id,) = set(run_ids(stack)) - set(before)
    ui.shows(run_id)
    conf = stack.api.get(f"/api/v2/dags/{DAG}/dagRuns/{run_id}")["conf"]
    assert (conf["drop_date"], conf["temperature"]) == (ON_DEMAND, 0)

    becomes_green(ui.task("publish"))
    for task in ("wait_for_drop", "plan", "without_boxes", "shard.render", "shard.caption", "shard.validate"):
        becomes_green(ui.task(task))
    # All rows have boxes: nothing is to be proposed.
    expect(ui.task("propose").get_by_text("Skipped")).to_be_visible()
    ui.open_runs()
    becomes_green(ui.page.get_by_role("row").filter(has_text=run_id))


def test_from_the_dag_to_a_picture_in_three_clicks(ui: AirflowPages, stack: Stack) -> None:
    """After the run above."""
    ui.open_dag()
    pages = ui.open_captions(ON_DEMAND)
    picture = pages.get_by_role("img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    pages.get_by_role("link", name="Gallery", exact=True).click()
    pages.get_by_label("Text").fill("striped")
    pages.get_by_role("button", name="Show").click()
    expect(pages.get_by_role("article").first.get_by_text("striped").first).to_be_visible()


def test_who_may_only_look_sees_captions_and_can_correct_none(browser: Browser, stack: Stack) -> None:
    """After the run above."""
    with logged_in(browser, stack, VIEWER, viewport={"width": 1280, "height": 900}) as ui:
        ui.open_dag()
        pages = ui.open_captions(ON_DEMAND)
        pages.get_by_role("link", name="Gallery", exact=True).click()
        expect(pages.get_by_role("article").first.get_by_role("img")).to_be_visible()
        expect(pages.get_by_text("the whole record")).to_have_count(0)
        expect(pages.locator("form[method=post]")).to_have_count(0)


def test_a_caption_is_corrected_within_airflow(ui: AirflowPages) -> None:
    """After the run above; the page is in a frame of Airflow's, which lets it do only so much."""
    ui.open_dag()
    pages = ui.open_captions(ON_DEMAND)
    pages.get_by_role("link", name="Gallery", exact=True).click()
    card = pages.get_by_role("article").first
    card.get_by_text("correct region 1").click()
    card.get_by_label("Caption").first.fill("a caption of a person's own")
    card.get_by_role("button", name="Save").first.click()
    expect(pages.get_by_role("article").first.locator(".pending")).to_contain_text("a caption of a person's own")


def test_a_run_leads_to_the_build_that_it_published(ui: AirflowPages) -> None:
    ui.open_run("manual")
    pages = ui.open_captions_of_run()
    expect(pages.get_by_role("heading", name=f"Region captions, {ON_DEMAND}")).to_be_visible()
    expect(pages.get_by_role("img").first).to_be_visible()


def test_the_asset_says_where_its_pages_are(ui: AirflowPages, stack: Stack) -> None:
    (asset,) = stack.api.get("/api/v2/assets", name_pattern="region_captions")["assets"]
    assert asset["extra"] == {"pages": f"{ui.url}/regioncap/"}
    ui.page.goto(f"{ui.url}/assets/{asset['id']}")
    expect(ui.page.get_by_text(f"{ui.url}/regioncap/").first).to_be_visible()


def test_the_task_that_published_leads_to_its_build(ui: AirflowPages) -> None:
    """In its log, which is what opens, and by the button below its details, which is where Airflow has buttons."""
    its_build = f"/regioncap/dates/{ON_DEMAND}/builds/"
    ui.open_run("manual")
    ui.open_task("publish")
    expect(ui.page.locator(f'a[href*="{its_build}"]').last).to_be_visible()
    ui.open_details()
    button = ui.page.get_by_role("link", name="Dataset", exact=True)
    expect(button).to_have_attribute("href", re.compile(its_build))
    button.click()
    expect(ui.page.get_by_role("heading", name=f"Region captions, {ON_DEMAND}")).to_be_visible()
    expect(ui.page.get_by_role("img").first).to_be_visible()


def test_a_backfill_started_with_the_form_ends_green_and_skips_a_date_without_a_drop(ui: AirflowPages) -> None:
    form = ui.open_form()
    form.choose_backfill(FIRST, LAST)
    expect(form.dialog.get_by_text("3 runs will be triggered.")).to_be_visible()
    form.run_backfill.click()
    expect(form.dialog).to_be_hidden()

    ui.open_runs()
    for date in (FIRST, MISSING, LAST):
        becomes_green(ui.run(date))
    for date in (FIRST, LAST):
        ui.open_run(date)
        becomes_green(ui.task("publish"))
    ui.open_run(MISSING)
    for task in ("wait_for_drop", "publish"):
        expect(ui.task(task).get_by_text("Skipped")).to_be_visible()
    ui.open_task("wait_for_drop")
    expect(ui.page.get_by_text(f"skipped: there is no drop at s3://drops/{MISSING}: upload it there")).to_be_visible()
