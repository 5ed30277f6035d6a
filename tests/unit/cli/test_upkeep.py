"""`regioncap upkeep`, on a warehouse in a folder."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from regioncap.cli.app import app
from regioncap.work.claim import Claim
from tests.builders import DATE, Place
from tests.unit.work.test_upkeep import pause, say


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for rows in (2, 3):
        place.good_rows(rows)
        place.build(say)
    return place


def run(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["upkeep", "--warehouse-uri", str(place.folder / "warehouse"), *arguments])


@pytest.fixture
def in_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written by now is 31 days old to the command."""
    month = 31 * 86_400
    monkeypatch.setattr("regioncap.cli.upkeep.time", SimpleNamespace(time=lambda: time.time() + month))


def files(place: Place) -> set[Path]:
    return {path for path in (place.folder / "warehouse").rglob("*") if path.is_file()}


def test_it_tells_what_could_go_and_deletes_nothing_unasked(place: Place, in_a_month: None) -> None:
    before = files(place)
    told = run(place)
    assert told.exit_code == 0, told.stderr
    assert "can go" in told.stdout and "  plans/" in told.stdout and "nothing was deleted: add --delete" in told.stdout
    assert files(place) == before
    assert " 0 files, 0.0 MB can go" in run(place, "--older-than", "60").stdout


def test_it_deletes_what_it_told(place: Place, in_a_month: None) -> None:
    could = [line.split()[0] for line in run(place).stdout.splitlines() if line.startswith("  ")]
    done = run(place, "--delete")
    assert done.exit_code == 0 and f"{len(could)} of {len(could)} folders deleted" in done.stdout
    work = place.folder / "warehouse" / "_work" / f"dt={DATE}"
    assert could and not any((work / folder).exists() for folder in could)
    assert " 0 files, 0.0 MB can go" in run(place).stdout


def test_previews_go_when_nobody_has_made_them_lately(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = ("_previews/dt=2026-10-05/old/try.html", "_previews/dt=2026-10-05/young/try.html")
    place.warehouse.write(old, b"x")
    limit = pause(place.folder)
    place.warehouse.write(young, b"x")
    monkeypatch.setattr("regioncap.cli.upkeep.time", SimpleNamespace(time=lambda: limit + 30 * 86_400))
    assert "_previews/dt=2026-10-05/old/" in run(place).stdout
    done = run(place, "--delete").stdout
    assert "_previews/dt=2026-10-05/old/  1 files, 0.0 MB, deleted" in done and "young" not in done
    assert [entry.path for entry in place.warehouse.list("_previews/")] == [young]


def test_a_date_whose_run_may_go_on_is_told_and_left_alone(place: Place) -> None:
    Claim.take(place.work, "region_captions/manual__1", lambda run: True)
    before = files(place)
    done = run(place, "--delete")
    assert done.exit_code == 1 and "is being built by the run region_captions/manual__1" in done.stderr
    assert files(place) == before
