"""What AVIF and HEIF say of their picture beside its pixels, in boxes (ISO/IEC 14496-12, 23008-12 and 23000-22).

Pillow and libavif read the pixels, the turns and the profile; they leave out how colours are coded, and the crop.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

# Where in a file the boxes are that describe it: they come before the pixels.
_MOST = 4 << 20
# A picture of many parts has a few properties; a file that says more is made to keep a reader busy.
_MOST_PROPERTIES = 4096


@dataclass(frozen=True)
class Said:
    """`numbers` are primaries and transfer of H.273, if there is no profile; `crop` is left, top, right, bottom.

    `bits` are those of each number of a pixel.
    """

    numbers: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    bits: int = 8


def read_heif(data: bytes) -> Said:
    """What the file says of its main picture; what is damaged or unknown says nothing."""
    try:
        return _said(data[:_MOST])
    except (struct.error, IndexError, KeyError, StopIteration, ZeroDivisionError):
        return Said()


def _said(data: bytes) -> Said:
    meta = dict(_boxes(data))[b"meta"][4:]
    parts = dict(_boxes(meta))
    primary = parts[b"pitm"]
    item = int.from_bytes(primary[4:6] if primary[0] == 0 else primary[4:8])
    properties = list(_boxes(dict(_boxes(parts[b"iprp"]))[b"ipco"]))
    given = [body for kind, body in _boxes(parts[b"iprp"]) if kind == b"ipma"]
    numbers: tuple[int, int] | None = None
    profile, bits = False, 8
    crop = size = None
    for index in (index for body in given for index in _properties_of(item, body)):
        kind, body = properties[index - 1]
        if kind == b"colr" and body[:4] == b"nclx":
            numbers = struct.unpack_from(">HH", body, 4)
        elif kind == b"colr":
            profile = True
        elif kind == b"ispe":
            size = struct.unpack_from(">II", body, 4)
        elif kind == b"clap":
            crop = body
        elif kind == b"pixi":
            bits = body[5]
        elif kind == b"av1C":
            bits = 8 if not body[2] & 0x40 else 12 if body[2] & 0x20 else 10
    return Said(None if profile else numbers, _crop(crop, size) if crop and size else None, bits)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes (kind, body) that follow one another."""
    at, found = 0, 0
    while at + 8 <= len(data) and found < _MOST_PROPERTIES:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        elif length == 0:
            length = len(data) - at
        if length < head:
            return
        yield kind, data[at + head : at + length]
        at, found = at + length, found + 1


def _properties_of(item: int, body: bytes) -> list[int]:
    """The numbers, from 1, of the properties that `ipma` gives an item."""
    version, wide = body[0], body[3] & 1
    count, at = struct.unpack_from(">I", body, 4)[0], 8
    for _ in range(count):
        number = struct.unpack_from(">I" if version else ">H", body, at)[0]
        at += 4 if version else 2
        many, at = body[at], at + 1
        if number == item:
            shape, most = (">H", 0x7FFF) if wide else (">B", 0x7F)
            listed = [struct.unpack_from(shape, body, at + n * (2 if wide else 1))[0] & most for n in range(many)]
            return [index for index in listed if index]
        at += many * (2 if wide else 1)
    return []


def _crop(body: bytes, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The clean aperture in whole pixels; None where it has none or leaves the picture: then viewers show all of it."""
    wide, over, tall, under, right, of, down, by = struct.unpack_from(">IIIIiIiI", body)
    width, height = Fraction(wide, over), Fraction(tall, under)
    left = Fraction(right, of) + (size[0] - width) / 2
    top = Fraction(down, by) + (size[1] - height) / 2
    if any(number.denominator != 1 for number in (width, height, left, top)):
        return None
    if left < 0 or top < 0 or width < 1 or height < 1 or left + width > size[0] or top + height > size[1]:
        return None
    box = int(left), int(top), int(left + width), int(top + height)
    return None if box == (0, 0, *size) else box
