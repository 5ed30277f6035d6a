"""How fast a build is published to a real bucket (SeaweedFS), with how much memory, beside what the bucket can do.

    python -m bench.publish [--json FILE] [--records 100000] [--million 1000000] [--only images|records]

*With images*, each record has an image of its own, of 4 KB, since every copy costs a request and next to nothing else.
Shards are staged by one task on this machine, as the last step of each shard's own tasks; then they are published: the
*tail*, from the last validated shard to the event. *Bucket's limit* is the rate of bare copies within the bucket, by as
many threads, just before and just after. Publishing a tenth of the records comes first, to show what grows. *Without
staging* is a build of which the begun one was lost: publishing copies all images itself.

*Without images*, a million records share a few: what is left is what records cost. Each measurement runs in a process
of its own, so that peak memory is its own.
"""

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.render import peak_memory
from deploy.local import bucket
from deploy.local.credentials import load_or_create
from regioncap.marks.view import content_name
from regioncap.regions.jsonl import line
from regioncap.steps.publish import publish_build
from regioncap.steps.stage import COPIES_AT_ONCE, stage_shard
from regioncap.storage.s3 import S3Store
from regioncap.warehouse.layout import IMAGES, image_path
from regioncap.work import layout
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan
from regioncap.work.receipts import StoredImage, ValidateReceipt, sha256, write_all
from regioncap.work.shard import Shard
from tests.builders import encoded, picture, planned, record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGIONS = 5
LIMIT_COPIES = 2_000
WORK = "bench/work"
# The million's records share so many images in each shard.
FEW_IMAGES = 10

# What captions are made of.
_WORDS = "a the red small old man dog car tree door left right on with in front of two blue cup behind near"

console = Console(width=140)


def store(s3: "S3Client", name: str) -> S3Store:
    """The work area of the plan of this name."""
    return S3Store(s3, "warehouse", f"{WORK}/{name}")


def plan_of(name: str, records: int, per_shard: int) -> Plan:
    """A plan of so many records."""
    shards = [f"{number:06d}" for number in range(records // per_shard)]
    changes = {"plan_id": name, "fingerprint": name, "shards": shards, "rows": records}
    return planned().model_copy(update={**changes, "rejected_rows": sha256(b"")})


@cache
def template() -> str:
    """A record's line, with placeholders."""
    one = record(0, "%(marked)s", "%(said)s")
    regions = [one.regions[0].model_copy(update={"region": place}) for place in range(1, REGIONS + 1)]
    changes = {"image": "%(number)d.jpg", "id": "%(number)d", "perceptual_hash": "%(looks)s", "regions": regions}
    return line(one.model_copy(update=changes)).decode()


def written(number: int, marked: str, chance: random.Random) -> bytes:
    """The line of a record with captions of its own."""
    parts = template().split("%(said)s")
    texts = ["".join(f"{word} " for word in chance.choices(_WORDS.split(), k=8)) for _ in parts[1:]]
    text = parts[0] + "".join(said + part for said, part in zip(texts, parts[1:], strict=True))
    return (text % {"number": number, "marked": marked, "looks": chance.randbytes(32).hex()}).encode()


def plant(port: int, credentials: Path, plan: Plan, shards: Sequence[int], images: int) -> None:
    """Write what `validate` leaves behind for some shards, with so many different images in each."""
    work = store(bucket.client(port, load_or_create(credentials)), plan.plan_id)
    # As large as a small marked image; what comes after a JPEG's end makes each a different file.
    jpeg = encoded(picture(120, 80), quality=95).ljust(4096, b"\0")
    rows = plan.rows // len(plan.shards)
    asked = AskCounts(
        questions=rows, kept=0, taken_over=0, asked=rows, prompt_tokens=0, completion_tokens=0, seconds=0.0,
        schema_ignored=False,
    )  # fmt: skip
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        for number in shards:
            shard = Shard(work, plan, plan.shards[number])
            chance = random.Random(number)
            files = [jpeg + number.to_bytes(4) + image.to_bytes(4) for image in range(images)]
            names = [content_name(data) for data in files]
            list(pool.map(shard.shared.write, map(image_path, names), files))
            stored = {one.path: StoredImage(bytes=one.size, checksum=one.checksum) for one in shard.shared.list(IMAGES)}
            records = b"".join(written(number * rows + row, names[row % images], chance) for row in range(rows))
            shard.write_rendered([], [], images=stored, inputs={}, seconds=0.0)
            receipt = ValidateReceipt(
                plan_id=plan.plan_id, identity=plan.identity, inputs=shard.rendered().inputs, outputs={}, seconds=0.0,
                records=rows, rejected=0,
            )  # fmt: skip
            made = {layout.RECORDS: records, layout.VALIDATE_REJECTED: b""}
            write_all(shard.own, layout.RECEIPTS["validate"], receipt, made)
            shard.own.write(layout.CAPTION_COUNTS, asked.model_dump_json().encode())


def plant_all(port: int, credentials: Path, plan: Plan, images: int) -> None:
    """Write what all shards' tasks leave behind, on two processes."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        halves = [range(part, len(plan.shards), 2) for part in range(2)]
        for planted in [pool.submit(plant, port, credentials, plan, half, images) for half in halves]:
            planted.result()
    work = store(bucket.client(port, load_or_create(credentials)), plan.plan_id)
    work.write(layout.plan_rejected_path(plan.plan_id), b"")
    plan.save(work)


def bare_copies(s3: "S3Client", work: S3Store) -> float:
    """Copies per second within the bucket, by as many threads as staging has."""
    sources = [entry.path for entry in work.list(f"{layout.shard_path('000000')}{IMAGES}")]
    room = f"bench/limit/{uuid.uuid4().hex}"
    where = work.uri.removeprefix("s3://warehouse/")

    def copy(number: int) -> None:
        source = {"Bucket": "warehouse", "Key": f"{where}/{sources[number % len(sources)]}"}
        s3.copy_object(Bucket="warehouse", Key=f"{room}/{number}", CopySource=source)  # type: ignore[arg-type]

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        started = time.perf_counter()
        list(pool.map(copy, range(LIMIT_COPIES)))
        return LIMIT_COPIES / (time.perf_counter() - started)


def stage(s3: "S3Client", plan_id: str, partition: S3Store) -> dict[str, float]:
    """What each shard's own task does at its end, shard by shard."""
    work = store(s3, plan_id)
    plan = Plan.load(work, plan_id)
    before = bare_copies(s3, work)
    started = time.perf_counter()
    for shard_id in plan.shards:
        stage_shard(
            work=work, shard_id=shard_id, plan=plan, drop=work, partition=partition, progress=lambda done, images: None
        )
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "limit_per_second": (before + bare_copies(s3, work)) / 2, "peak_mb": peak_memory()}


def publish(s3: "S3Client", plan_id: str, partition: S3Store) -> dict[str, float]:
    """Publish a plan, whatever of it is staged."""
    work = store(s3, plan_id)
    plan = Plan.load(work, plan_id)
    started = time.perf_counter()
    done = publish_build(plan=plan, drop=work, work=work, partition=partition, progress=lambda message: None)
    seconds = time.perf_counter() - started
    memory = peak_memory()
    objects = sum(1 for _ in partition.list())
    assert done.manifest.counts.captioned == plan.rows
    return {"records": plan.rows, "objects": objects, "seconds": seconds, "peak_mb": memory}


_STEPS = {"stage": stage, "publish": publish}


def measured(step: str, plan_id: str, partition: str, port: int, credentials: Path) -> dict[str, float]:
    """The figures of a step, done in a process of its own."""
    command = [sys.executable, "-m", "bench.publish", "--measure", step, plan_id, partition, str(port)]
    done = subprocess.run([*command, str(credentials)], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Print the table; with --json, write the figures too."""
    parser = argparse.ArgumentParser(description="How fast a build is published.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--records", type=int, default=100_000, help="with an image each")
    parser.add_argument("--million", type=int, default=1_000_000, help="so many records with few images")
    parser.add_argument("--only", choices=("images", "records"))
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        step, plan_id, partition, port, path = arguments.measure
        s3 = bucket.client(int(port), load_or_create(Path(path)))
        print(json.dumps(_STEPS[step](s3, plan_id, S3Store(s3, "warehouse", partition))))
        return
    figures: dict[str, float] = {}
    table = Table(title=f"Publishing to SeaweedFS, {COPIES_AT_ONCE} copies at once", title_justify="left")
    for heading in ("what", "records", "objects", "staging s", "images/s", "bucket's limit/s", "tail s", "tail MB"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    with tempfile.TemporaryDirectory(prefix="regioncap-bench-") as folder:
        path = Path(folder, "credentials.json")
        with bucket.running(Path(folder), load_or_create(path)) as port:

            def built(what: str, name: str, records: int, per_shard: int, images: int) -> None:
                plan = plan_of(name, records, per_shard)
                started = time.perf_counter()
                plant_all(port, path, plan, images)
                console.print(f"{records:,} records made in {time.perf_counter() - started:.0f} s")
                partition = f"bench/published/{name}"
                staged = measured("stage", name, partition, port, path)
                console.print(f"staged in {staged['seconds']:.0f} s")
                published = measured("publish", name, partition, port, path)
                console.print(f"published in {published['seconds']:.0f} s, with {published['peak_mb']:.0f} MB")
                number = len(plan.shards) * images
                table.add_row(
                    what, f"{records:,}", f"{published['objects']:,}", f"{staged['seconds']:.1f}",
                    f"{number / staged['seconds']:.0f}", f"{staged['limit_per_second']:.0f}",
                    f"{published['seconds']:.1f}", f"{published['peak_mb']:.0f}",
                )  # fmt: skip
                figures.update(
                    {
                        f"{name}_stage_seconds": staged["seconds"],
                        f"{name}_publish_seconds": published["seconds"],
                        f"{name}_publish_rss_mb": published["peak_mb"],
                        f"{name}_limit_per_second": staged["limit_per_second"],
                    }
                )

            if arguments.only != "records":
                tenth = max(1_000, arguments.records // 10)
                built("a tenth", "tenth", tenth, 100, 100)
                built("with images", "all", arguments.records, 100, 100)
                again = measured("publish", "tenth", "bench/published/anew", port, path)
                table.add_row(
                    "a tenth, without staging", f"{tenth:,}", f"{again['objects']:,}", "", "", "",
                    f"{again['seconds']:.1f}", f"{again['peak_mb']:.0f}",
                )  # fmt: skip
                figures |= {
                    "tail_seconds_100k": figures["all_publish_seconds"],
                    "seconds_100k": figures["all_stage_seconds"] + figures["all_publish_seconds"],
                    "tenth_without_staging_seconds": again["seconds"],
                }
            if arguments.only != "images":
                million = arguments.million
                built("without images", "million", million, max(100, million // 1000), FEW_IMAGES)
                figures |= {
                    "publish_1m_seconds": figures["million_publish_seconds"],
                    "publish_1m_rss_mb": figures["million_publish_rss_mb"],
                }
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
