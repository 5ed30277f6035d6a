"""Manifests that are one JSON array."""

import json
from pathlib import Path

import pytest

from regioncap.drop.drop import read_rows
from regioncap.errors import DropError
from regioncap.regions.codes import Code


def test_json_is_an_array_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps([{"image": "a", "bbox": [[1, 2, 3, 4]]}, 17]))
    good, bad = read_rows(path, "json", "bbox")
    assert good.value == {"image": "a", "bbox": [[1, 2, 3, 4]]}
    assert bad.fault is not None and bad.fault.code == Code.NOT_AN_OBJECT


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b'{"image": "caf\xe9.jpg"}', Code.NOT_UTF8),
        (b'{"image": "b", "note": ["\xff"]}', Code.NOT_UTF8),
        (b'{"image": "b", "bbox": ' + b"[" * 3000 + b"]" * 3000 + b"}", Code.TOO_DEEP),
        (b'{"image": "b", "note": "' + b"x" * (9 << 20) + b'"}', Code.LINE_TOO_LONG),
        (b"null", Code.NOT_AN_OBJECT),
    ],
)
def test_an_item_that_is_no_row_costs_itself(tmp_path: Path, bad: bytes, code: Code) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(
        b'\xef\xbb\xbf [{"image": "a"},\n' + bad + b',\n{"image": "\xc3\xa9", "note": "\\ud800", "x": NaN}]\n'
    )
    first, second, third = read_rows(path, "json", "bbox")
    assert first.value == {"image": "a"} and third.value is not None and third.value["image"] == "é"
    assert (second.line, second.value) == (2, None)
    assert second.fault is not None and second.fault.code == code


@pytest.mark.parametrize("text", ['{"rows": [{"image": "a"}]}', '"a"', "", "[] []", '[{"image": "a"},]', "[", '["a'])
def test_what_is_no_array_is_not_read_as_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(DropError, match=r"the manifest m\.json cannot be read as json: it is no"):
        list(read_rows(path, "json", "bbox"))
