"""How surely boxes in another format than the declared one are noticed, and how often right ones are doubted.

    python -m bench.boxes [--layouts FILE] [--json FILE] [--seed N]

A layouts file is JSON: a list of {"width", "height", "boxes": [[x, y, w, h], ...]}, in pixels. Without one, layouts are
drawn by chance. Each drop is written in every format and declared as every format; counted are the pairs that put boxes
elsewhere (IoU < 0.5). *Stopped*: the run ends. *Told*: the report says that the true format fits as well. *Silent*: the
share of boxes that would be used wrongly without a word. *Right name*: of those stopped, the true format comes first.
"""

import argparse
import json
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from regioncap.regions.boxes import BOX_FORMATS, BoxFormat
from regioncap.regions.formats import Evidence, GivenRow, Verdict, weigh
from regioncap.regions.frames import Canvas

# Images of a drop, and how many drops of each kind are tried for each pair.
TRIALS = {1: 6, 10: 6, 100: 1}
RIGHT_TRIALS = 3000
# What annotation tools write.
_DECIMALS = {"": 2, "norm": 6, "percent": 4, "1000": 2}


@dataclass(frozen=True)
class Layout:
    """An image's (width, height), and its boxes [x, y, w, h], in pixels."""

    size: tuple[int, int]
    boxes: Sequence[Sequence[float]]


def as_it_is(layout: Layout) -> Layout:
    """A drop of images of many sizes."""
    return layout


def one_size(layout: Layout) -> Layout:
    """A drop of images that are all 640 x 480."""
    return _resized(layout, (640, 480))


def square(layout: Layout) -> Layout:
    """A drop of square images."""
    return _resized(layout, (800, 800))


KINDS = (as_it_is, one_size, square)


def _resized(layout: Layout, size: tuple[int, int]) -> Layout:
    across, down = size[0] / layout.size[0], size[1] / layout.size[1]
    return Layout(size, [[x * across, y * down, w * across, h * down] for x, y, w, h in layout.boxes])


def written(box: Sequence[float], name: BoxFormat, size: tuple[int, int]) -> list[float]:
    """A box [x, y, w, h] in pixels, as a manifest of a format has it."""
    x, y, w, h = box
    layout, _, unit = name.partition("_")
    numbers = {
        "xywh": (x, y, w, h),
        "xyxy": (x, y, x + w, y + h),
        "cxcywh": (x + w / 2, y + h / 2, w, h),
        "yxyx": (y, x, y + h, x + w),
    }[layout]
    full = {"": size, "norm": (1, 1), "percent": (100, 100), "1000": (1000, 1000)}[unit]
    across, down = full[0] / size[0], full[1] / size[1]
    scales = (down, across, down, across) if layout == "yxyx" else (across, down, across, down)
    return [round(number * scale, _DECIMALS[unit]) for number, scale in zip(numbers, scales, strict=True)]


def rows_of(layouts: Sequence[Layout], name: BoxFormat) -> list[GivenRow]:
    """A drop's rows, in a format."""
    return [
        GivenRow([written(box, name, layout.size) for box in layout.boxes], Canvas(layout.size)) for layout in layouts
    ]


def drawn(count: int, seed: int) -> list[Layout]:
    """Layouts by chance: small boxes are as frequent as large ones, and some end at an edge."""
    chance = random.Random(seed)

    def span(side: int) -> tuple[float, float]:
        length = side * math.exp(chance.uniform(math.log(0.03), 0))
        low = chance.choices([0.0, side - length, chance.uniform(0, side - length)], [5, 5, 90])[0]
        return low, length

    def layout() -> Layout:
        size = chance.choice([(640, 480), (480, 640), (640, 427), (1280, 720), (1024, 1024), (4032, 3024)])
        spans = [(span(size[0]), span(size[1])) for _ in range(chance.randint(1, 15))]
        return Layout(size, [[x, y, w, h] for (x, w), (y, h) in spans])

    return [layout() for _ in range(count)]


def read_layouts(path: Path) -> list[Layout]:
    """Layouts from a file, as the module says."""
    return [Layout((item["width"], item["height"]), item["boxes"]) for item in json.loads(path.read_text())]


@dataclass
class Pair:
    """What became of the drops that were written in one format and declared as another."""

    drops: int = 0
    stopped: int = 0
    told: int = 0
    both_fit: int = 0
    named: int = 0
    misled: int = 0
    boxes: int = 0
    silent: int = 0

    def add(self, verdict: Verdict, evidence: Evidence, true: BoxFormat) -> None:
        """Count a drop."""
        told = any(item.name == true for item in verdict.alike)
        moved = round(evidence.reading(true).moved * evidence.boxes)
        self.drops += 1
        self.stopped += verdict.stop
        self.told += told
        self.both_fit += min(evidence.reading(true).fits, verdict.declared.fits) >= 0.97
        self.named += verdict.stop and bool(verdict.likely) and verdict.likely[0].name == true
        self.misled += len(verdict.likely) == 1 and verdict.likely[0].name != true
        self.boxes += evidence.boxes
        self.silent += 0 if verdict.stop or verdict.doubt or told else moved


def evidence_of(rows: Sequence[GivenRow], declared: BoxFormat) -> Evidence:
    """What a drop's rows say."""
    evidence = Evidence(declared)
    for row in rows:
        evidence.add(row)
    return evidence


def measure_pairs(layouts: Sequence[Layout], images: int, seed: int) -> dict[tuple[BoxFormat, BoxFormat], Pair]:
    """All pairs (true, declared) that put boxes elsewhere, on drops of so many images."""
    chance = random.Random(seed)
    pairs: dict[tuple[BoxFormat, BoxFormat], Pair] = defaultdict(Pair)
    for kind in KINDS:
        for _ in range(TRIALS[images]):
            sample = [kind(layout) for layout in chance.choices(layouts, k=images)]
            for true in BOX_FORMATS:
                rows = rows_of(sample, true)
                for declared in BOX_FORMATS:
                    evidence = evidence_of(rows, declared)
                    if evidence.reading(true).moved >= 0.1:
                        pairs[true, declared].add(weigh(evidence), evidence, true)
    return pairs


def measure_right(layouts: Sequence[Layout], seed: int) -> tuple[int, int]:
    """How many of RIGHT_TRIALS drops of ten images, rightly declared, are stopped, and warned of."""
    chance = random.Random(seed)
    stops = warnings = 0
    for trial in range(RIGHT_TRIALS):
        name, kind = BOX_FORMATS[trial % len(BOX_FORMATS)], KINDS[trial % len(KINDS)]
        verdict = weigh(evidence_of(rows_of([kind(item) for item in chance.choices(layouts, k=10)], name), name))
        stops += verdict.stop
        warnings += verdict.doubt or verdict.shrunk is not None
    return stops, warnings


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=Path, help="layouts to write, else they are drawn by chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    console = Console(width=140)
    layouts = read_layouts(arguments.layouts) if arguments.layouts else drawn(300, arguments.seed)
    figures: dict[str, Any] = {}
    table = Table("images", "pairs", "stopped", "told", "right name", "misled", "silent boxes", "least noticed")
    by_unit = Table("images", "true", "declared", "stopped", "told", "both fit", title="Pairs that are not all stopped")
    for images in TRIALS:
        pairs = measure_pairs(layouts, images, arguments.seed)
        drops = sum(pair.drops for pair in pairs.values())
        stopped = sum(pair.stopped for pair in pairs.values())
        silent = sum(pair.silent for pair in pairs.values()) / sum(pair.boxes for pair in pairs.values())
        least = min((pair.stopped + pair.told) / pair.drops for pair in pairs.values())
        figures |= {f"stopped_{images}": stopped / drops, f"silent_{images}": silent, f"noticed_{images}": least}
        table.add_row(
            *(str(images), str(len(pairs)), f"{stopped / drops:.3f}"),
            f"{sum(pair.told for pair in pairs.values()) / drops:.3f}",
            f"{sum(pair.named for pair in pairs.values()) / max(1, stopped):.3f}",
            str(sum(pair.misled for pair in pairs.values())),
            *(f"{silent:.4f}", f"{least:.3f}"),
        )
        for (true, declared), pair in sorted(pairs.items()):
            if images > 1 and pair.stopped < pair.drops:
                shares = (f"{count / pair.drops:.2f}" for count in (pair.stopped, pair.told, pair.both_fit))
                by_unit.add_row(str(images), true, declared, *shares)
    stops, warnings = measure_right(layouts, arguments.seed)
    figures |= {"false_stops": stops, "false_warnings": warnings / RIGHT_TRIALS, "right_trials": RIGHT_TRIALS}
    console.print(by_unit, table)
    console.print(f"right boxes, {RIGHT_TRIALS:,} drops of 10 images: {stops} stopped, {warnings} warned of")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
