"""What is handed out to annotation tools in the tests: records that tests/data/handed_out/ was made of.

    PYTHONPATH=plugins:. python -m tests.unit.exports.handed tests/data/handed_out

writes them as the exports do, for make.py there.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from regioncap.exports import write_exports
from regioncap.regions.jsonl import line
from regioncap.regions.records import Record
from regioncap.storage.local import LocalStore
from regioncap.work import layout
from regioncap.work.receipts import sha256
from regioncap.work.shard import Shard, ValidatedShard
from tests.builders import planned

TOOLS = ("label_studio", "cvat")


def record(number: int, image: str, *regions: tuple[list[int | float], str, str | None]) -> Record:
    """A record of an image with so many regions: box, caption and label."""
    return Record(
        image=image, type="with_bbox", bbox=[box for box, _, _ in regions], normalized_bbox=[], result_file=".",
        image_with_bbox=f"images/{number:032x}.jpg", valid_bboxes_num=len(regions), prompt="What?", answer="-",
        id=f"id {number}/{image}", image_uri=f"s3://drops/2026-10-05/{image}",
        image_sha256=f"{sum(image.encode()):064x}", width=640, height=480, dropped_boxes=[], attempts=1, checks=[],
        regions=[
            {"region": place, "box_index": place - 1, "bbox": box, "caption": caption, "label": label}
            for place, (box, caption, label) in enumerate(regions, start=1)
        ],
    )  # fmt: skip


RECORDS = [
    record(0, "a.jpg", ([10, 20, 101, 47], "a red door", None), ([60.25, 20.5, 33.3, 111.1], "a grey cat", "Bär")),
    record(1, "street/b ü.jpg", ([0, 0, 640, 480], 'a sign: "<STOP> & go"', "cup & saucer"), ([1, 2, 3, 4], "1", None)),
    record(2, "a.jpg", ([11, 21, 97, 31], "一扇红色的门", "自行车"), ([10, 20, 101, 47], "a door, red", None)),
    record(3, "c.png", ([600, 440, 40, 40], "=1+1, it's a sum 😀", None)),
]


def handed_out(folder: Path, records: list[Record], *tools: str, **changes: Any) -> None:
    """Write the exports of records into a folder, `exports/<tool>/` in it."""
    work = LocalStore(folder / "work")
    plan = planned().model_copy(update={"shards": ["shard"]})
    shard, data = Shard(work, plan, "shard"), b"".join(map(line, records))
    shard.own.write(layout.RECORDS, data)
    write_exports(
        plan=planned(export_formats=list(tools), **changes), drop=LocalStore(folder / "drop"),
        shards=[ValidatedShard(shard, len(records), sha256(data))], records=len(records),
        build=LocalStore(folder), progress=lambda message: None, written=lambda path, size, checksum: None,
    )  # fmt: skip


def main(to: Path) -> None:
    """Write what make.py reads."""
    with tempfile.TemporaryDirectory() as folder:
        handed_out(Path(folder), RECORDS, *TOOLS)
        for tool in TOOLS:
            for path in Path(folder, "exports", tool).iterdir():
                name = path.name.replace("captions-00000-of-00001", tool).replace("captions", tool)
                (to / name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
