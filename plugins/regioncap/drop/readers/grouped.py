"""Items that belong together and do not lie together: the boxes of an image, in whatever order a file has them."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

# So many are written at once.
_BATCH = 10_000

# Made once: making one takes longer than writing a key.
_KEY = json.JSONEncoder(sort_keys=True)


class Grouped:
    """Items by the key of their group, in a temporary file: memory does not grow with their number.

    Keys and items are JSON; a key is the same as another where their JSON is.
    """

    def __init__(self) -> None:
        # SQLite's own temporary file: no other program sees it, and it goes with the connection.
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE items (key TEXT, item TEXT)")
        self._file.execute("CREATE TABLE taken (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._file.execute("BEGIN")
        self._pending: list[tuple[str, str]] = []

    def add(self, key: Any, item: Any) -> None:
        """Add an item to a group."""
        self._pending.append((_text(key), json.dumps(item)))
        if len(self._pending) == _BATCH:
            self._flush()

    def close_groups(self) -> None:
        """Say that there are no more items: groups can be asked for now."""
        self._flush()
        self._file.execute("CREATE INDEX groups ON items (key)")

    def take(self, key: Any) -> list[Any]:
        """The items of a group, in the order in which they were added; none where they were taken before."""
        text = _text(key)
        new = self._file.execute("INSERT OR IGNORE INTO taken VALUES (?)", (text,)).rowcount
        return self._of(text) if new else []

    def left(self) -> Iterator[tuple[Any, list[Any]]]:
        """Each key that was not taken, with its items, in the order of the groups' first items."""
        keys = self._file.execute(
            "SELECT key FROM items WHERE key NOT IN (SELECT key FROM taken) GROUP BY key ORDER BY min(rowid)"
        )
        for (key,) in keys:
            yield json.loads(key), self._of(key)

    def _of(self, text: str) -> list[Any]:
        found = self._file.execute("SELECT item FROM items WHERE key = ? ORDER BY rowid", (text,))
        return [json.loads(item) for (item,) in found]

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _flush(self) -> None:
        self._file.executemany("INSERT INTO items VALUES (?, ?)", self._pending)
        self._pending.clear()


def _text(key: Any) -> str:
    return str(key) if type(key) is int else _KEY.encode(key)
