"""Opening images: what a person sees, whatever the file is; nothing but a code for what is no image."""

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.images import open_image
from tests.builders import ROOT, encoded, picture

RED, BLUE = (220, 20, 20), (20, 20, 220)


def two_colours() -> Image.Image:
    """Red at the top left, blue elsewhere; 40 x 20."""
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 20, 10))
    return image


def is_red(pixel: object) -> bool:
    assert isinstance(pixel, tuple)
    return bool(pixel[0] > 150 and pixel[2] < 100)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_seen_upright_whatever_its_exif_orientation(orientation: int) -> None:
    # What has to be done to the upright picture to store it with each orientation.
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](two_colours())
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(encoded(stored, "JPEG", exif=exif, quality=95))
    assert (opened.width, opened.height) == (40, 20)
    seen = opened.decode()
    assert seen.size == (40, 20)
    assert is_red(seen.getpixel((4, 4)))
    assert not is_red(seen.getpixel((35, 4)))
    assert not is_red(seen.getpixel((4, 16)))


# Pillow can read HEIC with a decoder beside it, but not write it.
HEIC = ROOT / "tests" / "data" / "two_colours.heic"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_supported_format_opens(form: str) -> None:
    seen = open_image(encoded(two_colours(), form)).decode()
    assert seen.mode == "RGB" and seen.size == (40, 20)
    assert is_red(seen.getpixel((4, 4)))


def test_heic_opens() -> None:
    seen = open_image(HEIC.read_bytes()).decode()
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


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    image = Image.fromarray(np.full((8, 8), 0x8000, dtype=np.uint16))
    assert open_image(encoded(image, "PNG")).decode().getpixel((0, 0)) == (128, 128, 128)


def test_an_embedded_profile_is_followed_unless_told_otherwise() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(two_colours(), "PNG", icc_profile=lab)
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
    with pytest.raises(RowFault) as fault:
        open_image(data)
    assert fault.value.code == code


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_file_cut_short_is_rejected_and_one_with_something_behind_it_is_not(form: str) -> None:
    noise = Image.effect_noise((200, 200), 60).convert("RGB")
    data = encoded(noise, form)
    with pytest.raises(RowFault) as fault:
        open_image(data[: len(data) * 2 // 3]).decode()
    assert fault.value.code in (Code.IMAGE_TRUNCATED, Code.IMAGE_UNREADABLE)
    assert open_image(data + b"trailing garbage" * 50).decode().width == 200


def test_a_small_file_that_claims_to_be_huge_is_not_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(RowFault) as fault:
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
            seen = open_image(bytes(damaged)).decode(at_least=(256, 171))
        except RowFault:
            continue
        assert seen.mode == "RGB"
