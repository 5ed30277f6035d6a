"""CVAT for images: one XML file with all images and their boxes."""

import math
import posixpath
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from regioncap.drop.given import UNLABELLED
from regioncap.drop.readers.elements import elements, number_of
from regioncap.drop.readers.reader import (
    IMAGE_ENDINGS,
    DropReader,
    Given,
    Row,
    around,
    from_corners,
    id_in,
    left_out,
    tidy,
)
from regioncap.errors import RowError

_CORNERS = ("xtl", "ytl", "xbr", "ybr")
# What has an extent; of each, the box around it is read.
_SHAPES = ("box", "polygon", "mask", "ellipse", "skeleton")
_OTHERS = ("polyline", "points", "cuboid")


def _rows(given: Given) -> Iterator[Row]:
    for manifest in given.manifests:
        with given.local(manifest) as path, path.open("rb") as stream:
            found = False
            for line, element in elements(stream, _wrong_root):
                if element.tag == "track":
                    raise ValueError("it is of a video (<track>): export it from CVAT as 'CVAT for images'")
                if element.tag == "image":
                    found = True
                    yield from _image(given, manifest, line, element)
            if not found:
                raise ValueError("it has no <image>")


def _image(given: Given, manifest: str, line: int, image: Element) -> Iterator[Row]:
    """The row of an image; where its boxes are of several of RegionCap's own records, one for each of these."""
    # What has gone in a film is written down all the same.
    boxes = [part for part in image if part.tag in _SHAPES and part.get("outside") != "1"]
    for part in image:
        if part.tag in _OTHERS:
            given.note(left_out(part.tag))
    try:
        path = _path(given, manifest, image.get("name", ""), image.get("subset"))
    except RowError as fault:
        yield Row(line, None, fault, dict(image.attrib), manifest)
        return
    mine: dict[str | None, list[Element]] = {}
    for box in boxes:
        mine.setdefault(_record(box), []).append(box)
    for record, some in (mine or {None: []}).items():
        value: dict[str, Any] = {
            key: image.get(key) for key in ("width", "height", "subset", "task_id") if image.get(key)
        }
        if record is not None or image.get("id"):
            value["id"] = record if record is not None else id_in(given, manifest, image.get("id"))
        if some:
            value[given.bbox_key] = [_box(box) for box in some]
            value["labels"] = [_label(box, record) for box in some]
        value[given.image_key] = path
        yield Row(line, value, manifest=manifest)


def _record(box: Element) -> str | None:
    """The id of the record that a box of RegionCap's own export is of; None of others."""
    told = {attribute.get("name"): attribute.text for attribute in box.iter("attribute")}
    return told["record_id"] if told.keys() >= {"record_id", "region_key"} else None


def _label(box: Element, record: str | None) -> str | None:
    label = box.get("label") or None
    return None if record is not None and label == UNLABELLED else label


def _path(given: Given, manifest: str, name: str, subset: str | None) -> str:
    """The path of an image; of a project, images of one name can be in several subsets. Raises RowError."""
    for said in (f"{subset}/{name}", name) if subset else (name,):
        path = given.image(said, manifest)
        if path in given:
            return path
    if name.lower().endswith(IMAGE_ENDINGS) or ".." in name or not name:
        return path
    # The frames of a film have no ending there, and their images have one.
    frame = given.image_of(name, manifest)
    return frame if f"/{posixpath.splitext(frame)[0]}".endswith(f"/{name}") else name


def _box(box: Element) -> Any:
    if box.tag == "polygon":
        return _outline(box.get("points", ""))
    if box.tag == "skeleton":
        return _outline(";".join(point.get("points", "") for point in box if point.get("outside") != "1"))
    if box.tag == "mask":
        sides = (number_of(box.get(name)) for name in ("left", "top", "width", "height"))
        return [tidy(side) if isinstance(side, float) and math.isfinite(side) else side for side in sides]
    if box.tag == "ellipse":
        return _ellipse(*(number_of(box.get(name, "0")) for name in ("cx", "cy", "rx", "ry", "rotation")))
    numbers = [number_of(box.get(name)) for name in _CORNERS]
    turn = number_of(box.get("rotation", "0"))
    if not isinstance(turn, float) or not all(isinstance(number, float) for number in numbers):
        return numbers
    x0, y0, x1, y1 = (number for number in numbers if isinstance(number, float))
    return from_corners(x0, y0, x1, y1) if turn == 0 else _turned(x0, y0, x1, y1, turn)


def _ellipse(*numbers: float | str | None) -> Any:
    """The box around an ellipse: its centre, its two radii, and by how much it is turned."""
    cx, cy, rx, ry, degrees = (number if isinstance(number, float) else math.nan for number in numbers)
    across = math.hypot(rx * math.cos(math.radians(degrees)), ry * math.sin(math.radians(degrees)))
    down = math.hypot(rx * math.sin(math.radians(degrees)), ry * math.cos(math.radians(degrees)))
    box = (cx - across, cy - down, cx + across, cy + down)
    return from_corners(*box) if all(map(math.isfinite, box)) else list(numbers[:4])


def _outline(points: str) -> Any:
    """The box around a polygon, which is written as `x,y;x,y`; what is none, as it is."""
    try:
        return around([float(number) for number in point.split(",", 1)] for point in points.split(";"))
    except (ValueError, IndexError):
        return points


def _turned(x0: float, y0: float, x1: float, y1: float, degrees: float) -> list[int | float]:
    """The box around a box that is turned clockwise about its centre."""
    cx, cy, sine, cosine = (
        (x0 + x1) / 2,
        (y0 + y1) / 2,
        math.sin(math.radians(degrees)),
        math.cos(math.radians(degrees)),
    )
    corners = ((x - cx, y - cy) for x in (x0, x1) for y in (y0, y1))
    return around((cx + x * cosine - y * sine, cy + x * sine + y * cosine) for x, y in corners)


def _wrong_root(name: str) -> str | None:
    return None if name == "annotations" else f"its root is <{name[:40]}>, not <annotations>"


def _recognises(path: str, start: bytes) -> bool:
    return b"<annotations>" in start or b"<annotations " in start


def _count(given: Given) -> int:
    return sum(_images_in(given, manifest) for manifest in given.manifests)


def _images_in(given: Given, manifest: str) -> int:
    with given.local(manifest) as path, path.open("rb") as stream:
        return sum(line.count(b"<image ") for line in stream)


READER = DropReader((".xml",), _rows, "xywh", _recognises, _count)
