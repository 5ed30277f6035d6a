"""How fast images are marked, and with how much memory, beside two references.

    python -m bench.render [--json FILE]

- *RegionCap*: `render_row` on one core, and the whole render step (storage included) on all cores, for the profile
  qwen2.5-vl. Images are decoded in processes that can be killed, as always; what it takes to start these is in none but
  the first of the repeats.
- *OpenCV loop*: the way of the original pipeline: decode once for the size and once to draw, darken to 80 %, draw boxes
  and digits at full size, encode.
- *full decode*: decoding all pixels and nothing else, on one core: the floor of anyone who does that.
- *decode and encode*: the same, and encoding them again, with nothing in between.
- *over the floor*: how much longer RegionCap takes on one core than to decode and encode, measured in turns.

Each measurement runs in a process of its own, so that peak memory is its own, with that of the processes that decode.
"""

import argparse
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from regioncap.config.settings import BuildSettings
from regioncap.drop import decoding
from regioncap.drop.decoders import Decoders
from regioncap.drop.images import set_up_for_pictures
from regioncap.marks.view import encode
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow
from regioncap.steps.plan import plan_build
from regioncap.steps.render import render_row, render_shard
from regioncap.storage.local import LocalStore

PHOTO = Path(__file__).resolve().parents[1] / "include" / "drops" / "2026-10-07" / "china.jpg"
SETTINGS = BuildSettings(drops_uri="/drops", warehouse_uri="/warehouse", model_profile="qwen2.5-vl")
DIFFERENT_IMAGES = 4
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """Images of `megapixels` in one format; `images` of them make one measurement."""

    name: str
    megapixels: float
    form: str
    images: int


CASES = (
    Case("JPEG 0.8 MP", 0.8, "JPEG", 160),
    Case("JPEG 3 MP", 3.0, "JPEG", 80),
    Case("JPEG 12 MP", 12.0, "JPEG", 32),
    Case("PNG 3 MP", 3.0, "PNG", 32),
)


def pictures(case: Case) -> list[bytes]:
    """A photo at the case's size, each with other noise, so that no two are the same."""
    with Image.open(PHOTO) as photo:
        scale = math.sqrt(case.megapixels * 1e6 / (photo.width * photo.height))
        large = np.asarray(
            photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
        )
    files = []
    for seed in range(DIFFERENT_IMAGES):
        noise = np.random.default_rng(seed).integers(-6, 7, large.shape, dtype=np.int16)
        image = Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8))
        out = io.BytesIO()
        if case.form == "JPEG":
            image.save(out, "JPEG", quality=90)
        else:
            image.save(out, "PNG", compress_level=3)
        files.append(out.getvalue())
    return files


def boxes(data: bytes) -> list[list[int]]:
    """Five boxes across the image."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return [
        [round(width * (0.05 + 0.18 * k)), round(height * (0.1 + 0.12 * k)), width // 6, height // 5] for k in range(5)
    ]


def row(number: int, data: bytes) -> PlannedRow:
    """A manifest row for one of the pictures."""
    name = f"{number % DIFFERENT_IMAGES}.img"
    return PlannedRow(manifest="m", line=number + 1, id=str(number), image=name, type="with_bbox", bbox=boxes(data))


def regioncap_one_core(case: Case, files: list[bytes]) -> float:
    """Seconds for the case's images."""
    rows = [row(number, files[number % DIFFERENT_IMAGES]) for number in range(case.images)]
    with one_core(), Decoders() as decoders:
        # The process that decodes is there, as in the rest of a shard.
        decoders.run(files[0], decoding.size)
        started = time.perf_counter()
        for number, planned in enumerate(rows):
            render_row(planned, files[number % DIFFERENT_IMAGES], SETTINGS, decoders, lambda row, data: [])
        return time.perf_counter() - started


@contextmanager
def one_core() -> Iterator[None]:
    """While this lasts, this process and those that it starts work on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def regioncap_all_cores(case: Case, files: list[bytes]) -> float:
    """Seconds for the case's images through the render step, from files to files."""
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as folder:
        drop, work = LocalStore(Path(folder, "drop")), LocalStore(Path(folder, "work"))
        for number, data in enumerate(files):
            drop.write(f"{number}.img", data)
        rows = [row(number, files[number % DIFFERENT_IMAGES]) for number in range(case.images)]
        drop.write("manifest.jsonl", b"".join(line({"image": row.image, "bbox": row.bbox}) for row in rows))
        plan = plan_build(
            date="2000-01-01", drop=drop, work=work, partition=LocalStore(Path(folder, "partition")),
            settings=SETTINGS, model="none", run_id="bench", progress=lambda rows: None,
        )  # fmt: skip
        started = time.perf_counter()
        render_shard(drop=drop, work=work, shard_id=plan.shards[0], plan=plan, progress=lambda done, of: None)
        return time.perf_counter() - started


def opencv_loop(case: Case, files: list[bytes]) -> float:
    """Seconds for the case's images, the original pipeline's way, from files to files."""
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as folder:
        names = []
        for number, data in enumerate(files):
            names.append(str(Path(folder, f"{number}.{case.form.lower()}")))
            Path(names[-1]).write_bytes(data)
        given = [boxes(data) for data in files]
        started = time.perf_counter()
        for number in range(case.images):
            at = number % DIFFERENT_IMAGES
            picture, again = cv2.imread(names[at]), cv2.imread(names[at])
            assert picture is not None and again is not None, "it was written just now"
            height, width = picture.shape[:2]
            image = np.asarray(again * 0.8).astype(np.uint8)
            for region, (x, y, w, h) in enumerate(given[at], start=1):
                x1, y1 = min(x + w, width), min(y + h, height)
                cv2.rectangle(image, (x, y), (x1, y1), (0, 255, 0), 2)
                cv2.putText(image, str(region), (x, y - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 255), 2)
            cv2.imwrite(str(Path(folder, f"out-{number}.jpg")), image)
        return time.perf_counter() - started


def full_decode(case: Case, files: list[bytes]) -> float:
    """Seconds to decode the case's images, on one core."""
    started = time.perf_counter()
    for number in range(case.images):
        with Image.open(io.BytesIO(files[number % DIFFERENT_IMAGES])) as image:
            image.load()
    return time.perf_counter() - started


def decode_and_encode(case: Case, files: list[bytes]) -> float:
    """Seconds to decode and encode the case's images, on one core."""
    with one_core(), set_up_for_pictures():
        started = time.perf_counter()
        for number in range(case.images):
            with Image.open(io.BytesIO(files[number % DIFFERENT_IMAGES])) as image:
                image.load()
                encode(image)
        return time.perf_counter() - started


def over_floor(case: Case, files: list[bytes]) -> float:
    """How many times as long as decoding and encoding RegionCap takes, on one core, at the best of a few turns."""
    turns = [(regioncap_one_core(case, files), decode_and_encode(case, files)) for _ in range(REPEATS)]
    return min(own for own, _ in turns) / min(floor for _, floor in turns)


WAYS: dict[str, Callable[[Case, list[bytes]], float]] = {
    "RegionCap, one core": regioncap_one_core,
    "RegionCap, all cores": regioncap_all_cores,
    "OpenCV loop": opencv_loop,
    "full decode": full_decode,
    "decode and encode": decode_and_encode,
}
OVER_FLOOR = "over the floor, one core"


def measure(case: Case, way: str, folder: Path) -> tuple[float, float]:
    """Images per second (the median of a few runs) or times, and the peak memory of the process in MB."""
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    if way == OVER_FLOOR:
        return over_floor(case, files), peak_memory()
    seconds = [WAYS[way](case, files) for _ in range(REPEATS)]
    return case.images / statistics.median(seconds), peak_memory()


def peak_memory() -> float:
    """The peak resident memory of this program and of those that it started, in MB.

    (`getrusage` counts the parent's too, from before the `exec`.)
    """
    programs = [psutil.Process(), *psutil.Process().children(recursive=True)]
    peaks = [Path(f"/proc/{program.pid}/status").read_text().split("VmHWM:")[1].split()[0] for program in programs]
    return sum(map(int, peaks)) / 1024


def measured_apart(case: Case, way: str, folder: Path) -> tuple[float, float]:
    """The same, in a process of its own; the case's pictures lie in `folder`."""
    command = [sys.executable, "-m", "bench.render", "--case", case.name, "--way", way, "--pictures", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, memory = json.loads(done.stdout)
    return rate, memory


def main() -> None:
    """Print the table; with --json, write the figures that are followed over time too."""
    parser = argparse.ArgumentParser(description="How fast images are marked.")
    followed = "speedup_12mp, speedup_0_8mp, over_floor_0_8mp and peak_rss_mb"
    parser.add_argument("--json", type=Path, help=f"write {followed} to this file")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case = next(case for case in CASES if case.name == arguments.case)
        print(json.dumps(measure(case, arguments.way, arguments.pictures)))
        return
    table = Table(title=f"Images per second (and peak MB), 5 boxes each, {os.cpu_count()} cores", title_justify="left")
    for heading in ("", *WAYS, "all cores : OpenCV loop", OVER_FLOOR):
        table.add_column(heading, justify="right" if heading else "left")
    figures: dict[str, float] = {}
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as folder:
            for number, data in enumerate(pictures(case)):
                Path(folder, str(number)).write_bytes(data)
            results = {way: measured_apart(case, way, Path(folder)) for way in WAYS}
            over, _ = measured_apart(case, OVER_FLOOR, Path(folder))
        speedup = results["RegionCap, all cores"][0] / results["OpenCV loop"][0]
        figures[case.name] = speedup
        figures[f"{case.name}, over"] = over
        figures["peak"] = max(figures.get("peak", 0.0), results["RegionCap, all cores"][1])
        table.add_row(
            case.name,
            *(f"{rate:.1f} ({memory:.0f})" for rate, memory in results.values()),
            f"{speedup:.2f}x",
            f"{over:.2f}x",
        )
    Console(width=160).print(table)
    if arguments.json:
        written = {
            "speedup_12mp": figures["JPEG 12 MP"],
            "speedup_0_8mp": figures["JPEG 0.8 MP"],
            "over_floor_0_8mp": figures["JPEG 0.8 MP, over"],
            "peak_rss_mb": figures["peak"],
        }
        arguments.json.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
