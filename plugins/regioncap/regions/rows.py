"""Reading one manifest row: is its text in order? Images are not looked at here."""

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from regioncap.regions.boxes import box_fault
from regioncap.regions.codes import Code
from regioncap.regions.faults import RowFault
from regioncap.regions.jsonl import canonical, clean
from regioncap.regions.records import PlannedRow, Rejected, Source
from regioncap.regions.seen import SeenIds

# Room for 50,000 boxes in a row; more than that is not a manifest line.
MAX_LINE_BYTES = 4 * 1024 * 1024
_MAX_PATH = 1024
_ECHOED_CHARACTERS = 2000

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parse_line(line: bytes) -> dict[str, Any]:
    """Read one line of a JSONL manifest. Raises RowFault (line_too_long, not_utf8, not_json, not_an_object)."""
    if len(line) > MAX_LINE_BYTES:
        raise RowFault(Code.LINE_TOO_LONG, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowFault(Code.NOT_UTF8, f"the line is not UTF-8 at its byte {error.start}") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowFault(Code.NOT_JSON, f"the line is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RowFault(Code.NOT_AN_OBJECT, f"the line is a JSON {_json_type(value)}, not an object")
    return value


def image_path(value: Any) -> str:
    """Check the image's path: relative to the drop, and inside it.

    Raises RowFault (image_missing, image_not_a_path, image_is_url, image_outside_drop).
    """
    if value is None or value == "":
        raise RowFault(Code.IMAGE_MISSING, "the row names no image")
    if not isinstance(value, str):
        raise RowFault(Code.IMAGE_NOT_A_PATH, f"the image is a JSON {_json_type(value)}, not a path")
    if clean(value) != value or _CONTROL.search(value) or len(value) > _MAX_PATH or not value.strip():
        raise RowFault(Code.IMAGE_NOT_A_PATH, "the image's path is blank, too long, or has control characters in it")
    if value.startswith(("/", "\\", "~")) or re.match(r"^[A-Za-z]:[\\/]", value):
        raise RowFault(Code.IMAGE_OUTSIDE_DROP, "the image's path is absolute; give it relative to the drop")
    if _URL.match(value):
        raise RowFault(Code.IMAGE_IS_URL, "the image is a URL; upload the file with the drop and give its path")
    if ".." in re.split(r"[\\/]", value):
        raise RowFault(Code.IMAGE_OUTSIDE_DROP, "the image's path leads out of the drop with '..'")
    if posixpath.normpath(value) in (".", ""):
        raise RowFault(Code.IMAGE_NOT_A_PATH, "the image's path names the drop itself")
    return value


def given_boxes(row: dict[str, Any], bbox_key: str) -> list[Any] | None:
    """The boxes as given; None where there are none (no key, null or []).

    Raises RowFault when no box has a usable form (bbox_not_a_list, or the code of the first box).
    """
    boxes = row.get(bbox_key)
    if boxes is None or boxes == []:
        return None
    if not isinstance(boxes, list):
        raise RowFault(Code.BBOX_NOT_A_LIST, f"{bbox_key} is a JSON {_json_type(boxes)}, not a list of boxes")
    if len(boxes) == 4 and all(isinstance(value, int | float) for value in boxes):
        raise RowFault(Code.BBOX_NOT_A_LIST, f"{bbox_key} is one flat box; write [[x, y, w, h]]")
    faults = [box_fault(box) for box in boxes]
    first = faults[0]
    if first is not None and all(faults):
        listed = ", ".join(f"box {index}: {fault}" for index, fault in enumerate(faults[:10]))
        raise RowFault(first, f"no box can be used ({listed})")
    return boxes


@dataclass
class RowReader:
    """Checks the rows of one drop in order. It remembers ids, since they have to be unique in the drop."""

    image_key: str
    bbox_key: str
    _ids: SeenIds = field(default_factory=SeenIds)
    _repeats: dict[str, int] = field(default_factory=dict)

    def read(self, row: dict[str, Any], source: Source) -> PlannedRow | Rejected:
        """Check one parsed row."""
        identity: str | None = None
        try:
            identity = self._given_id(row)
            image = image_path(row.get(self.image_key))
            boxes = given_boxes(row, self.bbox_key)
            return PlannedRow(
                manifest=source.manifest,
                line=source.line,
                id=identity if identity is not None else self._content_id(image, boxes),
                image=image,
                type="with_bbox" if self.bbox_key in row else "without_bbox",
                bbox=clean(boxes),
            )
        except RowFault as fault:
            return reject(source, fault, identity, row)

    def _given_id(self, row: dict[str, Any]) -> str | None:
        given = row.get("id")
        if given is None:
            return None
        if isinstance(given, bool) or not isinstance(given, str | int) or given == "" or clean(given) != given:
            raise RowFault(Code.ID_INVALID, "the id is neither a non-empty string nor an integer")
        identity = str(given)
        if not self._ids.add(identity):
            raise RowFault(Code.DUPLICATE_ID, f"an earlier row has the id {identity[:100]!r} too")
        return identity

    def _content_id(self, image: str, boxes: list[Any] | None) -> str:
        """An id from the row's content; identical rows are told apart by how many came before."""
        content = hashlib.sha256(canonical([image, boxes])).hexdigest()[:16]
        identity = content
        while not self._ids.add(identity):
            self._repeats[content] = self._repeats.get(content, 1) + 1
            identity = f"{content}-{self._repeats[content]}"
        return identity


def reject(source: Source, fault: RowFault, identity: str | None, row: Any) -> Rejected:
    """Write a fault down. `row` is echoed: an object as it is, bytes as text, cut where it is long."""
    if isinstance(row, bytes):
        text = row[: 4 * _ECHOED_CHARACTERS].decode("utf-8", "replace")
        row = text if len(text) <= _ECHOED_CHARACTERS else text[:_ECHOED_CHARACTERS] + "…"
    return Rejected(
        manifest=source.manifest,
        line=source.line,
        id=identity,
        code=fault.code,
        reason=clean(fault.reason),
        row=clean(row),
    )


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)
