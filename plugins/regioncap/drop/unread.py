"""Why no decoder takes a file: it is cut short, or another thing than an image that is read.

What is said of a file depends on nothing but its bytes, so that a drop that is built again is rejected in the same
words.
"""

import re
import struct
from collections.abc import Callable, Sequence

from regioncap.errors import RowError
from regioncap.regions.codes import Code

# What images that are read begin with, and what they are called.
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
}
LFS_POINTER = b"version https://git-lfs"
IS_LFS_POINTER = (
    "a pointer of Git LFS, in place of the file: fetch the files with `git lfs pull` before they are uploaded"
)
# What lies in drops in place of images, by what it begins with, and what can be done.
_OTHERS = (
    (LFS_POINTER, IS_LFS_POINTER),
    (
        rb"(?i:(\xef\xbb\xbf)?\s*<(!doctype html|html))",
        "a web page, as a server sends it instead of a file that is not there or not allowed: download it anew",
    ),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG"),
    (rb"(\xef\xbb\xbf)?\s*<\?xml", "XML, as a bucket answers in place of a file that is not there: download it anew"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\x01\0", "ICO"),
    (rb"P[1-7]\s", "PPM, or another of its family"),
    (rb"%PDF", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"8BPS", "Photoshop's PSD"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "packed by gzip"),
    (rb".{4}ftyp(isom|iso[2-9]|mp4|M4V|qt  |avc1|3gp)|\x1aE\xdf\xa3", "a video"),
)
# TIFF's types, and how many bytes each number takes.
_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def not_read(data: bytes, formats: Sequence[str]) -> RowError:
    """The error of a row whose image file no decoder takes; `formats` are those that are read."""
    if data.startswith(_TIFF):
        if _ends_before(data, _end_of_tiff):
            return _cut_short("TIFF", data)
        reason = "a TIFF that is damaged, or of a kind that is not read: save it in another way, such as PNG"
        return RowError(Code.IMAGE_UNREADABLE, reason)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and _ends_before(data, _end_of_riff):
        return _cut_short("WebP", data)
    supported = ", ".join(formats)
    for beginning, form in _BEGINNINGS.items():
        if data.startswith(beginning) and form.upper() in formats:
            reason = f"it begins as a {form}, but is damaged, cut short, or of a kind that is not read: save it anew"
            return RowError(Code.IMAGE_UNREADABLE, reason)
    for pattern, what in _OTHERS:
        if re.match(pattern, data[:1000], re.DOTALL):
            reason = f"not an image of a supported format ({supported}): it is {what}"
            return RowError(Code.IMAGE_UNREADABLE, reason)
    return RowError(Code.IMAGE_UNREADABLE, f"not an image of a supported format ({supported})")


def _cut_short(form: str, data: bytes) -> RowError:
    return RowError(
        Code.IMAGE_TRUNCATED,
        f"the file is cut short: it has {len(data):,} bytes, fewer than it says itself that a {form} has",
    )


def _ends_before(data: bytes, end: Callable[[bytes], int]) -> bool:
    """Whether the file ends before what it says of itself."""
    try:
        return len(data) < end(data)
    except struct.error:  # even that is missing
        return True


def _end_of_riff(data: bytes) -> int:
    (size,) = struct.unpack_from("<I", data, 4)
    return 8 + int(size)


def _end_of_tiff(data: bytes) -> int:
    """Where the first directory ends, and the numbers that it points to."""
    order = "<" if data.startswith(b"II") else ">"
    big = b"+" in data[:4]
    at, count, number, entry, own = (8, "Q", "Q", 20, 8) if big else (4, "H", "I", 12, 4)
    (start,) = struct.unpack_from(order + number, data, at)
    (entries,) = struct.unpack_from(order + count, data, start)
    first = start + struct.calcsize(count)
    end = first + entries * entry
    if end > len(data):
        return int(end)
    for place in range(first, end, entry):
        _, kind, amount, where = struct.unpack_from(f"{order}HH{number}{number}", data, place)
        size = _TYPES.get(kind, 0) * amount
        end = max(end, where + size if size > own else 0)
    return int(end)
