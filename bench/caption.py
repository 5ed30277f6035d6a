"""How fast the caption step is, beside what the server could do at best and beside the original's way.

    python -m bench.caption [--json FILE] [--images 1000] [--only real|caches|feed|memory|pace]

Against one vLLM on the CPU with the demo model, which shares the cores with its client, medians of three:

- *ceiling*: a bare load generator with bodies encoded beforehand, at its best number of requests under way;
- *caption step*: RegionCap's, from marked images in storage to answers written as JSONL;
- *offline*: the original's way, `LLM.chat` over all rows in one call, images loaded in the same process, with vLLM as
  it is; and once more with what RegionCap's launcher sets on a CPU (`vlm/server.py`);
- *caches*: the caption step region by region, before and after the settings of vLLM's caches (`bench/caches.py`).

Against a stand-in for the server (`bench/vlm_stand_in.py`), with images of 50 KB:

- *feed rate*: the caption step where answers come at once: what a fast GPU could be fed with;
- *slots busy*: the share of a modelled GPU's 64 slots that is at work while there is something to ask;
- *memory*: the caption step's peak with 1,000 and with 10,000 images;
- *pace*: how many rows are lost, and how long it takes, with servers that are slow, overloaded, broken or hang. Those
  that take a minute for an answer are scaled in time, and the time-out with them.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from bench.caches import caches
from bench.vlm_stand_in import MODEL as STAND_IN
from demo_model.drops import evaluation_rows, write_drop
from deploy.local.paths import DEMO_MODEL, VLLM_PYTHON
from deploy.local.stack import demo_server
from regioncap.ask.requests import first_requests
from regioncap.config.settings import BuildSettings
from regioncap.marks.view import content_name, encode
from regioncap.processes import Service, free_ports
from regioncap.regions.records import RegionBox, RenderedRow
from regioncap.steps.caption import caption_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.render import render_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm import server
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.requests import data_url
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.shard import Shard

SEED = 4242
ALL = ("real", "caches", "feed", "memory", "pace")
REPEATS = 3
IN_FLIGHT = (32, 64, 128, 256)
FEED_BYTES = 50_000
# The original's sampling, and free text: all three ways ask the very same.
SETTINGS: dict[str, Any] = {
    "temperature": 0,
    "answer_format": "free_text",
    "model_profile": "demo",
    "shard_size": 100_000,
}


def marked_scenes(folder: Path, images: int, model: str) -> None:
    """Render a drop of synthetic scenes into one shard of a work area, as a run does."""
    drop, work = LocalStore(folder / "drop"), LocalStore(folder / "work")
    write_drop(folder / "drop", list(evaluation_rows(SEED, images)))
    settings = BuildSettings(drops_uri=str(folder), warehouse_uri=str(folder), **SETTINGS)
    plan = plan_build(
        date="2000-01-01", drop=drop, work=work, partition=LocalStore(folder / "partition"), settings=settings,
        model=model, run_id="bench", progress=lambda rows: None,
    )  # fmt: skip
    render_shard(drop=drop, work=work, shard_id=plan.shards[0], plan=plan, progress=lambda done, of: None)
    (folder / "plan.json").write_text(plan.model_dump_json())


def large_images(folder: Path, images: int) -> None:
    """A shard of `images` rows with marked images of about 50 KB, a few different ones under many names."""
    settings = BuildSettings(drops_uri=str(folder), warehouse_uri=str(folder), **SETTINGS)
    plan = Plan(
        plan_id="plan", date="2000-01-01", drop_uri="file:///drop", settings=settings, model=STAND_IN, fingerprint="",
        identity="", rows=images, rejected=0, shards=["x"], shards_to_propose=[], sources={"x": []}, unchanged=False,
        ask_again="",
    )  # fmt: skip
    (folder / "plan.json").write_text(plan.model_dump_json())
    shard = Shard(LocalStore(folder / "work"), plan, "x")
    originals = []
    for number in range(8):
        noise = np.random.default_rng(number).normal(128, 14, (300, 400, 3)).clip(0, 255).astype(np.uint8)
        data = encode(Image.fromarray(noise).resize((640, 480)))
        originals.append(data + b"\0" * max(0, FEED_BYTES - len(data)))
    rows = []
    for number in range(images):
        # What comes after a JPEG's end makes each a different file.
        data = originals[number % 8] + number.to_bytes(8)
        name = content_name(data)
        shard.shared.write(image_path(name), data)
        rows.append(
            RenderedRow(
                manifest="m", line=number + 1, id=name, image=name, type="with_bbox", bbox=[[1, 1, 9, 9]],
                normalized_bbox=[], regions=[RegionBox(region=1, box_index=0, bbox=[1, 1, 9, 9])], dropped_boxes=[],
                warnings=[], image_sha256="", width=640, height=480, marked=name, crops=[],
            )
        )  # fmt: skip
    shard.write_rendered(rows, [], images={}, inputs={}, seconds=0.0)


def load(folder: Path) -> tuple[Plan, Shard]:
    """The plan, and its shard."""
    plan = Plan.model_validate_json((folder / "plan.json").read_text())
    return plan, Shard(LocalStore(folder / "work"), plan, plan.shards[0])


def bodies(folder: Path) -> Iterator[bytes]:
    """The requests that the caption step would send, ready to be sent."""
    plan, shard = load(folder)
    for row in shard.rendered().rows:
        for request in first_requests(row, plan):
            urls = {name: data_url(shard.shared.read(image_path(name))) for name in request.images}
            yield json.dumps(request.body(urls)).encode()


async def bare(base_url: str, requests: list[bytes], in_flight: int) -> float:
    """Seconds to have all requests answered by a client that does nothing else: HTTP written out by hand."""
    address = urlsplit(base_url)
    waiting = iter(requests)

    async def worker() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for body in waiting:
            head = (
                f"POST {address.path}/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.split(b"\r\n", 1)[0]:
                raise RuntimeError(answer.decode())
            length = answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
    return time.perf_counter() - started


def step(base_url: str, folder: Path) -> tuple[float, float]:
    """Seconds of the caption step, and this process's peak memory in MB."""
    plan, _ = load(folder)
    shutil.rmtree(folder / "work" / layout.shard_path(plan.shards[0]) / layout.ANSWERS, ignore_errors=True)
    endpoint = Endpoint(base_urls=(base_url,), model=plan.model)
    started = time.perf_counter()
    counts = caption_shard(
        work=LocalStore(folder / "work"), shard_id=plan.shards[0], plan=plan, vlm=endpoint,
        progress=lambda at: None,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    # A few answers do not pass the gates, and are asked for once more.
    if not plan.rows <= counts.asked <= 1.02 * plan.rows:
        raise RuntimeError(f"{counts.asked} requests were sent")
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(part: str, *arguments: object) -> Any:
    """Run a part in a process of its own; returns what it prints."""
    command = [sys.executable, "-m", "bench.caption", "--part", part, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return json.loads(done.stdout)


def run_part(part: str, arguments: list[str]) -> Any:
    """What `apart` runs."""
    base_url, folder = arguments[0], Path(arguments[1])
    if part == "bare":
        in_flight, limit = map(int, arguments[2:])
        return asyncio.run(bare(base_url, list(bodies(folder))[:limit], in_flight))
    if part == "paced":
        return paced_step(tuple(base_url.split(",")), folder, float(arguments[2]))
    return step(base_url, folder)


@contextmanager
def stand_in(folder: Path, *options: str) -> Iterator[str]:
    """A stand-in server; yields its base URL."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.vlm_stand_in", str(port), *options]
    with Service("stand-in", command, environment=dict(os.environ), log=folder / "stand-in.log") as service:
        service.wait_ready(lambda: _listens(f"http://127.0.0.1:{port}/v1/models"), 30)
        yield f"http://127.0.0.1:{port}/v1"


def _listens(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def real(console: Console, folder: Path, images: int) -> dict[str, float]:
    """Ceiling, caption step and offline, on the real model."""
    # For /reset_prefix_cache: a round must not find what the one before it has computed.
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    config, (port,) = demo_server(), free_ports(1)
    url = server.base_url(port)
    marked_scenes(folder, images, config.name)
    with server.start(config, port, folder / "vllm.log") as service:
        service.wait_ready(lambda: server.is_ready(port), server.READY_SECONDS)

        def forget() -> None:
            httpx2.post(f"http://127.0.0.1:{port}/reset_prefix_cache", trust_env=False).raise_for_status()

        def ceiling(in_flight: int, limit: int) -> float:
            forget()
            return min(images, limit) / float(apart("bare", url, folder, in_flight, limit))

        ceiling(32, 100)
        best = max(IN_FLIGHT, key=lambda in_flight: ceiling(in_flight, max(200, images // 4)))
        ceilings, steps, offline, tuned = [], [], [], []
        # In turns: a machine that others share is faster in one minute than in the next.
        for _ in range(REPEATS):
            ceilings.append(ceiling(best, images))
            forget()
            steps.append(images / apart("step", url, folder)[0])
            offline.append(images / offline_seconds(folder, tuned=False))
            tuned.append(images / offline_seconds(folder, tuned=True))
    table = Table(title=f"{images:,} marked images, vLLM on {os.cpu_count()} cores, images/s", title_justify="left")
    for heading in ("", "median", "runs"):
        table.add_column(heading)
    for name, rates in (
        (f"ceiling, {best} under way", ceilings), ("caption step", steps), ("offline LLM.chat", offline),
        ("offline, our settings", tuned),
    ):  # fmt: skip
        table.add_row(name, f"{statistics.median(rates):.1f}", ", ".join(f"{rate:.1f}" for rate in rates))
    console.print(table)

    def beside(others: list[float]) -> float:
        # Of what was measured one after the other: the next round may find a slower machine.
        return float(statistics.median(rate / other for rate, other in zip(steps, others, strict=True)))

    return {"of_ceiling": beside(ceilings), "over_offline": beside(offline), "over_offline_tuned": beside(tuned)}


def offline_seconds(folder: Path, tuned: bool) -> float:
    """The seconds of the original's way, with vLLM as it is, or `tuned` to a CPU as RegionCap's launcher does it."""
    plan, shard = load(folder)
    rows = folder / "offline.jsonl"
    with rows.open("w") as out:
        for row in shard.rendered().rows:
            for request in first_requests(row, plan):
                options = {name: value for name, value in request.options.items() if name != "model"}
                image = folder / "work" / layout.shard_path(plan.shards[0]) / image_path(row.marked)
                text = next(part.value for part in request.parts if part.kind == "text")
                told = {"image": str(image), "system": request.system, "prompt": text, "options": options}
                out.write(json.dumps(told) + "\n")
    environment = server.environment(demo_server())
    if not tuned:
        for name in server.CPU_ENVIRONMENT:
            del environment[name]
    command = [str(VLLM_PYTHON), "-m", "bench.vlm_offline", str(DEMO_MODEL), str(rows)]
    with (folder / "offline.log").open("w") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    if done.returncode:
        raise SystemExit((folder / "offline.log").read_text()[-3000:])
    # vLLM prints to the same output.
    return float(
        json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"seconds"')))["seconds"]
    )


def feed(console: Console, folder: Path) -> dict[str, float]:
    """Feed rate and busy slots."""
    images = 3000
    large_images(folder, images)
    with stand_in(folder) as url:
        rates = [images / apart("step", url, folder)[0] for _ in range(REPEATS)]
    with stand_in(folder, "--slots", "64", "--seconds", "0.5") as url:
        apart("step", url, folder)
        busy = float(httpx2.get(url.removesuffix("/v1") + "/busy", trust_env=False).json())
    console.print(f"feed rate, {FEED_BYTES // 1000} KB images: {', '.join(f'{rate:.0f}' for rate in rates)} images/s")
    console.print(f"slots busy (64 slots, about 0.5 s a request): {busy:.1%}")
    return {"feed_rate": statistics.median(rates), "slots_busy": busy}


@dataclass(frozen=True)
class PaceCase:
    """A server, or several, by the stand-in's options; how many rows are asked, with which time-out."""

    name: str
    servers: tuple[tuple[str, ...], ...]
    rows: int
    timeout_seconds: float = 300.0


_GOOD = ("--slots", "16", "--seconds", "0.2")
PACE_CASES = {
    "batch_a_minute": PaceCase("one batch a minute (60 times as fast, time-out 5 s)", (("--batch", "1"),), 130, 5.0),
    "slow": PaceCase("0.05 answers/s (100 times as fast, time-out 3 s)", (("--rate", "5"),), 60, 3.0),
    "broken_replica": PaceCase("one of two broken for 20 s", (_GOOD, (*_GOOD, "--broken", "2", "22")), 3000),
    "too_many": PaceCase("429 with Retry-After above 24 under way", ((*_GOOD, "--most", "24"),), 800),
    "good_alone": PaceCase("a good server alone", (_GOOD,), 800),
    "hanging_of_two": PaceCase("the same, and one that hangs", (_GOOD, (*_GOOD, "--hang")), 800),
}


def pace(console: Console, folder: Path, names: Collection[str]) -> dict[str, float]:
    """Rows lost and seconds, for each kind of server."""
    table = Table(title="servers of all kinds", title_justify="left")
    for heading in ("", "rows", "lost", "seconds"):
        table.add_column(heading)
    figures: dict[str, float] = {}
    for key in names:
        case, place = PACE_CASES[key], place_made(folder / key)
        large_images(place, case.rows)
        with ExitStack() as stack:
            urls = [stack.enter_context(stand_in(place, *options)) for options in case.servers]
            lost, seconds = apart("paced", ",".join(urls), place, case.timeout_seconds)
        table.add_row(case.name, str(case.rows), str(lost), f"{seconds:.1f}")
        figures |= {f"{key}_lost": lost, f"{key}_seconds": seconds}
    console.print(table)
    if {"good_alone", "hanging_of_two"} <= set(names):
        figures["hanging_ratio"] = figures["hanging_of_two_seconds"] / figures["good_alone_seconds"]
        console.print(f"a hanging server of two: {figures['hanging_ratio']:.2f} of the good one's time alone")
    return figures


def paced_step(base_urls: tuple[str, ...], folder: Path, timeout_seconds: float) -> tuple[int, float]:
    """How many rows got no answer, and the caption step's seconds."""
    plan, shard = load(folder)
    endpoint = Endpoint(base_urls=base_urls, model=plan.model, timeout_seconds=timeout_seconds)
    started = time.perf_counter()
    caption_shard(
        work=LocalStore(folder / "work"), shard_id=plan.shards[0], plan=plan, vlm=endpoint,
        progress=lambda at: None,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    kept = load_completions(shard.shared, layout.ANSWERS).values()
    return plan.rows - sum(completion.finish_reason == "stop" for completion in kept), seconds


def memory(console: Console, folder: Path) -> dict[str, float]:
    """Peak memory with 1,000 and with 10,000 images."""
    peaks = {}
    for images in (1_000, 10_000):
        place = folder / str(images)
        large_images(place_made(place), images)
        with stand_in(place) as url:
            seconds, peaks[images] = apart("step", url, place)
        console.print(f"{images:,} images: {images / seconds:.0f} images/s, peak {peaks[images]:.0f} MB")
    return {"rss_growth": peaks[10_000] / peaks[1_000]}


def place_made(folder: Path) -> Path:
    """The folder, made."""
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    """Print tables; with --json, write the figures that are followed over time too."""
    parser = argparse.ArgumentParser(description="How fast the caption step is.")
    parser.add_argument(
        "--json", type=Path, help="write of_ceiling, over_offline, feed_rate, rss_growth and more to this file"
    )
    parser.add_argument("--images", type=int, default=1000, help="how many images the real model is asked about")
    parser.add_argument("--only", choices=ALL, help="one of the measurements")
    parser.add_argument("--case", choices=PACE_CASES, action="append", help="of `pace`, only this (may be repeated)")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.part:
        print(json.dumps(run_part(told.part, told.arguments)))
        return
    console = Console(width=120, highlight=False)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as name:
        folder = Path(name)
        if told.only in (None, "real"):
            figures |= real(console, place_made(folder / "real"), told.images)
        if told.only in (None, "caches"):
            figures |= caches(console, folder / "caches", max(20, told.images // 5))
        if told.only in (None, "feed"):
            figures |= feed(console, place_made(folder / "feed"))
        if told.only in (None, "memory"):
            figures |= memory(console, folder / "memory")
        if told.only in (None, "pace"):
            figures |= pace(console, folder / "pace", told.case or tuple(PACE_CASES))
    if told.json:
        told.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
