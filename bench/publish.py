"""How fast a build is published to a real bucket (SeaweedFS), with how much memory, beside what the bucket can do.

    python -m bench.publish [--json FILE] [--records 100000] [--images N]

*Bucket's limit* is the rate of bare copies within the bucket, by as many threads, just before and just after: most of
publishing is copying marked images. Each record has an image of its own, of 4 KB, since every copy costs a request and
next to nothing else; with --images N the records share so many. Publishing a tenth of the records comes first, to show
what memory does. Each measurement runs in a process of its own, so that peak memory is its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.render import peak_memory
from deploy.local import bucket
from deploy.local.credentials import load_or_create
from regioncap.marks.view import content_name
from regioncap.steps.publish import COPIES_AT_ONCE, publish_build
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.layout import IMAGES, image_path
from regioncap.work import layout
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan
from regioncap.work.receipts import StoredImage, sha256
from regioncap.work.shard import Shard
from tests.builders import encoded, picture, planned, record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROWS_PER_SHARD = 100
REGIONS = 5
LIMIT_COPIES = 2_000
WORK = "bench/work"

console = Console(width=140)


def plant(s3: "S3Client", records: int, images: int) -> None:
    """Write what `validate` leaves behind for all shards, and two plans: `all` of them and a `tenth`."""
    work = S3Store(s3, "warehouse", WORK)
    # As large as a small marked image; what comes after a JPEG's end makes each a different file.
    jpeg = encoded(picture(120, 80), quality=95).ljust(4096, b"\0")
    asked = AskCounts(
        questions=ROWS_PER_SHARD, kept=0, taken_over=0, asked=ROWS_PER_SHARD, prompt_tokens=0, completion_tokens=0,
        seconds=0.0, schema_ignored=False,
    )  # fmt: skip

    number_of_shards = records // ROWS_PER_SHARD
    plans = []
    for name, part in {"all": number_of_shards, "tenth": max(1, number_of_shards // 10)}.items():
        ids = [f"{number:06d}" for number in range(part)]
        changes = {"plan_id": name, "fingerprint": name, "shards": ids, "rows": part * ROWS_PER_SHARD}
        plans.append(planned().model_copy(update={**changes, "rejected_rows": sha256(b"")}))

    def plant_shard(number: int) -> None:
        rows = range(number * ROWS_PER_SHARD, (number + 1) * ROWS_PER_SHARD)
        files = {row: jpeg + (row % images).to_bytes(8) for row in rows}
        made = [record(row, content_name(files[row]), f"a red door with the number {row}") for row in rows]
        made = [one.model_copy(update={"regions": one.regions * REGIONS}) for one in made]
        shared = work.sub(layout.shard_path(f"{number:06d}"))
        for name, data in {content_name(data): data for data in files.values()}.items():
            shared.write(image_path(name), data)
        stored = {one.path: StoredImage(bytes=one.size, checksum=one.checksum) for one in shared.list(IMAGES)}
        for plan in plans:
            if number < len(plan.shards):
                shard = Shard(work, plan, f"{number:06d}")
                shard.write_rendered([], [], images=stored, inputs={}, seconds=0.0)
                shard.write_validated(made, [], inputs=shard.rendered().inputs, seconds=0.0)
                shard.own.write(layout.CAPTION_COUNTS, asked.model_dump_json().encode())

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        list(pool.map(plant_shard, range(number_of_shards)))
    for plan in plans:
        work.write(layout.plan_rejected_path(plan.plan_id), b"")
        plan.save(work)


def bare_copies(s3: "S3Client") -> float:
    """Copies per second within the bucket, by as many threads as publishing has."""
    work = S3Store(s3, "warehouse", WORK)
    sources = [entry.path for entry in work.list(f"{layout.shard_path('000000')}{IMAGES}")]
    room = f"bench/limit/{uuid.uuid4().hex}"

    def copy(number: int) -> None:
        source = {"Bucket": "warehouse", "Key": f"{WORK}/{sources[number % len(sources)]}"}
        s3.copy_object(Bucket="warehouse", Key=f"{room}/{number}", CopySource=source)  # type: ignore[arg-type]

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        started = time.perf_counter()
        list(pool.map(copy, range(LIMIT_COPIES)))
        return LIMIT_COPIES / (time.perf_counter() - started)


def measure(s3: "S3Client", plan_id: str) -> dict[str, float]:
    """Publish a plan."""
    work = S3Store(s3, "warehouse", WORK)
    partition = S3Store(s3, "warehouse", f"bench/published/{uuid.uuid4().hex}")
    plan = Plan.load(work, plan_id)
    before = bare_copies(s3)
    started = time.perf_counter()
    done = publish_build(plan=plan, drop=work, work=work, partition=partition, progress=lambda message: None)
    seconds = time.perf_counter() - started
    memory = peak_memory()
    objects = sum(1 for _ in partition.list())
    assert done.manifest.counts.captioned == plan.rows
    return {
        "records": plan.rows, "objects": objects, "seconds": seconds, "objects_per_second": objects / seconds,
        "limit_per_second": (before + bare_copies(s3)) / 2, "peak_mb": memory,
    }  # fmt: skip


def main() -> None:
    """Print the table; with --json, write the figures too."""
    parser = argparse.ArgumentParser(description="How fast a build is published.")
    parser.add_argument("--json", type=Path, help="write the figures of all records and of a tenth to this file")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--images", type=int, help="so many different images in all; by default one per record")
    parser.add_argument("--measure", nargs=3, metavar=("PLAN", "PORT", "CREDENTIALS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        plan_id, port, path = arguments.measure
        print(json.dumps(measure(bucket.client(int(port), load_or_create(Path(path))), plan_id)))
        return
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as folder:
        path = Path(folder, "credentials.json")
        credentials = load_or_create(path)
        with bucket.running(Path(folder), credentials) as port:
            s3 = bucket.client(port, credentials)
            started = time.perf_counter()
            plant(s3, arguments.records, arguments.images or arguments.records)
            console.print(
                f"{arguments.records:,} records and their images made in {time.perf_counter() - started:.0f} s"
            )
            figures = {}
            for plan_id in ("tenth", "all"):
                command = [sys.executable, "-m", "bench.publish", "--measure", plan_id, str(port), str(path)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                figures[plan_id] = json.loads(done.stdout)
    table = Table(title=f"Publishing to SeaweedFS, {COPIES_AT_ONCE} copies at once", title_justify="left")
    for heading in ("records", "objects", "seconds", "objects/s", "bucket's limit/s", "share of it", "peak MB"):
        table.add_column(heading, justify="right")
    for one in figures.values():
        rate, limit = one["objects_per_second"], one["limit_per_second"]
        table.add_row(
            f"{one['records']:,}", f"{one['objects']:,}", f"{one['seconds']:.1f}", f"{rate:.0f}", f"{limit:.0f}",
            f"{rate / limit:.0%}", f"{one['peak_mb']:.0f}",
        )  # fmt: skip
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
