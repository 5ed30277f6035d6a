"""Reading one manifest row: is its text in order? Images are not looked at here."""

import hashlib
import json
import math
import posixpath
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from regioncap.drop.box_keys import BoxKeys
from regioncap.drop.elsewhere import Images, is_uri
from regioncap.drop.given import LABELS, given_labels, kept_fields, kinds_of
from regioncap.drop.plain import is_utf8
from regioncap.drop.seen import SeenIds
from regioncap.errors import RowError, StorageError
from regioncap.regions.boxes import box_error
from regioncap.regions.codes import Code
from regioncap.regions.jsonl import canonical, clean
from regioncap.regions.records import PlannedRow, Rejected, Source

# Room for 50,000 boxes in a row; more than that is not a manifest line.
MAX_LINE_BYTES = 4 * 1024 * 1024
# Lists and objects in each other, the row itself included. What reads and writes JSON here and elsewhere gives up at
# some 200 levels.
MAX_DEPTH = 64
# A bucket's key has at most so many bytes, a name in a folder so many.
MAX_PATH_BYTES, _MAX_NAME_BYTES = 1024, 255
_MAX_PATH = 1024
# Room for 1,000 boxes; of what is longer, the beginning says which row it is.
_ECHOED_OBJECT, _ECHOED_CHARACTERS = 16_000, 2000

# So many fields, each with a kind, are told apart: rows may have any names in them.
_MOST_KINDS = 1000

# By which names tools give a box that is an object, and what the numbers are in this order.
_NAMED_BOXES = {
    ("x", "y", "width", "height"): "xywh (or cxcywh if x and y are its centre)",
    ("x", "y", "w", "h"): "xywh (or cxcywh if x and y are its centre)",
    ("left", "top", "width", "height"): "xywh",
    ("left", "top", "right", "bottom"): "xyxy",
    ("xmin", "ymin", "xmax", "ymax"): "xyxy",
    ("x1", "y1", "x2", "y2"): "xyxy",
    ("x0", "y0", "x1", "y1"): "xyxy",
}

# A colon alone is a part of a name, as in `frame-00:01:02.jpg`, unless what stands before it is known for a scheme.
_URL = re.compile(r"^(?:[a-z][a-z0-9+.-]*://|(?:https?|ftp|s3|gs|hdfs|file|data|blob|urn):)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAY_BE_A_PATH = re.compile(r"[^\s\"',;|<>\[\]{}]+")


def parse_line(line: bytes) -> dict[str, Any]:
    """Read one line of a JSONL manifest.

    Raises RowError (line_too_long, not_utf8, not_json, not_an_object, and too_deep where it is beyond all reading).
    """
    if len(line) > MAX_LINE_BYTES:
        raise RowError(Code.LINE_TOO_LONG, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(
            Code.NOT_UTF8,
            f"the line is not UTF-8 at its byte {error.start}, or not in the encoding that the param "
            "manifest_encoding says",
        ) from error
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError(
            Code.NOT_JSON, f"the line is not JSON at its character {error.pos + 1:,}: {error.msg}"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise RowError(Code.NOT_JSON, f"the line is not JSON that can be read: {error}") from error
    except RecursionError as error:
        if not text.rstrip().endswith("}"):
            raise RowError(Code.NOT_JSON, "the line is not a JSON object: it has no end") from error
        raise _too_deep_fault() from error
    if not isinstance(value, dict):
        raise RowError(Code.NOT_AN_OBJECT, f"the line is a JSON {_json_type(value)}, not an object")
    return value


def image_path(value: Any) -> str:
    """Check the image's path: relative to the drop, and inside it.

    Raises RowError (image_missing, image_not_a_path, image_is_url, image_outside_drop).
    """
    if value is None or value == "":
        raise RowError(Code.IMAGE_MISSING, "the row names no image")
    if not isinstance(value, str):
        raise RowError(Code.IMAGE_NOT_A_PATH, f"the image is a JSON {_json_type(value)}, not a path")
    if clean(value) != value or _CONTROL.search(value) or len(value) > _MAX_PATH or not value.strip():
        raise RowError(Code.IMAGE_NOT_A_PATH, "the image's path is blank, too long, or has control characters in it")
    if value.startswith(("/", "\\", "~")) or re.match(r"^[A-Za-z]:[\\/]", value):
        raise RowError(Code.IMAGE_OUTSIDE_DROP, "the image's path is absolute; give it relative to the drop")
    if _URL.match(value):
        raise RowError(Code.IMAGE_IS_URL, "the image is a URL; upload the file with the drop and give its path")
    if ".." in re.split(r"[\\/]", value):
        raise RowError(Code.IMAGE_OUTSIDE_DROP, "the image's path leads out of the drop with '..'")
    if posixpath.normpath(value) in (".", ""):
        raise RowError(Code.IMAGE_NOT_A_PATH, "the image's path names the drop itself")
    return value


def too_deep(value: Any) -> bool:
    """Whether lists and objects in `value` are nested more than `MAX_DEPTH` levels deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, list | tuple):
                inner += item
            elif isinstance(item, dict):
                inner += item.values()
        if not inner:
            return False
        level = inner
    return any(isinstance(item, list | tuple | dict) for item in level)


def _too_deep_fault() -> RowError:
    return RowError(Code.TOO_DEEP, f"lists and objects in the row are nested more than {MAX_DEPTH} levels deep")


def given_boxes(row: dict[str, Any], bbox_key: str) -> list[Any] | None:
    """The boxes as given; None where there are none (no key, null or []).

    Raises RowError when no box has a usable form (bbox_not_a_list, or the code of the first box).
    """
    boxes = _given(row, bbox_key)
    if isinstance(boxes, str):
        boxes = _in_text(boxes)
    if boxes is None or boxes == []:
        return None
    if not isinstance(boxes, list):
        how = f"; {_written(boxes, '[[{}]]')}" if isinstance(boxes, dict) else ""
        raise RowError(Code.BBOX_NOT_A_LIST, f"{bbox_key} is a JSON {_json_type(boxes)}, not a list of boxes{how}")
    if len(boxes) == 4 and all(isinstance(value, int | float) for value in boxes):
        raise RowError(Code.BBOX_NOT_A_LIST, f"{bbox_key} is one flat box; write [[x, y, w, h]]")
    faults = [box_error(box) for box in boxes]
    first = faults[0]
    if first is not None and all(faults):
        listed = ", ".join(f"box {index}: {fault}" for index, fault in enumerate(faults[:10]))
        how = next((f"; {_written(box, '[{}]')}" for box in boxes if isinstance(box, dict)), "")
        raise RowError(first, f"no box can be used ({listed}){how}")
    return boxes


def _in_text(text: str) -> Any:
    """The list of boxes that a text is, as tables hold it; else the text. Raises RowError (too_deep)."""
    try:
        value = json.loads(text) if text.lstrip().startswith("[") else text
    except (ValueError, RecursionError):
        return text
    if too_deep([value]):
        raise _too_deep_fault()
    return value


def _written(box: dict[str, Any], form: str) -> str:
    """How a box that is an object is to be written."""
    for names, box_format in _NAMED_BOXES.items():
        if box.keys() >= set(names):
            return f"write each box as {form.format(', '.join(names))}, with the param box_format {box_format}"
    return f"write each box as a list of four numbers, {form.format('x, y, w, h')}"


def stated_size(row: dict[str, Any]) -> tuple[int, int] | None:
    """The (width, height) that a row gives beside its boxes, as many tools do; None where it gives none that can be."""
    width, height = (_whole_number(_given(row, key)) for key in ("width", "height"))
    return (width, height) if width and height else None


def _whole_number(value: Any) -> int | None:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() and 0 < number < 1e9 else None


def _given(row: dict[str, Any], key: str) -> Any:
    """A row's value; None also for NaN, by which tables say that there is none."""
    value = row.get(key)
    return None if isinstance(value, float) and math.isnan(value) else value


class ListedFiles(Protocol):
    """The files of a drop, by their paths."""

    def __contains__(self, path: object) -> bool: ...

    def near(self, path: str) -> list[str]:
        """The paths of a few files that are called nearly so."""


class Ids(Protocol):
    """Which ids a drop has had so far."""

    def add(self, identity: str) -> bool:
        """Whether the id is a new one; from now on it is not."""


class Counts(NamedTuple):
    """What is counted of rows, or seen in them, beside what becomes of each: see `RowReader` and `BoxKeys`."""

    rows: int
    declared: int
    others: tuple[str, ...]
    flat: tuple[tuple[str, ...], ...]
    nearly: int
    unlabelled: int
    held: tuple[tuple[str, str], ...]


_WITH_BOXES = Counts(1, 1, (), (), 0, 0, ())


@dataclass
class RowReader:
    """Checks the rows of one drop in order. It remembers `ids`, since they have to be unique in the drop.

    `files` are the files in the drop; a path that is not among them can have `path_bytes` bytes at most. `keep` names
    the fields that are carried along (see `kept_fields`), and `images` says which URIs may be read. `nearly` counts
    rows whose image is there under nearly the name that they give, `unlabelled` those whose labels are none for their
    boxes; `held` says of which kinds the fields are that are carried along (see `kinds_of`), of a thousand at most.
    """

    image_key: str
    bbox_key: str
    files: ListedFiles
    path_bytes: int = MAX_PATH_BYTES
    keep: tuple[str, ...] = ()
    images: Images | None = None
    box_keys: BoxKeys = field(default_factory=BoxKeys)
    nearly: int = 0
    unlabelled: int = 0
    held: set[tuple[str, str]] = field(default_factory=set)
    ids: Ids = field(default_factory=SeenIds)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _repeats: dict[str, int] = field(default_factory=dict)

    def read(self, row: dict[str, Any], place: Source) -> PlannedRow | Rejected:
        """Check one parsed row."""
        identity: str | None = None
        try:
            if too_deep(row):
                raise _too_deep_fault()
            self.box_keys.note(row, self.bbox_key)
            identity = self._given_id(row)
            image = self._image(_given(row, self.image_key))
            boxes = given_boxes(row, self.bbox_key)
            source = kept_fields(row, self.keep, (self.image_key, self.bbox_key, "id", LABELS))
            if len(self.held) < _MOST_KINDS:
                self.held.update(kinds_of(source))
            return PlannedRow(
                manifest=place.manifest,
                line=place.line,
                id=identity if identity is not None else self._content_id(image, boxes),
                image=image,
                type="with_bbox" if self.bbox_key in row else "without_bbox",
                bbox=clean(boxes),
                stated=stated_size(row),
                labels=self._labels(row, boxes),
                source=source,
            )
        except RowError as fault:
            return reject(place, fault, identity, row)

    def counted(self) -> Counts:
        """What was counted of the one row that was read since this was called last."""
        keys = self.box_keys
        # As it is with nearly all rows, of which there are many.
        if keys.declared and not self.nearly and not self.unlabelled and len(self.held) == len(self._told):
            keys.rows = keys.declared = 0
            return _WITH_BOXES
        held = tuple(self.held - self._told)
        others, flat = tuple(keys.others), tuple(keys.flat)
        counts = Counts(keys.rows, keys.declared, others, flat, self.nearly, self.unlabelled, held)
        self.box_keys, self.nearly, self.unlabelled = BoxKeys(), 0, 0
        self._told.update(held)
        return counts

    def count(self, counts: Counts) -> None:
        """Add what another reader has counted of a row."""
        self.box_keys.rows += counts.rows
        self.box_keys.declared += counts.declared
        self.box_keys.others.update(counts.others)
        self.box_keys.flat.update(counts.flat)
        self.nearly += counts.nearly
        self.unlabelled += counts.unlabelled
        self.held.update(counts.held)

    def _given_id(self, row: dict[str, Any]) -> str | None:
        given = _given(row, "id")
        if given is None:
            return None
        # A table makes floats of its integers where one of them is missing. Larger ones are not exact.
        if isinstance(given, float) and given.is_integer() and abs(given) < 2**53:
            given = int(given)
        if isinstance(given, bool) or not isinstance(given, str | int) or given == "" or clean(given) != given:
            what = (
                "a number with decimals, or too large to be exact"
                if isinstance(given, float)
                else f"a JSON {_json_type(given)}"
            )
            raise RowError(Code.ID_INVALID, f"the id is {what}: give a non-empty string or an integer, or none")
        identity = str(given)
        if not self.ids.add(identity):
            raise RowError(Code.DUPLICATE_ID, f"an earlier row has the id {identity[:100]!r} too")
        return identity

    def _image(self, given: Any) -> str:
        """The path by which the image is read. Raises RowError."""
        if given is None or given == "":
            raise RowError(
                Code.IMAGE_MISSING,
                f"the row names no image: there is nothing under {self.image_key!r}, which the param image_key says",
            )
        if self.images is None or not isinstance(given, str) or not is_uri(given):
            return self._found(image_path(given))
        if len(given) > _MAX_PATH:
            raise RowError(Code.IMAGE_NOT_A_PATH, "the image's URI is too long")
        try:
            path = self.images.path_of(given)
        except StorageError as error:
            raise RowError(Code.IMAGE_IS_URL, f"the image is a URL that is not read: {error}") from None
        return path if is_uri(path) else self._found(image_path(path))

    def _labels(self, row: dict[str, Any], boxes: list[Any] | None) -> list[str | None] | None:
        try:
            return given_labels(row, boxes) if boxes is not None else None
        except ValueError:
            # A field of this name may be about something else.
            self.unlabelled += 1
            return None

    def _found(self, image: str) -> str:
        """The path by which the store knows the image.

        Stores do not agree on what `./`, `//` and backslashes mean. Here the path as given comes first, then the same
        file's plain path, then that with the backslashes of Windows. Where no file is called so, but one alone but for
        capital letters or for how accents are written, it is that one: file systems and archives change these.
        Raises RowError (image_not_found).
        """
        if image in self.files:
            return image
        plain = posixpath.normpath(image)
        for path in (plain, _with_slashes(image)):
            if path != image and path in self.files:
                return path
        near = self.files.near(_with_slashes(image))
        if len(near) == 1 and is_utf8(near[0]):
            self.nearly += 1
            return near[0]
        if near:
            raise RowError(
                Code.IMAGE_NOT_FOUND,
                "there is no such file in the drop, but several that differ from it in capital letters or in how "
                f"accents are written: {', '.join(map(repr, near))}",
            )
        # As addresses have it, or with spaces around it. What it is in truth the row does not say.
        meant = _with_slashes(unquote(image.strip()))
        there = [meant] if meant in self.files else [path for path in self.files.near(meant) if is_utf8(path)]
        if there and meant != _with_slashes(image):
            raise RowError(
                Code.IMAGE_NOT_FOUND,
                f"there is no such file in the drop, but {' and '.join(map(repr, there))}: write its name as it is",
            )
        # Some stores refuse such a path with an error that says nothing of the row.
        size = len(plain.encode())
        if size > self.path_bytes or (
            size > _MAX_NAME_BYTES and max(len(name.encode()) for name in plain.split("/")) > _MAX_NAME_BYTES
        ):
            raise RowError(
                Code.IMAGE_NOT_FOUND,
                f"there is no such file in the drop: a path has at most {self.path_bytes:,} bytes there, and each name "
                f"in it {_MAX_NAME_BYTES}",
            )
        return plain

    def _content_id(self, image: str, boxes: list[Any] | None) -> str:
        """An id from the row's content; identical rows are told apart by how many came before."""
        content = hashlib.sha256(canonical([image, boxes])).hexdigest()[:16]
        identity = content
        while not self.ids.add(identity):
            self._repeats[content] = self._repeats.get(content, 1) + 1
            identity = f"{content}-{self._repeats[content]}"
        return identity


def reject(source: Source, fault: RowError, identity: str | None, row: Any) -> Rejected:
    """Write a fault down. `row` is echoed: an object as it is, bytes as text, the beginning of what is long."""
    return Rejected(
        manifest=source.manifest,
        line=source.line,
        id=identity,
        code=fault.code,
        reason=clean(fault.reason),
        row=_echo(row),
    )


def forgotten_row(source: Source) -> Rejected:
    """What is said of a row whose image was to be forgotten: nothing but where it stands."""
    return Rejected(
        manifest=source.manifest,
        line=source.line,
        id=None,
        code=Code.FORGOTTEN,
        reason=Code.FORGOTTEN.meaning,
        row=None,
    )


def images_named(row: PlannedRow | Rejected) -> set[str]:
    """The paths by which a row may name its image: of a rejected one, all that may be a path in what is said of it."""
    return {row.image} if isinstance(row, PlannedRow) else paths_in(row.row) | paths_in(row.reason)


def paths_in(row: Any) -> set[str]:
    """All that may be a path in a row as it was given, an object or a line's text, in each way to write it."""
    if isinstance(row, dict):
        texts = [value for value in row.values() if isinstance(value, str)]
    else:
        texts = _MAY_BE_A_PATH.findall(row) if isinstance(row, str) else []
    return {path for text in texts for path in (text, posixpath.normpath(text), _with_slashes(text))}


def _with_slashes(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/"))


def _echo(row: Any) -> Any:
    if isinstance(row, bytes):
        echoed: Any = row[: 4 * _ECHOED_CHARACTERS].decode("utf-8", "replace")
    elif too_deep(row):
        # What lies deep in it is what could not be written down.
        kept = row.items() if isinstance(row, dict) else ()
        return _echo({key: "…" if isinstance(value, list | dict) else value for key, value in kept} or "…")
    else:
        echoed = clean(row)
    if isinstance(echoed, list | dict):
        text = json.dumps(echoed, ensure_ascii=False)
        if len(text) <= _ECHOED_OBJECT:
            return echoed
        echoed = text
    if isinstance(echoed, str) and len(echoed) > _ECHOED_CHARACTERS:
        return echoed[:_ECHOED_CHARACTERS] + "…"
    return echoed


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)
