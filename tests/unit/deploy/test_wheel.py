"""What `pip install .` brings."""

import zipfile
from pathlib import Path

import pytest

from tests.builders import ROOT


@pytest.fixture
def names(tmp_path: Path) -> set[str]:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="make setup brings what builds RegionCap")
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        # Of what is not code, the wheel's own folder differs from version to version.
        return {name.partition(".data/data/")[2] or name for name in archive.namelist()}


def test_a_wheel_holds_the_package_as_it_is_imported(names: set[str]) -> None:
    code = ROOT / "plugins"
    package = [path for path in (code / "regioncap").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(code).as_posix() for path in package} <= names


def test_a_wheel_brings_what_an_airflow_is_set_up_with(names: set[str]) -> None:
    dags = {f"dags/{path.name}" for path in (ROOT / "dags").glob("*.py")}
    schemas = {f"schemas/{path.name}" for path in (ROOT / "include/schemas").glob("*.json")}
    brought = {"pools.json", "connections.example.json", *dags, *schemas}
    assert {name.removeprefix("share/regioncap/") for name in names if name.startswith("share/")} == brought
