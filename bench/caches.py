"""What vLLM's caches do for questions about one region after the other.

The caption step in the mode `per_region`, on the real vLLM: with no cache of prepared images and blocks of 128 tokens
(what a CPU has by itself), and as RegionCap starts it. Questions a second, and what was found in the caches.
"""

import asyncio
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo_model.drops import evaluation_rows, write_drop
from deploy.local.stack import demo_server
from regioncap.config.settings import BuildSettings
from regioncap.processes import free_ports
from regioncap.steps.caption import caption_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.render import render_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm import server
from regioncap.vlm.client import connect
from regioncap.vlm.doctor import DoctorFigures
from regioncap.vlm.endpoint import Endpoint

SEED = 4242


async def _figures(endpoint: Endpoint) -> DoctorFigures:
    async with connect(endpoint) as client:
        figures = await client.read_figures()
    if figures is None:
        raise RuntimeError("vLLM tells no figures")
    return figures


def per_region(config: server.ServerConfig, folder: Path, images: int) -> tuple[float, DoctorFigures]:
    """Questions a second of the caption step on such a server, and what the server counted meanwhile."""
    drop, work = LocalStore(folder / "drop"), LocalStore(folder / "work")
    write_drop(folder / "drop", list(evaluation_rows(SEED, images)))
    settings = BuildSettings(
        drops_uri=str(folder), warehouse_uri=str(folder), model_profile="demo", caption_mode="per_region",
        temperature=0, max_attempts=1, shard_size=100_000,
    )  # fmt: skip
    plan = plan_build(
        date="2000-01-01", drop=drop, work=work, partition=LocalStore(folder / "partition"), settings=settings,
        model=config.name, run_id="bench", progress=lambda rows: None,
    )  # fmt: skip
    render_shard(drop=drop, work=work, shard_id=plan.shards[0], plan=plan, progress=lambda done, of: None)
    (port,) = free_ports(1)
    with server.start(config, port, folder / "vllm.log") as service:
        service.wait_ready(lambda: server.is_ready(port), server.READY_SECONDS)
        endpoint = Endpoint(base_urls=(server.base_url(port),), model=config.name)
        before = asyncio.run(_figures(endpoint))
        started = time.perf_counter()
        counts = caption_shard(work=work, shard_id=plan.shards[0], plan=plan, vlm=endpoint, progress=lambda at: None)
        seconds = time.perf_counter() - started
        return counts.asked / seconds, asyncio.run(_figures(endpoint)).since(before)


def caches(console: Console, folder: Path, images: int) -> dict[str, float]:
    """Questions a second without the cache settings and with them, and the shares of images and tokens found then."""
    told = demo_server()
    without = told.model_copy(update={"mm_processor_cache_gb": 0, "arguments": ["--block-size", "128"]})
    table = Table(title=f"per_region, {images:,} marked images", title_justify="left")
    for heading in ("", "questions/s", "images found", "prompt tokens found"):
        table.add_column(heading)
    figures: dict[str, float] = {}
    for name, title, config in (
        ("without", "no image cache, blocks of 128", without), ("with", "as RegionCap starts it", told)
    ):  # fmt: skip
        place = folder / name
        place.mkdir(parents=True)
        rate, found = per_region(config, place, images)
        images_found = found.images_found / found.images_asked if found.images_asked else 0.0
        tokens_found = found.prefix_found / found.prefix_asked if found.prefix_asked else 0.0
        table.add_row(title, f"{rate:.1f}", f"{images_found:.0%}", f"{tokens_found:.0%}")
        figures |= {f"rate_{name}": rate, f"images_found_{name}": images_found, f"tokens_found_{name}": tokens_found}
    console.print(table)
    return {f"per_region_{name}": figure for name, figure in figures.items()}
