"""What label hints do to captions: how many errors right labels save, and how often a wrong one is repeated.

    python -m bench.hints [--seed N] [--images N] [--json FILE]

Fresh scenes with known truth, captioned by the demo model through the steps of a run and the real vLLM, joint, at
temperature 0: without hints, and with the shape of each thing as its label, of which none, a fifth, or all are wrong.
Once as the scenes are, once as JPEGs of low quality, once as enlarged from so few pixels that shapes can hardly be told
apart. *Parroted*: of the wrong labels, those that captions say too; without hints, of those that would have been told.
"""

import argparse
import io
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from demo_model.data import as_jpeg, of_few_pixels
from demo_model.drops import Row, Truth, evaluation_rows, write_drop
from demo_model.evaluate import attributes_of
from demo_model.world import SHAPES
from deploy.local.stack import demo_server
from regioncap.config.settings import BuildSettings
from regioncap.processes import free_ports
from regioncap.regions.records import Record
from regioncap.steps.caption import caption_shard
from regioncap.steps.plan import plan_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.local import LocalStore
from regioncap.vlm import server
from regioncap.vlm.endpoint import Endpoint
from regioncap.work.shard import Shard, parse_lines

# Whether the model is told the labels, and the share of them that is wrong.
CONDITIONS = {
    "not told": (False, 1.0),
    "right": (True, 0.0),
    "a fifth of them wrong": (True, 0.2),
    "all of them wrong": (True, 1.0),
}
# What is done to the scenes' pictures.
SCENES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as they are": lambda image: image,
    "JPEG quality 8": lambda image: as_jpeg(image, 8),
    "of 40 pixels": lambda image: of_few_pixels(image, 40),
    "of 20 pixels": lambda image: of_few_pixels(image, 20),
}


@dataclass
class Figures:
    """Counts of regions. `parroted` ones have a wrong label, and a caption that says what it says."""

    regions: int = 0
    wrong: int = 0
    wrong_shape: int = 0
    labels_wrong: int = 0
    parroted: int = 0


def hinted(rows: Sequence[Row], share: float, shown: Callable[[Image.Image], Image.Image], seed: int) -> list[Row]:
    """The rows with the shapes of their things as labels, of which a share is wrong, and images as they are `shown`."""
    drawn = random.Random(f"{seed} {share}")
    made = []
    for row in rows:
        assert isinstance(row.line, dict) and row.truth is not None
        shapes = [caption.split()[-1] for caption in row.truth]
        labels = [
            drawn.choice([other for other in SHAPES if other != shape]) if drawn.random() < share else shape
            for shape in shapes
        ]
        files = {path: redone(data, shown) for path, data in row.files.items()}
        made.append(Row(row.line | {"labels": labels}, files, row.truth))
    return made


def redone(data: bytes, shown: Callable[[Image.Image], Image.Image]) -> bytes:
    """The image as it is `shown`, without further loss, whatever its name says."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        shown(image.convert("RGB")).save(out, "PNG")
    return out.getvalue()


def captioned(folder: Path, vlm: Endpoint, *, label_hint: bool) -> list[Record]:
    """The records that a run makes of the drop in a folder."""
    drop, work = LocalStore(folder / "drop"), LocalStore(folder / "work")
    settings = BuildSettings(
        drops_uri=str(folder), warehouse_uri=str(folder), model_profile="demo", temperature=0, judge="none",
        label_hint=label_hint,
    )  # fmt: skip
    plan = plan_build(
        date="2000-01-01", drop=drop, work=work, partition=LocalStore(folder / "partition"), settings=settings,
        model=vlm.model, run_id="bench", progress=lambda rows: None,
    )  # fmt: skip
    records: list[Record] = []
    for shard_id in plan.shards:
        render_shard(drop=drop, work=work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None)
        caption_shard(work=work, shard_id=shard_id, plan=plan, vlm=vlm, progress=lambda asking: None)
        validate_shard(work=work, shard_id=shard_id, plan=plan)
        records += parse_lines(Shard(work, plan, shard_id).validated().records, Record, "records", "")
    return records


def counted(truth: Truth, labels: dict[str, list[str]], records: Sequence[Record]) -> Figures:
    """The figures; a region without a caption of the world's counts as wrong in everything, and parrots nothing."""
    said = {(record.image, region.box_index): region.caption for record in records for region in record.regions}
    figures = Figures()
    for image, captions in truth.items():
        for place, caption in enumerate(captions):
            right, told = attributes_of(caption) or ("",), attributes_of(said.get((image, place), "")) or ("?",)
            label = labels[image][place]
            figures.regions += 1
            figures.wrong += told != right
            figures.wrong_shape += told[-1] != right[-1]
            figures.labels_wrong += label != right[-1]
            figures.parroted += label != right[-1] and told[-1] == label
    return figures


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    rows = list(evaluation_rows(arguments.seed, arguments.images))
    table = Table("scenes", "labels", "regions", "wrong captions", "wrong shapes", "parroted")
    found: dict[str, dict[str, int]] = {}
    (port,) = free_ports(1)
    config = demo_server()
    with tempfile.TemporaryDirectory(prefix="regioncap-hints-") as name:
        log = Path(name, "vllm.log")
        with server.start(config, port, log, api_key="bench") as service:
            service.wait_ready(lambda: server.is_ready(port), server.READY_SECONDS)
            vlm = Endpoint(base_urls=(server.base_url(port),), model=config.name, api_key="bench", max_in_flight=32)
            for scenes, shown in SCENES.items():
                for labels, (label_hint, share) in CONDITIONS.items():
                    folder = Path(name, f"{len(found)}")
                    told = hinted(rows, share, shown, arguments.seed)
                    truth = write_drop(folder / "drop", told)
                    records = captioned(folder, vlm, label_hint=label_hint)
                    given = {row.line["image"]: row.line["labels"] for row in told if isinstance(row.line, dict)}
                    figures = counted(truth, given, records)
                    found[f"{scenes}, {labels}"] = asdict(figures)
                    parroted = f"{figures.parroted} of {figures.labels_wrong}" if figures.labels_wrong else "-"
                    table.add_row(
                        scenes, labels, str(figures.regions), str(figures.wrong), str(figures.wrong_shape), parroted
                    )
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
