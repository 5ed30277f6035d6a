"""YOLO: a text file of boxes for each image, and the names of classes in a YAML or a text file."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from regioncap.drop.readers.reader import (
    IMAGE_ENDINGS,
    UNNAMED,
    DropReader,
    Given,
    Row,
    a_row_each,
    lines_of,
    names_in,
    stem_of,
)
from regioncap.errors import RowError

# Text files that have other things in them, by their names without ending, in small letters.
_NO_LABELS = {
    "classes", "license", "notes", "obj", "predefined_classes", "readme", "requirements", "test", "train", "val",
    "valid", "autosplit_train", "autosplit_val", "autosplit_test",
}  # fmt: skip
# Where boxes are, and where images are then.
_FOLDERS = ("labels", "images")
# Room for some ten thousand classes.
_MOST_YAML = 1 << 19
# Files with the names of classes, one a line.
_LISTS = ("classes.txt", ".names", ".labels")
_CONTRADICT = (
    "folders give classes other names than a folder above them does: the names in them were read for their boxes"
)


class _AsWritten(yaml.SafeLoader):  # type: ignore[misc]  # the library has no types
    """Takes plain words for text: a class may be called `no`, `off`, `null` or `007`."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  # as the library has it


class _Classes:
    """The names of classes, from the nearest file above each manifest that has them."""

    def __init__(self, given: Given, labels: Sequence[str]) -> None:
        self._by_folder: dict[str, dict[int, str]] = {}
        self._of_poses: set[str] = set()
        self._unread: list[str] = []
        self._folders = {folder for path in labels for folder in _folders_above(path)}
        for ending in (".yaml", ".yml"):
            for path, data in given.small(given.ending_in(ending)):
                if not isinstance(data, RowError):
                    self._add(path, self._of_yaml(path, data))
        for ending in _LISTS:
            for path, data in given.small(given.ending_in(ending)):
                if not isinstance(data, RowError):
                    lines = names_in(given, data)
                    self._add(path, {place: name.strip() for place, name in enumerate(lines) if name.strip()})
        given.note(_CONTRADICT, sum(map(self._contradicts, self._by_folder)))
        self._told_of = self._by_folder.keys() | self._of_poses
        # Where another file has the names, it is about something else.
        if self._unread and not self._by_folder:
            raise ValueError(self._unread[0])

    def _of_yaml(self, path: str, data: bytes) -> dict[int, str]:
        try:
            found = _loaded(data)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._unread.append(f"the file {path} is not YAML: {error}")
            return {}
        if not isinstance(found, dict):
            return {}
        if "kpt_shape" in found:
            self._of_poses.add(posixpath.dirname(path))
        names = found.get("names")
        items = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
        return {int(place): str(name) for place, name in items if str(place).isdecimal() and not _is_nested(name)}

    def _add(self, path: str, names: dict[int, str]) -> None:
        folder = posixpath.dirname(path)
        if not names or self._by_folder.setdefault(folder, names) == names:
            return
        raise ValueError(f"the file {path} gives the classes other names than another one beside it: leave one of them")

    def _contradicts(self, folder: str) -> bool:
        """Whether classes have other names in a folder above."""
        names = self._by_folder[folder]
        above = (self._by_folder[other] for other in _folders_above(folder) if other in self._by_folder)
        return any(names[place] != name for others in above for place, name in others.items() if place in names)

    def of(self, manifest: str) -> tuple[Mapping[int, str], bool]:
        """The names of a manifest's classes, by their numbers, and whether it has poses; none where it is not known."""
        found = next((folder for folder in _folders_above(manifest) if folder in self._told_of), None)
        # The only ones may lie beside, but then not in the folder of other boxes.
        if found is None and len(self._told_of) == 1 and self._told_of.isdisjoint(self._folders):
            (found,) = self._told_of
        return ({}, False) if found is None else (self._by_folder.get(found, {}), found in self._of_poses)


def _folders_above(path: str) -> Iterator[str]:
    """The folders that a file is in, from its own to the drop's top."""
    while path:
        yield (path := posixpath.dirname(path))


def _loaded(data: bytes) -> Any:
    """What YAML says, as data. Raises ValueError where it is large, or refers to parts of itself, which can grow it."""
    if len(data) > _MOST_YAML:
        raise ValueError(f"it has more than {_MOST_YAML:,} bytes")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, yaml.SafeLoader)):
        raise ValueError("it refers to parts of itself (*name), which is not read")
    return yaml.load(data, _AsWritten)


def _is_nested(name: Any) -> bool:
    return isinstance(name, dict | list)


def _rows(given: Given) -> Iterator[Row]:
    labels = _labels(given)
    classes = _Classes(given, labels)
    files = ((path, data) for path, data in given.small(labels) if not _is_list_of_images(data))
    return a_row_each(files, lambda manifest, data: _value(given, manifest, data, classes))


def _is_list_of_images(data: bytes | RowError) -> bool:
    """Whether a text file names the images of a part, as those of darknet do."""
    first = data.lstrip().split(b"\n", 1)[0].rstrip() if isinstance(data, bytes) else b""
    return first.decode("utf-8", "replace").lower().endswith(IMAGE_ENDINGS)


def _labels(given: Given) -> list[str]:
    """The files with boxes: those in folders `labels`, or where there are none, all but those of other things."""
    in_folders = [path for path in given.manifests if "labels" in path.split("/")[:-1]]
    return [path for path in in_folders or given.manifests if not _is_called_otherwise(path) or _has_image(given, path)]


def _is_called_otherwise(path: str) -> bool:
    return posixpath.basename(path).lower().split(".")[0] in _NO_LABELS


def _has_image(given: Given, path: str) -> bool:
    """Whether a file has an image of its name where its image would be: that of a train can be called `train.jpg`."""
    try:
        folder = posixpath.dirname(given.image_of(stem_of(path), path, _FOLDERS))
    except RowError:
        return False
    return folder in (posixpath.dirname(path), _FOLDERS[1].join(posixpath.dirname(path).rsplit(_FOLDERS[0], 1)))


def _value(given: Given, manifest: str, data: bytes, classes: _Classes) -> dict[str, Any]:
    value: dict[str, Any] = {given.image_key: given.image_of(stem_of(manifest), manifest, _FOLDERS)}
    lines = [line.split() for line in lines_of(data.decode("utf-8", "replace")) if line.strip()]
    if lines:
        names, keypoints = classes.of(manifest)
        value[given.bbox_key] = [_box(line, keypoints) for line in lines]
        value["labels"] = [_label(line[0], names) for line in lines]
        boxes = zip(value["labels"], value[given.bbox_key], strict=True)
        given.note(UNNAMED, sum(label is None and isinstance(box, list) for label, box in boxes))
    return value


def _box(line: list[str], keypoints: bool) -> Any:
    """A line is a class and a box; or a class and an outline; or a class, a box and more, such as how sure it is."""
    try:
        numbers = [float(text) for text in line[1:]]
        float(line[0])
    except ValueError:
        return " ".join(line)
    if len(numbers) in (4, 5):
        return numbers[:4]
    if keypoints or _has_keypoints(numbers):
        return numbers[:4] if len(numbers) > 5 else " ".join(line)
    if _is_tracked(line[-1], numbers):
        numbers.pop()
    if len(numbers) == 5:
        return numbers[:4]
    # How sure a model is stands after an outline, and makes it odd; where it could be of a pose too, it is neither.
    if len(numbers) >= 9 and len(numbers) % 2 == 1 and (len(numbers) - 4) % 3:
        numbers.pop()
    if len(numbers) < 6 or len(numbers) % 2 or not all(-1 <= number <= 2 for number in numbers):
        return " ".join(line)
    x0, y0, x1, y1 = min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
    return [round((x0 + x1) / 2, 9), round((y0 + y1) / 2, 9), round(x1 - x0, 9), round(y1 - y0, 9)]


def _is_tracked(last: str, numbers: list[float]) -> bool:
    """Whether a box, plain or turned, and how sure a model is, are followed by the number of an object of a film."""
    if not last.isdecimal() or int(last) < 1:
        return False
    return (len(numbers) == 6 and _is_in_image(*numbers[:4])) or (len(numbers) == 10 and _is_turned_box(numbers[:8]))


def _is_turned_box(corners: list[float]) -> bool:
    """Whether four corners are those of a box: the middles of its diagonals are one place."""
    return all(abs(corners[at] + corners[at + 4] - corners[at + 2] - corners[at + 6]) < 0.01 for at in (0, 1))


def _is_in_image(cx: float, cy: float, width: float, height: float) -> bool:
    """Whether shares are a box in its image, but for what rounding adds."""
    return all(side / 2 - 0.01 <= middle <= 1.01 - side / 2 for middle, side in ((cx, width), (cy, height)))


def _has_keypoints(numbers: list[float]) -> bool:
    """Whether after a box there are points with how visible each is: 0, 1 or 2, which no place in an image is."""
    seen = numbers[6::3]
    return len(numbers) > 6 and (len(numbers) - 4) % 3 == 0 and set(seen) <= {0, 1, 2} and 2 in seen


def _label(text: str, names: Mapping[int, str]) -> str | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return names.get(int(number)) if number.is_integer() else None


def _recognises(path: str, start: bytes) -> bool:
    if _is_called_otherwise(path):
        return False
    # The last line may be cut.
    lines = [line.split() for line in start.split(b"\n")[:20] if line.strip()]
    try:
        numbers = [[float(text) for text in line] for line in lines[:-1] or lines]
    except ValueError:
        return False
    return bool(numbers) and all(len(line) >= 5 and line[0].is_integer() and max(line[1:5]) <= 2 for line in numbers)


READER = DropReader((".txt",), _rows, "cxcywh_norm", _recognises, lambda given: len(given.manifests))
