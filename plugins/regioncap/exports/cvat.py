"""The export `cvat`, one XML file as "CVAT for images" has it, and what comes back of it."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from regioncap.drop.given import UNLABELLED
from regioncap.drop.readers.elements import elements, number_of
from regioncap.exports.export import Export, Row, carries
from regioncap.exports.handed_out import KEY, Key, Returned, added, key_of, moved, xml_text

_CAPTION, _RECORD = "caption", "record_id"
_ATTRIBUTES = (_CAPTION, _RECORD, KEY)
# CVAT cuts the labels of a task at so many characters, and then does not know a longer one in its annotations.
_LONGEST_LABEL = 64
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_SHAPES = ("polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton")


# Boxes are in pixels of the originals.
@carries("original", beside=True)
def cvat(export: Export) -> None:
    """One XML file: an element for every image file, in it a box for every region; and `labels.json` for the task.

    CVAT knows an image by its name: relative to the export's `images` where it carries them, else to the drop. Where
    an image lies deeper in a task, CVAT finds it all the same.
    """
    language = export.plan.settings.prompt_language
    images: dict[int, _Image] = {}
    labels = {UNLABELLED: None}
    with tempfile.TemporaryFile() as boxes:
        for row in export.rows():
            name = row.file if row.file is not None else row.record["image"]
            key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
            # A drop may name an image in several rows, whose boxes belong into one element.
            if key not in images:
                images[key] = _Image(boxes, len(images), name, row)
            for region in row.record["regions"]:
                labels[_name(region)] = None
                images[key].add(boxes, _box(row.record, region, language))
        with export.file(f"{export.prefix}.xml", export.records) as path, path.open("wb") as stream:
            stream.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
            stream.write(_meta(labels, len(images)).encode())
            for image in images.values():
                image.copy(boxes, stream)
            stream.write(b"</annotations>\n")
    with export.file("labels.json", export.records) as path:
        path.write_text(json.dumps([_label(label) for label in labels], indent=2) + "\n", encoding="utf-8")


class _Image:
    """Where in a file the pieces of an image's element are: its own tag, and its boxes as they come."""

    __slots__ = ("_pieces",)

    def __init__(self, boxes: IO[bytes], number: int, name: str, row: Row) -> None:
        self._pieces: list[tuple[int, int]] = []
        width, height = row.record["width"], row.record["height"]
        tag = f'  <image id="{number}" name={quoteattr(xml_text(name))} width="{width}" height="{height}">\n'
        self.add(boxes, tag)

    def add(self, boxes: IO[bytes], text: str) -> None:
        """Write a piece to the file."""
        data = text.encode()
        end = boxes.seek(0, 2)
        boxes.write(data)
        # Mostly an image has one row, whose boxes come one after the other: there are millions of images.
        start = self._pieces.pop()[0] if self._pieces and sum(self._pieces[-1]) == end else end
        self._pieces.append((start, end + len(data) - start))

    def copy(self, boxes: IO[bytes], stream: IO[bytes]) -> None:
        """Write the whole element."""
        for start, size in self._pieces:
            boxes.seek(start)
            stream.write(boxes.read(size))
        stream.write(b"  </image>\n")


def _box(record: dict[str, Any], region: dict[str, Any], language: str) -> str:
    x, y, width, height = region["bbox"]
    corners = " ".join(
        f'{name}="{number}"' for name, number in zip(_CORNERS, (x, y, x + width, y + height), strict=True)
    )
    values = region["caption"], record["id"], key_of(record, region, language).text
    told = "".join(
        f'      <attribute name="{name}">{_text(value)}</attribute>\n'
        for name, value in zip(_ATTRIBUTES, values, strict=True)
    )
    label = quoteattr(_name(region))
    return f'    <box label={label} source="manual" occluded="0" {corners} z_order="0">\n{told}    </box>\n'


def _name(region: dict[str, Any]) -> str:
    """A region's label, as long as CVAT keeps it."""
    return xml_text(region["label"] or UNLABELLED)[:_LONGEST_LABEL]


def _text(text: str) -> str:
    # Readers fold a carriage return into a line's end.
    return escape(xml_text(text), {"\r": "&#13;"})


def _label(name: str) -> dict[str, Any]:
    """A label as the raw editor of a CVAT task takes it."""
    each = {"mutable": False, "input_type": "text", "default_value": "", "values": []}
    return {"name": name, "attributes": [{"name": attribute, **each} for attribute in _ATTRIBUTES]}


def _meta(labels: dict[str, None], images: int) -> str:
    """What readers look up labels and their attributes in."""
    attributes = "".join(
        f"<attribute><name>{name}</name><mutable>False</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for name in _ATTRIBUTES
    )
    listed = "".join(
        f"      <label><name>{_text(label)}</name><attributes>{attributes}</attributes></label>\n" for label in labels
    )
    return f"  <meta><task><size>{images}</size><mode>annotation</mode><labels>\n{listed}    </labels></task></meta>\n"


def returned_by_cvat(path: Path) -> Iterator[Returned]:
    """The regions of what CVAT exports of such a task as "CVAT for images". Raises ValueError where it is none."""
    with path.open("rb") as stream:
        for line, element in elements(stream, _wrong_root):
            if element.tag == "track":
                raise ValueError("it is of a video (<track>): export it from CVAT as 'CVAT for images'")
            if element.tag == "image":
                yield from _returned(line, element)


def _wrong_root(name: str) -> str | None:
    return None if name == "annotations" else f"its root is <{name[:40]}>, not <annotations>"


def _returned(line: int, image: Element) -> Iterator[Returned]:
    where = f"line {line} ({image.get('name')})"
    seen: set[str] = set()
    # Somebody may have copied a box, with all that it says: the one that is where it was is the region.
    shapes = [part for part in image if part.tag in ("box", *_SHAPES)]
    for number, part in sorted(enumerate(shapes, start=1), key=lambda item: not _is_in_place(item[1])):
        key = _key(part)
        at = f"{where}, box {number}"
        in_place = _is_in_place(part)
        if key is None or (not in_place and key.text in seen):
            yield added(at)
            continue
        seen.add(key.text)
        if not in_place:
            yield moved(at, key)
            continue
        said = [attribute.text or "" for attribute in part.iter("attribute") if attribute.get("name") == _CAPTION]
        yield (
            Returned(at, key, said[0])
            if len(said) == 1
            else Returned(at, key, fault=f"it has {len(said) or 'no'} captions there: it needs one")
        )


def _is_in_place(part: Element) -> bool:
    key = _key(part)
    corners = [number_of(part.get(name)) for name in _CORNERS]
    x0, y0, x1, y1 = (number if isinstance(number, float) else float("nan") for number in corners)
    return (
        key is not None
        and part.tag == "box"
        and number_of(part.get("rotation", "0")) == 0
        and key.is_at((x0, y0, x1 - x0, y1 - y0))
    )


def _key(part: Element) -> Key | None:
    texts = [attribute.text for attribute in part.iter("attribute") if attribute.get("name") == KEY]
    return Key.read(texts[0]) if len(texts) == 1 else None
