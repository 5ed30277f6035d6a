"""What a newer RegionCap wrote: refused where something would be published over it or deleted, else read."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regioncap.cli.app import app
from regioncap.errors import ManifestError, StepMissingError
from regioncap.regions.records import RenderedRow
from regioncap.warehouse.corrections import corrections_of
from regioncap.warehouse.forgotten import all_of, forgettings_of
from regioncap.warehouse.history import collect, roll_back
from regioncap.warehouse.reviews import reviews_of
from regioncap.work.claim import Claim, who_holds
from regioncap.work.completions import load_completions, write_lines
from regioncap.work.layout import ANSWERS, plan_path, plan_rejected_path, plan_shard_path, shard_path
from regioncap.work.plan import Plan
from regioncap.work.spent import Ledger
from tests.builders import DATE, Place, kept_builds, read_whole
from tests.fake_vlm import FakeVlm
from tests.steps import caption, publish, records, render, validate

OF_TOMORROW = {"of_tomorrow": {"what": ["nobody", "knows"]}}


def say(row: RenderedRow) -> str:
    return "\n".join(f"<region{region.region}>: a red door of {row.image}" for region in row.regions)


@pytest.fixture
def published(place: Place) -> Place:
    """Two builds, and a folder of one that was never published, which is older than the manifest."""
    place.good_rows(3)
    for seed in range(2):
        place.build(say, answer_format="free_text", seed=seed)
    return place


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes), "utf-8")


def files(place: Place) -> dict[str, bytes]:
    """All files but claims and locks, by path."""
    return {
        str(path.relative_to(place.folder)): path.read_bytes()
        for path in (place.folder / "warehouse").rglob("*")
        if path.is_file() and not path.name.startswith((".regioncap-", "_claim"))
    }


def command(place: Place, *arguments: str) -> Callable[[], object]:
    def call() -> None:
        done = CliRunner().invoke(app, [*arguments, "--warehouse-uri", str(place.folder / "warehouse")])
        assert done.exit_code == 1 and "use the RegionCap that wrote it, or a newer one" in done.stderr
        raise ManifestError(done.stderr)

    return call


@pytest.mark.parametrize(
    "what", ["plan", "publish", "roll back", "collect", "builds collect", "upkeep --delete", "forget 0.jpg --delete"]
)
def test_nothing_is_published_over_a_newer_manifest_nor_deleted_beside_it(published: Place, what: str) -> None:
    place = published
    plan = place.plan(seed=9, answer_format="free_text", max_attempts=1)
    change(place.folder / f"warehouse/dt={DATE}/_manifest.json", schema_version="2.0", captions="of another form")
    before = files(place)
    calls: dict[str, Callable[[], object]] = {
        "plan": lambda: place.plan(seed=10),
        "publish": lambda: publish(place, plan),
        "roll back": lambda: roll_back(place.partition, None),
        "collect": lambda: collect(place.partition),
    }
    with pytest.raises(ManifestError, match="use the RegionCap that wrote it, or a newer one"):
        calls.get(what, command(place, *what.split()))()
    after = files(place)
    assert after == before


@pytest.mark.parametrize("file", ["manifest.json", "report.json"])
def test_an_earlier_build_of_a_newer_kind_is_not_deleted_by_forgetting(published: Place, file: str) -> None:
    place = published
    _, earlier = kept_builds(place.partition)
    change(place.folder / f"warehouse/dt={DATE}/build={earlier}/{file}", schema_version="3.0")
    if file == "report.json":
        # As it would be where the newer version has written it.
        inventory = place.folder / f"warehouse/dt={DATE}/build={earlier}/_files.jsonl"
        size = (inventory.parent / file).stat().st_size
        lines = [json.loads(text) for text in inventory.read_text().splitlines()]
        text = "".join(json.dumps(line | ({"bytes": size} if line["path"] == file else {})) + "\n" for line in lines)
        inventory.write_text(text)
        manifest = json.loads((inventory.parent / "manifest.json").read_text())
        manifest["files"] |= {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        (inventory.parent / "manifest.json").write_text(json.dumps(manifest))
    done = CliRunner().invoke(app, ["forget", "0.jpg", "--delete", "--warehouse-uri", str(place.folder / "warehouse")])
    assert done.exit_code == 1 and "use the RegionCap that wrote it, or a newer one" in done.stderr
    assert earlier in kept_builds(place.partition)
    assert (place.folder / f"warehouse/dt={DATE}/build={earlier}" / file).exists()


def test_a_plan_of_a_newer_kind_is_refused_and_its_work_area_left_alone(published: Place) -> None:
    place = published
    plan = place.plan(seed=9)
    change(place.folder / f"warehouse/_work/dt={DATE}" / plan_path(plan.plan_id), **OF_TOMORROW)
    with pytest.raises(StepMissingError, match="made by another version of RegionCap: clear the run's plan task"):
        Plan.load(place.work, plan.plan_id)


def test_fields_that_are_not_known_in_receipts_answers_and_notes_are_ignored(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(3)
    Claim.take(place.work, "run-1", lambda run: True)
    plan = place.plan(max_requests=100)
    work = place.folder / f"warehouse/_work/dt={DATE}"
    (shard,) = plan.shards
    own = work / plan_shard_path(plan.plan_id, shard)

    def and_more(*names: str) -> None:
        for name in names:
            change(own / name, **OF_TOMORROW)

    render(place, plan)
    and_more("render.json")
    caption(place, plan, vlm)
    and_more("caption.json")
    shared = place.work.sub(shard_path(shard))
    (part,) = [entry.path for entry in shared.list(ANSWERS)]
    answers = [json.loads(text) | OF_TOMORROW for text in shared.read(part).splitlines()]
    shared.delete(part)
    write_lines(shared, ANSWERS, "".join(json.dumps(answer) + "\n" for answer in answers).encode())
    assert len(load_completions(shared, ANSWERS)) == len(answers) == 3
    asked = len(vlm.requests)
    caption(place, plan, vlm)
    validate(place, plan)
    and_more("validate.json")
    change(work / "_claim.json", **OF_TOMORROW)
    for path in (work / "spent").glob("[!.]*.json"):
        change(path, **OF_TOMORROW)
    assert who_holds(place.work) == "run-1" and Ledger(place.work, plan).read().requests == 3
    publish(place, plan)
    assert len(vlm.requests) == asked and len(records(place)) == 3 and read_whole(place.partition)
    # And of what is published.
    (begun,) = (place.folder / f"warehouse/dt={DATE}").glob("build=*/_begun.json")
    change(begun, **OF_TOMORROW)
    assert collect(place.partition) == []


@pytest.mark.parametrize("journal", ["_corrections", "_reviews"])
def test_of_what_people_said_a_field_is_ignored_and_an_act_that_is_not_known_is_refused(
    published: Place, journal: str
) -> None:
    place = published
    read = (corrections_of if journal == "_corrections" else reviews_of)(place.partition)
    said = {"number": 1, "at": "2026-11-01", "by": "ann", "about": "0 en [1,2,3,4]", "build_id": "a", "region": 1}
    acts = {"action": "reject"} if journal == "_corrections" else {"verdict": "right", "region": "0.0.1"}
    file = place.folder / f"warehouse/dt={DATE}/{journal}/000000001.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps(said | acts | OF_TOMORROW) + "\n")
    assert [line.by for line in read.lines()] == ["ann"]
    file.write_text(json.dumps(said | acts | dict.fromkeys(list(acts)[:1], "of tomorrow")) + "\n")
    with pytest.raises(ManifestError, match="or use a newer RegionCap where one wrote it"):
        read.lines()


def test_what_a_newer_version_wants_to_be_forgotten_stops_runs_that_do_not_understand_it(published: Place) -> None:
    place = published
    line = {"number": 1, "at": "2026-11-01", "by": "ann", "contents": [], "people": ["hash of a face"]}
    place.warehouse.write("_forgotten/000000001.jsonl", json.dumps(line).encode() + b"\n")
    with pytest.raises(ManifestError, match="or use a newer RegionCap where one wrote it"):
        all_of(forgettings_of(place.warehouse).lines())


def test_a_plan_from_before_its_code_was_noted_is_gone_on_with(place: Place, vlm: FakeVlm) -> None:
    place.good_rows(2)
    plan = place.plan()
    assert plan.code
    old = plan.model_copy(update={"code": ""}).with_id()
    old.save(place.work)
    render(place, old)
    caption(place, old, vlm)
    validate(place, old)
    place.work.write(plan_rejected_path(old.plan_id), b"")
    publish(place, old)
    assert len(records(place)) == 2
