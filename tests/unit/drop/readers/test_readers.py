"""What holds for every format of manifests."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regioncap.drop.drop import contents, read_rows
from regioncap.drop.readers import READERS, streamed
from regioncap.errors import DropError, ExtensionError
from tests.builders import Place


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m", data)
    return out.getvalue()


def zstd_frame(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("input_format", ["json", "csv", "parquet"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b'{"image": "a"}', b'"unclosed\n1,2,3\n4'])
def test_a_file_of_another_format_is_a_fault_of_the_drop(tmp_path: Path, input_format: str, data: bytes) -> None:
    path = tmp_path / f"m.{input_format}"
    path.write_bytes(data)
    try:
        # CSV makes sense of nearly anything; then its rows lack an image, and are rejected one by one.
        assert all("image" not in (row.value or {}) for row in read_rows(path, input_format, "bbox"))
        assert input_format == "csv"
    except DropError as error:
        assert f"cannot be read as {input_format}" in str(error)


@pytest.mark.parametrize(
    ("input_format", "data"),
    [
        ("json", b"[" * 100_000),
        ("json", b'[{"image": "a"}, {"image": '),
        ("json", b'[{"image": "a"}, \xff]'),
        ("json", b'[{"image": 1' + b"0" * 5000 + b"}]"),
        ("csv", b"image,\xff\na.jpg,\n"),
        ("csv", b'"image\na.jpg,\n'),
        ("parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    ],
)
def test_a_manifest_that_cannot_be_read_as_a_whole_is_named(tmp_path: Path, input_format: str, data: bytes) -> None:
    path = tmp_path / "copy"
    path.write_bytes(data)
    with pytest.raises(DropError, match=rf"the manifest street\.m cannot be read as {input_format}"):
        list(read_rows(path, input_format, "bbox", name="street.m"))


ROWS = {"jsonl": '{"image": "a.jpg"}\n', "csv": "image,bbox\na.jpg,\n", "json": '[{"image": "a.jpg"}]'}


@pytest.mark.parametrize(
    "start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xff\xfe\x00", b"\xfe\xff", b"\x00\x00\x00{"]
)
def test_a_first_line_that_is_damaged_costs_itself_alone(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(start + b"\n" + ROWS["jsonl"].encode())
    first, second = read_rows(path, "jsonl", "bbox")
    assert first.fault is not None and second.value == {"image": "a.jpg"}


@pytest.mark.parametrize(
    ("input_format", "module", "name", "error"),
    [
        ("csv", csv, "reader", csv.Error("no such dialect")),
        ("parquet", pq, "ParquetFile", pa.ArrowNotImplementedError("no such codec")),
    ],
)
def test_errors_of_the_libraries_own_kinds_are_faults_of_the_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_format: str, module: Any, name: str, error: Exception
) -> None:
    def fail(*args: Any) -> None:
        raise error

    path = tmp_path / "copy"
    path.write_text("image,bbox\n")
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(DropError, match=rf"cannot be read as {input_format}: no such"):
        list(read_rows(path, input_format, "bbox"))


def test_memory_that_runs_out_and_a_disk_that_fails_are_no_fault_of_the_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.json"
    path.write_text("[1]")
    for error in (MemoryError(), OSError(5, "Input/output error")):

        def fail(text: str, at: int, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(streamed, "_decode", fail)
        with pytest.raises(type(error)):
            list(read_rows(path, "json", "bbox"))


READER = """
from regioncap.drop.readers import Reader, Row

def rows(manifest, image_key, bbox_key):
    text = manifest.read_text()
    if "<" not in text:
        raise ValueError("it has no tag")
    yield Row(1, {image_key: "a.jpg", bbox_key: [[1, 2, 30, 40]]})

it = Reader((".xml", ".XML"), rows)
"""


def test_a_reader_of_ones_own_says_which_files_are_manifests_and_what_is_in_them(
    tmp_path: Path, extend: Callable[..., None]
) -> None:
    place = Place(tmp_path)
    place.put("a.jpg", b"x")
    extend("regioncap.readers", "voc", READER)
    with pytest.raises(DropError, match=r"put one or more \*\.xml or \*\.XML files at its top level"):
        contents(place.drop, "voc")
    for name in ("b.xml", "a.XML", "c.jsonl"):
        place.put(name, "<annotation/>")
    assert contents(place.drop, "voc").manifests == ["a.XML", "b.xml"]
    (row,) = read_rows(place.drop_folder / "b.xml", "voc", "boxes", "file")
    assert row.value == {"file": "a.jpg", "boxes": [[1, 2, 30, 40]]}
    plan = place.plan(input_format="voc")
    assert len(plan.shards) == 1 and plan.settings.input_format == "voc"
    place.put("b.xml", "nothing")
    with pytest.raises(DropError, match=r"the manifest b\.xml cannot be read as voc: it has no tag"):
        place.plan(input_format="voc")


@pytest.mark.parametrize(
    "code", ["it = print", "from regioncap.drop.readers import Reader\nit = Reader('.xml', print)"]
)
def test_what_is_no_reader_is_named(extend: Callable[..., None], code: str) -> None:
    extend("regioncap.readers", "voc", code)
    with pytest.raises(ExtensionError, match=r"the reader voc .* is no Reader with a tuple of suffixes"):
        READERS["voc"]
