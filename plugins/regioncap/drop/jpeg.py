"""JPEGs whose data are damaged are known by where they end.

A JPEG has no checksum, and its decoder goes on whatever it reads: after lost or overwritten bytes the rest of the
picture is shifted, or of other colours. But then its data end before its last row does, or go on behind it. Pillow
tells neither, so its decoder is fed in steps, and looked at between them. Of several scans, or where the decoder starts
anew within one, that would only tell the last part; there OpenCV is asked, which does not keep to itself what libjpeg
warns of.
"""

import io
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile

_RESTART, _EOI, _SOS, _DNL = 0xD0, 0xD9, 0xDA, 0xDC
# Frames of one scan, coded by Huffman: baseline and extended.
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Tables, scans, segments of applications and comments: what can follow a scan.
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, _SOS, 0xDB, _DNL, 0xDD, *range(0xE0, 0xF0), 0xFE})

_END = b"\xff\xd9"
# libjpeg reads 8 bytes ahead.
_AHEAD = bytes(16)
# Two ways in which data may go on, which look different.
_ONE, _OTHER = bytes(4096), b"\x5a\x3c\x96" * 1365
# So many bytes may be left over behind the last row: some cameras fill up.
_LEFT_OVER = 64

# What libjpeg says of damaged data (its jerror.h), on the error output; of bytes before a marker, how many.
_COMPLAINT = re.compile(rb"Corrupt JPEG data: (?:(\d+) extraneous bytes before marker 0xd9|.*)")
_ERROR_OUTPUT = 2
_listening = threading.Lock()


class DamagedError(ValueError):
    """The data end before the last row, or behind it."""


@dataclass(frozen=True)
class Layout:
    """Where the first picture's data end in the file; `one_scan` if it is sequential, with all of it in one scan.

    `restarts` if the decoder starts anew within a scan, `complete` if no scan of a progressive one is missing.
    """

    end: int
    has_end: bool
    one_scan: bool
    restarts: bool
    complete: bool


def read_layout(data: bytes) -> Layout:
    """Walk through the segments of a JPEG. Raises DamagedError where its data hold what cannot be there."""
    at, frame, bands, one_scan, restarts, restarted = 2, 0, 0, False, -1, False
    # The bits that are still missing of each coefficient of each band.
    missing: dict[int, list[int]] = {}
    for place, marker in _markers(data):
        if place < at:
            continue
        if restarts >= 0 and marker & ~7 == _RESTART:
            if marker & 7 != restarts % 8:
                raise DamagedError("restarts of its data are missing")
            restarts, restarted = restarts + 1, True
            continue
        # What else stands behind the only scan is not for who looks at the picture.
        if marker == _EOI or (one_scan and marker in _BETWEEN_SCANS):
            return Layout(place, True, one_scan, restarted, _is_complete(missing, bands))
        if restarts >= 0 and marker not in _BETWEEN_SCANS:
            raise DamagedError(f"its data hold the marker {marker:02X}, which cannot be there")
        at = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker in _FRAMES:
            frame, bands = marker, int.from_bytes(data[place + 9 : place + 10])
        elif marker == _SOS:
            one_scan = frame in _SEQUENTIAL and int.from_bytes(data[place + 4 : place + 5]) == bands
            restarts = 0
            _note_scan(data[place + 4 : at], missing)
    # Where the end marker is cut in two, its first half is left.
    complete = at <= len(data) and _is_complete(missing, bands)
    return Layout(len(data) - data.endswith(b"\xff"), False, one_scan, restarted, complete)


def _note_scan(header: bytes, missing: dict[int, list[int]]) -> None:
    """Note what a scan brings: how many bands, their names, then which coefficients, and the bits that still miss."""
    bands = int.from_bytes(header[:1])
    rest = header[1 + 2 * bands :]
    if len(rest) < 3:
        return
    for band in header[1 : 1 + 2 * bands : 2]:
        known = missing.setdefault(band, [1] * 64)
        for coefficient in range(rest[0], min(rest[1], 63) + 1):
            known[coefficient] = rest[2] & 15


def _is_complete(missing: dict[int, list[int]], bands: int) -> bool:
    return len(missing) == bands and not any(any(bits) for bits in missing.values())


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each place where a marker may be, and which one: FF 00 is a byte FF of the data, and FF may be doubled."""
    numbers = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(numbers[:-1] == 0xFF)
    following = numbers[places + 1]
    real = (following != 0) & (following != 0xFF)
    return zip(places[real].tolist(), following[real].tolist(), strict=True)


def feed(image: ImageFile.ImageFile, data: bytes, layout: Layout) -> None:
    """Have `image`, which is not loaded yet, loaded from `data` so that it is seen whether they fit it.

    Raises DamagedError where an end marker is not all that is missing; what else does not fit, `image.load` raises.
    """
    if (layout.restarts or not layout.one_scan) and layout.has_end and _is_complained_of(data):
        raise DamagedError("its data are not what they were")
    if layout.one_scan:
        image.fp, image.decodermaxblock = _Steps(image, data, layout.end), len(data)
    elif not layout.has_end:
        # What stands behind whole data is not seen; and where they were never written, they are zero.
        whole = data[: layout.end]
        one, other = (Image.open(io.BytesIO(whole + behind + _END), formats=("JPEG",)) for behind in (_ONE, _OTHER))
        if not layout.complete or whole.endswith(_AHEAD) or one.tobytes() != other.tobytes():
            raise DamagedError("its data end before its last scan")
        image.fp = io.BytesIO(whole + _END)


def _is_complained_of(data: bytes) -> bool:
    """Whether libjpeg warns of the data. All of them are read, at an eighth of the picture's size."""
    with _listening, os.fdopen(os.memfd_create("complaints"), "rb+", 0) as said:
        before = os.dup(_ERROR_OUTPUT)
        try:
            os.dup2(said.fileno(), _ERROR_OUTPUT)
            # Pillow says of each what it is that OpenCV does not read.
            with suppress(cv2.error):
                cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        finally:
            os.dup2(before, _ERROR_OUTPUT)
            os.close(before)
        said.seek(0)
        complaint = _COMPLAINT.search(said.read())
    return complaint is not None and int(complaint[1] or _LEFT_OVER + 1) > _LEFT_OVER


class _Steps(io.BytesIO):
    """A JPEG of one scan for Pillow to load `image` from, which raises DamagedError where its data do not fit."""

    def __init__(self, image: Image.Image, data: bytes, end: int) -> None:
        super().__init__()
        before = max(end - _LEFT_OVER, end // 2)
        self._image = image
        self._pieces = [data[:before], data[before:end] + _AHEAD, _END]
        self._step = 0
        width, height = image.size
        self._places = [(x, height - 1) for x in (0, width // 2, width - 1)]

    def seek(self, at: int, whence: int = 0) -> int:
        """Pillow begins at the start of the file."""
        return at

    def read(self, size: int | None = -1) -> bytes:
        """The next piece, whatever its size."""
        step, self._step = self._step, self._step + 1
        if step == 0:
            self._unseen = self._last_row(write=True)
        if step == 1 and self._last_row() != self._unseen:
            raise DamagedError("its data go on behind its last row")
        if step == 2 and self._last_row() == self._unseen:
            raise DamagedError("its data end before its last row")
        return self._pieces[step] if step < len(self._pieces) else b""

    def _last_row(self, write: bool = False) -> list[Any]:
        """Three pixels of it; with `write`, made into ones that no picture has there."""
        core = self._image.im
        if write:
            for number, place in enumerate(self._places):
                bands = len(self._image.getbands())
                colour = tuple((255, 0, 254, 1)[(band + number) % 4] for band in range(bands))
                core.putpixel(place, colour if bands > 1 else colour[0])
        return [core.getpixel(place) for place in self._places]
