"""What comes back from an annotation tool, against what people have said meanwhile."""

import hashlib
from typing import Any

import pytest

from regioncap.exports.handed_out import Key, Returned
from regioncap.pages import returning
from regioncap.pages.returning import Change, Known, come_back, enter, settle
from regioncap.storage.local import LocalStore
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of
from regioncap.warehouse.reader import open_build
from tests.builders import Place, describe

BOX = [10, 10, 40, 30]
ABOUT = about_region("a" * 64, BOX, "en")
KNOWN = {ABOUT: Known("id-1", "a.jpg", 2)}


def change(caption: str, handed_out: str = "a door", about: str = ABOUT) -> Change:
    said = hashlib.sha256(handed_out.encode()).hexdigest()[:16]
    return Change("task 1, region 2", Key(about, "en", tuple(BOX), said), caption)


def said(action: Any, caption: str | None = None, by: str = "ben", about: str = ABOUT) -> Correction:
    return Correction(at="2026-10-05T10:00:00+00:00", by=by, action=action, about=about, caption=caption)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], "enters"),
        ([("note", None)], "enters"),
        # It was handed out with what somebody had said by then.
        ([("edit", "a door")], "enters"),
        ([("edit", "a gate"), ("edit", "a door")], "enters"),
        ([("edit", "a door"), ("reject", None), ("restore", None)], "enters"),
        ([("reject", None), ("restore", None)], "enters"),
        ([("edit", "a gate"), ("revert", None)], "enters"),
        # It is what comes back already: a second import, or somebody who has seen the same.
        ([("edit", "a blue door")], "there"),
        ([("edit", "a door"), ("edit", "a blue door")], "there"),
        # Somebody has said something else since.
        ([("edit", "a gate")], "ben wrote 'a gate' meanwhile"),
        ([("edit", "a door"), ("edit", "a gate")], "ben wrote 'a gate' meanwhile"),
        ([("reject", None)], "ben rejected it meanwhile"),
        ([("edit", "a door"), ("reject", None)], "ben rejected it meanwhile"),
        ([("edit", "a door"), ("revert", None)], "ben went back to the model's caption meanwhile"),
        # Or has taken back what a first import entered.
        ([("edit", "a blue door"), ("revert", None)], "ben went back to the model's caption meanwhile"),
        ([("edit", "a blue door"), ("edit", "a door")], "ben wrote 'a door' meanwhile"),
        ([("edit", "a blue door"), ("reject", None)], "ben rejected it meanwhile"),
    ],
)
def test_a_persons_word_since_it_was_handed_out_is_not_overruled(before: list[Any], expected: str) -> None:
    settled = settle([change("a blue door")], KNOWN, [said(action, caption) for action, caption in before])
    assert (len(settled.to_enter), settled.already) == (int(expected == "enters"), int(expected == "there"))
    assert [fault.partition(" (2026")[0] for fault in settled.faults] == (
        [f"task 1, region 2: {expected}"] if " " in expected else []
    )


def test_what_nobody_knows_is_told_but_what_was_corrected_before_is_of_the_date() -> None:
    assert "no row of this date has such a region" in settle([change("a gate")], {}, []).faults[0]
    assert settle([change("a gate")], {}, [said("edit", "a door")]).to_enter


def test_of_very_many_faults_the_first_are_kept_and_the_others_counted(place: Place) -> None:
    place.good_rows(1)
    place.build(describe)
    many = (Returned(f"task {number}", None, fault="it is odd") for number in range(2_500))
    back, _ = come_back(many, open_build(place.partition))
    assert back.faults.first == [f"task {number}: it is odd" for number in range(1_000)] and back.faults.count == 2_500


def test_many_are_entered_a_few_at_a_time_and_each_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returning, "_AT_ONCE", 4)
    journal = corrections_of(LocalStore(tmp_path))
    abouts = [about_region("a" * 64, [number, 1, 5, 5], "en") for number in range(11)]
    changes = [change(f"a door {number}", about=about) for number, about in enumerate(abouts)]
    known = {about: Known(f"id-{number}", "a.jpg", 1) for number, about in enumerate(abouts)}
    correct(journal, [said("edit", "a gate", about=abouts[3]), said("edit", "a door 5", about=abouts[5])], 0)

    taken, settled = enter(journal, changes, known, "ann", "from CVAT", "b-1")
    assert (taken, settled.already, len(settled.faults)) == (9, 1, 1)
    taken, settled = enter(journal, changes, known, "ann", "from CVAT", "b-1")
    assert (taken, settled.already, len(settled.faults)) == (0, 10, 1)
    lines = journal.lines()[2:]
    assert [line.caption for line in lines] == [f"a door {number}" for number in range(11) if number not in (3, 5)]
    assert {(line.by, line.note, line.build_id, line.image) for line in lines} == {("ann", "from CVAT", "b-1", "a.jpg")}


def test_whoever_corrects_while_it_is_entered_is_seen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    first = returning.correct

    def just_before(*arguments: Any) -> Any:
        """Somebody else is a moment faster, once."""
        monkeypatch.setattr(returning, "correct", first)
        first(corrections_of(store), [said("edit", "a gate")], 0)
        return first(*arguments)

    monkeypatch.setattr(returning, "correct", just_before)
    taken, settled = enter(corrections_of(store), [change("a blue door")], KNOWN, "ann", "", "b-1")
    assert taken == 0 and "ben wrote 'a gate' meanwhile" in settled.faults[0]
    assert [line.caption for line in corrections_of(store).lines()] == ["a gate"]
