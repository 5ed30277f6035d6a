"""`plan`: rows into shards that are known by what is in them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regioncap.drop import checking
from regioncap.drop.rows import RowReader
from regioncap.errors import DropError, ExtensionError, UnforeseenError
from regioncap.processes import python
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Rejected
from regioncap.steps import plan as steps_plan
from regioncap.steps.plan import MAX_SHARDS
from regioncap.warehouse.manifest import Counts, FileEntry, Manifest, commit
from regioncap.work.layout import plan_rejected_path
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import DATE, Place, planned, read_lines

BOXES = [[1, 2, 30, 40]]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def rows_of(place: Place, plan: Plan) -> list[list[PlannedRow]]:
    return [Shard(place.work, plan, shard_id).planned() for shard_id in plan.shards]


def rejected_of(place: Place, plan: Plan) -> list[Rejected]:
    return read_lines(place.work, plan_rejected_path(plan.plan_id), Rejected)


def published(place: Place, plan: Plan) -> None:
    """Pretend that the plan was published, by a version that knew of no inventory."""
    entry = FileEntry(path="build=x/rejected.jsonl", rows=0, bytes=0, sha256=hashlib.sha256().hexdigest())
    manifest = Manifest(
        partition=f"dt={DATE}", build_id="x", build="build=x", captions=[], rejected=entry,
        counts=Counts(rows=1, captioned=1, rejected=0, regions=1), created_at="", plan_id=plan.plan_id,
        fingerprint=plan.fingerprint, identity=plan.identity,
    )  # fmt: skip
    place.partition.write(entry.path, b"")
    for name in ("report.json", "report.html", "README.md"):
        place.partition.write(f"build=x/{name}", b"x")
    place.partition.write("build=x/manifest.json", manifest.model_dump_json().encode())
    commit(place.partition, manifest, None)


def test_a_model_of_no_known_family_is_said_to_be_unknown(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES})
    place.plan(model_profile="generic")
    assert "is of no family that is known here" in caplog.text
    caplog.clear()
    place.plan(model_profile="qwen2.5-vl")
    assert "family" not in caplog.text


def test_every_row_is_in_a_shard_or_rejected(place: Place) -> None:
    place.put_rows({"image": "a.jpg", "bbox": BOXES}, "half a", {"image": "b.jpg"}, {"bbox": BOXES}, {"image": "c.jpg"})
    plan = place.plan(shard_size=2)
    assert [[row.image for row in rows] for rows in rows_of(place, plan)] == [["a.jpg", "b.jpg"], ["c.jpg"]]
    assert [(row.line, row.code) for row in rejected_of(place, plan)] == [(2, "not_json"), (4, "image_missing")]
    assert (plan.rows, plan.rejected, plan.unchanged) == (5, 2, False)


def test_the_plan_knows_which_images_are_there(place: Place) -> None:
    place.put("street/20.jpg", b"x")
    place.put_rows(*({"image": image} for image in ("./street//20.jpg", "street\\20.jpg", "none.jpg")))
    plan = place.plan()
    (rows,) = rows_of(place, plan)
    assert [row.image for row in rows] == ["street/20.jpg", "street/20.jpg", "none.jpg"]
    version = place.drop.stat("street/20.jpg").version
    assert Shard(place.work, plan, plan.shards[0]).versions() == [version, version, None]


def test_rows_whose_images_come_later_stay_in_their_shard(place: Place) -> None:
    place.put_rows({"image": "a.jpg"}, {"image": "b.jpg"})
    before = place.plan()
    place.put("a.jpg", b"x")
    after = place.plan()
    assert after.shards == before.shards and after.plan_id != before.plan_id


@pytest.mark.parametrize("noted", [{}, {"listed": True}, {"listed": False}], ids=str)
def test_rows_of_a_work_area_that_knew_less_or_more_of_them_are_read(place: Place, noted: dict[str, bool]) -> None:
    old = {"manifest": "m.jsonl", "line": 1, "id": "x", "image": "a.jpg", "type": "with_bbox", "bbox": BOXES, **noted}
    data = line(old)
    shard_id = hashlib.sha256(data).hexdigest()[:16]
    place.work.write(f"shards/{shard_id}/rows.jsonl", data)
    plan = planned().model_copy(update={"shards": [shard_id]})
    assert rows_of(place, plan) == [[PlannedRow.model_validate(old)]]


@pytest.mark.parametrize("levels", [200, 250, 300, 900, 5000])
@pytest.mark.parametrize("text", ['{"image": "a.jpg", "bbox": [[1, 2, 30, 40]], "x": %s}', '{"image": 7, "x": %s}'])
def test_a_row_nested_too_deep_costs_itself(place: Place, levels: int, text: str) -> None:
    place.put_rows({"image": "a.jpg"}, text % ("[" * levels + "]" * levels), {"image": "b.jpg"})
    plan = place.plan()
    assert [[row.image for row in rows] for rows in rows_of(place, plan)] == [["a.jpg", "b.jpg"]]
    assert [(row.line, row.code) for row in rejected_of(place, plan)] == [(2, "too_deep")]


@pytest.mark.parametrize("levels", [200, 250, 300])
def test_deep_objects_of_other_formats_cost_themselves_too(place: Place, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    place.put("m.json", f'[{{"image": "a.jpg"}}, {{"image": "b.jpg", "x": {deep}}}, {deep}]')
    plan = place.plan(input_format="json")
    assert [row.code for row in rejected_of(place, plan)] == ["too_deep", "too_deep"]
    place.put("m.csv", f'image,bbox\na.jpg,\nb.jpg,"[{deep}, [1, 2, 3, 4]]"\n')
    assert [row.code for row in rejected_of(place, place.plan(input_format="csv"))] == ["too_deep"]


def test_json_nested_beyond_all_reading_is_named_or_costs_itself(place: Place) -> None:
    place.put("deep.json", "[" * 100_000 + "]" * 100_000)
    assert [row.code for row in rejected_of(place, place.plan(input_format="json"))] == ["too_deep"]
    place.put("deep.json", "[" * 100_000)
    with pytest.raises(DropError, match=r"the manifest deep\.json cannot be read as json"):
        place.plan(input_format="json")


def test_an_integer_id_that_pandas_made_a_float_is_kept_and_a_gap_is_no_id(place: Place) -> None:
    frame = pd.DataFrame({"id": [17, None], "image": ["a.jpg", "a.jpg"], "bbox": [BOXES, BOXES]})
    frame.to_parquet(place.drop_folder / "a.parquet")
    # Written by something else than pandas, a gap stays NaN.
    table = pa.table({"id": [18.0, float("nan")], "image": ["a.jpg", "b.jpg"], "bbox": [BOXES, BOXES]})
    pq.write_table(table, place.drop_folder / "b.parquet")
    plan = place.plan(input_format="parquet")
    assert plan.rejected == 0
    (rows,) = rows_of(place, plan)
    assert [row.id for row in rows if len(row.id) < 16] == ["17", "18"]
    assert len(rows) == 4


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[dict[str, Any]], Exception | None]) -> None:
    """Reading a row raises what `fails` says."""
    read = RowReader.read

    def reading(self: RowReader, row: dict[str, Any], *rest: Any) -> Any:
        if error := fails(row):
            raise error
        return read(self, row, *rest)

    monkeypatch.setattr(RowReader, "read", reading)


@pytest.mark.parametrize("rows", [2, 5, 400])
def test_what_nobody_foresaw_in_one_row_costs_that_row(
    place: Place, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    place.put_rows(*({"image": f"{number}.jpg"} for number in range(rows)))
    failing(monkeypatch, lambda row: ArithmeticError("odd\x1b\ud800 " * 500) if row["image"] == "1.jpg" else None)
    plan = place.plan()
    (row,) = rejected_of(place, plan)
    assert (plan.rows, plan.rejected, row.line, row.code) == (rows, 1, 2, "internal_error")
    assert row.reason.startswith("ArithmeticError: odd") and len(row.reason) < 1000
    assert row.reason.isprintable()


def test_what_nobody_foresaw_in_many_rows_is_no_fault_of_the_drop(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put_rows(*({"image": f"{number}.jpg"} for number in range(300)))
    failing(monkeypatch, lambda row: KeyError("odd") if int(row["image"][:-4]) % 75 == 7 else None)
    with pytest.raises(
        UnforeseenError, match=r"4 of 300 rows .* first manifest\.jsonl, line 8: KeyError: 'odd'.*report"
    ):
        place.plan()


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep"), KeyError("odd")], ids=repr)
def test_whatever_comes_up_at_a_row_is_that_rows(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    place.put_rows({"image": "a.jpg"}, {"image": "b.jpg"})
    failing(monkeypatch, lambda row: error if row["image"] == "b.jpg" else None)
    (row,) = rejected_of(place, place.plan())
    assert (row.line, row.code) == (2, "internal_error") and row.reason.startswith(type(error).__name__)


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), ConnectionError("gone")])
def test_what_may_pass_by_itself_is_no_fault_of_a_row(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    place.put_rows({"image": "a.jpg"}, {"image": "b.jpg"})
    failing(monkeypatch, lambda row: error if row["image"] == "b.jpg" else None)
    with pytest.raises(type(error)):
        place.plan()


def test_rows_of_many_boxes_fill_a_shard_before_it_has_all_its_rows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_plan, "SHARD_BYTES", 4000)
    large = [{"image": f"{number}.jpg", "bbox": BOXES * (300 if number % 4 == 1 else 1)} for number in range(20)]
    place.put_rows(*large)
    plan = place.plan(shard_size=10)
    shards = rows_of(place, plan)
    assert [row.image for rows in shards for row in rows] == [row["image"] for row in large]
    assert len(shards) > 2
    # No more than the row with which it was enough.
    assert all(len(b"".join(map(line, rows[:-1]))) < 4000 for rows in shards)


def test_there_are_never_too_many_shards_however_large_rows_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_plan, "SHARD_BYTES", 1)
    monkeypatch.setattr(steps_plan, "MAX_SHARDS", 6)
    place.put_rows(*({"image": f"{number}.jpg", "bbox": BOXES} for number in range(20)))
    sizes = [len(rows) for rows in rows_of(place, place.plan(shard_size=5))]
    assert sum(sizes) == 20 and len(sizes) <= 6
    assert sizes[0] == 1 and max(sizes) == 5


@pytest.mark.parametrize("sample", [None, 7])
def test_a_plan_is_the_same_whatever_the_number_of_processes(
    place: Place, monkeypatch: pytest.MonkeyPatch, sample: int | None
) -> None:
    boxes = [[[side % 50, 2, 30, 40.5]] * (side % 3) for side in range(60)]
    odd = [{"image": "../a.jpg"}, {"id": 3}, "{", {"image": "a.jpg", "id": 3}, {"image": "A.jpg", "boxes": BOXES}]
    place.put("a.jpg", b"")
    place.put_rows(*({"image": "a.jpg", "id": side % 50, "bbox": each} for side, each in enumerate(boxes)))
    place.put_rows(*odd, *({"image": f"{side}.jpg", "bbox": each} for side, each in enumerate(boxes)), name="2.jsonl")
    place.put_rows(*({"image": f"{side}.jpg", "bbox": each} for side, each in enumerate(boxes)), name="3.jsonl")

    def made() -> dict[str, bytes]:
        place.work.delete_folder()
        plan = place.plan(shard_size=20, sample_rows=sample, max_boxes=1)
        paths = [entry.path for entry in place.work.list()]
        return {"plan": plan.model_dump_json().encode(), **{path: place.work.read(path) for path in paths}}

    here = made()
    monkeypatch.setattr(checking, "ENOUGH_ROWS", 1)
    monkeypatch.setattr(checking, "_BLOCK_ROWS", 3)
    monkeypatch.setattr(checking, "cores", lambda: 2)
    monkeypatch.setattr(checking, "free_memory", lambda: 1 << 40)
    started = []
    monkeypatch.setattr(checking, "python", lambda function: started.append(function) or python(function))
    assert made() == here
    assert len(started) == 2


@pytest.mark.parametrize("processes", [0, 2])
def test_boxes_whose_numbers_are_fields_stop_the_run_whatever_the_number_of_processes(
    place: Place, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr("regioncap.steps.plan.processes_for", lambda rows, files: processes)
    place.put_rows(*({"image": "a.jpg", "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40} for _ in range(3)))
    with pytest.raises(DropError, match=r"3 of 3 rows do not have the key 'bbox', but the numbers of a box in fields"):
        place.plan()


def test_the_wide_rows_of_a_parquet_manifest_are_not_copied_into_the_rejected_ones(place: Place) -> None:
    wide = {f"column {number}": ["x" * 50] * 200 for number in range(300)}
    pd.DataFrame({"image": [7] * 200, **wide}).to_parquet(place.drop_folder / "m.parquet")
    plan = place.plan(input_format="parquet")
    assert plan.rejected == 200
    assert len(place.work.read(plan_rejected_path(plan.plan_id))) < 200 * 500


def test_rows_of_all_manifests_are_planned_in_their_order(place: Place) -> None:
    place.put_rows({"image": "b.jpg"}, name="b.jsonl")
    place.put_rows({"image": "a.jpg"}, name="a.jsonl")
    rows = rows_of(place, place.plan())[0]
    assert [(row.manifest, row.line, row.image) for row in rows] == [("a.jsonl", 1, "a.jpg"), ("b.jsonl", 1, "b.jpg")]


def test_the_same_rows_make_the_same_shards_and_a_new_row_changes_only_the_last(place: Place) -> None:
    rows = [{"image": f"{number}.jpg"} for number in range(5)]
    place.put_rows(*rows)
    first = place.plan(shard_size=2)
    place.put_rows(*rows, {"image": "new.jpg"})
    second = place.plan(shard_size=2)
    assert second.shards[:2] == first.shards[:2]
    assert second.shards[2] != first.shards[2]


def test_a_large_drop_gets_larger_shards_not_more_than_airflow_maps(place: Place) -> None:
    place.put("m.jsonl", "".join(json.dumps({"image": f"{number}.jpg"}) + "\n" for number in range(2 * MAX_SHARDS + 1)))
    plan = place.plan(shard_size=1)
    assert len(plan.shards) <= MAX_SHARDS
    assert sum(map(len, rows_of(place, plan))) == 2 * MAX_SHARDS + 1


def test_a_published_drop_that_did_not_change_makes_no_shards(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    again = place.plan(run_id="run-2")
    assert again.unchanged
    assert again.shards == []


@pytest.mark.parametrize(
    "change", [{"temperature": 0.5}, {"mark_style": "corners"}, {"max_boxes": 3}, {"export_formats": ["csv"]}]
)
def test_a_setting_that_shapes_the_build_makes_it_new(place: Place, change: dict[str, object]) -> None:
    place.good_rows(2)
    published(place, place.plan())
    assert not place.plan(**change).unchanged


def test_a_setting_that_does_not_shape_the_build_leaves_it(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    assert place.plan(max_rejected_ratio=0.9, readiness="unchanged").unchanged


def test_another_model_makes_a_new_build(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    assert not place.plan(model="another").unchanged


READER = "from regioncap.drop.readers import READERS, Reader\nit = Reader(('.jsonl',), READERS['jsonl'].rows)"
STYLE = "from regioncap.marks.styles import MarkStyle\nit = MarkStyle('mine')"
PROFILE = "from regioncap.marks.profiles import ModelProfile\nit = ModelProfile('mine', None, lambda w, h: (w, h))"


@pytest.mark.parametrize(
    ("group", "code", "using"),
    [
        ("regioncap.gates", "from regioncap.gates import Gate\nit = Gate('mine', 'warn', lambda answer: None)", {}),
        ("regioncap.proposers", "def it(image): return []", {"when_no_boxes": "mine"}),
        ("regioncap.readers", READER, {"input_format": "mine"}),
        ("regioncap.styles", STYLE, {"mark_style": "mine"}),
        ("regioncap.profiles", PROFILE, {"model_profile": "mine"}),
    ],
)
def test_another_version_of_a_gate_or_of_what_is_in_use_makes_a_new_build(
    place: Place, extend: Callable[..., None], group: str, code: str, using: dict[str, Any]
) -> None:
    place.good_rows(1)
    extend(group, "mine", code, version="1.0")
    published(place, place.plan(**using))
    assert place.plan(**using).unchanged
    extend(group, "mine", code, version="1.1")
    assert not place.plan(**using).unchanged


@pytest.mark.parametrize(
    "group", ["regioncap.proposers", "regioncap.readers", "regioncap.styles", "regioncap.profiles"]
)
def test_what_is_installed_and_not_used_has_no_say(place: Place, extend: Callable[..., None], group: str) -> None:
    place.good_rows(1)
    published(place, place.plan())
    extend(group, "mine", "it = None")
    assert place.plan().unchanged


def test_what_is_in_use_and_cannot_be_used_is_named_at_the_start(place: Place, extend: Callable[..., None]) -> None:
    place.good_rows(1)
    extend("regioncap.proposers", "mine", "it = None")
    with pytest.raises(ExtensionError, match=r"the detector mine .* is no function; .* uninstall .*mine-package"):
        place.plan(when_no_boxes="mine")


def test_a_changed_image_makes_a_new_build(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    place.put("1.jpg", b"another picture")
    assert not place.plan().unchanged


def test_force_rebuild_plans_anew_and_its_own_retry_finds_the_same_plan(place: Place) -> None:
    place.good_rows(2)
    published(place, place.plan())
    first = place.plan(run_id="run-2", force_rebuild=True)
    assert not first.unchanged
    assert place.plan(run_id="run-2", force_rebuild=True) == first
    assert place.plan(run_id="run-3", force_rebuild=True).plan_id != first.plan_id


def test_all_rows_rejected_is_a_plan_without_shards(place: Place) -> None:
    place.put_rows("nothing", "of use")
    plan = place.plan()
    assert (plan.rows, plan.rejected, plan.shards, plan.unchanged) == (2, 2, [], False)


def test_hidden_files_that_are_left_out_are_told_of_in_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.good_rows(1)
    for name in ("._manifest.jsonl", ".b.jsonl.gz"):
        place.put(name, b"x")
    assert place.plan().warnings == []
    assert "2 hidden files were left out, the first of them ._manifest.jsonl" in caplog.text


def test_an_empty_manifest_is_a_fault_of_the_drop(place: Place) -> None:
    place.put("m.jsonl", "\n\n")
    with pytest.raises(DropError, match="have no rows"):
        place.plan()


def test_a_plan_is_read_back_as_it_was_written(place: Place) -> None:
    place.good_rows(1)
    plan = place.plan()
    assert Plan.load(place.work, plan.plan_id) == plan


def test_boxes_under_another_key_stop_the_run(place: Place) -> None:
    place.put_rows(
        {"image": "a.jpg", "boxes": [[330, 40, 120, 120]]}, {"image": "b.jpg", "boxes": [[60, 240, 120, 120]]}
    )
    with pytest.raises(DropError, match="set the param bbox_key to boxes"):
        place.plan()
    assert place.plan(bbox_key="boxes").rows == 2
