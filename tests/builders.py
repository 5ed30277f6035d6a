"""Small pieces of test data."""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from regioncap.builds.plan import Plan, plan_build
from regioncap.builds.settings import BuildSettings
from regioncap.storage.local import LocalStore

ROOT = Path(__file__).resolve().parents[1]
DATE = "2026-10-05"


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


def settings(**changes: Any) -> BuildSettings:
    """Settings for a build in local folders."""
    return BuildSettings(
        **{"drops_uri": "/drops", "warehouse_uri": "/warehouse", "model_profile": "demo", "temperature": 0, **changes}
    )


class Place:
    """A drop, a work area and a partition of one date in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drop_folder = folder / "drops" / DATE
        self.drop_folder.mkdir(parents=True)
        self.drop = LocalStore(self.drop_folder)
        self.work = LocalStore(folder / "warehouse" / "_work" / f"dt={DATE}")
        self.partition = LocalStore(folder / "warehouse" / f"dt={DATE}")

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

    def plan(self, run_id: str = "run-1", model: str = "fake-model", **changes: Any) -> Plan:
        """Plan the drop."""
        return plan_build(
            date=DATE,
            drop=self.drop,
            work=self.work,
            partition=self.partition,
            settings=settings(**changes),
            model=model,
            run_id=run_id,
            progress=lambda rows: None,
        )
