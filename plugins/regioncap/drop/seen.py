"""Which ids a drop has had so far."""

import hashlib
import sqlite3


class SeenIds:
    """A set of ids, as 64-bit hashes in a temporary file: memory does not grow with the drop."""

    def __init__(self) -> None:
        # SQLite's own temporary file: no other program sees it, and it goes with the connection.
        self._file = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE seen (digest INTEGER PRIMARY KEY)",
            "BEGIN",
        ):
            self._file.execute(statement)

    def __contains__(self, identity: str) -> bool:
        return self._file.execute("SELECT 1 FROM seen WHERE digest = ?", (_digest(identity),)).fetchone() is not None

    def add(self, identity: str) -> bool:
        """Whether the id is a new one; from now on it is not."""
        return self._file.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_digest(identity),)).rowcount == 1


def _digest(identity: str) -> int:
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), signed=True)
