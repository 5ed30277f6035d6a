"""What the unit tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import Place
from tests.hurry import Hurry, hurried


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty drop, with a work area and a warehouse, in local folders."""
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def of_no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tests of Airflow's are collected too, these would be tests of their deployment."""
    for name in [name for name in os.environ if name.startswith("REGIONCAP_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def hurry() -> Iterator[Hurry]:
    """What waits for a fault to pass does so at once."""
    with hurried() as hurry:
        yield hurry
