"""PNG files as browsers read them: small blemishes are forgiven, damaged pixels are not.

Pillow refuses a good picture for a text or a colour profile that is large or damaged, and takes pictures whose pixels
are. So it gets only the chunks that it needs, and only if their checksums are right; all else is dropped, as libpng
does it (`png_set_crc_action`: by default an error for what the picture needs, and dropped where it does not).
"""

import struct
import zlib
from dataclasses import dataclass

from regioncap.errors import RowError
from regioncap.regions.codes import Code

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What pixels are made of, and how they are turned. Of an animation, IDAT is the picture for who shows only one.
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT")
# Profiles of printers and cameras have a few megabytes; what is larger is no profile.
_MAX_PROFILE = 16 << 20
# Pillow refuses a text or a profile that is larger than this when unpacked; a packed one so short is not (1,032 : 1).
_PILLOWS_MOST, _SURELY_SMALL = 1 << 20, 1000

_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


@dataclass(frozen=True)
class Png:
    """A PNG without what no decoder needs, as `data`.

    `profile` is its ICC profile, if it has a usable one. It is `sound` if nothing had to be forgiven: stricter readers
    than ours open it too.
    """

    data: bytes
    profile: bytes | None
    sound: bool


def read_png(data: bytes) -> Png:
    """Take a file apart that starts with `SIGNATURE`. Raises RowError (image_truncated) where it is damaged."""
    head: list[memoryview] = []
    pixels: list[memoryview] = []
    profile: bytes | None = None
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
            (pixels if kind == b"IDAT" else head).append(chunk)
        elif kind == b"iCCP" and intact:
            profile = _profile(bytes(body))
            sound = sound and profile is not None and len(profile) <= _PILLOWS_MOST
        elif kind == b"zTXt" or (kind == b"iTXt" and bytes(body).partition(b"\0")[2][:1] == b"\1"):
            sound = sound and len(body) < _SURELY_SMALL
    return Png(b"".join([SIGNATURE, *head, *pixels, _END]), profile, sound)


def _profile(body: bytes) -> bytes | None:
    """The profile in an iCCP chunk: a name, a zero, the method (zero), and the packed profile."""
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(body.partition(b"\0")[2][1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return None if unpacking.unconsumed_tail else profile
