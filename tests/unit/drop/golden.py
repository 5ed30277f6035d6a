"""Odd image files, each with the pixels that a person sees: made by code, and by formulas that share nothing with ours.

A picture is eight columns and four rows of patches of 16 pixels, so that every encoder keeps each patch's colour, and
no two of its corners are alike. What is right is worked out from the numbers that are stored, by the formulas of the
standards that are named there, in floating point.
"""

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tests.builders import encoded
from tests.unit.drop.files import (
    Array,
    bmp,
    clap,
    cmyk_profile,
    icc,
    png_of,
    tiff,
    to_d50,
    with_nclx,
    with_property,
)

# ---- tolerances, in steps of 255
# Numbers that are only copied, cut to 8 bits or multiplied by an alpha, by whichever rounding.
EXACT = 1
# Colours through a matrix and curves: profiles hold their numbers with 16 bits, and lcms works on 8-bit pixels with
# curves of 15 bits.
MANAGED = 3
# A lossy encoder on flat patches: its quantisation of the mean, in YCbCr.
LOSSY = 4
# Both of these: where a matrix leaves little of a channel, the curve is steep.
LOSSY_MANAGED = 10
# PQ and HLG in 8 bits: one step of the code is up to three steps of what is seen, and the brightest value, that the
# curve is made for, is itself off by one.
HDR = 5
# A lossy step in the darkest of a picture whose numbers are light: sRGB's curve is 12.92 times as steep there.
STRETCHED = 40
# HDR from a lossy encoder: so far the light of a bright code moves by one lossy step.
LOSSY_HDR = 12


@dataclass(frozen=True)
class Golden:
    """A file, and what a person sees: (height, width, 3), each number right within `tolerance`."""

    name: str
    data: bytes
    seen: Array
    tolerance: int


def patches(levels: Array) -> Array:
    """A picture with a patch of 16 pixels for each of (rows, columns, ...)."""
    return levels.repeat(16, 0).repeat(16, 1)


# Colours of every kind: saturated, pale, dark, grey, black, white.
_COLOURS = [
    (220, 20, 20),
    (20, 200, 40),
    (30, 40, 210),
    (240, 230, 40),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (60, 60, 60),
    (250, 128, 110),
    (100, 180, 170),
    (90, 20, 120),
    (200, 150, 100),
    (16, 24, 32),
    (180, 200, 220),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 0),
    (40, 90, 30),
    (170, 60, 10),
    (10, 60, 170),
    (120, 110, 90),
    (200, 80, 60),
    (80, 200, 60),
    (60, 80, 200),
    (230, 220, 210),
    (32, 32, 32),
    (192, 192, 192),
    (12, 12, 12),
    (64, 128, 255),
]
COLOURS = np.array(_COLOURS, np.uint8).reshape(4, 8, 3)
RGB = patches(COLOURS)
# Greys from black to white, not in order.
LEVELS = ((np.arange(32) * 11) % 32 * 255 / 31).round().astype(np.uint8).reshape(4, 8)
GREY = patches(LEVELS)
ALPHAS = ((np.arange(32) * 7) % 32 * 255 / 31).round().astype(np.uint8).reshape(4, 8)
ALPHA = patches(ALPHAS)
# The same in full depth.
DEEP_GREY = patches(((np.arange(32) * 11) % 32 * 65535 / 31).round().astype(np.uint16).reshape(4, 8))
DEEP_RGB = patches(COLOURS.astype(np.uint16) * 257)


def as_rgb(grey: Array) -> Array:
    return np.repeat(np.asarray(grey)[:, :, None], 3, 2)


def over_white(colours: Array, alpha: Array, most: float = 255) -> Array:
    """What is seen of colours (0..255) with an alpha of so much at most, on white paper."""
    share = alpha.astype(float)[:, :, None] / most
    result: Array = colours * share + 255 * (1 - share)
    return result


# ---- colour, by the standards

# Primaries by their number in ITU-T H.273, table 2; all under D65.
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SWAPPED = (SRGB[1], SRGB[0], SRGB[2])


def srgb_light(shown: Array) -> Array:
    """IEC 61966-2-1: from 0..1 as stored to light."""
    result: Array = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    return result


def srgb_shown(light: Array) -> Array:
    """IEC 61966-2-1: from light to 0..255."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def between(light: Array, primaries: Any, white: tuple[float, float] = (0.3127, 0.3290)) -> Array:
    """Light of red, green and blue in other primaries as that in sRGB's, through XYZ under D50."""
    result: Array = light @ (np.linalg.inv(to_d50(SRGB)) @ to_d50(primaries, white)).T
    return result


def managed(colours: Array, primaries: Any, curve: Callable[[Array], Array] | float = srgb_light) -> Array:
    """Colours (0..255) of a monitor with these primaries, and a curve or a power, as seen in sRGB."""
    stored = colours / 255
    light = curve(stored) if callable(curve) else stored**curve
    return srgb_shown(between(light, primaries))


def gamma(colours: Array, power: float) -> Array:
    """The same with sRGB's primaries: only the curve differs."""
    return srgb_shown((colours / 255) ** power)


def pq_nits(code: Array) -> Array:
    """SMPTE ST 2084 (ITU-R BT.2100, table 4): from 0..1 to light in cd/m2."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = np.maximum(code, 0) ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def pq_code(nits: Array) -> Array:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (np.maximum(nits, 0) / 10_000) ** m1
    return np.asarray(((c1 + c2 * power) / (1 + c3 * power)) ** m2)


def hlg_nits(code: Array) -> Array:
    """ITU-R BT.2100, table 5: from 0..1 to light in cd/m2 on a display of 1,000 of them, whose gamma is 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    luminance = scene @ [0.2627, 0.6780, 0.0593]
    return np.asarray(1000 * scene * np.maximum(luminance, 1e-9)[..., None] ** 0.2)


# Diffuse white of HDR (ITU-R BT.2408, table 1).
WHITE_NITS = 203.0


def tone_mapped(nits: Array, primaries: Any = BT2020) -> Array:
    """ITU-R BT.2390-11, 5.4.1: the curve from the brightest of the picture to white, on the largest of R, G and B."""
    peak = max(float(np.quantile(nits.max(-1), 0.999)), WHITE_NITS)
    most, goal = pq_code(np.array(peak)), pq_code(np.array(WHITE_NITS)) / pq_code(np.array(peak))
    largest = nits.max(-1)
    e1 = np.minimum(pq_code(largest) / most, 1)
    knee = 1.5 * goal - 0.5
    t = (e1 - knee) / max(1 - knee, 1e-9)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * goal
    mapped = pq_nits(np.where(e1 < knee, e1, spline) * most)
    light = nits * (mapped / np.maximum(largest, 1e-9))[..., None] / WHITE_NITS
    return srgb_shown(between(light, primaries))


# ---- the corpus

# What has to be done to the upright picture to store it with each EXIF orientation (Exif 2.32, tag 274).
STORED: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


def exif_block(orientation: int, *, little: bool = False, start: bytes = b"") -> bytes:
    order = "<" if little else ">"
    head = (b"II*\0" if little else b"MM\0*") + struct.pack(order + "I", 8)
    return start + head + struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


def image_of(values: Array) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(values))


def avif(values: Array, **options: Any) -> bytes:
    return encoded(image_of(values), "AVIF", **{"quality": 100, "subsampling": "4:4:4", "speed": 9} | options)


def webp(values: Array, **options: Any) -> bytes:
    return encoded(image_of(values), "WEBP", **{"lossless": True, "exact": True} | options)


def jpeg(values: Array, **options: Any) -> bytes:
    return encoded(image_of(values), "JPEG", **{"quality": 98, "subsampling": 0} | options)


def turned() -> Iterator[Golden]:
    """Each format in each orientation, as each of them says it."""
    writers: dict[str, tuple[Callable[[Array, int], bytes], int]] = {
        "jpeg": (lambda a, n: jpeg(a, exif=exif_block(n, start=b"Exif\0\0")), LOSSY),
        "jpeg, little-endian": (lambda a, n: jpeg(a, exif=exif_block(n, little=True, start=b"Exif\0\0")), LOSSY),
        "jpeg 4:2:0, progressive": (
            lambda a, n: jpeg(a, subsampling=2, progressive=True, exif=exif_block(n, start=b"Exif\0\0")),
            255,
        ),
        "png": (lambda a, n: png_of(a, "RGB", before=[(b"eXIf", exif_block(n))]), EXACT),
        "png, behind its pixels": (
            lambda a, n: png_of(a, "RGB", behind=[(b"eXIf", exif_block(n, little=True))]),
            EXACT,
        ),
        "png, interlaced": (lambda a, n: png_of(a, "RGB", before=[(b"eXIf", exif_block(n))], interlaced=True), EXACT),
        "webp": (lambda a, n: webp(a, exif=exif_block(n)), EXACT),
        "webp, lossy": (lambda a, n: webp(a, lossless=False, quality=100, exif=exif_block(n)), 24),
        "tiff": (lambda a, n: tiff(a, photometric=2, more=[(274, 3, [n])]), EXACT),
        "tiff, packed": (
            lambda a, n: tiff(a, photometric=2, compressed=True, strips=3, more=[(274, 3, [n])]),
            EXACT,
        ),
        "tiff, tiles, big-endian": (
            lambda a, n: tiff(a, photometric=2, tile=32, big_endian=True, more=[(274, 3, [n])]),
            EXACT,
        ),
        "tiff, planes": (lambda a, n: tiff(a, photometric=2, planes=True, more=[(274, 3, [n])]), EXACT),
        "tiff, lzw": (
            lambda a, n: encoded(image_of(a), "TIFF", compression="tiff_lzw", tiffinfo={274: n}),
            EXACT,
        ),
        "avif": (lambda a, n: avif(a, exif=exif_block(n)), LOSSY),
    }
    for (form, (write, tolerance)), orientation in itertools.product(writers.items(), STORED):
        if form.startswith("jpeg 4:2:0"):
            # Chroma bleeds from patch to patch: greys do not.
            yield Golden(
                f"{form}, {orientation}", write(as_rgb(STORED[orientation](GREY)), orientation), as_rgb(GREY), LOSSY
            )
            continue
        if form == "webp, lossy":
            yield Golden(
                f"{form}, {orientation}", write(as_rgb(STORED[orientation](GREY)), orientation), as_rgb(GREY), LOSSY
            )
            continue
        yield Golden(f"{form}, {orientation}", write(STORED[orientation](RGB), orientation), RGB, tolerance)
    for orientation in STORED:
        stored = STORED[orientation]
        yield Golden(
            f"tiff, deep grey, {orientation}",
            tiff(stored(DEEP_GREY), more=[(274, 3, [orientation])]),
            as_rgb(DEEP_GREY / 257),
            EXACT,
        )
        yield Golden(
            f"png, deep grey, {orientation}",
            png_of(stored(DEEP_GREY), "L", 16, before=[(b"eXIf", exif_block(orientation))]),
            as_rgb(DEEP_GREY / 257),
            EXACT,
        )
        yield Golden(
            f"png, deep colours, {orientation}",
            png_of(stored(DEEP_RGB), "RGB", 16, before=[(b"eXIf", exif_block(orientation))]),
            RGB,
            EXACT,
        )
        yield Golden(
            f"png, palette, {orientation}",
            png_of(
                stored(patches(np.arange(32, dtype=np.uint8).reshape(4, 8))),
                "P",
                before=[(b"PLTE", COLOURS.tobytes()), (b"eXIf", exif_block(orientation))],
            ),
            RGB,
            EXACT,
        )
    # MIAF (ISO/IEC 23000-22), 7.3.6.7: AVIF is turned by `irot` and `imir` alone.
    yield Golden("avif, exif that its boxes do not bear out", turned_by_exif_alone(), RGB, LOSSY)
    yield Golden("jpeg, an orientation of 9", jpeg(RGB, exif=exif_block(9, start=b"Exif\0\0")), RGB, LOSSY)


def turned_by_exif_alone() -> bytes:
    """An AVIF with Exif that says 6, and no box that does: Pillow takes the tag out, so another is made into it."""
    block = exif_block(6).replace(b"\x01\x12", b"\x01\x0e")
    return avif(RGB, exif=block).replace(b"\x01\x0e\0\3\0\0\0\1", b"\x01\x12\0\3\0\0\0\1")


def png_kinds() -> Iterator[Golden]:
    """Each colour type and depth of PNG, interlaced and not, with each transparency that it can have."""
    index = patches(np.arange(32, dtype=np.uint8).reshape(4, 8))
    for interlaced in (False, True):
        weave = ", interlaced" if interlaced else ""
        for bits in (1, 2, 4, 8, 16):
            most = 2**bits - 1
            grey = (DEEP_GREY.astype(int) * most // 65535).astype(np.uint16)
            shown = as_rgb(grey * (255 / most))
            yield Golden(f"png, grey {bits}{weave}", png_of(grey, "L", bits, interlaced=interlaced), shown, EXACT)
            clear = int(grey[0, 16])
            yield Golden(
                f"png, grey {bits}, one clear{weave}",
                png_of(grey, "L", bits, before=[(b"tRNS", struct.pack(">H", clear))], interlaced=interlaced),
                over_white(shown, (grey != clear) * 255),
                EXACT,
            )
        for bits in (1, 2, 4, 8):
            few = index % min(2**bits, 32)
            table = COLOURS.reshape(-1, 3)[: 2**bits]
            shown = table[few].astype(float)
            head = [(b"PLTE", table.tobytes())]
            yield Golden(
                f"png, palette {bits}{weave}", png_of(few, "P", bits, before=head, interlaced=interlaced), shown, EXACT
            )
            # Fewer than there are colours: the others are opaque.
            alphas = np.array([0, 90, 200, 255, 17][: 2**bits], np.uint8)
            whole = np.concatenate([alphas, np.full(32, 255, np.uint8)])
            yield Golden(
                f"png, palette {bits}, clear{weave}",
                png_of(few, "P", bits, before=[*head, (b"tRNS", alphas.tobytes())], interlaced=interlaced),
                over_white(shown, whole[few]),
                EXACT,
            )
        for bits, by in ((8, 1), (16, 257)):
            kind = np.uint8 if bits == 8 else np.uint16
            colours, grey, alpha = (
                RGB.astype(kind) * kind(by),
                GREY.astype(kind) * kind(by),
                ALPHA.astype(kind) * kind(by),
            )
            yield Golden(f"png, rgb {bits}{weave}", png_of(colours, "RGB", bits, interlaced=interlaced), RGB, EXACT)
            clear_colour = colours[0, 16]
            hidden = (colours != clear_colour).any(-1) * 255
            yield Golden(
                f"png, rgb {bits}, one clear{weave}",
                png_of(
                    colours,
                    "RGB",
                    bits,
                    before=[(b"tRNS", struct.pack(">3H", *map(int, clear_colour)))],
                    interlaced=interlaced,
                ),
                over_white(RGB, hidden),
                EXACT,
            )
            yield Golden(
                f"png, rgba {bits}{weave}",
                png_of(np.dstack([colours, alpha]), "RGBA", bits, interlaced=interlaced),
                over_white(RGB, ALPHA),
                EXACT,
            )
            yield Golden(
                f"png, grey and alpha {bits}{weave}",
                png_of(np.dstack([grey, alpha]), "LA", bits, interlaced=interlaced),
                over_white(as_rgb(GREY), ALPHA),
                EXACT,
            )
    # Only the sixteen bits tell the clear one from its neighbour.
    near = DEEP_RGB.copy()
    near[:16, :16] = near[:16, 16:32] + np.uint16(1)
    shown = RGB.copy()
    shown[:16, :16] = RGB[0, 16]
    yield Golden(
        "png, rgb 16, clear by its lower bits",
        png_of(near, "RGB", 16, before=[(b"tRNS", struct.pack(">3H", *map(int, near[0, 16])))]),
        over_white(shown, (near != near[0, 16]).any(-1) * 255),
        EXACT,
    )
    for bits in (10, 12, 14):
        yield Golden(f"png, {bits} bits of colours in 16", png_of(DEEP_RGB >> (16 - bits), "RGB", 16), RGB, EXACT)
        yield Golden(
            f"png, {bits} bits of grey in 16", png_of(DEEP_GREY >> (16 - bits), "L", 16), as_rgb(DEEP_GREY / 257), EXACT
        )
        yield Golden(
            f"png, {bits} bits of grey in 16, with alpha",
            png_of(np.dstack([DEEP_GREY >> (16 - bits), patches(ALPHAS.astype(np.uint16) * 257)]), "LA", 16),
            over_white(as_rgb(DEEP_GREY / 257), ALPHA),
            EXACT,
        )


def chrm(primaries: Any, white: tuple[float, float] = (0.3127, 0.3290)) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(number * 100_000) for pair in (white, *primaries) for number in pair))


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, matrix, full])


SRGB_CHUNK = (b"sRGB", b"\0")


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def png_colours() -> Iterator[Golden]:
    """What PNG says of its colours, and which of it counts (third edition, 4.3): cICP, iCCP, sRGB, gAMA and cHRM."""
    cases: list[tuple[str, list[tuple[bytes, bytes]], Array, int]] = [
        ("gamma 1", [gama(1)], gamma(RGB, 1), MANAGED),
        ("gamma 1.8", [gama(1 / 1.8)], gamma(RGB, 1.8), MANAGED),
        ("gamma 2.2 is taken for sRGB", [gama(0.45455)], RGB, EXACT),
        ("gamma 2.2 and sRGB's primaries", [gama(0.45455), chrm(SRGB)], RGB, EXACT),
        ("gamma 2.6", [gama(1 / 2.6)], gamma(RGB, 2.6), MANAGED),
        ("gamma 0 is none", [gama(0)], RGB, EXACT),
        ("gamma and P3", [gama(1 / 1.8), chrm(P3)], managed(RGB, P3, 1.8), MANAGED),
        ("primaries alone are not enough", [chrm(P3)], RGB, EXACT),
        ("primaries that are none", [gama(1), chrm(((0.3, 0.3),) * 3)], gamma(RGB, 1), MANAGED),
        ("sRGB goes before gamma", [gama(1), chrm(P3), SRGB_CHUNK], RGB, EXACT),
        ("a profile goes before gamma", [gama(1), iccp(icc(SWAPPED, 2.2))], managed(RGB, SWAPPED, 2.2), MANAGED),
        ("a profile goes before sRGB", [SRGB_CHUNK, iccp(icc(ADOBE, 2.2))], managed(RGB, ADOBE, 2.2), MANAGED),
        ("a broken profile leaves gamma", [gama(1), (b"iCCP", b"name\0\0no")], gamma(RGB, 1), MANAGED),
        ("P3 by numbers", [cicp(12, 13)], managed(RGB, P3), MANAGED),
        ("BT.2020 by numbers", [cicp(9, 13)], managed(RGB, BT2020), MANAGED),
        ("light by numbers", [cicp(1, 8)], gamma(RGB, 1), MANAGED),
        ("gamma 2.2 by numbers", [cicp(1, 4)], gamma(RGB, 2.2), MANAGED),
        ("gamma 2.8 by numbers", [cicp(1, 5)], gamma(RGB, 2.8), MANAGED),
        ("numbers go before a profile", [cicp(12, 13), iccp(icc(SWAPPED, 2.2))], managed(RGB, P3), MANAGED),
        ("numbers of sRGB go before a profile", [cicp(1, 13), iccp(icc(SWAPPED, 2.2))], RGB, EXACT),
        (
            "numbers that PNG does not allow leave a profile",
            [cicp(12, 13, 1), iccp(icc(SWAPPED, 2.2))],
            managed(RGB, SWAPPED, 2.2),
            MANAGED,
        ),
        ("unknown numbers leave a profile", [cicp(2, 2), iccp(icc(SWAPPED, 2.2))], managed(RGB, SWAPPED, 2.2), MANAGED),
        ("PQ", [cicp(9, 16)], tone_mapped(pq_nits(RGB / 255)), HDR),
        ("PQ in P3", [cicp(12, 16)], tone_mapped(pq_nits(RGB / 255), P3), HDR),
        ("HLG", [cicp(9, 18)], tone_mapped(hlg_nits(RGB / 255)), HDR),
    ]
    for name, head, seen, tolerance in cases:
        yield Golden(f"png, {name}", png_of(RGB, "RGB", before=head), seen, tolerance)
        if "clear" not in name and len(head) == 1:
            yield Golden(
                f"png, {name}, with alpha",
                png_of(np.dstack([RGB, ALPHA]), "RGBA", before=head),
                over_white(seen, ALPHA),
                tolerance,
            )
            yield Golden(f"png, {name}, 16 bits", png_of(DEEP_RGB, "RGB", 16, before=head), seen, tolerance)
    light = gamma(GREY, 1)
    index = patches(np.arange(32, dtype=np.uint8).reshape(4, 8))
    yield Golden("png, grey of gamma 1", png_of(GREY, "L", before=[gama(1)]), as_rgb(light), MANAGED)
    yield Golden(
        "png, grey and alpha of gamma 1",
        png_of(np.dstack([GREY, ALPHA]), "LA", before=[gama(1)]),
        over_white(as_rgb(light), ALPHA),
        MANAGED,
    )
    yield Golden(
        "png, palette of gamma 1",
        png_of(index, "P", before=[gama(1), (b"PLTE", COLOURS.tobytes())]),
        gamma(RGB, 1),
        MANAGED,
    )
    dim = DEEP_GREY // 40
    yield Golden(
        "png, deep light keeps its darks",
        png_of(np.where(DEEP_GREY > 60000, DEEP_GREY, dim), "L", 16, before=[gama(1)]),
        as_rgb(gamma(np.where(DEEP_GREY > 60000, DEEP_GREY, dim) / 257, 1)),
        MANAGED,
    )
    dims = np.where(DEEP_RGB > 60000, DEEP_RGB, DEEP_RGB // 40)
    yield Golden(
        "png, deep coloured light keeps its darks",
        png_of(dims, "RGB", 16, before=[gama(1)]),
        gamma(dims / 257, 1),
        MANAGED,
    )
    yield Golden(
        "png, 16 bits of PQ up to 1,000 nits",
        png_of((RGB * 193.2).astype(np.uint16), "RGB", 16, before=[cicp(9, 16)]),
        tone_mapped(pq_nits((RGB * 193.2).astype(np.uint16) / 65535)),
        HDR,
    )
    # Graphics white of HDR is white, and what is not brighter is as it was (ITU-R BT.2408).
    code = pq_code(srgb_light(GREY / 255) * WHITE_NITS)
    yield Golden(
        "png, PQ that is no brighter than white",
        png_of(as_rgb(np.rint(code * 65535).astype(np.uint16)), "RGB", 16, before=[cicp(9, 16)]),
        as_rgb(GREY),
        HDR,
    )
    # One that lies behind the pixels says nothing (PNG, 5.6), and one with a wrong length neither.
    yield Golden("png, numbers behind its pixels", png_of(RGB, "RGB", behind=[cicp(9, 16)]), RGB, EXACT)
    yield Golden("png, gamma of three bytes", png_of(RGB, "RGB", before=[(b"gAMA", b"\0\1\2")]), RGB, EXACT)


# What a printer's corners look like, as Lab: C, M, Y and K from 0 to 1. Its black is black, so that it is the same with
# black point compensation as without.
def _corners() -> Array:
    corners = np.zeros((2, 2, 2, 2, 3))
    for c, m, y, k in itertools.product((0, 1), repeat=4):
        corners[c, m, y, k] = (1 - k) * np.array([100 - 32 * c - 42 * m - 8 * y, 60 * m - 34 * c, 70 * y - 45 * c])
    return corners


CORNERS = np.rint(_corners())


def lab_seen(lab: Array) -> Array:
    """CIE 1976 L*a*b* under D50 as seen in sRGB."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    return srgb_shown(xyz @ np.linalg.inv(to_d50(SRGB)).T)


def profiles() -> Iterator[Golden]:
    """ICC profiles in each format and mode that can have one."""
    spaces: dict[str, tuple[bytes, Array]] = {
        "P3": (icc(P3, 2.2, "Display P3 Gamut with sRGB Transfer"), managed(RGB, P3, 2.2)),
        "Adobe RGB": (icc(ADOBE, 2.19921875, "Adobe RGB (1998)"), managed(RGB, ADOBE, 2.19921875)),
        "BT.2020": (icc(BT2020, 2.4, "sRGB"), managed(RGB, BT2020, 2.4)),
        "a gamma of 1": (icc(SRGB, 1, "Linear"), gamma(RGB, 1)),
    }
    colours: dict[str, tuple[Callable[[bytes], bytes], int]] = {
        "jpeg": (lambda p: jpeg(RGB, icc_profile=p), LOSSY_MANAGED),
        "png": (lambda p: png_of(RGB, "RGB", before=[iccp(p)]), MANAGED),
        "png 16": (lambda p: png_of(DEEP_RGB, "RGB", 16, before=[iccp(p)]), MANAGED),
        "webp": (lambda p: webp(RGB, icc_profile=p), MANAGED),
        "tiff": (lambda p: tiff(RGB, photometric=2, more=[(34675, 7, p)]), MANAGED),
        "tiff, planes, big-endian": (
            lambda p: tiff(RGB, photometric=2, planes=True, big_endian=True, more=[(34675, 7, p)]),
            MANAGED,
        ),
        "avif": (lambda p: avif(RGB, icc_profile=p), LOSSY_MANAGED),
    }
    for (space, (profile, seen)), (form, (write, tolerance)) in itertools.product(spaces.items(), colours.items()):
        # A lossy step is stretched where a gamma of 1 is dark.
        wide = space == "a gamma of 1" and form in ("jpeg", "avif")
        yield Golden(f"{form}, {space}", write(profile), seen, STRETCHED if wide else tolerance)
    with_alpha = np.dstack([RGB, ALPHA])
    profile, seen = spaces["Adobe RGB"]
    clear = over_white(seen, ALPHA)
    yield Golden("png, Adobe RGB, alpha", png_of(with_alpha, "RGBA", before=[iccp(profile)]), clear, MANAGED)
    yield Golden("webp, Adobe RGB, alpha", webp(with_alpha, icc_profile=profile), clear, MANAGED)
    yield Golden(
        "tiff, Adobe RGB, alpha",
        tiff(with_alpha, photometric=2, more=[(338, 3, [2]), (34675, 7, profile)]),
        clear,
        MANAGED,
    )
    yield Golden("avif, Adobe RGB, alpha", avif(with_alpha, icc_profile=profile), clear, MANAGED)
    index = patches(np.arange(32, dtype=np.uint8).reshape(4, 8))
    yield Golden(
        "png, Adobe RGB, palette",
        png_of(index, "P", before=[iccp(profile), (b"PLTE", COLOURS.tobytes())]),
        seen,
        MANAGED,
    )
    yield Golden(
        "tiff, Adobe RGB, palette",
        tiff(index, photometric=3, more=[(320, 3, colour_map()), (34675, 7, profile)]),
        seen,
        MANAGED,
    )
    grey = icc(None, 1.0, "Grey light")
    shown = as_rgb(gamma(GREY, 1))
    yield Golden("jpeg, grey light", jpeg(GREY, icc_profile=grey, quality=100), shown, STRETCHED)
    yield Golden("png, grey light", png_of(GREY, "L", before=[iccp(grey)]), shown, MANAGED)
    yield Golden(
        "png, grey light and alpha",
        png_of(np.dstack([GREY, ALPHA]), "LA", before=[iccp(grey)]),
        over_white(shown, ALPHA),
        MANAGED,
    )
    yield Golden(
        "png, grey light of 4 bits",
        png_of(GREY >> 4, "L", 4, before=[iccp(grey)]),
        as_rgb(gamma((GREY >> 4) * 17, 1)),
        MANAGED,
    )
    yield Golden(
        "png, deep grey light",
        png_of(DEEP_GREY, "L", 16, before=[iccp(grey)]),
        as_rgb(gamma(DEEP_GREY / 257, 1)),
        MANAGED,
    )
    yield Golden("tiff, grey light", tiff(GREY, more=[(34675, 7, grey)]), shown, MANAGED)
    yield Golden(
        "tiff, grey light, white is zero", tiff(255 - GREY, photometric=0, more=[(34675, 7, grey)]), shown, MANAGED
    )
    yield Golden("tiff, grey with a profile for colours", tiff(GREY, more=[(34675, 7, icc(SRGB, 1.0))]), shown, MANAGED)
    yield Golden("tiff, colours with a profile for grey", tiff(RGB, photometric=2, more=[(34675, 7, grey)]), RGB, EXACT)
    ink = cmyk_profile(CORNERS)
    bits = patches(np.arange(32).reshape(4, 8) % 16)
    corner = np.stack([bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1], -1)
    printed = lab_seen(CORNERS[tuple(np.moveaxis(corner, -1, 0))])
    cmyk = (corner * 255).astype(np.uint8)
    yield Golden("tiff, ink with a profile", tiff(cmyk, photometric=5, more=[(34675, 7, ink)]), printed, MANAGED)
    yield Golden(
        "tiff, planes of ink with a profile",
        tiff(cmyk, photometric=5, planes=True, more=[(34675, 7, ink)]),
        printed,
        MANAGED,
    )
    yield Golden(
        "jpeg, ink with a profile",
        encoded(Image.frombytes("CMYK", cmyk.shape[1::-1], cmyk.tobytes()), "JPEG", quality=100, icc_profile=ink),
        printed,
        LOSSY_MANAGED,
    )
    # ICC.1:2022, 9.2.17: the numbers of H.273 that a profile may hold, for viewers that know them.
    hdr = icc(BT2020, 2.2, "PQ", {b"cicp": b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])})
    yield Golden(
        "png, PQ by a profile's numbers", png_of(RGB, "RGB", before=[iccp(hdr)]), tone_mapped(pq_nits(RGB / 255)), HDR
    )


def colour_map() -> list[int]:
    """TIFF's table of `COLOURS`: 256 reds, greens and blues of 16 bits."""
    table = np.zeros((256, 3), np.uint16)
    table[:32] = COLOURS.reshape(-1, 3).astype(np.uint16) * 257
    return [int(number) for number in table.T.reshape(-1)]


# How a TIFF's numbers can lie in it.
LAYOUTS: dict[str, dict[str, Any]] = {
    "": {},
    ", big-endian": {"big_endian": True},
    ", packed": {"compressed": True},
    ", strips": {"strips": 5},
    ", tiles": {"tile": 48},
    ", BigTIFF": {"big": True},
}


def tiff_kinds() -> Iterator[Golden]:
    """TIFF's depths, photometrics, layouts and alphas."""
    index = patches(np.arange(32, dtype=np.uint8).reshape(4, 8))
    for name, layout in LAYOUTS.items():
        for bits in (1, 2, 4, 8, 16):
            most = 2**bits - 1
            grey = (DEEP_GREY.astype(int) * most // 65535).astype(np.uint8 if bits <= 8 else np.uint16)
            shown = as_rgb(grey * (255 / most))
            yield Golden(f"tiff, grey {bits}{name}", tiff(grey, bits=bits, **layout), shown, EXACT)
            yield Golden(
                f"tiff, grey {bits}, white is zero{name}",
                tiff((most - grey).astype(grey.dtype), bits=bits, photometric=0, **layout),
                shown,
                EXACT,
            )
        yield Golden(f"tiff, colours{name}", tiff(RGB, photometric=2, **layout), RGB, EXACT)
        yield Golden(f"tiff, deep colours{name}", tiff(DEEP_RGB, photometric=2, **layout), RGB, EXACT)
        yield Golden(f"tiff, planes of colours{name}", tiff(RGB, photometric=2, planes=True, **layout), RGB, EXACT)
        yield Golden(
            f"tiff, planes of deep colours{name}", tiff(DEEP_RGB, photometric=2, planes=True, **layout), RGB, EXACT
        )
        yield Golden(
            f"tiff, palette{name}", tiff(index, photometric=3, more=[(320, 3, colour_map())], **layout), RGB, EXACT
        )
        for dtype, low, high in (
            ("i1", -128, 127),
            ("i2", -32768, 32767),
            ("i4", -(2**31), 2**31 - 1),
            ("u4", 0, 2**32 - 1),
            ("f4", 0, 1),
            ("f4", 0, 255),
            ("f8", 0, 1),
            ("f2", 0, 1),
        ):
            values = (low + DEEP_GREY / 65535 * (float(high) - low)).astype(dtype)
            yield Golden(f"tiff, {dtype} {low}..{high}{name}", tiff(values, **layout), as_rgb(DEEP_GREY / 257), EXACT)
        yield Golden(
            f"tiff, floats of colours{name}", tiff((RGB / 255).astype("f4"), photometric=2, **layout), RGB, EXACT
        )
        yield Golden(
            f"tiff, floats, white is zero{name}",
            tiff((1 - DEEP_GREY / 65535).astype("f4"), photometric=0, **layout),
            as_rgb(DEEP_GREY / 257),
            EXACT,
        )
        with_alpha = np.dstack([RGB, ALPHA])
        lost = np.dstack([np.rint(RGB * (ALPHA[:, :, None] / 255)).astype(np.uint8), ALPHA])
        seen = over_white(RGB, ALPHA)
        yield Golden(f"tiff, alpha{name}", tiff(with_alpha, photometric=2, more=[(338, 3, [2])], **layout), seen, EXACT)
        yield Golden(
            f"tiff, premultiplied{name}", tiff(lost, photometric=2, more=[(338, 3, [1])], **layout), seen, EXACT + 1
        )
        yield Golden(
            f"tiff, deep alpha{name}",
            tiff(with_alpha.astype(np.uint16) * 257, photometric=2, more=[(338, 3, [2])], **layout),
            seen,
            EXACT,
        )
        yield Golden(
            f"tiff, deep premultiplied{name}",
            tiff(lost.astype(np.uint16) * 257, photometric=2, more=[(338, 3, [1])], **layout),
            seen,
            EXACT + 1,
        )
        yield Golden(
            f"tiff, a fourth number that is no alpha{name}",
            tiff(with_alpha, photometric=2, more=[(338, 3, [0])], **layout),
            RGB,
            EXACT,
        )
        greys = np.dstack([GREY, ALPHA])
        faded = np.dstack([np.rint(GREY * (ALPHA / 255)).astype(np.uint8), ALPHA])
        seen = over_white(as_rgb(GREY), ALPHA)
        yield Golden(f"tiff, grey and alpha{name}", tiff(greys, more=[(338, 3, [2])], **layout), seen, EXACT)
        yield Golden(f"tiff, grey, premultiplied{name}", tiff(faded, more=[(338, 3, [1])], **layout), seen, EXACT + 1)
        yield Golden(
            f"tiff, deep grey and alpha{name}",
            tiff(greys.astype(np.uint16) * 257, more=[(338, 3, [2])], **layout),
            seen,
            EXACT,
        )
        yield Golden(
            f"tiff, planes of grey and alpha{name}",
            tiff(greys, planes=True, more=[(338, 3, [2])], **layout),
            seen,
            EXACT,
        )
        yield Golden(
            f"tiff, planes of colours and alpha{name}",
            tiff(with_alpha, photometric=2, planes=True, more=[(338, 3, [2])], **layout),
            over_white(RGB, ALPHA),
            EXACT,
        )
        inks = 255 - with_alpha
        key = (255 - inks[:, :, 3:].astype(float)) / 255
        yield Golden(f"tiff, ink{name}", tiff(inks, photometric=5, **layout), (255 - inks[:, :, :3]) * key, EXACT + 1)
        yield Golden(f"tiff, Lab{name}", tiff(lab_stored(), photometric=8, **layout), lab_seen(LAB), MANAGED + 2)
        ycc = ycbcr(RGB)
        yield Golden(f"tiff, YCbCr{name}", tiff(ycc, photometric=6, more=[(530, 3, [1, 1])], **layout), RGB, EXACT + 2)
        twelve = (DEEP_GREY >> 4).astype(np.uint16)
        yield Golden(f"tiff, grey of 12 bits{name}", tiff(twelve, bits=12, **layout), as_rgb(DEEP_GREY / 257), EXACT)
        yield Golden(f"tiff, 12 bits in 16{name}", tiff(twelve, **layout), as_rgb(DEEP_GREY / 257), EXACT)
        for bits in (12, 14):
            cut = tiff(DEEP_RGB >> (16 - bits), photometric=2, **layout)
            yield Golden(f"tiff, {bits} bits of colours in 16{name}", cut, RGB, EXACT)
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "lzma"):
        for mode, values, seen in (
            ("RGB", RGB, RGB),
            ("L", GREY, as_rgb(GREY)),
            ("deep", DEEP_GREY, as_rgb(DEEP_GREY / 257)),
        ):
            yield Golden(
                f"tiff, {compression}, {mode}", encoded(image_of(values), "TIFF", compression=compression), seen, EXACT
            )
    line = image_of(GREY > 127)
    for compression in ("group3", "group4", "packbits"):
        yield Golden(
            f"tiff, {compression}, 1",
            encoded(line, "TIFF", compression=compression),
            as_rgb((GREY > 127) * 255.0),
            EXACT,
        )
    yield Golden(
        "tiff, jpeg", encoded(image_of(as_rgb(GREY)), "TIFF", compression="jpeg", quality=98), as_rgb(GREY), LOSSY
    )
    yield Golden(
        "tiff, white is zero, predicted",
        encoded(image_of(RGB), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
        RGB,
        EXACT,
    )


LAB = patches(
    np.stack([np.linspace(10, 95, 32), np.linspace(-20, 30, 32)[::-1], np.linspace(-25, 25, 32) ** 2 / 25 - 10], -1)
    .round()
    .reshape(4, 8, 3)
)


def lab_stored() -> Array:
    """TIFF 6.0, section 23: L as 0..255, a and b as signed bytes."""
    return np.dstack([np.rint(LAB[:, :, 0] * 2.55).astype(np.uint8), LAB[:, :, 1:].astype(np.int8).view(np.uint8)])


def ycbcr(colours: Array) -> Array:
    """ITU-R BT.601, of the full range (JFIF)."""
    weights = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.rint(colours @ weights.T + [0, 128, 128]).clip(0, 255).astype(np.uint8)


def bmp_kinds() -> Iterator[Golden]:
    index = patches(np.arange(32, dtype=np.uint8).reshape(4, 8))
    table = COLOURS.reshape(-1, 3)
    for top_down in (False, True):
        way = ", from the top" if top_down else ""
        for bits in (1, 4, 8):
            few = index % min(2**bits, 32)
            yield Golden(
                f"bmp, palette {bits}{way}",
                bmp(few, bits, palette=table[: 2**bits], top_down=top_down),
                table[few],
                EXACT,
            )
        yield Golden(f"bmp, 24{way}", bmp(RGB[:, :, ::-1], 24, top_down=top_down), RGB, EXACT)
        five = (RGB >> 3).astype(np.uint16)
        yield Golden(
            f"bmp, 555{way}",
            bmp(five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2], 16, top_down=top_down),
            five * (255 / 31),
            EXACT,
        )
        six = (RGB[..., 1] >> 2).astype(np.uint16)
        masks = (0xF800, 0x07E0, 0x001F)
        yield Golden(
            f"bmp, 565{way}",
            bmp(five[..., 0] << 11 | six << 5 | five[..., 2], 16, masks=masks, top_down=top_down),
            np.dstack([five[..., 0] * (255 / 31), six * (255 / 63), five[..., 2] * (255 / 31)]),
            EXACT,
        )
        wide = RGB.astype(np.uint32)
        whole = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        # The fourth byte means nothing unless a mask says so.
        yield Golden(f"bmp, 32{way}", bmp(whole, 32, top_down=top_down), RGB, EXACT)
        clear = whole | ALPHA.astype(np.uint32) << 24
        masks4 = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        yield Golden(
            f"bmp, 32 with alpha{way}", bmp(clear, 32, masks=masks4, top_down=top_down), over_white(RGB, ALPHA), EXACT
        )


def gif_kinds() -> Iterator[Golden]:
    index = patches(np.arange(32, dtype=np.uint8).reshape(4, 8))
    table = COLOURS.reshape(-1, 3)
    image = image_of(index)
    image.putpalette(table.tobytes())
    yield Golden("gif", encoded(image, "GIF"), RGB, EXACT)
    yield Golden("gif, interlaced", encoded(image, "GIF", interlace=1), RGB, EXACT)
    yield Golden("gif, grey", encoded(image_of(GREY), "GIF"), as_rgb(GREY), EXACT)
    yield Golden("gif, one clear", encoded(image, "GIF", transparency=7), over_white(RGB, (index != 7) * 255), EXACT)
    other = image_of(31 - index)
    other.putpalette(table.tobytes())
    yield Golden("gif, two pictures", encoded(image, "GIF", save_all=True, append_images=[other]), RGB, EXACT)
    # The first picture covers the middle of the screen only: what it leaves open is clear.
    small = gif_part(encoded(image, "GIF"), 16, 8)
    seen = np.full((80, 160, 3), 255.0)
    seen[8:72, 16:144] = RGB
    yield Golden("gif, a picture within its screen", small, seen, EXACT)


def gif_part(data: bytes, left: int, top: int) -> bytes:
    """A GIF whose screen is larger than its picture by so much on each side; its first colour clear."""
    width, height = struct.unpack_from("<HH", data, 6)
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    at = data.index(b",", at)
    control = b"\x21\xf9\x04\x01\0\0" + bytes([255]) + b"\0"
    place = struct.pack("<HH", left, top)
    return (
        data[:6]
        + struct.pack("<HH", width + 2 * left, height + 2 * top)
        + data[10:at]
        + control
        + b","
        + place
        + data[at + 5 :]
    )


def webp_kinds() -> Iterator[Golden]:
    with_alpha = np.dstack([RGB, ALPHA])
    yield Golden("webp, lossless", webp(RGB), RGB, EXACT)
    yield Golden("webp, alpha", webp(with_alpha), over_white(RGB, ALPHA), EXACT)
    yield Golden("webp, lossy grey", webp(as_rgb(GREY), lossless=False, quality=100), as_rgb(GREY), LOSSY)
    yield Golden(
        "webp, lossy with alpha",
        webp(np.dstack([as_rgb(GREY), ALPHA]), lossless=False, quality=100, alpha_quality=100),
        over_white(as_rgb(GREY), ALPHA),
        LOSSY,
    )
    yield Golden("webp, two pictures", webp(RGB, save_all=True, append_images=[image_of(255 - RGB)]), RGB, EXACT)


def jpeg_kinds() -> Iterator[Golden]:
    yield Golden("jpeg", jpeg(RGB), RGB, LOSSY)
    yield Golden("jpeg, progressive", jpeg(RGB, progressive=True), RGB, LOSSY)
    yield Golden("jpeg, grey", jpeg(GREY), as_rgb(GREY), LOSSY)
    yield Golden("jpeg, rgb", jpeg(RGB, keep_rgb=True), RGB, LOSSY)
    yield Golden("jpeg, restarts", jpeg(RGB, restart_marker_blocks=2), RGB, LOSSY)
    inks = 255 - np.dstack([RGB, ALPHA])
    seen = (255 - inks[:, :, :3]) * ((255 - inks[:, :, 3:].astype(float)) / 255)
    yield Golden(
        "jpeg, ink", encoded(Image.frombytes("CMYK", (128, 64), inks.tobytes()), "JPEG", quality=100), seen, LOSSY
    )
    yield Golden(
        "jpeg, two pictures",
        encoded(image_of(RGB), "MPO", quality=98, subsampling=0, save_all=True, append_images=[image_of(255 - RGB)]),
        RGB,
        LOSSY,
    )
    large = icc(SWAPPED, 2.2) + bytes(200_000)
    large = struct.pack(">I", len(large)) + large[4:]
    yield Golden(
        "jpeg, a profile in four parts", jpeg(RGB, icc_profile=large), managed(RGB, SWAPPED, 2.2), LOSSY_MANAGED
    )


def deep_avif(values: Array, bits: int) -> bytes:
    """An AVIF of 10 or 12 bits, without loss, of colours of 16 bits."""
    options = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_SPEED, 9]
    return cv2.imencode(".avif", (values >> (16 - bits))[:, :, ::-1], options)[1].tobytes()


def avif_kinds() -> Iterator[Golden]:
    with_alpha = np.dstack([RGB, ALPHA])
    yield Golden("avif", avif(RGB), RGB, LOSSY)
    yield Golden("avif, grey", avif(GREY, subsampling="4:0:0"), as_rgb(GREY), LOSSY)
    yield Golden("avif, alpha", avif(with_alpha), over_white(RGB, ALPHA), LOSSY)
    yield Golden("avif, premultiplied", avif(with_alpha, alpha_premultiplied=True), over_white(RGB, ALPHA), LOSSY)
    yield Golden("avif, narrow range", avif(as_rgb(GREY), range="limited", subsampling="4:2:0"), as_rgb(GREY), LOSSY)
    yield Golden("avif, two pictures", avif(RGB, save_all=True, append_images=[image_of(255 - RGB)]), RGB, LOSSY)
    for name, numbers, seen, tolerance in (
        ("P3", (12, 13), managed(RGB, P3), LOSSY_MANAGED),
        ("BT.2020", (9, 13), managed(RGB, BT2020), LOSSY_MANAGED),
        ("light", (1, 8), gamma(RGB, 1), STRETCHED),
        ("BT.709 is taken for sRGB", (1, 1), RGB, LOSSY),
        ("nothing", (2, 2), RGB, LOSSY),
        ("PQ", (9, 16), tone_mapped(pq_nits(RGB / 255)), LOSSY_HDR),
        ("PQ in P3", (12, 16), tone_mapped(pq_nits(RGB / 255), P3), LOSSY_HDR),
        ("HLG", (9, 18), tone_mapped(hlg_nits(RGB / 255)), LOSSY_HDR),
    ):
        yield Golden(f"avif, {name} by numbers", with_nclx(avif(RGB), *numbers), seen, tolerance)
        yield Golden(
            f"avif, {name} by numbers, with alpha",
            with_nclx(avif(with_alpha), *numbers),
            over_white(seen, ALPHA),
            tolerance,
        )
    for bits in (10, 12):
        deep = deep_avif(DEEP_RGB, bits)
        yield Golden(f"avif, {bits} bits", deep, RGB, EXACT)
        code = DEEP_RGB >> (16 - bits)
        seen = tone_mapped(pq_nits(code / (2**bits - 1)))
        yield Golden(f"avif, {bits} bits of PQ", with_nclx(deep, 9, 16), seen, HDR)
        dark = deep_avif(DEEP_RGB >> 3, bits)
        yield Golden(f"avif, {bits} bits that are dark", dark, RGB / 8, EXACT)
    # ISO/IEC 23000-22, 7.3.6.4: a profile goes before numbers.
    both = with_nclx(avif(RGB, icc_profile=icc(ADOBE, 2.2)), 9, 16)
    yield Golden("avif, a profile goes before numbers", both, managed(RGB, ADOBE, 2.2), LOSSY_MANAGED)
    for name, cut, part in (
        ("in the middle", clap(96, 32), np.s_[16:48, 16:112]),
        ("at the top left", clap(64, 48, (-32, 1), (-8, 1)), np.s_[0:48, 0:64]),
        ("at the lower right", clap(50, 20, (78, 2), (44, 2)), np.s_[44:64, 78:128]),
        ("of an odd size", clap(33, 17, (1, 2), (-1, 2)), np.s_[23:40, 48:81]),
        ("that leaves the picture is none", clap(128, 64, (9, 1), (0, 1)), np.s_[:, :]),
        ("of no size is none", clap(0, 0), np.s_[:, :]),
    ):
        yield Golden(f"avif, a crop {name}", with_property(avif(RGB), b"clap", cut), RGB[part], LOSSY)
    for orientation, store in STORED.items():
        whole = store(RGB)
        cut = with_property(
            avif(whole, exif=exif_block(orientation)),
            b"clap",
            clap(whole.shape[1] - 32, whole.shape[0] - 16, (-16, 1), (-8, 1)),
        )
        kept = np.zeros(whole.shape[:2], bool)
        kept[: whole.shape[0] - 16, : whole.shape[1] - 32] = True
        upright = np.zeros(RGB.shape[:2], int)
        upright[:] = np.arange(RGB.shape[0] * RGB.shape[1]).reshape(upright.shape)
        shown = np.isin(upright, store(upright)[kept])
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        yield Golden(
            f"avif, a crop that is turned, {orientation}",
            cut,
            RGB[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
            LOSSY,
        )


def corpus() -> list[Golden]:
    return [
        golden
        for part in (
            turned,
            png_kinds,
            png_colours,
            profiles,
            tiff_kinds,
            bmp_kinds,
            gif_kinds,
            webp_kinds,
            jpeg_kinds,
            avif_kinds,
        )
        for golden in part()
    ]
