"""Rows that are checked in several processes: what comes of them is what comes of them in one."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regioncap.drop import checking, drop
from regioncap.drop.checking import ENOUGH_ROWS, Checked, Checker, checked_rows, processes_for, serve
from regioncap.drop.elsewhere import Images
from regioncap.drop.readers import READERS, Reader, Row
from regioncap.drop.rows import RowReader
from regioncap.errors import RowError, TransientError
from regioncap.processes import python
from regioncap.regions.codes import Code
from regioncap.work.row_index import ForgottenImages, image_key
from tests.builders import DATE, Place

# What may take long on a machine that has much to do is waited for so long, in seconds.
PATIENCE = 120
BOXES = [[1, 2, 30, 40], [5, 5.5, 10, 10]]
FILES = ("a.jpg", "b/c.jpg", "B/C.jpg", "Odd.jpg", "caf\u00e9.jpg", "gone.jpg")


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_BLOCK_ROWS", 7)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name in FILES:
        place.put(name, b"")
    return place


@dataclass
class Outcome:
    """What came of the rows of a drop, and what was counted of them."""

    rows: list[Checked]
    counted: tuple[Any, ...]


def reading(place: Place, stack: ExitStack, input_format: str) -> tuple[drop.Manifests, Checker]:
    contents = drop.contents(place.drop, input_format)
    manifests = drop.Manifests(
        place.drop, contents, image_key="image", bbox_key="bbox", box_format="xywh", encoding="utf-8", stack=stack,
        keep=("note",),
    )  # fmt: skip
    images = Images(place.drop, roots=["s3://lake/images"])
    reader = RowReader("image", "bbox", contents.images, keep=("note",), images=images)
    forgotten = ForgottenImages(DATE, frozenset({image_key(DATE, "gone.jpg")}))
    return manifests, Checker(reader, contents.images, forgotten)


def outcome(place: Place, processes: int, input_format: str = "jsonl") -> Outcome:
    with ExitStack() as stack:
        manifests, checker = reading(place, stack, input_format)
        rows = list(checked_rows(manifests, checker, processes))
    keys = checker.reader.box_keys
    counted = keys.rows, keys.declared, list(keys.others.items()), checker.reader.nearly, checker.reader.unlabelled
    return Outcome(rows, counted)


def value(chance: random.Random) -> Any:
    """A row as somebody may give it: most are in order, ids and rows come twice, everything else comes up too."""
    images = [*FILES, "./a.jpg", "b\\c.jpg", "odd.jpg", "cafe\u0301.jpg", "none.jpg", "s3://lake/images/x.jpg",
              "s3://other/x.jpg", "../a.jpg", "https://x/a.jpg", 7, None, "", "\ud800"]  # fmt: skip
    row: dict[str, Any] = {"image": chance.choice(images if chance.random() < 0.5 else ["a.jpg", "b/c.jpg"])}
    if chance.random() < 0.5:
        row["id"] = chance.choice([chance.randrange(40), f"id {chance.randrange(40)}", None, "", [], 3.0, True])
    if chance.random() < 0.9:
        side = chance.randrange(9)
        row["bbox"] = chance.choice([BOXES, [[side, 1, 2, 3]], [[side, 1, 2.5, 3]], None, [], "x", [[1]], [side] * 4])
    else:
        row[chance.choice(["boxes", "bboxes"])] = BOXES
    if chance.random() < 0.2:
        row["labels"] = chance.choice([["a", "b"], ["a"], "x", [1, None]])
    if chance.random() < 0.2:
        row["note"] = chance.choice(["x", 1.5, {"a": [1]}, float("nan"), 10**30])
    if chance.random() < 0.02:
        row["deep"] = json.loads("[" * 100 + "]" * 100)
    return row


def lines(number: int) -> Iterator[str]:
    chance = random.Random(number)
    odd = ["", "   ", "{", "[1]", '{"image": "a.jpg"} x', "[" * 3000, '{"image": ' + "[" * 3000 + "]" * 3000 + "}"]
    for _ in range(number):
        yield chance.choice(odd) if chance.random() < 0.05 else json.dumps(value(chance))


@pytest.mark.parametrize("processes", [1, 3])
def test_what_comes_of_lines_is_the_same_whatever_the_number_of_processes(place: Place, processes: int) -> None:
    place.put("1.jsonl", b"\xef\xbb\xbf" + "\n".join(lines(600)).encode() + b"\n\xff\xfe\n" + b"x" * (5 << 20))
    place.put("2.jsonl", "\r\n".join(lines(300)))
    here = outcome(place, 0)
    assert outcome(place, processes) == here
    # Otherwise it would not say much.
    codes = {json.loads(row.line).get("code") for row in here.rows}
    assert {None, *Code} >= codes >= {None, "duplicate_id", "forgotten", "line_too_long", "too_deep", "not_utf8"}
    assert all(here.counted)


def test_rows_of_other_formats_are_the_same_too(place: Place) -> None:
    chance = random.Random(7)
    place.put("1.json", json.dumps([value(chance) for _ in range(300)]))
    assert outcome(place, 2, "json") == outcome(place, 0, "json")
    rows = [{"image": "a.jpg", "bbox": BOXES, "note": date(2000, 1, day % 9 + 1)} for day in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), place.drop_folder / "1.parquet")
    here = outcome(place, 0, "parquet")
    assert outcome(place, 2, "parquet") == here
    assert all(row.planned for row in here.rows) and b"2000-01-03" in here.rows[2].line


def test_whoever_asks_checks_nothing_but_rows_with_an_id_that_there_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [json.dumps({"image": "a.jpg", "bbox": BOXES, "id": number}) for number in range(20)]
    place.put("1.jsonl", "\n".join([*good, "{", '{"id": 5, "image": "b/c.jpg"}', *good[:3]]))
    here: list[int] = []
    check = Checker.check

    def noted(self: Checker, manifest: str, row: Row) -> Checked:
        here.append(row.line)
        return check(self, manifest, row)

    monkeypatch.setattr(Checker, "check", noted)
    assert len(outcome(place, 1).rows) == 25
    assert here == [22, 23, 24, 25]
    place.put("1.json", f"[{','.join([*good, '[]', '7'])}]")
    here.clear()
    assert len(outcome(place, 1, "json").rows) == 22
    assert here == []


class Odd(str):
    """Comes out of a pickle as something else, as errors of many packages do."""

    def __reduce__(self) -> Any:
        return int, ("7",)


def test_what_a_reader_of_a_package_puts_into_rows_need_not_be_fit_to_be_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unsent:
        """No other process knows this class."""

        def __repr__(self) -> str:
            return "unsent"

    def rows(manifest: Path, image_key: str, bbox_key: str) -> Iterator[Row]:
        for number in range(1, 40):
            odd = [Odd("x"), Unsent(), {"a": Odd("y")}, [{Unsent(): 1}]][number % 4]
            yield Row(number, {"image": "a.jpg", "bbox": BOXES, "note": odd, "id": number % 30})
            yield Row(number, {"image": odd if number % 3 else "a.jpg", "id": Odd(number)})
            yield Row(number, None, RowError(Code.NOT_JSON, "odd"), odd if number % 5 else b"text")

    monkeypatch.setitem(READERS.own, "json", Reader((".json",), rows))  # type: ignore[arg-type]
    place.put("1.json", "")
    here = outcome(place, 0, "json")
    assert len(here.rows) == 117
    assert outcome(place, 2, "json") == here


def test_an_error_that_is_no_rows_fault_ends_it_as_it_would_in_one_process(place: Place) -> None:
    place.put("1.jsonl", "\n".join(lines(100)))
    notes = []
    for processes in (0, 2):
        with ExitStack() as stack, Path(os.devnull).open("wb") as unreadable:
            manifests, checker = reading(place, stack, "jsonl")
            checker.files._notes = unreadable
            with pytest.raises(OSError, match="Bad file descriptor") as raised:
                list(checked_rows(manifests, checker, processes))
            notes.append(raised.value.__notes__)
    assert notes[0] == notes[1]


@pytest.fixture
def children() -> Iterator[Any]:
    """The processes below this one that were not there before; none of them stays."""
    before = set(psutil.Process().children(recursive=True))

    def since() -> list[psutil.Process]:
        return [one for one in psutil.Process().children(recursive=True) if one not in before]

    yield since
    assert since() == []


def test_a_process_that_is_killed_ends_the_step_with_an_error_that_says_so(place: Place, children: Any) -> None:
    place.put("1.jsonl", "\n".join(lines(600)))
    with ExitStack() as stack:
        manifests, checker = reading(place, stack, "jsonl")
        rows = checked_rows(manifests, checker, 2)
        next(rows)
        for process in children():
            process.kill()
        with pytest.raises(TransientError, match=r"killed by SIGKILL, as where memory is short.*more memory"):
            list(rows)


def test_processes_end_when_nobody_wants_more_rows(place: Place, children: Any) -> None:
    place.put("1.jsonl", "\n".join(lines(600)))
    with ExitStack() as stack:
        manifests, checker = reading(place, stack, "jsonl")
        rows = checked_rows(manifests, checker, 2)
        next(rows)
        assert len(children()) == 2
        rows.close()  # type: ignore[attr-defined]


def test_a_process_ends_when_whoever_asked_it_is_gone() -> None:
    process = subprocess.Popen(python(serve), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.communicate(timeout=PATIENCE) == (b"", None)
    assert process.returncode == 0


def test_processes_are_started_for_many_rows_where_there_are_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "cores", lambda: 8)
    monkeypatch.setattr(checking, "free_memory", lambda: 64 << 30)
    assert processes_for(ENOUGH_ROWS, 10) == 8
    assert processes_for(ENOUGH_ROWS - 1, 10) == 0
    # Half of the memory is for others; each process may have to know 100 million files by another name.
    assert processes_for(ENOUGH_ROWS, 1_000_000_000) == 2
    monkeypatch.setattr(checking, "free_memory", lambda: 1 << 30 - 1)
    assert processes_for(ENOUGH_ROWS, 10) == 0
    monkeypatch.setattr(checking, "free_memory", lambda: 64 << 30)
    monkeypatch.setattr(checking, "cores", lambda: 1)
    assert processes_for(ENOUGH_ROWS, 10) == 0
