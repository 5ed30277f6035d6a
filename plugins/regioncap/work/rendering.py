"""What `render` has marked of a shard so far, so that a try that is ended is not in vain."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, RenderedRow
from regioncap.warehouse.layout import IMAGES
from regioncap.work import layout
from regioncap.work.shard import Shard, readable_lines

# So many rows are noted at once.
NOTED_ROWS = 250


class MarkedRow(BaseModel):
    """A marked row, the version of the image that it was made of, and the bytes of the images that it was made into."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    row: RenderedRow
    version: str | None
    sizes: dict[str, int]


class MarkedSoFar:
    """The rows of a shard that were marked, by this try and those before it. All of it goes when the shard is done."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._pending: list[MarkedRow] = []
        self._is_there = False

    def load(self, rows: Sequence[PlannedRow], versions: Sequence[str | None]) -> Mapping[str, MarkedRow]:
        """What an earlier try has marked, by the row's id: where image and marked images are still what they were."""
        own = self._shard.own
        parts = list(own.list(layout.RENDERING))
        if not parts:
            return {}
        self._is_there = True
        there = {entry.path: entry.size for entry in self._shard.shared.list(IMAGES)}
        wanted = {row.id: version for row, version in zip(rows, versions, strict=True)}
        return {
            marked.row.id: marked
            for part in parts
            for marked in readable_lines(own.read(part.path), MarkedRow, f"{own.uri}/{part.path}")
            if marked.row.id in wanted
            and wanted[marked.row.id] == marked.version
            and all(there.get(path) == size for path, size in marked.sizes.items())
        }

    def note(self, marked: MarkedRow, place: int) -> None:
        """Note a marked row; `place` is its own in the shard."""
        self._pending.append(marked)
        if len(self._pending) >= NOTED_ROWS:
            self._shard.own.write(f"{layout.RENDERING}{place:07d}.jsonl", b"".join(map(line, self._pending)))
            self._pending, self._is_there = [], True

    def clear(self) -> None:
        """Forget all: the shard is done, and whoever clears its task wants it done anew."""
        if self._is_there:
            self._shard.own.sub(layout.RENDERING).delete_folder()
