"""Pascal VOC: an XML file for each image, beside the images or in a folder of its own."""

import io
import math
from collections.abc import Iterator
from itertools import chain
from typing import Any
from xml.etree.ElementTree import Element

from regioncap.drop.readers.elements import elements, number_of, text_of
from regioncap.drop.readers.reader import (
    DropReader,
    Given,
    Row,
    a_row_each,
    around,
    from_corners,
    not_of_another,
    stem_of,
)
from regioncap.errors import RowError
from regioncap.regions.codes import Code

# Where such files are, and where images are then.
_FOLDERS = ("Annotations", "JPEGImages")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _rows(given: Given) -> Iterator[Row]:
    return a_row_each(given.small(given.manifests), lambda manifest, data: _value(given, manifest, data))


def _value(given: Given, manifest: str, data: bytes) -> dict[str, Any]:
    try:
        parts = [element for _, element in elements(io.BytesIO(data), _wrong_root)]
    except ValueError as error:
        raise RowError(Code.NOT_XML, f"it cannot be read as voc: {error}") from error
    found = {element.tag: element for element in reversed(parts)}
    objects = [element for element in parts if element.tag == "object" and text_of(element, "deleted") != "1"]
    value: dict[str, Any] = {given.image_key: _image(given, manifest, found)}
    if objects:
        value[given.bbox_key] = [_box(item) for item in objects]
        value["labels"] = [text_of(item, "name") or None for item in objects]
    if (size := found.get("size")) is not None:
        value |= {key: text_of(size, key) for key in ("width", "height")}
    return value


def _image(given: Given, manifest: str, found: dict[str, Element]) -> str:
    name, folder = ((found[tag].text or "").strip() if tag in found else "" for tag in ("filename", "folder"))
    # The file is found by what it says, in the folder that it says; else by its own name.
    for said in (f"{folder}/{name}", name) if name and folder and ".." not in folder else (name,):
        path = given.image(said, manifest) if said else ""
        if path in given:
            return not_of_another(given, manifest, path, _FOLDERS)
        if path != said:
            return path
    if called := _without_its_ending(given, manifest, name):
        return not_of_another(given, manifest, called, _FOLDERS)
    try:
        return given.image_of(stem_of(manifest), manifest, _FOLDERS)
    except RowError:
        if name:
            return name
        raise


def _without_its_ending(given: Given, manifest: str, name: str) -> str | None:
    """The path of the image of this name without its ending, as ImageNet writes it; None where there is none."""
    try:
        return given.image_of(name, manifest, _FOLDERS) if name and not {"/", "\\"} & set(name) else None
    except RowError:
        return None


def _box(item: Element) -> Any:
    """The corners of an object; of one with an outline instead, as LabelMe wrote it in XML, the box around it."""
    if item.find("bndbox") is None and (outline := item.findall("polygon/pt")):
        points = [(number_of(point.findtext("x")), number_of(point.findtext("y"))) for point in outline]
        known = [(x, y) for x, y in points if isinstance(x, float) and isinstance(y, float)]
        return around(known) if len(known) == len(points) and all(map(math.isfinite, chain(*known))) else points
    corners = [number_of(item.findtext(f"bndbox/{name}")) for name in _CORNERS]
    if any(not isinstance(number, float) for number in corners):
        return corners
    return from_corners(*(number for number in corners if isinstance(number, float)))


def _wrong_root(name: str) -> str | None:
    return None if name == "annotation" else f"its root is <{name[:40]}>, not <annotation>"


def _recognises(path: str, start: bytes) -> bool:
    return b"<annotation>" in start or b"<annotation " in start


READER = DropReader((".xml",), _rows, "xywh", _recognises, lambda given: len(given.manifests))
