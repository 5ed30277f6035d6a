"""Reading back what was written before: by an earlier try, by another run, by another version of RegionCap.

Written strictly, read tolerantly: fields that are not known are ignored, and what only informs never fails a build.
Settings are the exception: one that is not known may have shaped what was built.
"""

import logging
from collections.abc import Callable
from typing import IO, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError, from_json

from regioncap.errors import NotFoundError
from regioncap.storage.patience import persist
from regioncap.storage.store import Store

_log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)

_NEWER = "newer_version"

# A file is read in pieces of this size.
_PIECE_BYTES = 1 << 20


class Opens(Protocol):
    """What files are read from, as a `Store` is."""

    def open(self, path: str, version: str | None = None) -> IO[bytes]:
        """A file as a stream."""


def read_at_most(place: Opens, path: str, most: int, version: str | None = None) -> bytes:
    """A file's bytes; of one that has more than `most`, one more than that. Raises as a store's `open` does."""

    def read() -> bytes:
        with place.open(path, version) as stream:
            # In pieces: room for the largest file, made for each, costs more than reading it.
            pieces = [stream.read(min(most + 1, _PIECE_BYTES))]
            left = most + 1 - len(pieces[0])
            while pieces[-1] and left > 0:
                pieces.append(stream.read(min(left, _PIECE_BYTES)))
                left -= len(pieces[-1])
            return b"".join(pieces)

    return persist(read)


def parsed(model: type[Model], data: bytes) -> Model:
    """The JSON of a file as a model. Raises ValidationError.

    Whoever wrote the file, to say what is wrong with it costs little more than it has bytes: all errors speak of one
    value, and not each of a copy of its own.
    """
    try:
        value = from_json(data)
    except ValueError:
        return model.model_validate_json(data)  # says where it ceases to be JSON
    return model.model_validate(value)


def no_newer_than(own: str) -> Callable[[str], str]:
    """A validator of a file's `schema_version`: one whose first number is above that of `own` has another meaning."""
    known = own.partition(".")[0]

    def check(version: str) -> str:
        major = version.partition(".")[0]
        if not major.isdecimal():
            raise ValueError(f"{version!r} is no version")
        if int(major) > int(known):
            raise PydanticCustomError(_NEWER, "{version} is newer than {known}.x", {"version": version, "known": known})
        return version

    return check


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with a file, in a line."""
    first = error.errors(include_url=False, include_input=False)[0]
    text = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    # Names of fields may come from the file.
    return "".join(character if character.isprintable() else " " for character in text[:200])


def is_newer(error: ValidationError) -> bool:
    """Whether a file could not be read since a newer version wrote it."""
    return any(one["type"] == _NEWER for one in error.errors(include_url=False, include_input=False))


def unreadable(where: str, error: ValidationError, remedy: str) -> str:
    """Says what is wrong with the file `where`, and what is to be done: `remedy`, unless it is only too new."""
    for one in error.errors(include_url=False, include_input=False):
        if one["type"] == _NEWER:
            version, known = one["ctx"]["version"], one["ctx"]["known"]
            return (
                f"{where} is of version {version}, and this RegionCap reads {known}.x: use the RegionCap that wrote "
                "it, or a newer one"
            )
    return f"{where} cannot be read ({first_problem(error)}): {remedy}"


def informing(store: Store, path: str, model: type[Model]) -> Model | None:
    """A file of which nothing is built; None where it is missing, damaged, too new or out of reach: the log says so."""
    where = f"{store.uri}/{path}"
    try:
        return parsed(model, store.read(path))
    except NotFoundError:
        message = f"{where} is missing: it is left out"
    except ValidationError as error:
        message = unreadable(where, error, "it is left out")
    except Exception as error:  # whatever the storage has to say: a build does not fail for it
        message = f"{where} is out of reach ({error}): it is left out"
    _log.warning("%s", message)
    return None
