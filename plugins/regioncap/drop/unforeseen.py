"""Errors that nobody foresaw: one costs its row, many are a fault of RegionCap's and not of the drop's."""

import sqlite3
import traceback
from dataclasses import dataclass
from pathlib import Path

from regioncap.errors import PermanentError, RowError, TransientError, UnforeseenError
from regioncap.regions.codes import Code
from regioncap.regions.jsonl import clean
from regioncap.regions.records import Rejected, Source

# More of the rows than this share, and more than one of them, are no odd rows any more.
_ODD_ROWS = 0.01
_REASON_CHARACTERS = 500

# Passing faults: disks, connections; and what somebody has to change in the set-up. Not memory: where the machine has
# none left, processes are killed, and what asks for more than there ever is does so again.
_NO_ROWS_FAULT = (OSError, EOFError, PermanentError, TransientError, sqlite3.Error)
# The packages that talk to other machines have errors of their own beside OSError.
_TRANSPORTS = frozenset(
    {"aiohttp", "boto3", "botocore", "http", "httpcore", "httpx", "httpx2", "s3transfer", "urllib3"}
)


def unforeseen(error: Exception, at: str) -> RowError:
    """What an error says of the row that it came up at; `at` says which one it is.

    Raises the error again where it is not the row's: one that may pass by itself, or somebody has to mend for all rows.
    """
    if _is_no_rows_fault(error):
        error.add_note(f"This came up at {at}.")
        raise error
    return internal_error(error)


def internal_error(error: BaseException) -> RowError:
    """What an error says of the only row that is worked on."""
    # Where it happened, for whoever mends it.
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in clean(str(error))).split())
    return RowError(
        Code.INTERNAL_ERROR,
        f"{type(error).__name__}: {text[:_REASON_CHARACTERS]} ({Path(last.filename).name}:{last.lineno})",
    )


def _is_no_rows_fault(error: Exception) -> bool:
    if isinstance(error, _NO_ROWS_FAULT):
        return True
    return any(kind.__module__.partition(".")[0] in _TRANSPORTS for kind in type(error).__mro__)


def named(row: Source) -> str:
    """Where a row stands, in a sentence."""
    return f"{row.manifest}, line {row.line}"


@dataclass
class UnforeseenRows:
    """Counts the rows of a step that ended in an error which nobody foresaw."""

    count: int = 0
    first: Rejected | None = None

    def note(self, row: Rejected) -> None:
        """Count a rejected row if it is one of them."""
        if row.code == Code.INTERNAL_ERROR:
            self.first = self.first or row
            self.count += 1

    def check(self, rows: int) -> None:
        """Raise UnforeseenError where they are too many of so many rows."""
        if self.first is not None and self.count > max(1, _ODD_ROWS * rows):
            raise UnforeseenError(
                f"{self.count:,} of {rows:,} rows ended in an error that nobody foresaw, the first "
                f"{named(self.first)}: {self.first.reason}. This is no fault of the drop: please report it to "
                "RegionCap's developers with this message, or, where a gate, a detector or a mark style of your own "
                "raised it, mend that; then clear this task"
            )
