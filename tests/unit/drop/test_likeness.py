"""Perceptual hashes: the same picture saved in another way has nearly the same, other pictures have others."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from demo_model.world import generator, make_scene
from regioncap.drop.likeness import perceptual_hash
from regioncap.report.look_alikes import MOST_BITS
from tests.builders import ROOT, encoded

PHOTOS = sorted((ROOT / "include" / "drops" / "2026-10-07").glob("*.jpg"))


def photo(number: int) -> Image.Image:
    return Image.open(PHOTOS[number]).convert("RGB")


def distance(one: Image.Image, other: Image.Image) -> int:
    """In how many bits the hashes of two images differ."""
    hashes = perceptual_hash(one), perceptual_hash(other)
    return (int(str(hashes[0]), 16) ^ int(str(hashes[1]), 16)).bit_count()


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, quality=quality))).convert("RGB")


SAVED_ANEW: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG": lambda image: as_jpeg(image, 85),
    "a poor JPEG": lambda image: as_jpeg(image, 30),
    "half its size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a quarter of its size": lambda image: image.resize((image.width // 4, image.height // 4)),
    "half its size and a JPEG": lambda image: as_jpeg(image.resize((image.width // 2, image.height // 2)), 60),
    "a little stretched": lambda image: image.resize((image.width, image.height * 9 // 10)),
    "in grey": lambda image: image.convert("L").convert("RGB"),
    "with more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.1),
}


@pytest.mark.parametrize("number", range(len(PHOTOS)))
@pytest.mark.parametrize("how", SAVED_ANEW)
def test_a_picture_saved_in_another_way_is_the_same(how: str, number: int) -> None:
    image = photo(number)
    assert distance(image, SAVED_ANEW[how](image)) <= MOST_BITS


def test_other_pictures_are_far_from_the_same() -> None:
    scenes = [make_scene(generator("sample", 5, index), 1 + index % 9).image for index in range(12)]
    images = [*map(photo, range(len(PHOTOS))), *scenes]
    least = min(distance(one, other) for at, one in enumerate(images) for other in images[:at])
    assert least > 3 * MOST_BITS


def test_a_turned_or_mirrored_picture_is_another() -> None:
    image = photo(0)
    assert distance(image, image.transpose(Image.Transpose.ROTATE_90)) > 3 * MOST_BITS
    assert distance(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 3 * MOST_BITS


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (120, 90, 200)])
def test_where_nothing_is_to_be_seen_there_is_no_hash(colour: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(1).integers(-2, 3, (300, 400, 1))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    assert perceptual_hash(Image.new("RGB", (400, 300), colour)) is None
    assert perceptual_hash(Image.fromarray(pixels)) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2), (63, 65), (4000, 20)])
def test_images_of_any_shape_have_one(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    found = perceptual_hash(Image.fromarray(pixels))
    assert found is None or len(bytes.fromhex(found)) == 32
