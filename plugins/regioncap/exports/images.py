"""The images that exports carry: any reader shows them as they are displayed."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from regioncap.drop import decoding
from regioncap.drop.decoders import Decoders
from regioncap.drop.drop import read_image
from regioncap.drop.elsewhere import ImageFiles
from regioncap.errors import RowError
from regioncap.marks.view import content_name


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


def original_image(drop: ImageFiles, path: str, sha256: str, decoders: Decoders) -> CarriedImage:
    """The unmarked original: its own bytes where every reader shows them as the boxes mean them, else written anew.

    Raises ImageGoneError where it is not there any more, is another one, or cannot be written anew.
    """
    try:
        data = read_image(drop, path)
    except RowError as error:
        raise ImageGoneError(error.reason) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ImageGoneError("the file has changed since it was marked")
    try:
        ending, anew = decoders.run(data, decoding.portable)
    except RowError as error:
        raise ImageGoneError(error.reason, is_there=True) from error
    return CarriedImage(anew[0] if anew else data, ending)
