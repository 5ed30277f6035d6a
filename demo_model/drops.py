"""Drops of synthetic scenes: for `make eval`, and the sample drops in `include/drops/`.

python -m demo_model.drops --seed 1 --images 100 --out DROP --truth FILE
python -m demo_model.drops --samples include/drops
"""

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from demo_model.world import MAX_REGIONS, Scene, Thing, generator, make_scene
from regioncap.drop.detectors import contours
from regioncap.drop.drop import READY_MARKER
from regioncap.drop.images import open_image

MANIFEST = "manifest.jsonl"

# Image path -> the caption of each box, in the order of the row's boxes.
Truth = dict[str, list[str]]


@dataclass(frozen=True)
class Row:
    """A manifest line (an object, or raw text), its image's path and bytes, and the truth about its boxes."""

    line: dict[str, Any] | str
    files: dict[str, bytes]
    truth: list[str] | None = None


def write_drop(folder: Path, rows: list[Row]) -> Truth:
    """Write a drop, `_READY` last; returns the truth about it."""
    truth: Truth = {}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
        for row in rows:
            manifest.write(row.line if isinstance(row.line, str) else json.dumps(row.line))
            manifest.write("\n")
            for path, data in row.files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
            if row.truth is not None and isinstance(row.line, dict):
                truth[row.line["image"]] = row.truth
    (folder / READY_MARKER).touch()
    return truth


def evaluation_rows(seed: int, images: int) -> Iterator[Row]:
    """Scenes that training never saw: every other one with 1 to 6 regions, every other one with 7 to 10."""
    for index in range(images):
        rng = generator("evaluate", seed, index)
        regions = int(rng.integers(1, 7)) if index % 2 == 0 else int(rng.integers(7, MAX_REGIONS + 1))
        scene = make_scene(rng, regions)
        yield _scene_row(f"images/{index:05d}.{'png' if index % 5 == 4 else 'jpg'}", scene, quality=90)


def _scene_row(path: str, scene: Scene, quality: int = 88) -> Row:
    return Row(
        {"image": path, "bbox": scene.boxes},
        {path: _encoded(scene.image, path, quality)},
        [thing.caption for thing in scene.things],
    )


def _encoded(image: Image.Image, path: str, quality: int) -> bytes:
    out = io.BytesIO()
    if path.endswith(".png"):
        image.save(out, "PNG", optimize=True)
    else:
        image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _sample_scenes(seed: int, images: int) -> list[Row]:
    """Mostly one to six regions, some more; a few small PNGs among JPEGs."""
    rows = []
    for index in range(images):
        rng = generator("sample", seed, index)
        scene = make_scene(rng, int(rng.integers(7, 11)) if index % 6 == 5 else int(rng.integers(1, 7)))
        png = index % 10 == 2
        rows.append(_scene_row(f"{index:02d}.{'png' if png else 'jpg'}", scene))
    return rows


def _without_boxes(seed: int, number: int) -> list[Row]:
    """Scenes on an even background whose things their contours show, without boxes in the manifest."""
    rows: list[Row] = []
    index = 0
    while len(rows) < number:
        scene = make_scene(generator("sample", seed, 1000 + index), 1 + index % 3, plain=True)
        path = f"plain-{len(rows)}.jpg"
        data = _encoded(scene.image, path, 92)
        proposed = contours(open_image(data).decode(colour_managed=False))
        if len(proposed) == len(scene.things):
            # The truth in the order of the proposals.
            centres = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in proposed]
            nearest = [_nearest(scene.things, centre).caption for centre in centres]
            rows.append(Row({"image": path}, {path: data}, nearest))
        index += 1
    return rows


def _nearest(things: list[Thing], point: tuple[float, float]) -> Thing:
    return min(things, key=lambda thing: _distance(thing.rect, point))


def _distance(rect: tuple[float, float, float, float], point: tuple[float, float]) -> float:
    return abs(rect[0] + rect[2] / 2 - point[0]) + abs(rect[1] + rect[3] / 2 - point[1])


def _first_sample() -> list[Row]:
    """Forty-two good rows with boxes, three without; seven broken ones that a hurried export makes."""
    rows = _sample_scenes(5, 42)
    good = rows[0].files
    picture = next(iter(good.values()))
    broken = [
        Row({"image": "not-there.jpg", "bbox": [[10, 10, 80, 60]]}, {}),
        Row({"image": "three-numbers.jpg", "bbox": [[10, 10, 80]]}, {"three-numbers.jpg": picture}),
        Row('{"image": "nan.jpg", "bbox": [[NaN, 10, 80, 60]]}', {"nan.jpg": picture}),
        Row({"image": "outside.jpg", "bbox": [[5000, 5000, 80, 60]]}, {"outside.jpg": picture}),
        Row('{"image": "half a line', {}),
        Row({"image": "../2026-10-06/00.jpg", "bbox": [[10, 10, 80, 60]]}, {}),
        Row({"image": "cut-off.jpg", "bbox": [[10, 10, 80, 60]]}, {"cut-off.jpg": picture[: len(picture) // 2]}),
    ]
    return _mixed(rows + _without_boxes(5, 3), broken)


def _second_sample() -> list[Row]:
    """The same on another day, with other faults, and rows of which only some boxes are good."""
    rows = _sample_scenes(6, 32)
    crowded, partly = rows[5], rows[1]
    assert isinstance(crowded.line, dict) and isinstance(partly.line, dict)
    # Boxes beyond max_boxes, and a bad box beside good ones: the rows stay.
    crowded.line["bbox"] = (crowded.line["bbox"] * 2)[:12]
    partly.line["bbox"] = [*partly.line["bbox"], [30, 30, 0, 0]]
    picture = next(iter(rows[0].files.values()))
    null_boxes = [
        Row({**row.line, "bbox": None}, row.files, row.truth)
        for row in _without_boxes(6, 3)[2:]
        if isinstance(row.line, dict)
    ]
    broken = [
        Row({"image": "words.jpg", "bbox": [["10", "10", "80", "60"]]}, {"words.jpg": picture}),
        Row({"image": "flat.jpg", "bbox": [10, 10, 80, 60]}, {"flat.jpg": picture}),
        Row({"image": "/etc/hostname", "bbox": [[10, 10, 80, 60]]}, {}),
        Row({"image": "https://example.com/a.jpg", "bbox": [[10, 10, 80, 60]]}, {}),
        Row({"image": "text.jpg", "bbox": [[10, 10, 80, 60]]}, {"text.jpg": b"This is not a picture.\n"}),
        Row({"image": "no-area.jpg", "bbox": [[10, 10, 0, 60]]}, {"no-area.jpg": picture}),
    ]
    first, second = rows[2], rows[3]
    assert isinstance(first.line, dict) and isinstance(second.line, dict)
    first.line["id"] = "street-17"
    repeated = Row({**second.line, "image": "00.jpg", "id": "street-17"}, {})
    return _mixed([*rows, *_without_boxes(6, 2), *null_boxes], [*broken, repeated])


def _mixed(good: list[Row], broken: list[Row]) -> list[Row]:
    """Spread the broken rows among the good ones."""
    rows = list(good)
    for number, row in enumerate(broken):
        rows.insert((number + 1) * len(good) // (len(broken) + 1) + number, row)
    return rows


def main() -> None:
    """Write an evaluation drop, or the sample drops."""
    parser = argparse.ArgumentParser(description="Write drops of synthetic scenes.")
    parser.add_argument("--samples", type=Path, help="write the two sample drops below this folder")
    parser.add_argument("--seed", type=int, default=1, help="which series of scenes")
    parser.add_argument("--images", type=int, default=100, help="how many scenes")
    parser.add_argument("--out", type=Path, help="the drop's folder")
    parser.add_argument("--truth", type=Path, help="where the truth is written, outside the drop")
    arguments = parser.parse_args()
    if arguments.samples:
        for date, rows in (("2026-10-05", _first_sample()), ("2026-10-06", _second_sample())):
            _write(arguments.samples / date, arguments.samples / "truth" / f"{date}.json", rows)
    elif arguments.out and arguments.truth:
        _write(arguments.out, arguments.truth, list(evaluation_rows(arguments.seed, arguments.images)))
    else:
        parser.error("give --samples, or --out and --truth")


def _write(folder: Path, truth_file: Path, rows: list[Row]) -> None:
    truth = write_drop(folder, rows)
    truth_file.parent.mkdir(parents=True, exist_ok=True)
    truth_file.write_text(json.dumps(truth, indent=1) + "\n")
    print(f"{folder}: {len(rows)} rows")


if __name__ == "__main__":
    main()
