"""`regioncap builds`, on a warehouse in a folder."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from tests.builders import DATE, Place, publish_each, read_whole
from tests.damage import DAMAGE, change, damage


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(place: Place, command: str, *arguments: str) -> Result:
    warehouse = str(place.folder / "warehouse")
    return CliRunner().invoke(app, ["builds", command, "--warehouse-uri", warehouse, *arguments])


def test_builds_are_listed_rolled_back_and_collected(place: Place) -> None:
    a, b = publish_each(place, "a", "b")
    listed = run(place, "list")
    assert listed.exit_code == 0
    assert [text.split()[0] for text in listed.stdout.splitlines()[1:]] == [b, a]
    back = run(place, "rollback", "--date", DATE)
    assert back.exit_code == 0
    lines = back.stdout.splitlines()
    assert lines[1].startswith(f"  {a} ") and lines[1].endswith("current")
    assert lines[2].startswith(f"  {b} ") and "withdrawn" in lines[2]
    collected = run(place, "collect")
    assert collected.exit_code == 0
    assert f"dt={DATE}: nothing deleted" in collected.stdout


def test_a_build_is_gone_back_to_by_its_id(place: Place) -> None:
    a, _, c = publish_each(place, "a", "b", "c")
    back = run(place, "rollback", "--date", DATE, "--build", a)
    assert back.exit_code == 0
    assert [text.split()[0] for text in back.stdout.splitlines()[1:3]] == [a, c]


def test_what_cannot_be_done_is_said(place: Place) -> None:
    nothing = run(place, "rollback", "--date", DATE)
    assert (nothing.exit_code, nothing.stdout) == (1, "") and "nothing is published at" in nothing.stderr
    no_date = run(place, "rollback", "--date", "yesterday")
    assert (no_date.exit_code, no_date.stdout) == (1, "") and "yesterday" in no_date.stderr
    listed = run(place, "list", "--date", DATE)
    assert listed.exit_code == 0 and "nothing is published" in listed.stdout


def test_a_place_that_is_none_is_said() -> None:
    done = CliRunner().invoke(app, ["builds", "list", "--warehouse-uri", "gs://bucket"])
    assert done.exit_code == 1
    assert "'gs://bucket' is not a place RegionCap can use" in done.stderr


def test_the_deployments_warehouse_is_the_default(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = publish_each(place, "a")
    monkeypatch.setenv("REGIONCAP_WAREHOUSE_URI", str(place.folder / "warehouse"))
    assert f"  {a} " in CliRunner().invoke(app, ["builds", "list"]).stdout


def test_a_command_that_makes_no_sense_ends_with_2(place: Place) -> None:
    assert run(place, "rollback").exit_code == 2  # of which date?
    assert run(place, "list", "--build", "x").exit_code == 2
    assert run(place, "destroy").exit_code == 2


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_date_costs_only_its_own_line(place: Place, kind: str) -> None:
    (a,) = publish_each(place, "a")
    for date in ("2026-10-04", "2026-10-06"):
        publish_each(Place(place.folder, date), date)
    damage(place.folder / "warehouse/dt=2026-10-04/_manifest.json", kind)
    for command, said in (("list", f"  {a} "), ("collect", f"dt={DATE}: nothing deleted")):
        told = run(place, command)
        assert told.exit_code == 1
        assert said in told.stdout and "dt=2026-10-06" in told.stdout
        (line,) = told.stderr.splitlines()
        assert "dt=2026-10-04/_manifest.json cannot be read" in line
    back = run(place, "rollback", "--date", "2026-10-04")
    assert back.exit_code == 1
    assert "_manifest.json cannot be read" in back.stderr


def test_what_a_manifest_says_is_shown_as_it_is_written(place: Place) -> None:
    publish_each(place, "a")
    change(place.folder / f"warehouse/dt={DATE}/_manifest.json", build_id="\x1b[2J[red]:bug:")
    assert r"  \x1b[2J[red]:bug:  published" in run(place, "list").stdout


def test_where_the_manifest_was_deleted_one_can_come_back(place: Place) -> None:
    a, b, c = publish_each(place, "a", "b", "c")
    path = place.folder / f"warehouse/dt={DATE}/_manifest.json"
    path.unlink()
    listed = run(place, "list")
    assert listed.exit_code == 0
    assert f"{place.partition.uri}: nothing is published, and yet builds lie there: " in listed.stdout
    assert f"{c}, {b}, {a}" in listed.stdout and f"rollback --date {DATE} --build ID" in listed.stdout
    # Which of them was the current one, nobody knows.
    guess = run(place, "rollback", "--date", DATE)
    assert guess.exit_code == 1 and f"{c}, {b}, {a}" in guess.stderr
    assert run(place, "rollback", "--date", DATE, "--build", "x").exit_code == 1
    assert not path.exists()
    back = run(place, "rollback", "--date", DATE, "--build", b)
    assert back.exit_code == 0
    assert [text.split()[0] for text in back.stdout.splitlines()[1:]] == [b, c, a]
    assert read_whole(place.partition) == b
    assert "nothing deleted" in run(place, "collect").stdout
