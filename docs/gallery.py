"""The pictures of marks in the docs: every style on layouts that are hard to label, close-ups, a photo, and a scene.

python docs/gallery.py FOLDER
"""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from regioncap.marks.palette import colour_of, contrast
from regioncap.marks.profiles import PROFILES
from regioncap.marks.styles import STYLES, draw_marks
from regioncap.marks.view import crop_view, mark
from regioncap.regions.boxes import Box

_DROPS = Path(__file__).resolve().parents[1] / "include" / "drops"
_PHOTO = _DROPS / "2026-10-07" / "china.jpg"
_SIZE = (420, 280)
_GAP, _HEAD = 12, 34

# Small things in the photo, by region.
_DETAILS: dict[int, Box] = {1: (139, 18, 170, 60), 2: (352, 165, 412, 190), 3: (90, 205, 122, 236)}


def _grid(columns: int, rows: int, gap: int) -> list[Box]:
    width, height = _SIZE[0] / columns, _SIZE[1] / rows
    return [
        (column * width + gap, row * height + gap, (column + 1) * width - gap, (row + 1) * height - gap)
        for row in range(rows)
        for column in range(columns)
    ]


LAYOUTS: dict[str, list[Box]] = {
    "apart": [(40, 90, 120, 200), (160, 60, 260, 150), (290, 120, 390, 260)],
    "nested": [(20, 20, 400, 260), (60, 50, 340, 230), (110, 80, 280, 200), (160, 110, 220, 160)],
    "one corner shared": [(60, 60, 150, 120), (60, 60, 240, 180), (60, 60, 340, 250)],
    "touching": _grid(3, 2, 0),
    "at the edges": [(0, 0, 90, 70), (330, 0, 420, 70), (0, 210, 90, 280), (330, 210, 420, 280), (180, 0, 240, 40)],
    "the whole frame": [(0, 0, 420, 280), (0, 0, 420, 280)],
    "tiny": [(100 + 60 * k, 140, 106 + 60 * k, 146) for k in range(4)],
    "fifty": _grid(10, 5, 6),
}


def styles() -> Image.Image:
    """Every style on every layout."""
    with Image.open(_PHOTO) as photo:
        background = photo.convert("RGB").resize(_SIZE)
    width = len(STYLES) * (_SIZE[0] + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(LAYOUTS) * (_SIZE[1] + _HEAD) + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for row, (name, boxes) in enumerate(LAYOUTS.items()):
        for column, style in enumerate(STYLES.values()):
            image = background.copy()
            draw_marks(image, dict(enumerate(boxes, start=1)), style)
            x, y = _GAP + column * (_SIZE[0] + _GAP), row * (_SIZE[1] + _HEAD)
            draw.text((x, y + 8), f"{style.name}: {name}", font=font, fill="#222222")
            sheet.paste(image, (x, y + _HEAD))
    return sheet


def crops() -> Image.Image:
    """What a model is shown when it is asked about each region by itself: the marked image, and each close-up."""
    with Image.open(_PHOTO) as opened:
        photo = opened.convert("RGB")
    profile, style = PROFILES["qwen2.5-vl"], STYLES["box"]
    images = [mark(photo, photo.size, _DETAILS, profile, style)]
    images += [crop_view(photo, photo.size, region, box, profile, style)[0] for region, box in _DETAILS.items()]
    shown = [image.resize((round(image.width * _SIZE[1] / image.height), _SIZE[1])) for image in images]
    sheet = Image.new("RGB", (sum(image.width + _GAP for image in shown) + _GAP, _SIZE[1] + 2 * _GAP), "white")
    x = _GAP
    for image in shown:
        sheet.paste(image, (x, _GAP))
        x += image.width + _GAP
    return sheet


def marked(drop: str, image: str, profile: str) -> Image.Image:
    """An image of a sample drop as a model of a profile sees it."""
    lines = (_DROPS / drop / "manifest.jsonl").read_text().splitlines()
    boxes = next(row["bbox"] for row in _rows(lines) if row["image"] == image)
    corners = {region: (x, y, x + w, y + h) for region, (x, y, w, h) in enumerate(boxes, start=1)}
    with Image.open(_DROPS / drop / image) as opened:
        return mark(opened.convert("RGB"), opened.size, corners, PROFILES[profile], STYLES["box"])


def _rows(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The lines that are objects: sample drops have broken ones too."""
    for line in lines:
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def described(drop: str, image: str) -> Image.Image:
    """A scene's marked image, and beside it what is in each of its regions."""
    scene = marked(drop, image, "demo").resize((512, 512))
    captions = json.loads((_DROPS / "truth" / f"{drop}.json").read_text())[image]
    sheet = Image.new("RGB", (1032, 512), "white")
    sheet.paste(scene)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(21)
    for region, caption in enumerate(captions, start=1):
        y = 257 - 23 * len(captions) + 46 * (region - 1)
        draw.rounded_rectangle((536, y, 572, y + 34), 6, fill=colour_of(region))
        draw.text((554, y + 17), str(region), font=font, fill=contrast(colour_of(region)), anchor="mm")
        draw.text((588, y + 17), caption, font=font, fill="#111111", anchor="lm")
    return sheet


def main() -> None:
    """Draw the pictures."""
    folder = Path(sys.argv[1])
    marked("2026-10-07", "astronaut.jpg", "generic").save(folder / "marked-photo.jpg", quality=88)
    described("2026-10-05", "17.jpg").save(folder / "example.png", optimize=True)
    styles().quantize(200).save(folder / "marks.png", optimize=True)
    crops().save(folder / "close-ups.jpg", quality=85)


if __name__ == "__main__":
    main()
