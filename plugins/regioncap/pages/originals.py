"""The unmarked original of a record or a rejected row, as somebody looks at it: found anew, and encoded anew."""

import hashlib
from typing import Any

from pydantic import ValidationError

from regioncap.drop.decoders import Decoders
from regioncap.drop.decoding import shown
from regioncap.drop.drop import read_image
from regioncap.drop.elsewhere import Images, is_uri
from regioncap.drop.rows import image_path
from regioncap.errors import BuildGoneError, DropChangedError, RowError, StorageError
from regioncap.pages.builds import SeenBuild
from regioncap.pages.gallery import Place, line_at
from regioncap.pages.rejects import rejected_at
from regioncap.regions.records import Record, Rejected

# As large as a screen shows it; in pixels.
LONGEST_SIDE = 2048


def original(build: SeenBuild, place: Place, images: Images, decoders: Decoders) -> bytes:
    """A JPEG of the record's original; `images` are where those of the date are.

    Whoever wrote the record is not trusted: its path is checked as a row's is, no link is followed, and the file is
    decoded in a process that can be killed. Raises BuildGoneError where it cannot be had, or is another one by now.
    """
    try:
        record = Record.model_validate_json(line_at(build, place))
    except ValidationError as error:
        raise BuildGoneError("there is no such record in this build") from error
    return _jpeg(images, record.image, record.image_sha256, decoders)


def original_of_rejected(build: SeenBuild, line: int, images: Images, decoders: Decoders) -> bytes:
    """The same of a rejected row, by its line. Where nobody knows which image it was, the one of its name is shown."""
    row = rejected_at(build, line)
    if row is None or not has_image(row):
        raise BuildGoneError("there is no such row in this build, or it has no image")
    return _jpeg(images, row.row["image"], row.row.get("image_sha256"), decoders)


def has_image(row: Rejected) -> bool:
    """Whether a rejected row names an image, and was not rejected because of it."""
    return isinstance(row.row, dict) and bool(row.row.get("image")) and not str(row.code).startswith("image_")


def _jpeg(images: Images, image: Any, sha256: Any, decoders: Decoders) -> bytes:
    try:
        path = images.path_of(image) if isinstance(image, str) and is_uri(image) else image
        data = read_image(images, path if isinstance(path, str) and is_uri(path) else image_path(path))
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise BuildGoneError("the drop has another image of this name now: run the date again")
        _, (jpeg,) = decoders.run(data, shown, LONGEST_SIDE)
    except (RowError, DropChangedError, StorageError) as error:
        raise BuildGoneError(f"the original cannot be shown: {error}") from error
    return jpeg
