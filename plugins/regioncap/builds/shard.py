"""A shard's files in the work area, as rows."""

import io
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel

from regioncap.builds import layout
from regioncap.errors import PermanentError
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Record, RenderedRow
from regioncap.storage.store import NotFoundError, Store

Model = TypeVar("Model", bound=BaseModel)


class StepMissingError(PermanentError):
    """An earlier step left nothing behind for this shard. The message says which one to run again."""


def read_lines(store: Store, path: str, model: type[Model]) -> list[Model]:
    """All rows of a JSONL file. Raises StepMissingError."""
    return list(iterate_lines(store, path, model))


def iterate_lines(store: Store, path: str, model: type[Model]) -> Iterator[Model]:
    """The rows of a JSONL file, each made when it is asked for: as text they are small. Raises StepMissingError."""
    return parse_lines(read_bytes(store, path), model)


def read_bytes(store: Store, path: str) -> bytes:
    """A whole file of the shard. Raises StepMissingError."""
    try:
        return store.read(path)
    except NotFoundError as error:
        raise StepMissingError(
            f"{error} is missing: clear the shard's earlier tasks, so that they run again"
        ) from error


def parse_lines(data: bytes, model: type[Model]) -> Iterator[Model]:
    """The rows of a JSONL file's bytes."""
    return (model.model_validate_json(text) for text in io.BytesIO(data) if text.strip())


def write_lines(store: Store, path: str, rows: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Write a JSONL file at once."""
    store.write(path, b"".join(map(line, rows)))


def planned(shard: Store) -> list[PlannedRow]:
    """The shard's rows as `plan` wrote them."""
    return read_lines(shard, layout.ROWS, PlannedRow)


def rendered(shard: Store) -> Iterator[RenderedRow]:
    """The shard's marked rows as `render` wrote them."""
    return iterate_lines(shard, layout.RENDERED, RenderedRow)


def records(shard: Store) -> list[Record]:
    """The shard's records as `validate` wrote them."""
    return read_lines(shard, layout.RECORDS, Record)
