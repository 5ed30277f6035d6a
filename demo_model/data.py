"""Training data: scenes of the world, marked by RegionCap's own drawing, kept as JPEGs with the truth beside them.

python -m demo_model.data --out DIR --images 60000
"""

import argparse
import io
import multiprocessing
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from demo_model.world import COLOURS, MAX_REGIONS, SHAPES, SIZES, TEXTURES, Thing, generator, make_scene
from regioncap.marks.palette import contrast
from regioncap.marks.pieces import Mark, Piece, Scale, tags
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES, MarkStyle
from regioncap.marks.view import JPEG_QUALITY, crop_view, encode, mark, seen_scale
from regioncap.regions.boxes import Box

CHUNK = 500

_PROFILE = PROFILES["demo"]
_DEFAULT = MarkStyle()
# The share of images whose regions are marked by their own outlines.
_CONTOURED = 0.1
# The share of pictures that are so poor that shapes are hard to tell: where labels are worth something.
_POOR = 0.2


@dataclass(frozen=True)
class Sample:
    """A marked image as the model sees it, 256 x 256, a close-up of one region, and the truth about its n regions.

    `boxes` is an (n, 4) array of x0, y0, x1, y1 in the marked image's pixels; `attributes` is an (n, 4) array of
    indices into SIZES, TEXTURES, COLOURS and SHAPES. `crop` shows region `asked` (1-based), its box in there being
    `close_up_box`. `poor`: the picture is so bad that shapes are hard to tell.
    """

    jpeg: bytes
    captions: list[str]
    boxes: np.ndarray
    attributes: np.ndarray
    asked: int
    crop: bytes
    close_up_box: Box
    poor: bool


def attributes(thing: Thing) -> list[int]:
    """A thing's size, texture, colour and shape as indices."""
    return [
        list(SIZES).index(thing.size),
        TEXTURES.index(thing.texture),
        list(COLOURS).index(thing.colour),
        SHAPES.index(thing.shape),
    ]


def make_sample(seed: int, index: int) -> Sample:
    """Sample number `index`: most have the default marks, the others vary these and the JPEG quality."""
    rng = generator("train", seed, index)
    few = rng.random() < 0.55
    regions = int(rng.integers(1, 7)) if few else int(rng.integers(7, MAX_REGIONS + 1))
    scene = make_scene(rng, regions)
    poor = rng.random() < _POOR
    image = _made_poor(scene.image, rng) if poor else _as_uploaded(scene.image, rng)
    varied = rng.random() < 0.3
    style = _varied_style(rng) if varied else _DEFAULT
    boxes = {region: (x, y, x + w, y + h) for region, (x, y, w, h) in enumerate(scene.boxes, start=1)}
    if rng.random() < _CONTOURED:
        shapes = {
            region: (outline - (x, y)) / (w, h)
            for region, (outline, (x, y, w, h)) in enumerate(zip(scene.outlines, scene.boxes, strict=True), start=1)
        }
        style = replace(style, pieces=(contours(shapes), tags))
    asked = int(rng.integers(1, len(boxes) + 1))
    marked = mark(image, image.size, boxes, _PROFILE, style)
    close, close_box = crop_view(image, image.size, asked, boxes[asked], _PROFILE, style)
    quality = int(rng.integers(80, 98)) if varied else JPEG_QUALITY
    scale = seen_scale(*image.size, _PROFILE)
    return Sample(
        jpeg=encode(marked, quality),
        captions=[thing.caption for thing in scene.things],
        boxes=np.array(list(boxes.values()), dtype=np.float32) * scale,
        attributes=np.array([attributes(thing) for thing in scene.things], dtype=np.int64),
        asked=asked,
        crop=encode(close, quality),
        close_up_box=close_box,
        poor=poor,
    )


def _varied_style(rng: np.random.Generator) -> MarkStyle:
    """Mostly frames, some of the other marks; tags and lines of other sizes than the default ones."""
    style = STYLES[str(rng.choice(["box", "corners", "spotlight"], p=[0.8, 0.1, 0.1]))]
    tag, line = rng.uniform(0.065, 0.11), rng.uniform(0.004, 0.013)
    return replace(style, tag_scale=tag, least_tag=12, line_scale=line)


def contours(shapes: Mapping[int, np.ndarray]) -> Piece:
    """A piece that draws each region's own outline, in its colour and with halos, instead of a frame.

    `shapes` maps region numbers to outlines, (n, 2) points as shares of the region's box.
    """

    def draw(image: Image.Image, marks: Sequence[Mark], scale: Scale) -> None:
        pixels = np.array(image)
        for each in marks:
            x0, y0, x1, y1 = each.rect
            points = np.rint(shapes[each.region] * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.int32)
            thing = cv2.fillPoly(np.zeros(pixels.shape[:2], np.uint8), [points], 1)
            ink = contrast(each.colour)
            grown = scale.line + scale.halo
            for by, colour in ((grown + scale.halo, ink), (grown, each.colour), (scale.halo, ink)):
                disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
                pixels[(cv2.dilate(thing, disc) > 0) & (thing == 0)] = colour
        image.paste(Image.fromarray(pixels))

    return draw


def _as_uploaded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Half of the pictures were JPEGs before RegionCap saw them."""
    if rng.random() < 0.5:
        return image
    return as_jpeg(image, int(rng.integers(80, 96)))


def _made_poor(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """As enlarged from a picture of few pixels, or as a JPEG of the lowest qualities."""
    if rng.random() < 0.6:
        return of_few_pixels(image, int(rng.integers(6, 48)))
    return as_jpeg(image, int(rng.integers(1, 8)))


def of_few_pixels(image: Image.Image, longer: int) -> Image.Image:
    """The image as enlarged from one whose longer side has so many pixels."""
    few = longer / max(image.size)
    small = image.resize([max(1, round(side * few)) for side in image.size], Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image as a JPEG of this quality shows it."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue())).convert("RGB")


def write_chunk(task: tuple[Path, int, int]) -> Path:
    """Write samples [CHUNK * number, CHUNK * (number + 1)) unless they are there already."""
    folder, seed, number = task
    path = folder / f"{seed}-{number:05d}.pickle"
    if not path.exists():
        samples = [make_sample(seed, index) for index in range(CHUNK * number, CHUNK * (number + 1))]
        partial = path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(samples))
        partial.rename(path)
    return path


def main() -> None:
    """Render training data on all cores."""
    parser = argparse.ArgumentParser(description="Render training data for the demo model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the chunks")
    parser.add_argument("--images", type=int, default=60_000, help="how many images")
    parser.add_argument("--seed", type=int, default=1, help="which series of scenes")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    chunks = -(-arguments.images // CHUNK)
    tasks = [(arguments.out, arguments.seed, number) for number in range(chunks)]
    with multiprocessing.Pool() as pool:
        for done, _ in enumerate(pool.imap_unordered(write_chunk, tasks), start=1):
            print(f"{done * CHUNK:,} of {chunks * CHUNK:,} images rendered", flush=True)


if __name__ == "__main__":
    # Through the module's own name: samples are pickled under the name of the module they come from.
    from demo_model import data

    data.main()
