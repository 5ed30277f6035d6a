"""The README's picture: a published marked image with its captions beside it, in the colours of the marks.

python docs/pictures.py PUBLISHED IMAGE OUT.png
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from demo_model.evaluate import published_records
from regioncap.marks.palette import colour_of, contrast

_HEIGHT = 512
_TEXT_WIDTH = 520
_LINE = 46


def main() -> None:
    """Draw the record of IMAGE in the copy of a partition at PUBLISHED."""
    published, name, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    record = next(record for record in published_records(published) if record["image"] == name)
    build = next(published.glob("build=*"))
    marked: Image.Image = Image.open(build / record["image_with_bbox"])
    marked = marked.resize((round(marked.width * _HEIGHT / marked.height), _HEIGHT), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (marked.width + _TEXT_WIDTH, _HEIGHT), "white")
    sheet.paste(marked)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(22)
    top = (_HEIGHT - _LINE * len(record["regions"])) // 2
    for row, region in enumerate(record["regions"]):
        x, y = marked.width + 24, top + row * _LINE
        colour = colour_of(region["region"])
        draw.rounded_rectangle((x, y, x + 36, y + 34), radius=5, fill=colour)
        draw.text((x + 18, y + 17), str(region["region"]), font=font, fill=contrast(colour), anchor="mm")
        draw.text((x + 52, y + 17), region["caption"], font=font, fill="#222222", anchor="lm")
    sheet.save(out, optimize=True)


if __name__ == "__main__":
    main()
