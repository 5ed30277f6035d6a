"""What the unit tests share."""

from pathlib import Path

import pytest

from tests.builders import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty drop, with a work area and a warehouse, in local folders."""
    return Place(tmp_path)
