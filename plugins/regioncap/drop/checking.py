"""The rows of a drop are checked: in this process, or, where there are many, in others beside it.

What comes of them is the same, byte by byte. A row is checked by itself but for its id, which no other row may have: a
process that checks for this one takes each id for a new one, and tells which id a row claims. Here ids are compared in
the order of the rows, and a row whose id is none that is new is checked once more, where that is known.

Such a process reads what it is asked and writes what it answers, pickled, until there is nothing to read any more: that
is so when this process ends, however it does.
"""

import io
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, cast

from regioncap.drop.drop import Files, Manifests
from regioncap.drop.elsewhere import Images
from regioncap.drop.inside import placed
from regioncap.drop.readers import ByLine, Row
from regioncap.drop.rows import Counts, RowReader, forgotten_row, reject
from regioncap.drop.unforeseen import named, unforeseen
from regioncap.errors import RowError, TransientError
from regioncap.parallel import in_order
from regioncap.processes import cores, ended, free_memory, python
from regioncap.regions.codes import Code
from regioncap.regions.jsonl import line
from regioncap.regions.records import PlannedRow, Rejected, Source
from regioncap.storage.store import Store

# A process takes half a second of a core to start, as long as ten thousand rows do.
ENOUGH_ROWS = 50_000
# So much a process may take, but for what it knows of the drop's files; of the memory that is left, others want some.
_PROCESS_BYTES, _FILE_BYTES, _MEMORY_SHARE = 256 << 20, 12, 0.5
# So many rows are checked at a time, or so many bytes of them, and what is beyond that in the last one.
_BLOCK_ROWS, _BLOCK_BYTES = 1000, 1 << 18

NamedRow = tuple[str, Row]
# What tells whether a row is about an image that is forgotten.
IsForgotten = Callable[[PlannedRow | Rejected], bool]


def none_is_forgotten(row: PlannedRow | Rejected) -> bool:
    """What tells it where no image is."""
    return False


class Planned(NamedTuple):
    """What a plan notes of a row that is in order: `boxes` is how many it gives, `version` that of its image."""

    id: str
    image: str
    boxes: int | None
    version: str | None


class Checked(NamedTuple):
    """What came of a row: the line that is written of it, and, unless it is rejected, what is noted of it.

    `unforeseen` is the rejected row where nobody foresaw why.
    """

    line: bytes
    planned: Planned | None
    unforeseen: Rejected | None


@dataclass(frozen=True)
class Checker:
    """Checks rows by all that the drop says of them; `files` are those where the images are."""

    reader: RowReader
    files: Files
    is_forgotten: IsForgotten = none_is_forgotten

    def check(self, manifest: str, row: Row) -> Checked:
        """What comes of one row. Raises what is no row's fault: see `unforeseen`."""
        source = Source(manifest=manifest, line=row.line)
        try:
            found = self._read(row, source)
            if self.is_forgotten(found):
                found = forgotten_row(source)
            text = line(found)
            if isinstance(found, PlannedRow):
                boxes = None if found.bbox is None else len(found.bbox)
                version = placed(self.files.version(found.image), row.place)
                return Checked(text, Planned(found.id, found.image, boxes, version), None)
        except Exception as error:
            # Without the row itself, which may be what cannot be written down.
            found = reject(source, unforeseen(error, named(source)), None, None)
            text = line(found)
        return Checked(text, None, found if found.code == Code.INTERNAL_ERROR else None)

    def _read(self, row: Row, source: Source) -> PlannedRow | Rejected:
        if row.fault is not None:
            return reject(source, row.fault, None, row.raw)
        assert row.value is not None, "a row has a value or a fault"
        return self.reader.read(row.value, source)


def processes_for(rows: int, files: int) -> int:
    """How many processes are to check so many rows, with so many files in the drop; 0 where this one does it."""
    number = min(cores(), round(_MEMORY_SHARE * free_memory()) // (_PROCESS_BYTES + _FILE_BYTES * files))
    return number if rows >= ENOUGH_ROWS and number > 1 else 0


def checked_rows(manifests: Manifests, checker: Checker, processes: int) -> Iterator[Checked]:
    """What comes of each row, in order, where so many other processes check them; 0 stands for this one.

    Raises what is no row's fault, as `Manifests.rows` does, and TransientError where a process is lost.
    """
    if not processes:
        for manifest, row in manifests.rows():
            yield checker.check(manifest, row)
        return
    with _Processes(checker, processes) as others:
        for block, answers in in_order(others.answered, _blocks(manifests), processes, interrupt=others.kill):
            if answers is None:
                for manifest, row in block.rows():
                    yield checker.check(manifest, row)
                continue
            again: Sequence[NamedRow] = ()
            for place, (claimed, counts, text, planned, unforeseen) in enumerate(answers):
                if claimed is None or checker.reader.ids.add(claimed):
                    checker.reader.count(counts)
                    yield Checked(text, planned and Planned(*planned), unforeseen)
                else:
                    again = again or block.rows()
                    yield checker.check(*again[place])


# What comes of a row if it is the first with the id that it claims, if any: that id, what is counted, and what is in
# `Checked`. Plain tuples: to pickle others takes longer than some checks.
_Answer = tuple[str | None, Counts, bytes, tuple[str, str, int | None, str | None] | None, Rejected | None]


@dataclass
class _Claims:
    """Ids of which each is a new one: whoever asks compares them."""

    claimed: str | None = None

    def add(self, identity: str) -> bool:
        """Note an id."""
        self.claimed = identity
        return True

    def taken(self) -> str | None:
        """The one that was noted since this was called last, if any."""
        claimed, self.claimed = self.claimed, None
        return claimed


# Rows on their way


class _Block(Protocol):
    """Some rows."""

    @property
    def data(self) -> bytes | None:
        """What is sent, pickled: itself. None where it stays here."""

    def rows(self) -> Sequence[NamedRow]:
        """The rows."""


def _blocks(manifests: Manifests) -> Iterator[_Block]:
    by_line = manifests.by_line
    return _read(manifests.rows()) if by_line is None else _unread(manifests.lines(by_line), by_line)


@dataclass(frozen=True)
class _Lines:
    """Lines that are rows, to be taken apart by whoever checks them."""

    row: Callable[[int, bytes], Row]
    lines: Sequence[tuple[str, int, bytes]]

    @property
    def data(self) -> bytes:
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)

    def rows(self) -> Sequence[NamedRow]:
        return [(manifest, self.row(number, text)) for manifest, number, text in self.lines]


def _unread(lines: Iterable[tuple[str, int, bytes]], by_line: ByLine) -> Iterator[_Block]:
    block: list[tuple[str, int, bytes]] = []
    size = 0
    for line_ in lines:
        block.append(line_)
        size += len(line_[2])
        if len(block) == _BLOCK_ROWS or size >= _BLOCK_BYTES:
            yield _Lines(by_line.row, block)
            block, size = [], 0
    if block:
        yield _Lines(by_line.row, block)


@dataclass(frozen=True)
class _Here:
    """A row that may not come out as it went in: a reader of a package may put anything into it."""

    named: NamedRow
    data: None = None

    def rows(self) -> Sequence[NamedRow]:
        return [self.named]


@dataclass(frozen=True)
class _Pickled:
    """Rows, pickled one after the other."""

    pickled: bytes

    @property
    def data(self) -> bytes:
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)

    def rows(self) -> Sequence[NamedRow]:
        return list(self._rows())

    def _rows(self) -> Iterator[NamedRow]:
        unpickler = pickle.Unpickler(io.BytesIO(self.pickled))
        with suppress(EOFError):
            while True:
                manifest, number, value, fault, raw, place = unpickler.load()
                yield manifest, Row(number, value, fault and RowError(*fault), raw, place=place)


class _Pickler(pickle.Pickler):
    """Takes what comes out as it went in."""

    def reducer_override(self, value: Any) -> Any:
        """See `pickle`: called for all but the plainest values."""
        if type(value).__module__ not in ("builtins", "datetime", "decimal"):
            raise pickle.PicklingError(f"a {type(value).__name__} is not sent")
        return NotImplemented


def _read(rows: Iterable[NamedRow]) -> Iterator[_Block]:
    def begin() -> tuple[io.BytesIO, _Pickler]:
        # One pickler for a block: the names of fields are in it once.
        return (buffer := io.BytesIO()), _Pickler(buffer, pickle.HIGHEST_PROTOCOL)

    number = 0
    buffer, pickler = begin()
    for manifest, row in rows:
        end, here = buffer.tell(), False
        fault = None if row.fault is None else (str(row.fault.code), row.fault.reason)
        try:
            pickler.dump((manifest, row.line, row.value, fault, row.raw, row.place))
            number += 1
        except Exception:  # also of what is nested too deep
            buffer.seek(end)
            buffer.truncate()
            here = True
        if here or number == _BLOCK_ROWS or buffer.tell() >= _BLOCK_BYTES:
            if number:
                yield _Pickled(buffer.getvalue())
            if here:
                yield _Here((manifest, row))
            number = 0
            buffer, pickler = begin()
    if number:
        yield _Pickled(buffer.getvalue())


# The other processes


class _Start(NamedTuple):
    """What a process is told at its start: a checker, but for what cannot be sent; files are opened by numbers."""

    image_key: str
    bbox_key: str
    path_bytes: int
    keep: tuple[str, ...]
    images: tuple[str, Sequence[str]] | None
    is_forgotten: IsForgotten
    files: tuple[int, int, int]

    def checker(self) -> Checker:
        """The checker."""
        files = Files.of(*self.files)
        images = None if self.images is None else Images(cast(Store, _Unread(self.images[0])), self.images[1])
        reader = RowReader(
            self.image_key, self.bbox_key, files, self.path_bytes, keep=self.keep, images=images, ids=_Claims()
        )
        return Checker(reader, files, self.is_forgotten)


@dataclass(frozen=True)
class _Unread:
    """Where images are, for whom it is enough to know that."""

    uri: str


class _Processes:
    """Processes that check rows. Use it as a context manager."""

    def __init__(self, checker: Checker, number: int) -> None:
        reader, files = checker.reader, checker.files
        with files.shared() as numbers:
            self._all = [
                subprocess.Popen(
                    python(serve),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=numbers,
                    # Ctrl-C in a terminal is for us.
                    start_new_session=True,
                )
                for _ in range(number)
            ]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        start = _Start(
            reader.image_key,
            reader.bbox_key,
            reader.path_bytes,
            reader.keep,
            None if reader.images is None else (reader.images.uri, tuple(reader.images.roots)),
            checker.is_forgotten,
            (*numbers, len(files)),
        )
        self._start = pickle.dumps(start)
        for process in self._all:
            self._idle.put(process)

    def answered(self, block: _Block) -> tuple[_Block, Sequence[_Answer] | None]:
        """The block, and what comes of its rows; None where this process has to find out. Raises TransientError."""
        data = block.data
        if data is None:
            return block, None
        process = self._idle.get()
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        try:
            pickle.dump((self._start, data), process.stdin)
            process.stdin.flush()
            answers = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise TransientError(
                f"a process that checked rows of the drop {ended(process.wait())}: if this goes on, look at what it "
                "said in this task's log, and give this worker's tasks more memory, or fewer cores"
            ) from None
        finally:
            self._idle.put(process)  # also a lost one: whoever gets it next is not to wait for ever
        return block, answers

    def kill(self) -> None:
        """End all of them: whoever waits for one gets an error."""
        for process in self._all:
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for process in self._all:
            process.communicate()  # waits for it, and closes its pipes


def serve() -> None:
    """The life of such a process."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever is printed is no answer
    checker: Checker | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            start, block = pickle.load(asked)
            checker = checker or pickle.loads(start).checker()
            pickle.dump(_answers(pickle.loads(block), checker), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answers(block: _Block, checker: Checker) -> Sequence[_Answer] | None:
    """What comes of each row; None where something came up that is no row's fault: whoever asked will see."""
    claims = cast(_Claims, checker.reader.ids)
    answers: list[_Answer] = []
    try:
        for manifest, row in block.rows():
            text, planned, unforeseen = checker.check(manifest, row)
            answers.append((claims.taken(), checker.reader.counted(), text, planned and planned[:], unforeseen))
    except Exception:
        return None
    return answers
