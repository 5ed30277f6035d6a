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

    def add(self, identity: str) -> bool:
        """Whether the id is a new one; from now on it is not."""
        digest = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), signed=True)
        return self._file.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1
