"""How good the captions of a published partition are, held against the truth about its scenes.

python -m demo_model.evaluate --truth FILE --published FOLDER
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo_model.world import COLOURS, SHAPES, SIZES, TEXTURES
from regioncap.storage.local import LocalStore
from regioncap.warehouse.reader import open_build

ATTRIBUTES = ("size", "texture", "colour", "shape")
GROUPS = {"1 to 6": range(1, 7), "7 to 10": range(7, 11)}

_CAPTION = re.compile(
    rf"an? (?P<size>{'|'.join(SIZES)}) (?P<texture>{'|'.join(TEXTURES)}) "
    rf"(?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})"
)


@dataclass
class Score:
    """Counts over the regions of a group of images; `right` by attribute, `all_right` for all four at once.

    A region is `bound` if what is said of it fits it at least as well as any other region of its image: no other region
    has more of the four attributes in common with the caption, and its own has at least one.
    """

    images: int = 0
    missing_images: int = 0
    regions: int = 0
    right: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ATTRIBUTES, 0))
    all_right: int = 0
    bound: int = 0


def attributes_of(caption: str) -> tuple[str, ...] | None:
    """Size, texture, colour and shape of a caption of the world; None if it is none."""
    match = _CAPTION.fullmatch(caption.strip().rstrip(".").lower())
    return tuple(match[name] for name in ATTRIBUTES) if match else None


def score(truth: Mapping[str, list[str]], records: Iterable[Mapping[str, Any]]) -> dict[str, Score]:
    """Score published records against the truth, by how many regions an image has.

    `truth` maps an image's path to the captions of its boxes, in order. An image that was not published, a region that
    was not described, and a caption that is none of the world's count as wrong in everything.
    """
    told = {
        record["image"]: {region["box_index"]: region["caption"] for region in record["regions"]} for record in records
    }
    scores = {name: Score() for name in GROUPS}
    for image, captions in truth.items():
        group = next((name for name, sizes in GROUPS.items() if len(captions) in sizes), None)
        if group is None:
            continue
        result = scores[group]
        result.images += 1
        result.missing_images += image not in told
        things = [attributes_of(caption) or () for caption in captions]
        for index, thing in enumerate(things):
            result.regions += 1
            said = attributes_of(told.get(image, {}).get(index, ""))
            if said is None:
                continue
            for name, is_right in zip(ATTRIBUTES, _equal(said, thing), strict=True):
                result.right[name] += is_right
            result.all_right += all(_equal(said, thing))
            fits = [sum(_equal(said, other)) for other in things]
            result.bound += fits[index] > 0 and fits[index] == max(fits)
    return scores


def _equal(said: tuple[str, ...], thing: tuple[str, ...]) -> list[bool]:
    return [a == b for a, b in zip(said, thing, strict=True)]


def published_records(folder: Path) -> Iterable[dict[str, Any]]:
    """The records of the current build in a copy of a partition."""
    return open_build(LocalStore(folder)).records()


def table(scores: Mapping[str, Score]) -> Table:
    """The scores as a table of shares."""
    drawn = Table(title="Regions right, as a share", title_justify="left")
    for heading in ("regions", "images", "not published", "described", *ATTRIBUTES, "all four", "bound"):
        drawn.add_column(heading, justify="right")
    for name, result in scores.items():
        if result.regions:
            shares = [*(result.right[attribute] for attribute in ATTRIBUTES), result.all_right, result.bound]
            drawn.add_row(
                name,
                str(result.images),
                str(result.missing_images),
                str(result.regions),
                *(f"{share / result.regions:.4f}" for share in shares),
            )
    return drawn


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Score a published partition against the truth.")
    parser.add_argument("--truth", type=Path, required=True, help="the truth that demo_model.drops wrote")
    parser.add_argument("--published", type=Path, required=True, help="a copy of the partition, with _manifest.json")
    arguments = parser.parse_args()
    truth = json.loads(arguments.truth.read_text())
    Console(width=120).print(table(score(truth, published_records(arguments.published))))


if __name__ == "__main__":
    main()
