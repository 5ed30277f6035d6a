"""What differs between two builds, by row and region."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regioncap.storage.local import LocalStore
from regioncap.warehouse.compare import Comparison, Difference, differences
from regioncap.warehouse.manifest import Counts, FileEntry, Manifest
from regioncap.warehouse.reader import Build


def row(row_id: str, *captions: str, boxes: list[list[int]] | None = None, **other: Any) -> dict[str, Any]:
    boxes = boxes or [[10 * number, 0, 8, 8] for number in range(len(captions))]
    regions = [
        {"region": number, "bbox": box, "caption": caption}
        for number, (box, caption) in enumerate(zip(boxes, captions, strict=True), start=1)
    ]
    return {"id": row_id, "image": f"{row_id}.jpg", "regions": regions, **other}


def build(store: LocalStore, name: str, files: list[list[Any]], rejected: list[dict[str, Any]]) -> Build:
    """A build of these records, of which each list is a file."""

    def written(path: str, rows: list[Any]) -> FileEntry:
        data = "".join(json.dumps(item) + "\n" for item in rows).encode()
        store.write(path, data)
        return FileEntry(path=path, rows=len(rows), bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    manifest = Manifest(
        partition="dt=2026-10-05", build_id=name, build=f"build={name}",
        captions=[written(f"build={name}/{number}.jsonl", rows) for number, rows in enumerate(files)],
        rejected=written(f"build={name}/rejected.jsonl", rejected),
        counts=Counts(rows=0, captioned=0, rejected=0, regions=0),
        created_at="", plan_id="", fingerprint="", identity="",
    )  # fmt: skip
    return Build(manifest, store)


@pytest.fixture
def store(tmp_path: Any) -> LocalStore:
    return LocalStore(tmp_path)


def compared(first: Build, second: Build) -> tuple[list[Difference], Comparison]:
    counts = Comparison()
    return list(differences(first, second, counts)), counts


def test_a_caption_that_differs_is_told_by_its_region(store: LocalStore) -> None:
    first = build(store, "a", [[row("1", "a cat", "a dog"), row("2", "a door")]], [])
    second = build(store, "b", [[row("1", "a cat", "a wolf", seconds=3), row("2", "a door", seconds=4)]], [])
    (found,), counts = compared(first, second)
    assert (found.kind, found.id) == ("captions", "1")
    assert [(pair.numbers, pair.captions) for pair in found.regions if pair.differs] == [((2, 2), ("a dog", "a wolf"))]
    assert (counts.same, counts.differing) == (1, {"captions": 1})


def test_regions_are_known_by_their_boxes_not_by_their_numbers(store: LocalStore) -> None:
    one, two, three = [0, 0, 8, 8], [10, 0, 8, 8], [20, 0, 8, 8]
    first = build(store, "a", [[row("1", "a cat", "a dog", boxes=[one, two])]], [])
    turned = build(store, "b", [[row("1", "a dog", "a cat", boxes=[two, one])]], [])
    assert compared(first, turned) == ([], Comparison(same=1))
    moved = build(store, "c", [[row("1", "a cat", "a dog", boxes=[one, three])]], [])
    (found,), _ = compared(first, moved)
    assert found.kind == "regions"
    assert [pair.captions for pair in found.regions if pair.differs] == [("a dog", None), (None, "a dog")]


def test_of_regions_with_the_same_box_none_hides_another(store: LocalStore) -> None:
    box = [0, 0, 8, 8]
    first = build(store, "a", [[row("1", "a cat", "a dog", boxes=[box, box])]], [])
    other = build(store, "b", [[row("1", "a wolf", "a dog", boxes=[box, box])]], [])
    (found,), _ = compared(first, other)
    assert found.kind == "captions"
    assert [(pair.numbers, pair.captions) for pair in found.regions if pair.differs] == [((1, 1), ("a cat", "a wolf"))]
    turned = build(store, "c", [[row("1", "a dog", "a cat", boxes=[box, box])]], [])
    assert compared(first, turned) == ([], Comparison(same=1))
    fewer = build(store, "d", [[row("1", "a dog", boxes=[box])]], [])
    (found,), _ = compared(first, fewer)
    assert found.kind == "regions"
    assert [(pair.numbers, pair.captions) for pair in found.regions if pair.differs] == [((1, None), ("a cat", None))]
    (found,), _ = compared(fewer, first)
    assert [(pair.numbers, pair.captions) for pair in found.regions if pair.differs] == [((None, 1), (None, "a cat"))]


def test_a_box_is_the_same_however_its_numbers_are_written(store: LocalStore) -> None:
    first = build(store, "a", [[row("1", "a cat", boxes=[[10, 0, 8, 8]])]], [])
    second = build(store, "b", [[row("1", "a cat", boxes=[[10.0, 0.0, 8.0, 8.0]])]], [])  # type: ignore[list-item]
    assert compared(first, second) == ([], Comparison(same=1))


def test_a_caption_that_a_person_wrote_says_so(store: LocalStore) -> None:
    first, second = (row("1", caption) for caption in ("a cat", "a dog"))
    second["regions"][0]["corrected"] = True
    (found,), _ = compared(build(store, "a", [[first]], []), build(store, "b", [[second]], []))
    assert [pair.corrected for pair in found.regions] == [(False, True)]


def test_a_row_that_is_a_record_in_one_of_them_says_why_not_in_the_other(store: LocalStore) -> None:
    first = build(store, "a", [[row("1", "a cat"), row("2", "a dog")]], [])
    second = build(store, "b", [[row("2", "a dog"), row("3", "a cow")]], [{"id": "1", "code": "refusal"}])
    found, counts = compared(first, second)
    assert [(item.kind, item.id, item.codes) for item in found] == [
        ("lost", "1", (None, "refusal")), ("gained", "3", (None, None)),
    ]  # fmt: skip
    assert counts == Comparison(same=1, differing={"lost": 1, "gained": 1})


ROWS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["a cat", "a dog", "a cow"]), max_size=8)


@given(ROWS, ROWS, st.randoms(), st.integers(1, 4))
def test_whatever_the_order_each_row_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, str], two: dict[str, str], chance: Any, size: int
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("builds"))

    def made(name: str, rows: dict[str, str]) -> Build:
        items = [row(row_id, caption) for row_id, caption in rows.items()]
        chance.shuffle(items)
        return build(store, name, [items[at : at + size] for at in range(0, len(items), size)], [])

    found, counts = compared(made("x", one), made("y", two))
    kinds = {
        row_id: "lost" if row_id not in two else "gained" if row_id not in one else "captions"
        for row_id in one.keys() | two.keys()
        if one.get(row_id) != two.get(row_id)
    }
    assert {item.id: item.kind for item in found} == kinds and len(found) == len(kinds)
    assert counts.same == len(one.keys() | two.keys()) - len(kinds)


def test_what_is_no_record_does_no_harm(store: LocalStore) -> None:
    odd = [row("1", "a cat"), [1], {"id": None}, {"id": "2", "regions": "x"}, {"id": "3", "regions": [5]}]
    found, counts = compared(build(store, "a", [odd], []), build(store, "b", [[row("1", "a dog")]], []))
    assert [item.kind for item in found][:1] == ["captions"] and sum(counts.differing.values()) == len(found)
