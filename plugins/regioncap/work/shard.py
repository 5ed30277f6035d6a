"""A shard's files in the work area, as rows."""

import io
import logging
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from regioncap.errors import NotFoundError, StepMissingError
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Record, RenderedRow
from regioncap.storage.readback import first_problem, unreadable
from regioncap.storage.store import Store
from regioncap.work import layout

_log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)

# Which task writes a file anew.
_PLAN = "the run's plan task"
_WRITERS = {
    layout.RENDERED: "the shard's render task",
    layout.RENDER_REJECTED: "the shard's render task",
    layout.RECORDS: "the shard's validate task",
    layout.VALIDATE_REJECTED: "the shard's validate task",
}


def read_lines(store: Store, path: str, model: type[Model]) -> list[Model]:
    """All rows of a JSONL file. Raises StepMissingError."""
    return list(iterate_lines(store, path, model))


def iterate_lines(store: Store, path: str, model: type[Model]) -> Iterator[Model]:
    """The rows of a JSONL file, each made when it is asked for: as text they are small. Raises StepMissingError."""
    return parse_lines(read_bytes(store, path), model, store, path)


def readable_lines(store: Store, path: str, model: type[Model]) -> list[Model]:
    """The rows of a JSONL file that can be read, for what can be asked again; the log says where there are others.

    Raises StepMissingError where there is no such file.
    """
    rows: list[Model] = []
    problems: list[str] = []
    for number, text in _numbered(read_bytes(store, path)):
        try:
            rows.append(model.model_validate_json(text))
        except ValidationError as error:
            problems.append(f"line {number} ({first_problem(error)})")
    if problems:
        _log.warning(
            "%s/%s: %d of %d lines cannot be read, the first is %s: what they answer is asked again",
            *(store.uri, path, len(problems), len(problems) + len(rows), problems[0]),
        )
    return rows


def read_bytes(store: Store, path: str) -> bytes:
    """A whole file of the shard. Raises StepMissingError."""
    try:
        return store.read(path)
    except NotFoundError as error:
        raise StepMissingError(
            f"{error} is missing: clear the shard's earlier tasks, so that they run again"
        ) from error


def parse_lines(data: bytes, model: type[Model], store: Store, path: str) -> Iterator[Model]:
    """The rows of a JSONL file's bytes, which are those of `path` in `store`. Raises StepMissingError."""
    for number, text in _numbered(data):
        try:
            row = model.model_validate_json(text)
        except ValidationError as error:
            remedy = f"clear {_WRITERS.get(path, _PLAN)}, so that it is written anew"
            raise StepMissingError(unreadable(f"{store.uri}/{path}, line {number},", error, remedy)) from error
        yield row


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    return ((number, text) for number, text in enumerate(io.BytesIO(data), start=1) if text.strip())


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
