"""The small synthetic world that the demo model knows: scenes of coloured, textured shapes, with the truth about them.

Needs only Pillow and NumPy. The same seed gives the same scene.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 40),
    "orange": (245, 138, 30),
    "yellow": (246, 222, 48),
    "green": (46, 150, 66),
    "blue": (36, 90, 210),
    "purple": (138, 56, 176),
    "pink": (246, 150, 196),
    "black": (28, 28, 30),
}
TEXTURES = ("solid", "striped", "dotted")
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
# An object's side as a share of sqrt(width * height) of its scene; the gap between the two keeps them apart.
SIZES: dict[str, tuple[float, float]] = {"small": (0.125, 0.155), "large": (0.215, 0.29)}

MAX_REGIONS = 10
_CANVAS = (256, 640)
_MAX_ASPECT = 1.6
# Objects keep this distance (as a share of sqrt(width * height)), so that there is room for tags.
_GAP = 0.035
_SUPERSAMPLING = 2
# The rim of a textured thing, as a share of its side.
_RIM = 0.04

# What a seed is for is part of the seed, so scenes for one purpose never turn up in another.
PURPOSES = ("train", "evaluate", "sample")


@dataclass(frozen=True)
class Thing:
    """An object of a scene. `rect` is its (x, y, width, height) in pixels of the scene."""

    size: str
    texture: str
    colour: str
    shape: str
    rect: tuple[float, float, float, float]

    @property
    def caption(self) -> str:
        """What there is to say of it: one of 288 captions."""
        return f"a {self.size} {self.texture} {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A picture, its described things in the order of their regions, and a box [x, y, w, h] in pixels for each.

    `outlines` are the things' own, (n, 2) points in pixels of the picture.
    """

    image: Image.Image
    things: list[Thing]
    boxes: list[list[int]]
    outlines: list[np.ndarray]


def generator(purpose: str, seed: int, index: int) -> np.random.Generator:
    """The random numbers of one scene: number `index` of the series `seed`, for one of `PURPOSES`."""
    return np.random.default_rng([PURPOSES.index(purpose), seed, index])


def make_scene(rng: np.random.Generator, regions: int, *, plain: bool = False) -> Scene:
    """Draw a scene with `regions` described things, and some that are not described.

    With `plain`, the background is even, all things are large and described, and there are few enough for that: a
    scene whose things can be found by their contours. Fewer things than asked for are placed where no room is left.
    """
    width, height = _canvas(rng)
    unit = math.sqrt(width * height)
    image = _background(rng, width, height, plain)
    distractors = 0 if plain else int(rng.integers(0, 4)) if regions <= 6 else int(rng.integers(0, 2))
    rects: list[tuple[float, float, float, float]] = []
    things: list[Thing] = []
    outlines: list[np.ndarray] = []
    for number in range(regions + distractors):
        # In a crowd most things have to be small to fit.
        large = plain or rng.random() < (0.5 if regions <= 4 else 0.3 if regions <= 6 else 0.15)
        thing = _place(rng, "large" if large else "small", rects, width, height, unit)
        if thing is None:
            continue
        rects.append(thing.rect)
        outline = _draw(image, thing, rng)
        if number < regions:
            things.append(thing)
            outlines.append(outline)
    boxes = [_box(rng, thing.rect, width, height) for thing in things]
    return Scene(image, things, boxes, outlines)


def _canvas(rng: np.random.Generator) -> tuple[int, int]:
    longer = int(rng.integers(_CANVAS[0], _CANVAS[1] + 1))
    shorter = round(longer / rng.uniform(1.0, _MAX_ASPECT))
    return (longer, shorter) if rng.random() < 0.6 else (shorter, longer)


def _background(rng: np.random.Generator, width: int, height: int, plain: bool) -> Image.Image:
    """A soft, pale gradient between two colours, with some grain."""
    if plain:
        pale = rng.integers(215, 245, size=3)
        return Image.new("RGB", (width, height), tuple(int(channel) for channel in pale))
    grey = rng.uniform(130, 235, size=(2, 2, 1))
    corners = np.clip(grey + rng.uniform(-18, 18, size=(2, 2, 3)), 0, 255).astype(np.uint8)
    image = Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(1, 7))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _place(
    rng: np.random.Generator,
    size: str,
    taken: list[tuple[float, float, float, float]],
    width: int,
    height: int,
    unit: float,
) -> Thing | None:
    """A new thing at a place that is free, or None where none was found."""
    for attempt in range(60):
        chosen = size if attempt < 30 else "small"
        side = rng.uniform(*SIZES[chosen]) * unit
        if side > 0.9 * min(width, height):
            continue
        margin = 0.01 * unit
        x, y = rng.uniform(margin, width - side - margin), rng.uniform(margin, height - side - margin)
        gap = _GAP * unit
        if all(
            x + side + gap < left or left + w + gap < x or y + side + gap < top or top + h + gap < y
            for left, top, w, h in taken
        ):
            return Thing(
                size=chosen,
                texture=str(rng.choice(TEXTURES)),
                colour=str(rng.choice(list(COLOURS))),
                shape=str(rng.choice(SHAPES)),
                rect=(x, y, side, side),
            )
    return None


def _box(rng: np.random.Generator, rect: tuple[float, float, float, float], width: int, height: int) -> list[int]:
    """A box around a thing as an annotator would draw it: a little too large on each side."""
    x, y, w, h = rect
    left, top, right, bottom = rng.uniform(0.0, 0.09, size=4) * w
    x0, y0 = max(0, math.floor(x - left)), max(0, math.floor(y - top))
    x1, y1 = min(width, math.ceil(x + w + right)), min(height, math.ceil(y + h + bottom))
    return [x0, y0, x1 - x0, y1 - y0]


def _draw(image: Image.Image, thing: Thing, rng: np.random.Generator) -> np.ndarray:
    """Draw a thing, smoothly: masks are drawn larger and scaled down. Returns its outline in pixels, (n, 2)."""
    x, y, side, _ = thing.rect
    base = np.clip(np.array(COLOURS[thing.colour]) + rng.integers(-10, 11, size=3), 0, 255)
    x0, y0 = math.floor(x), math.floor(y)
    pixels = math.ceil(side) + 1
    big = pixels * _SUPERSAMPLING
    outline = _outline(thing.shape, rng.uniform(-10, 10))
    points = [((x - x0 + side * px) * _SUPERSAMPLING, (y - y0 + side * py) * _SUPERSAMPLING) for px, py in outline]
    mask = Image.new("L", (big, big), 0)
    ImageDraw.Draw(mask).polygon(points, fill=255)
    fill = Image.new("RGB", (big, big), tuple(int(channel) for channel in base))
    if thing.texture != "solid":
        # A rim in the thing's own colour keeps its shape readable.
        inside = mask.copy()
        rim = round(2 * _RIM * side * _SUPERSAMPLING)
        ImageDraw.Draw(inside).line([*points, points[0]], fill=0, width=rim, joint="curve")
        pattern = _pattern(thing.texture, big, side * _SUPERSAMPLING, rng)
        light = Image.new("RGB", (big, big), _pattern_colour(base))
        both = Image.fromarray(np.minimum(np.asarray(inside), np.asarray(pattern)))
        fill.paste(light, mask=both)
    size = (pixels, pixels)
    image.paste(fill.resize(size, Image.Resampling.BOX), (x0, y0), mask.resize(size, Image.Resampling.BOX))
    return np.array(outline) * side + (x, y)


def _pattern_colour(base: np.ndarray) -> tuple[int, int, int]:
    """White on dark things, a dark brown-grey on pale ones."""
    return (250, 250, 248) if base @ (0.299, 0.587, 0.114) < 150 else (70, 60, 60)


def _pattern(texture: str, pixels: int, side: float, rng: np.random.Generator) -> Image.Image:
    """Diagonal stripes, or a grid of dots: about four periods across the thing."""
    period = side / rng.uniform(3.6, 4.6)
    rows, columns = np.mgrid[0:pixels, 0:pixels]
    shift = rng.uniform(0, 1, size=2)
    if texture == "striped":
        direction = 1 if rng.random() < 0.5 else -1
        wave = ((rows + direction * columns) / (period * math.sqrt(2)) + shift[0]) % 1.0
        on = wave < 0.45
    else:
        across = (columns / period + shift[0]) % 1.0 - 0.5
        down = (rows / period + shift[1]) % 1.0 - 0.5
        on = across**2 + down**2 < 0.32**2
    return Image.fromarray((on * 255).astype(np.uint8))


def _outline(shape: str, degrees: float) -> list[tuple[float, float]]:
    """The shape's outline in a unit square, turned by a few degrees and fitted into the square again."""
    points = np.array(_unturned(shape)) - 0.5
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = points @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    fitted = (turned - (low + high) / 2) / (high - low).max() + 0.5
    return [(float(x), float(y)) for x, y in fitted]


@lru_cache
def _unturned(shape: str) -> list[tuple[float, float]]:
    if shape == "square":
        return [(0, 0), (1, 0), (1, 1), (0, 1)]
    if shape == "triangle":
        return [(0.5, 0.0), (1.0, 0.95), (0.0, 0.95)]
    if shape == "cross":
        a, b = 0.34, 0.66
        return [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
    steps = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    if shape == "circle":
        return [(0.5 + 0.5 * math.cos(t), 0.5 + 0.5 * math.sin(t)) for t in steps]
    if shape == "heart":
        # The usual parametric heart curve, y downwards.
        return [
            (
                0.5 + math.sin(t) ** 3 / 2,
                0.45 - (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 34,
            )
            for t in steps
        ]
    if shape == "star":
        radii = [0.5 if corner % 2 == 0 else 0.2 for corner in range(10)]
        angles = [-math.pi / 2 + corner * math.pi / 5 for corner in range(10)]
        return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
    raise ValueError(f"unknown shape {shape!r}")
