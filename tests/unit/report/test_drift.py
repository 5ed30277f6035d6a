"""Drift: what is said of a build that is unlike those of the days before."""

import logging
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from regioncap.errors import StorageError
from regioncap.report.drift import COMPARED_BUILDS, drift, earlier_qualities
from regioncap.report.figures import Quality
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from tests.builders import DATE, Place, describe
from tests.damage import DAMAGE, change, damage

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


# ---- the builds before are damaged, of another version, or cannot be reached


def files(place: Place) -> dict[str, Path]:
    """What is read of a date for the comparison."""
    (report,) = place.folder.glob(f"warehouse/dt={place.date}/build=*/report.json")
    return {"_manifest.json": place.folder / f"warehouse/dt={place.date}/_manifest.json", "report.json": report}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["_manifest.json", "report.json"])
def test_a_damaged_file_of_another_date_is_left_out_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, kind: str
) -> None:
    places = [publish_on(tmp_path, days) for days in (1, 2)]
    damage(files(places[0])[name], kind)
    assert len(earlier_qualities(places[0].warehouse, DATE)) == 1
    (said,) = [text for text in caplog.messages if name in text]
    assert f"dt={day(1)}" in said


def test_a_report_that_was_deleted_is_told_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = publish_on(tmp_path, 1)
    files(place)["report.json"].unlink()
    assert earlier_qualities(place.warehouse, DATE) == []
    assert len([text for text in caplog.messages if "report.json" in text]) == 1


@pytest.mark.parametrize(("name", "version"), [("_manifest.json", "1.7"), ("report.json", "2.7")])
def test_a_file_of_another_date_with_more_fields_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, version: str
) -> None:
    place = publish_on(tmp_path, 1)
    change(files(place)[name], schema_version=version, counts={**USUAL_COUNTS, "of_another_kind": 1}, added=[{}])
    assert len(earlier_qualities(place.warehouse, DATE)) == 1
    assert caplog.messages == []


USUAL_COUNTS = {"rows": 2, "captioned": 2, "rejected": 0, "regions": 4}


@pytest.mark.parametrize(("name", "version"), [("_manifest.json", "2.0"), ("report.json", "3.0"), ("report.json", "x")])
def test_a_file_of_another_date_of_a_newer_kind_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, version: str
) -> None:
    place = publish_on(tmp_path, 1)
    change(files(place)[name], schema_version=version)
    assert earlier_qualities(place.warehouse, DATE) == []
    assert len([text for text in caplog.messages if name in text]) == 1


class Failing(LocalStore):
    """Dates of which nothing can be read; `asked` lists what was tried."""

    faults: ClassVar[dict[str, Callable[[], Exception]]] = {}
    asked: ClassVar[list[str]] = []

    def sub(self, path: str) -> Store:
        return Failing(self._path(path))

    def stat(self, path: str) -> Any:
        Failing.asked.append(self.uri[-10:])
        if (fault := Failing.faults.get(self.uri[-10:])) is not None:
            raise fault()
        return super().stat(path)


@pytest.mark.parametrize(
    "fault", [lambda: StorageError("no right to it"), lambda: ConnectionError("gone"), lambda: OSError("stale")]
)
def test_a_date_that_cannot_be_read_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Callable[[], Exception]
) -> None:
    for days in (1, 2):
        publish_on(tmp_path, days)
    Failing.faults = {day(1): fault}
    assert len(earlier_qualities(Failing(tmp_path / "warehouse"), DATE)) == 1
    assert [record.levelno for record in caplog.records if day(1) in record.getMessage()] == [logging.WARNING]


def test_a_bucket_that_cannot_be_reached_is_not_asked_for_every_date(tmp_path: Path) -> None:
    publish_on(tmp_path, 9)
    Failing.asked = []
    Failing.faults = {day(days): lambda: ConnectionError("gone") for days in range(1, 9)}
    assert earlier_qualities(Failing(tmp_path / "warehouse"), DATE) == []
    assert Failing.asked == [day(1), day(2), day(3)]
