"""What the unit tests share."""

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
def hurry() -> Iterator[Hurry]:
    """What waits for a fault to pass does so at once."""
    with hurried() as hurry:
        yield hurry
