"""What all readers share: what a reader is, what it is given, and what it makes of manifests."""

import io
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from regioncap.drop.plain import ENDINGS, is_utf8, with_compressed
from regioncap.drop.rows import MAX_LINE_BYTES
from regioncap.errors import RowError
from regioncap.regions.boxes import BoxFormat
from regioncap.regions.codes import Code

# What image files are called, in small letters.
IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of a manifest: its 1-based line and its parsed object, or the fault and the raw text.

    A `DropReader` says in `manifest` which file it is from, and may say in `place` where in that the bytes of its image
    are, from which byte on and how many.
    """

    line: int
    value: dict[str, Any] | None
    fault: RowError | None = None
    raw: Any = None
    manifest: str | None = None
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class ByLine:
    """A format of which each row is in a line of its own: the lines of a file, with their numbers; and a line's row.

    `row` is a function of a module: other processes find it by that.
    """

    lines: Callable[[Path], Iterator[tuple[int, bytes]]]
    row: Callable[[int, bytes], Row]


@dataclass(frozen=True)
class Reader:
    """A format of manifests, each of which is rows by itself.

    Files at the drop's top level whose names end in one of `suffixes` (letter case aside) are manifests, also those
    that are compressed, with `.gz` after it, say. `rows` is given the local path of one, unpacked, and the names of the
    fields with the image's path and with the boxes; it yields the rows as a stream, may be called several times, and
    raises ValueError where the file as a whole is not of the format. `count` says quickly how many rows a file has at
    least; without it they are read to be counted. Of a format that `is_text`, files come in UTF-8, whatever they were
    in. `keeping` is `rows` for a format of which else not all fields are read: it is given the names of those carried
    along, too. `begins` says by how a file begins whether it can be one, for `input_format` = `auto`; without it, all
    can. `by_line`, where there is one, gives the same rows as `rows`: so that several processes can take lines apart.
    """

    suffixes: tuple[str, ...]
    rows: Callable[[Path, str, str], Iterator[Row]]
    count: Callable[[Path], int] | None = None
    is_text: bool = True
    keeping: Callable[[Path, str, str, tuple[str, ...]], Iterator[Row]] | None = None
    begins: Callable[[bytes], bool] | None = None
    by_line: ByLine | None = None

    def takes(self, path: str) -> bool:
        """Whether a file of the drop is a manifest, by its path."""
        return "/" not in path and _ends_in(path, with_compressed(self.suffixes))


class Given(Protocol):
    """A drop as a `DropReader` is given it. All paths are relative to the drop.

    A path is in it where there is such an image.
    """

    @property
    def manifests(self) -> Sequence[str]:
        """The paths of its manifests, sorted."""

    @property
    def image_key(self) -> str:
        """Under which name a row has its image's path."""

    @property
    def bbox_key(self) -> str:
        """Under which name a row has its boxes."""

    @property
    def keep(self) -> tuple[str, ...]:
        """The names of other fields that are carried along: see `kept_fields`."""

    @property
    def box_format(self) -> BoxFormat:
        """The run's param, for formats that do not say themselves what boxes are."""

    @property
    def encoding(self) -> str:
        """What text is in that does not say so itself; what `local` and `small` give of text is in UTF-8."""

    def __contains__(self, path: object) -> bool: ...

    def local(self, path: str) -> AbstractContextManager[Path]:
        """A file as a local one, unpacked. A ValueError within becomes the fault of that file as a whole."""

    def opened(self, path: str) -> AbstractContextManager[tuple[IO[bytes], bool]]:
        """A file that may be large, to be sought in, and whether it is compressed: then it is its unpacked content.

        Without a copy of it, unless it is compressed. A ValueError within becomes the fault of that file as a whole.
        """

    def small(self, paths: Iterable[str], most: int = MAX_LINE_BYTES) -> Iterator[tuple[str, bytes | RowError]]:
        """Small files, unpacked, several read at a time, in the order of `paths`.

        A RowError in place of one that has over `most` bytes, or is damaged.
        """

    def ending_in(self, ending: str) -> Sequence[str]:
        """The paths of the few files whose paths end so, such as the names of classes, compressed or not; sorted."""

    def image(self, name: str, beside: str) -> str:
        """The path of the image that the manifest `beside` calls so.

        That is the file of this path from the manifest's folder, or from the drop's, or the only one whose path ends
        so; of a path on another machine, or a URL, also by its last folders and its name. Where there is none, the name
        is given back: the row is rejected for it. Raises RowError (image_not_found) where there are several.
        """

    def note(self, what: str, number: int = 1) -> None:
        """Count something that is not as it was given; it is said of the drop as `<number> <what>`.

        `what` is of few kinds, and nothing that somebody else has written.
        """

    def image_of(self, stem: str, beside: str, folders: tuple[str, str] | None = None) -> str:
        """The same for an image's name without its ending.

        With `folders`, the last folder of the first name in the path of `beside` is one of the second name there.
        """


@dataclass(frozen=True)
class DropReader:
    """A format whose manifests are read together: a file for each image, say, or names of classes in a file.

    Files anywhere in the drop that end in one of `suffixes` (letter case aside) are manifests, but hidden ones; where
    it is not `nested`, those at its top level; where it is `packed`, also those that are compressed. `rows` is given
    the drop, yields the rows as a stream, with `labels` beside the boxes, and may be called several times. Boxes are in
    `box_format`, whatever the run's param says; where it is None, that says it. `recognises` says by the path of a file
    and by how it begins (some 64 kB, unpacked; of Parquet, its columns and their types as text) whether it is a
    manifest of this format: for `input_format` = `auto`. `count` says quickly how many rows there are at most.
    """

    suffixes: tuple[str, ...]
    rows: Callable[[Given], Iterator[Row]]
    box_format: BoxFormat | None
    recognises: Callable[[str, bytes], bool]
    count: Callable[[Given], int]
    is_text: bool = True
    packed: bool = True
    nested: bool = True

    def takes(self, path: str) -> bool:
        """Whether a file of the drop is a manifest, by its path."""
        endings = with_compressed(self.suffixes) if self.packed else self.suffixes
        return (self.nested or "/" not in path) and _ends_in(path, endings)


def _ends_in(path: str, endings: Iterable[str]) -> bool:
    return path.lower().endswith(tuple(map(str.lower, endings)))


def a_row_each(
    files: Iterable[tuple[str, bytes | RowError]], value: Callable[[str, bytes], dict[str, Any]]
) -> Iterator[Row]:
    """The rows of a format that has a file for each image: `value` makes one of a file's path and bytes.

    A file that cannot be read, and one for which `value` raises RowError, costs its own row.
    """
    for manifest, data in files:
        try:
            if isinstance(data, RowError):
                raise data
            yield Row(1, value(manifest, data), manifest=manifest)
        except RowError as fault:
            yield Row(1, None, fault, data if isinstance(data, bytes) else None, manifest)


def lines_of(text: str) -> list[str]:
    """The lines of a text. What else Python takes for the end of one (U+2028, say) may be in the name of a class."""
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]


def names_in(given: Given, data: bytes) -> list[str]:
    """The lines of a file with the names of classes; one that is not UTF-8 is empty: it would be a wrong label."""
    lines = lines_of(data.decode("utf-8-sig", "surrogateescape"))
    given.note(NOT_READ, sum(not is_utf8(line) for line in lines))
    return [line if is_utf8(line) else "" for line in lines]


# What is said of names of classes in another encoding.
NOT_READ = "names of classes are not UTF-8, and are no labels: set the param manifest_encoding to what they are in"
# What is said of boxes whose class is a number that nothing in the drop names.
UNNAMED = "boxes are of classes that have no name in the drop, and have no label"


def left_out(kind: str) -> str:
    """What is said of drawn shapes that are not read; `kind` is what their format calls them."""
    return f"shapes of the kind {kind} were left out: no boxes are read of these"


def id_in(given: Given, manifest: str, identity: Any) -> Any:
    """The id of a row that a manifest gives: where there are several, each counts by itself."""
    return identity if len(given.manifests) == 1 else f"{manifest}#{identity}"


def not_of_another(given: Given, manifest: str, path: str, folders: tuple[str, str] | None = None) -> str:
    """The path of the image that a file of one image names.

    Raises RowError (image_not_found) where another image has the file's own name: when both were renamed, the name in
    the file stayed what it was, and may be another image's by now.
    """
    own = stem_of(manifest)
    if stem_of(path) == own:
        return path
    try:
        other = given.image_of(own, manifest, folders)
    except RowError:  # as it is in data sets whose files have names of their own
        return path
    if other == path:
        return path
    raise RowError(
        Code.IMAGE_NOT_FOUND,
        f"the file names the image {path!r}, and {other!r} has the file's own name: it is not known which of them it "
        "is about; correct the name in it, or take it out",
    )


def stem_of(path: str) -> str:
    """A manifest's name without its folders, its ending, and that of a compressed file."""
    name = posixpath.basename(path)
    packed = next((ending for ending in ENDINGS if ending and name.endswith(ending)), "")
    return posixpath.splitext(name.removesuffix(packed))[0]


def is_hidden(path: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden, or is of what macOS puts beside files in archives."""
    return any(name.startswith(".") or name == "__MACOSX" for name in path.split("/"))


def tidy(value: float) -> int | float:
    """A coordinate: an integer where it is whole, else without what binary fractions add."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded


def from_corners(x0: float, y0: float, x1: float, y1: float) -> list[int | float]:
    """A box in pixels by two opposite corners, as [x, y, w, h]."""
    left, top = min(x0, x1), min(y0, y1)
    return [tidy(left), tidy(top), tidy(abs(x1 - x0)), tidy(abs(y1 - y0))]


def around(points: Iterable[Sequence[float]]) -> list[int | float]:
    """The box around points, as [x, y, w, h]. Raises ValueError where there are none."""
    xs, ys = zip(*((point[0], point[1]) for point in points), strict=True)
    return from_corners(min(xs), min(ys), max(xs), max(ys))
