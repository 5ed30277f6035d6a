"""Each room says in its docstring what is in it."""

import ast
import re
from pathlib import Path

import pytest

from tests.builders import ROOT

PACKAGE = ROOT / "plugins" / "regioncap"
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))


def named(room: Path) -> set[str]:
    """The words in code marks of a room's docstring."""
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8")))
    return set(re.findall(r"`([a-z0-9_]+)`", docstring or ""))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE.parent)))
def test_a_room_names_its_modules(room: Path) -> None:
    files = {path.stem for path in room.glob("*.py") if not path.stem.startswith("__")}
    rooms = {path.parent.name for path in room.glob("*/__init__.py")}
    assert (files | rooms) - named(room) == set(), f"say in {room.name}/__init__.py what these hold"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE.parent)))
def test_a_room_lists_no_module_that_it_has_not(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""
    # A list's lines begin with names, two blanks before what they hold.
    heads = re.findall(r"^((?:`\w+`(?:, )?)+)  ", docstring, re.MULTILINE)
    listed = {name for head in heads for name in re.findall(r"`(\w+)`", head)}
    assert {name for name in listed if not (room / f"{name}.py").exists() and not (room / name).is_dir()} == set()
