"""The exports `llava` and `llava_pixels`: conversations as LLaVA is taught with, a question about each region."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from regioncap.captions.prompts import PromptLanguage
from regioncap.exports.export import Export, Row, carries, write_arrays

# Where in the text the image goes.
_IMAGE = "<image>\n"
# Where a text has these words in it, readers look for another file, or count files and words and refuse all of them.
_FILE = re.compile("<(image|video|audio)>")
# The words of LLaVA-1.5's own mix (https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K).
_ASK: dict[PromptLanguage, str] = {
    "en": "Please provide a short description for this region: [{}].",
    "zh": "请简短描述这个区域：[{}]。",
}

# From a record and one of its regions to the box as it stands in the text.
_Box = Callable[[dict[str, Any], dict[str, Any]], Sequence[str]]


def _share(record: dict[str, Any], region: dict[str, Any]) -> Sequence[str]:
    """Corners as shares of the image's sides: x0, y0, x1, y1."""
    x, y, width, height = region["bbox"]
    sides = record["width"], record["height"]
    corners = (x / sides[0], y / sides[1], (x + width) / sides[0], (y + height) / sides[1])
    return [f"{corner:.3f}" for corner in corners]


def _pixels(_: dict[str, Any], region: dict[str, Any]) -> Sequence[str]:
    """Corners in whole pixels of the image as displayed: x0, y0, x1, y1."""
    x, y, width, height = region["bbox"]
    return [str(round(corner)) for corner in (x, y, x + width, y + height)]


# The boxes fit the originals, and no other image.
@carries("original", beside=True)
def llava(export: Export) -> None:
    """JSON files, each one array of conversations; boxes as shares of the image's sides, with three decimals."""
    _write(export, _share)


@carries("original", beside=True)
def llava_pixels(export: Export) -> None:
    """JSON files, each one array of conversations; boxes in whole pixels."""
    _write(export, _pixels)


def _write(export: Export, box: _Box) -> None:
    ask = _ASK[export.plan.settings.prompt_language]
    # ASCII: LLaVA's code opens the file in whatever encoding the machine has.
    write_arrays(export, lambda row: json.dumps(_conversation(row, ask, box)))


def _conversation(row: Row, ask: str, box: _Box) -> dict[str, Any]:
    return {
        "id": row.record["id"],
        "image": _file_name(row),
        "conversations": list(_turns(row.record, ask, box)),
    }


def _file_name(row: Row) -> str:
    """Relative to the export's folder where it carries images, else to the drop."""
    return f"images/{row.file}" if row.file is not None else str(row.record["image"])


def _turns(record: dict[str, Any], ask: str, box: _Box) -> Iterator[dict[str, str]]:
    for place, region in enumerate(record["regions"]):
        asked = ask.format(", ".join(box(record, region)))
        yield {"from": "human", "value": ("" if place else _IMAGE) + asked}
        yield {"from": "gpt", "value": _FILE.sub(r"< \1 >", region["caption"])}
