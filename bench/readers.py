"""What it costs to plan a large drop, by the format of its manifests.

    python -m bench.readers [--json FILE] [--annotations 1000000]

So many boxes, three to an image, in one file of each format: seconds, CPU time and peak memory of `plan` from and to
local folders, each in a process of its own, so that peak memory is its own. How long it takes beside JSON lines is said
of CPU time. COCO has the boxes of an image far apart, as large data sets have.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.render import peak_memory
from regioncap.config.settings import BuildSettings
from regioncap.steps.plan import plan_build
from regioncap.storage.local import LocalStore

BOXES = 3

console = Console(width=120)


def rows(images: int) -> Iterator[tuple[str, list[list[float]]]]:
    """Paths of images, and three boxes each."""
    for row in range(images):
        yield (
            f"images/{row // 1000:05d}/{row:09d}.jpg",
            [[8 * b + row % 50, 10, 100 + row % 31, 80.5] for b in range(3)],
        )


def write_jsonl(path: Path, images: int) -> None:
    """A manifest of JSON lines."""
    with path.open("w", encoding="utf-8") as stream:
        for image, boxes in rows(images):
            stream.write(f'{{"image": "{image}", "bbox": {json.dumps(boxes)}}}\n')


def write_csv(path: Path, images: int) -> None:
    """A manifest of comma-separated values."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "bbox"])
        writer.writerows([image, json.dumps(boxes)] for image, boxes in rows(images))


def write_parquet(path: Path, images: int) -> None:
    """A manifest in Parquet."""
    names, boxes = zip(*rows(images), strict=True)
    pq.write_table(pa.table({"image": names, "bbox": boxes}), path, row_group_size=10_000)


def write_coco(path: Path, images: int) -> None:
    """A COCO file: the annotations of an image lie far from each other."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write('{"info": {}, "images": [')
        for number, (image, _) in enumerate(rows(images)):
            text = f'{{"id": {number}, "file_name": "{image}", "width": 640, "height": 480, "license": 1}}'
            stream.write(("," if number else "") + text)
        stream.write('], "annotations": [')
        for place in range(BOXES):
            for number, (_, boxes) in enumerate(rows(images)):
                x, y, w, h = boxes[place]
                annotation = {
                    "id": number * BOXES + place, "image_id": number, "category_id": place, "bbox": boxes[place],
                    "area": w * h, "iscrowd": 0, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }  # fmt: skip
                stream.write(("," if number or place else "") + json.dumps(annotation))
        stream.write('], "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}, {"id": 2, "name": "c"}]}')


FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "jsonl": ("m.jsonl", write_jsonl),
    "csv": ("m.csv", write_csv),
    "parquet": ("m.parquet", write_parquet),
    "coco": ("m.json", write_coco),
}


def measure(folder: Path, input_format: str) -> dict[str, float | str]:
    """Plan a drop in a process of its own."""
    started, used = time.perf_counter(), time.process_time()
    plan = plan_build(
        date="2000-01-01",
        drop=LocalStore(folder / input_format),
        work=LocalStore(folder / f"{input_format}-work"),
        partition=LocalStore(folder / f"{input_format}-published"),
        settings=BuildSettings(drops_uri="/drops", warehouse_uri="/warehouse", input_format=input_format),
        model="demo",
        run_id="bench",
        progress=lambda done: None,
    )
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    assert plan.rejected == 0
    return {"format": input_format, "rows": plan.rows, "seconds": seconds, "cpu": cpu, "peak_mb": peak_memory()}


def measured(annotations: int) -> list[dict[str, float | str]]:
    """Write a drop in each format, and plan it."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as name:
        for input_format, (file, write) in FORMATS.items():
            drop = Path(name, input_format)
            drop.mkdir()
            write(drop / file, annotations // BOXES)
            command = [sys.executable, "-m", "bench.readers", "--measure", name, input_format]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures.append({**json.loads(done.stdout), "file_mb": (drop / file).stat().st_size / 1e6})
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--annotations", type=int, default=1_000_000)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), args.measure[1])))
        return
    figures = measured(args.annotations)
    table = Table(title=f"plan, {args.annotations:,} boxes", title_justify="left")
    for heading in ("format", "file MB", "rows", "seconds", "CPU", "of jsonl", "peak MB"):
        table.add_column(heading, justify="left" if heading == "format" else "right")
    for one in figures:
        table.add_row(
            str(one["format"]), f"{one['file_mb']:.0f}", f"{one['rows']:,}", f"{one['seconds']:.1f}",
            f"{one['cpu']:.1f}", f"{float(one['cpu']) / float(figures[0]['cpu']):.2f}", f"{one['peak_mb']:.0f}",
        )  # fmt: skip
    console.print(table)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
