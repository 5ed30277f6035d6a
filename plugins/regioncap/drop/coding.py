"""Colours that a file tells by numbers, and not by an ICC profile: as a person sees them, in sRGB.

PNG does so in `cICP`, `gAMA` and `cHRM`, AVIF and HEIF in `nclx`; the numbers are those of ITU-T H.273. HDR (PQ, HLG)
is mapped to what a screen without HDR can show.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
# x and y of red, green, blue and white.
Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]

_D65 = (0.3127, 0.3290)
_SRGB: Primaries = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)
# H.273, table 2.
_PRIMARIES: dict[int, Primaries] = {
    1: _SRGB,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_OPEN, _PQ, _HLG = 2, 16, 18


def _srgb_light(code: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _pq_nits(code: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """SMPTE ST 2084: cd/m2."""
    power = np.maximum(code, 0) ** (32 / 2523)
    return np.asarray(10_000 * (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (8192 / 1305))


def _pq_code(nits: npt.NDArray[Any] | float) -> npt.NDArray[Any]:
    power = (np.maximum(nits, 0) / 10_000) ** (1305 / 8192)
    return np.asarray(((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def _hlg_scene(code: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """ITU-R BT.2100, table 5: the scene's light, of 1 at most."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


# H.273, table 3: from what is stored to light. The curves of video (1, 6, 7, 14, 15) are taken for sRGB's, as image
# viewers do: what they were made with is a little darker than that, and what they are shown with a little lighter.
_LIGHT: dict[int, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    **dict.fromkeys((1, 6, 7, 13, 14, 15), _srgb_light),
    4: lambda code: code**2.2,
    5: lambda code: code**2.8,
    8: lambda code: code,
    _PQ: _pq_nits,
    17: lambda code: code**2.6 * 52.37 / 48,
    _HLG: _hlg_scene,
}

# Diffuse white of HDR, which becomes white if nothing is brighter (ITU-R BT.2408), and the display that HLG is for.
_WHITE_NITS, _HLG_NITS = 203.0, 1000.0
# libpng takes a gamma for sRGB's that is no further from it (PNG_GAMMA_THRESHOLD): most files that say 1/2.2 mean sRGB.
_GAMMA, _SAME_GAMMA = 1 / 2.2, 0.05
_ROWS_AT_ONCE = 256
_SAMPLE = 1_000_000


@dataclass(frozen=True)
class Coding:
    """What stored numbers mean: `transfer` by its number in H.273, or a power; `narrow`: black is 16, white 235."""

    primaries: Primaries
    transfer: int
    power: float | None = None
    narrow: bool = False

    @property
    def is_srgb(self) -> bool:
        """Whether the numbers are shown as they are."""
        return self == Coding(_SRGB, 13)

    @property
    def is_hdr(self) -> bool:
        """Whether white is not the brightest that there is."""
        return self.power is None and self.transfer in (_PQ, _HLG)


def by_numbers(primaries: int, transfer: int, *, narrow: bool = False) -> Coding | None:
    """What numbers of H.273 mean; None where they say nothing, or nothing that is known.

    What one of them leaves open (2) is as in most files: sRGB's, and with HDR BT.2020's primaries.
    """
    if primaries == transfer == _OPEN:
        return None
    if primaries == _OPEN:
        primaries = 9 if transfer in (_PQ, _HLG) else 1
    if transfer == _OPEN:
        transfer = 13
    if transfer not in _LIGHT or primaries not in _PRIMARIES:
        return None
    return Coding(_PRIMARIES[primaries], 13 if _LIGHT[transfer] is _srgb_light else transfer, narrow=narrow)


def by_gamma(gamma: float, primaries: Primaries | None) -> Coding | None:
    """What PNG's `gAMA` means, with the primaries and white of `cHRM` if it has any that can be; None for no gamma."""
    if gamma <= 0:
        return None
    if primaries is None or not _spans(primaries):
        primaries = _SRGB
    same = np.allclose(primaries, _SRGB, atol=0.002)
    if same and abs(gamma / _GAMMA - 1) <= _SAME_GAMMA:
        return Coding(_SRGB, 13)
    return Coding(_SRGB if same else primaries, 0, 1 / gamma)


def shown(values: npt.NDArray[Any], coding: Coding) -> Image.Image:
    """An RGB image of what is seen of `values`, (height, width, 3), of 8 or 16 bits."""
    if coding.is_srgb and values.dtype == np.uint8:
        return Image.fromarray(values)
    light = _table(coding, np.iinfo(values.dtype).max)
    seen = np.empty(values.shape, np.uint8)
    matrix = _to_srgb(coding.primaries)
    nits, gains = _tone_curve(values, coding, light) if coding.is_hdr else (None, None)
    for row in range(0, len(values), _ROWS_AT_ONCE):
        some = light[values[row : row + _ROWS_AT_ONCE]]
        if nits is not None and gains is not None:
            some = _on_display(some, coding)
            some *= np.interp(some.max(-1), nits, gains).astype(np.float32)[..., None]
        if coding.primaries != _SRGB:
            some = some @ matrix
        seen[row : row + _ROWS_AT_ONCE] = _SHOWN[np.rint(np.clip(some, 0, 1) * 65535).astype(np.uint16)]
    return Image.fromarray(seen)


def _shown_of_light() -> npt.NDArray[np.uint8]:
    light = np.arange(65536) / 65535
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(code * 255), np.uint8)


# From light, 0..65535, to sRGB.
_SHOWN = _shown_of_light()


@lru_cache(maxsize=8)
def _table(coding: Coding, most: int) -> Floats:
    """The light of each number from 0 to `most`: of 1 for white; of HDR in cd/m2 (PQ) or of the scene (HLG)."""
    code = np.arange(most + 1) / most
    if coding.narrow:
        code = np.clip((code * 255 - 16) / 219, 0, 1)
    light = code**coding.power if coding.power is not None else _LIGHT[coding.transfer](code)
    return light.astype(np.float32)


def _spans(primaries: Primaries) -> bool:
    """Whether colours can be mixed of primaries."""
    if any(not (0 < y <= 1 and 0 <= x <= 1) for x, y in primaries):
        return False
    (x1, y1), (x2, y2), (x3, y3), _ = primaries
    return abs((x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1)) > 0.001


def _to_xyz(primaries: Primaries) -> npt.NDArray[Any]:
    """From light of red, green and blue to XYZ under D65 (adapted by Bradford, as in ICC profiles)."""
    *mixed, (x, y) = primaries
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in mixed]).T
    white = np.array([x / y, 1, (1 - x - y) / y])
    columns = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d65 = np.array([_D65[0] / _D65[1], 1, (1 - sum(_D65)) / _D65[1]])
    adapted: npt.NDArray[Any] = np.linalg.inv(bradford) @ np.diag((bradford @ d65) / (bradford @ white)) @ bradford
    return np.asarray(adapted @ columns)


@lru_cache(maxsize=8)
def _to_srgb(primaries: Primaries) -> Floats:
    """To multiply rows of light with, (red, green, blue), for that of sRGB's primaries."""
    return np.asarray(np.linalg.solve(_to_xyz(_SRGB), _to_xyz(primaries)).T, np.float32)


def _on_display(light: Floats, coding: Coding) -> Floats:
    """Light of HDR in cd/m2; of HLG, what its display makes of the scene (BT.2100, table 5, a gamma of 1.2)."""
    if coding.transfer == _PQ:
        return light
    luminance = light @ np.asarray(_to_xyz(coding.primaries)[1], np.float32)
    return np.asarray(light * (_HLG_NITS * np.maximum(luminance, 1e-9) ** 0.2)[..., None], np.float32)


def _tone_curve(values: npt.NDArray[Any], coding: Coding, light: Floats) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The largest of light's three numbers in cd/m2, ascending, and what light is multiplied with for each of them.

    It is the curve of ITU-R BT.2390, 5.4: dark and middle tones stay, what is bright is pressed together so that the
    brightest of the picture is white. Of a thousand pixels one may be brighter, and a picture without anything brighter
    than white stays as it is.
    """
    step = max(1, math.isqrt(values.shape[0] * values.shape[1] // _SAMPLE))
    brightest = _on_display(light[values[::step, ::step]], coding).max(-1)
    peak = _pq_code(max(_WHITE_NITS, float(np.quantile(brightest, 0.999))))
    codes = np.linspace(0, 1, 4096)
    nits = _pq_nits(codes)
    goal = _pq_code(_WHITE_NITS) / peak
    knee = 1.5 * goal - 0.5
    share = np.minimum(codes / peak, 1)
    t = (share - knee) / max(1 - knee, 1e-9)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * goal
    mapped = _pq_nits(np.where(share < knee, share, curve) * peak)
    return nits, np.where(nits > 1e-6, mapped / np.maximum(nits, 1e-6), 1) / _WHITE_NITS
