"""Drops whose images are inside their manifests."""

import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.builders import encoded, picture

BOXES = [[10, 10, 40, 30], [60, 20, 50, 50]]


def picture_of(number: int) -> bytes:
    """A picture like no other, of a size of its own."""
    return encoded(picture(120 + number, 80, (number * 37 % 256, 120, 90)))


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar; `fields` are more of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes], compression: str = "") -> bytes:
    """A tar of these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def samples(numbers: Sequence[int], **row: Any) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Samples with the pictures of these numbers, each with two boxes."""
    found = []
    for number in numbers:
        text = json.dumps({"bbox": BOXES, "labels": ["dog", None], **row}).encode()
        found += [member(f"{number:06d}.jpg", picture_of(number)), member(f"{number:06d}.json", text)]
    return found


def parquet_of(columns: dict[str, Any], features: dict[str, Any] | None = None, **options: Any) -> bytes:
    """A Parquet file; `features` are what Hugging Face writes of its columns."""
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def images(numbers: Sequence[int]) -> Any:
    """A column of images as Hugging Face writes it."""
    return pa.array(
        [{"bytes": picture_of(number), "path": f"{number}.jpg"} for number in numbers],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
