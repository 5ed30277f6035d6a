"""Images that are to be forgotten: out of all builds and the work area, and they do not come back."""

import hashlib
import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from regioncap.cli.places import open_warehouse
from regioncap.errors import CommitRefusedError, ManifestError, StepMissingError, SupersededError
from regioncap.regions.records import RenderedRow
from regioncap.steps.forget import Date, Named, forget, named
from regioncap.steps.publish import stage_build
from regioncap.storage.local import LocalStore
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of, what_holds
from regioncap.warehouse.forgotten import Forgetting, all_of, forgettings_of, not_done
from regioncap.warehouse.history import roll_back
from regioncap.warehouse.manifest import Manifest, current
from regioncap.warehouse.reviews import Review, note, reviews_of
from regioncap.work.claim import Claim
from regioncap.work.row_index import image_digest
from regioncap.work.shard import Shard
from regioncap.work.staged import Staged
from tests.builders import DATE, Place, encoded, picture, read_whole
from tests.fake_vlm import FakeVlm
from tests.faulty_store import WRITES, Call, Fault, FaultyStore
from tests.listening import Knowing, rows
from tests.steps import ASKING, build, caption, propose, publish, records, render, validate
from tests.unit.steps.test_judge import judged_build, knowing

__all__ = ["knowing"]

# A name that is found nowhere by chance.
SECRET = "anna-müller.jpg"


def say(row: RenderedRow) -> str:
    return "\n".join(f"<region{region.region}>: a red door of {row.image}" for region in row.regions)


def fill(place: Place, rows: int = 5) -> bytes:
    """A drop of good rows, the third of which is about the image that is to be forgotten, whose bytes are returned."""
    place.good_rows(rows)
    secret = encoded(picture(colour=(3, 141, 59)))
    (place.drop_folder / "2.jpg").unlink()
    place.put(SECRET, secret)
    lines = [json.loads(text) for text in (place.drop_folder / "manifest.jsonl").read_text().splitlines()]
    lines[2] |= {"image": SECRET, "id": "row of anna"}
    place.put_rows(*lines)
    return secret


def run(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, ["forget", "--by", "ben", "--warehouse-uri", str(place.folder / "warehouse"), *arguments]
    )


def manifest_of(place: Place) -> Manifest:
    manifest, _ = current(place.partition)
    assert manifest is not None
    return manifest


def held_in(data: bytes, needles: list[bytes]) -> bool:
    return any(needle in data for needle in needles)


def unpacked(path: Path) -> Iterator[bytes]:
    """What a file holds, as bytes that can be searched."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet" and path.name != "lineage.parquet":
        for row in pq.read_table(io.BytesIO(data)).to_pylist():
            yield from (repr(row).encode(), row["image"]["bytes"] if isinstance(row.get("image"), dict) else b"")
    if path.suffix == ".tar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                yield from (member.name.encode(), content.read() if content else b"")


def traces(place: Place, secret: bytes, marked: list[bytes]) -> list[str]:
    """All files of the warehouse, with work area, lists and journals, that tell anything of the image."""
    needles = [
        SECRET.encode(), json.dumps(SECRET).strip('"').encode(), "müller".encode(), b"row of anna",
        secret, *marked, *(hashlib.sha256(jpeg).hexdigest()[:32].encode() for jpeg in marked),
    ]  # fmt: skip
    content = hashlib.sha256(secret).hexdigest().encode()
    found = []
    for path in sorted((place.folder / "warehouse").rglob("*")):
        if path.is_file() and path.name != "_claim.json":
            # The list says which content it is, since nothing else would recognise it; nothing else may.
            mine = needles if "_forgotten" in path.parts or path.name == "plan.json" else [*needles, content]
            if held_in(path.name.encode(), needles) or any(held_in(data, mine) for data in unpacked(path)):
                found.append(str(path.relative_to(place.folder)))
    return found


def marked_of(place: Place) -> list[bytes]:
    """The marked images of what is to be forgotten, of all builds that are kept, and crops beside them."""
    names = {
        json.loads(text)["image_with_bbox"]
        for path in (place.folder / "warehouse").glob("dt=*/build=*/captions*.jsonl")
        for text in path.read_text("utf-8").splitlines()
        if json.loads(text)["image"] == SECRET
    }
    return [next((place.folder / "warehouse").glob(f"dt=*/build=*/{name}")).read_bytes() for name in sorted(names)]


EXPORTS: dict[str, Any] = {
    "export_formats": ["parquet", "coco", "webdataset", "hf", "label_studio"],
    "export_images": "original",
}


@pytest.mark.parametrize("images", ["none", "original", "marked"])
def test_nothing_is_left_of_it_in_any_file_and_every_build_is_whole(place: Place, images: str) -> None:
    secret = fill(place)
    exports = (
        {"export_images": images, "export_formats": ["parquet", "webdataset", "hf"]} if images == "marked" else EXPORTS
    )
    for number in range(2):
        place.build(say, shard_size=2, answer_format="free_text", **exports | {"export_images": images}, seed=number)
    marked = marked_of(place)
    before = [manifest_of(place).build_id, *(each.build_id for each in manifest_of(place).history)]
    assert traces(place, secret, marked) and len(before) == 2
    told = run(place, SECRET, "--date", DATE)
    assert told.exit_code == 0 and "current, 1 row\n" in told.stdout and "earlier, 1 row\n" in told.stdout
    assert "nothing was deleted: add --delete" in told.stdout and manifest_of(place).build_id == before[0]
    done = run(place, SECRET, "--date", DATE, "--delete")
    assert done.exit_code == 0, done.stderr
    assert traces(place, secret, marked) == []
    manifest = manifest_of(place)
    assert {manifest.build_id, *(each.build_id for each in manifest.history)} & {*before} == set()
    assert len(manifest.history) == 1 and manifest.counts.captioned == 4 and manifest.counts.rows == 4
    assert read_whole(place.partition) == manifest.build_id
    verified = CliRunner().invoke(app, ["verify", "--all", "--warehouse-uri", str(place.folder / "warehouse")])
    assert verified.exit_code == 0 and verified.stdout.count("  whole, ") == 2
    folders = {path.name for path in (place.folder / "warehouse" / f"dt={DATE}").glob("build=*")}
    assert folders == {manifest.build, *(f"build={each.build_id}" for each in manifest.history)}


def test_the_other_records_exports_and_figures_are_those_of_a_drop_that_never_had_it(
    place: Place, tmp_path: Path
) -> None:
    fill(place)
    place.build(say, shard_size=2, answer_format="free_text", **EXPORTS)
    assert run(place, SECRET, "--delete").exit_code == 0
    never = Place(tmp_path / "never")
    fill(never)
    lines = [text for text in (never.drop_folder / "manifest.jsonl").read_text().splitlines() if "row of" not in text]
    never.put_rows(*map(json.loads, lines))
    never.build(say, shard_size=2, answer_format="free_text", **EXPORTS)

    def told(at: Place) -> list[dict[str, Any]]:
        return [{**record, "image_uri": ""} for record in records(at)]

    assert told(place) == told(never)
    reports = [json.loads(at.published("report.json")) for at in (place, never)]
    for report in reports:
        # What it took to make the build stays as it was.
        for name in ("build_id", "created_at", "drop_uri", "timings", "cost", "settings", "versions", "boxes"):
            del report[name]
    assert reports[0] == reports[1]
    for manifest in (manifest_of(place), manifest_of(never)):
        rows: Counter[str] = Counter()
        for entry in manifest.exports:
            rows[entry.path.split("/")[2]] += entry.rows
        assert (rows["parquet"], rows["coco"], rows["webdataset"]) == (4, 4, 4)


def test_the_next_run_changes_nothing_and_one_with_other_settings_rejects_the_row_and_asks_nothing(
    place: Place, vlm: FakeVlm
) -> None:
    secret = fill(place)
    build(place, vlm, shard_size=2, max_rejected_ratio=0.0)
    marked = marked_of(place)
    assert run(place, SECRET, "--delete").exit_code == 0
    assert place.plan(shard_size=2, max_rejected_ratio=0.0).unchanged
    asked = len(vlm.requests)
    build(place, vlm, run_id="run-2", shard_size=3, max_rejected_ratio=0.0, export_formats=["csv"])
    manifest = manifest_of(place)
    assert (manifest.counts.rows, manifest.counts.captioned) == (5, 4) and len(vlm.requests) == asked
    (row,) = [json.loads(text) for text in place.published("rejected.jsonl").splitlines()]
    assert (row["code"], row["id"], row["row"], row["line"]) == ("forgotten", None, None, 3)
    assert traces(place, secret, marked) == []


def test_the_same_file_under_another_name_and_on_another_date_is_forgotten_too(place: Place, vlm: FakeVlm) -> None:
    secret = fill(place)
    build(place, vlm)
    other = Place(place.folder / "again", "2026-10-06")
    other.warehouse, other.work = place.warehouse, LocalStore(place.folder / "warehouse/_work/dt=2026-10-06")
    other.partition = LocalStore(place.folder / "warehouse/dt=2026-10-06")
    other.put("renamed.jpg", secret)
    other.put("good.jpg", encoded(picture()))
    boxes = [[10, 10, 40, 30]]
    other.put_rows({"image": "renamed.jpg", "bbox": boxes}, {"image": "good.jpg", "bbox": boxes})
    build(other, vlm)
    done = run(place, SECRET, "--delete")
    assert done.exit_code == 0 and done.stdout.count(": forgotten;") == 2
    assert [record["image"] for record in records(other)] == ["good.jpg"]
    # It comes in a later drop, under a name that nobody knows: it is opened, and that is all.
    later = Place(place.folder / "later", "2026-10-07")
    later.warehouse, later.partition = place.warehouse, LocalStore(place.folder / "warehouse/dt=2026-10-07")
    later.put("third.jpg", secret)
    later.put("good.jpg", encoded(picture(colour=(9, 9, 200))))
    later.put_rows({"image": "third.jpg", "bbox": boxes}, {"image": "good.jpg", "bbox": boxes}, {"image": "third.jpg"})
    build(later, vlm, when_no_boxes="contours")
    assert [record["image"] for record in records(later)] == ["good.jpg"]
    rows = [json.loads(text) for text in later.published("rejected.jsonl").splitlines()]
    assert [(row["code"], row["row"]) for row in rows] == [("forgotten", None)] * 2


def test_a_path_on_several_dates_is_forgotten_on_the_one_that_is_named(place: Place) -> None:
    fill(place)
    place.build(say, answer_format="free_text")
    other = Place(place.folder / "again", "2026-10-06")
    other.warehouse, other.partition = place.warehouse, LocalStore(place.folder / "warehouse/dt=2026-10-06")
    other.put("0.jpg", encoded(picture(colour=(1, 2, 3))))
    other.put_rows({"image": "0.jpg", "bbox": [[10, 10, 40, 30]]})
    other.build(say, answer_format="free_text")
    refused = run(place, "0.jpg", "--delete")
    assert refused.exit_code == 1 and "say which --date is meant" in refused.stderr
    assert len(records(other)) == 1 and len(records(place)) == 5
    assert run(place, "0.jpg", "--date", DATE, "--delete").exit_code == 0
    assert len(records(other)) == 1 and len(records(place)) == 4


@pytest.mark.parametrize("name", ["content", "uri", "id"])
def test_an_image_is_named_by_its_content_its_uri_or_its_row(place: Place, name: str) -> None:
    secret = fill(place)
    place.build(say, answer_format="free_text")
    names = {"content": hashlib.sha256(secret).hexdigest(), "uri": f"{place.drop.uri}/{SECRET}", "id": "row of anna"}
    marked = marked_of(place)
    assert run(place, names[name], "--delete").exit_code == 0
    assert traces(place, secret, marked) == []


NAMES = ("a b", 'with "quotes"', "back\\slash", "new\nline", "caf\u00e9", "\u200b", "a/", "..", "x/..", "{", "a%20b")


def test_a_row_is_found_by_whatever_name_it_has(place: Place) -> None:
    images = ["a.jpg", "b/c d.jpg", "b/caf\u00e9.jpg", 'b/"d".jpg']
    place.put("b/c d.jpg", b"")
    place.put_rows(
        *({"image": "gone.jpg", "bbox": [[1, 2, 3, 4]], "id": name} for name in NAMES),
        {"image": "b\\c d.jpg"}, {"image": "./a.jpg"}, {"image": "b//caf\u00e9.jpg"}, {"image": 'b/x/../"d".jpg'},
    )  # fmt: skip
    place.plan()
    date = Date(DATE, place.warehouse, place.partition, place.work)
    for name in (*NAMES, *images):
        (one,) = named([name], None, [date]).values()
        assert one.images, name
    together = named([*NAMES, *images], None, [date])
    assert all(one.images for one in together.values())
    assert named(["nothing of it"], None, [date]) == {"nothing of it": Named(set(), set())}


def test_what_is_found_nowhere_is_told_and_nothing_is_entered(place: Place) -> None:
    fill(place)
    place.build(say, answer_format="free_text")
    done = run(place, "typo.jpg", "--delete")
    assert done.exit_code == 1 and "typo.jpg is found nowhere" in done.stderr
    assert forgettings_of(place.warehouse).lines() == [] and len(records(place)) == 5


def test_a_picture_that_has_taken_its_place_since_stays(place: Place) -> None:
    secret = fill(place)
    place.build(say, answer_format="free_text")
    marked = marked_of(place)
    place.put(SECRET, encoded(picture(colour=(250, 1, 1))))
    place.build(say, answer_format="free_text")
    before = manifest_of(place)
    assert run(place, hashlib.sha256(secret).hexdigest(), "--delete").exit_code == 0
    assert manifest_of(place).build_id == before.build_id and len(records(place)) == 5
    assert len(manifest_of(place).history) == 1 and manifest_of(place).history != before.history
    assert not any(held_in(path.read_bytes(), [*marked, hashlib.sha256(secret).hexdigest().encode()])
                   for path in (place.folder / "warehouse").rglob("*")
                   if path.is_file() and "_forgotten" not in path.parts)  # fmt: skip
    assert place.plan(seed=3).rejected == 0


def test_rows_that_were_rejected_and_what_people_said_go_too(place: Place) -> None:
    secret = fill(place)
    place.put("broken.jpg", b"no picture")
    text = (place.drop_folder / "manifest.jsonl").read_text()
    bad = [{"image": SECRET, "bbox": "none", "who": "Anna"}, {"image": f"./{SECRET}", "bbox": [[1, 1, 1, 1]]}]
    place.put("manifest.jsonl", text + "".join(json.dumps(row) + "\n" for row in bad) + f'{{"image": "{SECRET}", \n')
    place.build(say, answer_format="free_text")
    record = next(record for record in records(place) if record["image"] == SECRET)
    about = about_region(record["image_sha256"], record["regions"][0]["bbox"], "en")
    other = next(record for record in records(place) if record["image"] == "0.jpg")
    mine = Correction(at="2026-11-01", by="ann", action="edit", about=about, region=1, caption="anna müller",
                      id="row of anna", image=SECRET)  # fmt: skip
    theirs = mine.model_copy(
        update={"about": about_region(other["image_sha256"], other["regions"][0]["bbox"], "en"), "image": "0.jpg"}
        | {"id": other["id"], "caption": "a blue door"}
    )
    correct(corrections_of(place.partition), [mine, theirs], seen=0)
    build_id = manifest_of(place).build_id
    place_in_file = [record["image"] for record in records(place)].index(SECRET)
    for number in (place_in_file, place_in_file + 1):
        note(reviews_of(place.partition), Review(at="2026-11-02", by="ann", build_id=build_id, region=f"0.{number}.1",
                                                 verdict="wrong", note=f"said of {number}: müller"))  # fmt: skip
    place.build(say, answer_format="free_text")
    marked = marked_of(place)
    assert run(place, SECRET, "--delete").exit_code == 0
    left = [path for path in traces(place, secret, marked) if "_reviews" not in path]
    assert left == []
    notes = [line.note for line in reviews_of(place.partition).lines()]
    assert notes == ["", f"said of {place_in_file + 1}: müller"]
    lines = corrections_of(place.partition).lines()
    assert [(line.number, line.by, line.caption) for line in lines] == [(1, "ann", None), (2, "ann", "a blue door")]
    assert bool(what_holds(lines, "en").holding(theirs.about)) and not what_holds(lines, "en").holding(about)
    assert manifest_of(place).counts.rejected == 0


def test_a_build_that_was_gone_back_from_stays_so(place: Place) -> None:
    fill(place)
    place.build(say, answer_format="free_text")
    place.put("manifest.jsonl", (place.drop_folder / "manifest.jsonl").read_text().rsplit("\n", 2)[0] + "\n")
    place.build(say, answer_format="free_text")
    roll_back(place.partition, None)
    assert run(place, SECRET, "--delete").exit_code == 0
    (withdrawn,) = manifest_of(place).history
    assert withdrawn.withdrawn and len(records(place)) == 4
    assert place.plan(answer_format="free_text", max_attempts=1, max_rejected_ratio=1).unchanged
    assert roll_back(place.partition, withdrawn.build_id).build_id == withdrawn.build_id
    assert len(records(place)) == 3 and read_whole(place.partition)


@pytest.mark.parametrize("published_before", [True, False])
def test_a_build_that_waits_for_somebody_is_not_published_any_more(place: Place, published_before: bool) -> None:
    secret = fill(place)
    if published_before:
        place.build(say, answer_format="free_text", seed=1)
    plan = place.plan(answer_format="free_text", max_attempts=1, seed=2)
    render(place, plan)
    for shard_id in plan.shards:
        place._answer(plan, Shard(place.work, plan, shard_id), say)
    validate(place, plan)
    staged = stage_build(plan=plan, drop=place.drop, work=place.work, partition=place.partition, before=(),
                         max_rejected_ratio=1.0, progress=lambda message: None)  # fmt: skip
    assert isinstance(staged, Staged)
    staged.save(place.work)
    marked = marked_of(place)
    done = run(place, SECRET, "--delete")
    assert done.exit_code == 0 and "not published: it is deleted" in done.stdout
    assert traces(place, secret, marked) == []
    assert Staged.load(place.work, plan.plan_id) is None
    with pytest.raises(StepMissingError, match="clear the"):
        publish(place, plan)


def test_a_plan_from_before_is_told_to_be_made_anew_also_with_another_work_area(place: Place, vlm: FakeVlm) -> None:
    fill(place)
    build(place, vlm)
    here = place.work
    place.work = LocalStore(place.folder / "elsewhere")
    plan = place.plan(run_id="run-2", export_formats=["csv"])
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    elsewhere, place.work = place.work, here
    assert run(place, SECRET, "--delete").exit_code == 0
    place.work = elsewhere
    with pytest.raises(StepMissingError, match="images were forgotten after the plan was made: clear the run's plan"):
        publish(place, plan)


def test_a_list_that_was_lost_brings_nothing_back(place: Place) -> None:
    fill(place)
    place.build(say, answer_format="free_text")
    assert run(place, SECRET, "--delete").exit_code == 0
    place.warehouse.sub("_forgotten/").delete_folder()
    with pytest.raises(ManifestError, match="restore its files from a backup, or the images come back"):
        place.plan(seed=7)


def test_a_date_that_a_run_builds_is_left_alone_and_taken_up_by_the_next_call(place: Place) -> None:
    secret = fill(place)
    place.build(say, answer_format="free_text")
    marked = marked_of(place)
    claim = Claim.take(place.work, "region_captions/nightly", lambda run: True)
    before = manifest_of(place)
    done = run(place, SECRET, "--delete")
    assert done.exit_code == 1 and "is being built by the run region_captions/nightly" in done.stderr
    assert "if it is over, and its Airflow is gone, delete " in done.stderr and "_claim.json" in done.stderr
    assert manifest_of(place) == before and not_done(forgettings_of(place.warehouse).lines()) == {f"dt={DATE}"}
    claim.release()
    # Nobody has to name it again.
    assert run(place, "--delete").exit_code == 0
    assert traces(place, secret, marked) == [] and not_done(forgettings_of(place.warehouse).lines()) == set()


def test_the_log_says_who_when_and_which_builds_and_nothing_else(place: Place) -> None:
    secret = fill(place)
    place.build(say, answer_format="free_text")
    before = manifest_of(place).build_id
    assert run(place, SECRET, "--delete").exit_code == 0
    entry, done = forgettings_of(place.warehouse).lines()
    assert entry.by == done.by == "ben" and entry.at <= done.at
    assert entry.contents == [hashlib.sha256(secret).hexdigest()] and entry.partitions == [f"dt={DATE}"]
    assert (done.partition, done.builds, done.entry) == (f"dt={DATE}", {before: manifest_of(place).build_id}, 1)
    assert SECRET not in "".join(path.read_text() for path in (place.folder / "warehouse/_forgotten").iterdir())
    again = run(place, SECRET, "--date", DATE, "--delete")
    assert again.exit_code == 0 and "nothing is found that is to be forgotten" in again.stdout
    assert len(forgettings_of(place.warehouse).lines()) == 2


class Killed(BaseException):
    """The process is gone."""


class Dies:
    """What a store does before each call: from the `number`-th change on, nothing gets through any more."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, call: Call) -> Fault | None:
        if call.method in WRITES or self.left <= 0:
            self.left -= 1
            if self.left <= 0:
                raise Killed
        return None


def small(place: Place) -> tuple[bytes, list[bytes]]:
    """Two builds of three rows, a correction, and a preview; the image's bytes, and those of its marked images."""
    secret = fill(place, 3)
    for seed in range(2):
        place.build(say, answer_format="free_text", shard_size=2, seed=seed)
    record = next(record for record in records(place) if record["image"] == SECRET)
    about = about_region(record["image_sha256"], record["regions"][0]["bbox"], "en")
    said = Correction(at="2026-11-01", by="ann", action="edit", about=about, caption="anna müller", image=SECRET)
    correct(corrections_of(place.partition), [said], seen=0)
    place.warehouse.write(f"_previews/dt={DATE}/plan/try.html", SECRET.encode())
    return secret, marked_of(place)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.prove)])
def test_killed_at_any_change_and_called_again_it_ends_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    first = Place(tmp_path / "first")
    secret, marked = small(first)
    survived = 0
    for number in range(1, 500, step):
        place = Place(tmp_path / str(number))
        shutil.copytree(first.folder, place.folder, dirs_exist_ok=True)
        dies = Dies(number)
        with monkeypatch.context() as patched:
            opened = lambda uri, dies=dies: FaultyStore(open_warehouse(uri), dies)  # noqa: E731
            patched.setattr("regioncap.cli.forget.open_warehouse", opened)
            try:
                done = run(place, SECRET, "--delete")
            except Killed:
                survived += 1
            else:
                assert done.exit_code == 0
                break
        # Readers see a whole build all the time, and a run in between does not bring it back.
        assert read_whole(place.partition) == manifest_of(place).build_id
        if forgettings_of(place.warehouse).lines():
            assert place.plan(seed=9).rejected == 1
            arguments = ["--delete"]
        else:
            arguments = [SECRET, "--delete"]
        again = run(place, *arguments)
        assert again.exit_code == 0, (number, again.stderr)
        assert traces(place, secret, marked) == [], number
        assert len(manifest_of(place).history) == 1 and len(records(place)) == 2
        verified = CliRunner().invoke(app, ["verify", "--all", "--warehouse-uri", str(place.folder / "warehouse")])
        assert verified.exit_code == 0, (number, verified.stdout)
        assert not_done(forgettings_of(place.warehouse).lines()) == set()
        shutil.rmtree(place.folder)
    assert survived > 40 / step


def answered_about(place: Place) -> dict[str, int]:
    """How many answers of each kind are kept about each image."""
    found: Counter[str] = Counter()
    for path in (place.folder / "warehouse/_work").rglob("*.jsonl"):
        if path.parent.name in ("answers", "judged", "proposals"):
            lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
            found.update(f"{path.parent.name} {line['about']}" for line in lines)
    return found


def test_answers_about_other_images_stay_and_none_about_it_does(place: Place, vlm: FakeVlm) -> None:
    secret = fill(place)
    lines = [json.loads(text) for text in (place.drop_folder / "manifest.jsonl").read_text().splitlines()]
    for row in lines[1:4]:
        del row["bbox"]
    place.put_rows(*lines)
    asking = {**ASKING, "shard_size": 3}
    for run_id in ("run-1", "run-2"):
        plan = place.plan(run_id=run_id, **asking, export_formats=["csv"] if run_id == "run-2" else [])
        propose(place, plan, vlm)
        render(place, plan)
        caption(place, plan, vlm)
        validate(place, plan)
        publish(place, plan)

    before = answered_about(place)
    about = f"{image_digest(SECRET):016x}"
    assert {name for name in before if about in name} == {f"{kind} {about}" for kind in ("answers", "proposals")}
    assert run(place, SECRET, "--delete").exit_code == 0
    assert answered_about(place) == {name: count for name, count in before.items() if about not in name}
    asked = len(vlm.requests)
    plan = place.plan(run_id="run-3", **asking, export_formats=["json"])
    propose(place, plan, vlm)
    render(place, plan)
    caption(place, plan, vlm)
    validate(place, plan)
    publish(place, plan)
    assert len(vlm.requests) == asked and len(records(place)) == 4
    assert hashlib.sha256(secret).hexdigest() not in json.dumps(records(place))


def test_what_a_listener_has_heard_about_it_goes_and_no_caption_of_others_is_asked_for_again(
    place: Place, vlm: FakeVlm, knowing: Knowing
) -> None:
    rows(place, 4)
    judged_build(place, vlm, knowing, shard_size=3)
    before, about = answered_about(place), f"{image_digest('1.jpg'):016x}"
    assert before[f"judged {about}"] > 0
    assert run(place, "1.jpg", "--delete").exit_code == 0
    assert answered_about(place) == {name: count for name, count in before.items() if about not in name}
    manifest = manifest_of(place)
    assert manifest.judged is not None and manifest.judged.judged and manifest.counts.captioned == 3
    asked = len(vlm.requests)
    judged_build(place, vlm, knowing, shard_size=3, export_formats=["csv"])
    # In a shard of other rows the listener is planted other captions.
    assert all(request["max_tokens"] == 1 for request in vlm.requests[asked:])
    assert manifest_of(place).counts.captioned == 3


def test_an_earlier_build_that_is_not_whole_is_deleted_and_the_others_are_made_anew(place: Place) -> None:
    secret = fill(place)
    for seed in range(3):
        place.build(say, answer_format="free_text", seed=seed)
    marked = marked_of(place)
    whole, damaged = (each.build_id for each in manifest_of(place).history)
    next((place.folder / f"warehouse/dt={DATE}/build={damaged}/images").iterdir()).unlink()
    done = run(place, SECRET, "--delete")
    assert done.exit_code == 0 and "it is deleted, and cannot be gone back to" in done.stdout
    assert traces(place, secret, marked) == [] and len(manifest_of(place).history) == 1
    (log,) = (line.builds for line in forgettings_of(place.warehouse).lines() if line.partition)
    assert log[damaged] == "" and log[whole] == manifest_of(place).history[0].build_id


def test_a_current_build_that_is_not_whole_is_built_anew_without_it_by_its_run(place: Place) -> None:
    secret = fill(place)
    place.build(say, answer_format="free_text")
    marked = marked_of(place)
    other = next(record["image_with_bbox"] for record in records(place) if record["image"] == "0.jpg")
    (place.folder / "warehouse" / f"dt={DATE}" / manifest_of(place).build / other).unlink()
    done = run(place, SECRET, "--delete")
    assert done.exit_code == 1 and f"{other} is gone. Run the date again" in done.stderr
    place.build(say, answer_format="free_text")
    assert len(records(place)) == 4
    assert run(place, "--delete").exit_code == 0
    assert traces(place, secret, marked) == [] and len(records(place)) == 4


def test_a_build_of_it_alone_is_left_without_records(place: Place) -> None:
    secret = fill(place, 3)
    text = (place.drop_folder / "manifest.jsonl").read_text().splitlines()[2]
    place.put("manifest.jsonl", text)
    place.build(say, answer_format="free_text", export_formats=["parquet", "csv"])
    marked = marked_of(place)
    assert run(place, SECRET, "--delete").exit_code == 0
    manifest = manifest_of(place)
    assert (manifest.counts.rows, manifest.captions) == (0, []) and read_whole(place.partition)
    assert traces(place, secret, marked) == []


def test_rows_that_are_rejected_for_what_it_is_called_go_too(place: Place) -> None:
    secret = fill(place)
    for name in ("Anna-Müller.JPG", "ANNA-müller.jpg"):
        place.put(name, encoded(picture(colour=(len(name), 5, 5))))
    text = (place.drop_folder / "manifest.jsonl").read_text()
    place.put("manifest.jsonl", text + json.dumps({"image": "anna-MÜLLER.jpg", "bbox": [[1, 1, 9, 9]]}) + "\n")
    place.build(say, answer_format="free_text")
    before = json.loads(place.published("rejected.jsonl"))
    assert before["code"] == "image_not_found" and SECRET in before["reason"]
    marked = marked_of(place)
    assert run(place, SECRET, "--delete").exit_code == 0
    assert traces(place, secret, marked) == []
    place.build(say, answer_format="free_text", seed=3)
    assert [json.loads(text)["code"] for text in place.published("rejected.jsonl").splitlines()] == ["forgotten"] * 2
    assert traces(place, secret, marked) == []


@pytest.mark.parametrize("meanwhile", ["published", "planned"])
def test_what_a_run_does_meanwhile_refuses_it_and_nothing_is_deleted_until_it_is_done_again(
    place: Place, meanwhile: str
) -> None:
    secret = fill(place)
    place.build(say, answer_format="free_text")
    marked = marked_of(place)
    (entry,) = forgettings_of(place.warehouse).add(
        lambda _: [Forgetting(at="2026-11-01", by="ben", contents=[hashlib.sha256(secret).hexdigest()],
                              partitions=[f"dt={DATE}"])]
    )  # fmt: skip
    happened: list[str] = []

    def happens(message: str) -> None:
        if not happened:
            happened.append(message)
            if meanwhile == "published":
                place.build(say, answer_format="free_text", seed=7)
            else:
                Claim.take(place.work, "region_captions/nightly", lambda run: False)

    date = Date(DATE, place.warehouse, place.partition, place.work)
    forgotten = all_of([entry])

    def forget_it() -> None:
        forget(
            date, forgotten, lines=1, is_alive=lambda run: False, open_images=lambda *_: place.drop, progress=happens
        )

    before = manifest_of(place)
    with pytest.raises(CommitRefusedError if meanwhile == "published" else SupersededError):
        forget_it()
    assert happened and (place.folder / "warehouse" / f"dt={DATE}" / before.build / "manifest.json").exists()
    assert read_whole(place.partition) == manifest_of(place).build_id
    forget_it()
    assert traces(place, secret, marked) == [] and len(records(place)) == 4
