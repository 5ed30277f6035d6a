"""What each step takes of memory at its worst input, each in processes of its own.

    python -m bench.memory [--json FILE] [--case NAME ...]

The largest sum of what the step's process and those below it had in memory, looked at fifty times a second, and how
much of that its start takes already.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from PIL import Image
from rich.console import Console
from rich.table import Table

from regioncap.vlm.client import MAX_TEXT
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.pace import Pace
from regioncap.vlm.replicas import Server
from regioncap.vlm.wire import Wire
from tests.builders import Place, encoded, picture

console = Console(width=120)


def pictures(place: Place) -> Callable[[], object]:
    """`render`: 12 pictures of 100 megapixels with 16 bits a channel, less than a megabyte each."""
    data = encoded(Image.new("I;16", (10_000, 10_000), 1000), "PNG")
    for number in range(12):
        place.put(f"{number}.png", data)
    place.put_rows(*({"image": f"{number}.png", "bbox": [[1000, 1000, 8000, 8000]]} for number in range(12)))
    return lambda: place.build(lambda row: "none")


def one_line(place: Place) -> Callable[[], object]:
    """`plan`: a manifest with a line of 1 GB."""
    with (place.drop_folder / "manifest.jsonl").open("wb") as manifest:
        for _ in range(1024):
            manifest.write(b"a" * (1 << 20))
    return place.plan


def shared_text(place: Place) -> Callable[[], object]:
    """`plan`: a Parquet file of a kilobyte in which 1,000 rows share a text of 4 MB."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["a" * (4 << 20)]))
    table = pa.table({"image": text, "bbox": [[[1.0, 1.0, 5.0, 5.0]]] * 1000})
    pq.write_table(table, place.drop_folder / "manifest.parquet", compression="zstd")
    return lambda: place.plan(input_format="parquet")


def boxes_in_a_row(place: Place) -> Callable[[], object]:
    """`plan`: a Parquet file of 17 KB with 12.5 million boxes in a row."""
    count = 12_500_000
    each = pa.ListArray.from_arrays(
        pa.array(np.arange(0, 4 * count + 1, 4, dtype=np.int32)), pa.array(np.ones(4 * count))
    )
    given = pa.ListArray.from_arrays(pa.array(np.array([0, count], np.int32)), each)
    pq.write_table(
        pa.table({"image": ["a.jpg"], "bbox": given}), place.drop_folder / "manifest.parquet", compression="zstd"
    )
    return lambda: place.plan(input_format="parquet")


def regions(place: Place) -> Callable[[], object]:
    """`plan` to `publish`: 3 rows with nearly 4 MB of boxes each."""
    place.put("a.jpg", encoded(picture()))
    boxes = json.dumps([[number % 80, 10, 30, 20] for number in range(230_000)])
    with (place.drop_folder / "manifest.jsonl").open("w") as manifest:
        for row in range(3):
            manifest.write(f'{{"id": "{row}", "image": "a.jpg", "bbox": {boxes}}}\n')
    return lambda: place.build(lambda row: json.dumps({f"<region{box.region}>": "a door" for box in row.regions}))


def boxes_in_rows(place: Place) -> Callable[[], object]:
    """`plan` to `publish`, exports: 80 rows with 10,000 boxes each, and a label of 100 characters for each box."""
    place.put("a.jpg", encoded(picture()))
    boxes = json.dumps([[number % 91, number // 91 % 71, 30, 20] for number in range(10_000)])
    labels = json.dumps([f"{number:06d}".ljust(100, "x") for number in range(10_000)])
    with (place.drop_folder / "manifest.jsonl").open("w") as manifest:
        for row in range(80):
            manifest.write(f'{{"id": "{row}", "image": "a.jpg", "bbox": {boxes}, "labels": {labels}}}\n')
    return lambda: place.build(
        lambda row: json.dumps({f"<region{box.region}>": "a door" for box in row.regions}),
        export_formats=["coco", "parquet", "label_studio"],
    )


def long_answers(place: Place) -> Callable[[], object]:
    """`validate`, `publish`: 30 answers, each as long as one is kept."""
    place.put("a.jpg", encoded(picture()))
    place.put_rows(*({"id": str(row), "image": "a.jpg", "bbox": [[row % 80, row // 80, 30, 20]]} for row in range(30)))
    return lambda: place.build(lambda row: json.dumps({"<region1>": "a door " * (MAX_TEXT // 7 - 3)}))


def endless_metrics(place: Place) -> Callable[[], object]:
    """`caption`: a server whose `/metrics` never ends."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"vllm:num_requests_waiting 1.0\n" * 4096)
        return response

    async def ask() -> None:
        app = web.Application()
        app.router.add_get("/metrics", answer)
        async with TestServer(app) as server, ClientSession() as http:
            url = str(server.make_url("/v1"))
            wire = Wire(Endpoint(base_urls=(url,), model="m"), http)
            for _ in range(20):
                assert not await wire.tell_queue(Server(url, Pace(1, 60.0)))

    return lambda: asyncio.run(ask())


def nothing(place: Place) -> Callable[[], object]:
    """A build of three rows."""
    place.good_rows(3)
    return lambda: place.build(lambda row: json.dumps({f"<region{box.region}>": "a door" for box in row.regions}))


CASES = {
    case.__name__: case
    for case in (
        nothing,
        pictures,
        one_line,
        shared_text,
        boxes_in_a_row,
        regions,
        boxes_in_rows,
        long_answers,
        endless_metrics,
    )
}


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most bytes that this process and those below it had, at each look so far."""
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            most[0] = max(most[0], total)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def measure(name: str) -> dict[str, Any]:
    """The figures of a case, in this process."""
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        step = CASES[name](Place(Path(folder)))
        before, started = psutil.Process().memory_info().rss, time.monotonic()
        ended = "well"
        with watched() as most:
            try:
                step()
            except Exception as error:
                ended = type(error).__name__
        seconds = time.monotonic() - started
    return {"mb": most[0] / 1e6, "at_start_mb": before / 1e6, "seconds": seconds, "ended": ended}


def main() -> None:
    """Runs for some minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    found = {}
    table = Table("at its worst", "MB", "at its start", "seconds", "ended")
    for name in arguments.case:
        command = [sys.executable, "-m", "bench.memory", "--one", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = each = json.loads(done.stdout.splitlines()[-1])
        figures = (f"{each[key]:,.0f}" for key in ("mb", "at_start_mb", "seconds"))
        table.add_row(str(CASES[name].__doc__), *figures, each["ended"])
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
