"""PNG files as browsers read them: small blemishes are forgiven, damaged pixels are not.

Pillow refuses a good picture for a text or a colour profile that is large or damaged, and takes pictures whose pixels
are. So it gets only the chunks that it needs, and only if their checksums are right; all else is dropped, as libpng
does it (`png_set_crc_action`: by default an error for what the picture needs, and dropped where it does not).
"""

import struct
import zlib
from dataclasses import dataclass

from regioncap.drop.coding import Primaries, by_gamma, by_numbers
from regioncap.drop.colours import Colours, told_by_profile
from regioncap.errors import RowError
from regioncap.regions.codes import Code

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What pixels are made of, and how they are turned. Of an animation, IDAT is the picture for who shows only one.
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT")
# What they say of colours beside a profile; it stands before the pixels.
_OF_COLOURS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
_GREY = 0
# Profiles of printers and cameras have a few megabytes; what is larger is no profile.
_MAX_PROFILE = 16 << 20
# Pillow refuses a text or a profile that is larger than this when unpacked; a packed one so short is not (1,032 : 1).
_PILLOWS_MOST, _SURELY_SMALL = 1 << 20, 1000

_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


@dataclass(frozen=True)
class Png:
    """A PNG without what no decoder needs, as `data`.

    It is `sound` if nothing had to be forgiven: stricter readers than ours open it too. `deep_colours` are those of 16
    bits, with an alpha or without.
    """

    data: bytes
    colours: Colours
    sound: bool
    deep_colours: bool


def read_png(data: bytes) -> Png:
    """Take a file apart that starts with `SIGNATURE`. Raises RowError (image_truncated) where it is damaged."""
    head: list[memoryview] = []
    pixels: list[memoryview] = []
    profile: bytes | None = None
    said: dict[bytes, bytes] = {}
    sound, kind, at, whole = True, b"", len(SIGNATURE), memoryview(data)
    while kind != b"IEND":
        # Length, kind, body, checksum.
        length, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        chunk = whole[at : at + length + 12]
        body, at = chunk[8:-4], at + length + 12
        if not kind.isalpha() or len(chunk) < length + 12:
            # Cut off, or no chunk. Whether pixels are missing, the decoder will tell.
            sound = False
            break
        intact = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        sound = sound and intact
        if kind == b"IDAT" or (kind in _NEEDED and not pixels) or kind == b"eXIf":
            if not intact:
                raise RowError(
                    Code.IMAGE_TRUNCATED,
                    f"the file is damaged: the checksum of a chunk {kind.decode()} is wrong, so its pixels cannot be "
                    "trusted",
                )
            if kind == b"IHDR":
                said[kind] = bytes(body)
            (pixels if kind == b"IDAT" else head).append(_in_eight_bits(chunk, said) if kind == b"tRNS" else chunk)
        elif kind in _OF_COLOURS and intact and not pixels:
            said.setdefault(kind, bytes(body))
        elif kind == b"iCCP" and intact:
            found = _profile(bytes(body))
            sound = sound and found is not None and len(found) <= _PILLOWS_MOST
            profile = profile if pixels else found
        elif kind == b"zTXt" or (kind == b"iTXt" and bytes(body).partition(b"\0")[2][:1] == b"\1"):
            sound = sound and len(body) < _SURELY_SMALL
    bits, kind_of_colours = said.get(b"IHDR", b"").ljust(13, b"\0")[8:10]
    return Png(
        b"".join([SIGNATURE, *head, *pixels, _END]),
        _colours(said, profile),
        sound,
        bits == 16 and kind_of_colours != _GREY,
    )


def _colours(said: dict[bytes, bytes], profile: bytes | None) -> Colours:
    """What counts of all that is said (PNG, third edition, 4.3): cICP, then iCCP, then sRGB, then gAMA with cHRM."""
    numbers = said.get(b"cICP", b"")
    # PNG holds red, green and blue, so the matrix is 0.
    if len(numbers) == 4 and numbers[2] == 0 and (coding := by_numbers(*numbers[:2], narrow=numbers[3] == 0)):
        return Colours(coding=coding)
    if profile and (coding := told_by_profile(profile)):
        return Colours(coding=coding)
    if b"sRGB" in said or len(said.get(b"gAMA", b"")) != 4:
        return Colours(profile)
    return Colours(profile, by_gamma(int.from_bytes(said[b"gAMA"]) / 100_000, _primaries(said.get(b"cHRM", b""))))


def _primaries(body: bytes) -> Primaries | None:
    if len(body) != 32:
        return None
    white_x, white_y, *rest = (number / 100_000 for number in struct.unpack(">8I", body))
    red, green, blue = zip(rest[::2], rest[1::2], strict=True)
    return red, green, blue, (white_x, white_y)


def _in_eight_bits(chunk: memoryview, said: dict[bytes, bytes]) -> memoryview:
    """The grey that is clear as Pillow looks for it: among pixels that were spread from 2 or 4 bits to 8."""
    bits, kind_of_colours = said.get(b"IHDR", b"").ljust(13, b"\0")[8:10]
    if kind_of_colours != _GREY or bits not in (2, 4) or len(chunk) != 14:
        return chunk
    value = (int.from_bytes(chunk[8:10]) & (2**bits - 1)) * 255 // (2**bits - 1)
    said_again = b"tRNS" + value.to_bytes(2)
    return memoryview(struct.pack(">I", 2) + said_again + struct.pack(">I", zlib.crc32(said_again)))


def _profile(body: bytes) -> bytes | None:
    """The profile in an iCCP chunk: a name, a zero, the method (zero), and the packed profile."""
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(body.partition(b"\0")[2][1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return None if unpacking.unconsumed_tail else profile
