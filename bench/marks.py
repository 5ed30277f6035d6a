"""How much tags hide, and whether each is told to be its own region's, beside another annotator's labels.

    python -m bench.marks [--layouts FILE] [--json FILE] [--seed N]

Layouts as for `bench.boxes`. For at most 10 and at most 50 regions an image, at the size that a model of the profile
`generic` sees, as shares of all regions: *hidden*: half or more of it lies under tags; *stray*: another region's border
is nearer to the tag's centre than its own; *overlapping*: its tag overlaps another one. Beside them the labels of
supervision's annotator, with and without its smart positions, where that package is installed: it is a part of none of
RegionCap's environments (`pip install supervision` into a copy of one).
"""

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.boxes import Layout, drawn, read_layouts
from regioncap.marks.labels import Rect, strays
from regioncap.marks.pieces import tag_places
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES, layout
from regioncap.regions.boxes import MIN_SIDE_SEEN, Box

MOST = (10, 50)

# From an image's (width, height) and its boxes to the tags' places, in pixels.
Placer = Callable[[tuple[int, int], dict[int, Box]], Sequence[Rect]]


def ours(frame: tuple[int, int], boxes: dict[int, Box]) -> Sequence[Rect]:
    """As every mark style places tags."""
    marks, scale = layout(frame, boxes, STYLES["box"])
    return tag_places(marks, scale, frame)


def supervisions(smart: bool) -> Placer | None:
    """As supervision's label annotator does (0.31), with its own sizes; None where it is not installed."""
    try:
        import supervision as sv  # type: ignore[import-not-found] # not a part of any environment of RegionCap's
    except ImportError:
        return None

    def place(frame: tuple[int, int], boxes: dict[int, Box]) -> Sequence[Rect]:
        annotator = sv.LabelAnnotator(smart_position=smart)
        corners = np.array(list(boxes.values()), dtype=float)
        found = sv.Detections(xyxy=corners, class_id=np.zeros(len(boxes), dtype=int))
        labels = [str(region) for region in boxes]
        properties = annotator._get_label_properties(found, labels)
        if smart:
            properties = annotator._adjust_labels_in_frame(frame, labels, properties)
        return [tuple(round(float(value)) for value in row[:4]) for row in properties]  # type: ignore[misc]

    return place


@dataclass
class Figures:
    """Shares of the regions, and milliseconds an image."""

    hidden: float
    stray: float
    overlapping: float
    milliseconds: float


def seen(item: Layout, most: int) -> tuple[tuple[int, int], dict[int, Box]]:
    """An image as the model sees it, and its regions, as the render step chooses them."""
    frame = PROFILES["generic"].size(*item.size)
    across, down = frame[0] / item.size[0], frame[1] / item.size[1]
    boxes = [(x * across, y * down, (x + w) * across, (y + h) * down) for x, y, w, h in item.boxes]
    clipped = [(max(0.0, x0), max(0.0, y0), min(frame[0], x1), min(frame[1], y1)) for x0, y0, x1, y1 in boxes]
    usable = [box for box in clipped if min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE_SEEN]
    return frame, dict(enumerate(usable[:most], start=1))


def measure(layouts: Sequence[Layout], most: int, place: Placer) -> Figures:
    """The figures of one way to place tags."""
    regions = hidden = stray = overlapping = 0
    seconds = []
    for item in layouts:
        frame, boxes = seen(item, most)
        if not boxes:
            continue
        started = time.perf_counter()
        tags = place(frame, boxes)
        seconds.append(time.perf_counter() - started)
        rects = [(math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)) for x0, y0, x1, y1 in boxes.values()]
        regions += len(rects)
        hidden += sum(share >= 0.5 for share in covered_shares(frame, rects, tags))
        stray += len(strays(rects, tags))
        overlapping += sum(any(_overlap(tag, other) for other in tags if other is not tag) for tag in tags)
    return Figures(hidden / regions, stray / regions, overlapping / regions, 1000 * statistics.mean(seconds))


def covered_shares(frame: tuple[int, int], rects: Sequence[Rect], tags: Sequence[Rect]) -> list[float]:
    """How much of each region lies under tags, which may overlap and be partly outside of the frame."""
    under = np.zeros(frame[::-1], dtype=bool)
    for x0, y0, x1, y1 in tags:
        under[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    return [float(under[y0:y1, x0:x1].mean()) for x0, y0, x1, y1 in rects]


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=Path, help="layouts to mark, else they are drawn by chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    layouts = read_layouts(arguments.layouts) if arguments.layouts else drawn(300, arguments.seed)
    random.Random(arguments.seed).shuffle(layouts)
    table = Table("tags", "regions at most", "hidden", "stray", "overlapping", "ms an image")
    found: dict[str, float] = {}
    placers: dict[str, Placer | None] = {
        "RegionCap": ours,
        "supervision": supervisions(False),
        "supervision, smart": supervisions(True),
    }
    for name, place in placers.items():
        if place is None:
            table.add_row(name, "", "not installed")
            continue
        for most in MOST:
            figures = measure(layouts, most, place)
            shares = (f"{share:.2%}" for share in (figures.hidden, figures.stray, figures.overlapping))
            table.add_row(name, str(most), *shares, f"{figures.milliseconds:.1f}")
            start = "" if place is ours else f"{name.replace(', ', '_')}_"
            found |= {f"{start}hidden_{most}": figures.hidden, f"{start}stray_{most}": figures.stray}
            found |= {f"{start}overlapping_{most}": figures.overlapping}
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
