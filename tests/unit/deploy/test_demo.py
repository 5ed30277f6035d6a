"""What `make demo` and `make eval` make of a published partition."""

import re
from pathlib import Path

import pytest

from demo_model.evaluate import published_records
from deploy.local import demo
from tests.builders import DATE, Place, describe, encoded, picture

# JSON takes them as they are within a string; as text, they end a line.
LINE_ENDS = "a\u2028b\u2029c\u0085d"
CLEAR_SCREEN = "\x1b[2J\x1b]0;title\x07"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    for name in ("a.jpg", f"{LINE_ENDS}.jpg", "\x1b[2J.jpg"):
        place.put(name, encoded(picture()))
    place.put_rows(
        {"image": "a.jpg", "bbox": [[10, 10, 40, 30]], "note": LINE_ENDS},
        {"image": f"{LINE_ENDS}.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": "\x1b[2J.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": f"none-{LINE_ENDS}.jpg", "bbox": [[10, 10, 40, 30]]},
        {"image": f"none-{CLEAR_SCREEN}.jpg", "bbox": [[10, 10, 40, 30]]},
    )
    return place


def test_rows_with_any_character_in_them_are_summed_up(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    done = place.build(describe)
    demo.summary(done.manifest, "s3://warehouse/x", place.folder / "warehouse" / f"dt={DATE}", unchanged=False)
    told = capsys.readouterr().out
    listed = re.search(r"^rejected: (.*)$", told, re.MULTILINE)
    assert listed and sum(map(int, re.findall(r"\((\d+)\)", listed[1]))) == done.manifest.counts.rejected >= 2
    assert not set("\x1b\x07\u2028\u2029\x85") & set(told)


def test_records_with_any_character_in_them_are_read_back(place: Place) -> None:
    done = place.build(describe)
    read = list(published_records(place.folder / "warehouse" / f"dt={DATE}"))
    assert len(read) == done.manifest.counts.captioned >= 1
