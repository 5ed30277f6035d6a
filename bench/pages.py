"""How soon a page of a large build is there, from a real bucket (SeaweedFS), and what readers cost in memory.

    python -m bench.pages [--json FILE] [--records 100000] [--readers 20] [--seconds 60]

*First page* is the gallery as it opens; each filter's first page is what a person waits for after *Show*: of a text
that every tenth record has, one that a few have, one that none has (the page says then how far it looked), and a number
of regions. All are read beside some thousand corrections. *Sample* draws a person's sample. *Readers* open pages at
random for so many seconds; memory is what the process has meanwhile, the most of each quarter of that time.
"""

import argparse
import hashlib
import json
import random
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local import bucket
from deploy.local.credentials import load_or_create
from regioncap.pages.builds import SeenBuild, see_build
from regioncap.pages.correcting import Seen
from regioncap.pages.gallery import Place, Wanted, find
from regioncap.pages.render import Writing, gallery_page
from regioncap.storage.s3 import S3Store
from regioncap.storage.store import Store
from regioncap.warehouse.corrections import Correction, about_region, correct, corrections_of
from regioncap.warehouse.journal import FILE_LINES
from regioncap.warehouse.layout import BUILD_MANIFEST, MANIFEST, build_path, partition_path
from regioncap.warehouse.manifest import Counts, FileEntry, Manifest
from regioncap.warehouse.reviews import draw
from tests.builders import DATE, record

ROWS_PER_FILE = 500
REGIONS = 5
CORRECTIONS = 2000
BUILD_ID = "20261124T060012Z-9d21c0aa"
FILTERS = {
    "first page": Wanted(),
    "every tenth": Wanted(text="green door"),
    "a few": Wanted(text="number 77777"),
    "none": Wanted(text="a submarine"),
    "by regions": Wanted(most=1),
    "by a warning": Wanted(check="same_text"),
}
console = Console(width=120)


def plant(warehouse: Store, records: int) -> None:
    """Write a build of so many records, without images."""
    partition = warehouse.sub(partition_path(DATE))

    def written(number: int) -> FileEntry:
        lines = []
        for row in range(number * ROWS_PER_FILE, (number + 1) * ROWS_PER_FILE):
            colour = "green" if row % 10 == 0 else "red"
            made = record(row, f"{row:032x}", f"a {colour} door with the number {row}")
            lines.append(made.model_copy(update={"regions": made.regions * REGIONS}).model_dump_json())
        return _write(partition, f"captions-{number:05d}.jsonl", "\n".join(lines) + "\n", ROWS_PER_FILE)

    with ThreadPoolExecutor(4) as pool:
        captions = list(pool.map(written, range(records // ROWS_PER_FILE)))
    manifest = Manifest(
        partition=partition_path(DATE), build_id=BUILD_ID, build=build_path(BUILD_ID), captions=captions,
        rejected=_write(partition, "rejected.jsonl", "", 0), created_at="2026-11-24T06:00:12+00:00", plan_id="bench",
        counts=Counts(rows=records, captioned=records, rejected=0, regions=records * REGIONS), fingerprint="",
        identity="",
    )  # fmt: skip
    text = manifest.model_dump_json().encode()
    partition.write(f"{build_path(BUILD_ID)}/{BUILD_MANIFEST}", text)
    partition.write(MANIFEST, text)
    said = [
        Correction(
            at="2026-11-24T07:00:12+00:00", by="ann", action="edit", caption=f"a blue door, number {number}",
            about=about_region(f"{number:064x}", [10, 10, 40, 30], "en"),
        )
        for number in range(CORRECTIONS)
    ]  # fmt: skip
    for start in range(0, CORRECTIONS, FILE_LINES):
        correct(corrections_of(partition), said[start : start + FILE_LINES], start)


def _write(partition: Store, name: str, text: str, rows: int) -> FileEntry:
    path, data = f"{build_path(BUILD_ID)}/{name}", text.encode()
    partition.write(path, data)
    return FileEntry(path=path, rows=rows, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def opened(warehouse: Store, wanted: Wanted, at: Place) -> tuple[SeenBuild, int]:
    """Open the gallery as the api-server does; returns the build, and how many records are shown."""
    build = see_build(warehouse, DATE, BUILD_ID)
    found = find(build, wanted, at)
    seen = Seen.of(corrections_of(build.partition).lines(), "en")
    gallery_page("/regioncap", build, wanted, at, found, [], [], seen, Writing("0" * 64))
    return build, len(found.records)


def timed(what: Callable[[], object]) -> float:
    """The seconds that something takes, the median of three."""
    times = []
    for _ in range(3):
        started = time.monotonic()
        what()
        times.append(time.monotonic() - started)
    return sorted(times)[1]


def read_at_random(warehouse: Store, files: int, readers: int, seconds: float) -> tuple[int, list[float]]:
    """Pages that readers opened, and the process's memory in MB meanwhile, ten times a second."""
    over = time.monotonic() + seconds
    pages = [0] * readers

    def read(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < over:
            opened(warehouse, Wanted(), Place(chance.randrange(files), chance.randrange(ROWS_PER_FILE)))
            pages[number] += 1

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < over:
        memory.append(psutil.Process().memory_info().rss / 1e6)
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    return sum(pages), memory


def measure(warehouse: Store, records: int, readers: int, seconds: float) -> Mapping[str, float]:
    """All figures."""
    figures = {
        f"seconds_{name.replace(' ', '_')}": timed(partial(opened, warehouse, wanted, Place()))
        for name, wanted in FILTERS.items()
    }
    pages, memory = read_at_random(warehouse, records // ROWS_PER_FILE, readers, seconds)
    figures["pages_a_second"] = pages / seconds
    for number in range(4):
        of_quarter = memory[len(memory) * number // 4 : len(memory) * (number + 1) // 4]
        figures[f"memory_mb_quarter_{number + 1}"] = max(of_quarter)
    return {**figures, "seconds_sample": timed(lambda: draw(see_build(warehouse, DATE, BUILD_ID).content))}


def main() -> None:
    """Measure, print, and write the figures where they are wanted."""
    parser = argparse.ArgumentParser(description="How soon a page of a large build is there.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as folder:
        credentials = load_or_create(Path(folder, "credentials.json"))
        with bucket.running(Path(folder), credentials) as port:
            s3 = bucket.client(port, credentials)
            bucket.make_buckets(s3)
            warehouse = S3Store(s3, "warehouse", "bench/pages")
            plant(warehouse, arguments.records)
            figures = measure(warehouse, arguments.records, arguments.readers, arguments.seconds)
    table = Table(title=f"{arguments.records:,} records, {arguments.readers} readers")
    for heading in ("figure", "value"):
        table.add_column(heading, justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}")
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
