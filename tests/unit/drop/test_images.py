"""Opening images: what a person sees, whatever the file is; nothing but a code for what is no image."""

import io
import itertools
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ExifTags, Image, ImageCms, ImageFile, PngImagePlugin, TiffImagePlugin

from regioncap.drop import colours, images
from regioncap.drop.colours import deep_to_rgb
from regioncap.drop.images import open_image, set_up_for_pictures
from regioncap.errors import RowError
from regioncap.regions.codes import Code
from tests.builders import ROOT, encoded, picture
from tests.unit.drop.files import chunks, icc, png, png_of, tiff

RED, BLUE = (220, 20, 20), (20, 20, 220)


def two_colours() -> Image.Image:
    """Red at the top left, blue elsewhere; 40 x 20."""
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 20, 10))
    return image


def is_red(pixel: object) -> bool:
    assert isinstance(pixel, tuple)
    return bool(pixel[0] > 150 and pixel[2] < 100)


# What has to be done to the upright picture to store it with each orientation.
STORED: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda i: i,
    2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
    4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
    6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
    7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
    8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
}
# Options of Pillow's encoders for every format that can be stored turned; AVIF's encoder writes `irot` and `imir`.
TURNABLE: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


def turned(form: str, orientation: int) -> bytes:
    """`two_colours` as a file that is stored in one of the eight orientations."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(STORED[orientation](two_colours()), form.split()[0], exif=exif, **TURNABLE[form])


def check_two_colours(data: bytes, **options: bool) -> None:
    opened = open_image(data, **options)
    assert (opened.width, opened.height) == (40, 20)
    seen = opened.decode()
    assert seen.size == (40, 20)
    assert is_red(seen.getpixel((4, 4)))
    assert not is_red(seen.getpixel((35, 4)))
    assert not is_red(seen.getpixel((4, 16)))
    assert not is_red(seen.getpixel((35, 16)))


@pytest.mark.parametrize("form", TURNABLE)
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_seen_upright_whatever_its_exif_orientation(orientation: int, form: str) -> None:
    check_two_colours(turned(form, orientation))


@pytest.mark.parametrize("orientation", STORED)
def test_the_exif_of_a_png_may_stand_behind_its_pixels(orientation: int) -> None:
    data = turned("PNG", orientation)
    kinds = [kind for kind, _ in chunks(data)]
    exif = next(body for kind, body in chunks(data) if kind == b"eXIf")
    rest = [(kind, body) for kind, body in chunks(data) if kind not in (b"eXIf", b"IEND")]
    assert kinds.index(b"eXIf") < kinds.index(b"IDAT")
    check_two_colours(png(*rest, (b"eXIf", exif), (b"IEND", b"")))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_damaged_exif_tags_beside_the_orientation_do_no_harm(orientation: int, form: str) -> None:
    # The orientation; then an artist whose name lies far behind the end, a rational of no length, a pointer to nowhere,
    # and numbers that are a text.
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack(">HHII", 0x013B, 2, 5000, 0x7FFFFFF0)
    entries += struct.pack(">HHII", 0x011A, 5, 0, 0) + struct.pack(">HHII", 0x8769, 4, 1, 0xFFFFFF00)
    entries += struct.pack(">HHI4s", 0x0102, 2, 4, b"8 8\0")
    block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 5) + entries + struct.pack(">I", 0)
    check_two_colours(encoded(STORED[orientation](two_colours()), form, exif=block, **TURNABLE[form]))


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF deflate", "AVIF"])
def test_xmp_does_not_turn_an_image_as_it_does_not_in_viewers(form: str) -> None:
    options: dict[str, Any] = {"xmp": XMP.encode()}
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP)
        options = {"pnginfo": info}
    elif form.startswith("TIFF"):
        options = {"tiffinfo": {700: XMP.encode()}}
    check_two_colours(encoded(two_colours(), form.split()[0], **TURNABLE[form], **options))


# Pillow can read HEIC with a decoder beside it, but not write it.
HEIC = ROOT / "tests" / "data" / "two_colours.heic"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_supported_format_opens(form: str) -> None:
    seen = open_image(encoded(two_colours(), form)).decode()
    assert seen.mode == "RGB" and seen.size == (40, 20)
    assert is_red(seen.getpixel((4, 4)))


def test_heic_is_not_read_unless_it_is_asked_for() -> None:
    with pytest.raises(RowError, match="set the param read_heic if you trust where they come from") as fault:
        open_image(HEIC.read_bytes())
    assert fault.value.code == Code.IMAGE_UNREADABLE
    seen = open_image(HEIC.read_bytes(), heic=True).decode()
    assert seen.mode == "RGB" and seen.size == (64, 48)
    assert is_red(seen.getpixel((4, 4)))
    assert not is_red(seen.getpixel((60, 40)))


def test_transparency_is_seen_over_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert open_image(encoded(image, "PNG")).decode().getpixel((2, 2)) == (255, 255, 255)


def test_a_palette_with_transparency_is_seen_over_white() -> None:
    image = Image.new("P", (8, 8), 3)
    image.putpalette([index for index in range(256) for _ in range(3)])
    assert open_image(encoded(image, "PNG", transparency=3)).decode().getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK", "P"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    assert open_image(encoded(two_colours().convert(mode), form)).decode().mode == "RGB"


@pytest.mark.parametrize("mode, options", [("RGB", {"progressive": True}), ("CMYK", {}), ("L", {"progressive": True})])
def test_jpegs_of_every_kind_open_at_full_and_at_reduced_size(mode: str, options: dict[str, bool]) -> None:
    image = two_colours().resize((2400, 1200), Image.Resampling.NEAREST).convert(mode)
    data = encoded(image, "JPEG", **options)
    full, reduced = open_image(data).decode(), open_image(data).decode(at_least=(256, 128))
    assert full.size == (2400, 1200)
    assert 256 <= reduced.width < 1000
    for seen in (full, reduced):
        width, height = seen.size
        left, right = (
            seen.getpixel((width // 8, height // 8)),
            seen.getpixel((7 * width // 8, height // 8)),
        )
        assert mode == "L" or (is_red(left) and not is_red(right))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_seen(form: str) -> None:
    second = Image.new("RGB", (40, 20), BLUE)
    data = encoded(two_colours(), form, save_all=True, append_images=[second, second])
    assert is_red(open_image(data).decode().getpixel((4, 4)))


# ---- deep pixels

# A picture from black to white, as shares: left half dark, right half bright, with a ramp in each.
SHARES = np.tile(np.linspace(0, 1, 64), (48, 1))


def greys(data: bytes) -> npt.NDArray[np.uint8]:
    """The shades of grey that are seen."""
    seen = np.asarray(open_image(data).decode())
    assert (seen == seen[:, :, :1]).all()
    return seen[:, :, 0]


def scaled(dtype: str, low: float, high: float) -> npt.NDArray[Any]:
    return (low + SHARES * (high - low)).astype(dtype)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        scaled("u2", 0, 65535),
        scaled("u2", 0, 4095),
        scaled("u2", 0, 255),
        scaled("u2", 0, 3),
        scaled("u4", 0, 2**32 - 1),
        scaled("i2", -32768, 32767),
        scaled("i2", 0, 32767),
        scaled("i2", -1024, 3071),
        scaled("i1", -128, 127),
        scaled("i4", 0, 255),
        scaled("i4", 0, 5),
        scaled("i4", -(2**31), 2**31 - 1),
        scaled("f4", 0, 1),
        scaled("f4", 0, 0.01),
        scaled("f4", 0, 255),
        scaled("f4", 273.15, 310),
        scaled("f4", -1, 1),
        scaled("f4", -1e30, 1e30),
        scaled("f4", 0, 1e-30),
    ],
    ids=lambda values: f"{values.dtype} {values.min()}..{values.max()}" if isinstance(values, np.ndarray) else "",
)
def test_grey_of_any_depth_is_seen_from_black_to_white(values: npt.NDArray[Any], big_endian: bool) -> None:
    if values.dtype == np.uint32 and big_endian:
        pytest.skip("Pillow reads none of these")
    seen = greys(tiff(values, big_endian=big_endian)).astype(int)
    steps = (values.astype(float) - values.min()) / (float(values.max()) - float(values.min())) * 255
    assert np.abs(seen - steps).max() <= 2


def test_twelve_and_sixteen_bits_in_a_png_are_seen_as_bright_as_they_were_meant() -> None:
    for white in (255, 1023, 4095, 16383, 65535):
        # A picture without a black in it keeps its own.
        seen = greys(encoded(Image.fromarray(scaled("u2", white * 0.2, white * 0.8)), "PNG"))
        assert seen.min() == pytest.approx(51, abs=2) and seen.max() == pytest.approx(204, abs=2)


def test_one_pixel_that_is_too_bright_does_not_make_a_picture_black() -> None:
    values = scaled("u2", 0, 4095)
    values[7, 7] = 65535
    assert np.abs(greys(encoded(Image.fromarray(values), "PNG")).astype(int) - SHARES * 255)[:, 8:].max() <= 2


def test_numbers_that_are_not_finite_do_no_harm_unless_there_are_no_others() -> None:
    values = scaled("f4", 0, 1)
    values[:3, :3] = [[np.nan, np.inf, -np.inf]] * 3
    seen = greys(tiff(values)).astype(int)
    assert seen[0, :3].tolist() == [0, 255, 0]
    assert np.abs(seen - SHARES * 255)[3:].max() <= 1
    with pytest.raises(RowError, match="none of its pixels is a finite number"):
        open_image(tiff(np.full((8, 8), np.nan, "f4"))).decode()


def test_where_white_is_zero_a_picture_is_no_negative() -> None:
    assert np.abs(greys(tiff(scaled("u2", 65535, 0), photometric=0)) - SHARES * 255).max() <= 1
    assert np.abs(greys(tiff(scaled("u1", 255, 0), photometric=0)) - SHARES * 255).max() <= 1


@given(
    hnp.arrays(
        st.sampled_from(["u2", "u4", "i2", "i4", "f4"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
        fill=st.nothing() | st.just(0),
    )
)
def test_no_picture_comes_out_black_when_its_numbers_are_not(values: npt.NDArray[Any]) -> None:
    finite = values[np.isfinite(values)]
    if finite.size and (finite != 0).any():
        assert np.asarray(deep_to_rgb(values)).max() >= 60


def test_one_grey_of_sixteen_bits_can_be_transparent() -> None:
    values = scaled("u2", 0, 65535)
    values[:24] = 9
    seen = greys(
        png(
            *chunks(encoded(Image.fromarray(values), "PNG"))[:1],
            (b"tRNS", b"\0\x09"),
            *chunks(encoded(Image.fromarray(values), "PNG"))[1:],
        )
    )
    assert (seen[:24] == 255).all() and np.abs(seen[24:] - SHARES[24:] * 255).max() <= 1


def test_colours_of_sixteen_bits_are_as_bright_as_they_were_meant_or_refused() -> None:
    bright = np.dstack([scaled("u2", 0, 65535)] * 3)
    for bits in (8, 10, 12, 14, 16):
        values = bright >> (16 - bits)
        assert np.abs(greys(png_of(values, "RGB", 16)) - SHARES * 255).max() <= 1
        opaque = np.full_like(values[:, :, :1], 65535)
        assert np.abs(greys(png_of(np.dstack([values, opaque]), "RGBA", 16)) - SHARES * 255).max() <= 1
    for bits in (8, 10, 12, 14):
        with pytest.raises(RowError, match="16 bits a channel, but all values are below a quarter of the range"):
            open_image(tiff(bright >> (16 - bits), photometric=2)).decode()
    drawn = np.dstack([np.zeros_like(bright), np.where(SHARES > 0.5, 65535, 0)])
    assert greys(png_of(drawn, "RGBA", 16))[:, [0, -1]].tolist() == [[255, 0]] * 48


@pytest.mark.parametrize(
    "data",
    [
        tiff(np.dstack([scaled("u2", 0, 65535)] * 3), photometric=2, planes=True),
        tiff(scaled("f4", 0, 1), big_endian=True, compressed=True),
        tiff(scaled("i4", 0, 10**9), big_endian=True, compressed=True),
        tiff(scaled("i2", 0, 32767), big_endian=True, compressed=True),
        tiff(np.dstack([scaled("u1", 0, 255)] * 2), planes=True, compressed=True, more=[(338, 3, [2])]),
    ],
    ids=["planes of 16 bits", "packed big-endian floats", "packed big-endian 32 bits", "signed 16 bits", "grey, alpha"],
)
def test_a_tiff_that_would_come_out_as_noise_is_refused(data: bytes) -> None:
    with pytest.raises(RowError, match="a TIFF whose numbers cannot be read right"):
        open_image(data)


def test_tiffs_much_like_those_are_seen() -> None:
    ramp = SHARES * 255
    assert (
        np.abs(
            greys(tiff(np.dstack([scaled("u2", 0, 65535)] * 3), photometric=2, planes=True, compressed=True)) - ramp
        ).max()
        <= 1
    )
    assert np.abs(greys(tiff(np.dstack([scaled("u1", 0, 255)] * 3), photometric=2, planes=True)) - ramp).max() <= 1
    assert np.abs(greys(tiff(scaled("u2", 0, 65535), big_endian=True, compressed=True)) - ramp).max() <= 1
    assert np.abs(greys(tiff(scaled("f4", 0, 1), compressed=True)) - ramp).max() <= 1


# ---- colours


SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = icc(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.2, "Display P3 Gamut with sRGB Transfer")
SWAPPED = icc((SRGB[1], SRGB[0], SRGB[2]), 2.2, "sRGB with red and green swapped")
DARK_GREY = icc(None, 4.0, "Dark grey")


def seen_colour(image: Image.Image, form: str, profile: bytes) -> tuple[int, ...]:
    pixel = open_image(encoded(image, form, icc_profile=profile)).decode().getpixel((4, 4))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize(
    ("mode", "form"), [("RGB", "PNG"), ("RGB", "JPEG"), ("RGB", "WEBP"), ("RGB", "TIFF"), ("RGB", "AVIF"),
                       ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("RGBA", "AVIF"),
                       ("P", "PNG"), ("P", "TIFF")]
)  # fmt: skip
def test_an_embedded_profile_is_followed_in_every_mode(mode: str, form: str) -> None:
    image = Image.new("RGB", (16, 16), RED).convert(mode)
    red, green, blue = seen_colour(image, form, SWAPPED)
    assert green > 150 and red < 90 and blue < 90
    assert is_red(open_image(encoded(image, form, icc_profile=SWAPPED)).decode(colour_managed=False).getpixel((4, 4)))


@pytest.mark.parametrize(
    ("mode", "form"), [("L", "PNG"), ("L", "JPEG"), ("L", "TIFF"), ("LA", "PNG"), ("LA", "TIFF"), ("I;16", "PNG")]
)
def test_a_profile_for_grey_is_followed_in_every_mode(mode: str, form: str) -> None:
    grey = Image.new("L", (16, 16), 128)
    image = Image.fromarray(np.full((16, 16), 128 * 257, "u2")) if mode == "I;16" else grey.convert(mode)
    # 0.5 to the power of 4 is 0.0625 of the light, which is 71 in sRGB.
    assert seen_colour(image, form, DARK_GREY) == pytest.approx((71, 71, 71), abs=3)


def test_a_palette_with_transparency_has_its_colours_managed_before_it_is_seen_over_white() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 255, 255, *RED])
    image.paste(0, (0, 0, 8, 8))
    seen = open_image(encoded(image, "PNG", icc_profile=SWAPPED, transparency=0)).decode()
    assert seen.getpixel((2, 2)) == (255, 255, 255)
    half = Image.new("RGBA", (16, 16), (*RED, 128))
    red, green, _ = seen_colour(half, "PNG", SWAPPED)
    assert green > red + 50 and red > 100


def test_a_profile_is_known_by_what_it_does_and_not_by_its_name() -> None:
    red, green, blue = seen_colour(Image.new("RGB", (16, 16), (200, 80, 60)), "PNG", P3)
    # By hand, P3's matrix and a gamma of 2.2: more saturated in sRGB.
    assert (red, green, blue) == pytest.approx((218, 71, 50), abs=6)
    other = icc(SRGB, 2.2, "A monitor")
    assert seen_colour(Image.new("RGB", (16, 16), (200, 80, 60)), "PNG", other) == pytest.approx((200, 80, 60), abs=3)


def test_an_srgb_profile_changes_no_byte() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
    for form in ("PNG", "JPEG"):
        data = encoded(image, form, icc_profile=srgb)
        assert open_image(data).decode().tobytes() == open_image(data).decode(colour_managed=False).tobytes()


def test_what_is_kept_of_profiles_is_bounded() -> None:
    kept = colours._kept_transform
    large = P3 + bytes(5 << 20)
    large = struct.pack(">I", len(large)) + large[4:]
    before = kept.cache_info().currsize
    assert seen_colour(Image.new("RGB", (16, 16), (200, 80, 60)), "JPEG", P3)[0] > 205
    held = kept.cache_info().currsize
    assert (
        open_image(encoded(Image.new("RGB", (16, 16), (200, 80, 60)), "TIFF", icc_profile=large))
        .decode()
        .getpixel((0, 0))[0]
        > 205
    )  # type: ignore[index]
    assert kept.cache_info().currsize == held >= before
    assert kept.cache_parameters()["maxsize"] * colours._KEPT_PROFILE <= 32 << 20


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_profile_for_other_colours_than_the_pictures_is_ignored(mode: str) -> None:
    wrong = {"RGB": DARK_GREY, "L": b"", "CMYK": SWAPPED}[mode]
    data = encoded(two_colours().convert(mode), "TIFF", icc_profile=wrong)
    assert open_image(data).decode().tobytes() == open_image(data).decode(colour_managed=False).tobytes()


def test_a_broken_profile_is_ignored() -> None:
    data = encoded(two_colours(), "PNG", icc_profile=b"no profile at all")
    assert is_red(open_image(data).decode().getpixel((4, 4)))


def test_a_large_jpeg_is_decoded_smaller_but_keeps_its_displayed_size() -> None:
    data = encoded(picture(2048, 1024), "JPEG")
    opened = open_image(data)
    assert (opened.width, opened.height) == (2048, 1024)
    assert opened.decode(at_least=(256, 128)).size == (256, 128)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.IMAGE_EMPTY),
        (b"This is not a picture.", Code.IMAGE_UNREADABLE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", Code.IMAGE_UNREADABLE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Code.IMAGE_UNREADABLE),
    ],
)
def test_what_is_no_image_gets_a_code(data: bytes, code: Code) -> None:
    with pytest.raises(RowError) as fault:
        open_image(data)
    assert fault.value.code == code


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>", "web page"),
        (b"\xef\xbb\xbf<HTML><head></head></HTML>", "web page"),
        (b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>', "XML"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
        (b"\xff\n" + bytes(40), "JPEG XL"),
        (encoded(picture(), "JPEG2000"), "JPEG 2000"),
        (encoded(picture(), "ICO"), "ICO"),
        (encoded(picture(), "PPM"), "PPM"),
        (encoded(picture(), "PDF"), "PDF"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"PK\3\4" + bytes(40), "ZIP"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "video"),
        (b"\x1aE\xdf\xa3" + bytes(40), "video"),
    ],
)
def test_what_is_another_thing_than_an_image_is_called_by_its_name(data: bytes, told: str) -> None:
    with pytest.raises(RowError) as fault:
        open_image(data)
    assert fault.value.code == Code.IMAGE_UNREADABLE and told in fault.value.reason


@pytest.mark.parametrize("form", ["TIFF", "TIFF tiff_lzw", "TIFF tiff_adobe_deflate", "TIFF zstd", "WEBP"])
@pytest.mark.parametrize("missing", [1, 40, 400])
def test_a_file_whose_own_numbers_say_that_it_is_cut_short_is_truncated(form: str, missing: int) -> None:
    options = {"compression": form.split()[1]} if " " in form else {}
    data = encoded(Image.effect_noise((60, 60), 60).convert("RGB"), form.split()[0], **options)
    with pytest.raises(RowError) as fault:
        open_image(data[:-missing]).decode()
    assert fault.value.code == Code.IMAGE_TRUNCATED


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_without_its_directory_is_truncated(big: bool) -> None:
    data = tiff(np.full((40, 50), 7, np.uint8), big=big)
    # Its last entries no pixel needs.
    for end in (len(data) - 120, len(data) // 2, 20):
        with pytest.raises(RowError) as fault:
            open_image(data[:end]).decode()
        assert fault.value.code == Code.IMAGE_TRUNCATED


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP"])
def test_of_a_file_that_ends_in_its_header_it_is_said_what_it_begins_as(form: str) -> None:
    with pytest.raises(RowError) as fault:
        open_image(encoded(picture(), form)[:20])
    assert form in fault.value.reason and "cut short" in fault.value.reason


def test_the_same_file_is_refused_in_the_same_words() -> None:
    for data in (tiff(np.zeros((8, 8), "f8")), encoded(picture(), "TIFF")[:-1], b"no image", encoded(picture())[:30]):
        reasons = set()
        for _ in range(2):
            with pytest.raises(RowError) as fault:
                open_image(bytes(bytearray(data))).decode()
            reasons.add(fault.value.reason)
        assert len(reasons) == 1 and "0x" not in reasons.pop()


def test_a_tiff_that_begins_with_a_thumbnail_is_not_taken_for_the_picture() -> None:
    def pages(first: int) -> bytes:
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[ExifTags.Base.NewSubfileType] = first
        return encoded(picture(40, 20), "TIFF", save_all=True, append_images=[picture(400, 200)], tiffinfo=info)

    with pytest.raises(RowError) as fault:
        open_image(pages(1))
    assert fault.value.code == Code.IMAGE_UNREADABLE and "smaller copy" in fault.value.reason
    raw = tiff(np.zeros((8, 8), np.uint8), more=[(254, 4, [1]), (330, 4, [8])])
    with pytest.raises(RowError):
        open_image(raw)
    assert open_image(pages(2)).width == 40
    # What says so of the only picture there is means nothing.
    assert open_image(tiff(np.zeros((8, 8), np.uint8), more=[(254, 4, [1])])).width == 8


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_file_cut_short_is_rejected_and_one_with_something_behind_it_is_not(form: str) -> None:
    noise = Image.effect_noise((200, 200), 60).convert("RGB")
    data = encoded(noise, form)
    with pytest.raises(RowError) as fault:
        open_image(data[: len(data) * 2 // 3]).decode()
    assert fault.value.code in (Code.IMAGE_TRUNCATED, Code.IMAGE_UNREADABLE)
    assert open_image(data + b"trailing garbage" * 50).decode().width == 200


# ---- damage


def with_chunk(kind: bytes, body: bytes, *, behind: bool = False, damaged: bool = False) -> bytes:
    """`two_colours` as a PNG with one more chunk, before or behind its pixels; with a wrong checksum, if `damaged`."""
    parts = chunks(encoded(two_colours(), "PNG"))
    parts.insert(len(parts) - 1 if behind else 1, (kind, body))
    data = png(*parts)
    at = data.index(kind) + 4 + len(body)
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 4]) + data[at + 4 :] if damaged else data


LARGE = zlib.compress(bytes(5_000_000))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("kind", "body", "damaged"),
    [
        (b"zTXt", b"Comment\0\0" + LARGE, False),
        (b"iTXt", b"Comment\0\1\0\0\0" + LARGE, False),
        (b"zTXt", b"Comment\0\0not packed at all", False),
        (b"iTXt", b"\xff\xfe\xfd", False),
        (b"tEXt", b"Comment\0hello", True),
        (b"pHYs", b"\0", False),
        (b"gAMA", b"", False),
        (b"tIME", b"\0" * 7, True),
        (b"iCCP", b"name\0\0" + LARGE, False),
        (b"iCCP", b"name\0\x05" + LARGE, False),
        (b"iCCP", b"name", True),
        (b"cHRM", b"\0", False),
        (b"acTL", b"\0", False),
        (b"fcTL", b"\0" * 3, False),
        (b"fdAT", b"\0", False),
        (b"prIv", b"anything" * 9, True),
    ],
)
def test_a_png_with_an_odd_chunk_that_no_pixel_needs_is_seen(
    kind: bytes, body: bytes, damaged: bool, behind: bool
) -> None:
    check_two_colours(with_chunk(kind, body, behind=behind, damaged=damaged))


def test_a_large_profile_in_a_png_is_followed() -> None:
    large = SWAPPED + bytes(3 << 20)
    large = struct.pack(">I", len(large)) + large[4:]
    seen = open_image(with_chunk(b"iCCP", b"name\0\0" + zlib.compress(large))).decode()
    red, green, _ = seen.getpixel((4, 4))  # type: ignore[misc]
    assert green > 150 and red < 90


def test_a_png_without_its_end_is_seen_and_one_without_all_its_pixels_is_not() -> None:
    data = encoded(two_colours(), "PNG")
    check_two_colours(data[: data.index(b"IEND") - 4])
    check_two_colours(data[:-2])
    with pytest.raises(RowError) as fault:
        open_image(data[: data.index(b"IEND") - 9]).decode()
    assert fault.value.code == Code.IMAGE_TRUNCATED


@pytest.mark.parametrize("kind", [b"tRNS", b"eXIf", b"PLTE"])
def test_a_damaged_chunk_that_pixels_need_is_told_by_its_name(kind: bytes) -> None:
    with pytest.raises(RowError, match=f"the checksum of a chunk {kind.decode()} is wrong"):
        open_image(with_chunk(kind, b"\0" * 6, damaged=True))


def test_only_what_any_reader_shows_as_it_is_seen_here_is_portable() -> None:
    assert open_image(encoded(two_colours(), "PNG")).portable
    assert open_image(with_chunk(b"tEXt", b"Comment\0hello")).portable
    assert open_image(with_chunk(b"iCCP", b"name\0\0" + zlib.compress(P3))).portable
    assert not open_image(with_chunk(b"tEXt", b"Comment\0hello", damaged=True)).portable
    assert not open_image(with_chunk(b"zTXt", b"Comment\0\0" + LARGE)).portable
    assert not open_image(with_chunk(b"iCCP", b"name\0\0" + LARGE)).portable
    assert not open_image(turned("PNG", 6)).portable


DAMAGEABLE: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "PNG": {},
    "PNG palette": {},
    "PNG grey": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "AVIF": {},
}


@pytest.mark.parametrize("kind", DAMAGEABLE)
def test_what_pillow_alone_refuses_is_refused(kind: str) -> None:
    noise = Image.effect_noise((120, 90), 60).convert("RGB")
    image = noise.convert("P" if "palette" in kind else "L" if "grey" in kind else "RGB")
    form, rng = kind.split()[0], random.Random(kind)
    whole = encoded(image, form, **DAMAGEABLE[kind])
    refused = 0
    for number in range(120):
        damaged = bytearray(whole)
        if number % 3 == 0:
            # The header is left whole, so that it is the pixels that are damaged.
            damaged = damaged[: rng.randrange(len(whole) // 4, len(whole) - 60)]
        else:
            for _ in range(rng.randrange(1, 5)):
                damaged[rng.randrange(len(whole) // 4, len(whole) - 16)] ^= 1 << rng.randrange(8)
        try:
            Image.open(io.BytesIO(damaged), formats=(form,)).load()
            continue
        except Exception:
            refused += 1
        with pytest.raises(RowError):
            open_image(bytes(damaged)).decode(at_least=(30, 20))
    assert refused >= 10 or form == "BMP"


def rough(width: int = 400, height: int = 300) -> Image.Image:
    """A picture that is nowhere flat, and in the smallest JPEG has some kilobytes."""
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8))
    fine = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), int) + rng.normal(
        0, 8, (height, width, 1)
    )
    return Image.fromarray(fine.clip(0, 255).astype(np.uint8))


# What is done to a file, from a place on: bytes that never arrived, that were overwritten, that are left out.
DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "cut": lambda data, at: data[:at],
    "a tail of zeros": lambda data, at: data[:at] + bytes(len(data) - at),
    "a hole of zeros": lambda data, at: data[:at] + bytes(512) + data[at + 512 :],
    "a hole of ones": lambda data, at: data[:at] + b"\xff" * 512 + data[at + 512 :],
    "a part left out": lambda data, at: data[:at] + data[at + 512 :],
}
NOTICED: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "JPEG optimised": {"optimize": True},
    "JPEG progressive": {"progressive": True},
    "JPEG progressive, CMYK": {"progressive": True},
    "JPEG progressive, grey": {"progressive": True},
    "JPEG restarts": {"restart_marker_rows": 2},
    "JPEG CMYK": {},
    "JPEG grey": {},
    "PNG": {},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "AVIF": {},
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", NOTICED)
def test_damage_is_noticed_wherever_it_is_in_the_pixels(kind: str, damage: str) -> None:
    form, mode = kind.split()[0], "CMYK" if "CMYK" in kind else "L" if "grey" in kind else "RGB"
    whole = encoded(rough().convert(mode), form, **NOTICED[kind])
    good = np.asarray(open_image(whole).decode(), int)
    # The last scan of a progressive one only refines: what is damaged there is hardly seen, and not always noticed.
    seen_from = 0.02 if "progressive" in kind else 0.01
    accepted = 0
    for at in range(len(whole) // 3, len(whole) - 600, len(whole) // 40):
        try:
            seen = np.asarray(open_image(DAMAGES[damage](whole, at)).decode(), int)
        except RowError:
            continue
        accepted += bool((np.abs(seen - good).max(-1) > 24).mean() > seen_from)
    # Two in a hundred bytes FF may be followed by what makes sense of them; a checksum of 32 bits is never right.
    assert accepted <= (1 if damage == "a hole of ones" and form in ("JPEG", "TIFF", "AVIF") else 0)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}], ids=str
)
def test_a_jpeg_may_lack_its_end_marker_and_no_more(options: dict[str, Any], mode: str) -> None:
    whole = encoded(rough().convert(mode), "JPEG", **options)
    opened = open_image(whole)
    good = opened.decode().tobytes()
    assert opened.portable
    for missing in (1, 2):
        cut = open_image(whole[:-missing])
        assert cut.decode().tobytes() == good and not cut.portable
    for missing in (200, 2000, len(whole) // 2):
        with pytest.raises(RowError) as fault:
            open_image(whole[:-missing]).decode()
        assert fault.value.code == Code.IMAGE_TRUNCATED


@pytest.mark.parametrize("segment", [b"\xff\xfe\0\7hello", b"\xff\xe5\0\4ab", b"\xff" * 3, bytes(40)], ids=repr)
@pytest.mark.parametrize("progressive", [False, True])
def test_what_stands_between_the_data_of_a_jpeg_and_its_end_does_no_harm(progressive: bool, segment: bytes) -> None:
    whole = encoded(rough(), "JPEG", progressive=progressive)
    odd = open_image(whole[:-2] + segment + whole[-2:])
    assert odd.decode().tobytes() == open_image(whole).decode().tobytes()


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 8), (17, 33), (64, 64), (399, 301)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_no_whole_jpeg_is_taken_for_damaged(mode: str, size: tuple[int, int]) -> None:
    kinds: list[dict[str, Any]] = [{}, {"optimize": True}, {"restart_marker_blocks": 3}, {"progressive": True}]
    pictures = [Image.new("RGB", size, "white"), Image.new("RGB", size, (255, 0, 254)), picture(*size)]
    for image, options, quality, chroma in itertools.product(pictures, kinds, (10, 100), (0, 2)):
        data = encoded(image.convert(mode), "JPEG", quality=quality, subsampling=chroma, **options)
        for behind in (b"", b"garbage" * 30, bytes(100), data):
            assert open_image(data + behind).decode().size == size
            assert open_image(data + behind).decode(at_least=(1, 1)).width >= 1


def test_a_png_that_was_damaged_anywhere_in_its_pixels_is_refused() -> None:
    whole = encoded(Image.effect_noise((120, 90), 60), "PNG")
    start, end = whole.index(b"IDAT") + 4, whole.index(b"IEND") - 8
    for at in range(start, end, 97):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        with pytest.raises(RowError):
            open_image(bytes(damaged)).decode()


@pytest.mark.parametrize("when", ["opening", "decoding", "converting"])
@pytest.mark.parametrize("error", [MemoryError("no memory left"), OSError(24, "too many open files")], ids=repr)
def test_an_error_that_says_nothing_about_the_image_is_no_fault_of_the_row(
    when: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    patched = {"opening": (Image, "open"), "decoding": (ImageFile.ImageFile, "load"), "converting": (images, "to_rgb")}
    data = encoded(two_colours(), "JPEG")
    with monkeypatch.context() as patch:
        patch.setattr(*patched[when], fail)
        with pytest.raises(type(error)):
            open_image(data).decode()


# ---- one colour


def test_a_picture_of_one_colour_is_known_whatever_the_encoder_made_of_it() -> None:
    for form in ("JPEG", "PNG", "WEBP", "AVIF"):
        data = encoded(Image.new("RGB", (300, 200), (90, 17, 200)), form)
        assert colours.is_one_colour(open_image(data).decode())
    dot = Image.new("RGB", (300, 200), "white")
    assert colours.is_one_colour(dot)
    dot.putpixel((101, 7), (255, 250, 255))
    assert not colours.is_one_colour(dot) and not colours.is_one_colour(two_colours())


# ---- sizes


@pytest.mark.parametrize("size", [(10, 2001), (2001, 10), (1, 201), (65000, 300)])
def test_an_image_that_no_model_takes_for_its_shape_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(RowError, match="more than 200 times the shorter one") as fault:
        open_image(encoded(Image.new("1", size), "PNG"))
    assert fault.value.code == Code.IMAGE_TOO_THIN


@pytest.mark.parametrize("size", [(10, 2000), (1, 1), (200, 1)])
def test_an_image_that_is_thin_is_seen(size: tuple[int, int]) -> None:
    assert open_image(encoded(Image.new("RGB", size), "PNG")).decode().size == size


def test_an_avif_that_is_too_large_for_its_decoder_is_too_large() -> None:
    data = encoded(two_colours(), "AVIF")
    at = data.index(b"ispe") + 8
    with pytest.raises(RowError, match="17000 x 17000 pixels") as fault:
        open_image(data[:at] + struct.pack(">II", 17000, 17000) + data[at + 8 :])
    assert fault.value.code == Code.IMAGE_TOO_LARGE


def test_what_is_set_up_for_pictures_is_put_back() -> None:
    def state() -> tuple[object, ...]:
        core = Image.core
        return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, core.get_blocks_max(), cv2.getNumThreads()  # type: ignore[attr-defined]

    before = state()
    with pytest.raises(ZeroDivisionError), set_up_for_pictures():
        assert state()[:2] == (None, False) and state()[3] == 1
        raise ZeroDivisionError
    assert state() == before


def test_a_small_file_that_claims_to_be_huge_is_not_decoded() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = png((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    with pytest.raises(RowError) as fault:
        open_image(data)
    assert fault.value.code == Code.IMAGE_TOO_LARGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"])
def test_nothing_but_codes_comes_out_of_damaged_files(form: str) -> None:
    rng = random.Random(form)
    whole = HEIC.read_bytes() if form == "HEIC" else encoded(picture(48, 32), form)
    for _ in range(3000):
        damaged = bytearray(whole[: rng.randrange(1, len(whole) + 1)])
        for _ in range(rng.randrange(6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            seen = open_image(bytes(damaged), heic=True).decode(at_least=(256, 171))
        except RowError:
            continue
        assert seen.mode == "RGB"
