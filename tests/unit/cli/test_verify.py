"""`regioncap verify`, on a warehouse in a folder."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from regioncap.storage.store import Store
from regioncap.warehouse import whole
from regioncap.warehouse.manifest import current
from tests.builders import DATE, ROOT, Place, describe, publish_each
from tests.damage import change, damage


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def verify(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", "--warehouse-uri", str(place.folder / "warehouse"), *arguments])


def exported(place: Place) -> Path:
    """Publish a build with exports; returns its folder."""
    place.good_rows(3)
    place.put_rows(*({"image": f"{k}.jpg", "bbox": [[10, 10, 40, 30]]} for k in range(3)), "no row")
    manifest = place.build(describe, export_formats=["parquet", "coco"], export_images="original").manifest
    return place.folder / "warehouse" / f"dt={place.date}" / manifest.build


FILES = {
    "records": "captions-*.jsonl", "rejected rows": "rejected.jsonl", "an image": "images/*.jpg",
    "the report": "report.json", "the page": "report.html", "the card": "README.md",
    "an export": "exports/parquet/*.parquet", "a loose image": "exports/coco/images/*",
}  # fmt: skip


def flipped(path: Path) -> None:
    """One bit in the middle: at the same size, and in a folder nothing else tells."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def linked(path: Path) -> None:
    """The same bytes, but where the link leads somebody may write others."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def test_a_whole_build_is_one_line(place: Place) -> None:
    build = exported(place)
    done = verify(place, DATE)
    assert (done.exit_code, done.stderr) == (0, "")
    listed = sum(1 for path in build.rglob("*") if path.is_file()) - 2
    assert done.stdout == f"{place.partition.uri}  {build.name[6:]}  current  whole, {listed} files\n"


@pytest.mark.parametrize("harm", [flipped, gone, cut, longer, linked], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("which", FILES)
def test_a_file_that_is_not_as_it_was_published_is_named_and_there_is_something_to_do(
    place: Place, which: str, harm: Callable[[Path], None]
) -> None:
    build = exported(place)
    path = next(build.glob(FILES[which]))
    harm(path)
    done = verify(place, DATE)
    assert done.exit_code == 1
    (line,) = done.stdout.splitlines()
    said = {
        "flipped": "is not what was published", "gone": "is gone", "cut": "bytes instead of",
        "longer": "bytes instead of", "linked": "is gone",
    }[harm.__name__]  # fmt: skip
    assert f"{build.name[6:]}  current  not whole: {path.relative_to(build)} " in line and said in line
    assert "run the date again" in done.stderr and "regioncap builds rollback" in done.stderr


@pytest.mark.parametrize("which", FILES)
def test_what_is_advised_mends_it(place: Place, which: str) -> None:
    build = exported(place)
    path = next(build.glob(FILES[which]))
    flipped(path)
    assert verify(place, DATE).exit_code == 1
    path.unlink()
    place.build(describe, export_formats=["parquet", "coco"], export_images="original")
    assert verify(place, DATE).exit_code == 0


@pytest.mark.parametrize("kind", ["empty", "cut", "zeros", "not-an-object"])
@pytest.mark.parametrize("name", ["manifest.json", "_files.jsonl"])
def test_what_a_build_says_of_itself_is_looked_at_too(place: Place, name: str, kind: str) -> None:
    build = exported(place)
    damage(build / name, kind)
    done = verify(place, DATE)
    assert done.exit_code == 1
    assert f"not whole: {name} " in done.stdout


def test_many_problems_are_one_line_too(place: Place) -> None:
    build = exported(place)
    shutil.rmtree(build / "images")
    shutil.rmtree(build / "exports")
    done = verify(place, DATE)
    (line,) = done.stdout.splitlines()
    assert done.exit_code == 1 and "and 5 more" in line


def test_every_date_and_every_earlier_build_is_looked_at_with_all(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    other = Place(place.folder, "2026-10-06")
    (c,) = publish_each(other, "c")
    done = verify(place, "--all")
    assert done.exit_code == 0
    assert [text.split("  ")[1:3] for text in done.stdout.splitlines()] == [
        [b, "current"], [a, "earlier"], [c, "current"],
    ]  # fmt: skip
    (image,) = (place.folder / f"warehouse/dt={DATE}/build={a}/images").iterdir()
    flipped(image)
    assert verify(place, DATE).exit_code == 0  # the current build
    broken = verify(place, "--all")
    assert broken.exit_code == 1
    assert [("not whole" in text) for text in broken.stdout.splitlines()] == [False, True, False]
    assert "cannot be gone back to" in broken.stderr and "run the date again" not in broken.stderr


def test_an_earlier_build_of_which_nothing_is_left_costs_its_own_line(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    place.partition.sub(f"build={a}").delete_folder()
    done = verify(place, "--all")
    assert done.exit_code == 1
    current_line, earlier_line = done.stdout.splitlines()
    assert b in current_line and "  whole" in current_line
    assert f"{a}  earlier  not whole" in earlier_line and "gone" in earlier_line


def test_a_damaged_date_costs_the_others_nothing(place: Place) -> None:
    publish_each(place, "a")
    other = Place(place.folder, "2026-10-06")
    (b,) = publish_each(other, "b")
    damage(place.folder / f"warehouse/dt={DATE}/_manifest.json", "cut")
    done = verify(place, "--all")
    assert done.exit_code == 1
    assert b in done.stdout and "_manifest.json cannot be read" in done.stderr


def test_builds_of_the_first_version_are_verified(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests" / "data" / "v0.1", tmp_path, dirs_exist_ok=True)
    warehouse = tmp_path / "warehouse"
    done = CliRunner().invoke(app, ["verify", "--all", "--warehouse-uri", str(warehouse)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert [text.split("  ")[2:3] for text in done.stdout.splitlines()[:3]] == [["current"], ["earlier"], ["current"]]
    assert "dt=2026-10-07: nothing is published" in done.stdout
    manifest = json.loads((warehouse / "dt=2026-10-06" / "_manifest.json").read_bytes())
    flipped(next((warehouse / "dt=2026-10-06" / manifest["build"] / "images").iterdir()))
    flipped(next((warehouse / "dt=2026-10-05").glob("build=*-3dd8b487/captions-*")))
    broken = CliRunner().invoke(app, ["verify", "--all", "--warehouse-uri", str(warehouse)])
    assert broken.exit_code == 1
    assert [("not whole" in text) for text in broken.stdout.splitlines()] == [False, True, True, False]


@pytest.mark.parametrize(
    "text",
    ["no JSON", "[1]", "{}", '{"image_with_bbox": ["x"]}', '{"image_with_bbox": 7}', r'{"image_with_bbox": "\ud800"}'],
)
def test_records_of_the_first_version_that_are_none_cost_the_others_nothing(tmp_path: Path, text: str) -> None:
    """Whoever may write to the bucket can make the hashes fit."""
    shutil.copytree(ROOT / "tests" / "data" / "v0.1", tmp_path, dirs_exist_ok=True)
    date = tmp_path / "warehouse" / "dt=2026-10-06"
    said = json.loads((date / "_manifest.json").read_bytes())
    (entry,) = said["captions"]
    data = f"{text}\n".encode()
    (date / entry["path"]).write_bytes(data)
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for path in (date / "_manifest.json", date / said["build"] / "manifest.json"):
        change(path, captions=[entry])
    done = CliRunner().invoke(app, ["verify", "--all", "--warehouse-uri", str(tmp_path / "warehouse")])
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1
    assert f"{said['build_id']}  current  not whole: " in done.stdout and "cannot be read" in done.stdout
    assert "dt=2026-10-07: nothing is published" in done.stdout


@pytest.mark.parametrize("which", ["captions-*", "README.md", "images/*"])
def test_a_link_in_a_build_of_the_first_version_is_told(tmp_path: Path, which: str) -> None:
    shutil.copytree(ROOT / "tests" / "data" / "v0.1", tmp_path, dirs_exist_ok=True)
    date = tmp_path / "warehouse" / "dt=2026-10-06"
    path = next((date / json.loads((date / "_manifest.json").read_bytes())["build"]).glob(which))
    linked(path)
    done = CliRunner().invoke(app, ["verify", "2026-10-06", "--warehouse-uri", str(tmp_path / "warehouse")])
    assert done.exit_code == 1 and f"{path.name} is gone" in done.stdout


def test_a_build_of_a_newer_kind_is_not_judged(place: Place) -> None:
    publish_each(place, "a")
    path = place.folder / f"warehouse/dt={DATE}/_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_version": "2.0"}))
    done = verify(place, DATE)
    assert done.exit_code == 1 and done.stdout == ""
    assert "is of version 2.0" in done.stderr and "use the RegionCap that wrote it" in done.stderr


def test_a_date_without_a_build_and_a_command_that_makes_no_sense(place: Place) -> None:
    nothing = verify(place, DATE)
    assert nothing.exit_code == 1 and "nothing is published at" in nothing.stderr
    assert verify(place).exit_code == verify(place, DATE, "--all").exit_code == 2
    assert verify(place, "yesterday").exit_code == 1


def test_what_a_manifest_says_is_shown_as_it_is_written(place: Place) -> None:
    publish_each(place, "a")
    manifest, _ = current(place.partition)
    assert manifest is not None
    path = place.folder / f"warehouse/dt={DATE}/_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"build_id": "\x1b[2J[red]x"}))
    done = verify(place, DATE)
    assert done.exit_code == 1 and r"\x1b[2J[red]x" in done.stdout


@pytest.mark.parametrize("build", ["../dt=2026-10-06", "a/b", "", ".", "..", "/etc", "a\0b"])
def test_a_manifest_that_points_out_of_its_date_is_damaged_and_costs_the_others_nothing(
    place: Place, build: str
) -> None:
    publish_each(place, "a")
    other = Place(place.folder, "2026-10-06")
    (b,) = publish_each(other, "b")
    change(place.folder / f"warehouse/dt={DATE}/_manifest.json", build=build)
    done = verify(place, "--all")
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1
    assert f"{b}  current  whole" in done.stdout
    assert f"dt={DATE}/_manifest.json cannot be read (build: " in done.stderr


def test_a_list_of_files_that_is_no_such_list_costs_the_others_nothing(place: Place) -> None:
    """Whoever may write to the bucket can make the hashes fit."""
    (a,) = publish_each(place, "a")
    other = Place(place.folder, "2026-10-06")
    (b,) = publish_each(other, "b")
    date = place.folder / f"warehouse/dt={DATE}"
    files = date / f"build={a}" / "_files.jsonl"
    files.write_text('{"path": "README.md"}\n')
    for path in (date / "_manifest.json", date / f"build={a}" / "manifest.json"):
        said = json.loads(path.read_bytes())
        change(path, files=said["files"] | {"sha256": hashlib.sha256(files.read_bytes()).hexdigest()})
    done = verify(place, "--all")
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1
    assert f"{a}  current  not whole: _files.jsonl cannot be read" in done.stdout
    assert f"{b}  current  whole" in done.stdout


@pytest.mark.parametrize("name", ["manifest.json", "_files.jsonl"])
def test_what_a_build_says_of_itself_may_be_a_link(place: Place, name: str) -> None:
    a, b, c = publish_each(place, "a", "b", "c")
    for build in (a, c):
        linked(place.folder / f"warehouse/dt={DATE}/build={build}/{name}")
    done = verify(place, "--all")
    assert done.exit_code == 1
    assert [text.split("  ")[1:3] for text in done.stdout.splitlines()] == [
        [c, "current"],
        [b, "earlier"],
        [a, "earlier"],
    ]
    assert [("not whole" in text and "symbolic link" in text) for text in done.stdout.splitlines()] == [
        True,
        False,
        True,
    ]


def test_a_build_that_says_of_itself_what_another_one_does_is_not_whole(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    date = place.folder / f"warehouse/dt={DATE}"
    shutil.copyfile(date / f"build={b}/manifest.json", date / f"build={a}/manifest.json")
    done = verify(place, "--all")
    assert done.exit_code == 1
    assert f"{a}  earlier  not whole" in done.stdout and b in done.stdout.splitlines()[1]


def test_a_warehouse_without_any_date_is_not_called_whole(place: Place) -> None:
    done = verify(place, "--all")
    assert done.exit_code == 1 and done.stdout == ""
    assert f"there is no date at {place.warehouse.uri}: is this the warehouse?" in done.stderr


# ---- what was copied, and what was deleted by hand


def copied(place: Place, date: str = "2026-10-06") -> Path:
    """A date whose partition is another one's, copied."""
    shutil.copytree(place.folder / f"warehouse/dt={DATE}", place.folder / f"warehouse/dt={date}")
    return place.folder / f"warehouse/dt={date}"


def test_a_partition_that_was_copied_to_another_date_is_not_that_dates(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    copied(place)
    done = verify(place, "--all")
    assert done.exit_code == 1
    assert [("not whole" in text) for text in done.stdout.splitlines()] == [False, False, True, True]
    assert done.stdout.count(f"is of dt={DATE}") == 2 and a in done.stdout.splitlines()[3]
    assert "run the date again" in done.stderr
    only = verify(place, "2026-10-06")
    assert only.exit_code == 1 and f"{b}  current  not whole: " in only.stdout and f"is of dt={DATE}" in only.stdout


def test_where_the_manifest_was_deleted_the_builds_that_lie_there_are_told(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    (place.folder / f"warehouse/dt={DATE}/_manifest.json").unlink()
    (place.folder / f"warehouse/dt={DATE}/build=20261005T000000Z-00000000").mkdir()
    one = verify(place, DATE)
    assert one.exit_code == 1
    every = verify(place, "--all")
    # Something had been published: a build says that it was begun under it.
    assert every.exit_code == 1
    for told in (one.stderr, every.stderr):
        assert f"nothing is published at {place.partition.uri}" in told
        assert f"{b}, {a}" in told
        assert f"regioncap builds rollback --date {DATE} --build ID" in told and "the next run" in told


def test_a_first_build_that_may_wait_for_somebody_costs_only_a_word(place: Place) -> None:
    (a,) = publish_each(place, "a")
    (place.folder / f"warehouse/dt={DATE}/_manifest.json").unlink()
    done = verify(place, "--all")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"{place.partition.uri}: nothing is published, and yet builds lie there: {a}" in done.stdout


def test_a_date_that_fails_in_a_way_that_nobody_has_foreseen_costs_the_others_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_each(place, "a")
    other = Place(place.folder, "2026-10-06")
    (b,) = publish_each(other, "b")
    look = whole.problems

    def fails(partition: Store, *arguments: Any, **options: Any) -> Any:
        if partition.uri.endswith(DATE):
            raise KeyError("checksum")
        return look(partition, *arguments, **options)

    monkeypatch.setattr("regioncap.cli.verify.problems", fails)
    done = verify(place, "--all")
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1
    assert f"{b}  current  whole" in done.stdout
    assert f"{place.partition.uri}: KeyError: 'checksum'" in done.stderr
