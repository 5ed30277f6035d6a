"""A temporary folder that is full at any write: the task fails and may be tried again, and leaves nothing behind."""

import errno
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from regioncap.errors import PermanentError
from regioncap.warehouse.manifest import Counts
from tests.builders import Place, validated
from tests.steps import publish


class Disk:
    """Temporary files of a disk that is full at the `full_at`th write from now; `writes` counts them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.writes, self.full_at = 0, 0
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        for name in ("TemporaryFile", "NamedTemporaryFile"):
            monkeypatch.setattr(tempfile, name, self._made_by(getattr(tempfile, name)))

    def _made_by(self, make: Callable[..., Any]) -> Callable[..., "Written"]:
        return lambda *args, **options: Written(make(*args, **options), self)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def written(self) -> None:
        self.writes += 1
        if self.writes == self.full_at:
            raise OSError(errno.ENOSPC, "No space left on device")


class Written:
    """A temporary file."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> Any:
        self._disk.written()
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __enter__(self) -> "Written":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    (tmp_path / "temporary").mkdir()
    return Disk(tmp_path / "temporary", monkeypatch)


def check_each_write(disk: Disk, step: Callable[[], Any]) -> None:
    """Let the step fail at each of its writes; a try after it does all."""
    expected = step()
    writes, disk.writes = disk.writes, 0
    assert writes > 0 and disk.left() == []
    for number in range(1, writes + 1):
        disk.writes, disk.full_at = 0, number
        with pytest.raises(Exception, match=r"No space left|make room") as full:
            step()
        assert not isinstance(full.value, PermanentError), "another try may find room"
        assert disk.left() == []
        disk.full_at = 0
        assert step() == expected


def test_plan_fails_at_any_write_and_plans_the_same_when_there_is_room(place: Place, disk: Disk) -> None:
    place.good_rows(3)
    with (place.drop_folder / "manifest.jsonl").open("a") as manifest:
        manifest.write("no row\n")
    check_each_write(disk, lambda: place.plan().shards)


def test_publish_fails_at_any_write_and_publishes_when_there_is_room(place: Place, disk: Disk) -> None:
    names = (f"build {number}" for number in count())

    def step() -> Counts:
        plan = validated(place.work, next(names), shards=1, rows=2, export_formats=["coco", "parquet"])
        return publish(place, plan).manifest.counts

    check_each_write(disk, step)
