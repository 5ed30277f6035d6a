"""Small pieces of test data."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, ImageDraw
from pydantic import BaseModel

from regioncap.ask.requests import first_requests
from regioncap.config.prices import Prices
from regioncap.config.settings import BuildSettings
from regioncap.drop.elsewhere import Images
from regioncap.marks.view import content_name
from regioncap.regions.codes import Code
from regioncap.regions.jsonl import line
from regioncap.regions.records import Record, RegionBox, RegionCaption, Rejected, RenderedRow
from regioncap.regions.served import Served
from regioncap.steps.plan import plan_build
from regioncap.steps.publish import Published, publish_build
from regioncap.steps.render import render_shard
from regioncap.steps.validate import validate_shard
from regioncap.storage.local import LocalStore
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.warehouse.forgotten import all_of, forgettings_of
from regioncap.warehouse.layout import image_path
from regioncap.warehouse.manifest import current
from regioncap.work import layout
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan
from regioncap.work.receipts import StoredImage, sha256
from regioncap.work.shard import Shard, parse_lines

Model = TypeVar("Model", bound=BaseModel)

ROOT = Path(__file__).resolve().parents[1]
DATE = "2026-10-05"

# The fields of the original pipeline's records, in its order.
ORIGINAL_FIELDS = [
    "image", "type", "bbox", "normalized_bbox", "result_file", "image_with_bbox", "valid_bboxes_num", "prompt",
    "answer",
]  # fmt: skip


def picture(width: int = 120, height: int = 80, colour: tuple[int, int, int] = (200, 180, 160)) -> Image.Image:
    """A picture with something in it."""
    image = Image.new("RGB", (width, height), colour)
    ImageDraw.Draw(image).ellipse((width // 4, height // 4, width // 2, height // 2), fill=(30, 60, 200))
    return image


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """A picture as a file."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@dataclass(frozen=True)
class Expected:
    """What should become of a drop: the ids of its good rows in order, and the code of each bad line (1-based)."""

    good: list[str]
    codes: dict[int, str]


def broken_rows(place: "Place") -> Expected:
    """Fill a drop with broken rows of every kind, each between two good ones."""
    good_picture = encoded(picture())
    files: dict[str, bytes] = {
        "good.jpg": good_picture,
        "trailing.jpg": good_picture + b"\x00 garbage behind the end",
        "empty.jpg": b"",
        "text.jpg": b"This is not a picture.",
        "cut.jpg": good_picture[:-200],
        "huge.png": encoded(Image.new("1", (20_000, 20_000)), "PNG"),
        "even.png": encoded(Image.new("RGB", (90, 90), (250, 250, 250)), "PNG"),
    }
    for name, data in files.items():
        place.put(name, data)
    boxes = [[10, 10, 40, 30]]

    def row(image: Any, bbox: Any = boxes) -> str:
        return json.dumps({"image": image, "bbox": bbox})

    bad: list[tuple[str | bytes, str]] = [
        ("this is not JSON", "not_json"),
        ('{"image": "good.jpg", "bbox": [[1, 2', "not_json"),
        ("[1, 2, 3]", "not_an_object"),
        (b'{"image": "\xff\xfe.jpg"}', "not_utf8"),
        ('{"bbox": [[10, 10, 40, 30]]}', "image_missing"),
        (row(""), "image_missing"),
        (row(17), "image_not_a_path"),
        (row("/etc/hostname"), "image_outside_drop"),
        (row("../other/good.jpg"), "image_outside_drop"),
        (row("https://example.com/a.jpg"), "image_is_url"),
        (row("none.jpg"), "image_not_found"),
        (row("empty.jpg"), "image_empty"),
        (row("text.jpg"), "image_unreadable"),
        (row("cut.jpg"), "image_truncated"),
        (row("huge.png"), "image_too_large"),
        (row("good.jpg", "all of it"), "bbox_not_a_list"),
        (row("good.jpg", [10, 10, 40, 30]), "bbox_not_a_list"),
        (row("good.jpg", [7]), "not_a_box"),
        (row("good.jpg", [[10, 10, 40]]), "wrong_length"),
        (row("good.jpg", [[10, 10, 40, 30, 0.9]]), "wrong_length"),
        (row("good.jpg", [["10", "10", "40", "30"]]), "not_a_number"),
        (row("good.jpg", [[True, 10, 40, 30]]), "not_a_number"),
        (row("good.jpg", [[math.nan, 10, 40, 30]]), "not_finite"),
        (row("good.jpg", [[10, 10, math.inf, 30]]), "not_finite"),
        (row("good.jpg", [[10, 10, 0, 30]]), "no_area"),
        (row("good.jpg", [[10, 10, -5, 30]]), "no_area"),
        (row("good.jpg", [[500, 500, 40, 30]]), "outside"),
        (row("even.png", None), "no_boxes"),
        (row("even.png", []), "no_boxes"),
        ('{"id": "good-0", "image": "good.jpg", "bbox": [[10, 10, 40, 30]]}', "duplicate_id"),
        ('{"id": [], "image": "good.jpg", "bbox": [[10, 10, 40, 30]]}', "id_invalid"),
    ]
    lines: list[bytes] = []
    good: list[str] = []
    codes: dict[int, str] = {}
    for number, (text, code) in enumerate([*bad, (row("trailing.jpg"), "")]):
        identity = f"good-{number}"
        good.append(identity)
        image = "good.jpg" if code else "trailing.jpg"
        lines.append(json.dumps({"id": identity, "image": image, "bbox": [[10 + number, 10, 40, 30]]}).encode())
        if code:
            codes[len(lines) + 1] = code
            lines.append(text if isinstance(text, bytes) else text.encode())
    place.put("manifest.jsonl", b"\n".join(lines))
    return Expected(good, codes)


def centres_of_boxes(place: "Place", rows: int) -> None:
    """Fill a drop with rows of one box each, as [centre x, centre y, width, height], all over images of 200 x 100."""
    place.put("a.jpg", encoded(picture(200, 100)))
    centres = ((30 + 140 * (k * 7 % 12) / 11, 20 + 60 * (k * 5 % 12) / 11) for k in range(rows))
    place.put_rows(*({"image": "a.jpg", "bbox": [[x, y, 60, 40]]} for x, y in centres))


def settings(**changes: Any) -> BuildSettings:
    """Settings for a build in local folders."""
    return BuildSettings(
        **{
            "drops_uri": "/drops",
            "warehouse_uri": "/warehouse",
            "model_profile": "demo",
            "temperature": 0,
            "judge": "none",
            **changes,
        }
    )


_THINGS = ("a red door", "a grey cat", "two old chairs", "the left half of a bridge", "a lamp that is on")


def describe(row: RenderedRow) -> str:
    """A good answer about a marked row."""
    return json.dumps({f"<region{box.region}>": _THINGS[box.region % len(_THINGS)] for box in row.regions})


class Place:
    """A drop, a work area and a partition of one date in a folder."""

    def __init__(self, folder: Path, date: str = DATE) -> None:
        self.folder = folder
        self.date = date
        self.drop_folder = folder / "drops" / date
        self.drop_folder.mkdir(parents=True)
        self.drop = LocalStore(self.drop_folder)
        self.warehouse = LocalStore(folder / "warehouse")
        self.work = LocalStore(folder / "warehouse" / "_work" / f"dt={date}")
        self.partition = LocalStore(folder / "warehouse" / f"dt={date}")

    def put(self, name: str, data: bytes | str) -> None:
        """Put a file into the drop."""
        path = self.drop_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def put_rows(self, *rows: Any, name: str = "manifest.jsonl") -> None:
        """Write a manifest; a row is an object, or raw text."""
        self.put(name, "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))

    def good_rows(self, number: int) -> None:
        """A drop of `number` different good rows with two boxes each."""
        rows = []
        for index in range(number):
            self.put(f"{index}.jpg", encoded(picture(colour=(index * 37 % 256, 120, 90))))
            rows.append({"image": f"{index}.jpg", "bbox": [[10, 10, 40, 30], [60, 20, 50, 50]]})
        self.put_rows(*rows)

    def plan(
        self,
        run_id: str = "run-1",
        model: str = "fake-model",
        judge_model: str = "",
        served: Served | None = None,
        judge_served: Served | None = None,
        prices: Prices | None = None,
        **changes: Any,
    ) -> Plan:
        """Plan the drop."""
        return plan_build(
            date=self.date,
            drop=self.drop,
            work=self.work,
            partition=self.partition,
            settings=settings(**changes),
            model=model,
            run_id=run_id,
            progress=lambda rows: None,
            judge_model=judge_model,
            forgotten=all_of(forgettings_of(self.warehouse).lines()),
            served=served,
            judge_served=judge_served,
            prices=prices,
        )

    def build(self, say: Callable[[RenderedRow], str], model: str = "fake-model", **changes: Any) -> Published:
        """A published build whose answers are what `say` says about each marked row: there is no server."""
        plan = self.ready(say, model, **changes)
        return publish_build(
            plan=plan, drop=Images(self.drop), work=self.work, partition=self.partition, progress=lambda message: None
        )

    def ready(self, say: Callable[[RenderedRow], str], model: str = "fake-model", **changes: Any) -> Plan:
        """The same until its last shard is validated."""
        plan = self.plan(model=model, **{"max_attempts": 1, "max_rejected_ratio": 1, **changes})
        for shard_id in plan.shards:
            render_shard(
                drop=Images(self.drop), work=self.work, shard_id=shard_id, plan=plan, progress=lambda done, rows: None
            )
            self._answer(plan, Shard(self.work, plan, shard_id), say)
            validate_shard(work=self.work, shard_id=shard_id, plan=plan)
        return plan

    def published(self, name: str) -> str:
        """A file of the current build."""
        manifest, _ = current(self.partition)
        assert manifest is not None
        return self.partition.read(f"{manifest.build}/{name}").decode()

    def _answer(self, plan: Plan, shard: Shard, say: Callable[[RenderedRow], str]) -> None:
        answers = [
            Completion(key=request.key, text=say(row), finish_reason="stop", prompt_tokens=250, completion_tokens=50)
            for row in shard.rendered().rows
            for request in first_requests(row, plan)
        ]
        write_lines(shard.shared, f"{layout.ANSWERS}1.jsonl", answers)
        counts = AskCounts(
            questions=len(answers), kept=0, taken_over=0, asked=len(answers), prompt_tokens=250 * len(answers),
            completion_tokens=50 * len(answers), seconds=0.4 * len(answers), schema_ignored=False,
        )  # fmt: skip
        shard.own.write(layout.CAPTION_COUNTS, counts.model_dump_json().encode())


def write_lines(store: Store, path: str, rows: Iterable[BaseModel]) -> None:
    """Write a JSONL file at once."""
    store.write(path, b"".join(map(line, rows)))


def read_lines(store: Store, path: str, model: type[Model]) -> list[Model]:
    """All rows of a JSONL file."""
    return list(parse_lines(store.read(path), model, path, ""))


def records(shard: Shard) -> list[Record]:
    """The records of a validated shard."""
    return list(parse_lines(shard.validated().records, Record, "records", ""))


def rejected_rows(shard: Shard) -> list[Rejected]:
    """What a shard's steps rejected."""
    steps = (layout.RENDER_REJECTED, layout.VALIDATE_REJECTED)
    return [row for path in steps for row in read_lines(shard.own, path, Rejected)]


def planned(model: str = "fake-model", date: str = DATE, **changes: Any) -> Plan:
    """A plan of no drop at all, for what only needs its settings."""
    return Plan(
        plan_id="plan", date=date, drop_uri="file:///drops", settings=settings(**changes), model=model,
        fingerprint="", identity="", rows=0, rejected=0, shards=[], shards_to_propose=[], sources={}, unchanged=False,
        ask_again="",
    )  # fmt: skip


def record(number: int, marked: str, caption: str = "a red door") -> Record:
    """A record about the marked image of this name."""
    box = RegionBox(region=1, box_index=0, bbox=[10, 10, 40, 30])
    return Record(
        image=f"{number}.jpg", type="with_bbox", bbox=[[10, 10, 40, 30]], normalized_bbox=[[0.1, 0.1, 0.4, 0.5]],
        result_file=".", image_with_bbox=image_path(marked), valid_bboxes_num=1, prompt="What is there?",
        answer=f"<region1>: {caption}", id=str(number), image_uri=f"file:///drops/{number}.jpg", image_sha256="0" * 64,
        width=120, height=80, regions=[RegionCaption(**box.model_dump(), caption=caption)], dropped_boxes=[],
        attempts=1, checks=[],
    )  # fmt: skip


def validated(work: Store, name: str, shards: int = 2, rows: int = 3, date: str = DATE, **changes: Any) -> Plan:
    """Shards as `validate` leaves them behind: records about pictures of their own, and a rejected row in each.

    The plan's `name` is in every caption, so each name makes another build.
    """
    ids = [f"{name}-{number}" for number in range(shards)]
    plan = (
        planned(date=date, **{"max_rejected_ratio": 1.0, **changes})
        .model_copy(
            update={"fingerprint": name, "rows": shards * (rows + 1), "rejected": 0, "shards": ids}
            | {"rejected_rows": sha256(b"")}
        )
        .with_id()
    )
    nothing = AskCounts(questions=rows, kept=0, taken_over=0, asked=rows, prompt_tokens=0, completion_tokens=0,
                        seconds=0.0, schema_ignored=False)  # fmt: skip
    for number, shard_id in enumerate(ids):
        shard = Shard(work, plan, shard_id)
        pictures = [encoded(picture(colour=(number % 256, row % 256, 90))) for row in range(rows)]
        for jpeg in pictures:
            shard.shared.write(image_path(content_name(jpeg)), jpeg)
        names = [content_name(jpeg) for jpeg in pictures]
        bad = Rejected(manifest="manifest.jsonl", line=number + 1, id=None, code=Code.NOT_JSON, reason=name, row="x")
        stored = shard.shared.list("images/")
        images = {entry.path: StoredImage(bytes=entry.size, checksum=entry.checksum) for entry in stored}
        shard.write_rendered([], [bad], images=images, inputs={}, seconds=0.0)
        made = [record(row, names[row], f"{name} {row}") for row in range(rows)]
        shard.write_validated(made, [], inputs=shard.rendered().inputs, seconds=0.0)
        shard.own.write(layout.CAPTION_COUNTS, nothing.model_dump_json().encode())
    work.write(layout.plan_rejected_path(plan.plan_id), b"")
    plan.save(work)
    return plan


def publish_each(place: "Place", *names: str, **changes: Any) -> list[str]:
    """Publish a small build per name, which may be deleted as soon as it is not kept; returns their ids."""
    return [
        publish_build(
            plan=validated(place.work, name, shards=1, rows=1, date=place.date, **changes),
            drop=place.drop, work=place.work, partition=place.partition,
            progress=lambda message: None, grace=timedelta(0),
        ).manifest.build_id
        for name in names
    ]  # fmt: skip


def read_whole(partition: Store, manifest_path: str = "_manifest.json") -> str:
    """Read a build as a stranger would, the current one by default: nothing of it may be missing, torn or mixed.

    Returns its id.
    """
    manifest = json.loads(partition.read(manifest_path))
    names = set()
    rows = 0
    for entry in [*manifest["captions"], manifest["rejected"]]:
        data = partition.read(entry["path"])
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]), entry["path"]
        assert data.count(b"\n") == entry["rows"]
        assert entry["path"].startswith(manifest["build"] + "/")
        rows += entry["rows"]
        names |= {json.loads(text).get("image_with_bbox") for text in data.splitlines()} - {None}
    assert rows == manifest["counts"]["rows"]
    for name in sorted(names):
        assert content_name(partition.read(f"{manifest['build']}/{name}")) == Path(name).stem
    for name in ("report.json", "report.html", "README.md"):
        assert partition.stat(f"{manifest['build']}/{name}").size
    return str(manifest["build_id"])


def kept_builds(partition: Store) -> list[str]:
    """The ids of the current build and of the earlier ones that its manifest lists."""
    manifest, _ = current(partition)
    return [manifest.build_id, *(build.build_id for build in manifest.history)] if manifest else []


def marked_row(number: int, regions: int = 2, crops: bool = False) -> RenderedRow:
    """A row whose image `number` is marked with so many regions."""
    boxes: list[list[int | float]] = [[10 * region, 10, 8, 8] for region in range(regions)]
    return RenderedRow(
        manifest="manifest.jsonl", line=number + 1, id=str(number), image=f"{number}.jpg", type="with_bbox",
        bbox=boxes, normalized_bbox=[], dropped_boxes=[], warnings=[], image_sha256="", width=640, height=480,
        regions=[RegionBox(region=index + 1, box_index=index, bbox=box) for index, box in enumerate(boxes)],
        marked=f"marked-{number}", crops=[f"close-{number}-{k}" for k in range(regions)] if crops else [],
    )  # fmt: skip
