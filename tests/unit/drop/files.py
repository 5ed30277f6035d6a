"""Image files made by code: containers written byte by byte, so that they can hold what no encoder writes."""

import itertools
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# ---- PNG

# Where the seven passes of Adam7 start, and their steps: x, y, step of x, step of y (PNG, 8.1).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_COLOUR_TYPES = {"L": 0, "RGB": 2, "P": 3, "LA": 4, "RGBA": 6}


def png(*parts: tuple[bytes, bytes]) -> bytes:
    """A PNG file of chunks (kind, body)."""
    sums = ((kind, body, zlib.crc32(kind + body)) for kind, body in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc) for kind, body, crc in sums
    )


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks (kind, body) of a PNG file."""
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(
    values: Array,
    mode: str,
    bits: int = 8,
    *,
    before: Sequence[tuple[bytes, bytes]] = (),
    behind: Sequence[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
) -> bytes:
    """A PNG of `values` (height, width) or (height, width, bands), of one of the five colour types and any depth.

    More chunks stand before and behind the pixels.
    """
    height, width = values.shape[:2]
    passes = [values[y::dy, x::dx] for x, y, dx, dy in _ADAM7] if interlaced else [values]
    rows = b"".join(b"\0" + packed(row, bits) for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[mode], 0, 0, int(interlaced))
    return png((b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), *behind, (b"IEND", b""))


def packed(row: Array, bits: int, order: str = ">") -> bytes:
    """One row of numbers in `bits` each, filled up to whole bytes."""
    if bits >= 8 and bits % 8 == 0 and bits != 24:
        return row.astype(row.dtype.newbyteorder(order)).tobytes() if row.dtype.itemsize * 8 == bits else row.astype(
            f"{order}u{bits // 8}").tobytes()  # fmt: skip
    flat = row.reshape(-1).astype(np.uint32)
    return np.packbits((flat[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32) & 1).astype(np.uint8)).tobytes()


# ---- TIFF


def tiff(
    values: Array,
    *,
    photometric: int = 1,
    bits: int | None = None,
    big_endian: bool = False,
    compressed: bool = False,
    planes: bool = False,
    strips: int = 1,
    tile: int = 0,
    big: bool = False,
    more: Sequence[tuple[int, int, Sequence[int] | bytes]] = (),
) -> bytes:
    """A TIFF of `values`, (height, width) or (height, width, bands), of any type; `bits` below 8 are packed.

    `compressed` is by Deflate; bands lie in `planes` of their own or in each pixel, in so many `strips` or in tiles of
    `tile` pixels; `big` is a BigTIFF. `more` are tags (tag, type, values) beside the usual ones.
    """
    mark, order = (b"MM", ">") if big_endian else (b"II", "<")
    bits = bits or values.dtype.itemsize * 8
    height, width = values.shape[:2]
    solid = values if values.ndim == 3 else values[:, :, None]
    bands = solid.shape[2]
    layers = [solid[:, :, band : band + 1] for band in range(bands)] if planes else [solid]
    if tile:
        wide, tall = -width % tile, -height % tile
        layers = [np.pad(layer, ((0, tall), (0, wide), (0, 0))) for layer in layers]
        parts = [
            layer[y : y + tile, x : x + tile]
            for layer in layers
            for y in range(0, height, tile)
            for x in range(0, width, tile)
        ]
    else:
        tall = -(-height // strips)
        parts = [layer[y : y + tall] for layer in layers for y in range(0, height, tall)]
    stored = [b"".join(packed(row, bits, order) for row in part) for part in parts]
    stored = [zlib.compress(part) for part in stored] if compressed else stored
    head = 16 if big else 8
    starts = list(itertools.accumulate([head, *map(len, stored)]))[: len(stored)]
    sizes = list(map(len, stored))
    body = b"".join(stored)
    body += bytes(len(body) % 2)
    fields: dict[int, tuple[int, Sequence[int] | bytes]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * bands), 259: (3, [8 if compressed else 1]),
        262: (3, [photometric]), 277: (3, [bands]), 284: (3, [2 if planes else 1]),
        339: (3, [{"u": 1, "b": 1, "i": 2, "f": 3}[values.dtype.kind]] * bands),
        **({322: (3, [tile]), 323: (3, [tile]), 324: (4, starts), 325: (4, sizes)} if tile else
           {273: (4, starts), 278: (4, [tall]), 279: (4, sizes)}),
        **{tag: (kind, numbers) for tag, kind, numbers in more},
    }  # fmt: skip
    room, number = (8, "Q") if big else (4, "I")
    directory = struct.pack(order + ("Q" if big else "H"), len(fields))
    for tag, (kind, numbers) in sorted(fields.items()):
        letter = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}[kind]
        value = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(value) > room:
            body, value = body + value + bytes(len(value) % 2), struct.pack(order + number, head + len(body))
        directory += struct.pack(order + "HH" + number, tag, kind, len(numbers)) + value.ljust(room, b"\0")
    start = struct.pack(order + number, head + len(body))
    opening = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    return mark + opening + start + body + directory + bytes(room)


# ---- BMP


def bmp(values: Array, bits: int, *, palette: Array | None = None, top_down: bool = False,
        masks: Sequence[int] = ()) -> bytes:  # fmt: skip
    """A BMP of numbers of 1, 4, 8, 16, 24 or 32 bits a pixel: (height, width), or (height, width, 3) in BGR for 24.

    With four `masks` (red, green, blue, alpha) it has the header BITMAPV4; with three, they stand behind the header.
    """
    height, width = values.shape[:2]
    rows = values if top_down else values[::-1]
    lines = [packed(row, 8 if bits == 24 else bits, "<") for row in rows]
    body = b"".join(line + bytes(-len(line) % 4) for line in lines)
    colours = b"" if palette is None else b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
    size = 108 if len(masks) == 4 else 40
    header = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits, 3 if masks else 0,
                         len(body), 2835, 2835, len(colours) // 4, 0)  # fmt: skip
    header += struct.pack(f"<{len(masks)}I", *masks)
    if len(masks) == 4:
        header += b"BGRs" + bytes(48)
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + colours + body


# ---- AVIF and HEIF: boxes (ISO/IEC 14496-12)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def with_property(data: bytes, name: bytes, body: bytes) -> bytes:
    """A still AVIF with one more property of its first item (in `ipco` and `ipma`), applied before the others."""
    grown = bytearray(data)
    # The property itself, at the end of `ipco`.
    at = grown.index(b"ipco") - 4
    length = struct.unpack_from(">I", grown, at)[0]
    known, place = 0, at + 8
    while place < at + length:
        place += struct.unpack_from(">I", grown, place)[0]
        known += 1
    added = box(name, body)
    grown[at + length : at + length] = added
    struct.pack_into(">I", grown, at, length + len(added))
    # What says whose it is: version and flags, how many items, then of the first: its number, how many, which.
    start = grown.index(b"ipma") - 4
    size = struct.unpack_from(">I", grown, start)[0]
    assert struct.unpack_from(">I", grown, start + 8)[0] == 0
    grown[start + 18] += 1
    grown[start + 19 : start + 19] = bytes([0x80 | known + 1])
    struct.pack_into(">I", grown, start, size + 1)
    for outer in (b"iprp", b"meta"):
        place = grown.index(outer) - 4
        struct.pack_into(">I", grown, place, struct.unpack_from(">I", grown, place)[0] + len(added) + 1)
    return _moved(bytes(grown), len(added) + 1)


def _moved(data: bytes, by: int) -> bytes:
    """The file with the places that `iloc` names so many bytes further on (sizes of 4 bytes, as libavif writes)."""
    moved = bytearray(data)
    at = moved.index(b"iloc") + 4
    assert moved[at] == 0 and moved[at + 4 : at + 6] == b"\x44\x00"
    count, place = struct.unpack_from(">H", moved, at + 6)[0], at + 8
    for _ in range(count):
        extents = struct.unpack_from(">H", moved, place + 4)[0]
        for extent in range(extents):
            where = place + 6 + 8 * extent
            struct.pack_into(">I", moved, where, struct.unpack_from(">I", moved, where)[0] + by)
        place += 6 + 8 * extents
    return bytes(moved)


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF that says other primaries and another transfer than it was written with."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def clap(width: int, height: int, right: tuple[int, int] = (0, 1), down: tuple[int, int] = (0, 1)) -> bytes:
    """The body of a clean aperture: its size, and how far its centre is from the image's, as fractions."""
    return struct.pack(">IIIIiIiI", width, 1, height, 1, *right, *down)


# ---- ICC profiles (ICC.1:2022)


def fixed(*numbers: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


D50 = np.array([0.9642, 1.0, 0.8249])


def to_d50(primaries: Sequence[tuple[float, float]], white: tuple[float, float] = (0.3127, 0.3290)) -> Array:
    """The matrix from linear red, green and blue, given in xy, to XYZ under D50, adapted by Bradford."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    light = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    columns = columns * np.linalg.solve(columns, light)
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gain = np.diag((cones @ D50) / (cones @ light))
    adapted: Array = np.linalg.inv(cones) @ gain @ cones @ columns
    return adapted


def profile_of(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    body, table = b"", b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value.ljust(-(-len(value) // 4) * 4, b"\0")
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = bytes(4) + b"lcms" + bytes.fromhex("02400000") + kind + space + connection + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + fixed(*D50)[8:]
    whole = header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def named_tags(name: str) -> dict[bytes, bytes]:
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + bytes(79)}
    return tags | {b"cprt": b"text\0\0\0\0none\0", b"wtpt": fixed(*D50)}


def icc(primaries: Sequence[tuple[float, float]] | None, gamma: float, name: str = "Test",
        more: dict[bytes, bytes] | None = None) -> bytes:  # fmt: skip
    """An ICC profile: of a monitor with the `primaries` red, green and blue in xy, white D65; or of grey."""
    tags = named_tags(name) | (more or {})
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    if primaries is None:
        return profile_of(b"GRAY", tags | {b"kTRC": curve})
    columns = to_d50(primaries)
    for number, letter in enumerate("rgb"):
        tags[f"{letter}XYZ".encode()] = fixed(*columns[:, number])
        tags[f"{letter}TRC".encode()] = curve
    return profile_of(b"RGB ", tags)


def cmyk_profile(corners: Array) -> bytes:
    """A printer's profile that says the Lab (L 0..100, a, b) of each of the 16 corners of CMYK, as (2, 2, 2, 2, 3)."""
    levels = np.rint((corners + np.array([0, 128, 128])) * [2.55, 1, 1]).clip(0, 255).astype(np.uint8)
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + levels.tobytes() + ramp * 3
    return profile_of(b"CMYK", named_tags("Ink") | {b"A2B0": table}, b"Lab ")
