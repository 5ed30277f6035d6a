"""The journals of what people say, and what holds after all of it."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.errors import CorrectionConflictError, ManifestError
from regioncap.storage.local import LocalStore
from regioncap.warehouse import journal
from regioncap.warehouse.corrections import (
    Correction,
    Corrections,
    about_record,
    about_region,
    correct,
    corrections_of,
    what_holds,
)
from regioncap.warehouse.reviews import Review, note, reviews_of

SHA = "a" * 64
ABOUT = about_region(SHA, [10, 10, 40, 30], "en")


def said(action: Any = "edit", caption: str | None = "a blue door", by: str = "ann", **changes: Any) -> Correction:
    return Correction(
        **{"at": "2026-10-05T10:00:00+00:00", "by": by, "action": action, "about": ABOUT, "caption": caption, **changes}
    )


@pytest.fixture
def partition(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_what_is_entered_is_there_in_order_with_its_number(
    partition: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FILE_LINES", 3)
    for number in range(1, 9):
        correct(corrections_of(partition), [said(caption=f"door {number}")], seen=number - 1)
    lines = corrections_of(partition).lines()
    assert [(line.number, line.caption) for line in lines] == [(number, f"door {number}") for number in range(1, 9)]
    names = [entry.path for entry in partition.sub("_corrections/").list()]
    assert names == ["000000001.jsonl", "000000004.jsonl", "000000007.jsonl"]


def test_whoever_comes_second_sees_the_first(partition: LocalStore) -> None:
    correct(corrections_of(partition), [said(by="ann", caption="a red door")], seen=0)
    with pytest.raises(CorrectionConflictError, match="ann wrote 'a red door' meanwhile"):
        correct(corrections_of(partition), [said(by="ben", caption="a green door")], seen=0)
    correct(corrections_of(partition), [said(by="ben", caption="a green door")], seen=1)
    other = about_region(SHA, [1, 1, 5, 5], "en")
    correct(corrections_of(partition), [said(by="cat", about=other)], seen=0)
    assert [line.by for line in corrections_of(partition).lines()] == ["ann", "ben", "cat"]


def test_what_is_sent_twice_is_entered_once(partition: LocalStore) -> None:
    first = correct(corrections_of(partition), [said()], seen=0)
    assert [line.number for line in first] == [1]
    assert correct(corrections_of(partition), [said()], seen=0) == []
    assert len(corrections_of(partition).lines()) == 1


def test_of_several_that_belong_together_all_are_entered_or_none(partition: LocalStore) -> None:
    other = about_region(SHA, [1, 1, 5, 5], "en")
    correct(corrections_of(partition), [said(by="ann", about=other)], seen=0)
    with pytest.raises(CorrectionConflictError):
        correct(corrections_of(partition), [said(by="ben"), said(by="ben", about=other, caption="no")], seen=0)
    assert len(corrections_of(partition).lines()) == 1


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "000000001.jsonl").unlink(),
        lambda folder: (folder / "000000001.jsonl").write_text("{"),
        lambda folder: (folder / "000000001.jsonl").write_bytes((folder / "000000003.jsonl").read_bytes()),
        lambda folder: (folder / "000000003.jsonl").write_bytes((folder / "000000003.jsonl").read_bytes()[:-20]),
        lambda folder: (folder / "000000003.jsonl").write_text('{"number": 3, "action": "paint", "about": "x"}\n'),
    ],
)
def test_a_line_that_is_gone_or_damaged_is_never_left_out(
    partition: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Any
) -> None:
    monkeypatch.setattr(journal, "FILE_LINES", 2)
    for number in range(4):
        correct(corrections_of(partition), [said(caption=f"door {number}")], seen=number)
    harm(tmp_path / "_corrections")
    with pytest.raises(ManifestError, match="_corrections"):
        corrections_of(partition).lines()
    with pytest.raises(ManifestError):
        correct(corrections_of(partition), [said()], seen=99)


def test_a_file_that_is_larger_than_any_is_not_read(
    partition: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    correct(corrections_of(partition), [said()], seen=0)
    note(reviews_of(partition), Review(at="", by="ann", build_id="b", region="0.0.1", verdict="right"))
    for folder in ("_corrections", "_reviews"):
        os.truncate(tmp_path / folder / "000000001.jsonl", (64 << 20) + 1)  # takes no room on the disk
    monkeypatch.setattr(LocalStore, "read", lambda *_: pytest.fail("it is read"))
    for journal_of in (corrections_of, reviews_of):
        with pytest.raises(ManifestError, match=r"1\.jsonl has 67,108,865 bytes.*: restore the file from a backup"):
            journal_of(partition).lines()
    with pytest.raises(ManifestError):
        correct(corrections_of(partition), [said()], seen=99)


def test_what_holds_is_the_last_word_and_a_restored_region_has_its_caption_again() -> None:
    steps: list[tuple[Correction, Any]] = [
        (said("edit", "a red door"), ("a red door", False)),
        (said("reject", None, note="no door"), ("a red door", True)),
        (said("note", None, note="hm"), ("a red door", True)),
        (said("restore", None), ("a red door", False)),
        (said("revert", None), None),
        (said("reject", None), (None, True)),
        (said("edit", "a gate"), ("a gate", False)),
    ]
    for number, (_, expected) in enumerate(steps, start=1):
        held = what_holds([line for line, _ in steps[:number]], "en").holding(ABOUT)
        assert (held and (held.caption, held.rejected)) == expected
    assert not what_holds([line for line, _ in steps], "zh")


def test_a_content_is_known_whatever_its_numbers_are_written_as() -> None:
    assert about_region(SHA, [10.0, 10, 40, 30], "en") == ABOUT != about_region(SHA, [10.5, 10, 40, 30], "en")
    assert about_record(SHA, [[1, 2, 3, 4]], "en") != about_record(SHA, [[1, 2, 3, 5]], "en")
    assert about_region(SHA, [10, 10, 40, 30], "zh") != ABOUT


@given(
    st.lists(st.tuples(st.sampled_from(["edit", "reject", "restore", "revert", "note"]), st.integers(0, 3))),
    st.randoms(use_true_random=False),
)
def test_what_holds_does_not_depend_on_the_order_of_different_contents(
    steps: list[tuple[Any, int]], shuffled: random.Random
) -> None:
    lines = [
        said(action, f"caption {number}", about=about_region(SHA, [place, 1, 5, 5], "en"), note=str(number))
        for number, (action, place) in enumerate(steps)
    ]
    held = what_holds(lines, "en")
    by_content: dict[str, list[Correction]] = {}
    for line in lines:
        by_content.setdefault(line.about, []).append(line)
    groups = list(by_content.values())
    shuffled.shuffle(groups)
    assert what_holds([line for group in groups for line in group], "en").data() == held.data()
    assert Corrections.of_data(held.data()).data() == held.data()


def _write(folder: Path, by: str, edits: int) -> None:
    chance = random.Random(by)
    for edit in range(edits):
        about = about_region(SHA, [chance.randrange(5), 1, 5, 5], "en")
        number = 0
        while True:
            try:
                correct(corrections_of(LocalStore(folder)), [said(by=by, caption=f"{by} {edit}", about=about)], number)
                break
            except CorrectionConflictError:
                number = len(corrections_of(LocalStore(folder)).lines())


def test_of_two_writers_none_loses_a_word(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_write, args=(tmp_path, by, 40)) for by in ("ann", "ben")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    lines = corrections_of(LocalStore(tmp_path)).lines()
    assert Counter(line.caption for line in lines) == {f"{by} {edit}": 1 for by in ("ann", "ben") for edit in range(40)}
    assert [line.number for line in lines] == list(range(1, 81))


def test_a_writer_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    chance = random.Random(7)
    for life in range(8):
        writer = spawn.Process(target=_write, args=(tmp_path, f"ann{life}", 1000))
        writer.start()
        time.sleep(chance.uniform(0.02, 0.1))
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(60)
    lines = corrections_of(LocalStore(tmp_path)).lines()
    written: Counter[str] = Counter(line.caption for line in lines if line.caption)
    assert not written or max(written.values()) == 1
    _write(tmp_path, "ben", 3)
    assert len(corrections_of(LocalStore(tmp_path)).lines()) == len(lines) + 3
