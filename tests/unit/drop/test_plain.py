"""Compressed manifests and text in other encodings reach their reader as plain UTF-8."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from regioncap.drop import plain as module
from regioncap.drop.plain import is_text_encoding, plain, unpacked_start
from regioncap.errors import DropError
from regioncap.work.shard import Shard
from tests.builders import Place, encoded, picture
from tests.builders import settings as build_settings

BOX = [10, 10, 40, 30]
LINES = "".join(json.dumps({"image": f"{name}.jpg"}, ensure_ascii=False) + "\r\n" for name in ("a", "é", "图", "𝄞"))


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.jsonl", data)
    return out.getvalue()


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def read(folder: Path, data: bytes, encoding: str = "utf-8", is_text: bool = True) -> bytes:
    path = folder / "copy"
    path.write_bytes(data)
    with plain(path, encoding=encoding, is_text=is_text) as found:
        return found.read_bytes()


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_what_is_compressed_is_unpacked_whatever_it_is_called(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert read(tmp_path, pack(LINES.encode())) == LINES.encode()
    assert read(tmp_path, pack(LINES.encode("utf-16"))) == LINES.encode()
    assert read(tmp_path, pack(b"PAR1 and so on"), is_text=False) == b"PAR1 and so on"


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_what_is_damaged_within_says_so(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(100)))
    faults = set()
    for at in range(24, len(packed) - 4, 100):
        damaged = packed[:at] + bytes(byte ^ 0x5A for byte in packed[at : at + 4]) + packed[at + 4 :]
        (tmp_path / "damaged").write_bytes(damaged)
        assert len(unpacked_start(damaged, 1 << 16)) <= 1 << 16
        try:
            with plain(tmp_path / "damaged", encoding="utf-8", is_text=False):
                pass
        except ValueError as error:
            faults.add(str(error).partition(":")[0])
    # Of Zstandard, some of it may be taken for another content: it has no sum here.
    assert faults == {"it is compressed, and cannot be unpacked"}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_what_was_packed_piece_by_piece_is_all_of_them(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    pieces = [b"first\n", b"", b"second\n" * 300_000, b"third\n"]
    packed = b"".join(map(pack, pieces))
    assert read(tmp_path, packed) == b"".join(pieces)
    assert read(tmp_path, pack(b"")) == b""
    assert unpacked_start(packed, 13) == b"first\nsecond\n"[:13]


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("damage", [0, 1, 2])
def test_pieces_behind_a_damaged_one_are_not_left_out(
    tmp_path: Path, pack: Callable[[bytes], bytes], damage: int
) -> None:
    second = bytearray(pack(LINES.encode()))
    second[damage] ^= 0x5A
    with pytest.raises(ValueError, match="compressed, and cannot be unpacked"):
        read(tmp_path, pack(LINES.encode()) + second)
    with pytest.raises(ValueError, match="compressed, and cannot be unpacked"):
        read(tmp_path, pack(LINES.encode()) + b"and more")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_zeros_behind_what_is_packed_fill_it_up(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert read(tmp_path, pack(LINES.encode()) + bytes(2048)) == LINES.encode()


def test_zstandard_may_begin_with_what_says_how_it_was_packed(tmp_path: Path) -> None:
    told = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert read(tmp_path, told + zstd(LINES.encode()) + told + zstd(LINES.encode())) == LINES.encode() * 2


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_what_is_cut_short_is_never_taken_for_the_whole(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LINES.encode() * 500)
    with pytest.raises(ValueError, match="compressed, and cannot be unpacked"):
        read(tmp_path, packed[: len(packed) - 9])


def test_a_zip_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ZIP archive: unpack it"):
        read(tmp_path, zipped(LINES.encode()))


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_what_unpacks_without_end_is_refused_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(module, "_MOST_TIMES", 2)
    with pytest.raises(ValueError, match="unpacks to more than"):
        read(tmp_path, pack(b" " * (8 << 20)))


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("declared", ["utf-8", "cp1252"])
def test_unicode_in_every_form_is_noticed(tmp_path: Path, encoding: str, declared: str) -> None:
    found = read(tmp_path, LINES.encode(encoding), declared)
    assert found.decode("utf-8-sig") == LINES


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=2, max_size=200))
def test_text_that_begins_with_a_byte_order_mark_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("text")
    for encoding in ("utf-16", "utf-32"):
        assert read(folder, f"{{{text}}}".encode(encoding)).decode() == f"{{{text}}}"


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp1252", "straße"), ("gb18030", "红色的门"), ("shift_jis", "赤い扉"), ("koi8-r", "дверь")]
)
def test_text_in_the_declared_encoding_is_read(tmp_path: Path, encoding: str, text: str) -> None:
    # Longer than a chunk, so that characters are cut at its end.
    assert read(tmp_path, (f"x{text}\n" * 150_000).encode(encoding), encoding).decode() == f"x{text}\n" * 150_000


def test_a_line_that_is_not_in_the_encoding_costs_itself_alone(tmp_path: Path) -> None:
    good, bad = json.dumps({"image": "a.jpg"}).encode(), b'{"image": "\x81.jpg"}'
    first, second, third = read(tmp_path, good + b"\n" + bad + b"\n" + good, "cp1252").split(b"\n")
    assert first == third == good
    with pytest.raises(UnicodeDecodeError):
        second.decode()


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xff\xfe\x00", b"\xfe\xff", b"\x28\xb5"])
def test_a_first_line_that_is_damaged_stays_what_it_is(tmp_path: Path, start: bytes) -> None:
    data = start + b"\n" + LINES.encode()
    assert read(tmp_path, data) == data


def test_the_encodings_are_those_of_text_files() -> None:
    assert all(map(is_text_encoding, ["utf-8", "UTF8", "latin-1", "cp1252", "gb18030", "big5", "shift_jis", "euc-kr"]))
    assert not any(map(is_text_encoding, ["", "base64", "zlib", "rot13", "idna", "unicode_escape", "utf-7", "no such"]))
    with pytest.raises(ValidationError, match="manifest_encoding"):
        build_settings(manifest_encoding="base64")


@pytest.mark.parametrize("ending", ["", *PACKED])
@pytest.mark.parametrize("input_format", ["jsonl", "json", "csv"])
def test_a_drop_of_compressed_manifests_is_planned_as_it_is_without(
    tmp_path: Path, input_format: str, ending: str
) -> None:
    place = Place(tmp_path)
    place.put("é.jpg", encoded(picture()))
    text = {
        "jsonl": f'{{"id": "1", "image": "é.jpg", "bbox": [{BOX}]}}\n',
        "json": f'[{{"id": "1", "image": "é.jpg", "bbox": [{BOX}]}}]',
        "csv": f'id,image,bbox\n1,é.jpg,"[{BOX}]"\n',
    }[input_format]
    pack = PACKED.get(ending, bytes)
    place.put(f"m.{input_format}{ending}", pack(text.encode("cp1252")))
    plan = place.plan(input_format=input_format, manifest_encoding="cp1252")
    (row,) = Shard(place.work, plan, plan.shards[0]).planned()
    assert (row.id, row.image, row.bbox) == ("1", "é.jpg", [BOX])


def test_a_manifest_that_cannot_be_unpacked_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.put("m.jsonl.gz", gzip.compress(LINES.encode())[:-8])
    with pytest.raises(DropError, match=r"m\.jsonl\.gz cannot be read as jsonl: it is compressed, and cannot be"):
        place.plan()


def test_a_pointer_of_git_lfs_is_no_manifest(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    for is_text in (True, False):
        with pytest.raises(ValueError, match="it is a pointer of Git LFS, in place of the file: fetch the files with"):
            read(tmp_path, pointer, is_text=is_text)
