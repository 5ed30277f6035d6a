"""What a check of a drop does beside what the steps do."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regioncap.regions.records import RenderedRow
from regioncap.steps import check as check_step
from regioncap.steps.check import SHOWN, Checked, check_drop
from regioncap.steps.render import render_shard
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture, settings


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def rows(place: Place, number: int, size: tuple[int, int] = (120, 80)) -> list[dict[str, Any]]:
    """Different good rows about one picture."""
    place.put("a.jpg", encoded(picture(*size)))
    return [{"id": str(k), "image": "a.jpg", "bbox": [[k % 50, 10, 40, 30]]} for k in range(number)]


def check(place: Place, **changes: Any) -> tuple[Checked, list[RenderedRow], list[tuple[int, int | None]]]:
    """What is found, which rows are shown, and how far it had come each time."""
    shown: list[RenderedRow] = []
    progress: list[tuple[int, int | None]] = []

    def show(row: RenderedRow, jpeg: bytes) -> None:
        assert jpeg.startswith(b"\xff\xd8")
        shown.append(row)

    checked = check_drop(
        place.drop, settings(**changes), "fake-model", show=show, progress=lambda *at: progress.append(at)
    )
    return checked, shown, progress


@pytest.mark.parametrize(("number", "shard_size"), [(1, 512), (59, 512), (200, 512), (200, 3), (200, 1), (7, 3)])
def test_rows_from_everywhere_are_shown_and_not_many(place: Place, number: int, shard_size: int) -> None:
    place.put_rows(*rows(place, number))
    checked, shown, _ = check(place, shard_size=shard_size)
    assert checked.usable == len(checked.images) == number
    assert min(number, SHOWN) / 2 <= len(shown) <= SHOWN * 1.5
    places = [int(row.id) for row in shown]
    assert places == sorted(set(places)) and places[-1] >= 0.9 * (number - 1) - 1


def test_what_is_done_is_told_while_rows_are_read_and_then_while_they_are_marked(place: Place) -> None:
    place.put_rows(*rows(place, 4), "no row")
    _, _, progress = check(place, shard_size=3)
    assert progress[:5] == [(number, None) for number in range(1, 6)]
    assert [at for at in progress[5:] if at[0]] == [(number, 4) for number in range(1, 5)]


def test_images_of_one_colour_are_warned_of(place: Place) -> None:
    place.put("even.png", encoded(Image.new("RGB", (90, 90), (1, 2, 3)), "PNG"))
    even = {"image": "even.png", "bbox": [[10, 10, 40, 30]]}
    place.put_rows(*rows(place, 3), *({"id": f"even {k}", **even} for k in range(4)))
    checked, _, _ = check(place, shard_size=2)
    assert [warning for warning in checked.warnings if warning.startswith("4 images came out all of one colour")]


def test_no_more_than_one_shards_images_lie_on_the_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put_rows(*rows(place, 12))
    lying: list[int] = []

    def watched(**given: Any) -> tuple[int, int]:
        done = render_shard(**given)
        lying.append(sum(entry.path.endswith(".jpg") for entry in given["work"].list()))
        return done

    monkeypatch.setattr(check_step, "render_shard", watched)
    check(place, shard_size=3)
    assert lying == [3, 3, 3, 3]


def test_one_shard_whose_boxes_stop_a_run_does_not_hide_what_becomes_of_the_others(place: Place) -> None:
    good, bad = rows(place, 30), []
    place.put("large.jpg", encoded(picture(800, 600)))
    for k in range(30):
        x, y = 0.03 * (k % 17), 0.02 * (k % 29)
        bad.append({"id": f"bad-{k}", "image": "large.jpg", "bbox": [[x, y, 0.4, 0.4]]})
    place.put_rows(*bad, *good, {"id": "gone", "image": "none.jpg", "bbox": [[1, 2, 30, 40]]})
    checked, shown, _ = check(place, shard_size=30)
    assert checked.stops is not None and "xywh_norm" in checked.stops
    assert (checked.rows, checked.usable) == (61, 30)
    assert [(row.id, row.code) for row in checked.rejected] == [("gone", "image_not_found")]
    # As pixels, the boxes of the others are too small for any mark.
    assert {row.id for row in shown} <= {row["id"] for row in good}


def test_rows_are_marked_as_a_run_would_mark_them(place: Place) -> None:
    place.put_rows(*rows(place, 5))
    _, shown, _ = check(place, caption_mode="per_region")
    plan = place.plan(caption_mode="per_region")
    (shard_id,) = plan.shards
    render_shard(drop=place.drop, work=place.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
    assert shown == list(Shard(place.work, plan, shard_id).rendered().rows)
