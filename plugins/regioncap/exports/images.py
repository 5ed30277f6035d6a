"""The images that exports carry: any reader shows them as they are displayed."""

import hashlib
import os
import threading
from dataclasses import dataclass
from functools import cached_property

import cv2

from regioncap.drop.drop import read_image
from regioncap.drop.images import open_image
from regioncap.errors import RowError
from regioncap.marks.pixels import for_opencv
from regioncap.marks.view import content_name, encode
from regioncap.storage.store import Store
from regioncap.work.shard import read_marked

# Of an original that has to be written anew: no loss that anybody sees.
_QUALITY = 95
_MAX_JPEG_SIDE = 65_500
# Writing anew is all work and takes the memory of whole pictures, so there is no more of it at once than can be done.
_writing_anew = threading.Semaphore(os.cpu_count() or 1)


class ImageGoneError(Exception):
    """The original cannot be carried. The message says why, as a sentence.

    `is_there` says that the file is what was marked: then no upload would help.
    """

    def __init__(self, reason: str, is_there: bool = False) -> None:
        super().__init__(reason)
        self.is_there = is_there


@dataclass(frozen=True)
class CarriedImage:
    """An image file; `ending` is `jpg`, `png` or `webp`."""

    data: bytes
    ending: str

    @cached_property
    def name(self) -> str:
        """A file name of its own for each content."""
        return f"{content_name(self.data)}.{self.ending}"


def marked_image(shard: Store, path: str) -> CarriedImage:
    """The marked image, as the model saw it. Raises StepMissingError."""
    return CarriedImage(read_marked(shard, path), "jpg")


def original_image(drop: Store, path: str, sha256: str) -> CarriedImage:
    """The unmarked original: its own bytes where every reader shows them as the boxes mean them, else written anew.

    Raises ImageGoneError where it is not there any more, is another one, or cannot be written anew.
    """
    try:
        data = read_image(drop, path)
    except RowError as fault:
        raise ImageGoneError(fault.reason) from fault
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ImageGoneError("the file has changed since it was marked")
    try:
        return _portable(data)
    except RowError as fault:
        raise ImageGoneError(fault.reason, is_there=True) from fault


def _portable(data: bytes) -> CarriedImage:
    # Of an image with a record, which was decoded before if this is a HEIC.
    picture = open_image(data, heic=True)
    if picture.portable and picture.form in ("JPEG", "MPO", "PNG", "WEBP"):
        return CarriedImage(data, {"PNG": "png", "WEBP": "webp"}.get(picture.form, "jpg"))
    with _writing_anew:
        image = picture.decode()
        # What was stored without loss stays without.
        if picture.form in ("JPEG", "MPO", "WEBP", "HEIF", "AVIF") and max(image.size) <= _MAX_JPEG_SIDE:
            return CarriedImage(encode(image, _QUALITY), "jpg")
        return CarriedImage(cv2.imencode(".png", for_opencv(image, bgr=True))[1].tobytes(), "png")
