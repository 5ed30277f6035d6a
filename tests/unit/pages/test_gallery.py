"""A build's records, page by page, and those that somebody looks for."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regioncap.errors import BuildGoneError
from regioncap.pages.builds import SeenBuild, see_build
from regioncap.pages.gallery import Place as At
from regioncap.pages.gallery import Wanted, find
from regioncap.warehouse.reader import Build
from tests.builders import DATE, Place


def build(place: Place, rows: int = 20, **changes: Any) -> SeenBuild:
    place.good_rows(rows)
    said = place.build(
        lambda row: "\n".join(f"<region{item.region}>: a red door {row.image}" for item in row.regions),
        answer_format="free_text",
        shard_size=6,
        **changes,
    )
    return see_build(place.warehouse, DATE, said.manifest.build_id)


def seen(found: SeenBuild, wanted: Wanted, size: int, seconds: float) -> list[str]:
    images: list[str] = []
    at: At | None = At()
    while at is not None:
        page = find(found, wanted, at, size, seconds)
        assert len(page.records) <= size and page.unreadable == 0
        images += [record.image for record in page.records]
        assert page.after is None or (page.after.file, page.after.line) > (at.file, at.line)
        at = page.after
    return images


@pytest.mark.parametrize("size", [1, 5, 6, 7, 100])
@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_the_pages_together_are_all_records_once_in_order(place: Place, size: int, seconds: float) -> None:
    found = build(place)
    assert seen(found, Wanted(), size, seconds) == [f"{number}.jpg" for number in range(20)]
    assert seen(found, Wanted(text="door 1"), size, seconds) == [
        f"{number}.jpg" for number in range(20) if str(number).startswith("1")
    ]
    assert seen(found, Wanted(least=3), size, seconds) == seen(found, Wanted(most=1), size, seconds) == []


def test_a_page_reads_no_record_file_that_it_does_not_need(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty people who leaf at random are to take the memory of what they see."""
    found = build(place)
    read: list[str] = []
    whole = Build.read
    monkeypatch.setattr(Build, "read", lambda self, entry: (read.append(entry.path), whole(self, entry))[1])
    assert len(find(found, Wanted(), At(1), 4).records) == 4
    assert read == [found.manifest.captions[1].path]
    read.clear()
    assert len(find(found, Wanted(), At(1, 4), 4).records) == 4
    assert set(read) >= {entry.path for entry in found.manifest.captions[1:3]}


LINE = st.fixed_dictionaries(
    {
        "id": st.text(max_size=8),
        "image": st.text(max_size=8),
        "checks": st.lists(st.sampled_from(["same_text", "duplicate_box"]), max_size=2),
        "regions": st.lists(
            st.fixed_dictionaries({"caption": st.text(max_size=12), "label": st.none() | st.text(max_size=6)}),
            max_size=3,
        ),
        "dropped_boxes": st.lists(st.fixed_dictionaries({"code": st.sampled_from(["outside", "no_area"])}), max_size=2),
    }
)
SHORT = st.text(max_size=4) | st.sampled_from("ksfiSA")
EMPTY: dict[str, Any] = {"image": "", "checks": [], "regions": [], "dropped_boxes": []}


@given(LINE, SHORT, SHORT, st.sampled_from(["", "same_text"]), st.sampled_from(["", "outside"]), st.booleans())
@example({**EMPTY, "id": "\u212a"}, "k", "", "", "", False)  # Kelvin's sign, told as k
@example({**EMPTY, "id": "\u212a"}, "k", "", "", "", True)
@example({**EMPTY, "id": "", "regions": [{"caption": "", "label": "\u212aat"}]}, "", "kat", "", "", True)
def test_no_record_that_is_wanted_is_left_out_by_its_bytes(
    record: dict[str, Any], text: str, label: str, check: str, code: str, escaped: bool
) -> None:
    wanted = Wanted(text=text, check=check, code=code, label=label)
    line = json.dumps(record, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    assert wanted.may_match(line) or not wanted.matches(record)


def test_a_line_that_is_no_record_is_counted_and_the_others_are_shown(place: Place) -> None:
    found = build(place, rows=3)
    (entry,) = found.manifest.captions
    lines = found.partition.read(entry.path).split(b"\n")
    deep = b'{"image": ' + b"[" * 100_000
    data = b"\n".join([lines[0], b'{"regions": 5}', b"[1]", b"\xff", deep, lines[1], b""])
    found.partition.write(entry.path, data)
    forged = entry.model_copy(update={"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    damaged = SeenBuild(
        DATE, found.manifest.model_copy(update={"captions": [forged]}), "current", None, found.partition
    )
    for wanted in (Wanted(), Wanted(least=1)):
        page = find(damaged, wanted, At())
        assert [record.image for record in page.records] == ["0.jpg", "1.jpg"] and page.unreadable == 4


def test_a_record_file_that_is_gone_is_told(place: Place) -> None:
    found = build(place, rows=2)
    found.partition.delete(found.manifest.captions[0].path)
    with pytest.raises(BuildGoneError, match="is gone"):
        find(found, Wanted(), At())


@pytest.mark.parametrize("text", ["", "x", "1", "1.x", "-1.0", "1.2.3", "9" * 40 + ".0", "²2.1"])
def test_a_place_that_is_none_is_the_beginning(text: str) -> None:
    assert At.of(text) == At()
    assert At.of("3.17") == At(3, 17) and str(At(3, 17)) == "3.17"


@pytest.mark.parametrize("separator", [":", ": "])
def test_doubted_records_are_found_by_what_they_were_taken_for(separator: str) -> None:
    def line(taken_for: int | None, caption: str = "a cat") -> bytes:
        record = {"image": "a", "regions": [{"caption": caption, "confused_with": taken_for}]}
        return json.dumps(record, separators=(",", separator)).encode()

    wanted = Wanted(doubted=True)
    for taken_for, is_wanted in ((None, False), (0, True), (12, True)):
        text = line(taken_for)
        assert (wanted.may_match(text), wanted.matches(json.loads(text))) == (is_wanted, is_wanted)
    assert not wanted.may_match(line(None, 'says "confused_with":3'))


def test_records_are_found_by_a_label_and_by_a_box_that_is_not_used() -> None:
    record = {
        "id": "car",
        "image": "car.jpg",
        "regions": [{"caption": "a car", "label": "Truck"}, {"caption": "a dog", "label": None}],
        "dropped_boxes": [{"box_index": 3, "code": "outside"}],
    }
    line = json.dumps(record).encode()
    for wanted, is_wanted in (
        (Wanted(label="truck"), True),
        (Wanted(label="car"), False),
        (Wanted(code="outside"), True),
        (Wanted(code="no_area"), False),
        (Wanted(label="truck", code="no_area"), False),
    ):
        assert (wanted.may_match(line) and wanted.matches(record)) == is_wanted, wanted
