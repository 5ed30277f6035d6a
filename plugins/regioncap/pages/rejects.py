"""A build's rejected rows, a few at a time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from regioncap.errors import BuildGoneError, NotFoundError
from regioncap.pages.builds import SeenBuild
from regioncap.regions.records import Rejected
from regioncap.storage.patience import persist

PAGE = 50

# Somebody waits: after so long what was found is shown, with a link to go on.
_SECONDS = 2.0

# A row is echoed with a few thousand characters at most; what is far longer is no line of ours.
_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class FoundRows:
    """Rejected rows of one page, with their lines; `after` is the line where the next page begins, None at the end."""

    rows: Sequence[Rejected]
    lines: Sequence[int]
    after: int | None


def find_rejected(build: SeenBuild, code: str, start: int, size: int = PAGE, seconds: float = _SECONDS) -> FoundRows:
    """The next rejected rows with a code (any, where it is empty), from line `start` on. Raises BuildGoneError."""

    def read() -> FoundRows:
        rows: list[Rejected] = []
        lines: list[int] = []
        deadline = time.monotonic() + seconds
        with build.partition.open(build.manifest.rejected.path) as stream:
            number = -1
            while line := stream.readline(_MAX_LINE_BYTES):
                number += 1
                if number < start:
                    continue
                if number > start and time.monotonic() > deadline:
                    return FoundRows(rows, lines, number)
                if code and f'"{code}"'.encode() not in line:
                    continue
                try:
                    row = Rejected.model_validate_json(line)
                except ValidationError:
                    continue
                if code in ("", str(row.code)):
                    if len(rows) == size:
                        return FoundRows(rows, lines, number)
                    rows.append(row)
                    lines.append(number)
        return FoundRows(rows, lines, None)

    try:
        return persist(read)
    except NotFoundError as error:
        raise BuildGoneError(f"{build.manifest.rejected.path} is gone: choose another build") from error


def rejected_at(build: SeenBuild, number: int) -> Rejected | None:
    """The rejected row in a line, from 0; None where there is none. Raises BuildGoneError."""
    found = find_rejected(build, "", number, 1)
    return found.rows[0] if found.lines[:1] == [number] else None
