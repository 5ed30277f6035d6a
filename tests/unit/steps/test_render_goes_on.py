"""A try of `render` that is ended goes on where it was."""

from collections.abc import Callable
from typing import Any

import pytest

from regioncap.errors import StorageUnavailableError
from regioncap.steps import render as render_step
from regioncap.work import layout, rendering
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture
from tests.steps import render

ROWS = 12


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_step, "_SAMPLED_ROWS", 2)
    monkeypatch.setattr(rendering, "NOTED_ROWS", 3)


@pytest.fixture
def plan(place: Place) -> Plan:
    place.good_rows(ROWS)
    return place.plan()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> "Reads":
    return Reads(monkeypatch)


class Reads:
    """The images that are read; reading `ends_at` fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self.ends_at: str | None = None
        real: Callable[..., bytes] = render_step.read_listed

        def read(drop: Any, path: str, version: str | None) -> bytes:
            self.paths.append(path)
            if path == self.ends_at:
                raise StorageUnavailableError(f"{path} could not be had for as long as it was tried")
            return real(drop, path, version)

        monkeypatch.setattr(render_step, "read_listed", read)

    def until(self, path: str | None) -> "Reads":
        self.paths, self.ends_at = [], path
        return self


def made(place: Place, plan: Plan) -> tuple[Any, ...]:
    """What `render` wrote."""
    receipt = Shard(place.work, plan, plan.shards[0]).render_receipt()
    return receipt.outputs, receipt.images, receipt.made_from, receipt.evidence


def parts(place: Place, plan: Plan) -> list[str]:
    return [entry.path for entry in Shard(place.work, plan, plan.shards[0]).own.list(layout.RENDERING)]


def ended_at_9(place: Place, plan: Plan, read: Reads) -> None:
    read.until("9.jpg")
    with pytest.raises(StorageUnavailableError):
        render(place, plan)
    assert len(parts(place, plan)) == 3


def test_what_was_marked_is_not_marked_again_and_comes_out_the_same(place: Place, plan: Plan, read: Reads) -> None:
    render(place, plan)
    expected = made(place, plan)
    ended_at_9(place, plan, read)
    read.until(None)
    render(place, plan)
    # The first rows tell in which format boxes are.
    assert sorted(read.paths) == sorted(["0.jpg", "1.jpg", "9.jpg", "10.jpg", "11.jpg"])
    assert made(place, plan) == expected


def test_whoever_clears_a_shard_that_is_done_has_it_marked_anew(place: Place, plan: Plan, read: Reads) -> None:
    ended_at_9(place, plan, read)
    read.until(None)
    render(place, plan)
    assert parts(place, plan) == []
    read.until(None)
    render(place, plan)
    assert len(read.paths) == ROWS


def test_a_row_whose_marked_images_are_gone_is_marked_again(place: Place, plan: Plan, read: Reads) -> None:
    ended_at_9(place, plan, read)
    place.work.sub(f"{layout.shard_path(plan.shards[0])}images/").delete_folder()
    read.until(None)
    render(place, plan)
    assert len(read.paths) == ROWS


def test_a_row_whose_image_is_another_in_the_next_plan_is_marked_again(place: Place, plan: Plan, read: Reads) -> None:
    ended_at_9(place, plan, read)
    place.put("5.jpg", encoded(picture(90, 90)))
    read.until(None)
    render(place, place.plan(run_id="run-2"))
    assert "5.jpg" in read.paths


def test_a_damaged_note_is_no_note(place: Place, plan: Plan, read: Reads) -> None:
    ended_at_9(place, plan, read)
    own = Shard(place.work, plan, plan.shards[0]).own
    own.write(parts(place, plan)[1], b'{"row": \n')
    read.until(None)
    render(place, plan)
    assert sorted(read.paths) == sorted(f"{number}.jpg" for number in (0, 1, 3, 4, 5, 9, 10, 11))
