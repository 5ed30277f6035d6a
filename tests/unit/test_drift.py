"""Drift: what is said of a build that is unlike those of the days before."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from regioncap.builds.publish.drift import COMPARED_BUILDS, drift, earlier_qualities
from regioncap.builds.report.figures import Quality
from tests.builders import DATE, Place, describe

USUAL = {
    "rejection_rate": 0.04, "warning_rate": 0.02, "regions_per_record": 4.0, "attempts_per_record": 1.05,
    "caption_characters": 60.0, "caption_words": 11.0, "gate_rates": {"same_text": 0.02},
}  # fmt: skip


def quality(**changes: Any) -> Quality:
    return Quality.model_validate({**USUAL, **changes})


BEFORE = [quality(), quality(rejection_rate=0.06, caption_characters=70.0), quality(caption_characters=52.0)]


def test_a_build_like_the_others_is_nothing_to_talk_about() -> None:
    assert drift(quality(rejection_rate=0.08, caption_characters=64.0), BEFORE) == []


def test_better_than_usual_is_no_warning() -> None:
    assert drift(quality(rejection_rate=0.0, warning_rate=0.0, gate_rates={}), BEFORE) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rejection_rate": 0.12}, "12.0% rejected rows; the last 3 builds had at most 6.0%"),
        ({"warning_rate": 0.3}, "30.0% records with a warning"),
        ({"gate_rates": {"same_text": 0.02, "refusal": 0.09}}, "9.0% of the answers fail refusal"),
        ({"caption_characters": 30.0}, "30.00 characters per caption; the last 3 builds had 52.00 to 70.00"),
        ({"caption_characters": 90.0}, "90.00 characters per caption"),
        ({"regions_per_record": 1.0}, "1.00 regions per record"),
        ({"attempts_per_record": 2.0}, "2.00 attempts per record"),
    ],
)
def test_what_lies_outside_of_all_the_last_builds_is_told(changes: dict[str, Any], said: str) -> None:
    (warning,) = drift(quality(**changes), BEFORE)
    assert warning.startswith(said)


def test_with_few_builds_nobody_knows_what_is_usual() -> None:
    assert drift(quality(rejection_rate=0.9), BEFORE[:2]) == []


def day(days: int) -> str:
    return (date.fromisoformat(DATE) - timedelta(days)).isoformat()


def publish_on(root: Path, days: int) -> Place:
    """A small build so many days before DATE, in the warehouse of all of them."""
    place = Place(root, day(days))
    place.good_rows(2)
    place.build(describe)
    return place


def test_the_last_dates_with_a_build_are_compared_latest_first(tmp_path: Path) -> None:
    for days in (1, 2, 4):
        publish_on(tmp_path, days)
    published_later = publish_on(tmp_path, -1)
    broken = publish_on(tmp_path, 3)
    for report in broken.folder.glob(f"warehouse/dt={day(3)}/build=*/report.json"):
        report.write_text('{"schema_version": "1.0"}')
    found = earlier_qualities(published_later.warehouse, DATE)
    assert len(found) == 3
    assert found[0].regions_per_record == 2.0


def test_no_more_builds_are_read_than_are_compared(tmp_path: Path) -> None:
    for days in range(1, COMPARED_BUILDS + 3):
        place = publish_on(tmp_path, days)
    assert len(earlier_qualities(place.warehouse, DATE)) == COMPARED_BUILDS
