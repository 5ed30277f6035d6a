"""Which shards of the published build hold the rows of a new shard, so that their answers are taken over.

A plan leaves behind where each of its rows went, as Parquet: `row`, a 64-bit hash of the row's id, and `shard`, the
place of its shard in the list of shards, which is in the file's metadata. In memory it is 12 bytes a row.
"""

import hashlib
import io
import json
import logging
import re
import tempfile
from array import array
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from regioncap.drop.rows import images_named
from regioncap.errors import NotFoundError
from regioncap.regions.records import PlannedRow, Rejected
from regioncap.storage.store import Store
from regioncap.warehouse.layout import partition_path
from regioncap.work import layout

_log = logging.getLogger(__name__)

_SHARDS = b"shards"
_COLUMNS = pa.schema([("row", pa.uint64()), ("shard", pa.uint32())])
_ROW_GROUP = 100_000
# What else stands in its place may lead anywhere.
_SHARD_ID = re.compile("[0-9a-f]+")


class Known(Protocol):
    """A row, as far as it is looked for."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def image(self) -> str:
        """Its image's path."""


@dataclass(frozen=True)
class RowIndex:
    """Where rows are: `rows` is sorted, `places[i]` says in which of `shards` the row `rows[i]` is."""

    shards: list[str]
    rows: npt.NDArray[np.uint64]
    places: npt.NDArray[np.uint32]

    def shards_of(self, rows: Sequence[Known]) -> list[str]:
        """The shards with any of these rows, in the order of the plan."""
        if not len(self.rows):
            return []
        wanted = np.fromiter(map(_digest, rows), dtype=np.uint64, count=len(rows))
        found = np.minimum(np.searchsorted(self.rows, wanted), len(self.rows) - 1)
        return [self.shards[place] for place in np.unique(self.places[found[self.rows[found] == wanted]])]


NO_ROW_INDEX = RowIndex([], np.empty(0, np.uint64), np.empty(0, np.uint32))


class RowIndexWriter:
    """Notes where rows go, shard by shard."""

    def __init__(self) -> None:
        self._rows = array("Q")
        self._places = array("I")
        self._shards: list[str] = []

    def add(self, shard_id: str, rows: Sequence[Known]) -> None:
        """The rows of the plan's next shard."""
        self._rows.extend(map(_digest, rows))
        self._places.extend([len(self._shards)] * len(rows))
        self._shards.append(shard_id)

    def save(self, work: Store, plan_id: str) -> None:
        """Write what was noted beside the plan."""
        rows, places = np.frombuffer(self._rows, np.uint64), np.frombuffer(self._places, np.uint32)
        _save(work, plan_id, self._shards, rows, places)


def _save(
    work: Store, plan_id: str, shards: Sequence[str], rows: npt.NDArray[np.uint64], places: npt.NDArray[np.uint32]
) -> None:
    schema = _COLUMNS.with_metadata({_SHARDS: json.dumps(shards)})
    order = np.argsort(rows)
    with tempfile.TemporaryFile(prefix="regioncap-row-index-") as out:
        # A dictionary of the rows' hashes, no two of which are equal, would take more room than they do.
        with pq.ParquetWriter(out, schema, use_dictionary=["shard"]) as writer:
            for start in range(0, len(order), _ROW_GROUP):
                part = order[start : start + _ROW_GROUP]
                writer.write_table(pa.table({"row": rows[part], "shard": places[part]}, schema))
        out.seek(0)
        work.write_stream(out, layout.row_index_path(plan_id))


def load_row_index(work: Store, plan_id: str) -> RowIndex:
    """What the plan `plan_id` left behind; nothing where that is gone or damaged, and the log says so.

    A build needs none of it: without it more is asked.
    """
    path = layout.row_index_path(plan_id)
    try:
        return _parse(work.read(path))
    except NotFoundError:
        problem = "is missing"
    except ValueError as error:
        problem = f"cannot be read ({error})"
    _log.warning(
        "%s/%s %s: which answers an earlier plan got is not known, so all that is not in the very same shards is "
        "asked again",
        *(work.uri, path, problem),
    )
    return NO_ROW_INDEX


def _parse(data: bytes) -> RowIndex:
    """Raises ValueError."""
    try:
        table = pq.read_table(io.BytesIO(data), columns=_COLUMNS.names)
        shards = json.loads(table.schema.metadata[_SHARDS])
    except Exception as error:  # a damaged file makes Arrow raise errors of many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if table.schema.remove_metadata() != _COLUMNS or any(column.null_count for column in table.columns):
        raise ValueError("its columns are others")
    rows, places = table["row"].to_numpy(), table["shard"].to_numpy()
    named = isinstance(shards, list) and all(isinstance(name, str) and _SHARD_ID.fullmatch(name) for name in shards)
    if not named or (len(places) and places.max() >= len(shards)):
        raise ValueError("its list of shards is another's")
    return RowIndex(shards, rows, places)


def image_digest(image: str) -> int:
    """A 64-bit hash of an image's path in the drop."""
    return int.from_bytes(hashlib.blake2b(image.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def image_key(date: str, image: str) -> str:
    """What an image of a date's drop is known by among those that are forgotten, by its path."""
    return f"{partition_path(date)} {image_digest(image):016x}"


@dataclass(frozen=True)
class ForgottenImages:
    """Tells whether a row of a date is about an image that is forgotten, as far as it is known by its path."""

    date: str
    keys: frozenset[str]

    def __call__(self, row: PlannedRow | Rejected) -> bool:
        """Whether it is."""
        return any(image_key(self.date, image) in self.keys for image in images_named(row))


def leave_rows_out(work: Store, plans: Iterable[str], ids: Collection[str]) -> None:
    """Write the row indexes of plans anew without the rows of these ids.

    All of them are, in the order in which they were written: `earlier_plans` goes by their times.
    """
    written: dict[str, float] = {}
    for plan_id in plans:
        with suppress(NotFoundError):  # a plan with nothing to do has none
            written[plan_id] = work.stat(layout.row_index_path(plan_id)).modified
    digests = np.array([_id_digest(row_id) for row_id in ids], np.uint64)
    for plan_id in sorted(written, key=written.__getitem__):
        index = load_row_index(work, plan_id)
        stay = ~np.isin(index.rows, digests)
        _save(work, plan_id, index.shards, index.rows[stay], index.places[stay])


def _digest(row: Known) -> int:
    return _id_digest(row.id)


def _id_digest(row_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest())
